//! Single active consumers.

use super::*;

fn single_active(peer: &mut Peer) -> String {
    declare(peer, "single", [("x-single-active-consumer", Value::Bool(true))])
}

#[test]
fn one_consumer_at_a_time_and_the_next_when_it_goes() {
    let mut peer = Peer::connect();
    let queue = single_active(&mut peer);
    for channel in [2, 3] {
        peer.open_channel(channel);
        peer.consume(channel, &queue, "t");
    }
    for body in ["a", "b", "c"] {
        peer.publish(1, "", &queue, body);
    }
    peer.expect_bodies(2, &["a", "b", "c"]);
    peer.close_channel(2);
    let redelivered = peer.expect_bodies(3, &["a", "b", "c"]);
    assert!(redelivered.iter().all(Message::redelivered));
    peer.publish(1, "", &queue, "d");
    peer.expect_bodies(3, &["d"]);
}

#[test]
fn the_active_one_keeps_its_turn_at_its_prefetch() {
    let mut peer = Peer::connect();
    let queue = single_active(&mut peer);
    for channel in [2, 3] {
        peer.open_channel(channel);
        peer.call(channel, &qos(1));
        peer.consume(channel, &queue, "t");
    }
    for body in ["a", "b"] {
        peer.publish(1, "", &queue, body);
    }
    let first = peer.expect_delivery(2);
    peer.expect_counts(1, &queue, (1, 2));
    peer.send(2, &ack(first.tag()));
    assert_eq!(peer.expect_delivery(2).body_text(), "b");
}

#[test]
fn a_higher_priority_takes_over_once_all_is_settled() {
    let mut peer = Peer::connect();
    let queue = single_active(&mut peer);
    for channel in [2, 3] {
        peer.open_channel(channel);
    }
    peer.consume(2, &queue, "low");
    peer.publish(1, "", &queue, "a");
    let held = peer.expect_delivery(2);
    peer.call(3, &consume(&queue, "high").args([("x-priority", i(10))]));
    peer.publish(1, "", &queue, "b");
    peer.expect_counts(1, &queue, (1, 2));
    peer.send(2, &ack(held.tag()));
    assert_eq!(peer.expect_delivery(3).body_text(), "b");
}

#[test]
fn exclusive_consumers_are_refused() {
    let mut peer = Peer::connect();
    let queue = single_active(&mut peer);
    let text = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    peer.refused(1, &consume(&queue, "t").on("exclusive"), 403, &text);
}

#[test]
fn messages_can_be_got_all_the_same() {
    let mut peer = Peer::connect();
    let queue = single_active(&mut peer);
    peer.open_channel(2);
    peer.call(2, &qos(1));
    peer.consume(2, &queue, "t");
    for body in ["a", "b"] {
        peer.publish(1, "", &queue, body);
    }
    assert_eq!(peer.expect_delivery(2).body_text(), "a");
    assert_eq!(peer.get(1, &queue).expect("a message").body_text(), "b");
}
