//! What the tests stand on: a broker under test, a peer that speaks raw bytes, and the bytes themselves.

pub mod broker;
pub mod bystander;
pub mod local;
pub mod peer;
pub mod props;
pub mod wire;

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test and no earlier run uses, so that all tests can share a broker.
pub fn unique(prefix: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let nanos = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").subsec_nanos();
    format!("{prefix}-{}-{number}-{nanos}", std::process::id())
}

/// Leaves a test that asserts a choice of Leveret's when the broker under test is RabbitMQ.
#[macro_export]
macro_rules! leveret_only {
    ($reason:expr) => {
        if $crate::support::broker::under_test_is_foreign() {
            eprintln!("skipped against another broker: {}", $reason);
            return;
        }
    };
}
