//! The messages of one queue, an entry each.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::durable::Waiting;
use crate::broker::queue::Queue;
use crate::storage::QueueId;
use crate::storage::chunk::{Chunk, OpenChunk, Run};
use crate::storage::record::{append_prefix, flags};

#[derive(Clone, Debug)]
pub struct Message {
    pub id: u64,
    /// Whether it is to be there after a crash.
    pub durable: bool,
    /// Whether it came with such messages.
    pub logged: bool,
    pub redelivered: bool,
    /// Whether whoever has it is to acknowledge it.
    pub to_be_acked: bool,
}

/// A message as it is published.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub id: u64,
    pub persistent: bool,
}

pub struct QueueModel {
    pub queue: Arc<Queue>,
    pub id: QueueId,
    pub name: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub dead: bool,
    pub ready: BTreeMap<u64, Message>,
    /// Handed out and not settled.
    pub out: BTreeMap<u64, Message>,
    pub next_seq: u64,
    /// What is below may have been delivered.
    pub mark: u64,
}

/// The length of a message's body depends on its id, often in the same way.
pub fn body_of(id: u64) -> Vec<u8> {
    let more = match id % 16 {
        0..10 => 7,
        10..14 => (id * 131 % 700) as usize,
        _ => 2000 + (id * 37 % 3000) as usize,
    };
    [&id.to_le_bytes()[..], &vec![id as u8; more]].concat()
}

pub fn prefix_of(message: Published, exchange: &str, key: &str) -> Vec<u8> {
    let (mut prefix, body_bytes) = (Vec::new(), body_of(message.id).len() as u32);
    let flags = if message.persistent { flags::PERSISTENT } else { 0 };
    append_prefix(&mut prefix, flags, exchange.as_bytes(), key.as_bytes(), &[0, 0], body_bytes);
    prefix
}

pub fn chunk_of(messages: &[Published]) -> Arc<Chunk> {
    let mut open = OpenChunk::default();
    messages.iter().for_each(|&message| open.push(&prefix_of(message, "", "k"), &body_of(message.id)));
    open.close()
}

/// The ids of the messages of a run, at their positions.
pub fn read(run: &Run) -> Vec<(u64, u64)> {
    let one = |(seq, record): (u64, crate::storage::record::Record<'_>)| {
        let id = u64::from_le_bytes(*record.body().first_chunk().expect("an id"));
        assert!(record.body() == body_of(id), "the body of {id} is not what was published");
        (seq, id)
    };
    (run.first_seq..).zip(run.records()).map(one).collect()
}

impl QueueModel {
    pub fn new(queue: Arc<Queue>) -> QueueModel {
        QueueModel {
            id: queue.id,
            name: queue.name().to_string(),
            durable: queue.definition.durable,
            auto_delete: queue.definition.auto_delete,
            queue,
            dead: false,
            ready: BTreeMap::new(),
            out: BTreeMap::new(),
            next_seq: 0,
            mark: 0,
        }
    }

    pub fn recovered(queue: Arc<Queue>, found: &Waiting, next_seq: u64) -> QueueModel {
        let message = |(&seq, &id): (&u64, &u64)| {
            let redelivered = seq < found.delivered;
            (seq, Message { id, durable: true, logged: true, redelivered, to_be_acked: false })
        };
        let ready = found.messages.iter().map(message).collect();
        QueueModel { ready, next_seq, mark: found.delivered, ..QueueModel::new(queue) }
    }

    /// Takes messages in; returns what of them is durable.
    pub fn enqueue(&mut self, messages: &[Published]) -> Vec<(u64, u64)> {
        let logged = self.durable && messages.iter().any(|message| message.persistent);
        let mut durable = Vec::new();
        for &Published { id, persistent } in messages {
            let seq = self.next_seq;
            self.next_seq += 1;
            let message =
                Message { id, durable: self.durable && persistent, logged, redelivered: false, to_be_acked: false };
            durable.extend(message.durable.then_some((seq, id)));
            self.ready.insert(seq, message);
        }
        durable
    }

    /// Messages are handed out. Returns the position below which all may have been delivered, if it is a new one.
    pub fn give(&mut self, run: &Run, no_ack: bool) -> Option<u64> {
        let mut logged = false;
        for (seq, id) in read(run) {
            let name = &self.name;
            let Some(mut message) = self.ready.remove(&seq) else { panic!("{id} of {name} is given away twice") };
            assert_eq!((id, run.redelivered), (message.id, message.redelivered), "at {seq} of {name}");
            message.to_be_acked = !no_ack;
            logged |= message.logged;
            self.out.insert(seq, message);
        }
        assert_eq!(run.epoch.is_some(), logged, "{run:?} of {}", self.name);
        let is_new = logged && !no_ack && run.end_seq() > self.mark;
        is_new.then(|| {
            self.mark = run.end_seq();
            self.mark
        })
    }

    /// Takes out what was handed out; returns which of it is durable, and whether any is logged.
    pub fn settle(&mut self, run: &Run) -> (Vec<u64>, bool) {
        let (mut durable, mut logged) = (Vec::new(), false);
        for seq in run.first_seq..run.end_seq() {
            let message = self.out.remove(&seq).expect("it was handed out");
            durable.extend(message.durable.then_some(seq));
            logged |= message.logged;
        }
        (durable, logged)
    }

    pub fn take_back(&mut self, run: &Run, redelivered: bool) {
        for seq in run.first_seq..run.end_seq() {
            let mut message = self.out.remove(&seq).expect("it was handed out");
            message.redelivered |= redelivered;
            if !self.dead {
                self.ready.insert(seq, message);
            }
        }
    }

    /// Nothing is lost and nothing doubled, wherever it is.
    pub fn check(&self) {
        if self.dead {
            return assert_eq!((self.queue.is_dead(), self.queue.counts()), (true, (0, 0)), "{}", self.name);
        }
        let unacked = self.out.values().filter(|message| message.to_be_acked).count() as u64;
        let counts = (u64::from(self.queue.counts().0), self.queue.unacked());
        assert_eq!(counts, (self.ready.len() as u64, unacked), "ready and unacknowledged of {}", self.name);
    }
}
