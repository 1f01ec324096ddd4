//! The broker works in runs of messages; clients must see single ones. A test for each way to get it wrong.
//!
//! Everything is sent in one write, so that it arrives as one batch.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::leveret_only;
use crate::support::broker::under_test_is_foreign;
use crate::support::peer::*;
use crate::support::props::{NONE, headers, props};
use crate::support::unique;
use crate::support::wire::*;

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

// ---- order ----

#[test]
fn a_queue_of_several_routes_keeps_the_order_of_the_channel() {
    let mut peer = Peer::connect();
    let (both, only_a) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    let (key_a, key_b) = (unique("a"), unique("b"));
    peer.call(1, &queue_bind(&both, "amq.direct", &key_a));
    peer.call(1, &queue_bind(&both, "amq.topic", &key_b));
    peer.call(1, &queue_bind(&only_a, "amq.direct", &key_a));
    let routes = [("amq.direct", key_a.as_str()), ("amq.topic", &key_b), ("", &both), ("amq.direct", "nowhere")];
    let message = |n: usize| (routes[n % 4].0, routes[n % 4].1, n.to_string());
    peer.send_raw(&burst((0..1000).map(message)));
    let all: Vec<String> = (0..1000).filter(|n| n % 4 != 3).map(|n| n.to_string()).collect();
    let some: Vec<String> = (0..1000).filter(|n| n % 4 == 0).map(|n| n.to_string()).collect();
    assert_eq!(peer.drain(1, &both), all);
    assert_eq!(peer.drain(1, &only_a), some);
}

#[test]
fn channels_of_one_connection_keep_their_own_order_in_a_shared_queue() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for channel in 2..5 {
        peer.open_channel(channel);
    }
    let mut bytes = Vec::new();
    for n in 0..300u16 {
        let channel = 2 + n % 3;
        bytes.extend(publish_frames(channel, &publish("", &queue), NONE, format!("{channel}:{n}").as_bytes()));
    }
    peer.send_raw(&bytes);
    peer.expect_counts(1, &queue, (300, 0));
    let mut by_channel: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for body in peer.drain(1, &queue) {
        let (channel, number) = body.split_once(':').expect("two numbers");
        by_channel.entry(channel.to_owned()).or_default().push(number.parse().expect("a number"));
    }
    assert_eq!(by_channel.len(), 3);
    assert!(by_channel.values().all(|numbers| numbers.len() == 100 && numbers.is_sorted()));
}

#[test]
fn sizes_and_properties_that_change_do_not_change_the_order() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let mut expected = Vec::new();
    let mut bytes = Vec::new();
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    for n in 0..400u32 {
        let size = [0, 1, 16, 1000, 40_000][random.random_range(0..5)];
        let properties = match random.random_range(0..4) {
            0 => NONE.to_vec(),
            1 => props().octet("delivery-mode", 2).bytes(),
            2 => headers([("n", i(n as i32))]),
            _ => props().octet("priority", n as u8).text("type", &"t".repeat(random.random_range(0..200))).bytes(),
        };
        let body: Vec<u8> = n.to_be_bytes().into_iter().chain(std::iter::repeat_n(n as u8, size)).collect();
        bytes.extend(publish_frames(1, &publish("", &queue), &properties, &body));
        expected.push((properties, body));
    }
    peer.send_raw(&bytes);
    for (properties, body) in expected {
        let message = peer.get_no_ack(1, &queue).expect("a message");
        assert!(message.properties == properties && message.body == body);
    }
}

// ---- before any other method ----

#[test]
fn what_was_published_is_in_the_queue_before_the_next_method() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let three = || burst(numbers(0..3).into_iter().map(|n| ("", queue.as_str(), n)));

    let mut bytes = three();
    bytes.extend(method_frame(1, &get(&queue).on("no-ack")));
    bytes.extend(method_frame(1, &queue_purge(&queue)));
    peer.send_raw(&bytes);
    assert_eq!(peer.expect_message(1, "basic.get-ok").body, b"0");
    assert_eq!(peer.expect(1, "queue.purge-ok").number("message-count"), 2);

    let mut bytes = three();
    bytes.extend(method_frame(1, &queue_delete(&queue)));
    bytes.extend(publish_frames(1, &publish("", &queue).on("mandatory"), NONE, b"too late"));
    peer.send_raw(&bytes);
    assert_eq!(peer.expect(1, "queue.delete-ok").number("message-count"), 3);
    peer.expect_message(1, "basic.return");
}

#[test]
fn what_was_published_is_counted_by_the_next_method() {
    leveret_only!("RabbitMQ counts ahead of messages that it has still to enqueue");
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.open_channel(2);
    for count in 1..=20 {
        let mut bytes = burst([("", queue.as_str(), "x".to_owned())]);
        // The rule is for the connection, not only for the channel.
        bytes.extend(method_frame(2, &queue_declare(&queue).on("passive")));
        peer.send_raw(&bytes);
        assert_eq!(peer.expect(2, "queue.declare-ok").number("message-count"), count);
    }
}

#[test]
fn bindings_change_between_two_messages_of_a_burst() {
    let mut peer = Peer::connect();
    let (one, two) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    let key = unique("key");
    let mut bytes = Vec::new();
    for n in 0..20 {
        let (to, from) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        bytes.extend(method_frame(1, &queue_bind(to, "amq.direct", &key)));
        bytes.extend(method_frame(1, &queue_unbind(from, "amq.direct", &key)));
        bytes.extend(burst((0..10).map(|m| ("amq.direct", key.as_str(), format!("{n}.{m}")))));
    }
    peer.send_raw(&bytes);
    for _ in 0..20 {
        peer.expect(1, "queue.bind-ok");
        peer.expect(1, "queue.unbind-ok");
    }
    for (queue, parity) in [(one, 0), (two, 1)] {
        let expected: Vec<String> =
            (0..20).filter(|n| n % 2 == parity).flat_map(|n| (0..10).map(move |m| format!("{n}.{m}"))).collect();
        assert_eq!(peer.drain(1, &queue), expected);
    }
}

/// A route that was right a moment ago must not be used when another connection has changed it.
#[test]
fn a_known_route_follows_changes_by_others() {
    let (mut peer, mut other) = (Peer::connect(), Peer::connect());
    let (exchange, next) = (unique("exchange"), unique("next"));
    peer.call(1, &exchange_declare(&exchange, "direct"));
    peer.call(1, &exchange_declare(&next, "fanout"));
    let queue = unique("queue");
    for round in 0..5 {
        peer.send_publish(1, &publish(&exchange, "k").on("mandatory"), NONE, b"no route");
        peer.expect_message(1, "basic.return");
        other.call(1, &queue_declare(&queue));
        other.call(1, &exchange_bind(&next, &exchange, "k"));
        other.call(1, &queue_bind(&queue, &next, ""));
        peer.publish(1, &exchange, "k", &round.to_string());
        peer.expect_counts(1, &queue, (1, 0));
        assert_eq!(other.drain(1, &queue), [round.to_string()]);
        match round % 3 {
            0 => other.call(1, &queue_unbind(&queue, &next, "")),
            1 => other.call(1, &exchange_unbind(&next, &exchange, "k")),
            _ => other.call(1, &queue_delete(&queue)),
        };
    }
    other.call(1, &queue_delete(&queue));
    peer.send_publish(1, &publish("", &queue).on("mandatory"), NONE, b"deleted by another");
    peer.expect_message(1, "basic.return");
    peer.call(1, &exchange_delete(&exchange));
    peer.call(1, &exchange_delete(&next));
}

#[test]
fn a_queue_deleted_and_declared_again_by_another_is_the_new_one() {
    let (mut peer, mut other) = (Peer::connect(), Peer::connect());
    let queue = unique("again");
    for round in 0..10 {
        other.call(1, &queue_declare(&queue));
        peer.publish(1, "", &queue, &round.to_string());
        peer.expect_counts(1, &queue, (1, 0));
        assert_eq!(other.call(1, &queue_delete(&queue)).number("message-count"), 1);
    }
}

// ---- refusals in the middle of a burst ----

#[test]
fn a_refused_message_of_a_burst_ends_its_channel_there() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(2);
    let bad: [(Method, Vec<u8>, u64); 4] = [
        (publish("no such exchange", ""), NONE.to_vec(), 404),
        (publish("amq.rabbitmq.trace", ""), NONE.to_vec(), 403),
        (publish("", &queue), props().text("expiration", "x").bytes(), 406),
        (publish("", &queue), props().text("user-id", "x").bytes(), 406),
    ];
    for (publish_bad, properties, code) in bad {
        let mut bytes = burst(numbers(0..50).into_iter().map(|n| ("", queue.as_str(), n)));
        bytes.extend(publish_frames(1, &publish_bad, &properties, b"refused"));
        bytes.extend(burst(numbers(50..100).into_iter().map(|n| ("", queue.as_str(), n))));
        peer.send_raw(&bytes);
        assert_eq!(peer.expect(1, "channel.close").number("reply-code"), code);
        peer.send(1, &method("channel.close-ok"));
        peer.open_channel(1);
        assert_eq!(peer.drain(2, &queue), numbers(0..50));
    }
}

// ---- round robin ----

#[test]
fn two_consumers_share_ten_messages_five_and_five() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.open_channel(2);
    for no_ack in [false, true] {
        peer.call(1, &consume(&queue, "a").bit("no-ack", no_ack));
        peer.call(2, &consume(&queue, "b").bit("no-ack", no_ack));
        peer.send_raw(&burst(numbers(0..10).into_iter().map(|n| ("", queue.as_str(), n))));
        peer.expect_bodies(1, &["0", "2", "4", "6", "8"]);
        peer.expect_bodies(2, &["1", "3", "5", "7", "9"]);
        peer.send(1, &ack(0).on("multiple"));
        peer.send(2, &ack(0).on("multiple"));
        peer.call(1, &cancel("a"));
        peer.call(2, &cancel("b"));
    }
}

#[test]
fn no_consumer_starves_while_there_is_a_long_backlog() {
    let queue = unique("backlog");
    let mut publisher = Peer::connect();
    publisher.call(1, &queue_declare(&queue).on("auto-delete"));
    let total = 20_000;
    publisher.send_raw(&burst(numbers(0..total).into_iter().map(|n| ("", queue.as_str(), n))));
    publisher.expect_counts(1, &queue, (total, 0));
    // With a window each, so that the first cannot take everything before the second is there.
    let mut consumers = [Peer::connect(), Peer::connect()];
    for consumer in &mut consumers {
        consumer.call(1, &qos(100));
        consumer.consume(1, &queue, "t");
    }
    let mut last: u64 = 0;
    for _ in 0..50 {
        for consumer in &mut consumers {
            let deliveries: Vec<u64> =
                (0..100).map(|_| consumer.expect_delivery(1).body_text().parse().expect("a number")).collect();
            assert!(deliveries.is_sorted(), "a consumer sees the order of the queue");
            last = last.max(deliveries[99]);
            consumer.send(1, &ack(0).on("multiple"));
        }
    }
    assert!(last < total, "{last}");
}

// ---- credit ----

#[test]
fn consumers_with_different_credit_get_what_they_may_of_one_burst() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let limits = [1u16, 3, 10];
    for limit in limits {
        peer.call(1, &qos(limit));
        peer.consume(1, &queue, &limit.to_string());
    }
    peer.send_raw(&burst(numbers(0..100).into_iter().map(|n| ("", queue.as_str(), n))));
    let mut counts: BTreeMap<String, u16> = BTreeMap::new();
    for n in 0..14 {
        let delivery = peer.expect_delivery(1);
        assert_eq!(delivery.body_text(), n.to_string());
        *counts.entry(delivery.consumer().to_owned()).or_default() += 1;
    }
    assert!(limits.iter().all(|limit| counts[&limit.to_string()] == *limit), "{counts:?}");
    peer.expect_nothing_from(1, &queue);
    peer.expect_counts(1, &queue, (86, 3));
}

#[test]
fn credit_of_a_channel_is_shared_fairly_by_its_queues() {
    let mut peer = Peer::connect();
    let (busy, quiet) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    peer.call(1, &qos(1).on("global"));
    peer.consume(1, &busy, "busy");
    peer.consume(1, &quiet, "quiet");
    peer.send_raw(&burst(numbers(0..200).into_iter().map(|n| ("", busy.as_str(), n))));
    let mut delivery = peer.expect_delivery(1);
    peer.publish(1, "", &quiet, "waiting");
    peer.expect_nothing_from(1, &quiet);
    for turn in 0.. {
        assert!(turn < 100, "the quiet queue never gets its turn");
        peer.send(1, &ack(delivery.tag()));
        delivery = peer.expect_delivery(1);
        if delivery.consumer() == "quiet" {
            break;
        }
    }
    assert_eq!(delivery.body, b"waiting");
}

// ---- going back ----

#[test]
fn everything_goes_back_to_its_place_however_it_was_lost() {
    let ways: [fn(&mut Peer); 3] = [
        |peer| {
            peer.call(1, &cancel("t"));
            peer.send(1, &nack(0).on("multiple").on("requeue"));
        },
        |peer| peer.close_channel(1),
        |peer| {
            peer.call(1, &method("basic.recover").on("requeue"));
        },
    ];
    for (at, way) in ways.iter().enumerate() {
        let queue = unique("back");
        let mut publisher = Peer::connect();
        publisher.call(1, &queue_declare(&queue));
        publisher.send_raw(&burst(numbers(0..50).into_iter().map(|n| ("", queue.as_str(), n))));
        publisher.expect_counts(1, &queue, (50, 0));
        let mut peer = Peer::connect();
        let seen = if at == 2 { 20 } else { 23 };
        if at == 2 {
            for _ in 0..20 {
                peer.get(1, &queue).expect("a message");
            }
        } else {
            peer.call(1, &qos(20));
            peer.consume(1, &queue, "t");
            for _ in 0..20 {
                peer.expect_delivery(1);
            }
        }
        for tag in [4, 9, 14] {
            peer.send(1, &ack(tag));
        }
        for _ in 20..seen {
            peer.expect_delivery(1);
        }
        way(&mut peer);
        publisher.wait_for_counts(1, &queue, (47, 0));
        for n in (0..50).filter(|n| ![3, 8, 13].contains(n)) {
            let message = publisher.get_no_ack(1, &queue).expect("a message");
            assert_eq!((message.body_text(), message.redelivered()), (n.to_string().as_str(), n < seen));
        }
        publisher.call(1, &queue_delete(&queue));
    }
}

/// A consumer that reads nothing and vanishes: what it may have seen comes back marked, what it can not have
/// seen comes back unmarked, all of it in order.
#[test]
fn what_was_assigned_but_not_sent_goes_back_unmarked() {
    let queue = unique("unsent");
    let mut publisher = Peer::connect();
    publisher.call(1, &queue_declare(&queue));
    let count = 400;
    for n in 0..count {
        let mut body = vec![0; 128 * 1024];
        body[..4].copy_from_slice(&u32::to_be_bytes(n));
        publisher.send_publish(1, &publish("", &queue), NONE, &body);
    }
    publisher.expect_counts(1, &queue, (u64::from(count), 0));
    let mut peer = Peer::connect();
    peer.consume(1, &queue, "t");
    assert_eq!(peer.expect_delivery(1).body[..4], [0; 4]);
    drop(peer);
    publisher.wait_for_counts(1, &queue, (u64::from(count), 0));
    publisher.consume(1, &queue, "t");
    let mut marks = Vec::new();
    for n in 0..count {
        let delivery = publisher.expect_delivery(1);
        assert_eq!(delivery.body[..4], u32::to_be_bytes(n));
        publisher.send(1, &ack(delivery.tag()));
        marks.push(delivery.redelivered());
    }
    assert!(marks[0], "the first was seen");
    if !under_test_is_foreign() {
        assert!(!marks[count as usize - 1], "the last can not have been sent");
    }
    assert!(marks.is_sorted_by(|one, other| one >= other), "marked up to a point, unmarked behind it");
    publisher.call(1, &queue_delete(&queue));
}

#[test]
fn what_goes_back_is_served_before_what_was_not_yet_assigned() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for channel in [2, 3] {
        peer.open_channel(channel);
    }
    peer.send_raw(&burst(numbers(0..20).into_iter().map(|n| ("", queue.as_str(), n))));
    peer.call(2, &qos(10));
    peer.consume(2, &queue, "first");
    for _ in 0..10 {
        peer.expect_delivery(2);
    }
    peer.call(3, &qos(1));
    peer.consume(3, &queue, "second");
    assert_eq!(peer.expect_delivery(3).body, b"10");
    peer.close_channel(2);
    let mut tag = 1;
    for n in (0..10).chain(11..20) {
        peer.send(3, &ack(tag));
        let delivery = peer.expect_delivery(3);
        assert_eq!((delivery.body_text(), delivery.redelivered()), (n.to_string().as_str(), n < 10));
        tag = delivery.tag();
    }
}

#[test]
fn a_cancel_in_the_middle_of_a_burst_leaves_every_message_in_one_place() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let mut next = 0;
    for round in 0..50 {
        let numbers = numbers(next..next + 40);
        next += 40;
        peer.call(1, &consume(&queue, "t").bit("no-ack", round % 2 == 0));
        let mut bytes = burst(numbers[..20].iter().map(|n| ("", queue.as_str(), n.clone())));
        bytes.extend(method_frame(1, &cancel("t")));
        bytes.extend(burst(numbers[20..].iter().map(|n| ("", queue.as_str(), n.clone()))));
        peer.send_raw(&bytes);
        let mut found = Vec::new();
        loop {
            let reply = peer.next_method(1);
            if reply.name == "basic.cancel-ok" {
                break;
            }
            found.push(peer.expect_content(1, reply).body_text().to_owned());
        }
        peer.send(1, &ack(0).on("multiple"));
        found.extend(peer.drain(1, &queue));
        assert_eq!(found, numbers);
    }
}

#[test]
fn a_channel_settles_several_queues_at_once() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queues: Vec<String> = (0..3).map(|_| peer.exclusive_queue(1)).collect();
    peer.send_raw(&burst((0..90).map(|n| ("", queues[n % 3].as_str(), n.to_string()))));
    for queue in &queues {
        peer.expect_counts(1, queue, (30, 0));
    }
    // Delivered in turns, so that neighbouring tags belong to different queues.
    for n in 0..60 {
        assert_eq!(peer.get(2, &queues[n % 3]).expect("a message").body_text(), n.to_string());
    }
    peer.send(2, &ack(21).on("multiple"));
    peer.send(2, &nack(40).on("multiple").on("requeue"));
    peer.send(2, &nack(45).on("multiple"));
    peer.close_channel(2);
    for (at, queue) in queues.iter().enumerate() {
        let left = (0..90).filter(|n| n % 3 == at).filter(|n| *n >= 21 && !(40..45).contains(n));
        assert_eq!(peer.drain(1, queue), left.map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

// ---- settling in any order ----

/// Random settlements of a long run against a list of what must be left.
#[test]
fn settlements_in_random_order() {
    let seed: u64 = rand::rng().random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let count = 1000;
    peer.send_raw(&burst(numbers(0..count).into_iter().map(|n| ("", queue.as_str(), n))));
    peer.open_channel(2);
    peer.consume(2, &queue, "t");
    for n in 0..count {
        assert_eq!(peer.expect_delivery(2).body_text(), n.to_string());
    }
    peer.call(2, &cancel("t"));
    let mut tags: Vec<u64> = (1..=count).collect();
    tags.shuffle(&mut random);
    let mut left: Vec<u64> = (0..count).collect(); // the numbers that are in the queue at the end
    let mut outstanding: Vec<u64> = (1..=count).collect();
    let mut bytes = Vec::new();
    for tag in tags.into_iter().take(700) {
        if !outstanding.contains(&tag) {
            continue;
        }
        let multiple = random.random_ratio(1, 100);
        let settled = |other: &u64| *other == tag || multiple && *other < tag;
        let affected: Vec<u64> = outstanding.iter().copied().filter(settled).collect();
        outstanding.retain(|other| !settled(other));
        let requeue = random.random_ratio(1, 3);
        let settle = if requeue { nack(tag).on("requeue") } else { ack(tag) };
        bytes.extend(method_frame(2, &settle.bit("multiple", multiple)));
        if !requeue {
            left.retain(|number| !affected.contains(&(number + 1)));
        }
    }
    peer.send_raw(&bytes);
    peer.close_channel(2);
    let left: Vec<String> = left.iter().map(u64::to_string).collect();
    assert_eq!(peer.drain(1, &queue), left);
}

// ---- the middle of a run ----

#[test]
fn gets_and_purges_take_exactly_their_count_out_of_a_run() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.send_raw(&burst(numbers(0..100).into_iter().map(|n| ("", queue.as_str(), n))));
    for n in 0..3 {
        let message = peer.get(1, &queue).expect("a message");
        assert_eq!((message.body_text(), message.method.number("message-count")), (n.to_string().as_str(), 99 - n));
    }
    peer.call(1, &qos(2));
    peer.consume(1, &queue, "t");
    peer.expect_bodies(1, &["3", "4"]);
    peer.send(1, &nack(2).on("requeue")); // it has no credit to come back to
    assert_eq!(peer.get_no_ack(1, &queue).expect("the one that went back").body, b"1");
    assert_eq!(peer.call(1, &queue_purge(&queue)).number("message-count"), 95);
    peer.send(1, &nack(0).on("multiple").on("requeue"));
    let back: Vec<String> = (0..2).map(|_| peer.expect_delivery(1).body_text().to_owned()).collect();
    assert_eq!(back, ["0", "2"]);
    peer.expect_counts(1, &queue, (2, 1));
}

#[test]
fn a_full_queue_drops_exactly_its_surplus() {
    let mut peer = Peer::connect();
    let queue = unique("full");
    peer.call(1, &queue_declare(&queue).on("exclusive").args([("x-max-length", i(10))]));
    peer.send_raw(&burst(numbers(0..103).into_iter().map(|n| ("", queue.as_str(), n))));
    peer.expect_counts(1, &queue, (10, 0));
    assert_eq!(peer.drain(1, &queue), numbers(93..103));
}

#[test]
fn the_priority_of_a_message_is_its_own() {
    let mut peer = Peer::connect();
    let queue = unique("priorities");
    peer.call(1, &queue_declare(&queue).on("exclusive").args([("x-max-priority", i(5))]));
    let mut bytes = Vec::new();
    for n in 0..12u8 {
        let properties = props().octet("priority", n % 6).bytes();
        bytes.extend(publish_frames(1, &publish("", &queue), &properties, n.to_string().as_bytes()));
    }
    peer.send_raw(&bytes);
    peer.expect_counts(1, &queue, (12, 0));
    assert_eq!(peer.drain(1, &queue), ["5", "11", "4", "10", "3", "9", "2", "8", "1", "7", "0", "6"]);
}

/// The third message of a run expires, the first does not; and nothing expires behind a head that stays.
#[test]
fn the_expiration_of_a_message_is_its_own() {
    let mut peer = Peer::connect();
    let queue = unique("expiring");
    let dead = peer.exclusive_queue(1);
    peer.call(
        1,
        &queue_declare(&queue)
            .on("exclusive")
            .args([("x-dead-letter-exchange", s("")), ("x-dead-letter-routing-key", s(&dead))]),
    );
    let mut bytes = Vec::new();
    for (body, expiration) in [("1", None), ("2", Some("600000")), ("3", Some("1")), ("4", None), ("5", Some("1"))] {
        let properties = expiration.map_or(props(), |ttl| props().text("expiration", ttl));
        bytes.extend(publish_frames(1, &publish("", &queue), &properties.bytes(), body.as_bytes()));
    }
    peer.send_raw(&bytes);
    assert_eq!(peer.get_no_ack(1, &queue).expect("a message").body, b"1");
    assert_eq!(peer.get_no_ack(1, &queue).expect("a message").body, b"2");
    peer.call(1, &consume(&dead, "dead").on("no-ack"));
    assert_eq!(peer.expect_delivery(1).body, b"3", "now it is at the head");
    assert_eq!(peer.get_no_ack(1, &queue).expect("a message").body, b"4");
    assert_eq!(peer.expect_delivery(1).body, b"5");
    peer.expect_counts(1, &queue, (0, 0));
}

#[test]
fn copies_belong_to_their_message_alone() {
    let mut peer = Peer::connect();
    let (queue, copies) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    let mut bytes = Vec::new();
    for n in 0..30 {
        let properties = if n % 10 == 3 { headers([("CC", Value::Array(vec![s(&copies)]))]) } else { NONE.to_vec() };
        bytes.extend(publish_frames(1, &publish("", &queue), &properties, n.to_string().as_bytes()));
    }
    peer.send_raw(&bytes);
    assert_eq!(peer.drain(1, &queue), numbers(0..30));
    assert_eq!(peer.drain(1, &copies), ["3", "13", "23"]);
}

#[test]
fn mandatory_belongs_to_its_message_alone() {
    let mut peer = Peer::connect();
    let nowhere = unique("nowhere");
    let mut bytes = Vec::new();
    for n in 0..30 {
        let publish = publish("", &nowhere).bit("mandatory", n % 10 == 3);
        bytes.extend(publish_frames(1, &publish, NONE, n.to_string().as_bytes()));
    }
    peer.send_raw(&bytes);
    for body in ["3", "13", "23"] {
        assert_eq!(peer.expect_message(1, "basic.return").body_text(), body);
    }
    peer.expect_nothing_before_sync(1);
}
