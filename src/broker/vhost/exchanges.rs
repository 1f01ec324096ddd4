//! Declaring, finding and deleting exchanges.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use super::{Operation, VHost, check_reserved_prefix, strip_line_ends};
use crate::broker::access::Caller;
use crate::broker::arguments::{Resource, assert_equivalent_exchange, exchange_named_by, validate_exchange};
use crate::broker::binding::DestinationId;
use crate::broker::definitions::Definition;
use crate::broker::exchange::{Exchange, ExchangeDefinition, ExchangeKind};
use crate::error::Fault;

/// The arguments of `exchange.declare`.
#[derive(Clone, Debug)]
pub struct ExchangeDeclare<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub passive: bool,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
}

impl VHost {
    /// Declares an exchange on behalf of the broker itself; see [`exchange_declare_by`](VHost::exchange_declare_by).
    pub fn exchange_declare(&self, declare: ExchangeDeclare<'_>) -> Result<(), Fault> {
        self.exchange_declare_by(declare, Caller::BROKER)
    }

    /// Declares an exchange, or with `passive` asks whether it exists.
    ///
    /// # Errors
    /// 406 for an unknown type. 403 for the default exchange, and without the permission. If an exchange of this name
    /// exists: 406 if it differs. If not: 403 for a name that begins with `amq.`, 406 for an alternate exchange that is
    /// no name, 403 without the permission for one. Passive: 403 for the default exchange, 404 if there is no exchange
    /// of this name; nothing else is looked at.
    pub fn exchange_declare_by(&self, declare: ExchangeDeclare<'_>, caller: Caller<'_>) -> Result<(), Fault> {
        if declare.passive {
            let name = strip_line_ends(declare.name);
            check_not_default(&name)?;
            return self.existing_exchange(&name).map(|_| ());
        }
        let kind = ExchangeKind::parse(declare.kind)?;
        let name = strip_line_ends(declare.name);
        check_not_default(&name)?;
        caller.configure_exchange(&name)?;
        let definition = ExchangeDefinition {
            name: Arc::from(&*name),
            kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
        };
        let mut operation = self.operation();
        self.check_not_deleted(&operation)?;
        let resource = Resource::exchange(&name, &self.name);
        if let Some(current) = self.find_exchange(&name) {
            return assert_equivalent_exchange(resource, &current, &definition);
        }
        check_reserved_prefix("exchange", &name)?;
        validate_exchange(resource, &definition)?;
        kind.validate_arguments(resource, &definition.arguments)?;
        if let Some(alternate) = exchange_named_by(resource, &definition.arguments, "alternate-exchange")? {
            caller.read_exchange(&name)?;
            caller.write_exchange(&alternate)?;
        }
        let exchange = Exchange::new(definition);
        if exchange.durable {
            operation.put(|| Definition::exchange(&self.name, &exchange));
        }
        self.add_exchange(&mut operation, exchange);
        Ok(())
    }

    /// The exchange to which a client publishes.
    ///
    /// # Errors
    /// 404 if there is none of this name, 403 if it is internal.
    pub fn exchange_to_publish(&self, name: &str) -> Result<Arc<Exchange>, Fault> {
        let exchange = self.existing_exchange(name)?;
        if exchange.internal {
            let resource = Resource::exchange(name, &self.name);
            return Err(Fault::access_refused(format!("cannot publish to internal {resource}")));
        }
        Ok(exchange)
    }

    /// Deletes an exchange on behalf of the broker itself; see [`exchange_delete_by`](VHost::exchange_delete_by).
    pub fn exchange_delete(&self, name: &str, if_unused: bool) -> Result<(), Fault> {
        self.exchange_delete_by(name, if_unused, Caller::BROKER)
    }

    /// Deletes an exchange with the bindings of which it is source or destination. One that does not exist is
    /// as good as deleted.
    ///
    /// # Errors
    /// 403 for the default exchange, for names that begin with `amq.`, and without the permission; 406 if `if_unused`
    /// and it is the source of a binding.
    pub fn exchange_delete_by(&self, name: &str, if_unused: bool, caller: Caller<'_>) -> Result<(), Fault> {
        let name = strip_line_ends(name);
        check_not_default(&name)?;
        let resource = Resource::exchange(&name, &self.name);
        if name.starts_with("amq.") {
            return Err(Fault::access_refused(format!("deletion of system {resource} not allowed")));
        }
        caller.configure_exchange(&name)?;
        let mut operation = self.operation();
        let Some(exchange) = self.find_exchange(&name) else { return Ok(()) };
        if if_unused && exchange.binding_count() > 0 {
            return Err(Fault::precondition_failed(format!("{resource} in use")));
        }
        self.drop_exchange(&mut operation, &exchange);
        self.unlink(&mut operation, DestinationId::Exchange(exchange.id));
        Ok(())
    }

    pub(super) fn existing_exchange(&self, name: &str) -> Result<Arc<Exchange>, Fault> {
        self.find_exchange(name).ok_or_else(|| Resource::exchange(name, &self.name).not_found())
    }

    pub(super) fn add_exchange(&self, operation: &mut Operation<'_>, exchange: Arc<Exchange>) {
        if let Some(store) = &self.store {
            exchange.keep_window(store, &self.name);
        }
        exchange.apply_policies(self.policies_for_exchange(&exchange.name));
        if let Some(alternate) = exchange.alternate_exchange() {
            operation.add_alternate(alternate, &exchange);
        }
        exchange.settle_in(&self.name, self.surroundings());
        let name = exchange.name.clone();
        self.exchanges.insert(name.clone(), exchange);
        // What was routed past the missing alternate exchange has somewhere to go now.
        for exchange in operation.alternates.get(&name).into_iter().flatten() {
            exchange.invalidate_routes();
        }
    }

    /// Takes away an exchange and the bindings of which it is the source.
    pub(super) fn drop_exchange(&self, operation: &mut Operation<'_>, exchange: &Arc<Exchange>) {
        self.exchanges.remove(&exchange.name);
        let bindings = exchange.delete();
        exchange.drop_window();
        exchange.end_delays();
        bindings.iter().for_each(|binding| operation.destinations.remove(binding));
        self.forget_bindings(operation, exchange, &bindings);
        if exchange.durable {
            operation.delete(|| Definition::exchange(&self.name, exchange));
        }
        if let Some(alternate) = exchange.alternate_exchange() {
            operation.remove_alternate(&alternate, exchange);
        }
    }
}

pub(super) fn check_not_default(exchange: &str) -> Result<(), Fault> {
    if exchange.is_empty() {
        return Err(Fault::access_refused("operation not permitted on the default exchange"));
    }
    Ok(())
}
