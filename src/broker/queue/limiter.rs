//! The limits that all consumers of one channel share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::Queue;

/// Counts a channel's unacknowledged deliveries against `basic.qos` with `global` and against the channel's own
/// ceiling. Queues ask it before they assign; one that is refused is remembered and told when there is room again.
pub struct ChannelLimiter {
    /// `basic.qos` with `global`; 0 is none.
    prefetch: AtomicU32,
    /// The most that a channel may have outstanding whatever its prefetch; 0 is none.
    ceiling: u32,
    outstanding: AtomicU32,
    some_wait: AtomicBool,
    waiting: Mutex<VecDeque<Weak<Queue>>>,
}

impl ChannelLimiter {
    pub fn new(ceiling: u32) -> Arc<ChannelLimiter> {
        Arc::new(ChannelLimiter {
            prefetch: AtomicU32::new(0),
            ceiling,
            outstanding: AtomicU32::new(0),
            some_wait: AtomicBool::new(false),
            waiting: Mutex::default(),
        })
    }

    /// The `global` prefetch; 0 is none.
    pub fn prefetch(&self) -> u32 {
        self.prefetch.load(Ordering::Relaxed)
    }

    fn limit(&self) -> u32 {
        let prefetch = self.prefetch.load(Ordering::SeqCst);
        let limit = |n: u32| if n == 0 { u32::MAX } else { n };
        limit(prefetch).min(limit(self.ceiling))
    }

    /// Takes room for up to `want` deliveries; returns for how many there was.
    pub fn acquire(&self, want: u32) -> u32 {
        let limit = self.limit();
        let mut outstanding = self.outstanding.load(Ordering::SeqCst);
        loop {
            let take = want.min(limit.saturating_sub(outstanding));
            if take == 0 {
                return 0;
            }
            let taken = outstanding + take;
            match self.outstanding.compare_exchange_weak(outstanding, taken, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return take,
                Err(now) => outstanding = now,
            }
        }
    }

    /// Whether even a consumer that does not acknowledge has to pause: a channel at its `global` prefetch gets nothing.
    pub fn is_full(&self) -> bool {
        self.outstanding.load(Ordering::SeqCst) >= self.limit()
    }

    /// Gives back room: acquired and not used, or of deliveries that were settled. In the second case queues may have
    /// waited for it; see [`next_waiting`](Self::next_waiting).
    pub fn give_back(&self, count: u32) {
        self.outstanding.fetch_sub(count, Ordering::SeqCst);
    }

    /// Remembers a queue that was refused. The caller must ask once more afterwards: room may have come meanwhile.
    pub fn wait(&self, queue: &Weak<Queue>) {
        let mut waiting = self.waiting.lock().expect("a limiter's lock is never held across a panic");
        if !waiting.iter().any(|w| w.ptr_eq(queue)) {
            waiting.push_back(queue.clone());
        }
        self.some_wait.store(true, Ordering::SeqCst);
    }

    /// Changes the `global` prefetch; like [`give_back`](Self::give_back) it may let queues go on.
    pub fn set_prefetch(&self, prefetch: u32) {
        self.prefetch.store(prefetch, Ordering::SeqCst);
    }

    /// While there is room, the queue that has waited longest. The caller, who holds no lock, tells it, and asks again:
    /// one that is refused once more waits behind all others, so that each has its turn.
    pub fn next_waiting(&self) -> Option<Arc<Queue>> {
        while self.some_wait.load(Ordering::SeqCst) && !self.is_full() {
            let mut waiting = self.waiting.lock().expect("a limiter's lock is never held across a panic");
            let next = waiting.pop_front();
            self.some_wait.store(!waiting.is_empty(), Ordering::SeqCst);
            if let Some(queue) = next?.upgrade() {
                return Some(queue);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
