//! Queues that deduplicate.

use std::time::Duration;

use super::*;
use crate::leveret_only;
use crate::support::props::NONE;

#[test]
fn a_message_that_came_before_is_dropped() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on()]);
    publish_keys(&mut peer, "", &queue, &["a", "b", "a", "a", "c", "b"]);
    assert_eq!(peer.drain(1, &queue), ["a", "b", "c"]);
    publish_keys(&mut peer, "", &queue, &["c", "d", "a"]);
    assert_eq!(peer.drain(1, &queue), ["d"], "what was taken out is still remembered");
}

#[test]
fn messages_that_are_the_same_to_the_last_byte_are_one() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on()]);
    publish_keys(&mut peer, "", &queue, &["a"; 200]);
    assert_eq!(peer.drain(1, &queue), ["a"]);
}

#[test]
fn a_message_without_the_header_is_never_a_duplicate() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on()]);
    for properties in [NONE.to_vec(), props().headers([("other", s("a"))]).bytes()] {
        for _ in 0..3 {
            peer.send_publish(1, &publish("", &queue), &properties, b"x");
        }
    }
    peer.expect_counts(1, &queue, (6, 0));
}

#[test]
fn without_the_argument_nothing_is_dropped() {
    leveret_only!("it is a plugin there");
    for arguments in [vec![], vec![("x-message-deduplication", Value::Bool(false))], vec![("x-cache-size", i(10))]] {
        let mut peer = Peer::connect();
        let queue = unique("plain");
        let declare = queue_declare(&queue).on("exclusive");
        let declare = match &arguments[..] {
            [one] => declare.args([one.clone()]),
            _ => declare,
        };
        peer.call(1, &declare);
        publish_keys(&mut peer, "", &queue, &["a", "a"]);
        peer.expect_counts(1, &queue, (2, 0));
    }
}

#[test]
fn values_are_compared_once_decoded() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on()]);
    let values = [
        ("7", i(7)),
        ("7 again", Value::I64(7)),
        ("text", s("7")),
        ("float", Value::F64(7.0)),
        ("true", Value::Bool(true)),
        ("true again", Value::Bool(true)),
        ("void", Value::Void),
    ];
    for (body, value) in values {
        peer.send_publish(1, &publish("", &queue), &keyed(value).bytes(), body.as_bytes());
    }
    assert_eq!(peer.drain(1, &queue), ["7", "text", "float", "true", "void"]);
}

#[test]
fn another_header_is_compared_if_it_is_named() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on(), ("x-deduplication-header", s("id"))]);
    for (id, key, body) in [("1", "a", "one"), ("2", "a", "two"), ("1", "b", "three")] {
        let properties = props().headers([("id", s(id)), (HEADER, s(key))]).bytes();
        peer.send_publish(1, &publish("", &queue), &properties, body.as_bytes());
    }
    assert_eq!(peer.drain(1, &queue), ["one", "two"]);
}

#[test]
fn the_oldest_is_forgotten_where_there_are_too_many() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on(), ("x-cache-size", i(2))]);
    publish_keys(&mut peer, "", &queue, &["a", "b", "a", "c", "a", "b", "b"]);
    assert_eq!(peer.drain(1, &queue), ["a", "b", "c", "a", "b"]);
}

#[test]
fn a_hundred_and_twenty_eight_are_remembered_if_nothing_is_said() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on()]);
    let names: Vec<String> = (0..129).map(|n| n.to_string()).collect();
    let mut keys: Vec<&str> = names.iter().map(|name| &name[..]).collect();
    keys.extend(["1", "128", "0"]);
    publish_keys(&mut peer, "", &queue, &keys);
    peer.expect_counts(1, &queue, (130, 0));
}

#[test]
fn a_message_is_remembered_for_its_time() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on(), ("x-cache-ttl", i(300))]);
    publish_keys(&mut peer, "", &queue, &["a", "a"]);
    peer.expect_counts(1, &queue, (1, 0));
    std::thread::sleep(Duration::from_millis(350)); // the time it is remembered
    publish_keys(&mut peer, "", &queue, &["a", "a"]);
    peer.expect_counts(1, &queue, (2, 0));
}

#[test]
fn a_message_may_say_itself_for_how_long() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on(), ("x-cache-ttl", i(300_000))]);
    let mut send = |key: &str, ttl_ms| {
        peer.send_publish(1, &publish("", &queue), &with_ttl(key, ttl_ms).bytes(), key.as_bytes());
    };
    send("short", 200);
    send("long", 300_000);
    std::thread::sleep(Duration::from_millis(250)); // the time of the first
    send("short", 200);
    send("long", 200);
    assert_eq!(peer.drain(1, &queue), ["short", "long", "short"]);
}

#[test]
fn what_is_requeued_is_no_duplicate() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on()]);
    publish_keys(&mut peer, "", &queue, &["a"]);
    let message = peer.get(1, &queue).expect("a message");
    peer.send(1, &nack(message.tag()).on("requeue"));
    peer.expect_counts(1, &queue, (1, 0));
}

#[test]
fn a_dead_letter_that_comes_back_is_no_duplicate() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on()]);
    let back = [("x-dead-letter-exchange", s("")), ("x-dead-letter-routing-key", s(&queue)), ("x-message-ttl", i(1))];
    let waiting = unique("waiting");
    peer.call(1, &queue_declare(&waiting).on("exclusive").args(back));
    publish_keys(&mut peer, "", &queue, &["a"]);
    assert_eq!(peer.drain(1, &queue), ["a"]);
    publish_keys(&mut peer, "", &waiting, &["a", "b"]);
    peer.wait_for_counts(1, &queue, (2, 0));
    publish_keys(&mut peer, "", &queue, &["b"]);
    assert_eq!(peer.drain(1, &queue), ["a", "b"], "its key is remembered like any other");
}

#[test]
fn a_purge_forgets_nothing_and_a_new_queue_remembers_nothing() {
    leveret_only!("it is a plugin there");
    let mut peer = Peer::connect();
    let queue = unique("once");
    let declare = queue_declare(&queue).args([on()]);
    peer.call(1, &declare);
    publish_keys(&mut peer, "", &queue, &["a"]);
    peer.call(1, &queue_purge(&queue));
    publish_keys(&mut peer, "", &queue, &["a"]);
    peer.expect_counts(1, &queue, (0, 0));
    peer.call(1, &queue_delete(&queue));
    peer.call(1, &declare);
    publish_keys(&mut peer, "", &queue, &["a"]);
    peer.expect_counts(1, &queue, (1, 0));
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn each_queue_drops_what_it_has_had_itself() {
    leveret_only!("it is a plugin there");
    let (mut peer, first) = queue([on()]);
    let (second, plain) = (unique("once"), peer.exclusive_queue(1));
    peer.call(1, &queue_declare(&second).on("exclusive").args([on()]));
    publish_keys(&mut peer, "", &first, &["a"]);
    for queue in [&first, &second, &plain] {
        peer.call(1, &queue_bind(queue, "amq.fanout", ""));
    }
    publish_keys(&mut peer, "amq.fanout", "", &["a", "a"]);
    for (queue, count) in [(&first, 1), (&second, 1), (&plain, 2)] {
        peer.expect_counts(1, queue, (count, 0));
    }
}

#[test]
fn it_goes_together_with_priorities_and_limits() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on(), ("x-max-priority", i(5)), ("x-max-length", i(3))]);
    for (key, priority) in [("a", 1), ("b", 5), ("a", 5), ("c", 3), ("b", 1), ("d", 0)] {
        let properties = keyed(s(key)).octet("priority", priority).bytes();
        peer.send_publish(1, &publish("", &queue), &properties, key.as_bytes());
    }
    peer.expect_counts(1, &queue, (3, 0));
    let left = peer.drain(1, &queue);
    assert_eq!(left.len(), 3);
    assert!(left.is_sorted_by_key(|key| "bcad".find(&key[..])), "{left:?}");
}
