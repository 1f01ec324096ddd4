//! Where the keys of a window are kept: a hidden queue of small records, one for each key that a durable message brought.
//!
//! Its messages are never delivered. Keys enter at the tail and are settled at the head, as the window forgets them. Its
//! row, which says whose it is, is written with the first key.

use std::sync::Arc;

use super::key::Key;
use crate::broker::definitions::{Definition, HiddenOwner};
use crate::broker::queue::Queue;
use crate::storage::chunk::OpenChunk;
use crate::storage::record::{self, Record, flags};
use crate::storage::store::{RecoveredQueue, Store};
use crate::storage::{Epoch, QueueId};

/// Bytes that are read at once when a broker starts.
const READ_BYTES: usize = 1024 * 1024;

/// A key and until when it is remembered, in milliseconds since 1970.
pub type Kept = (Key, u64);

pub struct Line {
    store: Arc<Store>,
    owner: HiddenOwner,
    /// None while nothing has been kept.
    id: Option<QueueId>,
    first_seq: u64,
    next_seq: u64,
    /// The epoch in which the last key is kept.
    epoch: Epoch,
}

impl Line {
    pub fn new(store: Arc<Store>, owner: HiddenOwner) -> Line {
        Line { store, owner, id: None, first_seq: 0, next_seq: 0, epoch: Epoch::NONE }
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The epoch with which all keys are kept that have been added.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Reads back what is on disk. If a part of that is lost, all of it is written anew, at the next occasion.
    pub fn recovered(store: Arc<Store>, owner: HiddenOwner, id: QueueId, found: &RecoveredQueue) -> (Line, Vec<Kept>) {
        let mut line = Line::new(store, owner);
        line.next_seq = found.next_seq;
        line.first_seq = found.waiting.first().map_or(found.next_seq, |range| range.first_seq);
        let mut keys = Vec::new();
        for range in &found.waiting {
            line.read(id, range.first_seq, range.end_seq, &mut keys);
        }
        line.id = Some(id);
        if keys.len() as u64 != line.next_seq - line.first_seq {
            line.remove();
            line = Line::new(line.store, line.owner);
            line.append(keys.iter().copied());
        }
        (line, keys)
    }

    fn read(&self, id: QueueId, mut from_seq: u64, end_seq: u64, keys: &mut Vec<Kept>) {
        while from_seq < end_seq {
            let loaded = self.store.cold.read(id, from_seq, end_seq, READ_BYTES);
            keys.extend(loaded.runs.iter().flat_map(|run| run.records()).filter_map(|record| parse(&record)));
            if loaded.through_seq <= from_seq {
                return;
            }
            from_seq = loaded.through_seq;
        }
    }

    /// Adds keys at the tail. What they belong to is logged while the same [hold](crate::storage::log::Log::hold) lives.
    pub fn append(&mut self, keys: impl IntoIterator<Item = Kept>) {
        let mut open = OpenChunk::default();
        keys.into_iter().for_each(|kept| push(&mut open, kept));
        if open.is_empty() {
            return;
        }
        let id = self.id();
        let chunk = open.close();
        self.epoch = self.store.log.enqueue(id, self.next_seq, None, &chunk);
        self.next_seq += u64::from(chunk.records());
    }

    fn id(&mut self) -> QueueId {
        *self.id.get_or_insert_with(|| {
            let id = Queue::new_id();
            self.store.log.define(vec![Definition::Window { id, owner: self.owner.clone() }.put()]);
            id
        })
    }

    /// Takes the oldest keys off.
    pub fn settle(&mut self, keys: u64) {
        if let Some(id) = self.id
            && keys > 0
        {
            self.store.log.settle(id, self.first_seq, self.first_seq + keys);
            self.first_seq += keys;
        }
    }

    /// Ends the line: nothing of it is found after a restart.
    pub fn remove(&mut self) {
        if let Some(id) = self.id.take() {
            let log = &self.store.log;
            let _hold = log.hold();
            log.drop_queue(id);
            log.define(vec![Definition::Window { id, owner: self.owner.clone() }.delete()]);
        }
    }
}

/// A key as a record: one of a persistent message without exchange, routing key and properties.
fn push(open: &mut OpenChunk, (key, until_ms): Kept) {
    let mut body = [0; Key::BYTES + 8];
    body[..Key::BYTES].copy_from_slice(&key.to_bytes());
    body[Key::BYTES..].copy_from_slice(&until_ms.to_le_bytes());
    let mut prefix = Vec::with_capacity(record::HEAD_BYTES + 2);
    record::append_prefix(&mut prefix, flags::PERSISTENT, b"", b"", &[0, 0], body.len() as u32);
    open.push(&prefix, &body);
}

fn parse(record: &Record<'_>) -> Option<Kept> {
    let (key, rest) = record.body().split_first_chunk()?;
    Some((Key::from_bytes(key), u64::from_le_bytes(rest.try_into().ok()?)))
}
