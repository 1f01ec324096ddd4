//! What runs must not break, as far as it takes a connection: one test for each trap.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, queue, tx};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::peer::{Event, Frames, Peer, new_broker};
use crate::broker::Broker;

const TO_Q: (&str, &str) = ("", "q");

/// A client with channel 1 open and the queue `q` declared.
fn peer(broker: &Arc<Broker>) -> Peer {
    let mut peer = Peer::new(broker);
    assert_eq!(peer.send(&Frames::on(1).open().declare("q").bytes).len(), 2);
    peer
}

fn select(method: AMQPClass) -> Frames {
    Frames::on(1).method(method)
}

fn confirm_select() -> Frames {
    select(AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })))
}

fn tx(method: tx::AMQPMethod) -> AMQPClass {
    AMQPClass::Tx(method)
}

/// Whatever else happens to the queue, in the order of the bodies.
fn drain(peer: &mut Peer) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    loop {
        let mut events = peer.send(&Frames::on(1).get("q", true).bytes);
        match events.remove(0) {
            Event { method: AMQPClass::Basic(basic::AMQPMethod::GetOk(_)), body, .. } => bodies.push(body),
            Event { method: AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_)), .. } => return bodies,
            other => panic!("{other:?}"),
        }
    }
}

/// What the events are, in short.
fn described(events: &[Event]) -> Vec<String> {
    let describe = |event: &Event| match &event.method {
        AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => format!("ack {} {}", ack.delivery_tag, ack.multiple),
        AMQPClass::Basic(basic::AMQPMethod::Return(_)) => format!("return {}", String::from_utf8_lossy(&event.body)),
        AMQPClass::Basic(basic::AMQPMethod::GetOk(got)) => {
            format!("got {} of {}", String::from_utf8_lossy(&event.body), got.message_count + 1)
        }
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => format!("declared with {}", ok.message_count),
        AMQPClass::Queue(queue::AMQPMethod::PurgeOk(ok)) => format!("purged {}", ok.message_count),
        AMQPClass::Queue(queue::AMQPMethod::DeleteOk(ok)) => format!("deleted with {}", ok.message_count),
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => format!("channel closed {}", close.reply_code),
        AMQPClass::Tx(tx::AMQPMethod::SelectOk(_)) => "transactional".into(),
        other => format!("{other:?}"),
    };
    events.iter().map(describe).collect()
}

#[test]
fn what_was_published_is_there_before_any_other_method_is_handled() {
    let mut peer = peer(&new_broker());
    let publish = |frames: Frames, body: &str| frames.publish(TO_Q, false, body.as_bytes(), 1);
    let mut frames = publish(publish(Frames::on(1), "a"), "b").declare("q");
    frames = publish(frames, "c").get("q", true);
    frames = publish(frames, "d");
    let purge = queue::Purge { queue: "q".into(), nowait: false };
    frames = frames.method(AMQPClass::Queue(queue::AMQPMethod::Purge(purge)));
    frames = publish(frames, "e");
    let delete = queue::Delete { queue: "q".into(), ..queue::Delete::default() };
    frames = frames.method(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)));
    let events = peer.send(&frames.bytes);
    assert_eq!(described(&events), ["declared with 2", "got a of 3", "purged 3", "deleted with 1"]);
}

fn consume(tag: &str, queue: &str, priority: i32) -> basic::AMQPMethod {
    let mut arguments = FieldTable::default();
    arguments.insert("x-priority".into(), AMQPValue::LongInt(priority));
    basic::AMQPMethod::Consume(basic::Consume {
        queue: queue.into(),
        consumer_tag: tag.into(),
        arguments,
        ..basic::Consume::default()
    })
}

fn bodies(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8_lossy(&event.body).into_owned()).collect()
}

/// What a queue sees happens in the order of the frames: whether the preferred consumer has credit when a message
/// comes decides who gets it.
#[test]
fn publishes_and_acks_are_handled_in_their_order() {
    let publish = |frames: Frames, body: &str| frames.publish(TO_Q, false, body.as_bytes(), 1);
    let begin = || Frames::on(1);
    // What is sent, what the preferred consumer gets of it, and what the other.
    let cases: [(Frames, &[&str], &[&str]); 3] = [
        (publish(begin(), "b").ack(1), &[], &["b"]),
        (publish(begin().ack(1), "b"), &["b"], &[]),
        (publish(publish(begin(), "b").ack(1), "c"), &["c"], &["b"]),
    ];
    for (frames, of_preferred, of_other) in cases {
        let broker = new_broker();
        let (mut preferred, mut other) = (peer(&broker), peer(&broker));
        let qos = basic::Qos { prefetch_count: 1, global: false };
        let started = begin().basic(basic::AMQPMethod::Qos(qos)).basic(consume("c", "q", 1));
        preferred.send(&publish(started, "a").bytes);
        other.send(&begin().basic(consume("c", "q", 0)).bytes);
        assert_eq!(bodies(&preferred.receive(9)), ["a"]);
        preferred.send(&frames.bytes);
        assert_eq!(bodies(&preferred.receive(9)), of_preferred);
        assert_eq!(bodies(&other.receive(9)), of_other);
    }
}

/// What was assigned before a queue was deleted is delivered, then the consumer is told; even if another of the same
/// connection is cancelled in between.
#[test]
fn a_deleted_queues_consumer_is_told_after_its_last_message() {
    let broker = new_broker();
    let (mut client, mut other) = (peer(&broker), peer(&broker));
    let started = Frames::on(1).declare("gone").basic(consume("stays", "q", 0)).basic(consume("told", "gone", 0));
    client.send(&started.publish(("", "gone"), false, b"last", 1).publish(TO_Q, false, b"a", 1).bytes);
    let delete = queue::Delete { queue: "gone".into(), ..queue::Delete::default() };
    other.send(&Frames::on(1).method(AMQPClass::Queue(queue::AMQPMethod::Delete(delete))).bytes);
    let cancel = basic::Cancel { consumer_tag: "stays".into(), nowait: true };
    assert!(client.send(&Frames::on(1).basic(basic::AMQPMethod::Cancel(cancel)).bytes).is_empty());
    let events = client.receive(9);
    assert_eq!(bodies(&events), ["last", ""]);
    let AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) = &events[1].method else { panic!("{events:?}") };
    assert_eq!(cancel.consumer_tag.as_str(), "told");
    assert!(client.send(&Frames::on(1).ack(1).bytes).is_empty());
    assert_eq!(drain(&mut other), [b"a"]);
}

#[test]
fn returns_precede_the_confirms_of_their_messages() {
    let mut peer = peer(&new_broker());
    peer.send(&confirm_select().bytes);
    let nowhere = ("", "nowhere");
    let frames = Frames::on(1).publish(TO_Q, true, b"1", 1).publish(nowhere, true, b"2", 1);
    let frames = frames.publish(nowhere, false, b"3", 1).publish(nowhere, true, b"4", 1).declare("q");
    let frames = frames.publish(nowhere, true, b"5", 1);
    let events = peer.send(&frames.bytes);
    let expected = ["return 2", "return 4", "ack 4 true", "declared with 1", "return 5", "ack 5 false"];
    assert_eq!(described(&events), expected);
}

/// Those before it count, those after do not, and nobody else notices.
#[test]
fn a_refused_publish_closes_its_channel_at_that_message() {
    let refused: [(&str, u16); 2] = [("nowhere", 404), ("amq.rabbitmq.trace", 403)];
    for (exchange, code) in refused {
        let broker = new_broker();
        let (mut peer, mut other) = (peer(&broker), peer(&broker));
        peer.send(&confirm_select().bytes);
        let frames = Frames::on(1).publish(TO_Q, false, b"1", 1).publish(TO_Q, false, b"2", 1);
        let frames = frames.publish((exchange, "k"), false, b"3", 1).publish(TO_Q, false, b"4", 1);
        let events = peer.send(&frames.bytes);
        assert_eq!(described(&events), ["ack 2 true".to_owned(), format!("channel closed {code}")]);
        assert_eq!(drain(&mut other), [b"1", b"2"]);
    }
}

#[test]
fn routes_that_alternate_keep_each_queues_order() {
    let broker = new_broker();
    let mut peer = peer(&broker);
    let frames = Frames::on(1).declare("other").bind("q", "amq.fanout", "").bind("other", "amq.fanout", "");
    peer.send(&frames.bytes);
    let routes = [TO_Q, ("amq.fanout", "k"), ("", "other"), TO_Q, ("amq.fanout", "k"), TO_Q];
    let publish = |frames: Frames, (number, to): (u8, &(&str, &str))| frames.publish(*to, false, &[number], 1);
    peer.send(&(0..).zip(&routes).fold(Frames::on(1), publish).bytes);
    assert_eq!(drain(&mut peer), [[0], [1], [3], [4], [5]]);
}

/// Publishes that look alike are not looked at one by one; these are, since the route has come to lead nowhere.
#[test]
fn alike_publishes_that_are_not_routed_any_more_come_back() {
    let broker = new_broker();
    let (mut publisher, mut other) = (peer(&broker), peer(&broker));
    other.send(&Frames::on(1).bind("q", "amq.direct", "k").bytes);
    let to = ("amq.direct", "k");
    publisher.send(&Frames::on(1).publish(to, true, b"1", 1).publish(to, true, b"2", 1).bytes);
    let unbind = queue::Unbind {
        queue: "q".into(),
        exchange: "amq.direct".into(),
        routing_key: "k".into(),
        ..queue::Unbind::default()
    };
    other.send(&Frames::on(1).method(AMQPClass::Queue(queue::AMQPMethod::Unbind(unbind))).bytes);
    // The first comes in pieces, and finds the new route; the second looks as those before.
    let events = publisher.send(&Frames::on(1).publish(to, true, b"long", 2).publish(to, true, b"3", 1).bytes);
    assert_eq!(described(&events), ["return long", "return 3"]);
    assert_eq!(drain(&mut other), [b"1", b"2"]);
}

#[test]
fn what_a_rolled_back_transaction_settled_is_outstanding_again() {
    let broker = new_broker();
    let mut peer = peer(&broker);
    let publish = |frames: Frames, body: u8| frames.publish(TO_Q, false, &[body], 1);
    peer.send(&(1..5).fold(Frames::on(1), publish).bytes);
    let frames = select(tx(tx::AMQPMethod::Select(tx::Select {})));
    let frames = (0..4).fold(frames, |frames, _| frames.get("q", false));
    assert_eq!(peer.send(&frames.bytes).len(), 5);
    let commit = || tx(tx::AMQPMethod::Commit(tx::Commit {}));
    let rollback = || tx(tx::AMQPMethod::Rollback(tx::Rollback {}));
    let frames = Frames::on(1).ack(1).method(commit()).ack(2).method(rollback()).ack(3).method(commit());
    let events = peer.send(&frames.bytes);
    assert!(events.iter().all(|event| matches!(event.method, AMQPClass::Tx(_))), "{events:?}");
    peer.vanish();
    let mut peer = Peer::new(&broker);
    peer.send(&Frames::on(1).open().bytes);
    assert_eq!(drain(&mut peer), [[2], [4]]);
}

/// The rest of a body begins a read with the bytes of a publish that was just seen on another channel.
#[test]
fn a_body_that_looks_like_a_publish_stays_a_body() {
    let broker = new_broker();
    let mut peer = peer(&broker);
    peer.send(&Frames::on(2).open().declare("alike").bytes);
    let alike = Frames::on(2).publish(("", "alike"), false, b"once", 1).bytes;
    peer.send(&alike);
    let body = [b"first part, ", alike.as_slice()].concat();
    let whole = Frames::on(1).publish(("", "q"), false, &body, 1).bytes;
    let cut = whole.len() - alike.len() - 1;
    peer.send(&whole[..cut]);
    peer.send(&whole[cut..]);
    assert_eq!(drain(&mut peer), [body]);
    let events = peer.send(&Frames::on(2).get("alike", true).get("alike", true).bytes);
    assert_eq!(described(&events).len(), 2);
    assert_eq!(events[0].body, b"once");
    assert!(matches!(events[1].method, AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_))));
}

/// A publish that was right before is checked again after its reply consumer has gone.
#[test]
fn a_request_without_its_reply_consumer_is_refused() {
    let broker = new_broker();
    let mut peer = peer(&broker);
    let consume = basic::Consume {
        queue: "amq.rabbitmq.reply-to".into(),
        consumer_tag: "replies".into(),
        no_ack: true,
        ..basic::Consume::default()
    };
    let cancel = basic::Cancel { consumer_tag: "replies".into(), nowait: false };
    let request =
        Frames::on(1).publish_with(TO_Q, &[&[0x02, 0x00, 21][..], b"amq.rabbitmq.reply-to"].concat(), b"x").bytes;
    peer.send(&Frames::on(1).basic(basic::AMQPMethod::Consume(consume)).bytes);
    assert!(peer.send(&request.repeat(2)).is_empty());
    peer.send(&Frames::on(1).basic(basic::AMQPMethod::Cancel(cancel)).bytes);
    assert_eq!(described(&peer.send(&request)), ["channel closed 406"]);
}
