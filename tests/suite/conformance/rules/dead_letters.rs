//! Dead letters: where they go, and what they tell.

use super::*;
use crate::support::props::{self, props};

fn rejected(peer: &mut Peer, queue: &str) {
    let got = peer.get(1, queue).expect("a message to reject");
    peer.send(1, &reject(got.tag()));
}

#[test]
fn the_table_of_a_death() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "table", []);
    peer.publish(1, "", &queue, "m");
    rejected(&mut peer, &queue);
    let letter = dead_letters(&mut peer, &dead, 1).remove(0);
    assert_eq!((letter.method.text("exchange"), letter.method.text("routing-key")), ("", dead.as_str()));
    assert!(!letter.redelivered());
    let death = &deaths(&letter)[0];
    assert_eq!(death_field(death, "count"), &Value::I64(1));
    assert_eq!(death_field(death, "reason"), &s("rejected"));
    assert_eq!(death_field(death, "queue"), &s(&queue));
    assert_eq!(death_field(death, "exchange"), &s(""));
    assert_eq!(death_field(death, "routing-keys"), &Value::Array(vec![s(&queue)]));
    assert!(matches!(death_field(death, "time"), Value::Time(_)));
    let headers = letter.headers();
    for (name, value) in [("reason", "rejected"), ("queue", queue.as_str()), ("exchange", "")] {
        assert_eq!(lookup(&headers, &format!("x-first-death-{name}")), &s(value));
    }
}

#[test]
fn the_same_death_again_counts_and_the_latest_comes_first() {
    let mut peer = Peer::connect();
    let first = unique("first");
    let second =
        declare(&mut peer, "second", [("x-dead-letter-exchange", s("")), ("x-dead-letter-routing-key", s(&first))]);
    let arguments = [("x-dead-letter-exchange", s("")), ("x-dead-letter-routing-key", s(&second))];
    peer.call(1, &queue_declare(&first).on("exclusive").args(arguments));
    peer.publish(1, "", &first, "m");
    for queue in [&first, &second, &first] {
        peer.wait_for_counts(1, queue, (1, 0));
        rejected(&mut peer, queue);
    }
    peer.wait_for_counts(1, &second, (1, 0));
    let letter = peer.get(1, &second).expect("the message");
    let told: Vec<_> =
        deaths(&letter).iter().map(|d| (death_field(d, "queue").clone(), death_field(d, "count").clone())).collect();
    assert_eq!(told, [(s(&first), Value::I64(2)), (s(&second), Value::I64(1))]);
    assert_eq!(lookup(&letter.headers(), "x-first-death-queue"), &s(&first));
}

#[test]
fn without_a_key_of_its_own_it_goes_by_the_old_ones() {
    let mut peer = Peer::connect();
    let exchange = unique("dlx");
    peer.call(1, &exchange_declare(&exchange, "direct").on("auto-delete"));
    let queue = declare(&mut peer, "old-keys", [("x-dead-letter-exchange", s(&exchange))]);
    let (by_key, by_cc) = (declare(&mut peer, "by-key", []), declare(&mut peer, "by-cc", []));
    peer.call(1, &queue_bind(&by_key, &exchange, &queue));
    peer.call(1, &queue_bind(&by_cc, &exchange, "copy"));
    let properties = props::headers([("CC", Value::Array(vec![s("copy")]))]);
    publish_with(&mut peer, &queue, &properties, "m");
    rejected(&mut peer, &queue);
    for dead in [&by_key, &by_cc] {
        let letter = dead_letters(&mut peer, dead, 1).remove(0);
        assert_eq!(letter.method.text("routing-key"), queue);
        assert_eq!(death_field(&deaths(&letter)[0], "routing-keys"), &Value::Array(vec![s(&queue), s("copy")]));
    }
}

#[test]
fn a_missing_exchange_swallows_and_a_later_one_works() {
    let mut peer = Peer::connect();
    let exchange = unique("later");
    let queue = declare(&mut peer, "missing", [("x-dead-letter-exchange", s(&exchange))]);
    peer.publish(1, "", &queue, "lost");
    rejected(&mut peer, &queue);
    after_all_before(&mut peer);
    let dead = declare(&mut peer, "dead", []);
    peer.call(1, &exchange_declare(&exchange, "fanout").on("auto-delete"));
    peer.call(1, &queue_bind(&dead, &exchange, ""));
    peer.publish(1, "", &queue, "found");
    rejected(&mut peer, &queue);
    assert_eq!(bodies(&dead_letters(&mut peer, &dead, 1)), ["found"]);
}

/// Waits until a dead letter has arrived that died now: those that died before have gone where they go.
fn after_all_before(peer: &mut Peer) {
    let (queue, dead) = declare_with_dead_letters(peer, "last", []);
    peer.publish(1, "", &queue, "last");
    rejected(peer, &queue);
    peer.wait_for_counts(1, &dead, (1, 0));
}

#[test]
fn a_circle_without_a_rejection_ends() {
    let mut peer = Peer::connect();
    let queue = unique("circle");
    let arguments =
        [("x-message-ttl", i(20)), ("x-dead-letter-exchange", s("")), ("x-dead-letter-routing-key", s(&queue))];
    peer.call(1, &queue_declare(&queue).on("exclusive").args(arguments));
    peer.publish(1, "", &queue, "m");
    peer.wait_for_counts(1, &queue, (0, 0));
    after_all_before(&mut peer);
    assert_eq!(peer.counts(1, &queue), (0, 0), "it has not come back");
}

#[test]
fn a_circle_with_a_rejection_goes_on() {
    let mut peer = Peer::connect();
    let queue = unique("round");
    let arguments = [("x-dead-letter-exchange", s("")), ("x-dead-letter-routing-key", s(&queue))];
    peer.call(1, &queue_declare(&queue).on("exclusive").args(arguments));
    peer.publish(1, "", &queue, "m");
    for count in 1..4 {
        rejected(&mut peer, &queue);
        peer.wait_for_counts(1, &queue, (1, 0));
        let again = peer.get(1, &queue).expect("it is back");
        assert_eq!(death_field(&deaths(&again)[0], "count"), &Value::I64(count));
        peer.send(1, &nack(again.tag()).on("requeue"));
    }
}

#[test]
fn what_a_client_says_of_deaths_does_not_count() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "claimed", []);
    let claim = table([("queue", s(&dead)), ("reason", s("expired")), ("count", Value::I64(7))]);
    let properties = props::headers([("x-death", Value::Array(vec![Value::Table(claim)])), ("mine", i(1))]);
    publish_with(&mut peer, &queue, &properties, "m");
    rejected(&mut peer, &queue);
    let letter = dead_letters(&mut peer, &dead, 1).remove(0);
    assert_eq!(deaths(&letter).len(), 1);
    assert_eq!(lookup(&letter.headers(), "mine"), &i(1));
}

#[test]
fn multiple_rejections_come_in_the_order_of_their_tags() {
    let mut peer = Peer::connect();
    let (queue, dead) = declare_with_dead_letters(&mut peer, "multiple", []);
    for body in ["a", "b", "c", "d"] {
        publish_with(&mut peer, &queue, &props().octet("priority", 3).bytes(), body);
        peer.get(1, &queue).expect("a message");
    }
    peer.send(1, &reject(3));
    peer.send(1, &nack(0).on("multiple"));
    let letters = dead_letters(&mut peer, &dead, 4);
    assert_eq!(bodies(&letters), ["c", "a", "b", "d"]);
    assert!(props::decode(&letters[0].properties).contains_key("priority"), "other properties are kept");
}

#[test]
fn kept_until_every_queue_takes_it_where_none_may_be_lost() {
    let mut peer = Peer::connect();
    let full = declare(&mut peer, "full", [("x-max-length", i(0)), ("x-overflow", s("reject-publish"))]);
    let queue = unique("sure");
    let arguments = [
        ("x-dead-letter-exchange", s("")),
        ("x-dead-letter-routing-key", s(&full)),
        ("x-dead-letter-strategy", s("at-least-once")),
        ("x-overflow", s("reject-publish")),
    ];
    peer.call(1, &queue_declare(&queue).on("exclusive").args(arguments));
    peer.publish(1, "", &queue, "m");
    rejected(&mut peer, &queue);
    peer.call(1, &queue_delete(&full));
    peer.call(1, &queue_declare(&full).on("exclusive"));
    peer.wait_for_counts(1, &full, (1, 0));
    assert_eq!(peer.drain(1, &full), ["m"]);
}
