//! One client: it consumes from all queues, settles, returns, and goes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::World;
use super::kept::{Kept, Place};
use crate::broker::ConnectionId;
use crate::broker::outbox::{Item, Outbox, Wakes};
use crate::broker::queue::limiter::ChannelLimiter;
use crate::broker::queue::{ConsumerKey, Got, HowReturned, HowSettled, NewConsumer, Returned};
use crate::storage::chunk::Run;
use crate::storage::record::flags;

pub struct Client {
    outbox: Arc<Outbox>,
    limiter: Arc<ChannelLimiter>,
    /// Taken from the outbox, not yet written: by consumer.
    inbox: VecDeque<(usize, Run)>,
    outstanding: Vec<Outstanding>,
    consumers: Vec<Consumer>,
    /// What was handed out last, in order.
    pub got: Vec<Place>,
}

pub struct Outstanding {
    queue: usize,
    consumer: Option<ConsumerKey>,
    run: Run,
    /// Its messages, which the run may have forgotten: the id of each that is durable.
    ids: Vec<(u64, bool)>,
}

struct Consumer {
    queue: usize,
    key: Option<ConsumerKey>,
    no_ack: bool,
    gone: bool,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            outbox: Arc::default(),
            limiter: ChannelLimiter::new(0),
            inbox: VecDeque::new(),
            outstanding: Vec::new(),
            consumers: Vec::new(),
            got: Vec::new(),
        }
    }
}

fn ids(run: &Run) -> Vec<(u64, bool)> {
    run.records().map(|record| (super::kept::id_of(&record), record.flags() & flags::PERSISTENT != 0)).collect()
}

impl World {
    pub fn consume(&mut self, queue: usize) {
        let (no_ack, prefetch) = (self.random.one_in(5), self.random.pick(&[1, 2, 5, 30]));
        self.start_consumer(queue, no_ack, prefetch);
    }

    pub fn start_consumer(&mut self, queue: usize, no_ack: bool, prefetch: u32) {
        let slot = self.client.consumers.len();
        let new = NewConsumer {
            connection: ConnectionId(1),
            channel: 1,
            tag: format!("c{slot}").into(),
            no_ack,
            exclusive: false,
            priority: 0,
            prefetch,
            outbox: self.client.outbox.clone(),
            slot: slot as u32,
            limiter: self.client.limiter.clone(),
            window_bytes: usize::MAX,
            arguments: None,
        };
        self.client.consumers.push(Consumer { queue, key: None, no_ack, gone: false });
        let key = self.queues[queue].consume(new, &mut Wakes::default());
        self.client.consumers[slot].key = Some(key.expect("nothing is exclusive"));
    }

    /// Takes what queues have handed out.
    pub fn collect(&mut self) {
        let mut items = VecDeque::new();
        self.client.outbox.take(&mut items);
        for item in items {
            let Item::Deliver { slot, run } = item else { panic!("no queue ends") };
            let slot = slot as usize;
            assert!(!self.client.consumers[slot].gone, "{run:?} is given to nobody");
            self.given(self.client.consumers[slot].queue, &run);
            self.client.inbox.push_back((slot, run));
        }
    }

    /// A message is handed out: it is there, was not handed out before, and is as it should be.
    fn given(&mut self, queue: usize, run: &Run) {
        let now_ms = self.ledger.now_ms;
        for (place, kept) in Kept::of_run(run, self.queues[queue].id) {
            assert!(self.out.insert(kept.id, place).is_none(), "{kept:?} is given away twice");
            assert!(kept.deadline_ms >= now_ms, "{kept:?} has expired at {now_ms}");
            assert_eq!(run.lane, self.ledger.level_of(queue, kept.record().priority()), "{kept:?} at {place:?}");
            self.client.got.push(place);
            if kept.record().flags() & flags::PERSISTENT == 0 {
                continue;
            }
            assert!(!self.ledger.has_ended(kept.id), "{kept:?} was settled");
            assert_eq!(kept.returns, self.ledger.returns(place), "{kept:?} at {place:?}");
            if let Some(known) = self.ledger.states.last().get(&place) {
                assert_eq!((known.id, known.deadline_ms), (kept.id, kept.deadline_ms), "at {place:?}");
                assert!(known.record == kept.record, "{kept:?} is not {known:?}");
            }
        }
    }

    /// Writes some of what was handed out.
    pub fn write(&mut self, most: usize) {
        self.collect();
        for _ in 0..most {
            let Some((slot, run)) = self.client.inbox.pop_front() else { return };
            let Consumer { queue, key, no_ack, .. } = self.client.consumers[slot];
            let key = key.expect("it was let in");
            let (bytes, at, ids) = (run.bytes(), self.store.log.filling_epoch(), ids(&run));
            let settled = (no_ack && run.epoch.is_some()).then(|| (run.lane, run.first_seq, run.end_seq()));
            if no_ack {
                self.end(&ids, at);
                run.settle();
            } else {
                self.client.outstanding.push(Outstanding { queue, consumer: Some(key), run, ids });
            }
            self.queues[queue].sent(key, bytes, settled.as_slice(), &mut Wakes::default());
            self.collect();
        }
    }

    fn end(&mut self, ids: &[(u64, bool)], epoch: crate::storage::Epoch) {
        for &(id, persistent) in ids {
            self.out.remove(&id).expect("it was handed out");
            if persistent {
                self.ledger.ended(id, epoch);
            }
        }
    }

    /// One of what is outstanding, or a part of it.
    fn some_outstanding(&mut self) -> Option<Outstanding> {
        self.collect();
        let outstanding = &mut self.client.outstanding;
        if outstanding.is_empty() {
            return None;
        }
        let at = self.random.below(outstanding.len());
        let mut taken = outstanding.remove(at);
        if taken.run.count > 1 && self.random.one_in(2) {
            let count = 1 + self.random.below(taken.run.count as usize - 1);
            let rest_ids = taken.ids.split_off(count);
            let front = taken.run.split_front(count as u32);
            let rest = std::mem::replace(&mut taken.run, front);
            outstanding.push(Outstanding { queue: taken.queue, consumer: taken.consumer, run: rest, ids: rest_ids });
        }
        Some(taken)
    }

    pub fn ack(&mut self) {
        let Some(Outstanding { queue, consumer, run, ids }) = self.some_outstanding() else { return };
        let at = self.store.log.filling_epoch();
        let is_logged = run.epoch.is_some();
        let epoch = self.queues[queue].settle([(consumer, run)], HowSettled::Acked, &mut Wakes::default());
        assert_eq!(epoch.is_some(), is_logged, "it is said when it is kept");
        self.end(&ids, at);
    }

    pub fn reject(&mut self) {
        let Some(Outstanding { queue, consumer, run, ids }) = self.some_outstanding() else { return };
        let epoch = self.queues[queue].settle([(consumer, run)], HowSettled::Rejected, &mut Wakes::default());
        if epoch.is_some() {
            assert!(self.ledger.settings[queue].dead_letters.is_none(), "it is not yet where it is to go");
            return self.end(&ids, epoch);
        }
        for (id, persistent) in ids {
            self.out.remove(&id).expect("it was handed out");
            if persistent {
                self.ledger.rejected(id, queue);
            }
        }
    }

    /// Returns to which queue something has gone back.
    pub fn requeue(&mut self) -> Option<usize> {
        let outstanding = self.some_outstanding()?;
        let queue = outstanding.queue;
        let returned = self.unsettled(outstanding);
        let _ = self.queues[queue].release(&[], || vec![returned], &mut Wakes::default());
        Some(queue)
    }

    fn unsettled(&mut self, Outstanding { queue, consumer, run, ids }: Outstanding) -> Returned {
        let (at, lane) = (self.store.log.filling_epoch(), self.queues[queue].id.lane(run.lane));
        for (seq, (id, persistent)) in (run.first_seq..).zip(ids) {
            self.out.remove(&id).expect("it was handed out");
            if persistent {
                self.ledger.returned(id, (lane, seq), at);
            }
        }
        Returned { run, consumer, to_be_acked: true, how: HowReturned::Unsettled }
    }

    fn unsent(&mut self, slot: usize, run: Run) -> Returned {
        for (id, _) in ids(&run) {
            self.out.remove(&id).expect("it was handed out");
        }
        let Consumer { key, no_ack, .. } = self.client.consumers[slot];
        Returned { run, consumer: key, to_be_acked: !no_ack, how: HowReturned::Unsent }
    }

    pub fn cancel(&mut self) {
        self.collect();
        let live = (0..self.client.consumers.len()).filter(|&slot| !self.client.consumers[slot].gone);
        let live: Vec<usize> = live.collect();
        if live.is_empty() {
            return;
        }
        let slot = self.random.pick(&live);
        self.release_consumer(slot, Vec::new());
    }

    /// Ends a consumer; what it was not yet sent goes back, with all else that is to go back.
    fn release_consumer(&mut self, slot: usize, mut returned: Vec<Returned>) {
        for (of, run) in std::mem::take(&mut self.client.inbox) {
            if of == slot {
                let unsent = self.unsent(slot, run);
                returned.push(unsent);
            } else {
                self.client.inbox.push_back((of, run));
            }
        }
        self.client.consumers[slot].gone = true;
        let Consumer { queue, key, .. } = self.client.consumers[slot];
        let key = key.expect("it was let in");
        let _ = self.queues[queue].release(&[key], || returned, &mut Wakes::default());
        self.collect();
    }

    /// The client ends: everything goes back. Another one takes its place.
    pub fn lose_client(&mut self) {
        self.collect();
        for slot in 0..self.client.consumers.len() {
            if !self.client.consumers[slot].gone {
                self.release_consumer(slot, Vec::new());
            }
        }
        for outstanding in std::mem::take(&mut self.client.outstanding) {
            let queue = outstanding.queue;
            let returned = self.unsettled(outstanding);
            let _ = self.queues[queue].release(&[], || vec![returned], &mut Wakes::default());
        }
        assert!(self.out.is_empty() && self.client.inbox.is_empty());
        self.client = Client::default();
    }

    pub fn get(&mut self, queue: usize) {
        self.collect();
        let (no_ack, outbox) = (self.random.one_in(3), self.client.outbox.clone());
        for _ in 0..100 {
            let at = self.store.log.filling_epoch();
            match self.queues[queue].get(no_ack, &outbox, &mut Wakes::default()) {
                Got::Empty => return,
                Got::Loading => self.serve(usize::MAX),
                Got::Message(run, _) => {
                    self.given(queue, &run);
                    let ids = ids(&run);
                    if no_ack {
                        self.end(&ids, at);
                        run.settle();
                    } else {
                        self.client.outstanding.push(Outstanding { queue, consumer: None, run, ids });
                    }
                    return;
                }
            }
            if self.disk.is_stopped() {
                return;
            }
        }
        panic!("the message at the front does not come");
    }

    /// Lets the bytes of deliveries leave memory.
    pub fn forget(&mut self) {
        for outstanding in &mut self.client.outstanding {
            if self.store.may_forget(&outstanding.run) {
                outstanding.run.forget_bytes();
            }
        }
    }
}
