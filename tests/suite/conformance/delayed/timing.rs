//! When messages come.

use super::Delayed;
use crate::support::peer::*;
use crate::support::props::{NONE, headers, props};
use crate::support::unique;
use crate::support::wire::*;

#[test]
fn messages_come_by_when_they_are_due_and_not_before() {
    let mut delayed = Delayed::new("direct", "k");
    let delays = [400, 50, 900, 5, 401, 120, 50];
    for (n, delay_ms) in delays.into_iter().enumerate() {
        delayed.publish("k", i(delay_ms), &format!("{n}"));
    }
    for (n, after_ms) in [(3, 5), (1, 50), (6, 50), (5, 120), (0, 400), (4, 401), (2, 900)] {
        let message = delayed.expect_at(after_ms, &format!("{n}"));
        assert_eq!(lookup(&message.headers(), "x-delay"), &i(-(after_ms as i32)));
    }
}

#[test]
fn every_number_is_a_delay() {
    let mut delayed = Delayed::new("fanout", "");
    let values = [
        ("i8", Value::I8(100)),
        ("u8", Value::U8(101)),
        ("i16", Value::I16(102)),
        ("u16", Value::U16(103)),
        ("u32", Value::U32(104)),
        ("i64", Value::I64(105)),
        ("f32", Value::F32(106.9)),
        ("f64", Value::F64(107.9)),
        ("text", s("108")),
    ];
    for (name, value) in &values {
        delayed.publish("", value.clone(), name);
    }
    for (n, after_ms) in (100..109).enumerate() {
        // What is due within five milliseconds may come in any order.
        let message = delayed.peer.expect_delivery(1);
        assert!(delayed.started.elapsed().as_millis() >= after_ms / 5 * 5, "{n}");
        let at = values.iter().position(|(name, _)| *name == message.body_text()).expect("one of them");
        assert_eq!(lookup(&message.headers(), "x-delay"), &i(-(100 + at as i32)));
    }
}

#[test]
fn what_is_no_delay_is_delivered_at_once() {
    let mut delayed = Delayed::new("direct", "k");
    delayed.publish("k", i(300), "late");
    for (n, value) in [i(0), i(-5), s("soon"), s(""), Value::F64(0.9), Value::Bool(true), Value::Void, Value::Time(5)]
        .into_iter()
        .enumerate()
    {
        delayed.publish("k", value.clone(), &n.to_string());
        let message = delayed.expect_at(0, &n.to_string());
        assert_eq!(lookup(&message.headers(), "x-delay"), &value, "it is as it was");
    }
    delayed.peer.send_publish(1, &publish(&delayed.exchange, "k"), NONE, b"none");
    delayed.expect_at(0, "none");
    delayed.expect_at(300, "late");
}

#[test]
fn a_delay_of_64_bits_waits() {
    let mut delayed = Delayed::new("direct", "k");
    delayed.publish("k", Value::I64(1 << 40), "in decades");
    delayed.publish("k", Value::I64(i64::MAX), "never");
    delayed.publish("k", i(100), "soon");
    delayed.expect_at(100, "soon");
    delayed.peer.expect_nothing_before_sync(1);
}

#[test]
fn a_time_to_live_begins_when_the_delay_is_over() {
    let mut peer = Peer::connect();
    let exchange = unique("delayed");
    peer.call(1, &super::delayed(&exchange, "fanout").on("auto-delete"));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &exchange, ""));
    let properties = props().text("expiration", "2000").headers([("x-delay", i(2500))]).bytes();
    peer.send_publish(1, &publish(&exchange, ""), &properties, b"x");
    std::thread::sleep(std::time::Duration::from_millis(2800)); // a time passes in which it would have expired
    peer.wait_for_counts(1, &queue, (1, 0));
    peer.wait_for_counts(1, &queue, (0, 0));
}

#[test]
fn in_a_transaction_the_delay_begins_at_the_commit() {
    let mut delayed = Delayed::new("direct", "k");
    let exchange = delayed.exchange.clone();
    delayed.peer.open_channel(2);
    delayed.peer.call(2, &method("tx.select"));
    delayed.peer.send_publish(2, &publish(&exchange, "k"), &headers([("x-delay", i(200))]), b"x");
    std::thread::sleep(std::time::Duration::from_millis(250)); // longer than the delay
    delayed.started = std::time::Instant::now();
    delayed.peer.call(2, &method("tx.commit"));
    delayed.expect_at(200, "x");
}

#[test]
fn it_is_confirmed_at_once_and_not_when_it_comes() {
    let mut delayed = Delayed::new("direct", "k");
    let exchange = delayed.exchange.clone();
    delayed.peer.open_channel(2);
    delayed.peer.call(2, &method("confirm.select"));
    for delivery_mode in [1, 2] {
        let properties = props().octet("delivery-mode", delivery_mode).headers([("x-delay", i(60_000))]).bytes();
        delayed.peer.send_publish(2, &publish(&exchange, "k"), &properties, b"x");
        delayed.peer.expect(2, "basic.ack");
    }
    assert!(delayed.started.elapsed().as_secs() < 30);
}
