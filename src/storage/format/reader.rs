//! Reading numbers and bytes.

use super::entry::{DEFINE, DELIVER, DROP_QUEUE, ENQUEUE, ENQUEUE_TTL, FOOTER, RETURNS, SETTLE};

/// Reads numbers and bytes from the front of a slice; `None` wherever it ends too early.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    pub bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }

    pub fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
            if shift > 63 {
                return None;
            }
        }
    }

    pub fn take(&mut self, bytes: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.bytes = rest;
        Some(taken)
    }

    pub fn prefixed(&mut self) -> Option<&'a [u8]> {
        let bytes = self.number()?;
        self.take(bytes)
    }

    /// Goes over one entry.
    pub(super) fn skip_entry(&mut self) -> Option<()> {
        match self.byte()? {
            DEFINE => {
                for _ in 0..self.number()? {
                    self.prefixed()?;
                    let value = self.number()?.saturating_sub(1);
                    self.take(value)?;
                }
            }
            code @ (ENQUEUE | ENQUEUE_TTL) => {
                let targets = self.number()?;
                let numbers = if code == ENQUEUE_TTL { 3 } else { 2 };
                self.skip_numbers(targets.checked_mul(numbers)?.checked_add(3)?)?;
                self.prefixed()?;
            }
            SETTLE => {
                self.number()?;
                let ranges = self.number()?;
                self.skip_numbers(ranges.checked_mul(2)?)?;
            }
            RETURNS => {
                self.number()?;
                let counts = self.number()?;
                self.skip_numbers(counts.checked_mul(3)?)?;
            }
            DELIVER => self.skip_numbers(2)?,
            DROP_QUEUE => self.skip_numbers(1)?,
            FOOTER => {
                let pieces = self.number()?;
                self.skip_numbers(pieces.checked_mul(6)?)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn skip_numbers(&mut self, count: u64) -> Option<()> {
        (0..count).try_for_each(|_| self.number().map(drop))
    }

    /// As [`push_ranges`] writes them.
    pub fn ranges(&mut self) -> Option<Vec<(u64, u64)>> {
        let count = self.number()?;
        let mut ranges = Vec::new();
        let mut before = 0u64;
        for _ in 0..count {
            let first = before.checked_add(self.number()?)?;
            let end = first.checked_add(self.number()?)?;
            ranges.push((first, end));
            before = end;
        }
        Some(ranges)
    }

    /// As [`push_counts`](super::push_counts) writes them.
    pub fn counts(&mut self) -> Option<Vec<(u64, u64, u32)>> {
        let count = self.number()?;
        let mut counts = Vec::new();
        let mut before = 0u64;
        for _ in 0..count {
            let first = before.checked_add(self.number()?)?;
            let end = first.checked_add(self.number()?)?;
            counts.push((first, end, u32::try_from(self.number()?).ok()?));
            before = end;
        }
        Some(counts)
    }
}
