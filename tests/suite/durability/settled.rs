//! What was acknowledged, dropped or committed, and what was not.

use crate::durability::node::{Node, in_every_way};
use crate::durability::publisher::*;
use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

/// A durable queue with the messages 0 to `count`, all of them got on channel 2 and not acknowledged.
#[track_caller]
fn all_got(node: &Node, count: usize) -> (Publisher, String) {
    let mut publisher = node.publisher();
    let queue = unique("q");
    publisher.call(2, &durable_queue(&queue));
    for number in 0..count {
        publisher.persistent(&queue, &number.to_string());
    }
    publisher.wait();
    for _ in 0..count {
        publisher.get(2, &queue).expect("a message");
    }
    (publisher, queue)
}

/// Settles the queue, restarts the broker, and finds these messages there, and the fence.
#[track_caller]
fn expect_after_restart(node: &mut Node, mut publisher: Publisher, queue: &str, expected: &[u32]) {
    publisher.expect_nothing_from(2, queue);
    publisher.settle(queue);
    node.restart();
    let mut peer = node.peer();
    peer.expect_counts(1, queue, (expected.len() as u64 + 1, 0));
    let mut found = peer.drain(1, queue);
    assert_eq!(found.pop().as_deref(), Some("fence"), "behind {found:?}");
    let expected: Vec<_> = expected.iter().map(u32::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn acknowledged_messages_do_not_come_back() {
    in_every_way(|node| {
        let (mut publisher, queue) = all_got(node, 10);
        publisher.send(2, &ack(10).on("multiple"));
        expect_after_restart(node, publisher, &queue, &[]);
    });
}

#[test]
fn messages_acknowledged_out_of_the_middle_leave_the_order_of_the_others() {
    in_every_way(|node| {
        let (mut publisher, queue) = all_got(node, 12);
        for tag in [3, 7, 4, 12, 10] {
            publisher.send(2, &ack(tag));
        }
        expect_after_restart(node, publisher, &queue, &[0, 1, 4, 5, 7, 8, 10]);
    });
}

#[test]
fn every_other_of_many_is_acknowledged() {
    in_every_way(|node| {
        let (mut publisher, queue) = all_got(node, 2000);
        for tag in (1..=2000).filter(|tag| tag % 2 == 0 || tag % 5 == 0) {
            publisher.send(2, &ack(tag));
        }
        let expected: Vec<_> = (0..2000).filter(|number| (number + 1) % 2 != 0 && (number + 1) % 5 != 0).collect();
        expect_after_restart(node, publisher, &queue, &expected);
    });
}

#[test]
fn messages_that_were_rejected_without_requeue_do_not_come_back() {
    in_every_way(|node| {
        let (mut publisher, queue) = all_got(node, 6);
        publisher.send(2, &reject(2));
        publisher.send(2, &nack(4).on("multiple"));
        expect_after_restart(node, publisher, &queue, &[4, 5]);
    });
}

#[test]
fn requeued_messages_come_back_at_their_places() {
    in_every_way(|node| {
        let (mut publisher, queue) = all_got(node, 8);
        publisher.send(2, &reject(6).on("requeue"));
        publisher.send(2, &nack(2).on("requeue"));
        publisher.send(2, &ack(3));
        publisher.send(2, &nack(8).on("requeue"));
        publisher.wait_for_counts(2, &queue, (3, 0));
        expect_after_restart(node, publisher, &queue, &[0, 1, 3, 4, 5, 6, 7]);
    });
}

#[test]
fn messages_that_needed_no_acknowledgement_do_not_come_back() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let (got, consumed) = (unique("got"), unique("consumed"));
        for queue in [&got, &consumed] {
            publisher.call(2, &durable_queue(queue));
            publisher.keep(queue, &["one", "two", "three"]);
        }
        publisher.get_no_ack(2, &got).expect("a message");
        publisher.call(2, &consume(&consumed, "t").on("no-ack"));
        publisher.expect_bodies(2, &["one", "two", "three"]);
        publisher.call(2, &cancel("t"));
        publisher.settle(&got);
        publisher.settle(&consumed);
        node.restart();
        let mut peer = node.peer();
        assert_eq!(peer.drain(1, &got), ["two", "three", "fence"]);
        assert_eq!(peer.drain(1, &consumed), ["fence"]);
    });
}

// ---- transactions ----

/// A channel 3 in a transaction.
fn transactional(publisher: &mut Publisher) {
    publisher.open_channel(3);
    publisher.call(3, &method("tx.select"));
}

#[track_caller]
fn publish_in_transaction(publisher: &mut Publisher, queue: &str, body: &str) {
    publisher.send_publish(3, &publish("", queue), &persistent(), body.as_bytes());
}

#[test]
fn what_was_committed_stays_and_what_was_not_goes() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queues = [unique("a"), unique("b"), unique("c")];
        queues.iter().for_each(|queue| drop(publisher.call(2, &durable_queue(queue))));
        transactional(&mut publisher);
        for round in 0..5 {
            for queue in &queues {
                publish_in_transaction(&mut publisher, queue, &format!("committed {round}"));
            }
            publisher.call(3, &method("tx.commit"));
            publish_in_transaction(&mut publisher, &queues[0], "rolled back");
            publisher.call(3, &method("tx.rollback"));
        }
        publish_in_transaction(&mut publisher, &queues[1], "not committed");
        publisher.expect_nothing_before_sync(3);
        node.restart();
        let expected: Vec<_> = (0..5).map(|round| format!("committed {round}")).collect();
        let mut peer = node.peer();
        for queue in &queues {
            assert_eq!(peer.drain(1, queue), expected);
        }
    });
}

#[test]
fn acknowledgements_count_if_they_were_committed() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        publisher.keep(&queue, &["one", "two", "three", "four"]);
        transactional(&mut publisher);
        for _ in 0..4 {
            publisher.get(3, &queue).expect("a message");
        }
        publisher.send(3, &ack(1));
        publisher.send(3, &reject(3));
        publish_in_transaction(&mut publisher, &queue, "five");
        publisher.call(3, &method("tx.commit"));
        publisher.send(3, &ack(2));
        publisher.expect_nothing_before_sync(3);
        publisher.settle(&queue);
        node.restart();
        assert_eq!(node.peer().drain(1, &queue), ["two", "four", "five", "fence"]);
    });
}

#[test]
fn a_commit_of_transient_messages_keeps_nothing() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        transactional(&mut publisher);
        publisher.publish(3, "", &queue, "transient");
        publisher.call(3, &method("tx.commit"));
        publisher.expect_counts(2, &queue, (1, 0));
        node.restart();
        node.peer().expect_counts(1, &queue, (0, 0));
    });
}
