//! Binding and unbinding, and what goes when a destination goes.

use std::sync::Arc;

use amq_protocol::types::FieldTable;
use smallvec::{SmallVec, smallvec};

use super::exchanges::check_not_default;
use super::queues::{check_exclusive_access, is_volatile};
use super::{Operation, VHost, strip_line_ends};
use crate::broker::access::Caller;
use crate::broker::arguments::Resource;
use crate::broker::binding::{Binding, Destination, DestinationId};
use crate::broker::definitions::Definition;
use crate::broker::exchange::{Exchange, Remembered};
use crate::broker::message::Whole;
use crate::broker::outbox::Wakes;
use crate::broker::queue::Queue;
use crate::error::Fault;
use crate::storage::chunk::Chunk;
use crate::storage::record::Record;
use crate::wire::properties::PropertiesView;

impl VHost {
    /// Binds a queue to an exchange. To bind what is bound changes nothing.
    ///
    /// # Errors
    /// 403 without the permissions, for the default exchange and for queues of direct reply-to; 404 if there is no such
    /// exchange, or no such queue; 406 for a binding that the exchange cannot match by; 405 if the queue is another
    /// connection's.
    pub fn queue_bind<'c>(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &[u8],
        arguments: FieldTable,
        caller: impl Into<Caller<'c>>,
    ) -> Result<(), Fault> {
        let (queue, exchange, caller) = (strip_line_ends(queue), strip_line_ends(exchange), caller.into());
        caller.write_queue(&queue)?;
        check_not_default(&exchange)?;
        check_not_volatile(&queue)?;
        let operation = self.operation();
        self.check_source(&exchange, routing_key, caller)?;
        let source = self.existing_exchange(&exchange)?;
        let no_queue = || Resource::queue(&queue, &self.name).not_found();
        let queue = self.find_queue(&queue).ok_or_else(no_queue)?;
        let destination = Destination::Queue(queue.clone());
        source.kind.validate_binding(routing_key, &arguments, &destination)?;
        check_exclusive_access(&queue, caller.connection)?;
        self.bind(operation, Binding::new(source.name.clone(), destination, routing_key, arguments));
        Ok(())
    }

    /// Unbinds a queue from an exchange. What is not bound, or does not exist, is as good as unbound.
    ///
    /// # Errors
    /// 403 without the permissions, for the default exchange and for queues of direct reply-to; 405 if there is such a binding and the
    /// queue is another connection's.
    pub fn queue_unbind<'c>(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &[u8],
        arguments: FieldTable,
        caller: impl Into<Caller<'c>>,
    ) -> Result<(), Fault> {
        let (queue, exchange, caller) = (strip_line_ends(queue), strip_line_ends(exchange), caller.into());
        caller.write_queue(&queue)?;
        check_not_default(&exchange)?;
        check_not_volatile(&queue)?;
        let mut operation = self.operation();
        self.check_source(&exchange, routing_key, caller)?;
        let Some(queue) = self.find_queue(&queue) else { return Ok(()) };
        let sought = Binding::new(Arc::from(&*exchange), Destination::Queue(queue.clone()), routing_key, arguments);
        let Some(binding) = self.find_binding(&sought) else { return Ok(()) };
        check_exclusive_access(&queue, caller.connection)?;
        self.unbind(&mut operation, binding);
        Ok(())
    }

    /// Binds an exchange on behalf of the broker itself; see [`exchange_bind_by`](VHost::exchange_bind_by).
    pub fn exchange_bind(
        &self,
        destination: &str,
        source: &str,
        routing_key: &[u8],
        arguments: FieldTable,
    ) -> Result<(), Fault> {
        self.exchange_bind_by(destination, source, routing_key, arguments, Caller::BROKER)
    }

    /// Binds an exchange to another, from which it then receives. Circles are allowed.
    ///
    /// # Errors
    /// 403 without the permissions, and if either is the default exchange; 404 if either does not exist, of both the source; 406 for arguments
    /// that the source cannot match by.
    pub fn exchange_bind_by(
        &self,
        destination: &str,
        source: &str,
        routing_key: &[u8],
        arguments: FieldTable,
        caller: Caller<'_>,
    ) -> Result<(), Fault> {
        let (destination, source) = (strip_line_ends(destination), strip_line_ends(source));
        caller.write_exchange(&destination)?;
        check_not_default(&destination)?;
        check_not_default(&source)?;
        let operation = self.operation();
        self.check_source(&source, routing_key, caller)?;
        let source = self.existing_exchange(&source)?;
        let destination = self.existing_exchange(&destination)?;
        let destination = Destination::Exchange(destination);
        source.kind.validate_binding(routing_key, &arguments, &destination)?;
        self.bind(operation, Binding::new(source.name.clone(), destination, routing_key, arguments));
        Ok(())
    }

    /// Unbinds an exchange on behalf of the broker itself; see [`exchange_unbind_by`](VHost::exchange_unbind_by).
    pub fn exchange_unbind(
        &self,
        destination: &str,
        source: &str,
        routing_key: &[u8],
        arguments: FieldTable,
    ) -> Result<(), Fault> {
        self.exchange_unbind_by(destination, source, routing_key, arguments, Caller::BROKER)
    }

    /// Unbinds an exchange from another. What is not bound, or does not exist, is as good as unbound.
    ///
    /// # Errors
    /// 403 without the permissions, and if either is the default exchange.
    pub fn exchange_unbind_by(
        &self,
        destination: &str,
        source: &str,
        routing_key: &[u8],
        arguments: FieldTable,
        caller: Caller<'_>,
    ) -> Result<(), Fault> {
        let (destination, source) = (strip_line_ends(destination), strip_line_ends(source));
        caller.write_exchange(&destination)?;
        check_not_default(&destination)?;
        check_not_default(&source)?;
        let mut operation = self.operation();
        self.check_source(&source, routing_key, caller)?;
        let Some(destination) = self.find_exchange(&destination) else { return Ok(()) };
        let destination = Destination::Exchange(destination);
        let sought = Binding::new(Arc::from(&*source), destination, routing_key, arguments);
        if let Some(binding) = self.find_binding(&sought) {
            self.unbind(&mut operation, binding);
        }
        Ok(())
    }

    /// The bindings that lead to a queue or an exchange, without a queue's implicit one to the default exchange.
    pub fn bindings_to(&self, destination: DestinationId) -> Vec<Arc<Binding>> {
        self.operation().destinations.get(destination).to_vec()
    }

    /// 403 unless the caller may bind things to this exchange, with this key if it is a topic exchange. Whether there is
    /// such an exchange is not asked here.
    fn check_source(&self, name: &str, routing_key: &[u8], caller: Caller<'_>) -> Result<(), Fault> {
        caller.read_exchange(name)?;
        self.find_exchange(name).map_or(Ok(()), |source| caller.read_topic(&source, routing_key))
    }

    fn find_binding(&self, sought: &Binding) -> Option<Arc<Binding>> {
        self.find_exchange(&sought.source)?.find_binding(sought)
    }

    fn bind(&self, mut operation: Operation<'_>, binding: Binding) {
        let binding = Arc::new(binding);
        let source = self.find_exchange(&binding.source).expect("the source exists while the topology is locked");
        let Some(history) = source.add_binding(&binding) else { return };
        if source.durable && binding.destination.is_durable() {
            operation.put(|| Definition::binding(&self.name, &binding));
        }
        operation.destinations.add(binding.clone());
        // Queues are not touched under the topology's lock.
        drop(operation);
        self.tell_history(history, &binding.destination);
    }

    /// Gives a new binding's destination the messages that its source has kept. Each queue gets bytes of its own: what
    /// the exchange keeps may be kept long after.
    fn tell_history(&self, history: Vec<Remembered>, destination: &Destination) {
        let mut wakes = Wakes::default();
        for message in &history {
            let record = message.chunk.record(0);
            let queues = match destination {
                Destination::Queue(queue) => smallvec![queue.clone()],
                Destination::Exchange(exchange) => self.route_kept(exchange, message, record),
            };
            for queue in queues {
                queue.enqueue(&Chunk::of_one([record.prefix(), record.body()].concat()), &mut wakes);
            }
        }
    }

    fn route_kept(
        &self,
        exchange: &Arc<Exchange>,
        message: &Remembered,
        record: Record<'_>,
    ) -> SmallVec<[Arc<Queue>; 1]> {
        let Ok(properties) = PropertiesView::parse(record.properties(), u8::MAX) else { return SmallVec::new() };
        let keys: SmallVec<[&[u8]; 4]> = message.routing_keys.iter().map(|key| &**key).collect();
        self.route(exchange, &keys, &mut Whole::of_record(record, &properties)).queues
    }

    fn unbind(&self, operation: &mut Operation<'_>, binding: Arc<Binding>) {
        operation.destinations.remove(&binding);
        let mut gone = Vec::new();
        self.remove_from_source(operation, &[binding], &mut gone);
        gone.into_iter().for_each(|id| self.unlink(operation, id));
    }

    /// Takes away all bindings to a destination that is gone, then the auto-delete exchanges that thereby lost
    /// their last one, then the bindings to those, and so on.
    pub(super) fn unlink(&self, operation: &mut Operation<'_>, destination: DestinationId) {
        let mut gone = vec![destination];
        while let Some(destination) = gone.pop() {
            let bindings = operation.destinations.take(destination);
            for same_source in bindings.chunk_by(|a, b| a.source == b.source) {
                self.remove_from_source(operation, same_source, &mut gone);
            }
        }
    }

    /// Takes bindings of one source from it, and the source itself if it is to go with its last binding.
    fn remove_from_source(
        &self,
        operation: &mut Operation<'_>,
        bindings: &[Arc<Binding>],
        gone: &mut Vec<DestinationId>,
    ) {
        let source = self.find_exchange(&bindings[0].source).expect("a binding's source exists");
        let left = source.remove_bindings(bindings);
        self.forget_bindings(operation, &source, bindings);
        if source.auto_delete && left == 0 {
            self.drop_exchange(operation, &source);
            gone.push(DestinationId::Exchange(source.id));
        }
    }

    /// Deletes the rows of bindings that are gone, those that had one.
    pub(super) fn forget_bindings(&self, operation: &mut Operation<'_>, source: &Exchange, gone: &[Arc<Binding>]) {
        for binding in gone.iter().filter(|binding| source.durable && binding.destination.is_durable()) {
            operation.delete(|| Definition::binding(&self.name, binding));
        }
    }
}

fn check_not_volatile(queue: &str) -> Result<(), Fault> {
    if is_volatile(queue) {
        return Err(Fault::access_refused("cannot bind or unbind to a volatile (direct reply-to) queue"));
    }
    Ok(())
}
