//! The end of a virtual host.

use super::{Operation, PREDECLARED, VHost};
use crate::broker::definitions::Definition;
use crate::error::{Fault, ReplyCode};

impl VHost {
    /// Deletes all queues, exchanges and bindings, with their rows. Nothing can be declared any more. Its own row, and what
    /// else is kept of it, is deleted by whoever calls this, in the same epoch.
    pub fn delete(&self) {
        self.operation().is_deleted = true;
        for queue in self.queues() {
            queue.kill(false, false).expect("unconditionally");
        }
        let mut operation = self.operation();
        for exchange in self.exchanges() {
            let bindings = exchange.delete();
            self.forget_bindings(&mut operation, &exchange, &bindings);
            if exchange.durable && !PREDECLARED.iter().any(|(name, _)| *name == &*exchange.name) {
                operation.delete(|| Definition::exchange(&self.name, &exchange));
            }
        }
        self.exchanges.clear();
        self.queues.clear();
        self.reply_queues.clear();
        operation.destinations = Default::default();
        operation.alternates.clear();
    }

    /// Why connections to it are closed.
    pub fn deleted_reason(&self) -> String {
        format!("vhost '{}' is deleted", self.name)
    }

    /// 320, as the connection is about to be told anyway, if the virtual host is gone.
    pub(super) fn check_not_deleted(&self, operation: &Operation<'_>) -> Result<(), Fault> {
        if operation.is_deleted {
            return Err(Fault::connection(ReplyCode::ConnectionForced, self.deleted_reason()));
        }
        Ok(())
    }
}
