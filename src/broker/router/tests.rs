use std::cell::Cell;

use amq_protocol::types::AMQPValue;

use super::*;
use crate::broker::ConnectionId;
use crate::broker::queue::QueueDefinition;
use crate::broker::vhost::{ExchangeDeclare, QueueDeclare};

const ME: ConnectionId = ConnectionId(1);

/// A virtual host that is quick to fill.
struct Host(Arc<VHost>);

impl Host {
    fn new() -> Host {
        Host(VHost::new("/"))
    }

    fn exchange(&self, name: &str, kind: &str) -> &Host {
        self.declare(name, kind, None)
    }

    fn exchange_with_alternate(&self, name: &str, kind: &str, alternate: &str) -> &Host {
        self.declare(name, kind, Some(alternate))
    }

    fn declare(&self, name: &str, kind: &str, alternate: Option<&str>) -> &Host {
        let mut arguments = FieldTable::default();
        if let Some(alternate) = alternate {
            arguments.insert("alternate-exchange".into(), AMQPValue::LongString(alternate.into()));
        }
        let flags = (false, false, false, false);
        let (passive, durable, auto_delete, internal) = flags;
        let declare = ExchangeDeclare { name, kind, passive, durable, auto_delete, internal, arguments };
        self.0.exchange_declare(declare).unwrap();
        self
    }

    fn queue(&self, name: &str) -> Arc<Queue> {
        let (passive, durable, exclusive, auto_delete) = (false, false, false, false);
        let arguments = FieldTable::default();
        self.0.queue_declare(QueueDeclare { name, passive, durable, exclusive, auto_delete, arguments }, ME).unwrap()
    }

    /// Binds a queue, which it declares, to an exchange.
    fn bind(&self, queue: &str, exchange: &str, key: &str) -> &Host {
        self.queue(queue);
        self.0.queue_bind(queue, exchange, key.as_bytes(), FieldTable::default(), ME).unwrap();
        self
    }

    fn link(&self, destination: &str, source: &str, key: &str) -> &Host {
        self.0.exchange_bind(destination, source, key.as_bytes(), FieldTable::default()).unwrap();
        self
    }

    fn route(&self, exchange: &str, key: &str) -> Route {
        self.route_keys(exchange, &[key.as_bytes()])
    }

    fn route_keys(&self, exchange: &str, keys: &[&[u8]]) -> Route {
        self.0.route(&self.0.find_exchange(exchange).unwrap(), keys, &mut || panic!("no headers are needed"))
    }

    fn routed(&self, exchange: &str, key: &str) -> Vec<String> {
        names(&self.route(exchange, key))
    }
}

fn names(route: &Route) -> Vec<String> {
    let mut names: Vec<_> = route.queues.iter().map(|queue| queue.name().to_string()).collect();
    names.sort();
    names
}

#[test]
fn the_default_exchange_routes_by_queue_name() {
    let host = Host::new();
    host.queue("q");
    assert_eq!(host.routed("", "q"), ["q"]);
    assert!(host.route("", "q").cacheable);
    assert!(host.routed("", "none").is_empty());
    assert!(!host.route("", "none").cacheable, "the queue may be declared at any time");
    let both = host.route_keys("", &[b"q", b"none", b"q", b"\xff"]);
    assert_eq!(names(&both), ["q"]);
    assert!(!both.cacheable);
}

#[test]
fn a_route_by_name_holds_while_the_queue_lives() {
    let host = Host::new();
    let queue = host.queue("q");
    let route = host.route("", "q");
    assert!(route.is_current());
    host.bind("other", "amq.direct", "k");
    assert!(route.is_current());
    queue.kill(false, false).unwrap();
    assert!(!route.is_current());
    assert!(host.routed("", "q").is_empty());
}

#[test]
fn each_queue_receives_once_however_many_bindings_and_keys_match() {
    let host = Host::new();
    host.bind("q", "amq.direct", "a").bind("q", "amq.direct", "b").bind("p", "amq.direct", "b");
    assert_eq!(names(&host.route_keys("amq.direct", &[b"a", b"b", b"b"])), ["p", "q"]);
    host.bind("q", "amq.topic", "#").bind("q", "amq.topic", "a.*").bind("q", "amq.fanout", "x");
    assert_eq!(host.routed("amq.topic", "a.b"), ["q"]);
    assert_eq!(host.routed("amq.fanout", "anything"), ["q"]);
    for n in 0..100 {
        host.bind(&format!("f{n}"), "amq.fanout", "1").bind(&format!("f{n}"), "amq.fanout", "2");
    }
    assert_eq!(host.routed("amq.fanout", "").len(), 101);
}

#[test]
fn circles_of_exchanges_end() {
    let host = Host::new();
    host.exchange("a", "fanout").exchange("b", "topic").exchange("c", "direct");
    host.link("b", "a", "").link("c", "b", "#").link("a", "c", "k").link("a", "a", "");
    host.bind("qa", "a", "").bind("qb", "b", "k").bind("qc", "c", "k");
    assert_eq!(host.routed("a", "k"), ["qa", "qb", "qc"]);
    assert_eq!(host.routed("c", "k"), ["qa", "qb", "qc"]);
    assert_eq!(host.routed("b", "other"), Vec::<String>::new());
    assert_eq!(host.route("a", "k").visited.len(), 3);
}

#[test]
fn the_alternate_exchange_gets_what_no_own_binding_matches() {
    let host = Host::new();
    host.exchange_with_alternate("x", "direct", "alt").exchange("alt", "fanout");
    host.bind("q", "x", "k").bind("lost", "alt", "");
    assert_eq!(host.routed("x", "k"), ["q"]);
    assert_eq!(host.routed("x", "other"), ["lost"]);
    assert_eq!(names(&host.route_keys("x", &[b"other", b"k"])), ["q"], "one matching key is enough");
}

#[test]
fn alternate_exchanges_form_chains_and_circles() {
    let host = Host::new();
    host.exchange_with_alternate("a", "direct", "b").exchange_with_alternate("b", "direct", "c");
    host.exchange_with_alternate("c", "direct", "a").bind("q", "c", "k");
    assert_eq!(host.routed("a", "k"), ["q"]);
    assert!(host.routed("a", "other").is_empty());
    assert_eq!(host.route("a", "other").visited.len(), 3);
}

#[test]
fn each_visited_exchange_has_its_alternate() {
    let host = Host::new();
    host.exchange("x", "fanout").exchange_with_alternate("y", "direct", "alt").exchange("alt", "fanout");
    host.link("y", "x", "").bind("q", "x", "").bind("lost", "alt", "");
    assert_eq!(host.routed("x", "k"), ["lost", "q"]);
}

#[test]
fn an_exchange_bound_to_one_that_loses_the_message_matched() {
    let host = Host::new();
    host.exchange_with_alternate("x", "fanout", "alt").exchange("y", "direct").exchange("alt", "fanout");
    host.link("y", "x", "").bind("lost", "alt", "");
    assert!(host.routed("x", "k").is_empty());
}

#[test]
fn the_default_exchange_as_alternate_loses_the_message() {
    let host = Host::new();
    host.queue("q");
    host.exchange_with_alternate("x", "direct", "");
    assert!(host.routed("x", "q").is_empty());
}

#[test]
fn declaring_the_missing_alternate_makes_routes_stale() {
    let host = Host::new();
    host.exchange_with_alternate("x", "direct", "alt").exchange_with_alternate("z", "direct", "x");
    let (lost, far) = (host.route("x", "k"), host.route("z", "k"));
    assert!(lost.queues.is_empty() && lost.cacheable && lost.is_current() && far.is_current());
    host.exchange("unrelated", "direct");
    assert!(lost.is_current());
    host.exchange("alt", "fanout");
    assert!(!lost.is_current() && !far.is_current());
    host.bind("q", "alt", "");
    assert_eq!(host.routed("z", "k"), ["q"]);
    let found = host.route("x", "k");
    host.0.exchange_delete("alt", false).unwrap();
    assert!(!found.is_current());
    assert!(host.routed("x", "k").is_empty());
}

#[test]
fn binding_unbinding_and_deletion_make_routes_stale() {
    let host = Host::new();
    host.exchange("x", "fanout").exchange("y", "fanout").link("y", "x", "").bind("q", "y", "");
    let stale = |change: &dyn Fn()| {
        let route = host.route("x", "");
        assert!(route.cacheable && route.is_current());
        change();
        assert!(!route.is_current());
    };
    stale(&|| {
        host.bind("p", "y", "");
    });
    stale(&|| host.0.queue_unbind("p", "y", b"", FieldTable::default(), ME).unwrap());
    stale(&|| assert_eq!(host.0.queue_delete("q", false, false, ME), Ok(0)));
    stale(&|| host.0.exchange_unbind("y", "x", b"", FieldTable::default()).unwrap());
    stale(&|| host.0.exchange_delete("x", false).unwrap());
}

#[test]
fn binding_again_changes_nothing() {
    let host = Host::new();
    host.bind("q", "amq.direct", "k");
    let route = host.route("amq.direct", "k");
    host.bind("q", "amq.direct", "k");
    assert!(route.is_current());
}

#[test]
fn a_route_through_a_deleted_exchange_is_not_kept() {
    let host = Host::new();
    host.exchange("x", "direct");
    let exchange = host.0.find_exchange("x").unwrap();
    host.0.exchange_delete("x", false).unwrap();
    let route = host.0.route(&exchange, &[b"k"], &mut || None);
    assert!(route.queues.is_empty() && !route.cacheable);
}

#[test]
fn headers_are_read_once_and_only_if_needed() {
    let host = Host::new();
    host.exchange("x", "fanout").link("amq.headers", "x", "").link("amq.match", "x", "");
    let mut arguments = FieldTable::default();
    arguments.insert("a".into(), AMQPValue::LongInt(1));
    for (queue, exchange) in [("q", "amq.headers"), ("p", "amq.match")] {
        host.queue(queue);
        host.0.queue_bind(queue, exchange, b"", arguments.clone(), ME).unwrap();
    }
    let reads = Cell::new(0);
    let mut headers = || {
        reads.set(reads.get() + 1);
        Some(arguments.clone())
    };
    let exchange = host.0.find_exchange("x").unwrap();
    let route = host.0.route(&exchange, &[b""], &mut headers);
    assert_eq!(names(&route), ["p", "q"]);
    assert_eq!(reads.get(), 1);
    assert!(!route.cacheable);
    assert!(host.0.route(&exchange, &[b""], &mut || None).queues.is_empty());
}

#[test]
fn replies_find_the_queue_of_the_requester() {
    let host = Host::new();
    let name = format!("{REPLY_TO_PREFIX}abc");
    let queue = Queue::new(QueueDefinition {
        vhost: "/".into(),
        name: name.as_str().into(),
        durable: false,
        auto_delete: true,
        exclusive_owner: Some(ME),
        arguments: FieldTable::default(),
    });
    host.0.register_reply_queue(queue.clone());
    let route = host.route_keys("", &[name.as_bytes(), name.as_bytes()]);
    assert_eq!(names(&route), [&*name]);
    assert!(route.cacheable && route.is_current());
    assert!(host.0.find_queue(&name).is_none());
    queue.kill(false, false).unwrap();
    host.0.remove_reply_queue(&queue);
    assert!(!route.is_current());
    assert!(host.routed("", &name).is_empty());
}

#[test]
fn a_random_exchange_says_what_to_draw_from() {
    let host = Host::new();
    host.exchange("random", "x-random").bind("a", "random", "").bind("b", "random", "k").bind("b", "random", "");
    let route = host.route("random", "any");
    assert_eq!(route.queues.len(), 1);
    let mut one_of: Vec<_> = route.one_of.iter().map(|queue| queue.name().to_string()).collect();
    one_of.sort();
    assert_eq!(one_of, ["a", "b", "b"]);
    assert!(!route.cacheable && route.is_current());
    host.bind("c", "random", "");
    assert!(!route.is_current());

    host.exchange("front", "fanout").link("random", "front", "");
    let route = host.route("front", "any");
    assert!(route.one_of.is_empty() && !route.cacheable, "what lies behind another exchange is drawn anew");
    host.link("amq.fanout", "random", "");
    assert!(host.route("random", "any").one_of.is_empty(), "it may lead on from there");
}

#[test]
fn what_is_hashed_by_routing_key_may_be_remembered() {
    let host = Host::new();
    host.exchange("modulus", "x-modulus-hash").exchange("consistent", "x-consistent-hash");
    host.bind("a", "modulus", "").bind("b", "modulus", "").bind("a", "consistent", "1").bind("b", "consistent", "1");
    for exchange in ["modulus", "consistent"] {
        let route = host.route(exchange, "k");
        assert!(route.cacheable && route.queues.len() == 1);
    }
    host.exchange("history", "x-recent-history").bind("a", "history", "");
    assert!(!host.0.route(&host.0.find_exchange("history").unwrap(), &[b"k"], &mut || None).cacheable);
}

/// A message comes to a new binding either from the history or by itself.
#[test]
fn a_binding_made_while_others_publish_misses_nothing_and_has_nothing_twice() {
    use crate::broker::message::Whole;
    use crate::broker::outbox::Wakes;
    use crate::broker::queue::Got;
    use crate::storage::chunk::Chunk;
    use crate::storage::record;
    use crate::wire::properties::{NONE, PropertiesView};

    const MESSAGES: u32 = 2_000;
    for _ in 0..10 {
        let host = Host::new();
        let (name, kind) = ("history", "x-recent-history");
        let mut arguments = FieldTable::default();
        arguments.insert("x-recent-history-length".into(), AMQPValue::LongInt(MESSAGES as i32));
        let (passive, durable, auto_delete, internal) = (false, false, false, false);
        let declare = ExchangeDeclare { name, kind, passive, durable, auto_delete, internal, arguments };
        host.0.exchange_declare(declare).unwrap();
        let exchange = host.0.find_exchange(name).unwrap();
        let publish = |n: u32| {
            let mut prefix = Vec::new();
            record::append_prefix(&mut prefix, 0, name.as_bytes(), b"k", NONE, 4);
            let (properties, body) = (PropertiesView::parse(NONE, 1).unwrap(), n.to_be_bytes());
            let mut message = Whole { properties: &properties, table_depth: 1, prefix: &prefix, body: &body };
            for queue in host.0.route(&exchange, &[b"k"], &mut message).queues {
                queue.enqueue(&Chunk::of_one([&prefix[..], &body].concat()), false, &mut Wakes::default());
            }
        };
        std::thread::scope(|threads| {
            threads.spawn(|| (0..MESSAGES).for_each(publish));
            for n in 0..5 {
                host.bind(&format!("q{n}"), name, "");
            }
        });
        for n in 0..5 {
            let queue = host.queue(&format!("q{n}"));
            let mut got: Vec<u32> =
                std::iter::from_fn(|| match queue.get(true, &Arc::default(), &mut Wakes::default()) {
                    Got::Message(run, _) => Some(u32::from_be_bytes(run.record(0).body().try_into().unwrap())),
                    _ => None::<u32>,
                })
                .collect();
            got.sort_unstable();
            assert_eq!(got, (0..MESSAGES).collect::<Vec<_>>());
        }
    }
}
