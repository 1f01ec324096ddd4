//! The lines in which a queue's messages wait: one for each level of priority that has been used.
//!
//! Each has positions of its own, and to the store each is a queue of its own, so that priorities drawn at random leave
//! long runs and few ranges. A queue without priorities has one.

use super::ready::Ready;
use crate::storage::QueueId;

pub struct Lane {
    /// Of the queue and this level.
    pub id: QueueId,
    pub ready: Ready,
    pub next_seq: u64,
    /// All positions below are known to the log as delivered perhaps.
    pub delivered_mark: u64,
    /// Messages are being read from disk.
    pub loading: bool,
    /// While something is being spilled: how much is to stay in memory in the end.
    pub spilling: Option<u64>,
}

impl Lane {
    fn new(id: QueueId) -> Lane {
        Lane { id, ready: Ready::default(), next_seq: 0, delivered_mark: 0, loading: false, spilling: None }
    }
}

pub struct Lanes {
    queue: QueueId,
    /// Level 0.
    lowest: Lane,
    /// The levels from 1 on.
    higher: Vec<Lane>,
}

impl Lanes {
    pub fn new(queue: QueueId) -> Lanes {
        Lanes { queue, lowest: Lane::new(queue), higher: Vec::new() }
    }

    /// How many levels there are.
    pub fn count(&self) -> usize {
        1 + self.higher.len()
    }

    /// The highest level at which a message waits; 0 if there is none.
    #[inline]
    pub fn front_level(&self) -> u8 {
        match self.higher.iter().rposition(|lane| !lane.ready.is_empty()) {
            Some(above_lowest) => above_lowest as u8 + 1,
            None => 0,
        }
    }

    /// The line whose turn it is.
    #[inline]
    pub fn front(&self) -> &Lane {
        self.at(self.front_level())
    }

    #[inline]
    pub fn front_mut(&mut self) -> &mut Lane {
        self.at_mut(self.front_level())
    }

    /// The line of a level that has been used.
    #[inline]
    pub fn at(&self, level: u8) -> &Lane {
        if level == 0 { &self.lowest } else { &self.higher[usize::from(level) - 1] }
    }

    /// The line of a level, with all below it.
    #[inline]
    pub fn at_mut(&mut self, level: u8) -> &mut Lane {
        if level == 0 {
            return &mut self.lowest;
        }
        while self.higher.len() < usize::from(level) {
            let level = self.higher.len() as u8 + 1;
            self.higher.push(Lane::new(self.queue.lane(level)));
        }
        &mut self.higher[usize::from(level) - 1]
    }

    /// By rising level.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Lane> {
        std::iter::once(&self.lowest).chain(&self.higher)
    }

    /// By rising level.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Lane> {
        std::iter::once(&mut self.lowest).chain(&mut self.higher)
    }

    #[inline]
    pub fn messages(&self) -> u64 {
        self.lowest.ready.messages() + self.higher.iter().map(|lane| lane.ready.messages()).sum::<u64>()
    }

    #[inline]
    pub fn bytes(&self) -> u64 {
        self.lowest.ready.bytes() + self.higher.iter().map(|lane| lane.ready.bytes()).sum::<u64>()
    }

    /// See [`Ready::head_bytes`].
    pub fn head_bytes(&self) -> u64 {
        self.iter().map(|lane| lane.ready.head_bytes()).sum()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.lowest.ready.is_empty() && self.higher.iter().all(|lane| lane.ready.is_empty())
    }

    /// Takes out all that waits.
    pub fn take_ready(&mut self) -> Vec<Ready> {
        self.iter_mut().map(|lane| std::mem::take(&mut lane.ready)).collect()
    }
}
