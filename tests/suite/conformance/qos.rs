//! Section 1.5: how much a consumer and a channel may have unacknowledged.

use crate::support::peer::*;
use crate::support::wire::*;

fn global(prefetch_count: u16) -> Method {
    qos(prefetch_count).on("global")
}

/// A peer whose channel 1 declared a queue with so many messages, numbered from 1.
fn filled(count: usize) -> (Peer, String) {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for n in 1..=count {
        peer.publish(1, "", &queue, &n.to_string());
    }
    peer.expect_counts(1, &queue, (count as u64, 0));
    (peer, queue)
}

#[test]
fn a_prefetch_size_is_not_implemented() {
    let size = method("basic.qos").number("prefetch-size", 10);
    Peer::connect().fatal(1, &size, 540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)");
}

#[test]
fn without_a_limit_everything_is_delivered() {
    for limit in [None, Some(qos(0)), Some(global(0))] {
        let (mut peer, queue) = filled(100);
        if let Some(limit) = limit {
            peer.call(1, &limit);
        }
        peer.consume(1, &queue, "t");
        for n in 1..=100 {
            assert_eq!(peer.expect_delivery(1).body_text(), n.to_string());
        }
    }
}

#[test]
fn one_means_exactly_one() {
    let (mut peer, queue) = filled(5);
    peer.call(1, &qos(1));
    peer.consume(1, &queue, "t");
    for n in 1..=5 {
        let delivery = peer.expect_delivery(1);
        assert_eq!((delivery.body_text().to_owned(), delivery.tag()), (n.to_string(), n));
        peer.expect_nothing_from(1, &queue);
        peer.send(1, &[ack(n), reject(n), nack(n)][n as usize % 3]);
    }
    peer.expect_nothing_from(1, &queue);
    peer.expect_counts(1, &queue, (0, 1));
}

#[test]
fn each_consumer_has_its_own_limit() {
    let (mut peer, queue) = filled(10);
    peer.call(1, &qos(2));
    peer.consume(1, &queue, "two");
    peer.expect_bodies(1, &["1", "2"]);
    peer.call(1, &qos(3));
    peer.consume(1, &queue, "three");
    peer.expect_bodies(1, &["3", "4", "5"]);
    peer.expect_nothing_from(1, &queue);
    peer.send(1, &ack(2).on("multiple"));
    let delivered = peer.expect_bodies(1, &["6", "7"]);
    assert!(delivered.iter().all(|delivery| delivery.consumer() == "two"));
    peer.expect_nothing_from(1, &queue);
}

#[test]
fn a_limit_counts_for_consumers_that_start_after_it() {
    let (mut peer, queue) = filled(10);
    peer.call(1, &qos(1));
    peer.consume(1, &queue, "before");
    peer.expect_bodies(1, &["1"]);
    peer.call(1, &qos(5));
    peer.expect_nothing_from(1, &queue);
    peer.send(1, &ack(1));
    peer.expect_bodies(1, &["2"]);
    peer.expect_nothing_from(1, &queue);
}

#[test]
fn a_limit_belongs_to_its_channel() {
    let (mut peer, queue) = filled(10);
    peer.call(1, &qos(1));
    peer.open_channel(2);
    peer.consume(2, &queue, "unlimited");
    for _ in 0..10 {
        peer.expect_delivery(2);
    }
}

#[test]
fn a_global_limit_is_shared_by_the_consumers_of_a_channel() {
    let (mut peer, queue) = filled(10);
    peer.call(1, &global(3));
    peer.consume(1, &queue, "a");
    peer.expect_bodies(1, &["1", "2", "3"]);
    peer.consume(1, &queue, "b");
    peer.expect_nothing_from(1, &queue);
    peer.send(1, &ack(1));
    peer.expect_bodies(1, &["4"]);
    peer.expect_nothing_from(1, &queue);
    peer.send(1, &ack(4).on("multiple"));
    peer.expect_bodies(1, &["5", "6", "7"]);
    peer.expect_nothing_from(1, &queue);
}

#[test]
fn a_global_limit_spans_queues() {
    let mut peer = Peer::connect();
    let (one, two) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    peer.call(1, &global(1));
    peer.consume(1, &one, "one");
    peer.consume(1, &two, "two");
    peer.publish(1, "", &one, "first");
    let first = peer.expect_delivery(1);
    assert_eq!(first.body, b"first");
    peer.publish(1, "", &two, "second");
    peer.expect_nothing_from(1, &two);
    peer.send(1, &ack(first.tag()));
    let second = peer.expect_delivery(1);
    assert_eq!((second.body_text(), second.consumer()), ("second", "two"));
    peer.publish(1, "", &one, "third");
    peer.expect_nothing_from(1, &one);
    peer.send(1, &reject(second.tag()));
    assert_eq!(peer.expect_delivery(1).body, b"third");
}

#[test]
fn a_global_limit_counts_for_consumers_that_are_there() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.consume(1, &queue, "t");
    peer.call(1, &global(1));
    peer.publish(1, "", &queue, "1");
    peer.publish(1, "", &queue, "2");
    peer.expect_bodies(1, &["1"]);
    peer.expect_nothing_from(1, &queue);
    peer.call(1, &global(2));
    peer.expect_bodies(1, &["2"]);
    peer.publish(1, "", &queue, "3");
    peer.publish(1, "", &queue, "4");
    peer.expect_nothing_from(1, &queue);
    peer.call(1, &global(0));
    peer.expect_bodies(1, &["3", "4"]);
}

#[test]
fn a_global_limit_counts_what_is_unacknowledged_already() {
    let (mut peer, queue) = filled(3);
    peer.consume(1, &queue, "t");
    peer.expect_bodies(1, &["1", "2", "3"]);
    peer.call(1, &global(2));
    peer.publish(1, "", &queue, "4");
    peer.expect_nothing_from(1, &queue);
    peer.send(1, &ack(1));
    peer.expect_nothing_from(1, &queue);
    peer.send(1, &ack(2));
    peer.expect_bodies(1, &["4"]);
}

#[test]
fn both_limits_hold_if_the_global_one_comes_last() {
    let (mut peer, queue) = filled(10);
    peer.call(1, &qos(2));
    peer.call(1, &global(3));
    peer.consume(1, &queue, "a");
    peer.expect_bodies(1, &["1", "2"]);
    peer.expect_nothing_from(1, &queue);
    peer.consume(1, &queue, "b");
    peer.expect_bodies(1, &["3"]);
    peer.expect_nothing_from(1, &queue);
    peer.send(1, &ack(3));
    peer.expect_bodies(1, &["4"]);
    peer.expect_nothing_from(1, &queue);
}

#[test]
fn a_limit_for_consumers_takes_the_global_one_away() {
    let (mut peer, queue) = filled(10);
    peer.call(1, &global(1));
    peer.call(1, &qos(2));
    peer.consume(1, &queue, "a");
    peer.expect_bodies(1, &["1", "2"]);
    peer.consume(1, &queue, "b");
    peer.expect_bodies(1, &["3", "4"]);
    peer.expect_nothing_from(1, &queue);
}

#[test]
fn a_limit_for_consumers_frees_consumers_that_waited_for_the_global_one() {
    let (mut peer, queue) = filled(3);
    peer.call(1, &global(1));
    peer.consume(1, &queue, "t");
    peer.expect_bodies(1, &["1"]);
    peer.expect_nothing_from(1, &queue);
    peer.call(1, &qos(1));
    peer.expect_bodies(1, &["2", "3"]);
}

#[test]
fn no_ack_deliveries_count_for_no_limit() {
    for limit in [qos(1), global(1)] {
        let (mut peer, queue) = filled(5);
        peer.call(1, &limit);
        peer.call(1, &consume(&queue, "t").on("no-ack"));
        peer.expect_bodies(1, &["1", "2", "3", "4", "5"]);
    }
}

#[test]
fn a_no_ack_consumer_pauses_too_while_its_channel_is_at_its_limit() {
    let mut peer = Peer::connect();
    let (acked, unacked) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    peer.call(1, &global(1));
    peer.consume(1, &acked, "acked");
    peer.call(1, &consume(&unacked, "unacked").on("no-ack"));
    peer.publish(1, "", &acked, "one");
    let tag = peer.expect_delivery(1).tag();
    peer.publish(1, "", &unacked, "waits");
    peer.expect_nothing_from(1, &unacked);
    peer.send(1, &ack(tag));
    assert_eq!(peer.expect_delivery(1).body, b"waits");
}

#[test]
fn get_is_neither_limited_nor_counted() {
    for limit in [qos(1), global(1)] {
        let (mut peer, queue) = filled(4);
        peer.call(1, &limit);
        peer.get(1, &queue).expect("a message");
        peer.get(1, &queue).expect("another message");
        peer.consume(1, &queue, "t");
        peer.expect_bodies(1, &["3"]);
        peer.get(1, &queue).expect("one more");
        peer.expect_nothing_from(1, &queue);
    }
}

#[test]
fn a_limited_consumer_leaves_messages_to_others() {
    let (mut peer, queue) = filled(0);
    peer.call(1, &qos(1));
    peer.consume(1, &queue, "one at a time");
    peer.open_channel(2);
    peer.consume(2, &queue, "unlimited");
    for n in 1..=4 {
        peer.publish(1, "", &queue, &n.to_string());
    }
    peer.expect_bodies(1, &["1"]);
    peer.expect_bodies(2, &["2", "3", "4"]);
    peer.expect_nothing_from(1, &queue);
}

#[test]
fn credit_comes_back_when_a_consumer_is_cancelled_or_its_channel_closed() {
    let (mut peer, queue) = filled(3);
    peer.call(1, &global(1));
    peer.consume(1, &queue, "a");
    let tag = peer.expect_delivery(1).tag();
    peer.call(1, &cancel("a"));
    peer.consume(1, &queue, "b");
    peer.expect_nothing_from(1, &queue);
    peer.send(1, &ack(tag));
    assert_eq!(peer.expect_delivery(1).consumer(), "b");
    peer.expect_nothing_from(1, &queue);
}

#[test]
fn the_largest_limit() {
    let (mut peer, queue) = filled(3);
    peer.call(1, &qos(u16::MAX));
    peer.call(1, &global(u16::MAX));
    peer.consume(1, &queue, "t");
    peer.expect_bodies(1, &["1", "2", "3"]);
}
