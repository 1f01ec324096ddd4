//! What is to be found after a crash: rows and messages, and what they became in which epoch.

use std::collections::{BTreeMap, BTreeSet};

use crate::storage::{Epoch, QueueId};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    Queue(QueueId),
    Exchange(String),
}

/// A definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    VHost(String),
    User(String),
    Permission { vhost: String, user: String },
    Exchange { name: String, kind: &'static str, auto_delete: bool },
    Queue { id: QueueId, name: String, auto_delete: bool },
    Binding { source: String, to: To, key: String },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waiting {
    /// The message at each position.
    pub messages: BTreeMap<u64, u64>,
    /// What is below comes back flagged.
    pub delivered: u64,
}

/// Everything durable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durable {
    pub rows: BTreeSet<Row>,
    pub queues: BTreeMap<QueueId, Waiting>,
}

#[derive(Clone, Debug)]
pub enum Event {
    Put(Vec<Row>, Vec<Row>),
    Dropped(QueueId),
    Enqueued(QueueId, Vec<(u64, u64)>),
    Settled(QueueId, Vec<u64>),
    Delivered(QueueId, u64),
}

impl Durable {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Put(put, deleted) => self.change(put, deleted),
            Event::Dropped(id) => {
                self.queues.remove(id);
                self.rows.retain(|row| !matches!(row, Row::Queue { id: of, .. } if of == id));
            }
            Event::Enqueued(id, messages) => self.queue(*id).messages.extend(messages.iter().copied()),
            Event::Settled(id, seqs) => self.queue(*id).messages.retain(|seq, _| !seqs.contains(seq)),
            Event::Delivered(id, through) => {
                let queue = self.queue(*id);
                queue.delivered = queue.delivered.max(*through);
            }
        }
    }

    fn change(&mut self, put: &[Row], deleted: &[Row]) {
        for row in put {
            if let Row::Queue { id, .. } = row {
                self.queues.insert(*id, Waiting::default());
            }
            self.rows.insert(row.clone());
        }
        deleted.iter().for_each(|row| assert!(self.rows.remove(row), "{row:?} is deleted and was not there"));
    }

    fn queue(&mut self, id: QueueId) -> &mut Waiting {
        self.queues.get_mut(&id).expect("only queues that exist are used")
    }

    fn has(&self, id: QueueId, seq: u64) -> bool {
        self.queues[&id].messages.contains_key(&seq)
    }
}

/// What happened since the state that must be there.
#[derive(Default)]
pub struct History {
    base: Durable,
    events: Vec<(Epoch, Event)>,
    /// What happened, if it was something else.
    perhaps: Option<Vec<(Epoch, Event)>>,
}

impl History {
    pub fn add(&mut self, epoch: Epoch, event: Event) {
        assert!(epoch.is_some(), "{event:?} is in no epoch");
        self.events.push((epoch, event));
    }

    pub fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.events.iter().map(|(epoch, _)| *epoch)
    }

    /// What waited for room was tried again.
    pub fn retried(&mut self, before: Epoch, after: Epoch, relieved: bool, cut_short: bool) {
        self.perhaps = cut_short.then(|| self.rewritten(before, after, true));
        self.events = self.rewritten(before, after, relieved);
    }

    /// What waits for room is one epoch, `after`; if there was relief, what needs no room happened `before` it.
    fn rewritten(&self, before: Epoch, after: Epoch, relieved: bool) -> Vec<(Epoch, Event)> {
        let mut on_disk = self.base.clone();
        let (mut history, mut pending) = (Vec::new(), Vec::new());
        for (epoch, event) in self.events.clone() {
            if epoch < before {
                on_disk.apply(&event);
            }
            if epoch < before || epoch > after {
                history.push((epoch, event));
            } else {
                pending.push(event);
            }
        }
        let is_drop = |event: &Event, id: QueueId| matches!(event, Event::Dropped(of) if *of == id);
        let is_gone = |id: QueueId| relieved && pending.iter().any(|event| is_drop(event, id));
        for event in &pending {
            match event {
                Event::Dropped(id) if relieved && on_disk.queues.contains_key(id) => {
                    history.push((before, event.clone()));
                }
                Event::Enqueued(id, _) | Event::Delivered(id, _) | Event::Settled(id, _)
                    if on_disk.queues.contains_key(id) && is_gone(*id) => {}
                Event::Settled(id, seqs) if relieved && on_disk.queues.contains_key(id) => {
                    let (there, later): (Vec<u64>, Vec<u64>) = seqs.iter().partition(|seq| on_disk.has(*id, **seq));
                    history.push((before, Event::Settled(*id, there)));
                    history.push((after, Event::Settled(*id, later)));
                }
                _ => history.push((after, event.clone())),
            }
        }
        history.sort_by_key(|(epoch, _)| *epoch);
        history
    }

    /// Goes on from what was found, which must be what there was at the end of an epoch, not before `kept`.
    pub fn found(&mut self, kept: Epoch, found: Durable) {
        self.events.sort_by_key(|(epoch, _)| *epoch);
        let (events, perhaps) = (std::mem::take(&mut self.events), self.perhaps.take());
        let is_known = self.is_some_epoch(&events, kept, &found)
            || perhaps.is_some_and(|perhaps| self.is_some_epoch(&perhaps, kept, &found));
        let base = &self.base;
        assert!(is_known, "with epoch {kept:?} kept, a crash has left\n{found:?}\nof\n{base:?}\nand then {events:?}");
        self.base = found;
    }

    fn is_some_epoch(&self, events: &[(Epoch, Event)], kept: Epoch, found: &Durable) -> bool {
        let mut durable = self.base.clone();
        let mut events = events.iter().peekable();
        while let Some((_, event)) = events.next_if(|(epoch, _)| *epoch <= kept) {
            durable.apply(event);
        }
        while durable != *found {
            let Some(&&(epoch, _)) = events.peek() else { return false };
            while let Some((_, event)) = events.next_if(|(of, _)| *of == epoch) {
                durable.apply(event);
            }
        }
        true
    }
}
