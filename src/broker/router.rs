//! Routing: from an exchange and the keys of a message to queues.
//!
//! A route says what it depends on, so that a publisher can keep it: the generations of the exchanges that it
//! went through, each read before the exchange's bindings were, or, through the default exchange, that its queues
//! live.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use amq_protocol::types::FieldTable;
use smallvec::SmallVec;

use crate::broker::binding::Destination;
use crate::broker::dedup::Admission;
use crate::broker::exchange::{Exchange, ExchangeId, Seen};
use crate::broker::message::Message;
use crate::broker::queue::{Queue, QueueId};
use crate::broker::vhost::{REPLY_TO_PREFIX, VHost};
use crate::wire::properties::PropertiesView;

/// Where a message goes.
#[derive(Default)]
pub struct Route {
    /// Each queue once, in an order that depends on the bindings only. None if the message is unroutable.
    pub queues: SmallVec<[Arc<Queue>; 1]>,
    /// The exchanges that the message went through, with their generations.
    pub visited: SmallVec<[(Arc<Exchange>, u64); 1]>,
    /// Whether the same exchange and keys lead to the same queues as long as [`Route::is_current`]. Not so if
    /// the message or chance decided, if an exchange keeps the message, or if a queue that does not exist may yet be
    /// declared.
    pub cacheable: bool,
    /// If there are any, [`queues`](Self::queues) is one of them, by chance, and so it is for every message of the same
    /// exchange as long as the route is current.
    pub one_of: Vec<Arc<Queue>>,
    /// Some exchange holds the message back.
    pub is_held_back: bool,
    /// Through the default exchange: the queues were found by their names.
    by_name: bool,
}

impl Route {
    /// Whether the message goes nowhere but where the exchange that it was published to holds it back, as do all others of
    /// that exchange that have a delay, as long as the route is current.
    pub fn is_held_back_here(&self) -> bool {
        self.is_held_back && self.visited.len() == 1 && !self.deduplicates()
    }

    /// Whether an exchange on the way compares messages with those before.
    pub fn deduplicates(&self) -> bool {
        self.visited.iter().any(|(exchange, _)| exchange.deduplicates())
    }

    /// Whether nothing has changed on which this route depends. Only for routes that are `cacheable`, `one_of` several, or
    /// [held back here](Route::is_held_back_here).
    pub fn is_current(&self) -> bool {
        self.visited.iter().all(|(exchange, generation)| exchange.generation() == *generation)
            && (!self.by_name || self.queues.iter().all(|queue| !queue.is_dead()))
    }
}

impl VHost {
    /// Routes a message published to `exchange` with `routing_keys`, its own and those of its CC and BCC headers.
    /// The message is asked for its headers at most once, and only if an exchange needs them. Exchanges that keep
    /// messages keep it.
    ///
    /// A message goes through each exchange at most once, so that circles of bindings end, and to each queue at
    /// most once. An exchange none of whose own bindings match sends it to its alternate exchange, if that exists.
    pub fn route(&self, exchange: &Arc<Exchange>, routing_keys: &[&[u8]], message: &mut dyn Message) -> Route {
        self.route_admitted(exchange, routing_keys, message, None)
    }

    /// As [`route`](VHost::route), but exchanges that deduplicate ask for admission, and drop what they do not admit.
    /// Without one, they let everything through and remember nothing.
    pub fn route_admitted(
        &self,
        exchange: &Arc<Exchange>,
        routing_keys: &[&[u8]],
        message: &mut dyn Message,
        admission: Option<&mut Admission<'_>>,
    ) -> Route {
        if exchange.is_default() {
            return self.route_by_name(routing_keys);
        }
        let mut walk = Walk::new(message);
        let mut admission = admission;
        walk.visit(exchange);
        let mut next = 0;
        while let Some((exchange, _)) = walk.route.visited.get(next).cloned() {
            next += 1;
            if exchange.deduplicates() {
                walk.route.cacheable = false;
                if !walk.is_admitted(&exchange, admission.as_deref_mut()) {
                    continue;
                }
            }
            if !walk.follow_bindings(&exchange, routing_keys)
                && let Some(alternate) = exchange.alternate_exchange()
                && let Some(alternate) = self.find_exchange(&alternate)
            {
                walk.visit(&alternate);
            }
        }
        walk.finish(exchange)
    }

    fn route_by_name(&self, routing_keys: &[&[u8]]) -> Route {
        let mut route = Route { cacheable: true, by_name: true, ..Route::default() };
        let mut seen = Seen::new();
        for key in routing_keys {
            match self.queue_by_key(key) {
                Some(queue) if seen.insert(queue.id) => route.queues.push(queue),
                Some(_) => {}
                None => route.cacheable = false,
            }
        }
        route
    }

    pub fn queue_by_key(&self, key: &[u8]) -> Option<Arc<Queue>> {
        let name = std::str::from_utf8(key).ok()?;
        if name.starts_with(REPLY_TO_PREFIX) { self.find_reply_queue(name) } else { self.find_queue(name) }
    }
}

/// The way of one message through the exchanges.
struct Walk<'a> {
    route: Route,
    exchanges: Seen<ExchangeId>,
    queues: Seen<QueueId>,
    message: Asked<'a>,
}

impl<'a> Walk<'a> {
    fn new(message: &'a mut dyn Message) -> Walk<'a> {
        Walk {
            route: Route { cacheable: true, ..Route::default() },
            exchanges: Seen::new(),
            queues: Seen::new(),
            message: Asked { message, headers: None },
        }
    }

    /// Puts an exchange on the way. Its generation is read now, its bindings later.
    fn visit(&mut self, exchange: &Arc<Exchange>) {
        if self.exchanges.insert(exchange.id) {
            self.route.visited.push((exchange.clone(), exchange.generation()));
        }
    }

    fn is_admitted(&self, exchange: &Arc<Exchange>, admission: Option<&mut Admission<'_>>) -> bool {
        let headers = self.message.properties().and_then(|properties| properties.headers_bytes());
        match (admission, headers) {
            (Some(admission), Some(headers)) => admission.asks(exchange, headers),
            _ => true,
        }
    }

    /// Returns whether any binding matched, or the message is held back.
    fn follow_bindings(&mut self, exchange: &Exchange, routing_keys: &[&[u8]]) -> bool {
        if exchange.holds_back() && !self.message.message.has_waited() {
            self.route.cacheable = false;
            if self.is_held_back(exchange) {
                return true;
            }
        }
        self.route.cacheable &= exchange.routes_by_key();
        let Walk { route, exchanges, queues, message } = self;
        exchange.route(routing_keys, message, |destination| match destination {
            Destination::Queue(queue) => {
                if queues.insert(queue.id) && !queue.is_dead() {
                    route.queues.push(queue.clone());
                }
            }
            Destination::Exchange(exchange) => {
                if exchanges.insert(exchange.id) {
                    route.visited.push((exchange.clone(), exchange.generation()));
                }
            }
        })
    }

    /// Sends the message to the exchange's intake, if it has a delay.
    fn is_held_back(&mut self, exchange: &Exchange) -> bool {
        if self.message.message.delay_ms().is_none() {
            return false;
        }
        let intake = exchange.intake();
        self.route.queues.extend(intake.filter(|intake| self.queues.insert(intake.id)));
        self.route.is_held_back = true;
        true
    }

    /// A deleted exchange has its last generation: a route through it would look current for ever.
    fn finish(mut self, first: &Exchange) -> Route {
        let is_deleted = self.route.visited.iter().any(|(exchange, _)| exchange.is_deleted());
        self.route.cacheable &= !is_deleted;
        if self.route.visited.len() == 1 && !is_deleted && !first.deduplicates() && !first.holds_back() {
            self.route.one_of = first.candidates().unwrap_or_default();
        }
        self.route
    }
}

/// A message, and its headers once they have been asked for.
pub struct Asked<'a> {
    message: &'a mut dyn Message,
    headers: Option<FieldTable>,
}

impl Asked<'_> {
    pub(super) fn headers(&mut self) -> &FieldTable {
        self.headers.get_or_insert_with(|| self.message.headers().unwrap_or_default())
    }

    pub(super) fn properties(&self) -> Option<&PropertiesView<'_>> {
        self.message.properties()
    }

    pub(super) fn message(&self) -> &dyn Message {
        self.message
    }
}
