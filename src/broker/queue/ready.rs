//! The messages of a queue that wait for a consumer, in order.

use std::collections::{BTreeMap, VecDeque};

use super::cold::{ColdRanges, Range};
use crate::storage::chunk::Run;
use crate::storage::store::Loaded;

/// Ready messages in the order of their positions.
///
/// Each of the four parts is in that order, and whichever has the lowest position is the front. `fresh` and `tail` hold
/// what never was anywhere else; everything in `fresh` precedes everything in `tail`. Together they are the line that
/// a queue without a disk has, and need no search. `placed` is what was put to its position: it came back, or was
/// loaded, or stays in memory between others that have left it. What is on disk is in `cold`; while its first message
/// is the front, nothing can be taken.
#[derive(Default, Debug)]
pub struct Ready {
    pub(super) placed: BTreeMap<u64, Run>,
    /// The head of the line: what the queue keeps in memory.
    pub(super) fresh: VecDeque<Run>,
    /// What lies behind the head and is to leave memory once it is on disk.
    pub(super) tail: VecDeque<Run>,
    pub(super) cold: ColdRanges,
    messages: u64,
    bytes: u64,
    /// Of those in memory.
    hot_bytes: u64,
    pub(super) tail_bytes: u64,
    /// At least so many bytes in memory precede the first message on disk.
    ahead_bytes: u64,
}

/// Where the message at the front is.
enum Front {
    Placed,
    Line,
}

impl Ready {
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    pub fn messages(&self) -> u64 {
        self.messages
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the messages that are in memory, but for those that are to leave it once they are on disk.
    pub fn head_bytes(&self) -> u64 {
        self.hot_bytes - self.tail_bytes
    }

    /// Whether some messages are on disk.
    #[inline]
    pub fn has_cold(&self) -> bool {
        !self.cold.is_empty()
    }

    /// Whether something is to leave memory once it is on disk.
    pub fn has_tail(&self) -> bool {
        !self.tail.is_empty()
    }

    /// The position of the message at the front, wherever it is.
    pub fn first_seq(&self) -> Option<u64> {
        let placed = self.placed.first_key_value().map(|(&first_seq, _)| first_seq);
        let line = self.fresh.front().or(self.tail.front()).map(|run| run.first_seq);
        [placed, line, self.cold.first_seq()].into_iter().flatten().min()
    }

    /// The runs that are in memory, in no particular order.
    pub fn resident(&self) -> impl Iterator<Item = &Run> {
        self.placed.values().chain(&self.fresh).chain(&self.tail)
    }

    /// Drops messages that are on disk off the front, so many at most. Returns their positions, as first and end; `None` if
    /// the front is not on disk, or it is not known which positions have messages.
    pub fn drop_cold_front(&mut self, messages: u64) -> Option<(u64, u64)> {
        if self.front().is_some() {
            return None;
        }
        let (first_seq, end_seq, bytes) = self.cold.take_front(messages)?;
        self.messages -= end_seq - first_seq;
        self.bytes -= bytes;
        self.ahead_bytes = 0;
        Some((first_seq, end_seq))
    }

    /// Whether there is a message at the front and it is in memory.
    #[inline]
    pub fn has_front(&self) -> bool {
        self.messages > 0 && self.front().is_some()
    }

    fn front(&self) -> Option<Front> {
        let placed = self.placed.first_key_value().map(|(&first_seq, _)| first_seq);
        let line = self.fresh.front().or(self.tail.front()).map(|run| run.first_seq);
        let (front, first_seq) = match (placed, line) {
            (Some(placed), Some(line)) if line < placed => (Front::Line, line),
            (Some(placed), _) => (Front::Placed, placed),
            (None, line) => (Front::Line, line?),
        };
        let is_cold = self.cold.first_seq().is_some_and(|cold| cold < first_seq);
        (!is_cold).then_some(front)
    }

    /// Appends messages that are new in the queue, which keeps `resident_bytes` at its head in memory.
    pub fn push(&mut self, run: Run, resident_bytes: u64) {
        let is_behind = self.bytes >= resident_bytes || !self.tail.is_empty();
        self.count_in(&run);
        if is_behind {
            self.tail_bytes += run.bytes() as u64;
            self.tail.push_back(run);
        } else {
            self.fresh.push_back(run);
        }
    }

    /// Puts messages back to their original positions.
    pub fn put_back(&mut self, mut run: Run) {
        if !run.has_bytes() {
            return self.insert_cold(Range::of_returned(&run));
        }
        if run.pins_dead_bytes() {
            run = run.copied_out();
        }
        self.count_in(&run);
        if let Some((_, before)) = self.placed.range_mut(..run.first_seq).next_back()
            && before.continues_with(&run)
        {
            before.count += run.count;
            return;
        }
        if let Some(after) = self.placed.get(&run.end_seq())
            && run.continues_with(after)
        {
            let merged = after.count;
            self.placed.remove(&run.end_seq());
            run.count += merged;
        }
        self.placed.insert(run.first_seq, run);
    }

    /// Puts messages that are on disk to their positions.
    pub fn insert_cold(&mut self, range: Range) {
        self.messages += range.count;
        self.bytes += range.bytes;
        if self.cold.first_seq().is_none_or(|first_seq| range.first_seq < first_seq) {
            self.ahead_bytes = 0;
        }
        self.cold.insert(range);
    }

    /// The positions, as first and end, at which messages wait that the journal has.
    pub fn logged_ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let hot = self.placed.values().chain(&self.fresh).chain(&self.tail).filter(|run| run.epoch.is_some());
        let cold = self.cold.iter().filter(|range| range.logged);
        hot.map(|run| (run.first_seq, run.end_seq())).chain(cold.map(|range| (range.first_seq, range.end_seq)))
    }

    /// The positions, as first and end, at which messages wait that were spilled.
    pub fn spilled_ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.cold.iter().filter(|range| range.spilled).map(|range| (range.first_seq, range.end_seq))
    }

    /// The run at the front, if it is in memory.
    #[inline]
    pub fn front_run(&self) -> Option<&Run> {
        match self.front()? {
            Front::Placed => self.placed.first_key_value().map(|(_, run)| run),
            Front::Line => self.fresh.front().or(self.tail.front()),
        }
    }

    /// How many messages [`take`](Self::take) would take.
    #[inline]
    pub fn front_within(&self, messages: u32, bytes: usize) -> u32 {
        self.front_run().map_or(0, |run| run.count_within(bytes).min(messages))
    }

    /// If the message at the front keeps alive a chunk that is otherwise mostly settled, copies it out.
    pub fn unpin_front(&mut self) {
        let front = match self.front() {
            Some(Front::Placed) => self.placed.values_mut().next(),
            Some(Front::Line) => self.fresh.front_mut().or(self.tail.front_mut()),
            None => None,
        };
        if let Some(front) = front
            && front.pins_dead_bytes()
        {
            *front = front.clone().copied_out();
        }
    }

    /// Takes messages from the front: one run of at most `messages` messages and, unless it is a single message,
    /// at most `bytes` bytes. Nothing, if the front is on disk.
    pub fn take(&mut self, messages: u32, bytes: usize) -> Option<Run> {
        let run = match self.front()? {
            Front::Placed => self.take_placed(messages, bytes)?,
            Front::Line => self.take_from_line(messages, bytes)?,
        };
        self.count_out(&run);
        self.ahead_bytes = self.ahead_bytes.saturating_sub(run.bytes() as u64);
        if self.messages == 0 && self.fresh.capacity() + self.tail.capacity() > 64 {
            (self.fresh, self.tail) = Default::default();
        }
        Some(run)
    }

    fn take_placed(&mut self, messages: u32, bytes: usize) -> Option<Run> {
        let first = self.placed.first_entry()?;
        let count = first.get().count_within(bytes).min(messages);
        if count == first.get().count {
            return Some(first.remove());
        }
        let mut rest = first.remove();
        let front = rest.split_front(count);
        self.placed.insert(rest.first_seq, rest);
        Some(front)
    }

    fn take_from_line(&mut self, messages: u32, bytes: usize) -> Option<Run> {
        let of_tail = self.fresh.is_empty();
        let line = if of_tail { &mut self.tail } else { &mut self.fresh };
        let first = line.front_mut()?;
        let count = first.count_within(bytes).min(messages);
        let run = if count < first.count { first.split_front(count) } else { line.pop_front()? };
        if of_tail {
            self.tail_bytes -= run.bytes() as u64;
        }
        Some(run)
    }

    fn count_in(&mut self, run: &Run) {
        self.messages += u64::from(run.count);
        self.bytes += run.bytes() as u64;
        self.hot_bytes += run.bytes() as u64;
    }

    pub(super) fn count_out(&mut self, run: &Run) {
        self.messages -= u64::from(run.count);
        self.bytes -= run.bytes() as u64;
        self.hot_bytes -= run.bytes() as u64;
    }

    /// If less than `enough_bytes` in memory precede the first message on disk, begins to load: returns the positions
    /// that are to be read.
    pub fn begin_load(&mut self, enough_bytes: u64) -> Option<(u64, u64)> {
        if self.ahead_bytes >= enough_bytes {
            return None;
        }
        // Counted anew only when half of what was counted last has been taken.
        self.ahead_bytes = self.bytes_ahead(2 * enough_bytes)?;
        if self.ahead_bytes >= enough_bytes { None } else { self.cold.begin_load() }
    }

    /// Bytes in memory that precede the first message on disk; about `most` if they are more.
    fn bytes_ahead(&self, most: u64) -> Option<u64> {
        let first_cold = self.cold.first_seq()?;
        let line = self.fresh.iter().chain(&self.tail).take_while(|run| run.first_seq < first_cold);
        let placed = self.placed.range(..first_cold).map(|(_, run)| run);
        let mut bytes = 0;
        for run in line.chain(placed) {
            bytes += run.bytes() as u64;
            if bytes >= most {
                break;
            }
        }
        Some(bytes)
    }

    /// Puts messages that were loaded in the place of those on disk. What does not wait any more is dropped. Returns how
    /// many of the messages that should have been there are lost.
    pub fn end_load(&mut self, loaded: Loaded) -> u64 {
        let Some(range) = self.cold.end_load(loaded.from_seq) else {
            loaded.runs.into_iter().for_each(Run::settle);
            return 0;
        };
        let (redelivered, returns) = (range.redelivered, range.returns);
        let (cold_messages, cold_bytes) = (range.count, range.bytes);
        let (mut count, mut bytes, mut end_seq) = (0, 0, loaded.from_seq);
        for mut run in loaded.runs {
            assert!(run.has_bytes(), "what was loaded is in memory");
            assert!(end_seq <= run.first_seq && run.end_seq() <= loaded.through_seq.min(range.end_seq));
            (count, bytes, end_seq) = (count + u64::from(run.count), bytes + run.bytes() as u64, run.end_seq());
            (run.redelivered, run.returns) = (redelivered, run.returns.max(returns));
            self.count_in(&run);
            self.placed.insert(run.first_seq, run);
        }
        self.messages -= cold_messages;
        self.bytes -= cold_bytes;
        self.ahead_bytes = 0;
        let (rest, lost) = range.without_front(loaded.through_seq, count, bytes);
        if let Some(rest) = rest {
            self.insert_cold(rest);
        }
        lost
    }
}

impl Drop for Ready {
    /// Messages that are dropped where they wait are settled.
    fn drop(&mut self) {
        let placed = std::mem::take(&mut self.placed).into_values();
        placed.chain(self.fresh.drain(..)).chain(self.tail.drain(..)).for_each(Run::settle);
    }
}
