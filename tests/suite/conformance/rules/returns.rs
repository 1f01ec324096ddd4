//! Delivery limits: how often a message may come back.

use super::*;

/// Gets the message and requeues it: its redelivered flag and `x-delivery-count`.
fn bounce(peer: &mut Peer, queue: &str) -> (bool, Option<Value>) {
    let got = peer.get(1, queue).expect("the message");
    peer.send(1, &nack(got.tag()).on("requeue"));
    let count = got.headers().into_iter().find(|(name, _)| name == "x-delivery-count").map(|(_, value)| value);
    (got.redelivered(), count)
}

fn is_delivered_until_the_limit(kind: &str) {
    let mut peer = Peer::connect();
    let dead = declare(&mut peer, "dead", []);
    let queue = unique(kind);
    let arguments = [
        ("x-queue-type", s(kind)),
        ("x-delivery-limit", i(2)),
        ("x-dead-letter-exchange", s("")),
        ("x-dead-letter-routing-key", s(&dead)),
    ];
    peer.call(1, &queue_declare(&queue).on("durable").args(arguments));
    peer.publish(1, "", &queue, "m");
    let bounces: Vec<_> = (0..3).map(|_| bounce(&mut peer, &queue)).collect();
    let count = |n| Some(Value::I64(n));
    assert_eq!(bounces, [(false, None), (true, count(1)), (true, count(2))]);
    let letters = dead_letters(&mut peer, &dead, 1);
    assert_eq!(death_field(&deaths(&letters[0])[0], "reason"), &s("delivery_limit"));
    assert!(letters[0].headers().iter().all(|(name, _)| name != "x-delivery-count"));
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn a_message_is_delivered_once_more_than_the_limit_says() {
    is_delivered_until_the_limit("quorum");
}

#[test]
fn classic_queues_count_where_they_have_a_limit() {
    is_delivered_until_the_limit("classic");
}

#[test]
fn a_channel_that_closes_counts_as_a_return() {
    let mut peer = Peer::connect();
    let queue = unique("closes");
    peer.call(1, &queue_declare(&queue).on("durable").args([("x-queue-type", s("quorum"))]));
    peer.publish(1, "", &queue, "m");
    peer.open_channel(2);
    peer.get(2, &queue).expect("the message");
    peer.close_channel(2);
    assert_eq!(bounce(&mut peer, &queue), (true, Some(Value::I64(1))));
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn quorum_queues_give_up_after_twenty_returns() {
    let mut peer = Peer::connect();
    let queue = unique("twenty");
    peer.call(1, &queue_declare(&queue).on("durable").args([("x-queue-type", s("quorum"))]));
    peer.publish(1, "", &queue, "m");
    for _ in 0..21 {
        bounce(&mut peer, &queue);
    }
    assert!(peer.get(1, &queue).is_none());
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn classic_queues_without_a_limit_do_not_count() {
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "uncounted", []);
    peer.publish(1, "", &queue, "m");
    for _ in 0..30 {
        assert_eq!(bounce(&mut peer, &queue).1, None);
    }
}
