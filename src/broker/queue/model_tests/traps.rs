//! What runs must not break, one test for each trap that a queue could fall into. Clients see messages, never runs.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use super::commands::Consume;
use super::{chunk_of, id_of, new_queue};
use crate::broker::ConnectionId;
use crate::broker::outbox::{Item, Outbox, Wakes};
use crate::broker::queue::limiter::ChannelLimiter;
use crate::broker::queue::{ConsumerKey, Got, HowReturned, NewConsumer, Queue, Relief, Returned};
use crate::error::{Fault, ReplyCode};
use crate::storage::Epoch;
use crate::storage::chunk::{Chunk, Run};

/// A connection with one channel.
pub(super) struct Client {
    outbox: Arc<Outbox>,
    limiter: Arc<ChannelLimiter>,
}

impl Client {
    /// `global_prefetch` 0 is unlimited.
    pub(super) fn new(global_prefetch: u32) -> Client {
        let limiter = ChannelLimiter::new(0);
        limiter.set_prefetch(global_prefetch);
        Client { outbox: Arc::default(), limiter }
    }

    pub(super) fn try_consume(&self, queue: &Queue, slot: u32, how: Consume) -> Result<ConsumerKey, Fault> {
        let new = NewConsumer {
            connection: ConnectionId(1),
            channel: 1,
            tag: "c".into(),
            no_ack: how.no_ack,
            exclusive: how.exclusive,
            priority: how.priority,
            prefetch: how.prefetch,
            outbox: self.outbox.clone(),
            slot,
            limiter: self.limiter.clone(),
            window_bytes: how.window_bytes,
            arguments: None,
        };
        queue.consume(new, &mut Wakes::default())
    }

    pub(super) fn consume(&self, queue: &Queue, slot: u32, how: Consume) -> ConsumerKey {
        self.try_consume(queue, slot, how).expect("the queue lets it in")
    }

    /// Takes all that it was given: consumer and messages.
    pub(super) fn take(&self) -> Vec<(u32, Run)> {
        let mut items = VecDeque::new();
        self.outbox.take(&mut items);
        let run = |item| match item {
            Item::Deliver { slot, run } => (slot, run),
            other => panic!("{other:?}"),
        };
        items.into_iter().map(run).collect()
    }

    /// As (consumer, message).
    pub(super) fn take_messages(&self) -> Vec<(u32, u32)> {
        messages(&self.take())
    }

    /// Takes the one message that it was given, if it was given one.
    fn take_next(&self) -> Option<(u32, Run)> {
        let mut taken = self.take();
        assert!(taken.len() <= 1 && taken.iter().all(|(_, run)| run.count == 1), "{taken:?}");
        taken.pop()
    }

    pub(super) fn take_one(&self, slot: u32, id: u32) -> Run {
        let (to, run) = self.take_next().expect("a message");
        assert_eq!((to, ids(&run)), (slot, vec![id]));
        run
    }

    /// Settles a message of a consumer, as its channel does.
    pub(super) fn ack(&self, queue: &Queue, key: ConsumerKey, run: Run) {
        self.limiter.give_back(run.count);
        queue.settle([(Some(key), run)], crate::broker::queue::HowSettled::Acked, &mut Wakes::default());
        self.tell_waiting();
    }

    fn tell_waiting(&self) {
        while let Some(queue) = self.limiter.next_waiting() {
            queue.limit_lifted(&self.limiter, &mut Wakes::default());
        }
    }
}

/// As (consumer, message).
pub(super) fn messages(taken: &[(u32, Run)]) -> Vec<(u32, u32)> {
    taken.iter().flat_map(|(slot, run)| ids(run).into_iter().map(|id| (*slot, id))).collect()
}

pub(super) fn ids(run: &Run) -> Vec<u32> {
    run.records().map(|record| id_of(record.body())).collect()
}

pub(super) fn chunk(messages: std::ops::Range<u32>) -> Arc<Chunk> {
    chunk_of(messages.map(|id| (id, 4)))
}

fn enqueue(queue: &Queue, messages: std::ops::Range<u32>) {
    queue.enqueue(&chunk(messages), false, &mut Wakes::default());
}

pub(super) fn get(queue: &Queue) -> Option<Run> {
    match queue.get(false, &Arc::default(), &mut Wakes::default()) {
        Got::Message(run, _) => Some(run),
        Got::Empty => None,
        Got::Loading => panic!("nothing is on disk"),
    }
}

/// Takes everything that is ready, with the flags.
pub(super) fn drain(queue: &Queue) -> Vec<(u32, bool)> {
    std::iter::from_fn(|| get(queue)).map(|run| (ids(&run)[0], run.redelivered)).collect()
}

pub(super) fn returned(run: Run, consumer: ConsumerKey, how: HowReturned) -> Returned {
    Returned { run, consumer: Some(consumer), to_be_acked: true, how }
}

#[test]
fn two_consumers_share_ten_messages_five_and_five() {
    // Where each publish ends.
    for publishes in [&[10][..], &[1, 4, 9, 10], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
        let (client, queue) = (Client::new(0), new_queue("q", false));
        client.consume(&queue, 0, Consume::PLAIN);
        client.consume(&queue, 1, Consume::PLAIN);
        let mut first = 0;
        for &end in publishes {
            enqueue(&queue, first..end);
            first = end;
        }
        let expected: Vec<_> = (0..10).map(|id| (id % 2, id)).collect();
        assert_eq!(client.take_messages(), expected);
    }
}

/// Gives a backlog to three consumers at once: shares differ by no more than a block, and no run is longer.
fn check_shares(chunks: impl Iterator<Item = u32>) {
    const BLOCK_MESSAGES: u32 = 64;
    let (client, queue) = (Client::new(1), new_queue("q", false));
    assert_eq!(client.limiter.acquire(1), 1, "nobody is given anything yet");
    let slots = [0, 1, 2];
    for slot in slots {
        client.consume(&queue, slot, Consume::PLAIN);
    }
    let mut end = 0;
    for count in chunks {
        enqueue(&queue, end..end + count);
        end += count;
    }
    client.limiter.set_prefetch(0);
    client.tell_waiting();
    let runs = client.take();
    let shares = slots.map(|slot| runs.iter().filter(|(of, _)| *of == slot).map(|(_, run)| run.count).sum::<u32>());
    assert_eq!(shares.iter().sum::<u32>(), end);
    let apart = |share: &u32| share.abs_diff(shares[0]);
    assert!(shares.iter().map(apart).all(|by| by <= BLOCK_MESSAGES), "{shares:?}");
    assert!(runs.iter().all(|(_, run)| run.count <= BLOCK_MESSAGES));
}

#[test]
fn a_long_backlog_is_dealt_in_blocks_of_which_all_get_their_share() {
    check_shares([9000].into_iter());
}

#[test]
fn shares_do_not_depend_on_how_the_backlog_lies_in_chunks() {
    check_shares((0..3000).map(|i| [1, 62, 63][i % 3]).take(300));
    check_shares((0..2000).map(|_| 1));
}

#[test]
fn prefetch_one_means_exactly_one_outstanding() {
    let (client, queue) = (Client::new(0), new_queue("q", false));
    let key = client.consume(&queue, 0, Consume { prefetch: 1, ..Consume::PLAIN });
    enqueue(&queue, 0..3);
    for id in 0..3 {
        let run = client.take_one(0, id);
        enqueue(&queue, 10 + id..11 + id);
        assert_eq!(client.take_messages(), []);
        client.ack(&queue, key, run);
    }
}

/// Who acknowledges first is not served first, unless its turn has come and gone meanwhile.
#[test]
fn a_consumer_without_credit_keeps_its_place_until_its_turn_comes() {
    for (waiting, expected) in [(0..0, [(0, 3), (1, 4)]), (2..3, [(1, 2), (0, 3)])] {
        let (client, queue) = (Client::new(0), new_queue("q", false));
        let keys = [0, 1].map(|slot| client.consume(&queue, slot, Consume { prefetch: 1, ..Consume::PLAIN }));
        enqueue(&queue, 0..2);
        let mut taken = client.take();
        assert_eq!(messages(&taken), [(0, 0), (1, 1)]);
        if !waiting.is_empty() {
            enqueue(&queue, waiting);
        }
        for (slot, run) in taken.drain(..).rev() {
            client.ack(&queue, keys[slot as usize], run);
        }
        enqueue(&queue, 3..5);
        assert_eq!(client.take_messages(), expected);
    }
}

#[test]
fn an_ack_for_one_queue_lets_the_others_go_on_in_turns() {
    let client = Client::new(1);
    let queues = [0, 1, 2].map(|slot| {
        let queue = new_queue("q", false);
        let key = client.consume(&queue, slot, Consume::PLAIN);
        (queue, key)
    });
    for (slot, (queue, _)) in (0..).zip(&queues) {
        enqueue(queue, slot * 10..slot * 10 + 4);
    }
    let mut order = Vec::new();
    while let Some((slot, run)) = client.take_next() {
        order.extend(ids(&run));
        let (queue, key) = &queues[slot as usize];
        client.ack(queue, *key, run);
    }
    // The first queue had asked for its second message before the others asked for their first.
    assert_eq!(order, [0, 1, 10, 20, 2, 11, 21, 3, 12, 22, 13, 23]);
}

/// The queue that was just served is not served again before one that is published to only now and then.
#[test]
fn a_queue_that_empties_and_fills_again_does_not_push_in() {
    let client = Client::new(1);
    let (busy, patient) = (new_queue("busy", false), new_queue("patient", false));
    let keys = [client.consume(&busy, 0, Consume::PLAIN), client.consume(&patient, 1, Consume::PLAIN)];
    enqueue(&busy, 0..1);
    enqueue(&patient, 100..101);
    enqueue(&busy, 1..2);
    let mut order = Vec::new();
    while let Some((slot, run)) = client.take_next() {
        order.extend(ids(&run));
        client.ack([&busy, &patient][slot as usize], keys[slot as usize], run);
    }
    assert_eq!(order, [0, 100, 1]);
}

#[test]
fn consumers_of_one_queue_take_turns_under_their_channels_limit() {
    let (client, queue) = (Client::new(1), new_queue("q", false));
    let keys = [0, 1, 2].map(|slot| client.consume(&queue, slot, Consume::PLAIN));
    enqueue(&queue, 0..9);
    let mut served = [0; 3];
    while let Some((slot, run)) = client.take_next() {
        served[slot as usize] += 1;
        client.ack(&queue, keys[slot as usize], run);
    }
    assert_eq!(served, [3, 3, 3]);
}

#[test]
fn a_channels_limit_counts_what_is_on_its_way_in_any_queue() {
    let client = Client::new(5);
    let queues = [0, 1].map(|_| new_queue("q", false));
    for queue in &queues {
        client.consume(queue, 0, Consume::PLAIN);
        enqueue(queue, 0..4);
    }
    assert_eq!(client.take_messages().len(), 5);
    assert_eq!(client.limiter.acquire(1), 0);
}

/// One queue must not hold credit that it does not use while another is refused: it would not be woken.
#[test]
fn credit_that_a_queue_cannot_use_is_not_withheld_from_another() {
    let (one, other, limiter) = (Client::new(2), Client::new(0), Client::new(2).limiter);
    let (one, other) = (Client { limiter: limiter.clone(), ..one }, Client { limiter: limiter.clone(), ..other });
    let (narrow, wide) = (new_queue("narrow", false), new_queue("wide", false));
    one.consume(&narrow, 0, Consume { window_bytes: 1, ..Consume::PLAIN });
    other.consume(&wide, 1, Consume::PLAIN);
    thread::scope(|scope| {
        // The queue is stopped between taking credit and using it, where it hands over to its consumer.
        let guard = one.outbox.lock();
        let assigning = scope.spawn(|| enqueue(&narrow, 0..2));
        let deadline = Instant::now() + Duration::from_millis(30);
        while !limiter.is_full() && Instant::now() < deadline {
            thread::yield_now();
        }
        enqueue(&wide, 10..11);
        drop(guard);
        assigning.join().expect("a message is assigned");
    });
    assert_eq!(one.take_messages(), [(0, 0)]);
    assert_eq!(other.take_messages(), [(1, 10)]);
}

/// Everything is back at its place before the consumer that waits is given anything.
#[test]
fn what_a_channel_had_goes_back_before_anything_else_is_assigned() {
    let (client, waiting, queue) = (Client::new(0), Client::new(0), new_queue("q", false));
    let gone = client.consume(&queue, 0, Consume { prefetch: 6, ..Consume::PLAIN });
    enqueue(&queue, 0..10);
    let mut unsent = client.take().swap_remove(0).1;
    let delivered = unsent.split_front(3);
    queue.sent(gone, delivered.bytes(), &[], &mut Wakes::default());
    waiting.consume(&queue, 1, Consume { prefetch: 5, ..Consume::PLAIN });
    assert_eq!(waiting.take_messages(), [(1, 6), (1, 7), (1, 8), (1, 9)]);
    let unsent = returned(unsent, gone, HowReturned::Unsent);
    let delivered = returned(delivered, gone, HowReturned::Unsettled);
    assert!(!queue.release(&[gone], || vec![unsent, delivered], &mut Wakes::default()));
    assert_eq!(waiting.take_messages(), [(1, 0)]);
    assert_eq!(drain(&queue), [(1, true), (2, true), (3, false), (4, false), (5, false)]);
    assert_eq!(queue.unacked(), 10);
}

#[test]
fn a_cancelled_consumer_keeps_what_was_sent_and_returns_the_rest_unflagged() {
    let (client, queue) = (Client::new(0), new_queue("q", false));
    let key = client.consume(&queue, 0, Consume::PLAIN);
    enqueue(&queue, 0..5);
    let mut unsent = client.take().swap_remove(0).1;
    let sent = unsent.split_front(2);
    queue.sent(key, sent.bytes(), &[], &mut Wakes::default());
    let gather = || vec![returned(unsent, key, HowReturned::Unsent)];
    assert!(!queue.release(&[key], gather, &mut Wakes::default()));
    assert_eq!((queue.counts(), queue.unacked()), ((3, 0), 2));
    // It settles what it has after all: the queue counts it, and nobody gets its credit.
    queue.settle([(Some(key), sent)], crate::broker::queue::HowSettled::Acked, &mut Wakes::default());
    assert_eq!(queue.unacked(), 0);
    assert_eq!(drain(&queue), [(2, false), (3, false), (4, false)]);
}

#[test]
fn a_key_that_outlived_its_consumer_is_harmless() {
    let (client, queue) = (Client::new(0), new_queue("q", false));
    let one = Consume { prefetch: 1, ..Consume::PLAIN };
    let old = client.consume(&queue, 0, one);
    client.consume(&queue, 1, Consume { priority: -1, prefetch: 1, ..Consume::PLAIN });
    enqueue(&queue, 0..4);
    let mut taken = client.take();
    assert_eq!(messages(&taken), [(0, 0), (1, 1)]);
    assert!(!queue.release(&[old], Vec::new, &mut Wakes::default()));
    let new = client.consume(&queue, 2, one);
    assert_ne!(old, new);
    let newer = client.take_one(2, 2);
    queue.settle([(Some(old), taken.swap_remove(0).1)], crate::broker::queue::HowSettled::Acked, &mut Wakes::default());
    assert!(!queue.release(&[old], Vec::new, &mut Wakes::default()));
    assert_eq!(client.take_messages(), []);
    queue.settle([(Some(new), newer)], crate::broker::queue::HowSettled::Acked, &mut Wakes::default());
    assert_eq!(client.take_messages(), [(2, 3)]);
}

#[test]
fn higher_priorities_are_served_first_until_they_can_take_no_more() {
    let (client, queue) = (Client::new(0), new_queue("q", false));
    for (slot, priority) in [(0, 0), (1, 10), (2, -1), (3, 10)] {
        client.consume(&queue, slot, Consume { priority, prefetch: 2, ..Consume::PLAIN });
    }
    enqueue(&queue, 0..7);
    let order: Vec<_> = client.take_messages().iter().map(|(slot, _)| *slot).collect();
    assert_eq!(order, [1, 3, 1, 3, 0, 0, 2]);
}

#[test]
fn get_takes_one_message_out_of_a_run_and_purge_all_that_wait() {
    let queue = new_queue("q", false);
    enqueue(&queue, 0..10);
    let got: Vec<_> = (0..4).filter_map(|_| get(&queue)).collect();
    assert_eq!(got.iter().flat_map(ids).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(queue.purge(&mut Wakes::default()).0, 6);
    enqueue(&queue, 10..12);
    let requeue = |run: Run| Returned { run, consumer: None, to_be_acked: true, how: HowReturned::Unsettled };
    let back = got.into_iter().skip(1).map(requeue).collect();
    assert!(!queue.release(&[], || back, &mut Wakes::default()));
    assert_eq!((queue.counts().0, queue.unacked()), (5, 1));
    assert_eq!(drain(&queue), [(1, true), (2, true), (3, true), (10, false), (11, false)]);
}

#[test]
fn a_dead_queue_takes_nothing_in_and_says_404() {
    let (client, queue) = (Client::new(0), new_queue("q", true));
    let key = client.consume(&queue, 0, Consume::PLAIN);
    enqueue(&queue, 0..2);
    let unsent = client.take().swap_remove(0).1;
    let gather = || vec![returned(unsent, key, HowReturned::Unsent)];
    assert!(queue.release(&[key], gather, &mut Wakes::default()), "it was auto-delete");
    assert!(queue.is_dead());
    enqueue(&queue, 2..4);
    assert_eq!((queue.counts(), queue.pressure(ConnectionId(1)).ready_bytes), ((0, 0), 0));
    assert!(get(&queue).is_none());
    assert_eq!(client.try_consume(&queue, 1, Consume::PLAIN).unwrap_err().code, ReplyCode::NotFound);
}

#[test]
fn a_paused_publisher_is_told_whatever_drains_the_queue() {
    type Drain = fn(&Queue, ConsumerKey, Run);
    let drains: [(&str, Drain); 5] = [
        ("acks", |queue, key, run| {
            assert_eq!(
                queue.settle([(Some(key), run)], crate::broker::queue::HowSettled::Acked, &mut Wakes::default()),
                Epoch::NONE
            )
        }),
        ("gets", |queue, _, _| drop(get(queue))),
        ("a purge", |queue, _, _| assert_eq!(queue.purge(&mut Wakes::default()).0, 1)),
        ("a delete", |queue, _, _| drop(queue.kill(false, false))),
        ("the last consumer's end", |queue, key, _| {
            assert!(!queue.release(&[key], Vec::new, &mut Wakes::default()));
        }),
    ];
    for (what, drain) in drains {
        let (client, queue, publisher) = (Client::new(0), new_queue("q", false), Arc::<Outbox>::default());
        let key = client.consume(&queue, 0, Consume { prefetch: 1, ..Consume::PLAIN });
        enqueue(&queue, 0..2);
        assert!(queue.pause_publisher(&publisher, Relief { ready_bytes: 0, drained_bytes: u64::MAX }));
        assert!(publisher.park(Waker::noop(), false), "{what} has not come yet");
        drain(&queue, key, client.take_one(0, 0));
        assert!(!publisher.park(Waker::noop(), false), "{what} should tell the publisher");
        assert!(publisher.park(Waker::noop(), false), "{what} should tell it once");
    }
}

/// A chunk of 40 messages of 1000 bytes each, of which the test itself keeps nothing.
fn large_chunk(queues: &[&Queue]) -> Weak<Chunk> {
    let chunk = chunk_of((0..40).map(|id| (id, 1000)));
    for queue in queues {
        queue.enqueue(&chunk, false, &mut Wakes::default());
    }
    Arc::downgrade(&chunk)
}

/// Settles messages one by one, as a channel does.
fn settle(queue: &Queue, runs: impl IntoIterator<Item = Run>) {
    for run in runs {
        queue.settle([(None, run)], crate::broker::queue::HowSettled::Acked, &mut Wakes::default());
    }
}

#[test]
fn one_message_that_waits_does_not_pin_a_large_chunk() {
    let queue = new_queue("q", false);
    let chunk = large_chunk(&[&queue]);
    settle(&queue, (0..39).filter_map(|_| get(&queue)));
    assert!(chunk.upgrade().is_none());
    assert_eq!(drain(&queue), [(39, false)]);
}

#[test]
fn one_message_that_came_back_does_not_pin_a_large_chunk() {
    let queue = new_queue("q", false);
    let chunk = large_chunk(&[&queue]);
    let requeue = |run| Returned { run, consumer: None, to_be_acked: true, how: HowReturned::Unsettled };
    let all: Vec<_> = (0..40).filter_map(|_| get(&queue)).map(requeue).collect();
    assert!(!queue.release(&[], || all, &mut Wakes::default()));
    settle(&queue, (0..39).filter_map(|_| get(&queue)));
    assert!(chunk.upgrade().is_none());
    assert_eq!(drain(&queue), [(39, true)]);
}

#[test]
fn one_message_that_gets_have_left_does_not_pin_a_large_chunk() {
    let queue = new_queue("q", false);
    let chunk = large_chunk(&[&queue]);
    for _ in 0..39 {
        let Got::Message(run, _) = queue.get(true, &Arc::default(), &mut Wakes::default()) else {
            panic!("a message waits")
        };
        run.settle();
    }
    assert!(chunk.upgrade().is_none());
    assert_eq!(drain(&queue), [(39, false)]);
}

/// What is purged, deleted or dropped by a dead queue counts as settled for the others that share the chunk.
#[test]
fn a_queue_that_drops_its_messages_does_not_keep_their_chunk() {
    type DropAll = fn(&Queue);
    let drops: [(&str, DropAll); 3] = [
        ("purge", |queue| assert_eq!(queue.purge(&mut Wakes::default()).0, 40)),
        ("delete", |queue| drop(queue.kill(false, false))),
        ("release", |queue| {
            let all: Vec<_> = (0..40).filter_map(|_| get(queue)).collect();
            drop(queue.kill(false, false));
            let back = |run| Returned { run, consumer: None, to_be_acked: true, how: HowReturned::Unsettled };
            let gather = || all.into_iter().map(back).collect();
            assert!(!queue.release(&[], gather, &mut Wakes::default()));
        }),
    ];
    for (what, drop_all) in drops {
        let (kept, dropped) = (new_queue("kept", false), new_queue("dropped", false));
        let chunk = large_chunk(&[&kept, &dropped]);
        drop_all(&dropped);
        settle(&kept, (0..39).filter_map(|_| get(&kept)));
        assert!(chunk.upgrade().is_none(), "{what} keeps the chunk");
    }
}

#[test]
fn a_bounded_queue_drops_what_comes_while_it_is_full() {
    let definition = new_queue("q", false).definition.clone();
    let queue = Queue::bounded(definition, 1);
    enqueue(&queue, 0..3);
    enqueue(&queue, 3..4);
    assert_eq!(drain(&queue), [(0, false), (1, false), (2, false)]);
    enqueue(&queue, 4..5);
    assert_eq!(drain(&queue), [(4, false)]);
}

#[test]
fn queues_share_one_chunk() {
    let queues: Vec<_> = (0..50).map(|_| new_queue("q", false)).collect();
    let chunk = chunk(0..10);
    for queue in &queues {
        queue.enqueue(&chunk, false, &mut Wakes::default());
    }
    assert_eq!(Arc::strong_count(&chunk), 51);
}

/// A publisher may wait for consumers to take so much, however much is left.
#[test]
fn a_paused_publisher_is_told_when_enough_has_left() {
    let (client, queue, publisher) = (Client::new(0), new_queue("q", false), Arc::<Outbox>::default());
    enqueue(&queue, 0..10);
    let size = queue.pressure(ConnectionId(9)).ready_bytes / 10;
    client.consume(&queue, 0, Consume { prefetch: 1, ..Consume::PLAIN });
    let so_far = queue.pressure(ConnectionId(9)).drained_bytes;
    let until = Relief { ready_bytes: 0, drained_bytes: so_far + 2 * size };
    assert!(queue.pause_publisher(&publisher, until));
    for told in [false, true] {
        assert!(publisher.park(Waker::noop(), false));
        let _ = queue.get(true, &Arc::default(), &mut Wakes::default());
        assert_eq!(!publisher.park(Waker::noop(), false), told);
    }
}
