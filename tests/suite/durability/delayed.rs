//! Delayed messages.

use std::time::{Duration, Instant};

use crate::durability::node::in_every_way;
use crate::durability::publisher::*;
use crate::leveret_only;
use crate::support::peer::*;
use crate::support::props::props;
use crate::support::unique;
use crate::support::wire::*;

fn delayed(delay_ms: i32) -> Vec<u8> {
    props().octet("delivery-mode", 2).headers([("x-delay", i(delay_ms))]).bytes()
}

#[test]
fn what_waits_comes_after_a_restart_when_it_is_due_and_in_order() {
    leveret_only!("the plugin is not part of it");
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let (exchange, queue) = (unique("delayed"), unique("queue"));
        let declare = durable_exchange(&exchange, "x-delayed-message");
        publisher.call(2, &declare.args([("x-delayed-type", s("fanout"))]));
        publisher.call(2, &durable_queue(&queue));
        publisher.call(2, &queue_bind(&queue, &exchange, ""));
        let published = Instant::now();
        // Some are due at once after the start, or while nobody is there.
        for delay_ms in [3000, 20, 60_000, 400, 200, 2900] {
            publisher.publish_with(&exchange, "", &delayed(delay_ms), delay_ms.to_string().as_bytes());
        }
        publisher.wait();
        node.restart();
        let mut peer = node.peer();
        peer.wait_for_counts(1, &queue, (5, 0));
        assert!(published.elapsed() >= Duration::from_millis(3000));
        assert_eq!(peer.drain(1, &queue), ["20", "200", "400", "2900", "3000"]);
    });
}

#[test]
fn the_end_of_an_exchange_is_for_ever() {
    leveret_only!("the plugin is not part of it");
    in_every_way(|node| {
        let mut publisher = node.publisher();
        let (exchange, queue) = (unique("delayed"), unique("queue"));
        publisher.call(2, &durable_queue(&queue));
        for delay_ms in [1, 2] {
            let declare = durable_exchange(&exchange, "x-delayed-message");
            publisher.call(2, &declare.args([("x-delayed-type", s("fanout"))]));
            publisher.call(2, &queue_bind(&queue, &exchange, ""));
            if delay_ms == 1 {
                publisher.publish_with(&exchange, "", &delayed(500), b"gone");
                publisher.wait();
                publisher.call(2, &exchange_delete(&exchange));
            }
        }
        node.restart();
        std::thread::sleep(Duration::from_millis(700)); // longer than the delay
        node.peer().expect_counts(1, &queue, (0, 0));
    });
}
