//! What queues and the server hand to a connection: assigned runs, cancellations, wake-ups.
//!
//! Any thread may push; only the connection's own task takes. The lock is the last in the lock order
//! (queue → outbox) and is held for a few instructions.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::connections::Report;
use crate::storage::chunk::Run;
use crate::storage::log::Waiter;

/// Which of its connection's consumers a thing is for: the slot in the connection's table of consumers.
pub type ConsumerSlot = u32;

#[derive(Debug)]
pub enum Item {
    /// Messages that a queue assigned to a consumer.
    Deliver { slot: ConsumerSlot, run: Run },
    /// The queue is gone; nothing more comes for this consumer.
    Cancelled { slot: ConsumerSlot },
}

/// What a connection's task is to do in its next turn, however much of its output waits to be written.
pub enum Demand {
    /// Tell what it knows of itself.
    Report(Box<dyn FnOnce(Report) + Send>),
    /// Close the connection: `connection.close` 320 with this reason.
    Close { reason: String },
}

#[derive(Default)]
struct Inner {
    items: VecDeque<Item>,
    /// Boxed, as there hardly ever are any: every connection has room for them.
    #[expect(clippy::box_collection)]
    demands: Option<Box<Vec<Demand>>>,
    waker: Option<Waker>,
    parked: Parked,
    notified: bool,
}

/// What a waiting task is to be woken for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Parked {
    /// It runs, or has been woken already.
    #[default]
    No,
    /// It could not use items now (its socket takes no more), only notifications.
    ForNotifications,
    ForItems,
}

#[derive(Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    /// Whether there are demands: looked at in every turn, without the lock.
    has_demands: AtomicBool,
}

/// Tasks to wake once all locks are released; each appears once, however much it was handed.
#[derive(Default)]
pub struct Wakes(Vec<Waker>);

impl Wakes {
    pub fn wake_all(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }
}

impl Drop for Wakes {
    /// A wake that was promised is never lost.
    fn drop(&mut self) {
        self.wake_all();
    }
}

/// The outbox, locked for several pushes.
pub struct OutboxGuard<'a>(MutexGuard<'a, Inner>);

impl OutboxGuard<'_> {
    pub fn push(&mut self, item: Item, wakes: &mut Wakes) {
        self.0.items.push_back(item);
        if self.0.parked == Parked::ForItems {
            self.0.wake(wakes);
        }
    }
}

impl Waiter for Outbox {
    fn notify(self: Arc<Self>) {
        self.notify_now();
    }
}

impl Inner {
    fn wake(&mut self, wakes: &mut Wakes) {
        if self.parked != Parked::No {
            self.parked = Parked::No;
            wakes.0.extend(self.waker.clone());
        }
    }
}

impl Outbox {
    pub fn lock(&self) -> OutboxGuard<'_> {
        OutboxGuard(self.inner.lock().expect("an outbox's lock is never held across a panic"))
    }

    pub fn push(&self, item: Item, wakes: &mut Wakes) {
        self.lock().push(item, wakes);
    }

    /// Makes the task look around: an alarm, a queue that has drained, a close.
    pub fn notify(&self, wakes: &mut Wakes) {
        let mut guard = self.lock();
        guard.0.notified = true;
        guard.0.wake(wakes);
    }

    /// Hands over what the task is to do at once.
    pub fn demand(&self, demand: Demand, wakes: &mut Wakes) {
        let mut guard = self.lock();
        guard.0.demands.get_or_insert_default().push(demand);
        self.has_demands.store(true, Ordering::Release);
        guard.0.notified = true;
        guard.0.wake(wakes);
    }

    /// What the task is to do at once, in the order in which it came.
    #[inline]
    pub fn take_demands(&self) -> Vec<Demand> {
        if self.has_demands.load(Ordering::Acquire) { self.take_some_demands() } else { Vec::new() }
    }

    #[cold]
    fn take_some_demands(&self) -> Vec<Demand> {
        let mut guard = self.lock();
        self.has_demands.store(false, Ordering::Release);
        guard.0.demands.take().map_or_else(Vec::new, |demands| *demands)
    }

    /// As [`notify`](Outbox::notify), for who holds no lock.
    pub fn notify_now(&self) {
        self.notify(&mut Wakes::default());
    }

    /// Moves what has come to the end of `into`.
    pub fn take(&self, into: &mut VecDeque<Item>) {
        let mut guard = self.lock();
        if into.is_empty() {
            std::mem::swap(into, &mut guard.0.items);
        } else {
            into.append(&mut guard.0.items);
        }
    }

    /// Registers the task to be woken by the next notification and, if it `wants_items`, by the next item. Returns
    /// false, and registers nothing, if there is such a thing already.
    pub fn park(&self, waker: &Waker, wants_items: bool) -> bool {
        let mut guard = self.lock();
        let inner = &mut guard.0;
        if std::mem::take(&mut inner.notified) || (wants_items && !inner.items.is_empty()) {
            return false;
        }
        if inner.items.is_empty() && inner.items.capacity() > 16 {
            inner.items = VecDeque::new();
        }
        match &inner.waker {
            Some(current) if current.will_wake(waker) => {}
            _ => inner.waker = Some(waker.clone()),
        }
        inner.parked = if wants_items { Parked::ForItems } else { Parked::ForNotifications };
        true
    }
}
