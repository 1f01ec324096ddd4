//! What a client is told, and when, while the disk takes its time. The test is the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue, tx};

use super::disk::Disk;
use super::peer::{Event, Frames, Peer, new_broker, new_broker_with};
use crate::broker::Broker;
use crate::storage::log::Entry;
use crate::wire::method;

const TO_D: (&str, &str) = ("", "d");
const TO_T: (&str, &str) = ("", "t");

/// A client with channels 1 and 2 open, the durable queue `d` and the transient `t`.
fn world() -> (Disk, Arc<Broker>, Peer) {
    let disk = Disk::new(usize::MAX);
    let broker = new_broker_with(&disk.0);
    let mut peer = Peer::new(&broker);
    peer.send(&Frames::on(2).open().bytes);
    peer.send(&Frames::on(1).open().declare("t").declare_durable("d").bytes);
    disk.keep_all();
    assert_eq!(described(&peer.look()), ["declared d"]);
    assert!(peer.is_woken());
    (disk, broker, peer)
}

/// The same, with channel 1 in confirm mode.
fn confirming() -> (Disk, Arc<Broker>, Peer) {
    let (disk, broker, mut peer) = world();
    assert_eq!(peer.send(&confirm_select().bytes).len(), 1);
    (disk, broker, peer)
}

fn confirm_select() -> Frames {
    let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
    Frames::on(1).method(AMQPClass::Confirm(select))
}

fn close_channel(frames: Frames) -> Frames {
    frames.method(AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default())))
}

fn close_connection() -> Frames {
    let close = connection::AMQPMethod::Close(connection::Close::default());
    Frames::on(0).method(AMQPClass::Connection(close))
}

fn queue_method(method: queue::AMQPMethod) -> AMQPClass {
    AMQPClass::Queue(method)
}

fn bind_method(nowait: bool) -> AMQPClass {
    let (queue, exchange) = ("d".into(), "amq.fanout".into());
    queue_method(queue::AMQPMethod::Bind(queue::Bind { queue, exchange, nowait, ..queue::Bind::default() }))
}

fn purge() -> AMQPClass {
    queue_method(queue::AMQPMethod::Purge(queue::Purge { queue: "d".into(), nowait: false }))
}

fn consume(queue: &str, no_ack: bool) -> basic::AMQPMethod {
    let (queue, consumer_tag) = (queue.into(), "c".into());
    basic::AMQPMethod::Consume(basic::Consume { queue, consumer_tag, no_ack, ..basic::Consume::default() })
}

fn commit() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}))
}

/// What the events are, in short.
pub(super) fn described(events: &[Event]) -> Vec<String> {
    let body = |event: &Event| String::from_utf8_lossy(&event.body).into_owned();
    let describe = |event: &Event| match &event.method {
        AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => format!("ack {} {}", ack.delivery_tag, ack.multiple),
        AMQPClass::Basic(basic::AMQPMethod::Nack(nack)) => format!("nack {} {}", nack.delivery_tag, nack.multiple),
        AMQPClass::Basic(basic::AMQPMethod::Return(_)) => format!("return {}", body(event)),
        AMQPClass::Basic(basic::AMQPMethod::GetOk(_)) => format!("got {}", body(event)),
        AMQPClass::Basic(basic::AMQPMethod::Deliver(_)) => format!("delivered {}", body(event)),
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => format!("declared {}", ok.queue),
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => format!("channel closed {}", close.reply_code),
        other => match method::ids(other) {
            (10, 51) => "connection close-ok".into(),
            (20, 41) => "channel close-ok".into(),
            (50, 21) => "bound".into(),
            (50, 31) => "purged".into(),
            (50, 41) => "deleted".into(),
            (60, 21) => "consuming".into(),
            (60, 72) => "got nothing".into(),
            (90, 21) => "committed".into(),
            ids => format!("{ids:?}"),
        },
    };
    events.iter().map(describe).collect()
}

#[test]
fn a_confirm_waits_until_its_publish_is_synced() {
    let (disk, _, mut peer) = confirming();
    let frames = Frames::on(1).publish_persistent(TO_D, b"1").publish_persistent(TO_D, b"2");
    assert!(peer.send(&frames.bytes).is_empty());
    let taken = disk.take();
    assert!(peer.look().is_empty());
    disk.write(&taken);
    assert!(peer.look().is_empty() && !peer.is_woken());
    disk.0.log.synced(taken.0);
    assert!(peer.is_woken());
    assert_eq!(described(&peer.look()), ["ack 2 true"]);
    assert!(peer.look().is_empty() && !peer.is_woken());
}

#[test]
fn what_needs_no_disk_is_confirmed_at_once() {
    let (disk, _, mut peer) = confirming();
    let transient = Frames::on(1).publish(TO_D, false, b"1", 1).publish_persistent(TO_T, b"2");
    assert_eq!(
        described(&peer.send(&transient.publish(("", "nowhere"), true, b"3", 1).bytes)),
        ["return 3", "ack 3 true"]
    );
    // But not before what was published earlier.
    assert!(peer.send(&Frames::on(1).publish_persistent(TO_D, b"4").bytes).is_empty());
    let mandatory = Frames::on(1).publish(("", "nowhere"), true, b"5", 1);
    assert_eq!(described(&peer.send(&mandatory.publish(TO_T, false, b"6", 1).bytes)), ["return 5"]);
    disk.keep(&disk.take());
    assert_eq!(described(&peer.look()), ["ack 6 true"]);
}

#[test]
fn refused_publishes_are_nacked_and_later_ones_confirmed() {
    let (disk, _, mut peer) = confirming();
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"1").publish_persistent(TO_D, b"2").bytes);
    let refused = disk.refuse();
    assert!(peer.is_woken());
    assert_eq!(described(&peer.look()), ["nack 2 true"]);
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"3").bytes);
    let next = disk.take();
    assert!(peer.look().is_empty());
    disk.keep(&refused);
    assert!(peer.look().is_empty());
    disk.keep(&next);
    assert_eq!(described(&peer.look()), ["ack 3 false"]);
}

#[test]
fn epochs_are_answered_in_order_and_together_where_alike() {
    let (disk, _, mut peer) = confirming();
    let mut taken = Vec::new();
    for body in [b"1", b"2", b"3", b"4"] {
        assert!(peer.send(&Frames::on(1).publish_persistent(TO_D, body).bytes).is_empty());
        taken.push(disk.take());
    }
    disk.keep(&taken[0]);
    assert_eq!(described(&peer.look()), ["ack 1 false"]);
    disk.keep(&taken[1]);
    disk.keep(&taken[2]);
    disk.0.log.refused(taken[3].0);
    assert_eq!(described(&peer.look()), ["ack 3 true", "nack 4 false"]);
}

#[test]
fn a_declare_is_answered_when_it_is_synced() {
    let (disk, _, mut peer) = world();
    assert!(peer.send(&Frames::on(1).declare_durable("new").bytes).is_empty());
    let taken = disk.take();
    disk.write(&taken);
    assert!(peer.look().is_empty());
    disk.0.log.synced(taken.0);
    assert!(peer.is_woken());
    assert_eq!(described(&peer.look()), ["declared new"]);
    // By now it is as old as any.
    assert_eq!(described(&peer.send(&Frames::on(1).declare_durable("new").bytes)), ["declared new"]);
}

#[test]
fn what_changes_definitions_is_answered_when_it_is_synced() {
    let (disk, _, mut peer) = world();
    let exchange = exchange::Declare { exchange: "e".into(), kind: "fanout".into(), ..exchange::Declare::default() };
    let durable = exchange::AMQPMethod::Declare(exchange::Declare { durable: true, ..exchange });
    let unbind = queue::Unbind { queue: "d".into(), exchange: "amq.fanout".into(), ..queue::Unbind::default() };
    let delete = queue::Delete { queue: "d".into(), ..queue::Delete::default() };
    let methods = [
        (AMQPClass::Exchange(durable), "(40, 11)"),
        (bind_method(false), "bound"),
        (queue_method(queue::AMQPMethod::Unbind(unbind)), "(50, 51)"),
        (queue_method(queue::AMQPMethod::Delete(delete)), "deleted"),
    ];
    for (method, answer) in methods {
        assert!(peer.send(&Frames::on(1).method(method).bytes).is_empty(), "{answer} too early");
        disk.keep(&disk.take());
        assert_eq!(described(&peer.look()), [answer]);
    }
}

#[test]
fn what_is_not_to_be_kept_is_answered_at_once() {
    let (_disk, _, mut peer) = world();
    let passive = queue::Declare { queue: "d".into(), passive: true, durable: true, ..queue::Declare::default() };
    let exclusive = queue::Declare { queue: "x".into(), exclusive: true, durable: true, ..queue::Declare::default() };
    let frames = Frames::on(1).method(bind_method(true)).declare("new");
    let frames = frames.method(queue_method(queue::AMQPMethod::Declare(passive)));
    let frames = frames.method(queue_method(queue::AMQPMethod::Declare(exclusive)));
    assert_eq!(described(&peer.send(&frames.bytes)), ["declared new", "declared d", "declared x"]);
}

#[test]
fn a_definition_waits_for_room_on_the_disk() {
    let (disk, _, mut peer) = world();
    assert!(peer.send(&Frames::on(1).declare_durable("new").bytes).is_empty());
    let refused = disk.refuse();
    assert!(peer.look().is_empty() && !peer.is_woken());
    disk.write(&refused);
    assert!(peer.look().is_empty() && !peer.is_woken());
    disk.0.log.synced(refused.0);
    assert!(peer.is_woken());
    assert_eq!(described(&peer.look()), ["declared new"]);
}

/// The other channels go on until the input comes to the suspended one's next frame.
#[test]
fn one_channel_is_suspended_and_the_others_go_on() {
    let (disk, broker, mut peer) = world();
    let mut other = Peer::new(&broker);
    let mut bytes = Frames::on(1).declare_durable("new").bytes;
    bytes.extend(Frames::on(2).publish(TO_T, false, b"1", 1).get("t", true).bytes);
    bytes.extend(Frames::on(1).publish(TO_T, false, b"2", 1).bytes);
    bytes.extend(Frames::on(2).get("t", true).bytes);
    assert_eq!(described(&peer.send(&bytes)), ["got 1"]);
    assert!(peer.send(&Frames::on(2).get("t", true).bytes).is_empty());
    assert_eq!(described(&other.send(&Frames::on(1).open().get("t", true).bytes))[1..], ["got nothing"]);
    disk.keep(&disk.take());
    assert_eq!(described(&peer.look()), ["declared new", "got 2", "got nothing"]);
}

#[test]
fn a_suspended_channel_still_gets_deliveries_and_confirms() {
    let (disk, _, mut peer) = confirming();
    peer.send(&Frames::on(1).basic(consume("d", false)).publish_persistent(TO_D, b"1").bytes);
    let first = disk.take();
    assert!(peer.send(&Frames::on(1).declare_durable("new").bytes).is_empty());
    assert_eq!(described(&peer.receive(9)), ["delivered 1"]);
    disk.keep(&first);
    assert_eq!(described(&peer.look()), ["ack 1 false"]);
    disk.keep_all();
    assert_eq!(described(&peer.look()), ["declared new"]);
}

#[test]
fn declare_publish_and_consume_may_be_sent_in_one_go() {
    let (disk, _, mut peer) = world();
    let frames = confirm_select().declare_durable("new").publish_persistent(("", "new"), b"1");
    let events = peer.send(&frames.basic(consume("new", false)).bytes);
    assert_eq!(described(&events), ["(85, 11)"]);
    disk.keep(&disk.take());
    assert_eq!(described(&peer.look()), ["declared new", "consuming"]);
    assert_eq!(described(&peer.receive(9)), ["delivered 1"]);
    disk.keep_all();
    assert_eq!(described(&peer.look()), ["ack 1 false"]);
}

#[test]
fn a_purge_is_answered_when_nothing_of_it_comes_back() {
    let (disk, _, mut peer) = world();
    assert_eq!(described(&peer.send(&Frames::on(1).method(purge()).bytes)), ["purged"]);
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"1").bytes);
    assert!(peer.send(&Frames::on(1).method(purge()).bytes).is_empty());
    disk.keep_all();
    assert_eq!(described(&peer.look()), ["purged"]);
}

#[test]
fn a_channel_closes_when_its_publishes_are_answered() {
    let (disk, _, mut peer) = confirming();
    let frames = Frames::on(1).basic(consume("t", false)).publish_persistent(TO_D, b"1").publish(TO_T, false, b"2", 1);
    let events = peer.send(&close_channel(frames).open().bytes);
    assert_eq!(described(&events), ["consuming"]);
    // What it had is free already.
    assert_eq!(described(&peer.send(&Frames::on(2).bytes)), [""; 0]);
    disk.keep(&disk.take());
    assert_eq!(described(&peer.look()), ["ack 2 true", "channel close-ok", "(20, 11)"]);
    assert_eq!(described(&peer.send(&Frames::on(1).get("t", true).bytes)), ["got 2"]);
}

#[test]
fn a_connection_closes_when_its_publishes_and_definitions_are_answered() {
    let (disk, broker, mut peer) = confirming();
    peer.send(&Frames::on(2).declare_durable("new").bytes);
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"1").publish_persistent(TO_D, b"2").bytes);
    assert!(peer.send(&close_connection().bytes).is_empty() && !peer.is_closed());
    disk.keep(&disk.take());
    let mut events = described(&peer.look());
    events[..2].sort();
    assert_eq!(events, ["ack 2 true", "declared new", "connection close-ok"]);
    assert!(peer.is_closed());
    let mut other = Peer::new(&broker);
    assert_eq!(described(&other.send(&Frames::on(1).open().get("d", true).bytes))[1..], ["got 1"]);
}

/// A client must be able to go when the disk is full.
#[test]
fn a_connection_closes_without_what_waits_for_room() {
    let (disk, _, mut peer) = confirming();
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"1").bytes);
    peer.send(&Frames::on(2).declare_durable("new").bytes);
    let refused = disk.refuse();
    assert_eq!(described(&peer.send(&close_connection().bytes)), ["nack 1 false", "connection close-ok"]);
    assert!(peer.is_closed());
    disk.keep(&refused);
    assert!(peer.look().is_empty());
}

#[test]
fn a_connection_that_is_to_close_does_not_begin_to_wait_for_room() {
    let (disk, _, mut peer) = confirming();
    peer.send(&Frames::on(2).declare_durable("new").bytes);
    assert!(peer.send(&close_connection().bytes).is_empty() && !peer.is_woken());
    disk.refuse();
    assert!(peer.is_woken());
    assert_eq!(described(&peer.look()), ["connection close-ok"]);
}

/// As in RabbitMQ: what is not confirmed when an error closes the channel never is.
#[test]
fn an_error_closes_a_channel_without_its_pending_confirms() {
    let (disk, _, mut peer) = confirming();
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"1").bytes);
    let first = disk.take();
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"2").bytes);
    disk.keep(&first);
    let frames = Frames::on(1).publish(("nowhere", "k"), false, b"3", 1);
    assert_eq!(described(&peer.send(&frames.bytes)), ["ack 1 false", "channel closed 404"]);
    disk.keep(&disk.take());
    assert!(peer.look().is_empty());
}

#[test]
fn a_connection_that_is_lost_while_it_waits_leaves_nothing_behind() {
    let (disk, broker, mut peer) = confirming();
    peer.send(&Frames::on(2).basic(consume("t", false)).declare_durable("new").get("t", true).bytes);
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"1").publish(TO_T, false, b"2", 1).bytes);
    peer.vanish();
    disk.keep_all();
    assert!(peer.look().is_empty());
    let mut other = Peer::new(&broker);
    let frames = Frames::on(1).open().get("t", true).get("d", true).declare_durable("new");
    assert_eq!(described(&other.send(&frames.bytes))[1..], ["got nothing", "got nothing", "declared new"]);
}

#[test]
fn a_transaction_is_one_epoch() {
    let (disk, _, mut peer) = world();
    peer.send(&Frames::on(2).declare_durable("e").bytes);
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"old").bytes);
    disk.keep_all();
    peer.look();
    let select = AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}));
    assert_eq!(peer.send(&Frames::on(1).method(select).get("d", false).bytes).len(), 2);
    disk.keep_all();
    let frames = Frames::on(1).publish_persistent(TO_D, b"1").publish_persistent(("", "e"), b"2");
    let frames = frames.publish(("", "nowhere"), true, b"3", 1).ack(1).method(commit());
    assert_eq!(described(&peer.send(&frames.get("t", true).bytes)), ["return 3"]);
    let taken = disk.take();
    let enqueued = taken.1.entries.iter().filter(|entry| matches!(entry, Entry::Enqueue { .. })).count();
    let settled: Vec<_> = taken.1.settled.values().flatten().copied().collect();
    assert_eq!((enqueued, settled), (2, vec![(0, 1)]));
    disk.write(&taken);
    assert!(peer.look().is_empty());
    disk.0.log.synced(taken.0);
    assert_eq!(described(&peer.look()), ["committed", "got nothing"]);
}

/// While the disk takes whatever there is, as fast as it can.
#[test]
fn a_transaction_is_never_split() {
    let (disk, _, mut peer) = world();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let is_last = done.load(Ordering::SeqCst);
                let taken = disk.take_now();
                let messages: u32 = taken.1.entries.iter().map(enqueued).sum();
                assert_eq!(messages % 12, 0, "{messages} messages in one epoch, of transactions of twelve");
                disk.keep(&taken);
                if is_last {
                    break;
                }
            }
        });
        let _done = SetOnDrop(&done);
        for channel in 3..200 {
            let select = AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}));
            let publish = |frames: Frames, _| frames.publish_persistent(TO_D, &[0; 40_000]);
            let frames = (0..12).fold(Frames::on(channel).open().method(select), publish);
            peer.send(&frames.method(commit()).bytes);
            peer.look();
        }
    });
}

/// So that nobody waits for a test that has failed.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn enqueued(entry: &Entry) -> u32 {
    if let Entry::Enqueue { chunk, .. } = entry { chunk.records() } else { 0 }
}

#[test]
fn a_transaction_without_anything_durable_is_committed_at_once() {
    let (_disk, _, mut peer) = world();
    let select = AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}));
    peer.send(&Frames::on(1).method(select).bytes);
    let mut bytes = Frames::on(2).publish_persistent(TO_D, b"not of it").bytes;
    bytes.extend(Frames::on(1).publish(TO_D, false, b"1", 1).method(commit()).bytes);
    assert_eq!(described(&peer.send(&bytes)), ["committed"]);
}

#[test]
fn a_message_for_several_queues_is_written_once() {
    let (disk, _, mut peer) = world();
    peer.send(&Frames::on(1).method(bind_method(true)).bytes);
    peer.send(&Frames::on(2).declare_durable("e").bytes);
    disk.keep_all();
    peer.look();
    peer.send(&Frames::on(2).bind("e", "amq.fanout", "").bytes);
    disk.keep_all();
    peer.look();
    peer.send(&Frames::on(1).publish_persistent(("amq.fanout", ""), b"1").bytes);
    let targets: Vec<_> = disk
        .take()
        .1
        .entries
        .iter()
        .map(|entry| match entry {
            Entry::Enqueue { targets, .. } => targets.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(targets, [2]);
}

#[test]
fn deliveries_that_need_no_ack_are_settled_in_one_range() {
    let (disk, _, mut peer) = world();
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"1").bytes);
    peer.send(&Frames::on(1).publish_persistent(TO_D, b"2").bytes);
    disk.keep_all();
    peer.send(&Frames::on(1).basic(consume("d", true)).bytes);
    assert_eq!(peer.receive(9).len(), 2);
    let settled: Vec<_> = disk.take().1.settled.into_iter().map(|(_, ranges)| ranges).collect();
    assert_eq!(settled, [[(0, 2)]]);
}

#[test]
fn a_get_waits_for_its_message_to_be_read() {
    let (_disk, _, mut peer) = world();
    peer.suspend_get(1, "t");
    let mut bytes = Frames::on(2).publish(TO_T, false, b"1", 1).bytes;
    bytes.extend(Frames::on(1).get("t", true).bytes);
    assert!(peer.send(&bytes).is_empty());
    assert_eq!(described(&peer.look()), ["got 1", "got nothing"]);
}

#[test]
fn a_get_whose_queue_is_deleted_meanwhile_is_refused() {
    let (_disk, _, mut peer) = world();
    peer.suspend_get(1, "t");
    let delete = queue::Delete { queue: "t".into(), nowait: true, ..queue::Delete::default() };
    assert!(peer.send(&Frames::on(2).method(queue_method(queue::AMQPMethod::Delete(delete))).bytes).is_empty());
    assert_eq!(described(&peer.look()), ["channel closed 404"]);
}

#[test]
fn nothing_waits_without_a_store() {
    let mut peer = Peer::new(&new_broker());
    peer.send(&Frames::on(1).open().bytes);
    let frames = confirm_select().declare_durable("d").method(bind_method(false)).publish_persistent(TO_D, b"1");
    let frames = close_channel(frames.method(purge()));
    let expected = ["(85, 11)", "declared d", "bound", "ack 1 false", "purged", "channel close-ok"];
    assert_eq!(described(&peer.send(&frames.bytes)), expected);
    assert_eq!(described(&peer.send(&close_connection().bytes)), ["connection close-ok"]);
    assert!(peer.is_closed());
}
