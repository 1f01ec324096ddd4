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
use crate::broker::exchange::{Exchange, ExchangeId, ExchangeKind, Seen};
use crate::broker::queue::{Queue, QueueId};
use crate::broker::vhost::{REPLY_TO_PREFIX, VHost};

/// Where a message goes.
#[derive(Default)]
pub struct Route {
    /// Each queue once, in an order that depends on the bindings only. None if the message is unroutable.
    pub queues: SmallVec<[Arc<Queue>; 1]>,
    /// The exchanges that the message went through, with their generations.
    pub visited: SmallVec<[(Arc<Exchange>, u64); 1]>,
    /// Whether the same exchange and keys lead to the same queues as long as [`Route::is_current`]. Not so if
    /// headers decided, or if a queue that does not exist may yet be declared.
    pub cacheable: bool,
    /// Through the default exchange: the queues were found by their names.
    by_name: bool,
}

impl Route {
    /// Whether nothing has changed on which this route depends. Only for routes that are `cacheable`.
    pub fn is_current(&self) -> bool {
        self.visited.iter().all(|(exchange, generation)| exchange.generation() == *generation)
            && (!self.by_name || self.queues.iter().all(|queue| !queue.is_dead()))
    }
}

impl VHost {
    /// Routes a message published to `exchange` with `routing_keys`, its own and those of its CC and BCC headers.
    /// `headers` is asked for the message's headers at most once, and only if a headers exchange needs them.
    ///
    /// A message goes through each exchange at most once, so that circles of bindings end, and to each queue at
    /// most once. An exchange none of whose own bindings match sends it to its alternate exchange, if that exists.
    pub fn route(
        &self,
        exchange: &Arc<Exchange>,
        routing_keys: &[&[u8]],
        headers: &mut dyn FnMut() -> Option<FieldTable>,
    ) -> Route {
        if exchange.is_default() {
            return self.route_by_name(routing_keys);
        }
        let mut walk = Walk::new(headers);
        walk.visit(exchange);
        let mut next = 0;
        while let Some((exchange, _)) = walk.route.visited.get(next).cloned() {
            next += 1;
            if !walk.follow_bindings(&exchange, routing_keys)
                && let Some(alternate) = &exchange.alternate_exchange
                && let Some(alternate) = self.find_exchange(alternate)
            {
                walk.visit(&alternate);
            }
        }
        walk.finish()
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
    headers: LazyHeaders<'a>,
}

impl<'a> Walk<'a> {
    fn new(read_headers: &'a mut dyn FnMut() -> Option<FieldTable>) -> Walk<'a> {
        Walk {
            route: Route { cacheable: true, ..Route::default() },
            exchanges: Seen::new(),
            queues: Seen::new(),
            headers: LazyHeaders { read: read_headers, table: None },
        }
    }

    /// Puts an exchange on the way. Its generation is read now, its bindings later.
    fn visit(&mut self, exchange: &Arc<Exchange>) {
        if self.exchanges.insert(exchange.id) {
            self.route.visited.push((exchange.clone(), exchange.generation()));
        }
    }

    /// Returns whether any binding matched.
    fn follow_bindings(&mut self, exchange: &Exchange, routing_keys: &[&[u8]]) -> bool {
        self.route.cacheable &= exchange.kind != ExchangeKind::Headers;
        let Walk { route, exchanges, queues, headers } = self;
        exchange.route(
            routing_keys,
            || headers.get(),
            |destination| match destination {
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
            },
        )
    }

    /// A deleted exchange has its last generation: a route through it would look current for ever.
    fn finish(mut self) -> Route {
        self.route.cacheable &= self.route.visited.iter().all(|(exchange, _)| !exchange.is_deleted());
        self.route
    }
}

/// The headers of the message, decoded when they are first needed.
struct LazyHeaders<'a> {
    read: &'a mut dyn FnMut() -> Option<FieldTable>,
    table: Option<FieldTable>,
}

impl LazyHeaders<'_> {
    fn get(&mut self) -> &FieldTable {
        self.table.get_or_insert_with(|| (self.read)().unwrap_or_default())
    }
}
