//! The messages of a queue that wait for a consumer, in order.

use std::collections::{BTreeMap, VecDeque};

use crate::storage::chunk::Run;

/// Ready messages in the order of their positions.
///
/// Messages are assigned from the front only, so all that were ever assigned and came back (`returned`) precede all
/// that never were (`fresh`). That is why the second needs no search and the first no room while nothing is returned.
#[derive(Default, Debug)]
pub struct Ready {
    returned: BTreeMap<u64, Run>,
    fresh: VecDeque<Run>,
    messages: u64,
    bytes: u64,
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

    /// Appends messages that are new in the queue.
    pub fn push(&mut self, run: Run) {
        self.count_in(&run);
        self.fresh.push_back(run);
    }

    /// Puts messages back to their original positions.
    pub fn put_back(&mut self, mut run: Run) {
        if run.pins_dead_bytes() {
            run = run.copied_out();
        }
        self.count_in(&run);
        if let Some((_, before)) = self.returned.range_mut(..run.first_seq).next_back()
            && before.continues_with(&run)
        {
            before.count += run.count;
            return;
        }
        if let Some(after) = self.returned.get(&run.end_seq())
            && run.continues_with(after)
        {
            let merged = after.count;
            self.returned.remove(&run.end_seq());
            run.count += merged;
        }
        self.returned.insert(run.first_seq, run);
    }

    /// How many messages [`take`](Self::take) would take.
    pub fn front_within(&self, messages: u32, bytes: usize) -> u32 {
        let front = self.returned.first_key_value().map(|(_, run)| run).or(self.fresh.front());
        front.map_or(0, |run| run.count_within(bytes).min(messages))
    }

    /// If the message at the front keeps alive a chunk that is otherwise mostly settled, copies it out.
    pub fn unpin_front(&mut self) {
        let returned = self.returned.values_mut().next();
        if let Some(front) = returned.or(self.fresh.front_mut())
            && front.pins_dead_bytes()
        {
            *front = front.clone().copied_out();
        }
    }

    /// Takes messages from the front: one run of at most `messages` messages and, unless it is a single message,
    /// at most `bytes` bytes.
    pub fn take(&mut self, messages: u32, bytes: usize) -> Option<Run> {
        let run = match self.returned.first_entry() {
            Some(first) => {
                let count = first.get().count_within(bytes).min(messages);
                if count < first.get().count {
                    let mut rest = first.remove();
                    let front = rest.split_front(count);
                    self.returned.insert(rest.first_seq, rest);
                    front
                } else {
                    first.remove()
                }
            }
            None => {
                let first = self.fresh.front_mut()?;
                let count = first.count_within(bytes).min(messages);
                if count < first.count { first.split_front(count) } else { self.fresh.pop_front()? }
            }
        };
        self.messages -= u64::from(run.count);
        self.bytes -= run.bytes() as u64;
        if self.messages == 0 && self.fresh.capacity() > 64 {
            self.fresh = VecDeque::new();
        }
        Some(run)
    }

    fn count_in(&mut self, run: &Run) {
        self.messages += u64::from(run.count);
        self.bytes += run.bytes() as u64;
    }
}

impl Drop for Ready {
    /// Messages that are dropped where they wait are settled.
    fn drop(&mut self) {
        let returned = std::mem::take(&mut self.returned).into_values();
        returned.chain(self.fresh.drain(..)).for_each(Run::settle);
    }
}
