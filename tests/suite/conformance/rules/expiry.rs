//! Times to live of messages and of queues.

use std::time::{Duration, Instant};

use super::*;
use crate::support::props::props;

fn expiring(ms: &str) -> Vec<u8> {
    props().text("expiration", ms).bytes()
}

#[test]
fn a_queue_s_messages_expire_and_become_dead_letters() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "ttl", [("x-message-ttl", i(50))]);
    let started = Instant::now();
    for body in ["a", "b"] {
        peer.publish(1, "", &queue, body);
    }
    let letters = dead_letters(&mut peer, &dead, 2);
    assert!(started.elapsed() >= Duration::from_millis(50), "never early");
    assert_eq!(bodies(&letters), ["a", "b"]);
    assert_eq!(death_field(&deaths(&letters[0])[0], "reason"), &s("expired"));
    assert_eq!(peer.counts(1, &queue), (0, 0));
}

#[test]
fn the_shorter_of_the_two_times_counts() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "both", [("x-message-ttl", i(60_000))]);
    publish_with(&mut peer, &queue, &expiring("20"), "short");
    let letters = dead_letters(&mut peer, &dead, 1);
    assert_eq!(bodies(&letters), ["short"]);
    let (queue, dead) = declare_with_dead_letters(&mut peer, "both", [("x-message-ttl", i(20))]);
    publish_with(&mut peer, &queue, &expiring("60000"), "long");
    assert_eq!(bodies(&dead_letters(&mut peer, &dead, 1)), ["long"]);
}

#[test]
fn the_expiration_goes_and_is_told_in_x_death() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "told", []);
    publish_with(&mut peer, &queue, &expiring("1"), "m");
    let letters = dead_letters(&mut peer, &dead, 1);
    assert!(!props_of(&letters[0]).contains_key("expiration"));
    assert_eq!(death_field(&deaths(&letters[0])[0], "original-expiration"), &s("1"));
}

fn props_of(message: &Message) -> std::collections::BTreeMap<&'static str, Field> {
    crate::support::props::decode(&message.properties)
}

#[test]
fn what_waits_behind_another_expires_when_it_is_at_the_head() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "behind", []);
    peer.publish(1, "", &queue, "stays");
    publish_with(&mut peer, &queue, &expiring("0"), "expired");
    publish_with(&mut peer, &queue, &expiring("60000"), "lives");
    peer.expect_counts(1, &queue, (3, 0));
    let head = peer.get(1, &queue).expect("the head");
    assert_eq!((head.body_text(), head.method.number("message-count")), ("stays", 1));
    assert_eq!(bodies(&dead_letters(&mut peer, &dead, 1)), ["expired"]);
}

#[test]
fn a_time_to_live_of_0_is_for_consumers_that_wait() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "zero", [("x-message-ttl", i(0))]);
    peer.publish(1, "", &queue, "nobody");
    assert_eq!(bodies(&dead_letters(&mut peer, &dead, 1)), ["nobody"]);
    peer.consume(1, &queue, "t");
    peer.publish(1, "", &queue, "somebody");
    let delivery = peer.expect_delivery(1);
    assert_eq!(delivery.body_text(), "somebody");
    // It has no time left to be delivered once more.
    peer.send(1, &nack(delivery.tag()).on("requeue"));
    assert_eq!(bodies(&dead_letters(&mut peer, &dead, 1)), ["somebody"]);
}

#[test]
fn the_time_runs_from_the_first_enqueue_on() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "requeued", [("x-message-ttl", i(60))]);
    peer.publish(1, "", &queue, "m");
    let got = peer.get(1, &queue).expect("the message");
    std::thread::sleep(Duration::from_millis(70));
    peer.expect_counts(1, &dead, (0, 0));
    peer.send(1, &reject(got.tag()).on("requeue"));
    assert_eq!(bodies(&dead_letters(&mut peer, &dead, 1)), ["m"]);
}

#[test]
fn in_a_transaction_the_time_runs_from_the_commit() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "tx", [("x-message-ttl", i(50))]);
    peer.call(1, &method("tx.select"));
    peer.publish(1, "", &queue, "m");
    std::thread::sleep(Duration::from_millis(60));
    let committed = Instant::now();
    peer.call(1, &method("tx.commit"));
    peer.wait_for_counts(1, &dead, (1, 0));
    assert!(committed.elapsed() >= Duration::from_millis(49));
}

#[test]
fn a_purge_is_no_death() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "purged", [("x-message-ttl", i(30))]);
    peer.publish(1, "", &queue, "m");
    assert_eq!(peer.call(1, &queue_purge(&queue)).number("message-count"), 1);
    peer.publish(1, "", &queue, "later");
    assert_eq!(bodies(&dead_letters(&mut peer, &dead, 1)), ["later"]);
}

// ---- queues ----

/// How long the queues here live unused: longer than a busy machine stands still.
const LIVES: Duration = Duration::from_millis(400);

fn lives() -> (&'static str, Value) {
    ("x-expires", i(LIVES.as_millis() as i32))
}

fn wait_until_gone(peer: &mut Peer, queue: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        peer.send(2, &queue_declare(queue).on("passive"));
        let reply = peer.next_method(2);
        if reply.name == "channel.close" {
            assert_eq!(reply.number("reply-code"), 404);
            return;
        }
        // To ask is to use it: the next question has to come later than it would live.
        std::thread::sleep(LIVES + LIVES / 2);
    }
    panic!("the queue lives on");
}

#[test]
fn a_queue_that_nobody_uses_goes_without_dead_letters() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let (queue, dead) = declare_with_dead_letters(&mut peer, "unused", [lives()]);
    peer.publish(1, "", &queue, "m");
    wait_until_gone(&mut peer, &queue);
    assert_eq!(peer.counts(1, &dead), (0, 0));
}

#[test]
fn a_queue_with_a_consumer_does_not_expire() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = declare(&mut peer, "used", [lives()]);
    peer.consume(1, &queue, "t");
    std::thread::sleep(LIVES * 2);
    assert_eq!(peer.counts(1, &queue), (0, 1));
    peer.call(1, &cancel("t"));
    wait_until_gone(&mut peer, &queue);
}

#[test]
fn getting_and_declaring_are_uses() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = declare(&mut peer, "touched", [lives()]);
    let started = Instant::now();
    while started.elapsed() < LIVES * 3 {
        assert!(peer.get(1, &queue).is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    wait_until_gone(&mut peer, &queue);
}
