//! Section 1.5: transactions.

use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::unique;
use crate::support::wire::*;

/// A peer with a queue; channel 1 is transactional, channel 2 is not.
fn transactional(bodies: &[&str]) -> (Peer, String) {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(2);
    for body in bodies {
        peer.publish(2, "", &queue, body);
    }
    peer.expect_counts(2, &queue, (bodies.len() as u64, 0));
    peer.call(1, &method("tx.select"));
    (peer, queue)
}

#[test]
fn messages_are_in_their_queues_at_commit() {
    let (mut peer, queue) = transactional(&[]);
    for body in ["one", "two", "three"] {
        peer.publish(1, "", &queue, body);
    }
    peer.expect_nothing_before_sync(1);
    peer.expect_counts(2, &queue, (0, 0));
    peer.call(1, &method("tx.commit"));
    assert_eq!(peer.drain(2, &queue), ["one", "two", "three"]);
}

#[test]
fn messages_of_a_rollback_are_gone() {
    let (mut peer, queue) = transactional(&[]);
    peer.publish(1, "", &queue, "gone");
    peer.call(1, &method("tx.rollback"));
    peer.publish(1, "", &queue, "kept");
    peer.call(1, &method("tx.commit"));
    peer.call(1, &method("tx.commit"));
    assert_eq!(peer.drain(2, &queue), ["kept"]);
}

#[test]
fn select_twice_changes_nothing() {
    let (mut peer, queue) = transactional(&[]);
    peer.publish(1, "", &queue, "x");
    peer.call(1, &method("tx.select"));
    peer.expect_counts(2, &queue, (0, 0));
    peer.call(1, &method("tx.commit"));
    assert_eq!(peer.drain(2, &queue), ["x"]);
}

#[test]
fn commit_and_rollback_need_a_transaction() {
    for name in ["tx.commit", "tx.rollback"] {
        Peer::connect().refused(1, &method(name), 406, "PRECONDITION_FAILED - channel is not transactional");
    }
}

#[test]
fn acknowledgements_count_at_commit() {
    let (mut peer, queue) = transactional(&["one", "two", "three", "four"]);
    for _ in 0..4 {
        peer.get(1, &queue).expect("a message");
    }
    peer.send(1, &ack(1));
    peer.send(1, &reject(2));
    peer.send(1, &nack(3).on("requeue"));
    peer.expect_nothing_before_sync(1);
    peer.expect_counts(2, &queue, (0, 0));
    peer.call(1, &method("tx.commit"));
    peer.expect_counts(2, &queue, (1, 0));
    let message = peer.get_no_ack(2, &queue).expect("the requeued message");
    assert_eq!((message.body_text(), message.redelivered()), ("three", true));
    peer.close_channel(1);
    assert_eq!(peer.drain(2, &queue), ["four"]);
}

#[test]
fn acknowledgements_of_a_rollback_did_not_happen() {
    let (mut peer, queue) = transactional(&["one", "two"]);
    peer.get(1, &queue).expect("a message");
    peer.get(1, &queue).expect("a message");
    peer.send(1, &ack(2));
    peer.send(1, &nack(1).on("requeue"));
    peer.call(1, &method("tx.rollback"));
    peer.expect_counts(2, &queue, (0, 0)); // they stay unacknowledged, they do not come back
    peer.send(1, &ack(2).on("multiple"));
    peer.call(1, &method("tx.commit"));
    peer.close_channel(1);
    peer.expect_counts(2, &queue, (0, 0));
}

#[test]
fn a_tag_is_checked_when_it_comes_not_at_commit() {
    let (mut peer, queue) = transactional(&["one"]);
    peer.refused(1, &ack(1), 406, "PRECONDITION_FAILED - unknown delivery tag 1");
    peer.call(1, &method("tx.select"));
    peer.get(1, &queue).expect("a message");
    peer.send(1, &ack(1));
    peer.refused(1, &ack(1), 406, "PRECONDITION_FAILED - unknown delivery tag 1");
    assert_eq!(peer.drain(2, &queue), ["one"], "the acknowledgement was not committed");
}

#[test]
fn closing_a_channel_rolls_back() {
    let (mut peer, queue) = transactional(&["one"]);
    peer.get(1, &queue).expect("a message");
    peer.send(1, &ack(1));
    peer.publish(1, "", &queue, "gone");
    peer.close_channel(1);
    assert_eq!(peer.drain(2, &queue), ["one"]);
}

#[test]
fn losing_a_connection_rolls_back() {
    let (mut peer, _) = transactional(&[]);
    let queue = unique("lost");
    let mut other = Peer::connect();
    other.call(1, &queue_declare(&queue));
    other.publish(1, "", &queue, "one");
    other.expect_counts(1, &queue, (1, 0));
    peer.get(1, &queue).expect("a message");
    peer.send(1, &ack(1));
    peer.publish(1, "", &queue, "gone");
    peer.expect_nothing_before_sync(1);
    drop(peer);
    other.consume(1, &queue, "t");
    other.expect_bodies(1, &["one"]);
    other.expect_nothing_from(1, &queue);
    other.call(1, &queue_delete(&queue));
}

#[test]
fn returns_come_at_commit_before_its_answer() {
    let (mut peer, _) = transactional(&[]);
    peer.send_publish(1, &publish("", &unique("nowhere")).on("mandatory"), NONE, b"one");
    peer.send_publish(1, &publish("", &unique("nowhere")).on("mandatory"), NONE, b"two");
    peer.expect_nothing_before_sync(1);
    peer.send(1, &method("tx.commit"));
    assert_eq!(peer.expect_message(1, "basic.return").body, b"one");
    assert_eq!(peer.expect_message(1, "basic.return").body, b"two");
    peer.expect(1, "tx.commit-ok");
    peer.send_publish(1, &publish("", &unique("nowhere")).on("mandatory"), NONE, b"three");
    peer.call(1, &method("tx.rollback"));
}

#[test]
fn a_message_is_routed_when_it_is_published() {
    let (mut peer, queue) = transactional(&[]);
    let key = unique("key");
    peer.publish(1, "amq.direct", &key, "unbound");
    peer.expect_nothing_before_sync(1);
    peer.call(2, &queue_bind(&queue, "amq.direct", &key));
    peer.publish(1, "amq.direct", &key, "bound");
    peer.expect_nothing_before_sync(1);
    peer.call(2, &queue_unbind(&queue, "amq.direct", &key));
    peer.call(1, &method("tx.commit"));
    assert_eq!(peer.drain(2, &queue), ["bound"]);
}

#[test]
fn an_error_is_told_when_the_method_comes() {
    let (mut peer, queue) = transactional(&[]);
    peer.publish(1, "", &queue, "gone with the channel");
    peer.send_publish(1, &publish("no such exchange", ""), NONE, b"x");
    peer.expect_channel_close(1, 404, "NOT_FOUND - no exchange 'no such exchange' in vhost '/'", ids("basic.publish"));
    peer.open_channel(1);
    peer.expect_counts(2, &queue, (0, 0));
}

#[test]
fn other_methods_do_not_wait_for_commit() {
    let (mut peer, _) = transactional(&[]);
    let queue = peer.exclusive_queue(1);
    peer.expect_counts(2, &queue, (0, 0));
    peer.call(1, &method("tx.rollback"));
    peer.expect_counts(2, &queue, (0, 0));
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn credit_comes_back_at_commit() {
    let (mut peer, queue) = transactional(&["one", "two", "three"]);
    peer.call(1, &qos(1));
    peer.consume(1, &queue, "t");
    peer.expect_bodies(1, &["one"]);
    peer.send(1, &ack(1));
    peer.expect_nothing_from(1, &queue);
    peer.send(1, &method("tx.commit"));
    let mut names = Vec::new();
    for _ in 0..2 {
        let reply = peer.next_method(1);
        names.push(reply.name);
        if reply.name == "basic.deliver" {
            assert_eq!(peer.expect_content(1, reply).body, b"two");
        }
    }
    names.sort_unstable();
    assert_eq!(names, ["basic.deliver", "tx.commit-ok"]);
}

#[test]
fn a_message_that_is_refused_at_commit() {
    let (mut peer, _) = transactional(&[]);
    let queue = unique("full");
    peer.call(
        2,
        &queue_declare(&queue).on("exclusive").args([("x-max-length", i(1)), ("x-overflow", s("reject-publish"))]),
    );
    peer.publish(1, "", &queue, "fits");
    peer.publish(1, "", &queue, "does not");
    peer.refused(1, &method("tx.commit"), 406, "PRECONDITION_FAILED - partial tx completion");
    assert_eq!(peer.drain(2, &queue), ["fits"]);
}
