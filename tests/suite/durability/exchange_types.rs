//! Exchanges that hash, and those that keep messages.

use crate::durability::node::in_every_way;
use crate::durability::publisher::*;
use crate::leveret_only;
use crate::support::peer::*;
use crate::support::unique;

/// In which of the queues a message with each key is found.
#[track_caller]
fn places(peer: &mut Peer, exchange: &str, queues: &[String]) -> Vec<usize> {
    let place = |n: usize| {
        peer.publish(1, exchange, &format!("key-{n}"), "x");
        let counts = queues.iter().map(|queue| peer.call(1, &queue_purge(queue)).number("message-count"));
        let counts: Vec<u64> = counts.collect();
        assert_eq!(counts.iter().sum::<u64>(), 1, "{counts:?}");
        counts.iter().position(|count| *count == 1).expect("a queue")
    };
    (0..40).map(place).collect()
}

#[track_caller]
fn keys_stay_where_they_are(kind: &str) {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (exchange, queues) = (unique("hash"), ["c", "a", "d", "b"].map(unique));
        peer.call(1, &durable_exchange(&exchange, kind));
        for queue in &queues {
            peer.call(1, &durable_queue(queue));
        }
        // Not in the order in which they were declared.
        for (queue, weight) in queues.iter().zip(["2", "1", "1", "3"]).rev() {
            peer.call(1, &queue_bind(queue, &exchange, weight));
        }
        let before = places(&mut peer, &exchange, &queues);
        node.restart();
        assert_eq!(places(&mut node.peer(), &exchange, &queues), before);
    });
}

#[test]
fn what_is_hashed_consistently_stays_where_it_is() {
    leveret_only!("RabbitMQ 3.10 builds its buckets in another order");
    keys_stay_where_they_are("x-consistent-hash");
}

#[test]
fn what_is_hashed_by_modulus_stays_where_it_is() {
    keys_stay_where_they_are("x-modulus-hash");
}

#[test]
fn a_history_is_not_kept_but_what_was_taken_from_it_is() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let (exchange, early, late) = (unique("history"), unique("early"), unique("late"));
        publisher.call(2, &durable_exchange(&exchange, "x-recent-history"));
        publisher.publish_with(&exchange, "k", &persistent(), b"x");
        publisher.wait();
        publisher.call(2, &durable_queue(&early));
        publisher.call(2, &queue_bind(&early, &exchange, ""));
        publisher.settle(&early);
        node.restart();
        let mut peer = node.peer();
        assert_eq!(peer.drain(1, &early), ["x", "fence"]);
        peer.call(1, &durable_queue(&late));
        peer.call(1, &queue_bind(&late, &exchange, ""));
        peer.expect_counts(1, &late, (0, 0));
    });
}
