//! Limits of length and of bytes, and what happens at them.

use super::*;
use crate::support::props;

fn confirmed(peer: &mut Peer) {
    peer.call(1, &method("confirm.select"));
}

/// Publishes on a channel in confirm mode: whether it was taken.
fn is_taken(peer: &mut Peer, queue: &str, body: &str) -> bool {
    peer.publish(1, "", queue, body);
    let answer = peer.next_method(1);
    match answer.name {
        "basic.ack" => true,
        "basic.nack" => false,
        other => panic!("{other} in answer to a publish"),
    }
}

#[test]
fn the_head_is_dropped_of_a_queue_that_is_too_long() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "long", [("x-max-length", i(3))]);
    for body in ["a", "b", "c", "d", "e"] {
        peer.publish(1, "", &queue, body);
    }
    peer.expect_counts(1, &queue, (3, 0));
    let letters = dead_letters(&mut peer, &dead, 2);
    assert_eq!(bodies(&letters), ["a", "b"]);
    assert_eq!(death_field(&deaths(&letters[0])[0], "reason"), &s("maxlen"));
    assert_eq!(peer.drain(1, &queue), ["c", "d", "e"]);
}

#[test]
fn bytes_are_those_of_bodies_that_are_ready() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "bytes", [("x-max-length-bytes", i(10))]);
    for body in ["", "12345", "67890"] {
        peer.publish(1, "", &queue, body);
    }
    peer.expect_counts(1, &queue, (3, 0));
    peer.publish(1, "", &queue, "x");
    peer.expect_counts(1, &queue, (2, 0));
    assert_eq!(peer.drain(1, &queue), ["67890", "x"]);
    peer.publish(1, "", &queue, "larger than all");
    peer.expect_counts(1, &queue, (0, 0));
}

#[test]
fn what_is_unacknowledged_does_not_count_until_it_comes_back() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "unacked", [("x-max-length", i(2))]);
    for body in ["a", "b"] {
        peer.publish(1, "", &queue, body);
        peer.get(1, &queue).expect("a message");
    }
    for body in ["c", "d"] {
        peer.publish(1, "", &queue, body);
    }
    peer.expect_counts(1, &queue, (2, 0));
    peer.send(1, &nack(2).on("requeue"));
    assert_eq!(bodies(&dead_letters(&mut peer, &dead, 1)), ["b"], "the oldest of those that are ready");
    assert_eq!(peer.drain(1, &queue), ["c", "d"]);
}

#[test]
fn a_limit_of_0_is_for_consumers_that_wait() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "none", [("x-max-length", i(0))]);
    peer.publish(1, "", &queue, "nobody");
    peer.expect_counts(1, &queue, (0, 0));
    peer.consume(1, &queue, "t");
    peer.publish(1, "", &queue, "somebody");
    assert_eq!(peer.expect_delivery(1).body_text(), "somebody");
}

#[test]
fn a_full_queue_refuses_what_is_published_to_it() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "refuses", [("x-max-length", i(2)), ("x-overflow", s("reject-publish"))]);
    confirmed(&mut peer);
    let taken: Vec<bool> = ["a", "b", "c", "d"].iter().map(|body| is_taken(&mut peer, &queue, body)).collect();
    assert_eq!(taken, [true, true, false, false]);
    peer.get_no_ack(1, &queue).expect("a message");
    assert!(is_taken(&mut peer, &queue, "e"), "there is room again");
    assert_eq!(peer.drain(1, &queue), ["b", "e"]);
}

#[test]
fn in_one_write_each_message_has_its_own_answer() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "burst", [("x-max-length", i(3)), ("x-overflow", s("reject-publish"))]);
    confirmed(&mut peer);
    peer.send_raw(&burst((0..10).map(|number| ("", queue.as_str(), number.to_string()))));
    let (mut acked, mut nacked, mut answered) = (Vec::new(), Vec::new(), 0);
    while answered < 10 {
        let answer = peer.next_method(1);
        let tag = answer.number("delivery-tag");
        let from = if answer.bit("multiple") { answered + 1 } else { tag };
        let to = if answer.name == "basic.ack" { &mut acked } else { &mut nacked };
        to.extend(from..=tag);
        answered = tag;
    }
    assert_eq!((acked, nacked), ((1..=3).collect(), (4..=10).collect()));
    assert_eq!(peer.drain(1, &queue), ["0", "1", "2"]);
}

#[test]
fn room_is_asked_for_before_consumers_are() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "no-room", [("x-max-length", i(0)), ("x-overflow", s("reject-publish"))]);
    peer.open_channel(2);
    peer.consume(2, &queue, "t");
    confirmed(&mut peer);
    assert!(!is_taken(&mut peer, &queue, "m"));
}

#[test]
fn refused_by_bytes_if_it_does_not_fit() {
    let mut peer = Peer::connect();
    let arguments = [("x-max-length-bytes", i(10)), ("x-overflow", s("reject-publish"))];
    let queue = declare(&mut peer, "fits", arguments);
    confirmed(&mut peer);
    let taken: Vec<bool> = ["12345678901", "1234567890", "", "1"].iter().map(|b| is_taken(&mut peer, &queue, b)).collect();
    assert_eq!(taken, [false, true, true, false]);
}

#[test]
fn one_queue_that_refuses_is_enough_for_a_nack_and_no_reason_for_the_others() {
    let mut peer = Peer::connect();
    let exchange = unique("fan");
    peer.call(1, &exchange_declare(&exchange, "fanout").on("auto-delete"));
    let full = declare(&mut peer, "full", [("x-max-length", i(0)), ("x-overflow", s("reject-publish"))]);
    let roomy = declare(&mut peer, "roomy", []);
    for queue in [&full, &roomy] {
        peer.call(1, &queue_bind(queue, &exchange, ""));
    }
    confirmed(&mut peer);
    peer.send_publish(1, &publish(&exchange, "").on("mandatory"), props::NONE, b"m");
    assert_eq!(peer.next_method(1).name, "basic.nack", "and it is not returned");
    assert_eq!(peer.drain(1, &roomy), ["m"]);
}

#[test]
fn refused_messages_become_dead_letters_where_asked() {
    let mut peer = Peer::connect();
    let arguments = [("x-max-length", i(1)), ("x-overflow", s("reject-publish-dlx"))];
    let (queue, dead) = declare_with_dead_letters(&mut peer, "refused-dlx", arguments);
    confirmed(&mut peer);
    assert!(is_taken(&mut peer, &queue, "a"));
    assert!(!is_taken(&mut peer, &queue, "b"));
    let letters = dead_letters(&mut peer, &dead, 1);
    assert_eq!(bodies(&letters), ["b"]);
    assert_eq!(death_field(&deaths(&letters[0])[0], "reason"), &s("maxlen"));
}

#[test]
fn a_transaction_with_a_refused_message_fails_and_keeps_the_others() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "tx-full", [("x-max-length", i(1)), ("x-overflow", s("reject-publish"))]);
    peer.call(1, &method("tx.select"));
    for body in ["a", "b"] {
        peer.publish(1, "", &queue, body);
    }
    peer.refused(1, &method("tx.commit"), 406, "PRECONDITION_FAILED - partial tx completion");
    assert_eq!(peer.drain(1, &queue), ["a"]);
}
