//! Queues, exchanges, bindings and consumers of a virtual host.

use std::cell::OnceCell;
use std::sync::Arc;

use serde_json::Value;

use super::columns::{Column, Columns, pick, table};
use crate::broker::Broker;
use crate::broker::arguments::QueueType;
use crate::broker::binding::{Binding, Destination};
use crate::broker::exchange::Exchange;
use crate::broker::policy::Policy;
use crate::broker::queue::{ConsumerEntry, Queue, QueueFigures};
use crate::ctl::commands::operations::pid;
use crate::ctl::commands::{Context, Table};
use crate::ctl::json;
use crate::ctl::request::Refusal;

/// A row about a queue. Its figures are read once, if a column wants them.
pub struct QueueRow {
    broker: Arc<Broker>,
    queue: Arc<Queue>,
    figures: OnceCell<QueueFigures>,
}

impl QueueRow {
    fn figures(&self) -> &QueueFigures {
        self.figures.get_or_init(|| self.queue.figures())
    }
}

pub const QUEUES: Columns<QueueRow> = Columns {
    all: &[
        Column { name: "name", value: |row| (**row.queue.name()).into() },
        Column { name: "vhost", value: |row| (*row.queue.definition.vhost).into() },
        Column { name: "durable", value: |row| row.queue.definition.durable.into() },
        Column { name: "auto_delete", value: |row| row.queue.definition.auto_delete.into() },
        Column { name: "exclusive", value: |row| row.queue.definition.exclusive_owner.is_some().into() },
        Column { name: "arguments", value: |row| json::table(&row.queue.arguments()) },
        Column { name: "policy", value: |row| name_of(&row.queue.applied_policies().policy) },
        Column { name: "operator_policy", value: |row| name_of(&row.queue.applied_policies().operator) },
        Column {
            name: "effective_policy_definition",
            value: |row| Value::Object(row.queue.applied_policies().definition()),
        },
        Column { name: "type", value: |row| QueueType::of(&row.queue.arguments()).name().into() },
        Column { name: "state", value: |_| "running".into() },
        Column {
            name: "owner_pid",
            value: |row| row.queue.definition.exclusive_owner.map(|id| pid(&row.broker, id, 0)).into(),
        },
        Column { name: "messages", value: |row| (row.figures().ready + row.figures().unacknowledged).into() },
        Column { name: "messages_ready", value: |row| row.figures().ready.into() },
        Column { name: "messages_unacknowledged", value: |row| row.figures().unacknowledged.into() },
        Column { name: "messages_delayed", value: |row| row.queue.messages_delayed().into() },
        Column { name: "message_bytes_ready", value: |row| row.figures().ready_bytes.into() },
        Column { name: "message_bytes_ram", value: |row| row.figures().resident_bytes.into() },
        Column { name: "memory", value: |row| row.figures().resident_bytes.into() },
        Column { name: "consumers", value: |row| row.figures().consumers.into() },
        Column { name: "exclusive_consumer_tag", value: |row| row.figures().exclusive_consumer_tag.as_deref().into() },
        Column {
            name: "single_active_consumer_tag",
            value: |row| row.figures().single_active_consumer_tag.as_deref().into(),
        },
    ],
    default: &["name", "messages"],
};

fn name_of(policy: &Option<Arc<Policy>>) -> Value {
    policy.as_ref().map(|policy| &*policy.name).into()
}

pub fn queues(context: &Context, asked: &[String]) -> Result<Table, Refusal> {
    let picked = pick(&QUEUES, asked)?;
    let broker = context.broker.clone();
    let rows = sorted_queues(context)?.into_iter().map(move |queue| QueueRow {
        broker: broker.clone(),
        queue,
        figures: OnceCell::new(),
    });
    Ok(table(picked, rows))
}

fn sorted_queues(context: &Context) -> Result<Vec<Arc<Queue>>, Refusal> {
    let mut queues = context.broker.existing_vhost(&context.vhost)?.queues();
    queues.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    Ok(queues)
}

pub const EXCHANGES: Columns<Arc<Exchange>> = Columns {
    all: &[
        Column { name: "name", value: |exchange| (*exchange.name).into() },
        Column { name: "type", value: |exchange| exchange.kind.name().into() },
        Column { name: "durable", value: |exchange| exchange.durable.into() },
        Column { name: "auto_delete", value: |exchange| exchange.auto_delete.into() },
        Column { name: "internal", value: |exchange| exchange.internal.into() },
        Column { name: "arguments", value: |exchange| json::table(&exchange.arguments) },
        Column { name: "policy", value: |exchange| name_of(&exchange.applied_policies().policy) },
        Column { name: "messages_delayed", value: |exchange| exchange.messages_delayed().into() },
    ],
    default: &["name", "type"],
};

pub fn exchanges(context: &Context, asked: &[String]) -> Result<Table, Refusal> {
    let picked = pick(&EXCHANGES, asked)?;
    Ok(table(picked, sorted_exchanges(context)?.into_iter()))
}

fn sorted_exchanges(context: &Context) -> Result<Vec<Arc<Exchange>>, Refusal> {
    let mut exchanges = context.broker.existing_vhost(&context.vhost)?.exchanges();
    exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(exchanges)
}

/// A binding; or the one by which each queue is bound to the default exchange under its name.
pub enum BindingRow {
    Implicit(Arc<Queue>),
    Declared(Arc<Binding>),
}

pub const BINDINGS: Columns<BindingRow> = Columns {
    all: &[
        Column {
            name: "source_name",
            value: |row| match row {
                BindingRow::Implicit(_) => "".into(),
                BindingRow::Declared(binding) => (*binding.source).into(),
            },
        },
        Column { name: "source_kind", value: |_| "exchange".into() },
        Column {
            name: "destination_name",
            value: |row| match row {
                BindingRow::Implicit(queue) => (**queue.name()).into(),
                BindingRow::Declared(binding) => (**binding.destination.name()).into(),
            },
        },
        Column {
            name: "destination_kind",
            value: |row| match row {
                BindingRow::Declared(binding) if matches!(binding.destination, Destination::Exchange(_)) => {
                    "exchange".into()
                }
                _ => "queue".into(),
            },
        },
        Column {
            name: "routing_key",
            value: |row| match row {
                BindingRow::Implicit(queue) => (**queue.name()).into(),
                BindingRow::Declared(binding) => String::from_utf8_lossy(&binding.routing_key).into(),
            },
        },
        Column {
            name: "arguments",
            value: |row| match row {
                BindingRow::Implicit(_) => Value::Object(Default::default()),
                BindingRow::Declared(binding) => json::table(&binding.arguments),
            },
        },
    ],
    default: &["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"],
};

pub fn bindings(context: &Context, asked: &[String]) -> Result<Table, Refusal> {
    let picked = pick(&BINDINGS, asked)?;
    let implicit = sorted_queues(context)?.into_iter().map(BindingRow::Implicit);
    let declared = sorted_exchanges(context)?.into_iter().flat_map(|exchange| {
        let mut bindings = exchange.bindings();
        bindings.sort_unstable_by(|a, b| {
            (a.destination.name(), &a.routing_key).cmp(&(b.destination.name(), &b.routing_key))
        });
        bindings.into_iter().map(BindingRow::Declared)
    });
    Ok(table(picked, implicit.chain(declared)))
}

pub struct ConsumerRow {
    broker: Arc<Broker>,
    queue: Arc<Queue>,
    consumer: ConsumerEntry,
}

pub const CONSUMERS: Columns<ConsumerRow> = Columns {
    all: &[
        Column { name: "queue_name", value: |row| (**row.queue.name()).into() },
        Column {
            name: "channel_pid",
            value: |row| pid(&row.broker, row.consumer.connection, row.consumer.channel).into(),
        },
        Column { name: "consumer_tag", value: |row| (*row.consumer.tag).into() },
        Column { name: "ack_required", value: |row| (!row.consumer.no_ack).into() },
        Column { name: "prefetch_count", value: |row| row.consumer.prefetch.into() },
        Column { name: "active", value: |row| row.consumer.active.into() },
        Column { name: "activity_status", value: |row| row.consumer.activity_status.into() },
        Column { name: "exclusive", value: |row| row.consumer.exclusive.into() },
        Column {
            name: "arguments",
            value: |row| match &row.consumer.arguments {
                Some(arguments) => json::table(arguments),
                None => Value::Object(Default::default()),
            },
        },
    ],
    default: &["queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"],
};

pub fn consumers(context: &Context, asked: &[String]) -> Result<Table, Refusal> {
    let picked = pick(&CONSUMERS, asked)?;
    let broker = context.broker.clone();
    let rows = sorted_queues(context)?.into_iter().flat_map(move |queue| {
        let broker = broker.clone();
        let of = queue.consumer_entries().into_iter();
        of.map(move |consumer| ConsumerRow { broker: broker.clone(), queue: queue.clone(), consumer })
    });
    Ok(table(picked, rows))
}
