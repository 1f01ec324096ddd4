//! The limits that configuration sets, each on a broker of its own.

use std::time::{Duration, Instant};

use crate::leveret_only;
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::props::{NONE, headers};
use crate::support::wire::*;

macro_rules! own_broker {
    ($launch:expr) => {{
        leveret_only!("the limit comes from configuration");
        Broker::start($launch)
    }};
}

#[test]
fn the_limits_that_are_offered_are_configured() {
    let broker =
        own_broker!(Launch::new().limit("frame_max_bytes", 1 << 20).limit("channel_max", 0).limit("heartbeat_s", 0));
    let mut peer = Login::new().started(broker.address);
    peer.send(0, &Login::new().start_ok());
    let tune = peer.expect(0, "connection.tune");
    assert_eq!(["channel-max", "frame-max", "heartbeat"].map(|name| tune.number(name)), [0, 1 << 20, 0]);
    // Where there is no limit, the client may ask for none, or for any.
    for channel_max in [0, u16::MAX] {
        let mut peer = Login::new().channel_max(channel_max).frame_max(1 << 20).connection(broker.address);
        peer.open_channel(u16::MAX);
        let queue = peer.exclusive_queue(u16::MAX);
        let body = vec![b'x'; 1_000_000];
        peer.send_publish(u16::MAX, &publish("", &queue), NONE, &body);
        assert!(peer.get(u16::MAX, &queue).expect("the message").body == body);
    }
}

#[test]
fn more_connections_than_configured() {
    let broker = own_broker!(Launch::new().limit("connections", 2));
    let one = Login::new().connect(broker.address);
    let _two = Login::new().connect(broker.address);
    let refused = || {
        Login::new().opening(broker.address).fatal(
            0,
            &Login::new().open(),
            530,
            "NOT_ALLOWED - connection refused: node connection limit (2) is reached",
        );
    };
    refused();
    // The limit is looked at before the virtual host.
    Login::new().opening(broker.address).fatal(
        0,
        &Login::new().vhost("nowhere").open(),
        530,
        "NOT_ALLOWED - connection refused: node connection limit (2) is reached",
    );
    one.close();
    broker.wait_for_log(&["closing AMQP connection"]);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut peer = Login::new().opening(broker.address);
        peer.send(0, &Login::new().open());
        if peer.next_method(0).name == "connection.open-ok" {
            break;
        }
        assert!(Instant::now() < deadline, "a place that became free is taken");
    }
}

#[test]
fn more_consumers_than_configured() {
    let broker = own_broker!(Launch::new().limit("consumers_per_channel", 2));
    let mut peer = Login::new().connect(broker.address);
    let queue = peer.exclusive_queue(1);
    peer.consume(1, &queue, "one");
    peer.consume(1, &queue, "two");
    peer.call(1, &cancel("two"));
    peer.consume(1, &queue, "two");
    peer.open_channel(2);
    peer.consume(2, &queue, "three");
    peer.fatal(1, &consume(&queue, "three"), 530, "NOT_ALLOWED - reached maximum (2) of consumers per channel");
}

#[test]
fn a_channel_at_its_limit_of_unacknowledged_messages_is_assigned_nothing_more() {
    let broker = own_broker!(Launch::new().limit("unacked_per_channel", 10));
    let mut peer = Login::new().connect(broker.address);
    let queue = peer.exclusive_queue(1);
    for n in 0..30 {
        peer.publish(1, "", &queue, &n.to_string());
    }
    peer.consume(1, &queue, "t");
    for n in 0..10 {
        assert_eq!(peer.expect_delivery(1).body_text(), n.to_string());
    }
    peer.expect_nothing_from(1, &queue);
    peer.expect_counts(1, &queue, (20, 1));
    peer.send(1, &ack(5).on("multiple"));
    for n in 10..15 {
        assert_eq!(peer.expect_delivery(1).body_text(), n.to_string());
    }
    peer.expect_nothing_from(1, &queue);
    // Another channel has its own.
    peer.open_channel(2);
    peer.call(2, &consume(&queue, "other").on("no-ack"));
    for n in 15..30 {
        assert_eq!(peer.expect_delivery(2).body_text(), n.to_string());
    }
}

#[test]
fn a_header_larger_than_configured() {
    let broker = own_broker!(Launch::new().limit("max_header_bytes", 2000));
    let mut peer = Login::new().connect(broker.address);
    let queue = peer.exclusive_queue(1);
    peer.send_publish(1, &publish("", &queue), &headers([("a", s(&"x".repeat(1500)))]), b"fits");
    peer.expect_counts(1, &queue, (1, 0));
    peer.send_publish(1, &publish("", &queue), &headers([("a", s(&"x".repeat(2500)))]), b"does not");
    let refusal = peer.next_frame().expect("a refusal");
    let close = Reply::decode(&refusal.payload);
    assert!(close.name.ends_with(".close"), "{close:?}");
    assert_eq!((close.number("class-id"), close.number("method-id")), (60, 40));
}

#[test]
fn tables_deeper_than_configured() {
    let broker = own_broker!(Launch::new().limit("table_depth", 4));
    let nested = |levels: usize| (1..levels).fold(i(1), |inner, _| Value::Table(table([("t", inner)])));
    let mut peer = Login::new().connect(broker.address);
    let queue = peer.exclusive_queue(1);
    peer.send_publish(1, &publish("", &queue), &headers([("a", nested(4))]), b"fits");
    peer.call(1, &queue_bind(&queue, "amq.headers", "").args([("a", nested(4))]));
    peer.expect_counts(1, &queue, (1, 0));
    for bytes in [
        publish_frames(1, &publish("", &queue), &headers([("a", nested(6))]), b"does not"),
        method_frame(1, &queue_bind(&queue, "amq.headers", "").args([("a", nested(6))])),
    ] {
        let mut peer = Login::new().connect(broker.address);
        peer.send_raw(&bytes);
        assert_eq!(peer.expect(0, "connection.close").number("reply-code"), 502);
    }
    peer.expect_nothing_before_sync(1);
}

#[test]
fn a_large_token_as_a_password() {
    let broker = own_broker!(Launch::new());
    let login = Login::new().user("guest", &"x".repeat(60_000));
    let mut peer = login.started(broker.address);
    peer.send(0, &login.start_ok());
    assert_eq!(peer.expect(0, "connection.close").number("reply-code"), 403, "it is read, and wrong");
}

#[test]
fn a_frame_too_large_before_tune_is_dropped_silently() {
    let broker = own_broker!(Launch::new().limit("initial_frame_max_bytes", 4096).limit("silent_close_delay_ms", 300));
    let login = Login::new().user("guest", &"x".repeat(5000));
    let mut peer = login.started(broker.address);
    let before = Instant::now();
    let _ = peer.send_raw_if_open(&method_frame(0, &login.start_ok()));
    peer.expect_eof();
    assert!(before.elapsed() >= Duration::from_millis(250), "held for a moment");
    Login::new().connect(broker.address).close();
}

#[test]
fn a_close_that_is_not_answered_is_not_waited_for_for_ever() {
    let broker = own_broker!(Launch::new().limit("close_timeout_ms", 300));
    let mut peer = Login::new().connect(broker.address);
    peer.send(1, &method("channel.flow"));
    assert_eq!(peer.expect(0, "connection.close").number("reply-code"), 540);
    let before = Instant::now();
    peer.expect_eof();
    assert!(before.elapsed() >= Duration::from_millis(200) && before.elapsed() < Duration::from_secs(5));
}

// ---- blocked ----

#[test]
fn a_publisher_is_blocked_while_memory_is_low_and_told_so() {
    let broker = own_broker!(Launch::new().limit("memory_high_watermark", "2MiB"));
    let mut publisher = Login::new().connect(broker.address);
    let mut consumer = Login::new().connect(broker.address);
    let mut untold = Login::new().capabilities(&[]).connect(broker.address);
    let queue = "q";
    consumer.call(1, &queue_declare(queue));
    for _ in 0..40 {
        publisher.send_publish(1, &publish("", queue), NONE, &[b'x'; 100_000]);
    }
    broker.wait_for_log(&["memory", "alarm set"]);
    // What was published before the alarm does not block; the next one does.
    publisher.publish(1, "", queue, "blocks");
    untold.publish(1, "", queue, "blocks, too");
    assert_eq!(publisher.expect(0, "connection.blocked").text("reason"), "low on memory");
    publisher.publish(1, "", queue, "waits");
    consumer.expect_nothing_before_sync(1); // who does not publish is not blocked
    consumer.call(1, &consume(queue, "t").on("no-ack"));
    for _ in 0..40 {
        assert_eq!(consumer.expect_delivery(1).body.len(), 100_000);
    }
    publisher.expect(0, "connection.unblocked");
    let mut rest: Vec<String> = (0..3).map(|_| consumer.expect_delivery(1).body_text().to_owned()).collect();
    rest.sort();
    assert_eq!(rest, ["blocks", "blocks, too", "waits"]);
    broker.wait_for_log(&["memory", "alarm cleared"]);
    publisher.expect_nothing_before_sync(1);
    untold.expect_nothing_before_sync(1);
}

#[test]
fn a_publisher_is_blocked_while_less_of_the_disk_is_free_than_is_asked_for() {
    let broker = own_broker!(Launch::new().limit("disk_free_limit", "10000TB"));
    broker.wait_for_log(&["Free disk space is insufficient. Free bytes: "]);
    broker.wait_for_log(&["disk resource limit alarm set"]);
    let mut publisher = Login::new().connect(broker.address);
    let mut consumer = Login::new().connect(broker.address);
    consumer.call(1, &queue_declare("q"));
    publisher.publish(1, "", "q", "blocks");
    assert_eq!(publisher.expect(0, "connection.blocked").text("reason"), "low on disk");
    consumer.expect_nothing_before_sync(1);
}

#[test]
fn the_publish_for_which_a_client_is_blocked_waits_like_those_after_it() {
    let broker = own_broker!(Launch::new().limit("memory_high_watermark", 0));
    broker.wait_for_log(&["memory", "alarm set"]);
    let mut publisher = Login::new().connect(broker.address);
    let mut observer = Login::new().connect(broker.address);
    observer.call(1, &queue_declare("q"));
    publisher.publish(1, "", "q", "waits");
    assert_eq!(publisher.expect(0, "connection.blocked").text("reason"), "low on memory");
    for _ in 0..3 {
        observer.expect_counts(1, "q", (0, 0));
    }
}

#[test]
fn a_blocked_publisher_may_close_and_is_not_taken_for_dead() {
    let broker = own_broker!(Launch::new().limit("memory_high_watermark", 0));
    broker.wait_for_log(&["memory", "alarm set"]);
    let mut peer = Login::new().heartbeat(1).connect(broker.address);
    peer.publish(1, "", "q", "x");
    assert_eq!(peer.expect(0, "connection.blocked").text("reason"), "low on memory");
    let until = Instant::now() + Duration::from_millis(3500);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        match peer.next_frame_within(left) {
            Ok(Some(frame)) => assert_eq!(frame.kind, FRAME_HEARTBEAT, "heartbeats still come"),
            Ok(None) => panic!("a blocked connection was dropped, though its heartbeats could not be read"),
            Err(_) => break,
        }
    }
}
