//! Resource alarms: while one is on, connections that publish are told so and not read.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

const MEMORY: u8 = 1;
const DISK: u8 = 2;

/// The alarms that are on.
#[derive(Default)]
pub struct Alarm {
    on: AtomicU8,
    /// Messages hold more memory than they should: long before there is an alarm, they begin to leave it.
    is_paging: AtomicBool,
}

impl Alarm {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed) != 0
    }

    /// Whether messages that are on disk are to leave memory.
    #[inline]
    pub fn is_paging(&self) -> bool {
        self.is_paging.load(Ordering::Relaxed)
    }

    /// Says whether messages that are on disk are to leave memory.
    pub fn set_paging(&self, on: bool) {
        self.is_paging.store(on, Ordering::Relaxed);
    }

    /// Sets or clears the memory alarm; returns whether that changed it.
    pub fn set_memory(&self, on: bool) -> bool {
        self.set(MEMORY, on)
    }

    /// Sets or clears the disk alarm; returns whether that changed it.
    pub fn set_disk(&self, on: bool) -> bool {
        self.set(DISK, on)
    }

    fn set(&self, alarm: u8, on: bool) -> bool {
        let before =
            if on { self.on.fetch_or(alarm, Ordering::SeqCst) } else { self.on.fetch_and(!alarm, Ordering::SeqCst) };
        (before & alarm != 0) != on
    }

    /// The reason that `connection.blocked` gives, in RabbitMQ's words; `None` while all is well.
    pub fn reason(&self) -> Option<&'static str> {
        match self.on.load(Ordering::SeqCst) {
            0 => None,
            MEMORY => Some("low on memory"),
            DISK => Some("low on disk"),
            _ => Some("low on memory & disk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alarm_is_set_and_cleared_alone() {
        let alarm = Alarm::default();
        assert_eq!((alarm.is_on(), alarm.reason()), (false, None));
        assert!(alarm.set_disk(true) && !alarm.set_disk(true));
        assert_eq!(alarm.reason(), Some("low on disk"));
        assert!(alarm.set_memory(true) && !alarm.set_memory(true));
        assert_eq!(alarm.reason(), Some("low on memory & disk"));
        assert!(alarm.set_disk(false) && !alarm.set_disk(false));
        assert_eq!((alarm.is_on(), alarm.reason()), (true, Some("low on memory")));
        assert!(alarm.set_memory(false) && !alarm.is_on());
    }
}
