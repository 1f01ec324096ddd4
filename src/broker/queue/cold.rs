//! The messages of a queue that are on disk and not in memory: a few numbers for any number of them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::storage::chunk::{RangeCharge, Run};
use crate::storage::store;

/// Messages on disk. Those of its positions at which no message waits are settled, so that no other message of the
/// queue is among them.
#[derive(Debug)]
pub struct Range {
    pub first_seq: u64,
    pub end_seq: u64,
    pub count: u64,
    /// Of their records; nearly so once a part has been loaded again.
    pub bytes: u64,
    pub redelivered: bool,
    /// At least so often were they returned, which the disk may not know yet.
    pub returns: u32,
    /// Whether the journal has some of them.
    pub logged: bool,
    /// Whether some of them were spilled.
    pub spilled: bool,
    _charge: RangeCharge,
}

impl Range {
    /// What stands for a run whose bytes leave memory, or have left it.
    pub fn of_run(run: &Run, spilled: bool) -> Range {
        Range {
            first_seq: run.first_seq,
            end_seq: run.end_seq(),
            count: u64::from(run.count),
            bytes: run.bytes() as u64,
            redelivered: run.redelivered,
            returns: 0,
            logged: run.epoch.is_some(),
            spilled,
            _charge: RangeCharge::new(),
        }
    }

    /// What stands for a run that comes back without its bytes.
    pub fn of_returned(run: &Run) -> Range {
        Range { returns: run.returns, ..Range::of_run(run, false) }
    }

    /// What stands for messages that were found on disk at start.
    pub fn recovered(found: &store::ColdRange) -> Range {
        let store::ColdRange { first_seq, end_seq, count, bytes, redelivered } = *found;
        assert!(0 < count && count <= end_seq - first_seq, "each message has a position of its own: {found:?}");
        let (returns, logged, spilled, _charge) = (0, true, false, RangeCharge::new());
        Range { first_seq, end_seq, count, bytes, redelivered, returns, logged, spilled, _charge }
    }

    /// Takes over what follows without a gap.
    fn append(&mut self, next: &Range) {
        self.end_seq = next.end_seq;
        self.count += next.count;
        self.bytes += next.bytes;
        self.logged |= next.logged;
        self.spilled |= next.spilled;
    }

    /// What is left when `count` messages of `bytes` bytes, all before `through_seq`, have been loaded, and how many
    /// messages are lost: there is no position left at which they could be.
    pub fn without_front(mut self, through_seq: u64, count: u64, bytes: u64) -> (Option<Range>, u64) {
        let left = self.count.saturating_sub(count);
        let room = self.end_seq.saturating_sub(through_seq);
        self.first_seq = through_seq;
        self.count = left.min(room);
        self.bytes = self.bytes.saturating_sub(bytes);
        ((self.count > 0).then_some(self), left.saturating_sub(room))
    }

    fn continues_with(&self, next: &Range) -> bool {
        self.end_seq == next.first_seq && self.redelivered == next.redelivered && self.returns == next.returns
    }
}

/// Ranges in the order of their positions.
#[derive(Default, Debug)]
pub struct ColdRanges {
    ranges: BTreeMap<u64, Range>,
    /// Where the range begins of which a part is being read.
    loading: Option<u64>,
}

impl ColdRanges {
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The position of the first message.
    pub fn first_seq(&self) -> Option<u64> {
        self.ranges.first_key_value().map(|(&first_seq, _)| first_seq)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Range> {
        self.ranges.values()
    }

    pub fn insert(&mut self, mut range: Range) {
        // What is being read must be found where it began.
        if self.loading != Some(range.end_seq)
            && let Entry::Occupied(next) = self.ranges.entry(range.end_seq)
            && range.continues_with(next.get())
        {
            range.append(&next.remove());
        }
        if let Some((_, before)) = self.ranges.range_mut(..range.first_seq).next_back()
            && before.continues_with(&range)
        {
            return before.append(&range);
        }
        self.ranges.insert(range.first_seq, range);
    }

    /// Begins to load the first range: returns where it begins and ends.
    pub fn begin_load(&mut self) -> Option<(u64, u64)> {
        let (&first_seq, range) = self.ranges.first_key_value()?;
        self.loading = Some(first_seq);
        Some((first_seq, range.end_seq))
    }

    /// Takes out the range of which a part from this position on has been loaded, if it still waits.
    pub fn end_load(&mut self, from_seq: u64) -> Option<Range> {
        self.loading.take_if(|loading| *loading == from_seq)?;
        self.ranges.remove(&from_seq)
    }

    /// Takes messages off the front, so many at most, where every position has one, in the journal alone, and none is being
    /// read. Returns their positions, as first and end, and their bytes.
    pub fn take_front(&mut self, messages: u64) -> Option<(u64, u64, u64)> {
        let (&first_seq, range) = self.ranges.first_key_value()?;
        let is_dense = range.count == range.end_seq - range.first_seq;
        if !is_dense || range.spilled || !range.logged || self.loading.is_some() || messages == 0 {
            return None;
        }
        let mut range = self.ranges.remove(&first_seq)?;
        let taken = messages.min(range.count);
        let bytes = if taken == range.count { range.bytes } else { range.bytes / range.count * taken };
        let end_seq = first_seq + taken;
        if taken < range.count {
            (range.first_seq, range.count, range.bytes) = (end_seq, range.count - taken, range.bytes - bytes);
            self.ranges.insert(end_seq, range);
        }
        Some((first_seq, end_seq, bytes))
    }
}
