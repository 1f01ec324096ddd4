//! Taking definitions in.
//!
//! A document is read as a whole first. Then everything in it is made that is not there, in RabbitMQ's order, so that what
//! something refers to is there before it. What is there and differs stays as it is, but for policies and parameters,
//! which are replaced: those are settings, and nothing is lost with them.

mod accounts;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value};

use super::document::{BindingEntry, Document, ExchangeEntry, ParameterEntry, PolicyEntry, QueueEntry};
use super::export::binding_identity;
use super::fields::DefinitionsError;
use super::report::{Outcome, Report};
use super::{RESERVED_PREFIX, boot};
use crate::broker::arguments::{QueueType, Resource};
use crate::broker::definitions::described_parameter;
use crate::broker::parameter::{NewPolicy, ParameterError, VHOST_LIMITS};
use crate::broker::policy::validation::{is_known, is_of_mirroring};
use crate::broker::policy::{PolicyKind, object_of};
use crate::broker::vhost::{ExchangeDeclare, QueueDeclare, VHost};
use crate::broker::{Broker, ConnectionId};
use crate::error::Fault;

/// No connection: ids of connections begin at 1.
const IMPORTER: ConnectionId = ConnectionId(0);

/// Bindings of an exchange, each as [`binding_identity`] tells it.
type Identities = HashSet<(bool, Arc<str>, Vec<u8>, String)>;

impl Broker {
    /// Imports a document of definitions, as brokers export them. To import it again changes nothing.
    ///
    /// # Errors
    /// If it is not understood as a whole; then nothing has changed.
    pub fn import_definitions(&self, document: &Value) -> Result<Report, DefinitionsError> {
        let document = Document::read(document, None, self.config.limits.table_depth)?;
        Ok(Import::new(self).run(document))
    }

    /// Imports into one virtual host what a document defines in any: users, permissions and the like are left out.
    ///
    /// # Errors
    /// If it is not understood as a whole; then nothing has changed. The same if there is no such virtual host.
    pub fn import_vhost_definitions(&self, vhost: &str, document: &Value) -> Result<Report, DefinitionsError> {
        if self.vhost(vhost).is_none() {
            return Err(DefinitionsError::at("the document", ParameterError::NoVHost(vhost.to_owned()).to_string()));
        }
        let document = Document::read(document, Some(vhost), self.config.limits.table_depth)?;
        Ok(Import::new(self).run(document))
    }
}

struct Import<'a> {
    broker: &'a Broker,
    report: Report,
    /// What exchanges had before, by virtual host and name, as far as it was asked for.
    bindings: HashMap<(String, String), Identities>,
}

impl<'a> Import<'a> {
    fn new(broker: &'a Broker) -> Import<'a> {
        Import { broker, report: Report::default(), bindings: HashMap::new() }
    }

    fn run(mut self, document: Document) -> Report {
        for name in &document.unknown {
            self.report.note(name, "nothing is known of such a section; it is left out");
        }
        let has_limits = |vhost: &str| {
            let mut limits = document.parameters.iter().filter(|parameter| parameter.component == VHOST_LIMITS);
            limits.any(|parameter| parameter.vhost == vhost)
        };
        document.users.into_iter().for_each(|user| self.user(user));
        document.vhosts.iter().for_each(|vhost| self.add_vhost(vhost, has_limits(&vhost.name)));
        document.permissions.into_iter().for_each(|permission| self.permission(permission));
        document.topic_permissions.into_iter().for_each(|permission| self.topic_permission(permission));
        document.exchanges.into_iter().for_each(|exchange| self.exchange(exchange));
        document.global_parameters.into_iter().for_each(|(name, value)| self.global_parameter(&name, value));
        document.policies.into_iter().for_each(|policy| self.policy(PolicyKind::User, policy));
        document.parameters.into_iter().for_each(|parameter| self.parameter(parameter));
        document.queues.into_iter().for_each(|queue| self.queue(queue));
        document.bindings.into_iter().for_each(|binding| self.binding(binding));
        self.report
    }

    fn exchange(&mut self, entry: ExchangeEntry) {
        let what = Resource::exchange(&entry.name, &entry.vhost).to_string();
        let Some(vhost) = self.vhost("exchanges", &what, &entry.vhost) else { return };
        if entry.name.is_empty() || entry.name.starts_with(RESERVED_PREFIX) {
            return self.report.skip("exchanges", what, "every virtual host has its own of that name");
        }
        let existed = vhost.find_exchange(&entry.name).is_some();
        let declared = vhost.exchange_declare(ExchangeDeclare {
            name: &entry.name,
            kind: &entry.kind,
            passive: false,
            durable: entry.durable,
            auto_delete: entry.auto_delete,
            internal: entry.internal,
            arguments: entry.arguments,
        });
        self.declared("exchanges", what, existed, declared);
    }

    fn queue(&mut self, entry: QueueEntry) {
        let what = Resource::queue(&entry.name, &entry.vhost).to_string();
        let Some(vhost) = self.vhost("queues", &what, &entry.vhost) else { return };
        if entry.name.is_empty() || entry.name.starts_with(RESERVED_PREFIX) {
            return self.report.skip("queues", what, "such a name is the server's to give");
        }
        let existed = vhost.find_queue(&entry.name).is_some();
        let declare = QueueDeclare {
            name: &entry.name,
            passive: false,
            durable: entry.durable,
            exclusive: false,
            auto_delete: entry.auto_delete,
            arguments: typed_arguments(entry.arguments, entry.queue_type, &vhost),
        };
        let declared = vhost.queue_declare(declare, IMPORTER).map(drop);
        self.declared("queues", what, existed, declared);
    }

    fn declared(&mut self, kind: &'static str, what: String, existed: bool, result: Result<(), Fault>) {
        match result {
            Ok(()) => self.report.count(kind, if existed { Outcome::Existed } else { Outcome::Created }),
            Err(fault) if existed => self.report.skip(kind, what, format!("is left as it is: {}", fault.text)),
            Err(fault) => self.report.skip(kind, what, format!("is left out: {}", fault.text)),
        }
    }

    fn binding(&mut self, entry: BindingEntry) {
        let to = if entry.is_to_queue { "queue" } else { "exchange" };
        let (source, destination) = (&entry.source, &entry.destination);
        let what = format!("binding from exchange '{source}' to {to} '{destination}' in vhost '{}'", entry.vhost);
        let Some(vhost) = self.vhost("bindings", &what, &entry.vhost) else { return };
        if source.is_empty() {
            return self.report.skip("bindings", what, "every queue is bound to the default exchange anyway");
        }
        if !self.bindings_of(&vhost, source).insert((
            entry.is_to_queue,
            destination.as_str().into(),
            entry.routing_key.clone(),
            Value::Object(entry.json).to_string(),
        )) {
            return self.report.count("bindings", Outcome::Existed);
        }
        let bound = match entry.is_to_queue {
            true => vhost.queue_bind(destination, source, &entry.routing_key, entry.arguments, IMPORTER),
            false => vhost.exchange_bind(destination, source, &entry.routing_key, entry.arguments),
        };
        self.declared("bindings", what, false, bound);
    }

    /// Compared as documents tell them, since types of arguments may have got lost on the way.
    fn bindings_of(&mut self, vhost: &VHost, exchange: &str) -> &mut Identities {
        self.bindings.entry((vhost.name().to_string(), exchange.to_owned())).or_insert_with(|| {
            let bindings = vhost.find_exchange(exchange).map(|exchange| exchange.bindings()).unwrap_or_default();
            bindings.iter().map(|binding| binding_identity(binding)).collect()
        })
    }

    fn policy(&mut self, kind: PolicyKind, entry: PolicyEntry) {
        let what = described_parameter(&entry.vhost, kind.component(), &entry.name);
        let section = if kind == PolicyKind::User { "policies" } else { "parameters" };
        let Some(vhost) = self.vhost(section, &what, &entry.vhost) else { return };
        let mut value = entry.value;
        let given = value.get("definition").and_then(object_of).unwrap_or_default();
        let (known, unknown): (Map<_, _>, Map<_, _>) = given.into_iter().partition(|(key, _)| is_known(kind, key));
        if !unknown.is_empty() {
            self.report.note(&what, unknown_keys(&unknown));
            if known.is_empty() {
                return self.report.skip(section, what, "is left out: nothing else is in its definition");
            }
            value["definition"] = Value::Object(known);
        }
        let policy = |vhost: &VHost| vhost.policies(kind).into_iter().find(|policy| *policy.name == *entry.name);
        let before = policy(&vhost);
        let result = match new_policy(&entry.name, &value) {
            Ok(new) => self.broker.set_policy(kind, vhost.name(), new),
            Err(flaw) => Err(ParameterError::Invalid(flaw)),
        };
        match result {
            Ok(()) => self.report.count(section, outcome(before, policy(&vhost))),
            Err(error) => self.report.skip(section, what, left_out(&error)),
        }
    }

    fn parameter(&mut self, entry: ParameterEntry) {
        let operator = PolicyKind::Operator;
        if entry.component == operator.component() {
            let ParameterEntry { vhost, name, value, .. } = entry;
            return self.policy(operator, PolicyEntry { vhost, name, value });
        }
        let what = described_parameter(&entry.vhost, &entry.component, &entry.name);
        let Some(vhost) = self.vhost("parameters", &what, &entry.vhost) else { return };
        let value = |vhost: &VHost| {
            let is_it = |parameter: &_| is_parameter(parameter, &entry.component, &entry.name);
            vhost.parameters().into_iter().find(is_it).map(|parameter| parameter.value)
        };
        let before = value(&vhost);
        match self.broker.set_parameter(&entry.vhost, &entry.component, &entry.name, entry.value.clone()) {
            Ok(()) => {
                self.report.count("parameters", outcome(before, value(&vhost)));
                if entry.component != VHOST_LIMITS {
                    self.report.note(what, "is kept, and has no effect");
                }
            }
            Err(error) => self.report.skip("parameters", what, left_out(&error)),
        }
    }

    fn global_parameter(&mut self, name: &str, value: Value) {
        let what = format!("global parameter '{name}'");
        if name.starts_with("internal") || name == boot::HASH_PARAMETER {
            return self.report.skip("global_parameters", what, "is left out: it is of the broker that exported it");
        }
        let before = self.broker.global_parameters.get(name);
        match self.broker.set_global_parameter(name, value) {
            Ok(()) => {
                self.report.count("global_parameters", outcome(before, self.broker.global_parameters.get(name)));
                self.report.note(what, "is kept, and has no effect");
            }
            Err(error) => self.report.skip("global_parameters", what, left_out(&error)),
        }
    }

    fn vhost(&mut self, kind: &'static str, what: &str, name: &str) -> Option<Arc<VHost>> {
        let vhost = self.broker.vhost(name);
        if vhost.is_none() {
            self.report.skip(kind, what, format!("is left out: virtual host '{name}' does not exist"));
        }
        vhost
    }
}

/// The arguments with the type of the queue, if it is said beside them and they would otherwise mean another.
fn typed_arguments(mut arguments: FieldTable, queue_type: Option<String>, vhost: &VHost) -> FieldTable {
    let Some(queue_type) = queue_type.filter(|_| !arguments.contains_key("x-queue-type")) else { return arguments };
    let default = vhost.default_queue_type().unwrap_or(QueueType::Classic);
    if queue_type != default.name() || queue_type != QueueType::Classic.name() {
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(queue_type.into()));
    }
    arguments
}

fn is_parameter(parameter: &crate::broker::parameter::Parameter, component: &str, name: &str) -> bool {
    *parameter.component == *component && *parameter.name == *name
}

fn new_policy<'a>(name: &'a str, value: &'a Value) -> Result<NewPolicy<'a>, String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let priority = match value.get("priority") {
        None | Some(Value::Null) => 0,
        Some(priority) => {
            priority.as_i64().ok_or_else(|| format!("priority should be a number, actually was {priority}"))?
        }
    };
    Ok(NewPolicy {
        name,
        pattern: text("pattern").ok_or("it has no pattern")?,
        apply_to: text("apply-to"),
        priority,
        definition: value.get("definition").cloned().unwrap_or_default(),
    })
}

fn unknown_keys(keys: &Map<String, Value>) -> String {
    let names: Vec<&str> = keys.keys().map(String::as_str).collect();
    let why = match keys.keys().any(|key| is_of_mirroring(key)) {
        true => "; classic queues are not mirrored any more",
        false => "",
    };
    format!("is imported without what is not known of its definition: {}{why}", names.join(", "))
}

fn outcome<T: PartialEq>(before: Option<T>, after: Option<T>) -> Outcome {
    match before {
        None => Outcome::Created,
        before if before == after => Outcome::Existed,
        Some(_) => Outcome::Changed,
    }
}

fn left_out(error: &ParameterError) -> String {
    let text = match error {
        ParameterError::Invalid(text) => text.replace('\n', "; "),
        other => other.to_string(),
    };
    format!("is left out: {text}")
}
