//! The alarms: memory and disk are looked at again and again, and connections are told what has changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::blocking;
use crate::broker::Broker;
use crate::broker::queue::Leaving;
use crate::config::memory;
use crate::storage::chunk;
use crate::storage::store::Store;

/// How often memory is looked at.
const MEMORY_INTERVAL: Duration = Duration::from_millis(100);
/// Asking queues for memory may take so much of the time: one part of it.
const SHRINK_SHARE: u32 = 10;
/// How often the disk is looked at, at least ...
const DISK_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// ... and at most, near the limit.
const DISK_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// No disk fills faster.
const DISK_BYTES_PER_S: u64 = 2_000_000_000;

/// Has messages leave memory where they hold much of it, and raises the memory alarm while they hold more than the high
/// watermark allows.
pub async fn memory(broker: Arc<Broker>) {
    let total = memory::total_or_assumed_bytes();
    let durable_mark = broker.config.limits.durable_resident_bytes;
    let mut told = None;
    loop {
        let (paging_mark, mark) = broker.alarm.marks().memory_bytes(total);
        if told.replace(mark) != Some(mark) {
            tracing::info!("memory high watermark set to {} MiB of {} MiB", mark >> 20, total >> 20);
        }
        sleep(MEMORY_INTERVAL).await;
        let used = chunk::bytes_in_memory() as u64;
        if broker.alarm.set_memory(used >= mark) {
            if used >= mark {
                let used = used >> 20;
                tracing::warn!("memory resource limit alarm set: messages hold {used} MiB; publishers are blocked");
            } else {
                tracing::warn!("memory resource limit alarm cleared");
            }
            broker.notify_all();
        }
        broker.alarm.set_paging(used > paging_mark);
        if used > paging_mark {
            // What was delivered before it was on disk may be there by now.
            broker.notify_all();
            sleep(shrink(&broker, used - paging_mark, Leaving::All).await).await;
        } else if used > durable_mark {
            sleep(shrink(&broker, used - durable_mark, Leaving::OnDisk).await).await;
        }
    }
}

/// Asks queues for memory, and says how long to leave them alone.
async fn shrink(broker: &Arc<Broker>, excess_bytes: u64, leaving: Leaving) -> Duration {
    let broker = broker.clone();
    let began = Instant::now();
    blocking(move || broker.shrink_queues(excess_bytes, leaving)).await;
    began.elapsed() * (SHRINK_SHARE - 1)
}

/// Raises the disk alarm while less is free than the limit asks for.
pub async fn disk(broker: Arc<Broker>, store: Arc<Store>) {
    let total = memory::total_or_assumed_bytes();
    let mut is_known = true;
    let mut told = None;
    loop {
        let limit = broker.alarm.marks().disk_free_limit.bytes_of(total);
        if told.replace(limit) != Some(limit) {
            tracing::info!("disk free limit set to {} MB", limit / 1_000_000);
        }
        let store = store.clone();
        let found = blocking(move || store.free_bytes()).await;
        let was_known = std::mem::replace(&mut is_known, matches!(found, Ok(Some(_))));
        let free = match found {
            Ok(Some(free)) => free,
            // Where it is not known, writes that fail tell.
            unknown => {
                if was_known {
                    let why = unknown.err().map_or("the system does not say".to_owned(), |error| error.to_string());
                    tracing::warn!("cannot see how much of the disk is free: {why}; there is no disk alarm meanwhile");
                }
                u64::MAX
            }
        };
        if broker.alarm.set_disk(free < limit) {
            tell_disk(free, limit);
            broker.notify_all();
        }
        sleep(until_next_look(free, limit)).await;
    }
}

fn tell_disk(free: u64, limit: u64) {
    if free < limit {
        tracing::warn!("Free disk space is insufficient. Free bytes: {free}. Limit: {limit}");
        tracing::warn!("disk resource limit alarm set; publishers are blocked");
    } else {
        tracing::warn!("Free disk space is sufficient. Free bytes: {free}. Limit: {limit}");
        tracing::warn!("disk resource limit alarm cleared");
    }
}

/// Not later than the disk could cross the limit, in either direction.
fn until_next_look(free: u64, limit: u64) -> Duration {
    let away_ms = free.abs_diff(limit) / (DISK_BYTES_PER_S / 1000);
    Duration::from_millis(away_ms).clamp(DISK_INTERVAL_MIN, DISK_INTERVAL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_looked_at_the_more_often_the_nearer_the_limit_is() {
        let limit = 50_000_000;
        assert_eq!(until_next_look(u64::MAX, limit), DISK_INTERVAL_MAX);
        assert_eq!(until_next_look(limit + 1_000_000_000, limit), Duration::from_millis(500));
        assert_eq!(until_next_look(limit, limit), DISK_INTERVAL_MIN);
        assert_eq!(until_next_look(limit - 1, limit), DISK_INTERVAL_MIN);
        assert_eq!(until_next_look(0, 10_000_000_000), DISK_INTERVAL_MAX);
    }
}
