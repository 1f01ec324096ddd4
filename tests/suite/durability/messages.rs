//! Messages that wait.

use crate::durability::node::{Node, Way, in_every_way};
use crate::durability::publisher::*;
use crate::support::peer::*;
use crate::support::props::{NONE, Props, headers, props};
use crate::support::unique;
use crate::support::wire::*;

#[test]
fn persistent_messages_in_a_durable_queue_stay_and_transient_ones_go() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        for number in 0..20 {
            publisher.persistent(&queue, &format!("persistent {number}"));
            publisher.transient(&queue, &format!("transient {number}"));
            publisher.publish_with("", &queue, NONE, b"without a mode");
        }
        publisher.wait();
        publisher.expect_counts(2, &queue, (60, 0));
        node.restart();
        let mut peer = node.peer();
        peer.expect_counts(1, &queue, (20, 0));
        let expected: Vec<_> = (0..20).map(|number| format!("persistent {number}")).collect();
        assert_eq!(peer.drain(1, &queue), expected);
    });
}

#[test]
fn messages_in_a_transient_queue_go_whatever_they_are() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &queue_declare(&queue));
        publisher.keep(&queue, &["persistent"]);
        publisher.transient(&queue, "transient");
        publisher.wait();
        node.restart();
        let mut peer = node.peer();
        assert_eq!(peer.call(1, &durable_queue(&queue)).number("message-count"), 0);
    });
}

#[test]
fn a_message_for_a_durable_and_a_transient_queue_stays_in_one() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let (exchange, durable, transient) = (unique("x"), unique("durable"), unique("transient"));
        publisher.call(2, &durable_exchange(&exchange, "fanout"));
        publisher.call(2, &durable_queue(&durable));
        publisher.call(2, &queue_declare(&transient));
        for queue in [&durable, &transient] {
            publisher.call(2, &queue_bind(queue, &exchange, ""));
        }
        for number in 0..10 {
            publisher.publish_with(&exchange, "", &persistent(), format!("{number}").as_bytes());
        }
        publisher.wait();
        node.restart();
        let mut peer = node.peer();
        let expected: Vec<_> = (0..10).map(|number| format!("{number}")).collect();
        assert_eq!(peer.drain(1, &durable), expected);
        assert_eq!(peer.call(1, &queue_declare(&transient)).number("message-count"), 0);
    });
}

#[test]
fn a_fanout_to_many_queues_is_in_all_of_them() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let exchange = unique("x");
        let queues: Vec<_> = (0..12).map(|_| unique("q")).collect();
        publisher.call(2, &durable_exchange(&exchange, "fanout"));
        for queue in &queues {
            publisher.call(2, &durable_queue(queue));
            publisher.call(2, &queue_bind(queue, &exchange, ""));
        }
        let bodies: Vec<_> = (0..50).map(|number| format!("{number}")).collect();
        for body in &bodies {
            publisher.publish_with(&exchange, "k", &persistent(), body.as_bytes());
        }
        publisher.wait();
        // One of the queues loses its first half, which is nobody else's business.
        for _ in 0..25 {
            publisher.get_no_ack(2, &queues[0]).expect("a message");
        }
        publisher.settle(&queues[0]);
        node.restart();
        let mut peer = node.peer();
        assert_eq!(peer.drain(1, &queues[0])[..25], bodies[25..]);
        for queue in &queues[1..] {
            assert_eq!(peer.drain(1, queue), bodies);
        }
    });
}

// ---- unchanged ----

/// Every combination is persistent.
fn all_properties() -> Vec<Props> {
    let mode = || props().octet("delivery-mode", 2);
    let every = mode()
        .text("content-type", "text/plain")
        .text("content-encoding", "utf-8")
        .headers([("h", i(1))])
        .octet("priority", 255)
        .text("correlation-id", "c")
        .text("reply-to", "r")
        .text("expiration", "100000000")
        .text("message-id", "m")
        .timestamp(u64::MAX)
        .text("type", "t")
        .text("user-id", "guest")
        .text("app-id", "ウサギ")
        .text("cluster-id", "k");
    vec![
        mode(),
        mode().text("content-type", ""),
        mode().text("content-encoding", "gzip"),
        mode().headers([]),
        mode().octet("priority", 0),
        mode().octet("priority", 9),
        mode().text("correlation-id", &"c".repeat(255)),
        mode().text("reply-to", "somewhere"),
        mode().text("expiration", "00060000"),
        mode().text("message-id", &"x".repeat(255)),
        mode().timestamp(0),
        mode().text("type", "t"),
        mode().text("user-id", "guest"),
        mode().text("app-id", "a"),
        mode().text("cluster-id", "reserved"),
        every,
    ]
}

fn headers_of_every_type() -> Props {
    let inner = table([("deep", Value::Table(table([("deeper", i(1))]))), ("empty", Value::Table(Table::new()))]);
    props().octet("delivery-mode", 2).headers([
        ("longstr", s("text")),
        ("not utf-8", Value::Str(vec![0xff, 0xfe, 0])),
        ("bool", Value::Bool(true)),
        ("i8", Value::I8(-128)),
        ("u8", Value::U8(255)),
        ("i16", Value::I16(-32768)),
        ("u16", Value::U16(65535)),
        ("i32", Value::I32(i32::MIN)),
        ("u32", Value::U32(u32::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(1.5)),
        ("f64", Value::F64(-0.25)),
        ("decimal", Value::Decimal(2, 314)),
        ("time", Value::Time(1_700_000_000)),
        ("table", Value::Table(inner)),
        ("array", Value::Array(vec![i(1), s("two"), Value::Array(vec![]), Value::Void])),
        ("bytes", Value::Bytes(vec![0, 1, 255])),
        ("void", Value::Void),
        ("void", s("a name twice")),
        ("long", s(&"l".repeat(20_000))),
    ])
}

#[test]
fn properties_come_back_byte_for_byte() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        let mut all: Vec<Vec<u8>> = all_properties().iter().map(Props::bytes).collect();
        all.push(headers_of_every_type().bytes());
        for properties in &all {
            publisher.publish_with("", &queue, properties, b"body");
        }
        publisher.wait();
        node.restart();
        let mut peer = node.peer();
        for properties in &all {
            let message = peer.get(1, &queue).expect("one for each");
            assert_eq!(&message.properties, properties);
            assert_eq!(message.body_text(), "body");
        }
        assert_eq!(peer.get(1, &queue), None);
    });
}

#[test]
fn exchange_and_routing_key_come_back() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let (exchange, queue) = (format!("{:x<255}", unique("x")), unique("q"));
        publisher.call(2, &durable_exchange(&exchange, "fanout"));
        publisher.call(2, &durable_queue(&queue));
        publisher.call(2, &queue_bind(&queue, &exchange, ""));
        let routes = [(exchange.as_str(), "k".repeat(255)), (&exchange, String::new()), ("", queue.clone())];
        for (exchange, key) in &routes {
            publisher.publish_with(exchange, key, &persistent(), b"");
        }
        publisher.wait();
        node.restart();
        let mut peer = node.peer();
        peer.call(1, &consume(&queue, "t").on("no-ack"));
        for (exchange, key) in &routes {
            let message = peer.expect_delivery(1);
            assert_eq!((message.method.text("exchange"), message.method.text("routing-key")), (*exchange, &**key));
        }
    });
}

/// The copies keys of a message name more queues; `BCC` is taken out before the message is kept.
#[test]
fn a_message_with_copies_comes_back_in_each_queue_as_it_would_have_been_delivered() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queues = [unique("to"), unique("cc"), unique("bcc")];
        for queue in &queues {
            publisher.call(2, &durable_queue(queue));
        }
        let copies = |queue: &str| Value::Array(vec![s(queue)]);
        let with = |entries| props().octet("delivery-mode", 2).raw_headers(&table_entries(&entries)).bytes();
        let sent = with(table([("CC", copies(&queues[1])), ("BCC", copies(&queues[2])), ("a", i(1))]));
        let kept = with(table([("CC", copies(&queues[1])), ("a", i(1))]));
        publisher.publish_with("", &queues[0], &sent, b"x");
        publisher.wait();
        node.restart();
        let mut peer = node.peer();
        for queue in &queues {
            assert_eq!(peer.get(1, queue).expect("a copy").properties, kept);
            assert_eq!(peer.get(1, queue), None);
        }
    });
}

#[test]
fn bodies_of_every_size_come_back() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        let sizes = [0, 1, 131_063, 131_064, 131_065, 262_128, 1_000_003, 0, 7_000_000, 3];
        for size in sizes {
            publisher.publish_with("", &queue, &persistent(), &body(size));
        }
        publisher.wait();
        node.restart();
        let mut peer = node.peer();
        peer.expect_counts(1, &queue, (sizes.len() as u64, 0));
        for size in sizes {
            let message = peer.get_no_ack(1, &queue).expect("a message");
            assert!(message.body == body(size), "{size} bytes have changed to {}", message.body.len());
        }
    });
}

/// Bytes that differ from place to place.
fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 31 + at / 251) as u8).collect()
}

// ---- many ----

#[test]
fn queues_filled_in_turn_keep_their_order() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queues: Vec<_> = (0..5).map(|_| unique("q")).collect();
        queues.iter().for_each(|queue| drop(publisher.call(2, &durable_queue(queue))));
        for number in 0..10_000 {
            publisher.persistent(&queues[number % 7 % 5], &format!("{number}"));
        }
        publisher.wait();
        node.restart();
        let mut peer = node.peer();
        for (at, queue) in queues.iter().enumerate() {
            let expected: Vec<_> =
                (0..10_000).filter(|number| number % 7 % 5 == at).map(|number| format!("{number}")).collect();
            peer.expect_counts(1, queue, (expected.len() as u64, 0));
            peer.call(1, &consume(queue, &format!("tag {at}")).on("no-ack"));
            for body in &expected {
                assert_eq!(peer.expect_delivery(1).body_text(), body);
            }
            peer.expect_counts(1, queue, (0, 1));
        }
    });
}

#[test]
fn what_comes_after_a_restart_is_behind_what_was_there() {
    in_every_way(|node| {
        let queue = unique("q");
        node.peer().call(1, &durable_queue(&queue));
        let mut expected: Vec<String> = Vec::new();
        for round in 0..3 {
            let mut publisher = node.publisher();
            let bodies: Vec<_> = (0..5).map(|number| format!("{round}.{number}")).collect();
            publisher.keep(&queue, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
            expected.extend(bodies);
            // The first is taken away in each round.
            let first = publisher.get(2, &queue).expect("a message");
            assert_eq!(first.body_text(), expected.remove(0));
            publisher.send(2, &ack(first.tag()));
            publisher.settle(&queue);
            expected.push("fence".to_owned());
            node.restart();
        }
        let mut peer = node.peer();
        peer.expect_counts(1, &queue, (expected.len() as u64, 0));
        assert_eq!(peer.drain(1, &queue), expected);
    });
}

#[test]
fn counts_are_right_after_a_restart() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        publisher.keep(&queue, &["one", "two", "three", "four"]);
        publisher.consume(2, &queue, "t");
        publisher.expect_delivery(2);
        node.restart();
        let mut peer = node.peer();
        let reply = peer.call(1, &durable_queue(&queue));
        assert_eq!((reply.number("message-count"), reply.number("consumer-count")), (4, 0));
        let got = peer.get(1, &queue).expect("a message");
        assert_eq!(got.method.number("message-count"), 3);
        assert_eq!(peer.call(1, &queue_purge(&queue)).number("message-count"), 3);
        peer.send(1, &ack(got.tag()));
        assert_eq!(peer.call(1, &queue_delete(&queue)).number("message-count"), 0);
    });
}

#[test]
fn a_queue_that_is_not_empty_after_a_restart_cannot_be_deleted_if_empty() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        publisher.keep(&queue, &["one"]);
        node.restart();
        let mut peer = node.peer();
        let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty");
        peer.refused(1, &queue_delete(&queue).on("if-empty"), 406, &text);
        assert_eq!(peer.call(1, &queue_delete(&queue)).number("message-count"), 1);
    });
}

/// Nothing was confirmed, but the broker had all the time it wanted.
#[test]
fn an_orderly_stop_keeps_what_was_published_and_acknowledged_before_it() {
    let mut node = Node::start(Way::Orderly);
    let mut peer = node.peer();
    let queue = unique("q");
    peer.call(1, &durable_queue(&queue));
    let bodies: Vec<_> = (0..1000).map(|number| format!("{number}")).collect();
    for body in &bodies {
        peer.send_publish(1, &publish("", &queue), &persistent(), body.as_bytes());
    }
    peer.wait_for_counts(1, &queue, (1000, 0));
    for _ in 0..10 {
        peer.get(1, &queue).expect("a message");
    }
    peer.send(1, &ack(10).on("multiple"));
    peer.expect_nothing_from(1, &queue);
    node.restart();
    assert_eq!(node.peer().drain(1, &queue), bodies[10..]);
}

#[test]
fn the_priority_and_expiration_of_a_message_do_not_change_its_place() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        let mode = || props().octet("delivery-mode", 2);
        publisher.publish_with("", &queue, &mode().octet("priority", 0).bytes(), b"low");
        publisher.publish_with("", &queue, &mode().text("expiration", "100000000").bytes(), b"expiring");
        publisher.publish_with("", &queue, &mode().octet("priority", 9).bytes(), b"high");
        publisher.publish_with("", &queue, &headers([]), b"transient");
        publisher.wait();
        node.restart();
        assert_eq!(node.peer().drain(1, &queue), ["low", "expiring", "high"]);
    });
}
