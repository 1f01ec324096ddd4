//! Consumer timeouts: a delivery that is not settled in time closes its channel.

use std::time::{Duration, Instant};

use crate::leveret_only;
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

/// The timeout of these tests, and what is too late.
const TIMEOUT_MS: u64 = 300;
const TOO_LATE: Duration = Duration::from_secs(5);

macro_rules! own_timeouts {
    () => {
        leveret_only!("RabbitMQ looks once a minute, and knows the argument of consumers from 4.3 on");
    };
}

fn timed_out(channel: u16, timeout_ms: u64) -> String {
    format!(
        "PRECONDITION_FAILED - delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} \
         ms. This timeout value can be configured, see consumers doc guide to learn more"
    )
}

fn timeout(ms: u64) -> [(&'static str, Value); 1] {
    [("x-consumer-timeout", Value::I64(ms as i64))]
}

/// A queue that outlives its channels, with these messages.
#[track_caller]
fn queue_with(peer: &mut Peer, bodies: &[&str]) -> String {
    let queue = peer.exclusive_queue(1);
    bodies.iter().for_each(|body| peer.publish(1, "", &queue, body));
    queue
}

#[track_caller]
fn expect_timeout(peer: &mut Peer, channel: u16, timeout_ms: u64) {
    peer.expect_channel_close(channel, 406, &timed_out(channel, timeout_ms), (0, 0));
    peer.open_channel(channel);
}

#[test]
fn the_channel_is_closed_and_its_messages_come_back() {
    own_timeouts!();
    let mut peer = Peer::connect();
    let queue = queue_with(&mut peer, &["a", "b"]);
    peer.open_channel(2);
    peer.call(2, &consume(&queue, "t").args(timeout(TIMEOUT_MS)));
    let delivered = Instant::now();
    peer.expect_bodies(2, &["a", "b"]);
    expect_timeout(&mut peer, 2, TIMEOUT_MS);
    let took = delivered.elapsed();
    assert!(took > Duration::from_millis(TIMEOUT_MS - 50) && took < TOO_LATE, "it took {took:?}");
    for body in ["a", "b"] {
        let message = peer.get(1, &queue).expect("a message");
        assert_eq!((message.body_text(), message.redelivered()), (body, true));
    }
    // The consumer is gone, and the connection stays.
    peer.expect_counts(1, &queue, (0, 0));
}

#[test]
fn what_is_settled_in_time_does_not_count() {
    own_timeouts!();
    let mut peer = Peer::connect();
    let queue = queue_with(&mut peer, &[]);
    peer.call(1, &consume(&queue, "t").args(timeout(TIMEOUT_MS)));
    let end = Instant::now() + Duration::from_millis(3 * TIMEOUT_MS);
    let mut rounds = 0;
    // Something is outstanding nearly all the time, nothing for long.
    while Instant::now() < end {
        peer.publish(1, "", &queue, "x");
        let rejected = peer.expect_delivery(1).tag();
        peer.send(1, &nack(rejected).on("requeue"));
        let again = peer.expect_delivery(1);
        assert!(again.redelivered());
        peer.send(1, &ack(again.tag()));
        rounds += 1;
    }
    assert!(rounds > 10);
    peer.expect_nothing_from(1, &queue);
}

#[test]
fn the_oldest_that_is_left_decides() {
    own_timeouts!();
    let mut peer = Peer::connect();
    let queue = queue_with(&mut peer, &["left", "settled"]);
    peer.call(1, &consume(&queue, "t").args(timeout(TIMEOUT_MS)));
    let delivered = Instant::now();
    let [_, settled] = peer.expect_bodies(1, &["left", "settled"]).try_into().expect("two");
    peer.send(1, &ack(settled.tag()));
    // Others come and are settled until it is time.
    let close = loop {
        peer.publish(1, "", &queue, "later");
        let reply = peer.next_method(1);
        if reply.name == "channel.close" {
            break reply;
        }
        let message = peer.expect_content(1, reply);
        peer.send(1, &ack(message.tag()));
        assert!(delivered.elapsed() < TOO_LATE, "no timeout");
    };
    assert_eq!(close_values(&close), (406, timed_out(1, TIMEOUT_MS), (0, 0)));
}

#[test]
fn each_consumer_of_a_channel_has_its_own() {
    own_timeouts!();
    let mut peer = Peer::connect();
    let (slow, fast) = (queue_with(&mut peer, &["slow"]), queue_with(&mut peer, &["fast"]));
    peer.call(1, &consume(&slow, "none").args(timeout(0)));
    peer.expect_delivery(1);
    peer.call(1, &consume(&fast, "fast").args(timeout(TIMEOUT_MS)));
    peer.expect_delivery(1);
    let other = queue_with(&mut peer, &["long"]);
    peer.call(1, &consume(&other, "long").args(timeout(3_600_000)));
    peer.expect_delivery(1);
    expect_timeout(&mut peer, 1, TIMEOUT_MS);
}

#[test]
fn other_channels_are_left_alone() {
    own_timeouts!();
    let mut peer = Peer::connect();
    let queue = queue_with(&mut peer, &["patient", "late"]);
    peer.open_channel(2);
    peer.call(2, &qos(1));
    peer.call(2, &consume(&queue, "patient"));
    let patient = peer.expect_delivery(2);
    peer.call(1, &consume(&queue, "late").args(timeout(TIMEOUT_MS)));
    peer.expect_bodies(1, &["late"]);
    expect_timeout(&mut peer, 1, TIMEOUT_MS);
    peer.send(2, &ack(patient.tag()));
    peer.expect_bodies(2, &["late"]);
}

#[test]
fn the_queue_may_say_it_and_get_counts_too() {
    own_timeouts!();
    let mut peer = Peer::connect();
    let queue = unique("timeout");
    peer.call(1, &queue_declare(&queue).on("exclusive").args(timeout(TIMEOUT_MS)));
    peer.publish(1, "", &queue, "x");
    peer.open_channel(2);
    peer.get(2, &queue).expect("the message");
    expect_timeout(&mut peer, 2, TIMEOUT_MS);
    // A consumer's own argument has precedence, and without acknowledgements there is nothing to wait for.
    peer.call(2, &consume(&queue, "own").args(timeout(2 * TIMEOUT_MS)));
    peer.expect_delivery(2);
    expect_timeout(&mut peer, 2, 2 * TIMEOUT_MS);
    peer.call(2, &consume(&queue, "plain"));
    peer.expect_delivery(2);
    expect_timeout(&mut peer, 2, TIMEOUT_MS);
}

#[test]
fn a_transaction_has_settled_what_it_holds() {
    own_timeouts!();
    let mut peer = Peer::connect();
    let queue = queue_with(&mut peer, &["acked", "rolled back"]);
    peer.open_channel(2);
    peer.call(2, &method("tx.select"));
    peer.call(2, &consume(&queue, "t").args(timeout(TIMEOUT_MS)));
    let messages = peer.expect_bodies(2, &["acked", "rolled back"]);
    peer.send(2, &ack(messages[1].tag()).on("multiple"));
    // Another channel, whose timeout is later, tells that this one has not been closed.
    let clock = queue_with(&mut peer, &["tick"]);
    peer.call(1, &consume(&clock, "clock").args(timeout(2 * TIMEOUT_MS)));
    peer.expect_delivery(1);
    expect_timeout(&mut peer, 1, 2 * TIMEOUT_MS);
    peer.expect_nothing_before_sync(2);
    peer.call(2, &method("tx.rollback"));
    peer.expect_channel_close(2, 406, &timed_out(2, TIMEOUT_MS), (0, 0));
}

#[test]
fn the_broker_may_say_it() {
    own_timeouts!();
    let broker = Broker::start(Launch::new().limit("consumer_timeout_ms", TIMEOUT_MS));
    let mut peer = Login::new().connect(broker.address);
    let queue = queue_with(&mut peer, &["x"]);
    peer.open_channel(2);
    peer.open_channel(3);
    peer.call(2, &consume(&queue, "never").args(timeout(0)));
    let held = peer.expect_delivery(2);
    peer.publish(1, "", &queue, "y");
    peer.call(2, &cancel("never"));
    peer.call(3, &method("basic.recover").on("requeue"));
    peer.consume(3, &queue, "t");
    peer.expect_delivery(3);
    expect_timeout(&mut peer, 3, TIMEOUT_MS);
    peer.send(2, &ack(held.tag()));
    peer.expect_nothing_before_sync(2);
}

#[test]
fn without_acknowledgements_nothing_times_out() {
    own_timeouts!();
    let mut peer = Peer::connect();
    let (queue, clock) = (queue_with(&mut peer, &["x"]), queue_with(&mut peer, &["tick"]));
    peer.open_channel(2);
    peer.call(2, &consume(&queue, "t").on("no-ack").args(timeout(TIMEOUT_MS)));
    peer.expect_delivery(2);
    peer.call(1, &consume(&clock, "clock").args(timeout(2 * TIMEOUT_MS)));
    peer.expect_delivery(1);
    expect_timeout(&mut peer, 1, 2 * TIMEOUT_MS);
    peer.expect_nothing_before_sync(2);
}
