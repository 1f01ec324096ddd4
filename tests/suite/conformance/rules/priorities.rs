//! Priorities of messages.

use super::*;
use crate::support::props::props;

fn ranked(peer: &mut Peer, queue: &str, priority: u8, body: &str) {
    publish_with(peer, queue, &props().octet("priority", priority).bytes(), body);
}

#[test]
fn the_highest_priority_comes_first_and_equals_in_their_order() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "ranks", [("x-max-priority", i(10))]);
    for (priority, body) in [(1, "c"), (5, "a"), (1, "d"), (0, "e"), (5, "b")] {
        ranked(&mut peer, &queue, priority, body);
    }
    assert_eq!(peer.drain(1, &queue), ["a", "b", "c", "d", "e"]);
}

#[test]
fn too_high_is_as_high_as_it_gets_and_none_is_0() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "clipped", [("x-max-priority", i(3))]);
    peer.publish(1, "", &queue, "none");
    ranked(&mut peer, &queue, 0, "zero");
    ranked(&mut peer, &queue, 3, "three");
    ranked(&mut peer, &queue, 200, "clipped");
    assert_eq!(peer.drain(1, &queue), ["three", "clipped", "none", "zero"]);
}

#[test]
fn without_the_argument_priorities_do_not_count() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "plain", []);
    ranked(&mut peer, &queue, 1, "a");
    ranked(&mut peer, &queue, 9, "b");
    assert_eq!(peer.drain(1, &queue), ["a", "b"]);
}

#[test]
fn a_requeued_message_is_at_its_place_among_its_like() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "place", [("x-max-priority", i(10))]);
    for body in ["a", "b"] {
        ranked(&mut peer, &queue, 5, body);
    }
    let got = peer.get(1, &queue).expect("a message");
    ranked(&mut peer, &queue, 7, "urgent");
    peer.send(1, &nack(got.tag()).on("requeue"));
    assert_eq!(peer.drain(1, &queue), ["urgent", "a", "b"]);
}

#[test]
fn every_level_from_0_to_255() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "levels", [("x-max-priority", i(255))]);
    for priority in 0..=255 {
        ranked(&mut peer, &queue, priority, &priority.to_string());
    }
    let expected: Vec<String> = (0..=255).rev().map(|priority: u8| priority.to_string()).collect();
    assert_eq!(peer.drain(1, &queue), expected);
}

#[test]
fn quorum_queues_have_priorities_too() {
    let mut peer = Peer::connect();
    let queue = unique("quorum");
    let arguments = [("x-queue-type", s("quorum")), ("x-max-priority", i(255))];
    peer.call(1, &queue_declare(&queue).on("durable").args(arguments));
    for (priority, body) in [(0, "c"), (255, "a"), (9, "b")] {
        publish_with(&mut peer, &queue, &props().octet("priority", priority).octet("delivery-mode", 2).bytes(), body);
    }
    assert_eq!(peer.drain(1, &queue), ["a", "b", "c"]);
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn the_head_that_is_dropped_has_the_highest_priority() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "drops", [("x-max-priority", i(5)), ("x-max-length", i(1))]);
    ranked(&mut peer, &queue, 5, "high");
    ranked(&mut peer, &queue, 1, "low");
    peer.expect_counts(1, &queue, (1, 0));
    assert_eq!(peer.drain(1, &queue), ["low"]);
}
