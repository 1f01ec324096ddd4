//! The wait of a publisher for the log to catch up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::broker::outbox::Outbox;
use crate::storage::log::Waiter;

/// Knows whether the log has said that there is room; an outbox is notified for many reasons.
pub struct Room {
    outbox: Arc<Outbox>,
    is_there: AtomicBool,
}

impl Room {
    pub fn new(outbox: &Arc<Outbox>) -> Arc<Room> {
        Arc::new(Room { outbox: outbox.clone(), is_there: AtomicBool::new(false) })
    }

    pub fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }
}

impl Waiter for Room {
    fn notify(self: Arc<Self>) {
        self.is_there.store(true, Ordering::Release);
        self.outbox.notify_now();
    }
}
