//! What was deleted, unbound or purged does not come back, under whatever name.

use crate::durability::node::in_every_way;
use crate::durability::publisher::*;
use crate::support::peer::*;
use crate::support::unique;

#[test]
fn deleted_queues_and_exchanges_stay_deleted() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let (exchange, queue) = (unique("x"), unique("q"));
        publisher.call(2, &durable_exchange(&exchange, "fanout"));
        publisher.call(2, &durable_queue(&queue));
        publisher.call(2, &queue_bind(&queue, &exchange, ""));
        publisher.keep(&queue, &["gone"]);
        publisher.call(2, &queue_delete(&queue));
        publisher.call(2, &exchange_delete(&exchange));
        node.restart();
        let mut peer = node.peer();
        let no_queue = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
        peer.refused(1, &queue_declare(&queue).on("passive"), 404, &no_queue);
        let no_exchange = format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'");
        peer.refused(1, &exchange_declare(&exchange, "fanout").on("passive"), 404, &no_exchange);
        assert_eq!(peer.call(1, &durable_queue(&queue)).number("message-count"), 0);
    });
}

#[test]
fn a_queue_declared_again_has_nothing_of_its_predecessor() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let (exchange, queue) = (unique("x"), unique("q"));
        publisher.call(2, &durable_exchange(&exchange, "direct"));
        for round in 0..3 {
            publisher.call(2, &durable_queue(&queue));
            publisher.call(2, &queue_bind(&queue, &exchange, &format!("key {round}")));
            publisher.keep(&queue, &["old", "older"]);
            publisher.call(2, &queue_delete(&queue));
        }
        publisher.call(2, &durable_queue(&queue));
        publisher.keep(&queue, &["new"]);
        node.restart();
        let mut peer = node.peer();
        for round in 0..3 {
            peer.publish(1, &exchange, &format!("key {round}"), "unbound");
        }
        assert_eq!(peer.drain(1, &queue), ["new"]);
    });
}

/// The same, but the new queue gets no message, so that only its own declare speaks against the old ones.
#[test]
fn a_queue_declared_again_and_left_empty_is_empty() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        publisher.keep(&queue, &["old", "older"]);
        publisher.call(2, &queue_delete(&queue));
        publisher.call(2, &durable_queue(&queue));
        node.restart();
        node.peer().expect_counts(1, &queue, (0, 0));
    });
}

#[test]
fn a_queue_declared_again_transient_is_gone_and_its_predecessor_too() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        publisher.keep(&queue, &["old"]);
        publisher.call(2, &queue_delete(&queue));
        publisher.call(2, &queue_declare(&queue));
        publisher.keep(&queue, &["newer"]);
        node.restart();
        let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
        node.peer().refused(1, &queue_declare(&queue).on("passive"), 404, &text);
    });
}

#[test]
fn a_queue_declared_again_after_a_restart_has_nothing_of_its_predecessor() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        publisher.keep(&queue, &["old"]);
        node.restart();
        let mut publisher = node.publisher();
        assert_eq!(publisher.call(2, &queue_delete(&queue)).number("message-count"), 1);
        publisher.call(2, &durable_queue(&queue));
        publisher.keep(&queue, &["new"]);
        node.restart();
        assert_eq!(node.peer().drain(1, &queue), ["new"]);
    });
}

#[test]
fn an_exchange_declared_again_has_no_bindings() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (exchange, queue) = (unique("x"), unique("q"));
        peer.call(1, &durable_queue(&queue));
        peer.call(1, &durable_exchange(&exchange, "fanout"));
        peer.call(1, &queue_bind(&queue, &exchange, ""));
        peer.call(1, &exchange_delete(&exchange));
        peer.call(1, &durable_exchange(&exchange, "fanout"));
        node.restart();
        let mut peer = node.peer();
        peer.publish(1, &exchange, "", "to nobody");
        peer.expect_nothing_before_sync(1);
        assert_eq!(peer.drain(1, &queue), [""; 0]);
        peer.call(1, &queue_bind(&queue, &exchange, ""));
        peer.publish(1, &exchange, "", "to the queue");
        assert_eq!(peer.drain(1, &queue), ["to the queue"]);
    });
}

#[test]
fn what_was_unbound_stays_unbound() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (from, to, queue) = (unique("from"), unique("to"), unique("q"));
        peer.call(1, &durable_queue(&queue));
        peer.call(1, &durable_exchange(&from, "fanout"));
        peer.call(1, &durable_exchange(&to, "fanout"));
        peer.call(1, &queue_bind(&queue, &to, ""));
        peer.call(1, &queue_bind(&queue, &from, ""));
        peer.call(1, &exchange_bind(&to, &from, ""));
        peer.call(1, &exchange_unbind(&to, &from, ""));
        peer.call(1, &queue_unbind(&queue, &from, ""));
        node.restart();
        let mut peer = node.peer();
        peer.publish(1, &from, "", "to nobody");
        peer.publish(1, &to, "", "to the queue");
        assert_eq!(peer.drain(1, &queue), ["to the queue"]);
    });
}

#[test]
fn a_purged_queue_stays_empty() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let (empty, refilled) = (unique("empty"), unique("refilled"));
        for queue in [&empty, &refilled] {
            publisher.call(2, &durable_queue(queue));
            publisher.keep(queue, &["one", "two", "three"]);
            assert_eq!(publisher.call(2, &queue_purge(queue)).number("message-count"), 3);
        }
        publisher.keep(&refilled, &["four"]);
        node.restart();
        let mut peer = node.peer();
        peer.expect_counts(1, &empty, (0, 0));
        assert_eq!(peer.drain(1, &refilled), ["four"]);
    });
}

#[test]
fn a_purge_leaves_what_is_unacknowledged() {
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let queue = unique("q");
        publisher.call(2, &durable_queue(&queue));
        publisher.keep(&queue, &["held", "purged"]);
        publisher.get(2, &queue).expect("a message");
        assert_eq!(publisher.call(2, &queue_purge(&queue)).number("message-count"), 1);
        publisher.keep(&queue, &["later"]);
        node.restart();
        assert_eq!(node.peer().drain(1, &queue), ["held", "later"]);
    });
}
