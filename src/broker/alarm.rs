//! Resource alarms: while one is on, connections that publish are told so and not read.
//!
//! An alarm is on because there is too little of a resource, which is looked at again and again, or because an operator has
//! raised it by hand; the two are kept apart, so that neither clears the other.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::limits::{DiskFreeLimit, Limits, MemoryHighWatermark};

const MEMORY: u8 = 1;
const DISK: u8 = 2;
/// What was raised by hand stands this many bits above.
const BY_HAND: u8 = 2;

/// What there can be too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Memory,
    Disk,
}

impl Resource {
    pub fn name(self) -> &'static str {
        match self {
            Resource::Memory => "memory",
            Resource::Disk => "disk",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Resource::Memory => MEMORY,
            Resource::Disk => DISK,
        }
    }
}

/// From where on a resource is short. They can be changed while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marks {
    pub memory_high_watermark: MemoryHighWatermark,
    /// Share of the watermark from which messages leave memory.
    pub memory_paging_share: f64,
    pub disk_free_limit: DiskFreeLimit,
}

impl Marks {
    pub fn configured(limits: &Limits) -> Marks {
        Marks {
            memory_high_watermark: limits.memory_high_watermark,
            memory_paging_share: limits.memory_paging_share,
            disk_free_limit: limits.disk_free_limit,
        }
    }

    /// Bytes held by messages from which they begin to leave memory, and from which publishers are blocked, where the
    /// machine or control group has `total_bytes` of memory.
    pub fn memory_bytes(&self, total_bytes: u64) -> (u64, u64) {
        let mark = self.memory_high_watermark.bytes_of(total_bytes);
        ((mark as f64 * self.memory_paging_share) as u64, mark)
    }
}

/// The alarms that are on.
pub struct Alarm {
    on: AtomicU8,
    /// Messages hold more memory than they should: long before there is an alarm, they begin to leave it.
    is_paging: AtomicBool,
    marks: RwLock<Marks>,
}

impl Default for Alarm {
    fn default() -> Alarm {
        Alarm::new(Marks::configured(&Limits::default()))
    }
}

impl Alarm {
    pub fn new(marks: Marks) -> Alarm {
        Alarm { on: AtomicU8::new(0), is_paging: AtomicBool::new(false), marks: RwLock::new(marks) }
    }

    pub fn marks(&self) -> Marks {
        *self.marks.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn change_marks(&self, change: impl FnOnce(&mut Marks)) {
        change(&mut self.marks.write().unwrap_or_else(PoisonError::into_inner));
    }

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

    /// Raises or clears by hand; returns whether that changed anything.
    pub fn set_by_hand(&self, resource: Resource, on: bool) -> bool {
        self.set(resource.bit() << BY_HAND, on)
    }

    /// Whether an alarm is on, and whether it was raised by hand.
    pub fn of(&self, resource: Resource) -> (bool, bool) {
        let on = self.on.load(Ordering::SeqCst);
        let by_hand = on & (resource.bit() << BY_HAND) != 0;
        (by_hand || on & resource.bit() != 0, by_hand)
    }

    fn set(&self, alarm: u8, on: bool) -> bool {
        let before =
            if on { self.on.fetch_or(alarm, Ordering::SeqCst) } else { self.on.fetch_and(!alarm, Ordering::SeqCst) };
        (before & alarm != 0) != on
    }

    /// The reason that `connection.blocked` gives, in RabbitMQ's words; `None` while all is well.
    pub fn reason(&self) -> Option<&'static str> {
        let on = self.on.load(Ordering::SeqCst);
        match (on | on >> BY_HAND) & (MEMORY | DISK) {
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

    #[test]
    fn what_was_raised_by_hand_stays_until_it_is_cleared_by_hand() {
        let alarm = Alarm::default();
        assert!(alarm.set_by_hand(Resource::Memory, true) && !alarm.set_by_hand(Resource::Memory, true));
        assert!(alarm.set_memory(true) && alarm.set_memory(false));
        assert_eq!((alarm.reason(), alarm.of(Resource::Memory)), (Some("low on memory"), (true, true)));
        assert!(alarm.set_disk(true));
        assert_eq!((alarm.reason(), alarm.of(Resource::Disk)), (Some("low on memory & disk"), (true, false)));
        assert!(alarm.set_by_hand(Resource::Memory, false));
        assert_eq!((alarm.reason(), alarm.of(Resource::Memory)), (Some("low on disk"), (false, false)));
    }
}
