//! The consumers of one queue: whose turn it is, and how much each may be given.

use std::collections::VecDeque;
use std::sync::Arc;

use amq_protocol::types::FieldTable;
use smallvec::SmallVec;

use super::limiter::ChannelLimiter;
use crate::broker::ConnectionId;
use crate::broker::outbox::{ConsumerSlot, Outbox};

/// Names a consumer of one queue. The id makes a key that outlived its consumer harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerKey {
    index: u32,
    id: u64,
}

/// What a channel says of a consumer that it starts.
pub struct NewConsumer {
    pub connection: ConnectionId,
    pub channel: u16,
    pub tag: Arc<str>,
    pub no_ack: bool,
    pub exclusive: bool,
    /// `x-priority`; consumers of a higher priority are served first.
    pub priority: i64,
    /// Unacknowledged deliveries that it may have; 0 is unlimited. Without effect where `no_ack`.
    pub prefetch: u32,
    pub outbox: Arc<Outbox>,
    /// Where the connection keeps it.
    pub slot: ConsumerSlot,
    pub limiter: Arc<ChannelLimiter>,
    /// Bytes that may be assigned to it and not yet written to its socket's buffer.
    pub window_bytes: usize,
    /// As the client gave them, for who lists consumers; `None` for none.
    pub arguments: Option<Arc<FieldTable>>,
}

pub struct Consumer {
    pub new: NewConsumer,
    id: u64,
    unacked: u32,
    unsent_bytes: usize,
    /// Whether it is in its priority's ring, waiting for its turn.
    in_ring: bool,
    /// When the channel's limit refused it (a ticket), so that only the limiter brings it back.
    limited: Option<u64>,
}

/// What a consumer may be given now.
pub struct Capacity {
    pub messages: u32,
    pub bytes: usize,
}

impl Consumer {
    pub fn capacity(&self) -> Capacity {
        let credit = match self.new.prefetch {
            _ if self.new.no_ack => u32::MAX,
            0 => u32::MAX,
            prefetch => prefetch.saturating_sub(self.unacked),
        };
        Capacity { messages: credit, bytes: self.new.window_bytes.saturating_sub(self.unsent_bytes) }
    }

    /// Whether it may have its turn. A window that is nearly full waits until half of it is free: to top it up message
    /// by message would break runs into crumbs.
    pub fn is_ready(&self) -> bool {
        let capacity = self.capacity();
        self.limited.is_none() && capacity.messages > 0 && capacity.bytes > self.new.window_bytes / 2
    }

    /// Whether nothing that it was given is unsettled or on its way.
    fn is_idle(&self) -> bool {
        self.unacked == 0 && self.unsent_bytes == 0
    }

    fn is_outranked_by(&self, other: Option<&Consumer>) -> bool {
        other.is_some_and(|other| other.new.priority > self.new.priority)
    }

    /// Whether only its socket holds it back: it would take more at once if it read faster.
    pub fn is_held_by_socket(&self) -> bool {
        let capacity = self.capacity();
        capacity.messages > 0 && capacity.bytes <= self.new.window_bytes / 2
    }

    pub fn assigned(&mut self, messages: u32, bytes: usize) {
        self.unsent_bytes += bytes;
        if !self.new.no_ack {
            self.unacked += messages;
        }
    }
}

/// Consumers of one priority that may be given something, in the order of their turns.
struct Ring {
    priority: i64,
    turns: VecDeque<u32>,
}

#[derive(Default)]
pub struct Consumers {
    slab: Vec<Option<Consumer>>,
    count: u32,
    next_id: u64,
    next_ticket: u64,
    /// By falling priority.
    rings: Vec<Ring>,
    /// Whether only one of them is given anything, and who.
    single: Option<SingleActive>,
}

/// Who is served where only one is.
#[derive(Default)]
struct SingleActive {
    active: Option<u32>,
}

impl Consumers {
    /// Has only one consumer served at a time, or all of them.
    pub fn set_single_active(&mut self, single: bool) {
        if single != self.single.is_some() {
            self.single = single.then(SingleActive::default);
            self.rings.clear();
            for index in 0..self.slab.len() {
                if let Some(consumer) = &mut self.slab[index] {
                    consumer.in_ring = false;
                }
            }
            self.elect();
            (0..self.slab.len() as u32).for_each(|index| self.rejoin(index));
        }
    }

    /// Whether only one consumer is served at a time.
    pub fn is_single_active(&self) -> bool {
        self.single.is_some()
    }

    /// The consumer that is served, where only one is.
    pub fn single_active(&self) -> Option<&Consumer> {
        let index = self.single.as_ref()?.active?;
        self.slab.get(index as usize)?.as_ref()
    }

    /// Whether a consumer is served at all.
    pub fn is_active(&self, consumer: &Consumer) -> bool {
        self.single.is_none() || self.single_active().is_some_and(|active| active.id == consumer.id)
    }

    /// Where only one is served: lets the one with the highest priority, and of these the first, take over. One who is
    /// served stays so until nobody of a higher priority waits, or until all that it holds is settled.
    fn elect(&mut self) {
        let Some(single) = &self.single else { return };
        let rank = |consumer: &Consumer| (std::cmp::Reverse(consumer.new.priority), consumer.id);
        let candidates = (0..).zip(&self.slab).filter_map(|(index, slot)| Some((index, slot.as_ref()?)));
        let best = candidates.min_by_key(|(_, consumer)| rank(consumer)).map(|(index, _)| index);
        let active = single.active.and_then(|index| Some((index, self.slab.get(index as usize)?.as_ref()?)));
        if let (Some((index, consumer)), Some(best)) = (active, best)
            && (index == best || !consumer.is_outranked_by(self.slab[best as usize].as_ref()))
        {
            return;
        }
        if let Some((index, consumer)) = active
            && !consumer.is_idle()
        {
            // It is given nothing more, and makes room when it has settled what it holds.
            return self.leave_rings(index);
        }
        if let Some((index, _)) = active {
            self.leave_rings(index);
        }
        self.single = Some(SingleActive { active: best });
        if let Some(best) = best {
            self.rejoin(best);
        }
    }

    /// Whether a consumer may be given anything at all.
    fn may_be_served(&self, index: u32) -> bool {
        let Some(single) = &self.single else { return true };
        let is_outranked = |consumer: &Consumer| self.slab.iter().any(|other| consumer.is_outranked_by(other.as_ref()));
        single.active == Some(index)
            && self.slab[index as usize].as_ref().is_some_and(|consumer| !is_outranked(consumer))
    }

    fn leave_rings(&mut self, index: u32) {
        for ring in &mut self.rings {
            ring.turns.retain(|&in_ring| in_ring != index);
        }
        self.rings.retain(|ring| !ring.turns.is_empty());
        if let Some(Some(consumer)) = self.slab.get_mut(index as usize) {
            consumer.in_ring = false;
        }
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.slab.iter().flatten()
    }

    pub fn add(&mut self, new: NewConsumer) -> ConsumerKey {
        let id = self.next_id;
        self.next_id += 1;
        let consumer = Consumer { new, id, unacked: 0, unsent_bytes: 0, in_ring: false, limited: None };
        let index = match self.slab.iter().position(Option::is_none) {
            Some(free) if (self.count as usize) < self.slab.len() => free,
            _ => {
                self.slab.push(None);
                self.slab.len() - 1
            }
        };
        self.slab[index] = Some(consumer);
        self.count += 1;
        let key = ConsumerKey { index: index as u32, id };
        self.elect();
        self.rejoin(key.index);
        key
    }

    pub fn get_mut(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.slab.get_mut(key.index as usize)?.as_mut().filter(|c| c.id == key.id)
    }

    pub fn remove(&mut self, key: ConsumerKey) -> Option<Consumer> {
        self.get_mut(key)?;
        let consumer = self.slab[key.index as usize].take()?;
        self.count -= 1;
        if consumer.in_ring {
            self.leave_rings(key.index);
        }
        if self.count == 0 {
            self.slab = Vec::new();
        }
        if let Some(single) = self.single.as_mut().filter(|single| single.active == Some(key.index)) {
            single.active = None;
        }
        self.elect();
        Some(consumer)
    }

    pub fn remove_all(&mut self) -> impl Iterator<Item = Consumer> {
        self.count = 0;
        self.rings = Vec::new();
        self.single = self.single.as_ref().map(|_| SingleActive::default());
        std::mem::take(&mut self.slab).into_iter().flatten()
    }

    /// Notes that messages assigned earlier were written (or taken back).
    pub fn sent(&mut self, key: ConsumerKey, bytes: usize) {
        if let Some(consumer) = self.get_mut(key) {
            consumer.unsent_bytes -= bytes;
            self.elect();
            self.rejoin(key.index);
        }
    }

    /// Notes that deliveries were settled.
    pub fn settled(&mut self, key: ConsumerKey, messages: u32) {
        if let Some(consumer) = self.get_mut(key)
            && !consumer.new.no_ack
        {
            consumer.unacked -= messages;
            self.elect();
            self.rejoin(key.index);
        }
    }

    /// Lets the consumers that `limiter` refused ask again, in the order in which they were refused.
    pub fn limit_lifted(&mut self, limiter: &Arc<ChannelLimiter>) {
        let of_limiter = |consumer: &Consumer| consumer.limited.filter(|_| Arc::ptr_eq(&consumer.new.limiter, limiter));
        let mut refused: SmallVec<[(u64, u32); 4]> = (0..)
            .zip(&self.slab)
            .filter_map(|(index, consumer)| Some((of_limiter(consumer.as_ref()?)?, index)))
            .collect();
        refused.sort_unstable();
        for (_, index) in refused {
            self.at(index).limited = None;
            self.rejoin(index);
        }
    }

    fn rejoin(&mut self, index: u32) {
        let Some(consumer) = &self.slab[index as usize] else { return };
        if consumer.in_ring || !consumer.is_ready() || !self.may_be_served(index) {
            return;
        }
        let Some(consumer) = &mut self.slab[index as usize] else { return };
        consumer.in_ring = true;
        let priority = consumer.new.priority;
        let at = self.rings.partition_point(|ring| ring.priority > priority);
        match self.rings.get_mut(at) {
            Some(ring) if ring.priority == priority => ring.turns.push_back(index),
            _ => self.rings.insert(at, Ring { priority, turns: VecDeque::from([index]) }),
        }
    }

    /// The consumer whose turn it is, and how many of its priority wait for their turns.
    pub fn next(&self) -> Option<(u32, usize)> {
        let ring = self.rings.first()?;
        let index = *ring.turns.front()?;
        Some((index, ring.turns.len()))
    }

    pub fn at(&mut self, index: u32) -> &mut Consumer {
        self.slab[index as usize].as_mut().expect("only consumers that exist are in a ring")
    }

    /// Ends the turn of the consumer at the front, who has been given something: to the back of the ring. It stays there
    /// even if it can take no more for now, and keeps its place if it can again when its turn comes.
    pub fn end_turn(&mut self) {
        if let Some(ring) = self.rings.first_mut() {
            ring.turns.rotate_left(1);
        }
    }

    /// Takes the consumer at the front out of the ring: its turn has come, and it can take nothing.
    pub fn leave_ring(&mut self) {
        let Some(ring) = self.rings.first_mut() else { return };
        let Some(index) = ring.turns.pop_front() else { return };
        if ring.turns.is_empty() {
            self.rings.remove(0);
        }
        self.at(index).in_ring = false;
    }

    /// Ends the turn of the consumer at the front because its channel may have no more; see [`limit_lifted`](Self::limit_lifted).
    pub fn end_turn_limited(&mut self, index: u32) {
        let ticket = self.next_ticket;
        self.at(index).limited = Some(ticket);
        self.next_ticket += 1;
        self.leave_ring();
    }
}
