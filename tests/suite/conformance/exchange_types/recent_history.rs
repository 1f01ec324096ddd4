//! `x-recent-history`: a fanout that gives the last messages to each new binding.

use crate::leveret_only;
use crate::support::peer::*;
use crate::support::props::{NONE, headers, props};
use crate::support::unique;
use crate::support::wire::*;

const KIND: &str = "x-recent-history";

/// An exchange that goes with its last binding, or else is to be deleted.
#[track_caller]
fn declare(peer: &mut Peer, length: i32) -> String {
    let exchange = unique("history");
    peer.call(1, &exchange_declare(&exchange, KIND).args([("x-recent-history-length", i(length))]));
    exchange
}

#[track_caller]
fn new_binding_gets(peer: &mut Peer, exchange: &str) -> Vec<String> {
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, exchange, ""));
    let got = peer.drain(1, &queue);
    peer.call(1, &queue_delete(&queue));
    got
}

#[test]
fn a_new_binding_gets_the_last_messages_and_then_all() {
    let mut peer = Peer::connect();
    let exchange = declare(&mut peer, 3);
    let (early, late) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    peer.call(1, &queue_bind(&early, &exchange, "any"));
    for n in 0..5 {
        peer.publish(1, &exchange, "k", &n.to_string());
    }
    peer.call(1, &queue_bind(&late, &exchange, ""));
    peer.publish(1, &exchange, "k", "5");
    assert_eq!(peer.drain(1, &early), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(peer.drain(1, &late), ["2", "3", "4", "5"]);
    assert_eq!(new_binding_gets(&mut peer, &exchange), ["3", "4", "5"]);
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn twenty_by_default() {
    let mut peer = Peer::connect();
    let exchange = unique("history");
    peer.call(1, &exchange_declare(&exchange, KIND));
    let bodies: Vec<String> = (0..25).map(|n| n.to_string()).collect();
    peer.send_raw(&burst(bodies.iter().map(|body| (&*exchange, "k", body.clone()))));
    assert_eq!(new_binding_gets(&mut peer, &exchange), bodies[5..]);
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn messages_come_as_they_were_published() {
    let mut peer = Peer::connect();
    let exchange = declare(&mut peer, 5);
    let properties = props().octet("delivery-mode", 2).text("message-id", "m").headers([("h", i(1))]).bytes();
    peer.send_publish(1, &publish(&exchange, "a.key"), &properties, b"body");
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &exchange, ""));
    let message = peer.get(1, &queue).expect("the message");
    assert_eq!((message.method.text("exchange"), message.method.text("routing-key")), (&*exchange, "a.key"));
    assert_eq!((message.redelivered(), &message.properties, &*message.body), (false, &properties, &b"body"[..]));
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn a_header_keeps_a_message_out() {
    let mut peer = Peer::connect();
    let exchange = declare(&mut peer, 9);
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &exchange, ""));
    for (value, body) in [(Value::Bool(true), "true"), (Value::Bool(false), "false"), (s("true"), "text"), (i(1), "1")]
    {
        let properties = headers([("x-recent-history-no-store", value)]);
        peer.send_publish(1, &publish(&exchange, "k"), &properties, body.as_bytes());
    }
    assert_eq!(peer.drain(1, &queue), ["true", "false", "text", "1"]);
    assert_eq!(new_binding_gets(&mut peer, &exchange), ["false", "text", "1"]);
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn only_what_is_new_gets_it() {
    let mut peer = Peer::connect();
    let exchange = declare(&mut peer, 9);
    peer.publish(1, &exchange, "k", "x");
    let queue = peer.exclusive_queue(1);
    let bind = queue_bind(&queue, &exchange, "a");
    peer.call(1, &bind);
    peer.call(1, &bind);
    assert_eq!(peer.drain(1, &queue), ["x"]);
    peer.call(1, &queue_bind(&queue, &exchange, "b"));
    assert_eq!(peer.drain(1, &queue), ["x"], "another binding of the same queue is new");
    peer.publish(1, &exchange, "k", "y");
    assert_eq!(peer.drain(1, &queue), ["y"], "two bindings of a queue are one copy");
    peer.call(1, &queue_unbind(&queue, &exchange, "a"));
    peer.call(1, &queue_unbind(&queue, &exchange, "b"));
    peer.call(1, &bind);
    assert_eq!(peer.drain(1, &queue), ["x", "y"], "also when no binding was left");
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn what_is_returned_or_rolled_back_is_kept_too() {
    let mut peer = Peer::connect();
    let exchange = declare(&mut peer, 9);
    peer.send_publish(1, &publish(&exchange, "k").on("mandatory"), NONE, b"returned");
    peer.expect_message(1, "basic.return");
    peer.open_channel(2);
    peer.call(2, &method("tx.select"));
    peer.publish(2, &exchange, "k", "rolled back");
    peer.call(2, &method("tx.rollback"));
    assert_eq!(new_binding_gets(&mut peer, &exchange), ["returned", "rolled back"]);
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn through_an_exchange_that_is_newly_bound() {
    let mut peer = Peer::connect();
    let (exchange, behind) = (declare(&mut peer, 9), unique("behind"));
    peer.call(1, &exchange_declare(&behind, "topic"));
    let (all, some) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    peer.call(1, &queue_bind(&all, &behind, "#"));
    peer.call(1, &queue_bind(&some, &behind, "copy.*"));
    peer.publish(1, &exchange, "k", "one");
    let copies = [("CC", Value::Array(vec![s("copy.1")])), ("BCC", Value::Array(vec![s("copy.2")]))];
    peer.send_publish(1, &publish(&exchange, "k"), &headers(copies), b"two");
    peer.call(1, &exchange_bind(&behind, &exchange, ""));
    let mut got = peer.drain(1, &all);
    got.sort(); // RabbitMQ gives the newest first, this way
    assert_eq!(got, ["one", "two"]);
    assert_eq!(peer.drain(1, &some), ["two"]);
    for name in [exchange, behind] {
        peer.call(1, &exchange_delete(&name));
    }
}

#[test]
fn an_exchange_that_leads_nowhere_may_be_bound() {
    leveret_only!("RabbitMQ fails inside");
    let mut peer = Peer::connect();
    let (exchange, behind) = (declare(&mut peer, 9), unique("behind"));
    peer.call(1, &exchange_declare(&behind, "fanout"));
    peer.publish(1, &exchange, "k", "x");
    peer.call(1, &exchange_bind(&behind, &exchange, ""));
    for name in [exchange, behind] {
        peer.call(1, &exchange_delete(&name));
    }
}

#[test]
fn what_comes_through_another_exchange_is_kept() {
    let mut peer = Peer::connect();
    let (front, exchange) = (unique("front"), unique("history"));
    peer.call(1, &exchange_declare(&front, "fanout"));
    peer.call(1, &exchange_declare(&exchange, KIND).on("internal"));
    peer.call(1, &exchange_bind(&exchange, &front, ""));
    for n in 0..3 {
        peer.publish(1, &front, "k", &n.to_string());
    }
    assert_eq!(new_binding_gets(&mut peer, &exchange), ["0", "1", "2"]);
    for name in [front, exchange] {
        peer.call(1, &exchange_delete(&name));
    }
}

#[test]
fn a_deleted_exchange_has_no_history() {
    let mut peer = Peer::connect();
    let exchange = declare(&mut peer, 9);
    peer.publish(1, &exchange, "k", "x");
    peer.call(1, &exchange_delete(&exchange));
    peer.call(1, &exchange_declare(&exchange, KIND));
    assert_eq!(new_binding_gets(&mut peer, &exchange), [""; 0]);
    peer.call(1, &exchange_delete(&exchange));
}
