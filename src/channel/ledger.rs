//! The deliveries of one channel that are to be acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::timeout::Due;
use crate::broker::queue::{ConsumerKey, Queue};
use crate::storage::chunk::Run;
use crate::storage::store::Store;

/// Consecutive delivery tags for consecutive messages of one queue.
#[derive(Debug)]
pub struct Delivered {
    pub first_tag: u64,
    pub run: Run,
    pub from: DeliveredFrom,
    /// Until when it is to be settled, if there is a limit.
    pub due: Option<Due>,
}

/// Where deliveries came from.
#[derive(Clone, Debug)]
pub struct DeliveredFrom {
    pub queue: Arc<Queue>,
    /// The consumer whose credit they hold; `None` for `basic.get`.
    pub consumer: Option<ConsumerKey>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({})", self.name())
    }
}

impl Delivered {
    /// The tag after the last.
    fn end_tag(&self) -> u64 {
        self.first_tag + u64::from(self.run.count)
    }

    /// Takes all before `tag` off the front, `first_tag < tag < end_tag`.
    fn split_before(&mut self, tag: u64) -> Delivered {
        let run = self.run.split_front((tag - self.first_tag) as u32);
        let front = Delivered { first_tag: self.first_tag, run, from: self.from.clone(), due: self.due };
        self.first_tag = tag;
        front
    }
}

/// A delivery tag that is not outstanding: unknown, or settled already.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownTag;

/// Outstanding deliveries in the order of their tags, one entry for a run of them. It never has more entries than
/// deliveries are outstanding.
#[derive(Default)]
pub struct Ledger {
    /// By a number at or below the first tag of each and above the last tag of the one before.
    entries: BTreeMap<u64, Delivered>,
    outstanding: u64,
    /// Messages settled since chunks were last looked through.
    settled_since_sweep: u64,
    /// Entries before this tag hold no memory that they could give up.
    in_memory_from: u64,
}

impl Ledger {
    /// Deliveries that are to be settled.
    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Files deliveries whose tags follow all filed before, or that were taken out before.
    pub fn file(&mut self, delivered: Delivered) {
        self.outstanding += u64::from(delivered.run.count);
        self.in_memory_from = self.in_memory_from.min(delivered.first_tag);
        // What is put back may have been part of the front of an entry, whose key it left behind.
        if let Some((&key, entry)) = self.entries.range(..=delivered.first_tag).next_back()
            && entry.first_tag > delivered.first_tag
            && let Some(later) = self.entries.remove(&key)
        {
            self.entries.insert(later.first_tag, later);
        }
        self.entries.insert(delivered.first_tag, delivered);
    }

    /// Takes out one delivery.
    pub fn take(&mut self, tag: u64) -> Result<Delivered, UnknownTag> {
        let (&key, entry) = self.entries.range_mut(..=tag).next_back().ok_or(UnknownTag)?;
        if tag < entry.first_tag || tag >= entry.end_tag() {
            return Err(UnknownTag);
        }
        self.outstanding -= 1;
        self.settled_since_sweep += 1;
        if entry.run.count == 1 {
            return self.entries.remove(&key).ok_or(UnknownTag);
        }
        if tag == entry.first_tag {
            return Ok(entry.split_before(tag + 1));
        }
        let before = entry.split_before(tag);
        let mut rest = std::mem::replace(entry, before);
        if rest.run.count == 1 {
            return Ok(rest);
        }
        let one = rest.split_before(tag + 1);
        self.entries.insert(rest.first_tag, rest);
        Ok(one)
    }

    /// Takes out every delivery up to and including `tag`, which must be outstanding itself; all of them if it is 0.
    pub fn take_through(&mut self, tag: u64, mut each: impl FnMut(Delivered)) -> Result<(), UnknownTag> {
        if tag == 0 {
            self.take_all(each);
            return Ok(());
        }
        let (_, last) = self.entries.range(..=tag).next_back().ok_or(UnknownTag)?;
        if tag < last.first_tag || tag >= last.end_tag() {
            return Err(UnknownTag);
        }
        while let Some(mut first) = self.entries.first_entry() {
            let entry = first.get_mut();
            if entry.first_tag > tag {
                break;
            }
            let taken = if entry.end_tag() > tag + 1 { entry.split_before(tag + 1) } else { first.remove() };
            self.outstanding -= u64::from(taken.run.count);
            self.settled_since_sweep += u64::from(taken.run.count);
            each(taken);
        }
        Ok(())
    }

    /// Takes out everything, in the order of the tags.
    pub fn take_all(&mut self, each: impl FnMut(Delivered)) {
        self.outstanding = 0;
        std::mem::take(&mut self.entries).into_values().for_each(each);
    }

    /// Lets go of the bytes of messages that are on disk, of so many entries at most, until one comes that will be there
    /// and is not yet. Each entry is looked at once. Returns whether there may be more to let go of at once.
    pub fn forget_bytes(&mut self, store: &Store, entries_max: usize) -> bool {
        for (_, entry) in self.entries.range_mut(self.in_memory_from..).take(entries_max) {
            if store.may_forget(&entry.run) {
                entry.run.forget_bytes();
            } else if Store::keeps(&entry.run) && !store.has(&entry.run) {
                return false;
            }
            self.in_memory_from = entry.end_tag();
        }
        self.entries.range(self.in_memory_from..).next().is_some()
    }

    /// Entries, not deliveries.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// The first of all deadlines. Looks at every entry.
    pub fn earliest_due(&self) -> Option<Due> {
        self.entries.values().filter_map(|entry| entry.due).min_by_key(|due| due.at)
    }

    /// Now and then, copies the messages that still keep mostly settled chunks alive out of them: a few that are never
    /// acknowledged must not hold the memory of all that were. Costs a constant time for each message settled.
    pub fn sweep(&mut self) {
        if self.settled_since_sweep < 4096.max(4 * self.entries.len() as u64) {
            return;
        }
        self.settled_since_sweep = 0;
        for entry in self.entries.values_mut().filter(|entry| entry.run.pins_dead_bytes()) {
            entry.run = entry.run.clone().copied_out();
        }
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::queue::QueueDefinition;
    use crate::storage::chunk::OpenChunk;
    use crate::storage::record::append_prefix;
    use crate::storage::store::memory::MemoryDisk;

    fn queue() -> Arc<Queue> {
        Queue::new(QueueDefinition {
            vhost: "/".into(),
            name: "q".into(),
            durable: false,
            auto_delete: false,
            exclusive_owner: None,
            arguments: Default::default(),
        })
    }

    /// A ledger of tags 1 to 10 in entries of 4, 1 and 5; message n has sequence number n.
    fn ledger() -> Ledger {
        let from = DeliveredFrom { queue: queue(), consumer: None };
        let mut ledger = Ledger::default();
        for (first, count) in [(1, 4), (5, 1), (6, 5)] {
            let mut open = OpenChunk::default();
            for _ in 0..count {
                let mut prefix = Vec::new();
                append_prefix(&mut prefix, 0, b"", b"q", &[0, 0], 0);
                open.push(&prefix, b"");
            }
            ledger.file(Delivered {
                first_tag: first,
                run: Run::of_chunk(&open.close(), first),
                from: from.clone(),
                due: None,
            });
        }
        ledger
    }

    fn tags(ledger: &Ledger) -> Vec<u64> {
        let tags = ledger.entries.values().flat_map(|e| e.first_tag..e.end_tag()).collect::<Vec<_>>();
        let seqs = ledger.entries.values().flat_map(|e| e.run.first_seq..e.run.end_seq()).collect::<Vec<_>>();
        assert_eq!(tags, seqs, "a tag keeps its message");
        assert_eq!(tags.len() as u64, ledger.outstanding());
        tags
    }

    #[test]
    fn single_tags_are_taken_from_anywhere_once() {
        let mut ledger = ledger();
        for tag in [3, 1, 10, 8, 5] {
            assert_eq!(ledger.take(tag).unwrap().run.first_seq, tag);
            assert_eq!(ledger.take(tag).unwrap_err(), UnknownTag);
        }
        assert_eq!(tags(&ledger), [2, 4, 6, 7, 9]);
        assert!(ledger.take(11).is_err() && ledger.take(0).is_err());
    }

    #[test]
    fn multiple_takes_all_up_to_a_tag_that_is_outstanding() {
        let mut ledger = ledger();
        ledger.take(2).unwrap();
        let mut taken = Vec::new();
        assert_eq!(ledger.take_through(2, |_| panic!("nothing is taken")), Err(UnknownTag));
        ledger.take_through(7, |d| taken.extend(d.run.first_seq..d.run.end_seq())).unwrap();
        assert_eq!(taken, [1, 3, 4, 5, 6, 7]);
        assert_eq!(tags(&ledger), [8, 9, 10]);
        ledger.take_through(0, |_| {}).unwrap();
        assert!(tags(&ledger).is_empty());
    }

    #[test]
    fn what_was_never_to_be_on_disk_keeps_its_bytes_and_is_looked_at_once() {
        let mut ledger = ledger();
        let (_disk, store) = MemoryDisk::open(0, 1);
        assert!(ledger.forget_bytes(&store, 2), "there is a third entry");
        assert!(!ledger.forget_bytes(&store, 2));
        assert!(ledger.entries.values().all(|entry| entry.run.has_bytes()));
        assert_eq!(ledger.in_memory_from, 11);
        let taken = ledger.take(7).unwrap();
        ledger.file(taken);
        assert_eq!(ledger.in_memory_from, 7, "what is put back is looked at again");
    }

    #[test]
    fn a_rolled_back_delivery_returns_to_its_tag() {
        let mut ledger = ledger();
        for tag in [7, 6, 1, 10] {
            let taken = ledger.take(tag).unwrap();
            ledger.file(taken);
            assert_eq!(tags(&ledger), (1..=10).collect::<Vec<_>>());
        }
        ledger.take_through(7, |_| {}).unwrap();
        assert_eq!(tags(&ledger), [8, 9, 10]);
    }
}
