//! Resource alarms: while one is on, connections that publish are told so and not read.

use std::sync::atomic::{AtomicU8, Ordering};

const MEMORY: u8 = 1;

/// The alarms that are on.
#[derive(Default)]
pub struct Alarm {
    on: AtomicU8,
}

impl Alarm {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed) != 0
    }

    /// Sets or clears the memory alarm; returns whether that changed it.
    pub fn set_memory(&self, on: bool) -> bool {
        let before =
            if on { self.on.fetch_or(MEMORY, Ordering::SeqCst) } else { self.on.fetch_and(!MEMORY, Ordering::SeqCst) };
        (before & MEMORY != 0) != on
    }

    /// The reason that `connection.blocked` gives, in RabbitMQ's words.
    pub fn reason(&self) -> &'static str {
        "low on memory"
    }
}
