//! What time it is: the system's, or what a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The system's time. It counts on over restarts, as deadlines of messages do.
    pub fn system() -> Clock {
        Clock(None)
    }

    /// A clock that stands still unless it is [set](Clock::set).
    pub fn manual(now_ms: u64) -> Clock {
        Clock(Some(Arc::new(AtomicU64::new(now_ms))))
    }

    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            Some(manual) => manual.load(Ordering::Relaxed),
        }
    }

    /// The time, rounded up: what is to come so many milliseconds after it is not early by the part of one that has passed.
    pub fn next_ms(&self) -> u64 {
        match &self.0 {
            None => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                now.as_micros().div_ceil(1000) as u64
            }
            Some(_) => self.now_ms(),
        }
    }

    /// Sets a manual clock; the system's is left alone.
    pub fn set(&self, now_ms: u64) {
        if let Some(manual) = &self.0 {
            manual.store(now_ms, Ordering::Relaxed);
        }
    }
}
