//! The content of one file of a simulated disk: what a process sees of it, and what may be left of it after a crash.

use std::io;

use crate::model_testing::Random;

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// How sure it is that a change survives a crash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Until the next sync.
    Open,
    /// For good: a sync of it failed. The system may take it for written and never write it.
    Unknown,
    Durable,
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What leads from the durable content to that of now, in order.
    changes: Vec<(Change, Fate)>,
}

impl Inode {
    pub(super) fn durable(content: Vec<u8>) -> Inode {
        Inode { now: content.clone(), durable: content, changes: Vec::new() }
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn len(&self) -> u64 {
        self.now.len() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.now.get(from..from.saturating_add(buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        if !bytes.is_empty() {
            self.change(Change::Write { offset: offset as usize, bytes: bytes.to_vec() });
        }
    }

    pub(super) fn set_len(&mut self, bytes: u64) {
        self.change(Change::SetLen(bytes as usize));
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.changes.push((change, Fate::Open));
    }

    pub(super) fn sync(&mut self) {
        for (_, fate) in &mut self.changes {
            if *fate == Fate::Open {
                *fate = Fate::Durable;
            }
        }
        // Up to the first change of which nobody knows, the outcome is one.
        let known = self.changes.iter().take_while(|(_, fate)| *fate == Fate::Durable).count();
        for (change, _) in self.changes.drain(..known) {
            apply(&mut self.durable, &change);
        }
    }

    pub(super) fn sync_failed(&mut self) {
        for (_, fate) in &mut self.changes {
            if *fate == Fate::Open {
                *fate = Fate::Unknown;
            }
        }
    }

    pub(super) fn after_crash(&self, random: &mut Random) -> Inode {
        let mut content = self.durable.clone();
        for (change, fate) in &self.changes {
            if *fate == Fate::Durable {
                apply(&mut content, change);
            } else {
                apply_perhaps(&mut content, change, random);
            }
        }
        Inode::durable(content)
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => {
            let end = offset + bytes.len();
            content.resize(content.len().max(end), 0);
            content[*offset..end].copy_from_slice(bytes);
        }
        Change::SetLen(bytes) => content.resize(*bytes, 0),
    }
}

fn apply_perhaps(content: &mut Vec<u8>, change: &Change, random: &mut Random) {
    match (change, random.below(3)) {
        (_, 0) => {}
        (Change::Write { offset, bytes }, 1) => tear(content, *offset, bytes, random),
        _ => apply(content, change),
    }
}

/// A part of the write is there: its head, its tail, both without the middle, or nothing but the length that the file
/// got by it. Of the rest, what the file had is as it was, and what it had not is not there, or zeros.
fn tear(content: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut Random) {
    let cut = random.below(bytes.len() + 1);
    let head = Change::Write { offset, bytes: bytes[..cut].to_vec() };
    let tail = Change::Write { offset: offset + cut, bytes: bytes[cut..].to_vec() };
    let lengthened = Change::SetLen(content.len().max(offset + bytes.len()));
    match random.below(5) {
        0 => apply(content, &head),
        1 => apply(content, &tail),
        2 => apply(content, &lengthened),
        3 => {
            apply(content, &lengthened);
            apply(content, &head);
        }
        _ => {
            let last = random.within(cut..bytes.len() + 1);
            apply(content, &head);
            apply(content, &Change::Write { offset: offset + last, bytes: bytes[last..].to_vec() });
        }
    }
}
