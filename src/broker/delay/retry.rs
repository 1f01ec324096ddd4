//! Messages that were rejected and are to be tried again: held back for a while, then put at the tail of their queue.

use std::sync::Arc;

use super::header;
use super::{Delays, Why};
use crate::broker::policy::definition::Retry;
use crate::broker::queue::Dying;
use crate::storage::Epoch;
use crate::storage::record::{self, Record, flags};
use crate::wire::properties::PropertiesView;

impl Retry {
    /// How long a message is held back that is tried again for the `count`th time, counted from 1, in milliseconds; `None`
    /// if it is not tried again.
    pub fn delay_ms(&self, count: u32) -> Option<u64> {
        if count > self.attempts {
            return None;
        }
        let index = (count as usize).min(self.backoff_ms.len()).checked_sub(1);
        Some(index.map_or(0, |index| self.backoff_ms[index]))
    }
}

/// Rejected messages, parted by whether they are tried again.
pub struct Parted {
    /// Those that are, with when and as they come back: their records.
    again: Vec<(u64, Vec<u8>)>,
    /// The same, as they were.
    pub taken: Vec<Dying>,
    /// Those that have been tried often enough.
    pub over: Vec<Dying>,
}

/// Parts rejected messages, all of which are in memory; delays count from `from_ms`.
pub fn part(rejected: impl Iterator<Item = Dying>, retry: &Retry, from_ms: u64) -> Parted {
    let mut parted = Parted { again: Vec::new(), taken: Vec::new(), over: Vec::new() };
    for dying in rejected.flat_map(Dying::singly) {
        let record = dying.run.record(0);
        let view = PropertiesView::parse(record.properties(), u8::MAX).expect("properties were checked when they came");
        let count = header::retry_count(&view).saturating_add(1);
        match retry.delay_ms(count) {
            Some(delay_ms) => {
                parted.again.push((from_ms.saturating_add(delay_ms), counted(&record, &view, count)));
                parted.taken.push(dying);
            }
            None => parted.over.push(dying),
        }
    }
    parted
}

/// Holds back those that are tried again.
pub fn hold_back(delays: &Arc<Delays>, parted: &mut Parted) -> Epoch {
    delays.hold_back_records(std::mem::take(&mut parted.again).into_iter(), Why::Rejected)
}

/// The record with the count in its headers.
fn counted(record: &Record<'_>, view: &PropertiesView<'_>, count: u32) -> Vec<u8> {
    let properties = header::with_retry_count(view, count);
    let mut counted = Vec::with_capacity(record.bytes().len() + 32);
    let (exchange, key, body_bytes) = (record.exchange(), record.routing_key(), record.body_bytes() as u32);
    record::append_prefix(&mut counted, record.flags() | flags::HEADERS, exchange, key, &properties, body_bytes);
    counted.extend_from_slice(record.body());
    counted
}
