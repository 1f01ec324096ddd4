//! Memory stays bounded, whatever clients do, and is given back when they have gone.

use std::time::{Duration, Instant};

use crate::leveret_only;
use crate::support::broker::{self, Broker, Launch};
use crate::support::bystander::Bystander;
use crate::support::peer::*;
use crate::support::props::{NONE, props};
use crate::support::unique;
use crate::support::wire::*;

// ---- clients that do not read ----

/// How much more memory the process may hold for one such client: the marks of its output, and what the
/// allocator keeps.
const BOUND: u64 = 48 << 20;

#[test]
fn a_client_that_asks_and_never_reads_the_answers() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new());
    let mut bystander = Bystander::of(broker.address);
    let mut peer = Login::new().connect(broker.address);
    let queue = "q".repeat(255); // for long answers
    peer.call(1, &queue_declare(&queue).on("exclusive"));
    peer.set_write_timeout(Duration::from_millis(500));
    let before = broker.resident_bytes();
    let questions = method_frame(1, &queue_declare(&queue).on("passive"));
    let batch = questions.repeat(1000);
    let mut sent = 0;
    while sent < 200_000 && peer.send_raw_if_open(&batch).is_ok() {
        sent += 1000;
    }
    assert!(sent < 200_000, "it is not read any more when too much of its answers waits");
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes of answers");
    bystander.and_newcomers_work();
    // It is not forgotten: when it reads, it gets its answers.
    for _ in 0..sent {
        peer.expect(1, "queue.declare-ok");
    }
    bystander.works();
}

#[test]
fn a_client_whose_messages_come_back_and_that_never_reads() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new());
    let mut bystander = Bystander::of(broker.address);
    let mut peer = Login::new().connect(broker.address);
    peer.set_write_timeout(Duration::from_millis(500));
    let before = broker.resident_bytes();
    let batch = publish_frames(1, &publish("", "nowhere").on("mandatory"), NONE, &[b'x'; 100_000]).repeat(10);
    let mut sent = 0;
    while sent < 2000 && peer.send_raw_if_open(&batch).is_ok() {
        sent += 10;
    }
    assert!(sent < 2000, "it is not read any more when too many of its messages wait to come back");
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes of returned messages");
    bystander.and_newcomers_work();
}

#[test]
fn a_requester_that_never_reads_its_replies() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new().limit("reply_queue_bytes", "4MiB"));
    let mut bystander = Bystander::of(broker.address);
    let mut requester = Login::new().connect(broker.address);
    let queue = requester.exclusive_queue(1);
    requester.call(1, &consume("amq.rabbitmq.reply-to", "replies").on("no-ack"));
    let properties = props().text("reply-to", "amq.rabbitmq.reply-to").bytes();
    requester.send_publish(1, &publish("", &queue), &properties, b"request");
    let request = requester.get_no_ack(1, &queue).expect("the request");
    let Field::Text(address) = crate::support::props::decode(&request.properties)["reply-to"].clone() else {
        panic!("no reply-to")
    };
    let before = broker.resident_bytes();
    let mut server = Login::new().connect(broker.address);
    server.set_write_timeout(Duration::from_millis(500));
    let batch = publish_frames(1, &publish("", &address), NONE, &[b'x'; 100_000]).repeat(10);
    let mut sent = 0;
    while sent < 2000 && server.send_raw_if_open(&batch).is_ok() {
        sent += 10;
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes of replies after {sent} of 100 kB");
    bystander.and_newcomers_work();
}

#[test]
fn a_consumer_that_never_reads_leaves_its_queue_to_others() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new());
    let mut bystander = Bystander::of(broker.address);
    let mut publisher = Login::new().connect(broker.address);
    publisher.call(1, &queue_declare("q"));
    let mut lazy = Login::new().connect(broker.address);
    lazy.call(1, &consume("q", "lazy").on("no-ack"));
    let mut reader = Login::new().connect(broker.address);
    reader.call(1, &consume("q", "reader").on("no-ack"));
    let before = broker.resident_bytes();
    let body = vec![b'x'; 10_000];
    let mut published = 0;
    let mut read = 0;
    for _ in 0..100 {
        for _ in 0..100 {
            publisher.send_publish(1, &publish("", "q"), NONE, &body);
        }
        published += 100;
        while let Ok(Some(frame)) = reader.next_frame_within(Duration::from_millis(20)) {
            read += usize::from(frame.kind == FRAME_METHOD);
        }
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes for one that does not read");
    assert!(read > published / 2, "{read} of {published} went to the one that reads");
    bystander.and_newcomers_work();
}

#[test]
fn a_queue_that_nobody_reads_holds_back_its_publisher_not_the_broker() {
    leveret_only!("the mark is set by configuration");
    let broker = Broker::start(Launch::new().limit("stalled_queue_bytes", 2 << 20));
    let mut bystander = Bystander::of(broker.address);
    let mut lazy = Login::new().connect(broker.address);
    lazy.call(1, &queue_declare("q"));
    lazy.call(1, &consume("q", "lazy").on("no-ack"));
    let mut publisher = Login::new().connect(broker.address);
    publisher.set_write_timeout(Duration::from_millis(500));
    let before = broker.resident_bytes();
    let bytes = publish_frames(1, &publish("", "q"), NONE, &[b'x'; 100_000]).repeat(1000);
    let sent = publisher.send_while_read(&bytes);
    assert!(sent < bytes.len(), "the publisher is held back");
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes");
    bystander.and_newcomers_work();
    // When the queue goes, the publisher goes on where it was.
    bystander.peer.call(1, &queue_delete("q"));
    publisher.set_write_timeout(Duration::from_secs(10));
    assert_eq!(publisher.send_while_read(&bytes[sent..]), bytes.len() - sent);
    publisher.expect_nothing_before_sync(1);
    drop(lazy);
}

/// Whoever publishes and consumes on one connection must not be held back from acknowledging.
#[test]
fn a_consumer_without_credit_does_not_hold_back_its_own_connection() {
    leveret_only!("the marks are set by configuration");
    let broker = Broker::start(Launch::new().limit("stalled_queue_bytes", 1 << 20).limit("queue_flow_bytes", 64 << 10));
    let mut peer = Login::new().connect(broker.address);
    let queue = peer.exclusive_queue(1);
    peer.call(1, &qos(1));
    peer.consume(1, &queue, "t");
    let body = vec![b'x'; 50_000];
    for _ in 0..400 {
        peer.send_publish(1, &publish("", &queue), NONE, &body);
    }
    for tag in 1..=400 {
        assert_eq!(peer.expect_delivery(1).tag(), tag);
        peer.send(1, &ack(tag));
    }
    peer.expect_counts(1, &queue, (0, 1));
}

#[test]
fn a_dead_consumer_is_noticed_by_its_heartbeat_though_output_waits_for_it() {
    let queue = unique("dead");
    let mut publisher = Peer::connect();
    publisher.call(1, &queue_declare(&queue));
    let mut dead = Login::new().heartbeat(1).connect(broker::shared());
    dead.consume(1, &queue, "t");
    for _ in 0..200 {
        publisher.send_publish(1, &publish("", &queue), NONE, &[b'x'; 100_000]);
    }
    publisher.wait_for_counts(1, &queue, (200, 0));
    publisher.call(1, &queue_delete(&queue));
    drop(dead);
}

#[test]
fn a_publisher_that_is_held_back_is_not_taken_for_dead() {
    leveret_only!("the mark is set by configuration");
    let broker = Broker::start(Launch::new().limit("stalled_queue_bytes", 1 << 20));
    let mut lazy = Login::new().connect(broker.address);
    lazy.call(1, &queue_declare("q"));
    lazy.call(1, &consume("q", "lazy").on("no-ack"));
    let mut publisher = Login::new().heartbeat(1).connect(broker.address);
    publisher.set_write_timeout(Duration::from_millis(300));
    let batch = publish_frames(1, &publish("", "q"), NONE, &[b'x'; 100_000]).repeat(10);
    let mut sent = 0;
    while sent < 1000 && publisher.send_raw_if_open(&batch).is_ok() {
        sent += 10;
    }
    assert!(sent < 1000, "the publisher is held back");
    let until = Instant::now() + Duration::from_millis(3500);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        match publisher.next_frame_within(left) {
            Ok(Some(frame)) => assert_eq!(frame.kind, FRAME_HEARTBEAT, "heartbeats still come"),
            Ok(None) => panic!("it was dropped, though its heartbeats could not be read"),
            Err(_) => break,
        }
    }
    for _ in 0..sent / 2 {
        assert_eq!(lazy.expect_delivery(1).body.len(), 100_000);
    }
}

#[test]
fn idle_connections_cost_little() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new());
    broker.assert_serves();
    let before = broker.resident_bytes();
    let count = 500;
    let mut idle: Vec<Peer> = (0..count).map(|_| Login::new().connect(broker.address)).collect();
    let each = broker.resident_bytes().saturating_sub(before) / count;
    assert!(each < 32 * 1024, "{each} bytes for an idle connection with a channel");
    for peer in &mut idle {
        peer.expect_nothing_before_sync(1);
    }
}

#[test]
fn a_large_message_that_never_ends_is_bounded_by_the_limit() {
    leveret_only!("the limit is made small by configuration");
    let broker = Broker::start(Launch::new().limit("max_message_bytes", 1 << 20));
    let mut bystander = Bystander::of(broker.address);
    let before = broker.resident_bytes();
    let mut peers = Vec::new();
    for _ in 0..20 {
        let mut peer = Login::new().connect(broker.address);
        let queue = peer.exclusive_queue(1);
        peer.send(1, &publish("", &queue));
        peer.send_raw(&header_frame(1, 100 << 20, NONE));
        let close = peer.expect(1, "channel.close");
        assert_eq!(close.number("reply-code"), 406);
        // The rest of the body is on its way and belongs to nobody.
        for _ in 0..20 {
            peer.send_raw(&body_frame(1, &[0; 100_000]));
        }
        peer.send(1, &method("channel.close-ok"));
        peer.open_channel(1);
        peer.expect_nothing_before_sync(1);
        peers.push(peer);
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes");
    bystander.and_newcomers_work();
}

/// Sizes that are announced are not memory that is set aside.
#[test]
fn announced_sizes_cost_nothing() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new());
    let mut bystander = Bystander::of(broker.address);
    let before = broker.resident_bytes();
    let peers: Vec<Peer> = (0..100)
        .map(|_| {
            let mut peer = Login::new().connect(broker.address);
            for channel in 2..20 {
                peer.open_channel(channel);
                peer.send(channel, &publish("", "q"));
                peer.send_raw(&header_frame(channel, 128 << 20, NONE));
                peer.send_raw(&body_frame(channel, b"x"));
            }
            peer.send_raw(&[FRAME_BODY, 0, 2, 0, 1, 255, 0]); // the head of a frame of 131 040 bytes
            peer
        })
        .collect();
    bystander.and_newcomers_work();
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes for announcements");
    drop(peers);
    bystander.and_newcomers_work();
}

// ---- what runs must not keep ----

#[test]
fn a_message_of_many_queues_is_in_memory_once() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &exchange_declare("x", "fanout"));
    let queues: Vec<String> = (0..50).map(|_| peer.exclusive_queue(1)).collect();
    for queue in &queues {
        peer.call(1, &queue_bind(queue, "x", ""));
    }
    let before = broker.resident_bytes();
    for _ in 0..100 {
        peer.send_publish(1, &publish("x", ""), NONE, &[b'x'; 100_000]);
    }
    for queue in &queues {
        peer.expect_counts(1, queue, (100, 0));
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes for 10 MB in 50 queues");
}

#[test]
fn an_unacknowledged_message_does_not_keep_its_neighbours_in_memory() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new());
    let mut publisher = Login::new().connect(broker.address);
    publisher.call(1, &queue_declare("q"));
    let mut consumer = Login::new().connect(broker.address);
    consumer.consume(1, "q", "t");
    let body = "x".repeat(1000);
    let bytes = burst((0..10_000).map(|_| ("", "q", body.clone())));
    let mut after_first = 0;
    for round in 0..12 {
        publisher.send_raw(&bytes);
        let mut settled = Vec::new();
        for _ in 0..10_000 {
            let tag = consumer.expect_delivery(1).tag();
            if !tag.is_multiple_of(500) {
                settled.extend(method_frame(1, &ack(tag)));
            }
        }
        consumer.send_raw(&settled);
        consumer.expect_nothing_before_sync(1);
        if round == 1 {
            after_first = broker.resident_bytes();
        }
    }
    let grown = broker.resident_bytes().saturating_sub(after_first);
    assert!(grown < 32 << 20, "{grown} bytes more for 200 messages of a kilobyte, of 100 MB that passed");
}

#[test]
fn what_comes_and_goes_leaves_nothing_behind() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new());
    let mut owner = Login::new().connect(broker.address);
    owner.call(1, &exchange_declare("x", "topic"));
    let mut churn = |rounds: usize| {
        for round in 0..rounds {
            let mut peer = Login::new().connect(broker.address);
            let name = format!("{round}-{}", "n".repeat(200));
            peer.call(1, &queue_declare(&name).on("exclusive"));
            peer.call(1, &queue_bind(&name, "x", &format!("{name}.#.{round}")));
            peer.call(1, &exchange_declare(&name, "fanout").on("auto-delete"));
            peer.call(1, &exchange_bind(&name, "x", &format!("*.{name}")));
            peer.consume(1, &name, "t");
            peer.publish(1, "x", &format!("{name}.{round}"), "hello");
            peer.expect_delivery(1);
            peer.call(1, &exchange_unbind(&name, "x", &format!("*.{name}")));
            peer.call(1, &exchange_delete(&name));
            if round % 2 == 0 {
                peer.close();
            }
            owner.publish(1, "x", &format!("{name}.nobody.any.more"), "x");
        }
        owner.expect_nothing_before_sync(1);
    };
    churn(300);
    let before = broker.resident_bytes();
    churn(1000);
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes after 1000 connections that have gone with all they had");
}

/// Messages that wait a long time among many that do not must not keep the memory of the others.
#[test]
fn a_waiting_message_does_not_keep_its_neighbours_in_memory() {
    leveret_only!("the memory of the process is looked at");
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    let (passing, waiting) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    let body = "x".repeat(1000);
    let mut reader = Login::new().connect(broker.address);
    let passing_shared = unique("passing");
    reader.call(1, &queue_declare(&passing_shared));
    reader.call(1, &consume(&passing_shared, "t").on("no-ack"));
    let mut after_first = 0;
    for round in 0..12 {
        let message = |n: usize| {
            let key = if n.is_multiple_of(500) { waiting.as_str() } else { passing_shared.as_str() };
            ("", key, body.clone())
        };
        let bytes = burst((0..10_000).map(message));
        peer.send_raw(&bytes);
        for _ in 0..9980 {
            reader.expect_delivery(1);
        }
        if round == 1 {
            after_first = broker.resident_bytes();
        }
    }
    peer.expect_counts(1, &waiting, (240, 0));
    let grown = broker.resident_bytes().saturating_sub(after_first);
    assert!(grown < 32 << 20, "{grown} bytes more for 200 messages of a kilobyte, of 100 MB that passed");
    peer.expect_counts(1, &passing, (0, 0));
}
