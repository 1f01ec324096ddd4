//! The steps of a message's way, each alone: `cargo bench`. The numbers in the columns `alloc` and `grow` are for one
//! iteration, which is as many messages as `item/s` counts: on the hot path there are a few for a batch, none for a
//! message.

mod connection;

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use leveret::bench::message::Properties;
use leveret::broker::ConnectionId;
use leveret::broker::exchange::{Exchange, ExchangeKind};
use leveret::broker::outbox::{Item, Outbox, Wakes};
use leveret::broker::queue::limiter::ChannelLimiter;
use leveret::broker::queue::{NewConsumer, Queue, QueueDefinition};
use leveret::broker::routes::Routes;
use leveret::broker::vhost::{QueueDeclare, VHost};
use leveret::channel::Whole;
use leveret::channel::ledger::{Delivered, DeliveredFrom, Ledger};
use leveret::storage::chunk::{Chunk, OpenChunk, Run};
use leveret::storage::record::append_prefix;
use leveret::wire::deliver::{self, Recipient};
use leveret::wire::frame::{self, FrameHead};
use leveret::wire::hot::{ContentHeader, Publish};
use leveret::wire::properties::PropertiesView;

use self::connection::{Connection, FRAME_MAX, ack, publishes};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Messages in a batch: about what one read of 256 KiB brings of small ones.
const BATCH: u64 = 4096;

fn batch() -> ItemsCount {
    ItemsCount::new(BATCH)
}

/// A virtual host with a queue `q`.
fn vhost() -> Arc<VHost> {
    let vhost = VHost::new("/");
    let declare = QueueDeclare {
        name: "q",
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
    };
    assert!(vhost.queue_declare(declare, ConnectionId(1)).is_ok());
    vhost
}

/// A chunk of `BATCH` messages whose bodies have 16 bytes and whose properties are alike, or not.
fn chunk(properties: Properties) -> Arc<Chunk> {
    let mut open = OpenChunk::default();
    for n in 0..BATCH {
        let mut wire = Vec::new();
        let message = leveret::bench::message::Message {
            exchange: "",
            routing_key: "q",
            properties: properties.of(n),
            body: b"",
        };
        message.publish(&mut wire, FRAME_MAX);
        let (_, header) = frames(&wire);
        let header = ContentHeader::read(header).expect("a content header");
        let mut prefix = Vec::new();
        append_prefix(&mut prefix, 0, b"", b"q", header.properties, 16);
        open.push(&prefix, &[b'x'; 16]);
    }
    open.close()
}

/// The payloads of the first two frames.
fn frames(wire: &[u8]) -> (&[u8], &[u8]) {
    let payload = |at: usize| {
        let head = FrameHead::read(&wire[at..]).expect("a whole frame");
        (&wire[at + frame::HEAD_BYTES..at + frame::HEAD_BYTES + head.size], at + head.frame_bytes())
    };
    let (method, next) = payload(0);
    (method, payload(next).0)
}

/// From bytes to their parts, nothing else.
mod decode {
    use super::*;

    #[divan::bench(args = [Properties::None, Properties::Usual])]
    fn frames_of_a_publish(bencher: Bencher, properties: Properties) {
        let wire = publishes(1, "a-queue", properties, 16);
        let (method, header) = super::frames(&wire);
        bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
            let publish = Publish::read(black_box(method)).expect("a publish");
            let header = ContentHeader::read(black_box(header)).expect("a content header");
            let view = PropertiesView::parse(header.properties, 64).expect("properties");
            black_box((publish.routing_key.len(), view.is_persistent()))
        });
    }

    #[divan::bench(args = [Properties::None, Properties::Usual])]
    fn batch_of_whole_publishes(bencher: Bencher, properties: Properties) {
        let wire = publishes(BATCH, "a-queue", properties, 16);
        bencher.counter(batch()).counter(BytesCount::new(wire.len())).bench_local(|| {
            let mut at = 0;
            while let Some(head) = FrameHead::read(&wire[at..]) {
                let whole = Whole::read(&wire[at..], head, FRAME_MAX).expect("a whole publish");
                at += black_box(whole.frame_bytes);
            }
            at
        });
    }
}

/// From bytes into a queue that nobody consumes: decode, route, build the chunk, enqueue.
mod publish {
    use amq_protocol::protocol::{AMQPClass, queue};

    use super::*;

    fn publish(bencher: Bencher, properties: Properties, body_bytes: usize) {
        let mut connection = Connection::new("q");
        let wire = publishes(BATCH, "q", properties, body_bytes);
        bencher.counter(batch()).bench_local(|| {
            connection.read(&wire);
            let purge = queue::Purge { queue: "q".into(), nowait: true };
            connection.call(AMQPClass::Queue(queue::AMQPMethod::Purge(purge)));
        });
    }

    #[divan::bench]
    fn all_alike(bencher: Bencher) {
        publish(bencher, Properties::None, 16);
    }

    #[divan::bench]
    fn all_alike_with_properties(bencher: Bencher) {
        publish(bencher, Properties::Usual, 16);
    }

    #[divan::bench]
    fn each_with_its_own_properties(bencher: Bencher) {
        publish(bencher, Properties::Varied, 16);
    }

    #[divan::bench]
    fn of_1_kib(bencher: Bencher) {
        publish(bencher, Properties::None, 1024);
    }
}

/// Deliveries, from a run to bytes.
mod encode {
    use super::*;

    #[divan::bench(args = [Properties::None, Properties::Usual, Properties::Varied])]
    fn deliveries(bencher: Bencher, properties: Properties) {
        let run = Run::of_chunk(&chunk(properties), 0);
        let to = Recipient { channel: 1, consumer_tag: b"ctag-1.0", frame_max: FRAME_MAX };
        let mut out = Vec::new();
        bencher.counter(batch()).bench_local(|| {
            out.clear();
            deliver::deliveries(&mut out, to, 1, black_box(&run));
            out.len()
        });
    }
}

/// From exchange and routing key to queues.
mod route {
    use super::*;

    const BINDINGS: u32 = 100_000;

    /// A virtual host with a queue `q`, and its predeclared exchange of a kind with this many bindings to the queue,
    /// each with a key and arguments of its own.
    fn bound(kind: ExchangeKind, bindings: u32) -> (Arc<VHost>, Arc<Exchange>) {
        let vhost = vhost();
        let name = format!("amq.{}", kind.name());
        for n in 0..bindings {
            let mut arguments = FieldTable::default();
            arguments.insert("tenant".into(), AMQPValue::LongString(format!("t{n}").into()));
            let bound = vhost.queue_bind("q", &name, format!("b.{n:06}.*").as_bytes(), arguments, ConnectionId(1));
            assert!(bound.is_ok());
        }
        let exchange = vhost.find_exchange(&name).expect("it is predeclared");
        (vhost, exchange)
    }

    fn cached(bencher: Bencher, kind: ExchangeKind, key: &[u8]) {
        let (vhost, exchange) = bound(kind, BINDINGS);
        let mut routes = Routes::default();
        let route = vhost.route(&exchange, &[key], &mut || None);
        assert_eq!(route.queues.len(), 1);
        routes.insert(&exchange, key, route);
        let name = exchange.name.as_bytes().to_vec();
        bencher
            .counter(ItemsCount::new(1u32))
            .bench_local(|| routes.find(black_box(&name), black_box(key)).expect("a cached route"));
    }

    fn uncached(bencher: Bencher, kind: ExchangeKind, bindings: u32, headers: Option<FieldTable>) {
        let (vhost, exchange) = bound(kind, bindings);
        let keys: Vec<String> = (0..4096).map(|n| format!("b.{:06}.eu", n * 7919 % bindings)).collect();
        let mut keys = keys.iter().cycle();
        bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
            let key = keys.next().expect("a cycle has no end");
            let route = vhost.route(black_box(&exchange), &[key.as_bytes()], &mut || headers.clone());
            assert_eq!(route.queues.len(), 1);
            route
        });
    }

    #[divan::bench]
    fn topic_100_000_bindings_cached(bencher: Bencher) {
        cached(bencher, ExchangeKind::Topic, b"b.012345.eu");
    }

    #[divan::bench]
    fn topic_100_000_bindings(bencher: Bencher) {
        uncached(bencher, ExchangeKind::Topic, BINDINGS, None);
    }

    #[divan::bench]
    fn headers_100_bindings(bencher: Bencher) {
        let mut headers = FieldTable::default();
        headers.insert("tenant".into(), AMQPValue::LongString("t42".into()));
        uncached(bencher, ExchangeKind::Headers, 100, Some(headers));
    }

    #[divan::bench]
    fn default_exchange_cached(bencher: Bencher) {
        let vhost = vhost();
        let exchange = vhost.find_exchange("").expect("it is predeclared");
        let mut routes = Routes::default();
        let route = vhost.route(&exchange, &[b"q"], &mut || None);
        assert_eq!(route.queues.len(), 1);
        routes.insert(&exchange, b"q", route);
        // As in a read buffer: an empty name has an address all the same.
        let wire = black_box(b"q".to_vec());
        let (exchange, key) = wire.split_at(0);
        bencher
            .counter(ItemsCount::new(1u32))
            .bench_local(|| routes.find(black_box(exchange), black_box(key)).expect("a cached route"));
    }
}

/// A chunk into a queue and out to consumers' outboxes.
mod queue {
    use super::*;

    fn queue() -> Arc<Queue> {
        Queue::new(QueueDefinition {
            vhost: "/".into(),
            name: "q".into(),
            durable: false,
            auto_delete: false,
            exclusive_owner: None,
            arguments: FieldTable::default(),
        })
    }

    #[divan::bench(args = [1, 2, 100])]
    fn enqueue_and_assign(bencher: Bencher, consumers: u32) {
        let (queue, outbox) = (queue(), Arc::new(Outbox::default()));
        let mut wakes = Wakes::default();
        let keys: Vec<_> = (0..consumers)
            .map(|slot| {
                let new = NewConsumer {
                    connection: ConnectionId(1),
                    channel: 1,
                    tag: format!("c{slot}").into(),
                    no_ack: true,
                    exclusive: false,
                    priority: 0,
                    prefetch: 0,
                    outbox: outbox.clone(),
                    slot,
                    limiter: ChannelLimiter::new(0),
                    window_bytes: 256 * 1024,
                    arguments: None,
                };
                queue.consume(new, &mut wakes).unwrap_or_else(|_| panic!("the queue takes consumers"))
            })
            .collect();
        let chunk = chunk(Properties::None);
        let mut items = Default::default();
        bencher.counter(batch()).bench_local(|| {
            queue.enqueue(black_box(&chunk), false, &mut wakes);
            let mut messages = 0;
            loop {
                outbox.take(&mut items);
                if items.is_empty() {
                    break;
                }
                for item in items.drain(..) {
                    let Item::Deliver { slot, run } = item else { panic!("only deliveries are expected") };
                    messages += u64::from(run.count);
                    let bytes = run.bytes();
                    run.settle();
                    queue.sent(keys[slot as usize], bytes, &[], &mut wakes);
                }
            }
            assert_eq!(messages, BATCH);
        });
    }

    /// Files a batch of deliveries as one run and settles them as consumers do.
    fn settle(bencher: Bencher, settle: impl Fn(&mut Ledger, u64)) {
        let from = DeliveredFrom { queue: queue(), consumer: None };
        let chunk = chunk(Properties::None);
        let mut ledger = Ledger::default();
        let mut next_tag = 1;
        bencher.counter(batch()).bench_local(|| {
            let run = Run::of_chunk(&chunk, next_tag);
            ledger.file(Delivered { first_tag: next_tag, run, from: from.clone(), due: None });
            for tag in next_tag..next_tag + BATCH {
                settle(&mut ledger, tag);
            }
            next_tag += BATCH;
            ledger.take_all(|_| panic!("all is settled"));
        });
    }

    #[divan::bench]
    fn ack_each(bencher: Bencher) {
        settle(bencher, |ledger, tag| ledger.take(tag).expect("it is outstanding").run.settle());
    }

    #[divan::bench]
    fn ack_multiple_by_64(bencher: Bencher) {
        settle(bencher, |ledger, tag| {
            if tag % 64 == 0 {
                ledger.take_through(tag, |delivered| delivered.run.settle()).expect("it is outstanding");
            }
        });
    }
}

/// The whole way but the sockets: from publishes read to deliveries, and acknowledgements, written and read.
mod whole_way {
    use super::*;

    fn way(bencher: Bencher, properties: Properties, ack_every: Option<u64>) {
        let mut connection = Connection::new("q");
        connection.consume("q", ack_every.is_none());
        let wire = publishes(BATCH, "q", properties, 16);
        let mut next_tag = 1;
        let mut acks = Vec::new();
        bencher.counter(batch()).bench_local(|| {
            connection.read(&wire);
            let written = connection.write();
            if let Some(every) = ack_every {
                acks.clear();
                for tag in (next_tag..next_tag + BATCH).filter(|tag| tag % every == 0) {
                    ack(&mut acks, tag, every > 1);
                }
                connection.read(&acks);
            }
            next_tag += BATCH;
            written
        });
    }

    #[divan::bench(args = [Properties::None, Properties::Usual, Properties::Varied])]
    fn no_ack(bencher: Bencher, properties: Properties) {
        way(bencher, properties, None);
    }

    #[divan::bench(args = [1, 64])]
    fn acked_every(bencher: Bencher, every: u64) {
        way(bencher, Properties::None, Some(every));
    }
}
