//! How ready messages leave memory: as soon as they are on disk if they lie behind the head of their queue, and when
//! memory is short.

use super::cold::Range;
use super::ready::Ready;
use crate::storage::Epoch;
use crate::storage::chunk::Run;
use crate::storage::store::Store;

/// Runs looked at in one step, so that a queue's lock is not held for long.
const RUNS_A_STEP: usize = 1024;
/// Bytes that are spilled at once.
const SPILL_BYTES: u64 = 4 * 1024 * 1024;

/// Which messages are to leave memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Those that are on disk already.
    OnDisk,
    /// All of them: the others are spilled.
    All,
}

/// How far a queue has come with letting its messages leave memory.
pub struct Shrink {
    /// So many bytes at the head stay.
    pub keep_bytes: u64,
    leaving: Leaving,
    /// To be written to disk, as they are not there.
    pub to_spill: Vec<Run>,
    spill_bytes: u64,
    /// Bytes of runs, put from the line to where such are looked for, that can leave memory only by being spilled.
    displaced_bytes: u64,
    /// Whether the line is being looked through, before all else.
    is_in_line: bool,
    /// Runs at this position and behind it have been looked at where they were placed.
    looked_at_from: u64,
}

impl Shrink {
    pub fn to(keep_bytes: u64, leaving: Leaving) -> Shrink {
        Shrink {
            keep_bytes,
            leaving,
            to_spill: Vec::new(),
            spill_bytes: 0,
            displaced_bytes: 0,
            is_in_line: true,
            looked_at_from: u64::MAX,
        }
    }

    /// Whether more should leave a head of so many bytes, of which some are to be spilled.
    fn wants_more(&self, head_bytes: u64, spill_bytes: u64) -> bool {
        head_bytes > self.keep_bytes + spill_bytes && spill_bytes < SPILL_BYTES
    }
}

impl Ready {
    /// Lets what lies behind the head, of so many bytes, leave memory as far as it is on disk. Each run is looked at once, but
    /// for the one that is not: returns the epoch with which it will be.
    pub fn fold_tail(&mut self, store: &Store, resident_bytes: u64) -> Option<Epoch> {
        while let Some(run) = self.tail.front() {
            let has_room = self.bytes() - self.tail_bytes < resident_bytes;
            let is_kept = Store::keeps(run);
            if is_kept && !has_room && !store.has(run) {
                return Some(run.epoch);
            }
            let run = self.tail.pop_front()?;
            self.tail_bytes -= run.bytes() as u64;
            if has_room {
                self.fresh.push_back(run);
            } else if is_kept {
                self.fold(run);
            } else {
                self.placed.insert(run.first_seq, run);
            }
        }
        None
    }

    /// Lets a run that has been taken out leave memory: it is on disk.
    fn fold(&mut self, run: Run) {
        self.replace_with_range(run, false);
    }

    fn replace_with_range(&mut self, run: Run, spilled: bool) {
        self.count_out(&run);
        self.insert_cold(Range::of_run(&run, spilled));
        run.settle();
    }

    /// Lets messages leave memory until no more than the head is there, from the back, and notes which of them would
    /// have to be spilled. Returns whether there is nothing more to be done.
    pub fn shrink(&mut self, shrink: &mut Shrink, store: &Store) -> bool {
        (0..RUNS_A_STEP).any(|_| !self.shrink_one(shrink, store))
    }

    /// Looks at one run, first in the line, then where they were placed. Returns false if there is nothing to look at.
    fn shrink_one(&mut self, shrink: &mut Shrink, store: &Store) -> bool {
        if shrink.is_in_line {
            let wants_more = shrink.wants_more(self.head_bytes(), shrink.displaced_bytes);
            match if wants_more { self.fresh.pop_back() } else { None } {
                Some(run) => self.shrink_line(run, shrink, store),
                None => shrink.is_in_line = false,
            }
            return true;
        }
        if !shrink.wants_more(self.head_bytes(), shrink.spill_bytes) {
            return false;
        }
        let Some((&first_seq, _)) = self.placed.range(..shrink.looked_at_from).next_back() else { return false };
        shrink.looked_at_from = first_seq;
        self.shrink_placed(first_seq, shrink, store);
        true
    }

    fn shrink_line(&mut self, run: Run, shrink: &mut Shrink, store: &Store) {
        if store.has(&run) {
            self.fold(run);
        } else if Store::keeps(&run) {
            // It leaves by itself when it is written.
            self.tail_bytes += run.bytes() as u64;
            self.tail.push_front(run);
        } else if shrink.leaving == Leaving::OnDisk {
            self.fresh.push_back(run);
            shrink.is_in_line = false;
        } else {
            shrink.displaced_bytes += run.bytes() as u64;
            self.placed.insert(run.first_seq, run);
        }
    }

    fn shrink_placed(&mut self, first_seq: u64, shrink: &mut Shrink, store: &Store) {
        let Some(run) = self.placed.get(&first_seq) else { return };
        if store.has(run) {
            if let Some(run) = self.placed.remove(&first_seq) {
                self.fold(run);
            }
        } else if !Store::keeps(run) && shrink.leaving == Leaving::All {
            shrink.spill_bytes += run.bytes() as u64;
            shrink.to_spill.push(run.clone());
        }
    }

    /// Lets messages that were spilled leave memory, if they still wait and are not one with others. Returns the
    /// positions, as first and end, that were spilled in vain.
    pub fn fold_spilled(&mut self, spilled: &Run) -> Vec<(u64, u64)> {
        let mut in_vain = Vec::new();
        let mut at = spilled.first_seq;
        while let Some((&first_seq, run)) = self.placed.range(at..spilled.end_seq()).next() {
            if run.end_seq() > spilled.end_seq() {
                break;
            }
            if at < first_seq {
                in_vain.push((at, first_seq));
            }
            at = run.end_seq();
            if let Some(run) = self.placed.remove(&first_seq) {
                self.replace_with_range(run, true);
            }
        }
        if at < spilled.end_seq() {
            in_vain.push((at, spilled.end_seq()));
        }
        in_vain
    }
}
