//! Filling a virtual host from rows: nothing here is logged again.

use std::sync::Arc;

use super::{Operation, VHost};
use crate::broker::binding::{Binding, DestinationId};
use crate::broker::exchange::{Exchange, ExchangeDefinition};
use crate::broker::queue::Queue;

impl VHost {
    pub fn restore_exchange(&self, definition: ExchangeDefinition) {
        self.add_exchange(&mut self.unlogged(), Exchange::new(definition));
    }

    /// Returns the queue that had the name before, if one had.
    pub fn restore_queue(&self, queue: Arc<Queue>) -> Option<Arc<Queue>> {
        self.queues.insert(queue.name().clone(), queue)
    }

    /// Restores a binding, unless its source does not exist.
    pub fn restore_binding(&self, binding: Binding) -> bool {
        let Some(source) = self.find_exchange(&binding.source) else { return false };
        let binding = Arc::new(binding);
        if source.add_binding(&binding).is_some() {
            self.unlogged().destinations.add(binding);
        }
        true
    }

    /// Deletes an exchange, as a change like any other, if it was to go with its last binding and has none.
    pub fn delete_if_deserted(&self, exchange: &str) {
        let mut operation = self.operation();
        let Some(exchange) = self.find_exchange(exchange) else { return };
        if exchange.auto_delete && exchange.binding_count() == 0 {
            self.drop_exchange(&mut operation, &exchange);
            self.unlink(&mut operation, DestinationId::Exchange(exchange.id));
        }
    }

    fn unlogged(&self) -> Operation<'_> {
        Operation::new(self.topology.lock().expect("nothing else is going on"), None)
    }
}
