//! The firehose: copies of what is published and delivered, to the exchange `amq.rabbitmq.trace` of the virtual host.
//!
//! A copy has the body of its message, the routing key `publish.EXCHANGE` or `deliver.QUEUE`, and headers that say the rest,
//! with RabbitMQ's names and types (`rabbit_trace`). Copies are not traced themselves, and cost nobody anything while
//! tracing is off: it is looked at once for each read and each run.

use std::sync::Arc;

use amq_protocol::types::AMQPValue;

use crate::broker::queue::Queue;
use crate::broker::routes::TargetId;
use crate::broker::vhost::TRACE_EXCHANGE;
use crate::connection::scratch::Scratch;
use crate::connection::session::Session;
use crate::limits::SHORT_STRING_MAX_BYTES;
use crate::storage::chunk::Run;
use crate::storage::record::{self, Record, flags};
use crate::wire::properties::{PropertiesView, Property};
use crate::wire::table;

/// A message as the trace shows it.
pub struct Traced<'a> {
    pub channel: u16,
    pub exchange: &'a [u8],
    /// Its own, then those of CC and BCC.
    pub routing_keys: &'a [&'a [u8]],
    /// In wire form.
    pub properties: &'a [u8],
    pub body: &'a [u8],
}

/// What happened to it.
enum Event<'a> {
    /// It was published, and routed to these queues.
    Published {
        queues: Vec<&'a str>,
    },
    Delivered {
        queue: &'a str,
        redelivered: bool,
    },
}

/// Copies a message that is published, with the batch that is being gathered.
#[cold]
pub fn published(traced: &Traced<'_>, target: TargetId, session: &mut Session, scratch: &mut Scratch) {
    let queues: Vec<Arc<Queue>> = session.routes.queues(target).to_vec();
    let names = queues.iter().map(|queue| &**queue.name()).collect();
    traced.copy(&Event::Published { queues: names }, session, scratch);
}

/// Copies each message of a run that is delivered from a queue.
#[cold]
pub fn delivered(channel: u16, queue: &str, run: &Run, session: &mut Session, scratch: &mut Scratch) {
    for record in run.records().filter(|record| record.exchange() != TRACE_EXCHANGE.as_bytes()) {
        let mut routing_keys = vec![record.routing_key()];
        if let Ok(view) = PropertiesView::parse(record.properties(), u8::MAX) {
            routing_keys.extend(view.cc_and_bcc().unwrap_or_default());
        }
        let traced = Traced {
            channel,
            exchange: record.exchange(),
            routing_keys: &routing_keys,
            properties: record.properties(),
            body: record.body(),
        };
        traced.copy(&Event::Delivered { queue, redelivered: run.redelivered }, session, scratch);
    }
    session.apply(scratch);
    session.routes.begin_batch();
}

impl Traced<'_> {
    /// Sends a copy to the trace exchange, with the batch that is being gathered.
    fn copy(&self, event: &Event<'_>, session: &mut Session, scratch: &mut Scratch) {
        let routing_key = self.routing_key(event);
        let Some(exchange) = session.vhost.find_exchange(TRACE_EXCHANGE) else { return };
        let route = session.vhost.route(&exchange, &[&routing_key], &mut || None);
        if route.queues.is_empty() {
            return;
        }
        let properties = headers_alone(&self.headers(event, session));
        let mut copy = Vec::new();
        let exchange = TRACE_EXCHANGE.as_bytes();
        let body_bytes = self.body.len() as u32;
        record::append_prefix(&mut copy, flags::HEADERS, exchange, &routing_key, &properties, body_bytes);
        copy.extend_from_slice(self.body);
        let target = session.routes.target(&route.queues);
        scratch.settle_before_publishing_to(target, &session.routes);
        let copy = Record::new(&copy);
        scratch.batch.chunk(&mut session.routes, target, &mut scratch.wakes).push(copy.prefix(), copy.body());
    }

    /// Cut to what a routing key may have.
    fn routing_key(&self, event: &Event<'_>) -> Vec<u8> {
        let mut key = match event {
            Event::Published { .. } => [b"publish.", self.exchange].concat(),
            Event::Delivered { queue, .. } => [b"deliver.", queue.as_bytes()].concat(),
        };
        key.truncate(SHORT_STRING_MAX_BYTES);
        key
    }

    /// The entries of the headers, in RabbitMQ's order.
    fn headers(&self, event: &Event<'_>, session: &Session) -> Vec<u8> {
        let broker = &session.broker;
        let client = broker.connections.get(session.id).map(|connection| connection.client.name());
        let connection = client.as_deref().unwrap_or(&session.name);
        let mut out = Vec::new();
        let mut push = |key: &str, value: AMQPValue| table::push_entry(&mut out, key.as_bytes(), &value);
        push("exchange_name", long_string(self.exchange));
        push("routing_keys", array(self.routing_keys.iter().copied()));
        push("properties", self.properties_table(session));
        push("node", long_string(broker.node_name().as_bytes()));
        if let Event::Delivered { redelivered, .. } = event {
            push("redelivered", AMQPValue::LongInt((*redelivered).into()));
        }
        push("vhost", long_string(session.vhost.name().as_bytes()));
        push("connection", long_string(connection.as_bytes()));
        push("channel", AMQPValue::LongInt(self.channel.into()));
        push("user", long_string(session.user.name.as_bytes()));
        if let Event::Published { queues } = event {
            push("routed_queues", array(queues.iter().map(|name| name.as_bytes())));
        }
        out
    }

    /// The properties as a table. Headers that would make the copy's own too large are left out.
    fn properties_table(&self, session: &Session) -> AMQPValue {
        /// The other headers of the copy, at most.
        const OTHERS_BYTES: usize = 4096;
        let mut table = amq_protocol::types::FieldTable::default();
        let Ok(view) = PropertiesView::parse(self.properties, u8::MAX) else { return AMQPValue::FieldTable(table) };
        let texts = [
            ("content_type", view.content_type()),
            ("content_encoding", view.content_encoding()),
            ("correlation_id", view.correlation_id()),
            ("reply_to", view.reply_to()),
            ("expiration", view.expiration()),
            ("message_id", view.message_id()),
            ("type", view.message_type()),
            ("user_id", view.user_id()),
            ("app_id", view.app_id()),
            ("cluster_id", view.cluster_id()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                table.insert(name.into(), long_string(text));
            }
        }
        let numbers = [
            ("delivery_mode", view.delivery_mode().map(u64::from)),
            ("priority", view.priority().map(u64::from)),
            ("timestamp", view.timestamp()),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                table.insert(name.into(), integer(number));
            }
        }
        let fits = self.properties.len() + OTHERS_BYTES <= session.limits().max_header_bytes as usize;
        if view.has(Property::Headers)
            && fits
            && let Some(Ok(headers)) = view.headers_bytes().map(|entries| table::decode_entries(entries, u8::MAX))
        {
            table.insert("headers".into(), AMQPValue::FieldTable(headers));
        }
        AMQPValue::FieldTable(table)
    }
}

/// Properties that are nothing but a table of headers.
fn headers_alone(entries: &[u8]) -> Vec<u8> {
    /// No properties at all.
    const NONE: [u8; 2] = [0, 0];
    let none = PropertiesView::parse(&NONE, u8::MAX).expect("properties without any");
    none.with_headers(entries)
}

fn long_string(bytes: &[u8]) -> AMQPValue {
    AMQPValue::LongString(bytes.into())
}

/// RabbitMQ writes all numbers as 32 bits; what does not fit gets 64.
fn integer(number: u64) -> AMQPValue {
    i32::try_from(number).map_or(AMQPValue::LongLongInt(number as i64), AMQPValue::LongInt)
}

fn array<'a>(items: impl Iterator<Item = &'a [u8]>) -> AMQPValue {
    AMQPValue::FieldArray(items.map(long_string).collect::<Vec<_>>().into())
}
