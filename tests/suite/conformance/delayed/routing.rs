//! Where messages go when their time has come.

use super::{Delayed, delayed};
use crate::support::peer::*;
use crate::support::props::{headers, headers_of, props};
use crate::support::unique;
use crate::support::wire::*;

#[test]
fn routing_is_that_of_the_delayed_type_at_the_end_of_the_delay() {
    let mut topic = Delayed::new("topic", "a.*");
    topic.publish("a.b", i(50), "matches");
    topic.publish("b.a", i(40), "does not");
    let message = topic.expect_at(50, "matches");
    assert_eq!((message.method.text("exchange"), message.method.text("routing-key")), (&*topic.exchange, "a.b"));
    // Bound after it was published, before it is due.
    topic.publish("b.a", i(300), "late");
    topic.peer.call(1, &queue_bind(&topic.queue, &topic.exchange, "b.#"));
    topic.expect_at(300, "late");
}

#[test]
fn headers_decide_as_ever() {
    let mut delayed = Delayed::new("headers", "");
    let (exchange, queue) = (delayed.exchange.clone(), delayed.queue.clone());
    delayed.peer.call(1, &queue_bind(&queue, &exchange, "h").args([("x-match", s("all")), ("colour", s("red"))]));
    delayed.peer.call(1, &queue_unbind(&queue, &exchange, ""));
    for colour in ["blue", "red"] {
        let properties = headers([("colour", s(colour)), ("x-delay", i(30))]);
        delayed.peer.send_publish(1, &publish(&exchange, ""), &properties, colour.as_bytes());
    }
    delayed.expect_at(30, "red");
}

#[test]
fn mandatory_is_not_honoured_while_delayed() {
    let mut delayed = Delayed::new("direct", "k");
    let exchange = delayed.exchange.clone();
    let nowhere = publish(&exchange, "nowhere").on("mandatory");
    delayed.peer.send_publish(1, &nowhere, &headers([("x-delay", i(20))]), b"dropped");
    delayed.publish("k", i(60), "k");
    delayed.expect_at(60, "k");
    delayed.peer.expect_nothing_before_sync(1);
    delayed.peer.send_publish(1, &nowhere, &headers([("x-delay", i(0))]), b"returned");
    assert_eq!(delayed.peer.expect_message(1, "basic.return").body, b"returned");
}

#[test]
fn what_it_does_not_match_goes_to_the_alternate() {
    let mut peer = Peer::connect();
    let (exchange, alternate) = (unique("delayed"), unique("alternate"));
    peer.call(1, &exchange_declare(&alternate, "fanout").on("auto-delete"));
    let arguments = [("x-delayed-type", s("direct")), ("alternate-exchange", s(&alternate))];
    peer.call(1, &exchange_declare(&exchange, "x-delayed-message").args(arguments));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &alternate, ""));
    peer.send_publish(1, &publish(&exchange, "k"), &headers([("x-delay", i(200))]), b"x");
    peer.expect_counts(1, &queue, (0, 0));
    peer.wait_for_counts(1, &queue, (1, 0));
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn copies_go_by_their_keys_and_nobody_sees_the_blind_ones() {
    let mut delayed = Delayed::new("direct", "k");
    let exchange = delayed.exchange.clone();
    let (copy, blind) = (delayed.peer.exclusive_queue(1), delayed.peer.exclusive_queue(1));
    delayed.peer.call(1, &queue_bind(&copy, &exchange, "copy"));
    delayed.peer.call(1, &queue_bind(&blind, &exchange, "blind"));
    let keys = |key| Value::Array(vec![s(key)]);
    let properties = headers([("CC", keys("copy")), ("BCC", keys("blind")), ("x-delay", i(50))]);
    delayed.peer.send_publish(1, &publish(&exchange, "k"), &properties, b"x");
    let shown = delayed.expect_at(50, "x").headers();
    assert!(shown.iter().all(|(name, _)| name != "BCC"), "{shown:?}");
    for queue in [copy, blind] {
        delayed.peer.wait_for_counts(1, &queue, (1, 0));
    }
}

#[test]
fn an_exchange_bound_to_another_delays_what_comes_from_it() {
    let mut delayed = Delayed::new("fanout", "");
    let first = unique("first");
    delayed.peer.call(1, &exchange_declare(&first, "fanout").on("auto-delete"));
    let exchange = delayed.exchange.clone();
    delayed.peer.call(1, &exchange_bind(&exchange, &first, ""));
    let at_once = delayed.peer.exclusive_queue(1);
    delayed.peer.call(1, &queue_bind(&at_once, &first, ""));
    delayed.started = std::time::Instant::now();
    delayed.peer.send_publish(1, &publish(&first, "k"), &headers([("x-delay", i(300))]), b"x");
    let message = delayed.peer.get_no_ack(1, &at_once).expect("the other binding does not delay");
    assert_eq!(lookup(&headers_of(&message.properties), "x-delay"), &i(300));
    let message = delayed.expect_at(300, "x");
    assert_eq!(lookup(&message.headers(), "x-delay"), &i(-300));
}

#[test]
fn a_chain_of_delayed_exchanges_delays_once() {
    let mut delayed = Delayed::new("fanout", "");
    let (first, second) = (unique("first"), delayed.exchange.clone());
    delayed.peer.call(1, &super::delayed(&first, "fanout").on("auto-delete"));
    delayed.peer.call(1, &exchange_bind(&second, &first, ""));
    delayed.started = std::time::Instant::now();
    delayed.peer.send_publish(1, &publish(&first, ""), &headers([("x-delay", i(400))]), b"x");
    delayed.expect_at(400, "x");
    assert!(delayed.started.elapsed().as_millis() < 800);
}

#[test]
fn an_exchange_with_the_argument_delays_too() {
    let mut peer = Peer::connect();
    let exchange = unique("delayed");
    let arguments = [("x-delayed-exchange", Value::Bool(true))];
    peer.call(1, &exchange_declare(&exchange, "direct").args(arguments).on("auto-delete"));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &exchange, "k"));
    for (delay_ms, body) in [(300, "late"), (0, "at once")] {
        peer.send_publish(1, &publish(&exchange, "k"), &headers([("x-delay", i(delay_ms))]), body.as_bytes());
    }
    assert_eq!(peer.drain(1, &queue), ["at once"]);
    peer.wait_for_counts(1, &queue, (1, 0));
    assert_eq!(peer.drain(1, &queue), ["late"]);
}

#[test]
fn the_end_of_the_exchange_is_the_end_of_what_it_holds_back() {
    let mut peer = Peer::connect();
    let exchange = unique("delayed");
    let queue = peer.exclusive_queue(1);
    for delay_ms in [300, 400] {
        peer.call(1, &delayed(&exchange, "fanout").on("durable"));
        peer.call(1, &queue_bind(&queue, &exchange, ""));
        let properties = props().octet("delivery-mode", 2).headers([("x-delay", i(delay_ms))]).bytes();
        peer.send_publish(1, &publish(&exchange, ""), &properties, delay_ms.to_string().as_bytes());
        if delay_ms == 300 {
            peer.call(1, &exchange_delete(&exchange));
        }
    }
    peer.wait_for_counts(1, &queue, (1, 0));
    assert_eq!(peer.drain(1, &queue), ["400"]);
    peer.call(1, &exchange_delete(&exchange));
}
