//! Publisher confirms of one channel.
//!
//! ```text
//!    answered        filed, with epochs that grow         published in this turn
//!   ──────────┼──────────┬────────────┬───────────┼──────────────────────────────▶ publish tags
//!             │ epoch 7  │  epoch 8   │  epoch 9  │
//! ```
//!
//! What needs no epoch is answered at the end of its turn, but never before what was published earlier.

use std::collections::VecDeque;

use crate::storage::Epoch;
use crate::storage::log::{Log, Outcome};
use crate::wire::deliver;

/// Publishes, which are numbered from 1, and how far they are answered.
#[derive(Default)]
pub struct Confirms {
    /// Publishes so far.
    published: u64,
    /// All up to here have been confirmed, or refused.
    answered: u64,
    /// Whether the turn's list of channels to confirm has this one.
    listed: bool,
    /// What has to be kept first, in the order of the tags; the epochs grow.
    waiting: VecDeque<Waiting>,
    /// Those that are not answered yet and were refused by a queue; ascending.
    refused: VecDeque<u64>,
}

/// Publishes up to a tag, and the epoch with which they are kept.
struct Waiting {
    through: u64,
    epoch: Epoch,
}

impl Confirms {
    /// Publishes that are neither confirmed nor refused.
    pub fn unanswered(&self) -> u64 {
        self.published - self.answered
    }

    /// Counts publishes. Returns whether the channel is to be entered in the turn's list.
    #[inline]
    pub fn count(&mut self, publishes: u64) -> bool {
        self.published += publishes;
        !std::mem::replace(&mut self.listed, true)
    }

    /// The number of the last publish.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Some of the last publishes were refused by a queue, whatever becomes of them in others. `numbers` are ascending.
    pub fn refuse(&mut self, numbers: Vec<u64>) {
        self.refused.extend(numbers);
        debug_assert!(self.refused.iter().is_sorted());
    }

    /// The turn has come to this channel, or it is answered before that.
    #[inline]
    pub fn unlist(&mut self) {
        self.listed = false;
    }

    /// Whether some publishes wait for the disk.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The epochs of the first and of the last of them.
    pub fn waits_for(&self) -> Option<(Epoch, Epoch)> {
        Some((self.waiting.front()?.epoch, self.waiting.back()?.epoch))
    }

    /// Confirms everything, where nothing waits for the disk.
    #[inline]
    pub fn confirm_all(&mut self, channel: u16, out: &mut Vec<u8>) {
        if self.published > self.answered {
            self.answer(Outcome::Kept, self.published, channel, out);
        }
    }

    /// Takes note that what was published since the last time is kept with this epoch. If that is none, it still is not
    /// confirmed before what was published earlier.
    pub fn file(&mut self, epoch: Epoch) {
        let through = self.published;
        match self.waiting.back_mut() {
            Some(last) if last.epoch >= epoch => last.through = through,
            Some(last) if last.through == through => {}
            None if self.answered == through => {}
            _ => self.waiting.push_back(Waiting { through, epoch }),
        }
    }

    /// Answers what the log has settled, in order, equal answers in one.
    pub fn answer_settled(&mut self, log: &Log, channel: u16, out: &mut Vec<u8>) {
        while let Some((outcome, through)) = self.take_settled(log) {
            self.answer(outcome, through, channel, out);
        }
    }

    fn take_settled(&mut self, log: &Log) -> Option<(Outcome, u64)> {
        let first = self.waiting.front()?;
        let (outcome, mut through) = (log.outcome(first.epoch), first.through);
        if outcome == Outcome::Pending {
            return None;
        }
        self.waiting.pop_front();
        while let Some(next) = self.waiting.front().filter(|next| log.outcome(next.epoch) == outcome) {
            through = next.through;
            self.waiting.pop_front();
        }
        Some((outcome, through))
    }

    #[inline]
    fn answer(&mut self, outcome: Outcome, through: u64, channel: u16, out: &mut Vec<u8>) {
        while let Some(&refused) = self.refused.front()
            && refused <= through
        {
            self.refused.pop_front();
            if refused > self.answered + 1 {
                self.answer_alike(outcome, refused - 1, channel, out);
            }
            let mut last = refused;
            while self.refused.front().is_some_and(|next| *next == last + 1 && *next <= through) {
                self.refused.pop_front();
                last += 1;
            }
            self.answer_alike(Outcome::Refused, last, channel, out);
        }
        if through > self.answered {
            self.answer_alike(outcome, through, channel, out);
        }
    }

    #[inline]
    fn answer_alike(&mut self, outcome: Outcome, through: u64, channel: u16, out: &mut Vec<u8>) {
        let multiple = through - self.answered > 1;
        self.answered = through;
        if outcome == Outcome::Kept {
            deliver::confirm(out, channel, through, multiple);
        } else {
            deliver::refuse(out, channel, through, multiple);
        }
    }
}
