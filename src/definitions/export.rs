//! Writing definitions.
//!
//! What a connection owns is not among them, nor what every virtual host has anyway: the default exchange, and those whose
//! names begin with `amq.`.

mod accounts;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::RESERVED_PREFIX;
use super::arguments::{argument_values, text_of};
use super::boot::HASH_PARAMETER;
use crate::broker::Broker;
use crate::broker::arguments::QueueType;
use crate::broker::binding::{Binding, Destination};
use crate::broker::exchange::Exchange;
use crate::broker::parameter::{Parameter, ParameterError};
use crate::broker::policy::{Policy, PolicyKind};
use crate::broker::queue::Queue;
use crate::broker::vhost::VHost;

impl Broker {
    /// All definitions, in RabbitMQ's format. What is the same is written the same: everything is in the order of names.
    pub fn export_definitions(&self) -> Value {
        let vhosts = self.list_vhosts();
        let server = &self.config.server;
        let mut document = json!({
            "rabbit_version": server.version,
            "rabbitmq_version": server.version,
            "product_name": server.product,
            "product_version": server.version,
            "rabbitmq_definition_format": "cluster",
            "original_cluster_name": server.cluster_name,
            "explanation": format!("Definitions of cluster '{}'", server.cluster_name),
            "global_parameters": self.exported_global_parameters(),
        });
        for (section, values) in accounts::sections(self).into_iter().chain(sections(&vhosts)) {
            document[section] = Value::Array(values);
        }
        document
    }

    /// The definitions of one virtual host, which can be imported into another: they do not name it.
    ///
    /// # Errors
    /// If there is no such virtual host.
    pub fn export_vhost_definitions(&self, vhost: &str) -> Result<Value, ParameterError> {
        let vhost = self.vhost(vhost).ok_or_else(|| ParameterError::NoVHost(vhost.to_owned()))?;
        let server = &self.config.server;
        let mut document = json!({
            "rabbit_version": server.version,
            "rabbitmq_version": server.version,
            "product_name": server.product,
            "product_version": server.version,
            "rabbitmq_definition_format": "single_virtual_host",
            "original_vhost_name": &**vhost.name(),
            "metadata": accounts::metadata(&vhost),
            "explanation": format!("Definitions of virtual host '{}'", vhost.name()),
        });
        for (section, mut values) in sections(&[vhost]) {
            values.iter_mut().filter_map(Value::as_object_mut).for_each(|entry| _ = entry.remove("vhost"));
            document[section] = Value::Array(values);
        }
        Ok(document)
    }

    /// Without what a broker keeps there for itself.
    fn exported_global_parameters(&self) -> Vec<Value> {
        let all = self.list_global_parameters().into_iter();
        let others = all.filter(|(name, _)| !name.starts_with("internal") && **name != *HASH_PARAMETER);
        others.map(|(name, value)| json!({"name": &*name, "value": &*value})).collect()
    }
}

/// What is in virtual hosts.
fn sections(vhosts: &[Arc<VHost>]) -> [(&'static str, Vec<Value>); 5] {
    fn each<T>(vhosts: &[Arc<VHost>], of: impl Fn(&VHost) -> Vec<T>, json: impl Fn(&VHost, T) -> Value) -> Vec<Value> {
        let of = |vhost: &Arc<VHost>| of(vhost).into_iter().map(|item| json(vhost, item)).collect::<Vec<_>>();
        vhosts.iter().flat_map(of).collect()
    }
    [
        ("parameters", each(vhosts, VHost::parameters, |_, item| parameter(&item))),
        ("policies", each(vhosts, |vhost| vhost.policies(PolicyKind::User), |_, item| policy(&item))),
        ("queues", each(vhosts, exported_queues, |_, item| queue(&item))),
        ("exchanges", each(vhosts, exported_exchanges, exchange)),
        ("bindings", each(vhosts, exported_bindings, binding)),
    ]
}

fn exported_queues(vhost: &VHost) -> Vec<Arc<Queue>> {
    let mut queues = vhost.queues();
    queues.retain(|queue| queue.definition.exclusive_owner.is_none());
    queues.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    queues
}

fn exported_exchanges(vhost: &VHost) -> Vec<Arc<Exchange>> {
    let mut exchanges = vhost.exchanges();
    exchanges.retain(|exchange| !exchange.is_default() && !exchange.name.starts_with(RESERVED_PREFIX));
    exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    exchanges
}

fn exported_bindings(vhost: &VHost) -> Vec<Arc<Binding>> {
    let is_exclusive = |destination: &Destination| match destination {
        Destination::Queue(queue) => queue.definition.exclusive_owner.is_some(),
        Destination::Exchange(_) => false,
    };
    let mut bindings: Vec<_> = vhost.exchanges().iter().flat_map(|exchange| exchange.bindings()).collect();
    bindings.retain(|binding| !is_exclusive(&binding.destination));
    bindings.sort_by_cached_key(|binding| {
        let destination = destination(&binding.destination);
        let arguments = argument_values(&binding.arguments).to_string();
        (binding.source.clone(), destination, binding.routing_key.clone(), arguments)
    });
    bindings
}

fn destination(destination: &Destination) -> (&'static str, Arc<str>) {
    match destination {
        Destination::Queue(queue) => ("queue", queue.name().clone()),
        Destination::Exchange(exchange) => ("exchange", exchange.name.clone()),
    }
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "vhost": &*parameter.vhost,
        "component": &*parameter.component,
        "name": &*parameter.name,
        "value": &*parameter.value,
    })
}

fn policy(policy: &Policy) -> Value {
    let mut value = policy.to_value();
    value["vhost"] = (*policy.vhost).into();
    value["name"] = (*policy.name).into();
    value
}

fn queue(queue: &Queue) -> Value {
    let definition = queue.definition_now();
    json!({
        "vhost": &*definition.vhost,
        "name": &*definition.name,
        "durable": definition.durable,
        "auto_delete": definition.auto_delete,
        "type": match QueueType::of(&definition.arguments) {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        },
        "arguments": argument_values(&definition.arguments),
    })
}

fn exchange(vhost: &VHost, exchange: Arc<Exchange>) -> Value {
    json!({
        "vhost": &**vhost.name(),
        "name": &*exchange.name,
        "type": exchange.kind.name(),
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": argument_values(&exchange.arguments),
    })
}

fn binding(vhost: &VHost, binding: Arc<Binding>) -> Value {
    let (destination_type, destination) = destination(&binding.destination);
    json!({
        "vhost": &**vhost.name(),
        "source": &*binding.source,
        "destination": &*destination,
        "destination_type": destination_type,
        "routing_key": text_of(&binding.routing_key),
        "arguments": argument_values(&binding.arguments),
    })
}

/// What tells a binding from others between the same two, as a document tells it.
pub(super) fn binding_identity(binding: &Binding) -> (bool, Arc<str>, Vec<u8>, String) {
    let (destination_type, destination) = destination(&binding.destination);
    let arguments = match argument_values(&binding.arguments) {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    (destination_type == "queue", destination, binding.routing_key.to_vec(), Value::Object(arguments).to_string())
}
