//! Section 1.5: get, and how deliveries are settled.

use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

/// A queue that holds these messages, on channel 1.
fn filled(bodies: &[&str]) -> (Peer, String) {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for body in bodies {
        peer.publish(1, "", &queue, body);
    }
    (peer, queue)
}

fn unknown_tag(tag: u64) -> String {
    format!("PRECONDITION_FAILED - unknown delivery tag {tag}")
}

#[test]
fn get_takes_the_first_message_and_counts_the_others() {
    let (mut peer, queue) = filled(&["one", "two", "three"]);
    for (at, body) in ["one", "two", "three"].iter().enumerate() {
        let message = peer.get(1, &queue).expect("a message");
        assert_eq!(message.body_text(), *body);
        assert_eq!(message.tag(), at as u64 + 1);
        assert_eq!(message.method.number("message-count"), 2 - at as u64);
        assert_eq!(message.method.text("exchange"), "");
        assert_eq!(message.method.text("routing-key"), queue);
        assert!(!message.redelivered());
    }
    assert!(peer.get(1, &queue).is_none());
    let missing = unique("missing");
    peer.refused(1, &get(&missing), 404, &format!("NOT_FOUND - no queue '{missing}' in vhost '/'"));
}

#[test]
fn get_empty_carries_an_empty_string() {
    let (mut peer, queue) = filled(&[]);
    peer.send(1, &get(&queue));
    assert_eq!(peer.expect(1, "basic.get-empty").text("cluster-id"), "");
}

#[test]
fn a_get_without_acknowledgement_is_settled_at_once_but_takes_a_tag() {
    let (mut peer, queue) = filled(&["one", "two"]);
    assert_eq!(peer.get_no_ack(1, &queue).expect("a message").tag(), 1);
    assert_eq!(peer.get(1, &queue).expect("a message").tag(), 2);
    peer.refused(1, &ack(1), 406, &unknown_tag(1));
    assert_eq!(peer.drain(1, &queue), ["two"], "given back when the channel closed");
}

#[test]
fn gets_and_deliveries_share_the_tags_of_a_channel() {
    let (mut peer, queue) = filled(&["one"]);
    assert_eq!(peer.get(1, &queue).expect("a message").tag(), 1);
    peer.consume(1, &queue, "t");
    peer.publish(1, "", &queue, "two");
    assert_eq!(peer.expect_delivery(1).tag(), 2);
    peer.call(1, &cancel("t"));
    peer.publish(1, "", &queue, "three");
    assert_eq!(peer.get(1, &queue).expect("a message").tag(), 3);
}

// ---- ack ----

#[test]
fn an_acknowledged_message_is_gone() {
    let (mut peer, queue) = filled(&["one", "two", "three"]);
    for _ in 0..3 {
        peer.get(1, &queue).expect("a message");
    }
    peer.send(1, &ack(2));
    peer.expect_nothing_before_sync(1);
    peer.close_channel(1);
    peer.open_channel(1);
    assert_eq!(peer.drain(1, &queue), ["one", "three"]);
}

#[test]
fn ack_multiple_takes_all_up_to_the_tag() {
    let (mut peer, queue) = filled(&["1", "2", "3", "4", "5"]);
    for _ in 0..5 {
        peer.get(1, &queue).expect("a message");
    }
    peer.send(1, &ack(2));
    peer.send(1, &ack(4).on("multiple"));
    peer.close_channel(1);
    peer.open_channel(1);
    assert_eq!(peer.drain(1, &queue), ["5"]);
}

#[test]
fn tag_zero_with_multiple_is_everything() {
    let (mut peer, queue) = filled(&["1", "2", "3"]);
    peer.send(1, &ack(0).on("multiple"));
    peer.send(1, &nack(0).on("multiple").on("requeue"));
    for _ in 0..2 {
        peer.get(1, &queue).expect("a message");
    }
    peer.send(1, &ack(0).on("multiple"));
    peer.close_channel(1);
    peer.open_channel(1);
    assert_eq!(peer.drain(1, &queue), ["3"]);
}

#[test]
fn tags_that_are_not_outstanding() {
    for (settle, tag) in [
        (ack(1), 1),
        (ack(0), 0),
        (nack(0), 0),
        (reject(0), 0),
        (nack(7).on("requeue"), 7),
        (reject(7), 7),
        (ack(7).on("multiple"), 7),
        (nack(u64::MAX), u64::MAX),
    ] {
        Peer::connect().refused(1, &settle, 406, &unknown_tag(tag));
    }
}

#[test]
fn a_tag_is_settled_once() {
    for (first, second) in [(ack(1), ack(1)), (reject(1), ack(1)), (nack(1).on("requeue"), reject(1))] {
        let (mut peer, queue) = filled(&["one", "two"]);
        peer.get(1, &queue).expect("a message");
        peer.get(1, &queue).expect("a message");
        peer.send(1, &first);
        peer.refused(1, &second, 406, &unknown_tag(1));
    }
}

#[test]
fn with_multiple_the_tag_itself_must_be_outstanding() {
    for settle in [ack(2).on("multiple"), nack(2).on("multiple"), nack(2).on("multiple").on("requeue")] {
        let (mut peer, queue) = filled(&["one", "two", "three"]);
        for _ in 0..3 {
            peer.get(1, &queue).expect("a message");
        }
        peer.send(1, &ack(2));
        peer.refused(1, &settle, 406, &unknown_tag(2));
        assert_eq!(peer.drain(1, &queue), ["one", "three"], "nothing was settled by it");
    }
}

#[test]
fn a_tag_belongs_to_its_channel() {
    let (mut peer, queue) = filled(&["one"]);
    peer.open_channel(2);
    peer.get(1, &queue).expect("a message");
    peer.refused(2, &ack(1), 406, &unknown_tag(1));
    peer.send(1, &ack(1));
    peer.expect_nothing_before_sync(1);
}

#[test]
fn out_of_order_acknowledgements_leave_the_others() {
    let bodies: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
    let (mut peer, queue) = filled(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    peer.consume(1, &queue, "t");
    for _ in 0..20 {
        peer.expect_delivery(1);
    }
    for tag in [10, 3, 17, 1, 20, 11, 4] {
        peer.send(1, &ack(tag));
    }
    peer.send(1, &ack(7).on("multiple"));
    peer.call(1, &cancel("t"));
    peer.close_channel(1);
    peer.open_channel(1);
    assert_eq!(peer.drain(1, &queue), ["8", "9", "12", "13", "14", "15", "16", "18", "19"]);
}

// ---- requeue ----

#[test]
fn a_rejected_message_is_dropped_or_comes_back() {
    for (settle, left) in [
        (reject(1), vec!["two"]),
        (nack(1), vec!["two"]),
        (reject(1).on("requeue"), vec!["one", "two"]),
        (nack(1).on("requeue"), vec!["one", "two"]),
        (nack(1).on("multiple"), vec!["two"]),
        (nack(0).on("multiple").on("requeue"), vec!["one", "two"]),
    ] {
        let (mut peer, queue) = filled(&["one", "two"]);
        peer.get(1, &queue).expect("a message");
        peer.send(1, &settle);
        assert_eq!(peer.drain(1, &queue), left, "after {} {:?}", settle.name, settle.payload());
    }
}

#[test]
fn a_requeued_message_has_its_old_place_and_is_marked() {
    let (mut peer, queue) = filled(&["1", "2", "3", "4", "5"]);
    for _ in 0..4 {
        assert!(!peer.get(1, &queue).expect("a message").redelivered());
    }
    for tag in [3, 1, 4] {
        peer.send(1, &nack(tag).on("requeue"));
    }
    let mut found = Vec::new();
    while let Some(message) = peer.get(1, &queue) {
        found.push((message.body_text().to_owned(), message.redelivered()));
    }
    let expected = [("1", true), ("3", true), ("4", true), ("5", false)];
    assert_eq!(found, expected.map(|(body, mark)| (body.to_owned(), mark)));
}

#[test]
fn a_requeued_message_may_come_to_the_same_consumer_and_is_marked() {
    let (mut peer, queue) = filled(&["one"]);
    peer.consume(1, &queue, "t");
    let first = peer.expect_delivery(1);
    peer.send(1, &reject(first.tag()).on("requeue"));
    let second = peer.expect_delivery(1);
    assert_eq!((second.tag(), second.body_text(), second.redelivered()), (2, "one", true));
    peer.send(1, &nack(second.tag()).on("requeue"));
    assert_eq!(peer.expect_delivery(1).tag(), 3);
}

#[test]
fn nack_multiple_gives_back_in_order() {
    let (mut peer, queue) = filled(&["1", "2", "3", "4"]);
    for _ in 0..3 {
        peer.get(1, &queue).expect("a message");
    }
    peer.send(1, &nack(3).on("multiple").on("requeue"));
    assert_eq!(peer.drain(1, &queue), ["1", "2", "3", "4"]);
}

#[test]
fn what_several_channels_had_goes_back_in_order() {
    let (mut peer, queue) = filled(&["1", "2", "3", "4", "5", "6"]);
    peer.open_channel(2);
    peer.open_channel(3);
    for channel in [2, 3, 2, 3, 2] {
        peer.get(channel, &queue).expect("a message");
    }
    peer.close_channel(3);
    peer.close_channel(2);
    assert_eq!(peer.drain(1, &queue), ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_message_given_back_is_before_what_was_published_since() {
    let (mut peer, queue) = filled(&["old"]);
    let tag = peer.get(1, &queue).expect("a message").tag();
    peer.publish(1, "", &queue, "new");
    peer.send(1, &nack(tag).on("requeue"));
    assert_eq!(peer.drain(1, &queue), ["old", "new"]);
}

// ---- recover ----

#[test]
fn recover_gives_everything_back_and_answers() {
    let (mut peer, queue) = filled(&["1", "2", "3"]);
    peer.get(1, &queue).expect("a message");
    peer.get(1, &queue).expect("a message");
    peer.call(1, &method("basic.recover").on("requeue"));
    let message = peer.get(1, &queue).expect("a message");
    assert_eq!((message.body_text(), message.redelivered(), message.tag()), ("1", true, 3));
    peer.refused(1, &ack(1), 406, &unknown_tag(1));
}

#[test]
fn recover_delivers_again_behind_its_answer() {
    let (mut peer, queue) = filled(&["1", "2"]);
    peer.consume(1, &queue, "t");
    peer.expect_bodies(1, &["1", "2"]);
    peer.send(1, &method("basic.recover").on("requeue"));
    let mut names = Vec::new();
    for _ in 0..3 {
        let reply = peer.next_method(1);
        names.push(reply.name);
        if reply.name == "basic.deliver" {
            let delivery = peer.expect_content(1, reply);
            assert!(delivery.redelivered());
        }
    }
    names.sort_unstable();
    assert_eq!(names, ["basic.deliver", "basic.deliver", "basic.recover-ok"]);
}

#[test]
fn recover_async_has_no_answer() {
    let (mut peer, queue) = filled(&["1"]);
    peer.get(1, &queue).expect("a message");
    peer.send(1, &method("basic.recover-async").on("requeue"));
    let message = peer.get(1, &queue).expect("a message");
    assert_eq!((message.body_text(), message.redelivered()), ("1", true));
}

#[test]
fn recover_without_requeue_is_not_implemented() {
    for name in ["basic.recover", "basic.recover-async"] {
        Peer::connect().fatal(1, &method(name), 540, "NOT_IMPLEMENTED - requeue=false");
    }
}

#[test]
fn recover_with_nothing_to_recover() {
    let mut peer = Peer::connect();
    peer.call(1, &method("basic.recover").on("requeue"));
}
