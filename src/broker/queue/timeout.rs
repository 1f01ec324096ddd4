//! How long consumers of a queue may take.

use std::sync::atomic::Ordering;

use super::Queue;

/// Stands for none.
const NO_TIMEOUT: u64 = u64::MAX;

impl Queue {
    /// In ms, how long a delivery from this queue may wait for its acknowledgement; 0 is without end, `None` what the
    /// broker is configured to. It is asked for each run that is delivered, so what it says holds from then on.
    pub fn consumer_timeout_ms(&self) -> Option<u64> {
        match self.consumer_timeout_ms.load(Ordering::Relaxed) {
            NO_TIMEOUT => None,
            ms => Some(ms),
        }
    }

    pub(super) fn set_consumer_timeout(&self, ms: Option<u64>) {
        self.consumer_timeout_ms.store(ms.unwrap_or(NO_TIMEOUT), Ordering::Relaxed);
    }
}
