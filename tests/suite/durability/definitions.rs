//! Exchanges and queues.

use crate::durability::bindings::reaches;
use crate::durability::node::{Node, Way, in_every_way};
use crate::durability::publisher::*;
use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

const NOT_FOUND: u16 = 404;

#[track_caller]
fn expect_no_queue(peer: &mut Peer, queue: &str) {
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    peer.refused(1, &queue_declare(queue).on("passive"), NOT_FOUND, &text);
}

#[track_caller]
fn expect_no_exchange(peer: &mut Peer, exchange: &str) {
    let text = format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'");
    peer.refused(1, &exchange_declare(exchange, "direct").on("passive"), NOT_FOUND, &text);
}

// ---- alone ----

#[test]
fn durable_exchanges_of_every_type_come_back_as_they_were() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let other = unique("other");
        let args = || [("alternate-exchange", s("amq.fanout")), ("x-unknown", i(5))];
        let types = ["x-consistent-hash", "x-modulus-hash", "x-random", "x-recent-history"];
        let exchanges: Vec<Method> = ["direct", "fanout", "topic", "headers"]
            .iter()
            .chain(&types)
            .flat_map(|kind| {
                let named = |label: &str| durable_exchange(&unique(&format!("{kind}-{label}")), kind);
                [
                    named("plain"),
                    named("internal").on("internal"),
                    named("auto-delete").on("auto-delete"),
                    named("arguments").args(args()),
                    named("all").on("internal").on("auto-delete").args(args()),
                ]
            })
            .collect();
        for declare in &exchanges {
            peer.call(1, declare);
        }
        node.restart();
        let mut peer = node.peer();
        for declare in &exchanges {
            peer.call(1, &declare.clone().on("passive"));
            peer.call(1, declare); // anything inequivalent would be refused
        }
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{}' in vhost '/': received 'topic' but current is \
             'direct'",
            first_name(&exchanges)
        );
        peer.refused(1, &durable_exchange(&first_name(&exchanges), "topic"), 406, &text);
        expect_no_exchange(&mut peer, &other);
    });
}

/// The exchange that the first of these methods declares.
fn first_name(declares: &[Method]) -> String {
    let payload = declares[0].payload();
    Reply::decode(&payload).text("exchange").to_owned()
}

#[test]
fn transient_exchanges_are_gone() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (plain, internal) = (unique("plain"), unique("internal"));
        peer.call(1, &exchange_declare(&plain, "direct"));
        peer.call(1, &exchange_declare(&internal, "fanout").on("internal"));
        node.restart();
        let mut peer = node.peer();
        expect_no_exchange(&mut peer, &plain);
        expect_no_exchange(&mut peer, &internal);
    });
}

#[test]
fn predeclared_exchanges_are_there_with_what_was_bound_to_them() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (queue, key) = (unique("q"), unique("key"));
        peer.call(1, &durable_queue(&queue));
        for exchange in ["amq.direct", "amq.topic"] {
            peer.call(1, &queue_bind(&queue, exchange, &key));
        }
        node.restart();
        let mut peer = node.peer();
        for exchange in ["amq.direct", "amq.topic"] {
            assert!(reaches(&mut peer, exchange, &key, &persistent(), &queue), "from {exchange}");
        }
        assert!(reaches(&mut peer, "", &queue, &persistent(), &queue), "from the default exchange");
        for (exchange, kind) in [("amq.fanout", "fanout"), ("amq.headers", "headers"), ("amq.match", "headers")] {
            peer.call(1, &durable_exchange(exchange, kind));
        }
    });
}

#[test]
fn durable_queues_come_back_with_their_arguments() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let named = |label: &str| durable_queue(&unique(label));
        let queues = [
            named("plain"),
            named("auto-delete").on("auto-delete"),
            named("ttl").args([("x-message-ttl", i(3_600_000)), ("x-expires", i(3_600_000))]),
            named("length").args([("x-max-length", i(9)), ("x-overflow", s("reject-publish"))]),
            named("bytes").args([("x-max-length-bytes", Value::I64(1 << 40))]),
            named("dead").args([("x-dead-letter-exchange", s("dlx")), ("x-dead-letter-routing-key", s("k"))]),
            named("priority").args([("x-max-priority", Value::U8(5))]),
            named("single").args([("x-single-active-consumer", Value::Bool(true))]),
            named("lazy").args([("x-queue-mode", s("lazy")), ("x-queue-type", s("classic"))]),
            named("unknown").args([("x-anything", Value::Array(vec![i(1), s("two"), Value::Void]))]),
        ];
        for declare in &queues {
            peer.call(1, declare);
        }
        node.restart();
        let mut peer = node.peer();
        for declare in &queues {
            peer.call(1, &declare.clone().on("passive"));
            let reply = peer.call(1, declare);
            assert_eq!((reply.number("message-count"), reply.number("consumer-count")), (0, 0));
        }
    });
}

#[test]
fn an_inequivalent_declare_is_refused_as_before_the_restart() {
    in_every_way(|node| {
        let queue = unique("q");
        let declare = durable_queue(&queue).args([("x-max-length", i(7))]);
        node.peer().call(1, &declare);
        node.restart();
        let mut peer = node.peer();
        let text = |arg: &str, values: &str| {
            format!("PRECONDITION_FAILED - inequivalent arg '{arg}' for queue '{queue}' in vhost '/': {values}")
        };
        let durable = text("durable", "received 'false' but current is 'true'");
        peer.refused(1, &queue_declare(&queue).args([("x-max-length", i(7))]), 406, &durable);
        let length = text("x-max-length", "received '8' but current is '7'");
        peer.refused(1, &durable_queue(&queue).args([("x-max-length", i(8))]), 406, &length);
        let none = text("x-max-length", "received none but current is the value '7' of type 'signedint'");
        peer.refused(1, &durable_queue(&queue), 406, &none);
    });
}

#[test]
fn transient_and_exclusive_queues_are_gone() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (transient, exclusive, both) = (unique("transient"), unique("exclusive"), unique("durable-exclusive"));
        peer.call(1, &queue_declare(&transient));
        peer.call(1, &queue_declare(&exclusive).on("exclusive"));
        peer.call(1, &durable_queue(&both).on("exclusive"));
        node.restart();
        let mut peer = node.peer();
        for queue in [&transient, &exclusive, &both] {
            expect_no_queue(&mut peer, queue);
        }
    });
}

#[test]
fn names_that_the_server_gave_stay() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = publisher.call(2, &durable_queue("")).text("queue").to_owned();
        assert!(queue.starts_with("amq.gen-"), "{queue}");
        publisher.keep(&queue, &["one"]);
        node.restart();
        let mut peer = node.peer();
        let next = peer.call(1, &durable_queue("")).text("queue").to_owned();
        assert_ne!(next, queue, "no name is given twice");
        assert_eq!(peer.drain(1, &queue), ["one"]);
        peer.call(1, &queue_delete(&next));
    });
}

#[test]
fn names_of_any_length_and_script_come_back() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let names = [format!("../../{}", unique("/dev/null\u{0}")), unique("ウサギ"), unique("").repeat(9)];
        let names = names.map(|name| name.chars().take(60).collect::<String>());
        let longest = format!("{:x<255}", unique("long"));
        for name in names.iter().chain([&longest]) {
            publisher.call(2, &durable_queue(name));
            publisher.call(2, &durable_exchange(name, "fanout"));
            publisher.call(2, &queue_bind(name, name, name));
            publisher.publish_with(name, "", &persistent(), name.as_bytes());
        }
        publisher.wait();
        node.restart();
        let mut peer = node.peer();
        for name in names.iter().chain([&longest]) {
            assert_eq!(peer.drain(1, name), [name.as_str()]);
        }
    });
}

#[test]
fn many_definitions_come_back() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let exchange = unique("x");
        let queues: Vec<String> = (0..300).map(|number| unique(&format!("q{number}"))).collect();
        let mut bytes = method_frame(1, &durable_exchange(&exchange, "direct"));
        for queue in &queues {
            bytes.extend(method_frame(1, &durable_queue(queue)));
            bytes.extend(method_frame(1, &queue_bind(queue, &exchange, queue)));
        }
        peer.send_raw(&bytes);
        peer.expect(1, "exchange.declare-ok");
        for _ in &queues {
            peer.expect(1, "queue.declare-ok");
            peer.expect(1, "queue.bind-ok");
        }
        node.restart();
        let mut peer = node.peer();
        for queue in &queues {
            assert!(reaches(&mut peer, &exchange, queue, &persistent(), queue), "{queue}");
            peer.call(1, &queue_delete(queue));
        }
    });
}

// ---- auto-delete ----

#[test]
fn a_durable_auto_delete_queue_that_never_had_a_consumer_stays() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        let declare = durable_queue(&queue).on("auto-delete");
        publisher.call(2, &declare);
        publisher.keep(&queue, &["one"]);
        node.restart();
        let mut peer = node.peer();
        assert_eq!(peer.call(1, &declare).number("message-count"), 1);
        peer.consume(1, &queue, "t");
        peer.expect_bodies(1, &["one"]);
        peer.call(1, &cancel("t"));
        expect_no_queue(&mut peer, &queue);
    });
}

/// Its last consumer left, but the broker was not there to see it.
#[test]
fn a_durable_auto_delete_queue_whose_consumer_was_there_at_a_kill_stays() {
    let mut node = Node::start(Way::Killed);
    let mut publisher = node.publisher();
    let queue = unique("q");
    publisher.call(2, &durable_queue(&queue).on("auto-delete"));
    publisher.keep(&queue, &["one"]);
    publisher.consume(2, &queue, "t");
    publisher.expect_delivery(2);
    // That it was delivered is on disk, too, once something later is.
    let fence = unique("fence");
    publisher.call(2, &durable_queue(&fence));
    publisher.settle(&fence);
    node.restart();
    let mut peer = node.peer();
    peer.expect_counts(1, &queue, (1, 0));
    peer.consume(1, &queue, "t");
    assert!(peer.expect_delivery(1).redelivered());
    peer.call(1, &cancel("t"));
    expect_no_queue(&mut peer, &queue);
}

/// An orderly stop closes connections first, and with its last consumer the queue goes.
#[test]
fn a_durable_auto_delete_queue_whose_consumer_was_there_at_an_orderly_stop_is_gone() {
    let mut node = Node::start(Way::Orderly);
    let mut publisher = node.publisher();
    let queue = unique("q");
    publisher.call(2, &durable_queue(&queue).on("auto-delete"));
    publisher.keep(&queue, &["one"]);
    publisher.consume(2, &queue, "t");
    publisher.expect_delivery(2);
    node.restart();
    expect_no_queue(&mut node.peer(), &queue);
}

#[test]
fn a_durable_auto_delete_exchange_whose_only_binding_was_to_a_transient_queue() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (exchange, queue) = (unique("x"), unique("q"));
        peer.call(1, &durable_exchange(&exchange, "direct").on("auto-delete"));
        peer.call(1, &queue_declare(&queue));
        peer.call(1, &queue_bind(&queue, &exchange, "k"));
        node.restart();
        node.peer().call(1, &exchange_declare(&exchange, "direct").on("passive"));
    });
}

#[test]
fn a_durable_auto_delete_queue_whose_consumer_left_is_gone() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let queue = unique("q");
        peer.call(1, &durable_queue(&queue).on("auto-delete"));
        peer.consume(1, &queue, "t");
        peer.call(1, &cancel("t"));
        // An answer to a declare tells that the deletion is kept as well.
        peer.call(1, &durable_queue(&unique("other")));
        node.restart();
        expect_no_queue(&mut node.peer(), &queue);
    });
}

#[test]
fn a_durable_auto_delete_exchange_stays_with_a_durable_binding_and_goes_with_it() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (exchange, queue) = (unique("x"), unique("q"));
        peer.call(1, &durable_exchange(&exchange, "direct").on("auto-delete"));
        peer.call(1, &durable_queue(&queue));
        peer.call(1, &queue_bind(&queue, &exchange, "k"));
        node.restart();
        let mut peer = node.peer();
        assert!(reaches(&mut peer, &exchange, "k", &persistent(), &queue));
        peer.call(1, &queue_unbind(&queue, &exchange, "k"));
        expect_no_exchange(&mut peer, &exchange);
        node.restart();
        expect_no_exchange(&mut node.peer(), &exchange);
    });
}
