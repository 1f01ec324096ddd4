//! Section 1.5: publisher confirms.

use std::collections::BTreeSet;

use crate::support::peer::*;
use crate::support::props::{NONE, headers, props};
use crate::support::unique;
use crate::support::wire::*;

/// Reads confirms on channel 1 until every number up to `last` is settled, each exactly once.
#[track_caller]
fn expect_confirms(peer: &mut Peer, outstanding: std::ops::RangeInclusive<u64>) {
    let mut left: BTreeSet<u64> = outstanding.collect();
    while !left.is_empty() {
        let confirm = peer.expect(1, "basic.ack");
        take_confirmed(&mut left, &confirm);
    }
}

#[track_caller]
fn take_confirmed(left: &mut BTreeSet<u64>, confirm: &Reply) {
    let tag = confirm.number("delivery-tag");
    let before = left.len();
    if confirm.bit("multiple") {
        left.retain(|&number| number > tag);
    } else {
        left.remove(&tag);
    }
    assert!(left.len() < before, "{confirm:?} confirms nothing that was outstanding: {left:?}");
}

fn confirming() -> Peer {
    let mut peer = Peer::connect();
    peer.call(1, &method("confirm.select"));
    peer
}

#[test]
fn confirms_count_from_one_in_each_channel() {
    let mut peer = confirming();
    let queue = peer.exclusive_queue(1);
    for number in 1..=3 {
        peer.publish(1, "", &queue, "x");
        let confirm = peer.expect(1, "basic.ack");
        assert_eq!((confirm.number("delivery-tag"), confirm.bit("multiple")), (number, false));
    }
    peer.open_channel(2);
    peer.call(2, &method("confirm.select"));
    peer.publish(2, "", &queue, "x");
    assert_eq!(peer.expect(2, "basic.ack").number("delivery-tag"), 1);
}

#[test]
fn numbers_count_from_the_select() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.publish(1, "", &queue, "before");
    peer.call(1, &method("confirm.select"));
    peer.publish(1, "", &queue, "behind");
    assert_eq!(peer.expect(1, "basic.ack").number("delivery-tag"), 1);
}

#[test]
fn select_twice_goes_on_counting() {
    let mut peer = confirming();
    let queue = peer.exclusive_queue(1);
    peer.publish(1, "", &queue, "x");
    assert_eq!(peer.expect(1, "basic.ack").number("delivery-tag"), 1);
    peer.call(1, &method("confirm.select"));
    peer.send(1, &method("confirm.select").on("nowait"));
    peer.publish(1, "", &queue, "x");
    assert_eq!(peer.expect(1, "basic.ack").number("delivery-tag"), 2);
}

#[test]
fn select_nowait_has_no_answer() {
    let mut peer = Peer::connect();
    peer.send(1, &method("confirm.select").on("nowait"));
    peer.expect_nothing_before_sync(1);
    peer.publish(1, "", "nowhere", "x");
    assert_eq!(peer.expect(1, "basic.ack").number("delivery-tag"), 1);
}

#[test]
fn every_message_is_confirmed_once() {
    let mut peer = confirming();
    let queue = peer.exclusive_queue(1);
    let mut bytes = Vec::new();
    for n in 0..3000 {
        let target = if n % 7 == 0 { "nowhere" } else { &queue };
        let properties = props().octet("delivery-mode", 1 + (n % 2) as u8).bytes();
        bytes.extend(publish_frames(1, &publish("", target), &properties, b"x"));
    }
    peer.send_raw(&bytes);
    expect_confirms(&mut peer, 1..=3000);
    peer.expect_nothing_before_sync(1);
}

#[test]
fn a_message_without_a_queue_is_confirmed() {
    let mut peer = confirming();
    peer.publish(1, "", &unique("nowhere"), "x");
    peer.publish(1, "amq.fanout", "", "x");
    expect_confirms(&mut peer, 1..=2);
}

#[test]
fn a_message_of_several_queues_is_confirmed_once() {
    let mut peer = confirming();
    let key = unique("key");
    let queues: Vec<String> = (0..5).map(|_| peer.exclusive_queue(1)).collect();
    for queue in &queues {
        peer.call(1, &queue_bind(queue, "amq.direct", &key));
    }
    peer.publish(1, "amq.direct", &key, "x");
    expect_confirms(&mut peer, 1..=1);
    peer.expect_nothing_before_sync(1);
    for queue in &queues {
        peer.expect_counts(1, queue, (1, 0));
    }
}

#[test]
fn a_persistent_message_in_a_durable_queue_is_confirmed() {
    let mut peer = confirming();
    let queue = unique("durable");
    peer.call(1, &queue_declare(&queue).on("durable"));
    let persistent = props().octet("delivery-mode", 2).bytes();
    for _ in 0..10 {
        peer.send_publish(1, &publish("", &queue), &persistent, b"x");
    }
    expect_confirms(&mut peer, 1..=10);
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn a_return_comes_before_the_confirm_of_its_message() {
    let mut peer = confirming();
    let queue = peer.exclusive_queue(1);
    let nowhere = unique("nowhere");
    let mut bytes = Vec::new();
    for n in 1..=40 {
        let target = if n % 4 == 0 { &nowhere } else { &queue };
        bytes.extend(publish_frames(1, &publish("", target).on("mandatory"), NONE, n.to_string().as_bytes()));
    }
    peer.send_raw(&bytes);
    let mut outstanding: BTreeSet<u64> = (1..=40).collect();
    let mut returned = Vec::new();
    while !outstanding.is_empty() {
        let reply = peer.next_method(1);
        if reply.name == "basic.return" {
            let number: u64 = peer.expect_content(1, reply).body_text().parse().expect("a number");
            assert!(outstanding.contains(&number), "the return of {number} comes behind its confirm");
            returned.push(number);
        } else {
            assert_eq!(reply.name, "basic.ack");
            take_confirmed(&mut outstanding, &reply);
        }
    }
    assert_eq!(returned, (1..=40).filter(|n| n % 4 == 0).collect::<Vec<u64>>());
}

#[test]
fn a_message_of_a_deleted_queue_is_confirmed() {
    let mut peer = confirming();
    let queue = peer.exclusive_queue(1);
    let mut bytes = Vec::new();
    for _ in 0..20 {
        bytes.extend(publish_frames(1, &publish("", &queue), NONE, b"x"));
    }
    bytes.extend(method_frame(1, &queue_delete(&queue)));
    peer.send_raw(&bytes);
    let mut left: BTreeSet<u64> = (1..=20).collect();
    let mut deleted = false;
    while !left.is_empty() || !deleted {
        let reply = peer.next_method(1);
        if reply.name == "queue.delete-ok" {
            deleted = true;
        } else {
            take_confirmed(&mut left, &reply);
        }
    }
}

#[test]
fn confirms_and_deliveries_of_one_channel() {
    let mut peer = confirming();
    let queue = peer.exclusive_queue(1);
    peer.call(1, &consume(&queue, "t").on("no-ack"));
    for n in 0..100 {
        peer.publish(1, "", &queue, &n.to_string());
    }
    let mut left: BTreeSet<u64> = (1..=100).collect();
    let mut next = 0;
    while !left.is_empty() || next < 100 {
        let reply = peer.next_method(1);
        if reply.name == "basic.deliver" {
            assert_eq!(peer.expect_content(1, reply).body_text(), next.to_string());
            next += 1;
        } else {
            take_confirmed(&mut left, &reply);
        }
    }
}

#[test]
fn what_is_refused_is_not_confirmed_and_what_was_before_it_is_published() {
    let mut peer = confirming();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(2);
    let mut bytes = Vec::new();
    for n in 1..=3 {
        bytes.extend(publish_frames(1, &publish("", &queue), NONE, n.to_string().as_bytes()));
    }
    bytes.extend(publish_frames(1, &publish("no such exchange", ""), NONE, b"x"));
    bytes.extend(publish_frames(1, &publish("", &queue), NONE, b"late"));
    peer.send_raw(&bytes);
    let mut left: BTreeSet<u64> = (1..=3).collect();
    loop {
        let reply = peer.next_method(1);
        if reply.name == "channel.close" {
            assert_eq!(reply.number("reply-code"), 404);
            break;
        }
        take_confirmed(&mut left, &reply); // some may be lost with the channel, none may be invented
    }
    peer.send(1, &method("channel.close-ok"));
    assert_eq!(peer.drain(2, &queue), ["1", "2", "3"]);
}

#[test]
fn a_full_queue_that_rejects_is_a_nack() {
    let mut peer = confirming();
    let queue = unique("full");
    let declare = queue_declare(&queue).on("exclusive");
    peer.call(1, &declare.args([("x-max-length", i(2)), ("x-overflow", s("reject-publish"))]));
    for (number, answer) in [(1, "basic.ack"), (2, "basic.ack"), (3, "basic.nack"), (4, "basic.nack")] {
        peer.send_publish(1, &publish("", &queue), &headers([("n", i(number))]), b"x");
        assert_eq!(peer.expect(1, answer).number("delivery-tag"), number as u64);
    }
    peer.get_no_ack(1, &queue).expect("a message");
    peer.publish(1, "", &queue, "fits");
    assert_eq!(peer.expect(1, "basic.ack").number("delivery-tag"), 5);
    peer.expect_counts(1, &queue, (2, 0));
}

#[test]
fn confirm_and_transaction_exclude_each_other() {
    let mut peer = confirming();
    peer.refused(1, &method("tx.select"), 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode");
    peer.call(1, &method("tx.select"));
    peer.refused(1, &method("confirm.select"), 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode");
    for name in ["tx.commit", "tx.rollback"] {
        peer.refused(1, &method(name), 406, "PRECONDITION_FAILED - channel is not transactional");
    }
}
