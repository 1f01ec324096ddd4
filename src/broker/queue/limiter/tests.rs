use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use super::*;
use crate::broker::ConnectionId;
use crate::broker::outbox::{Outbox, Wakes};
use crate::broker::queue::{NewConsumer, QueueDefinition};
use crate::storage::chunk::Chunk;
use crate::storage::record::append_prefix;

fn queue_with_consumer(limiter: &Arc<ChannelLimiter>, outbox: &Arc<Outbox>) -> Arc<Queue> {
    let queue = Queue::new(QueueDefinition {
        vhost: "/".into(),
        name: "q".into(),
        durable: false,
        auto_delete: false,
        exclusive_owner: None,
        arguments: Default::default(),
    });
    let consumer = NewConsumer {
        connection: ConnectionId(1),
        channel: 1,
        tag: "c".into(),
        no_ack: false,
        exclusive: false,
        priority: 0,
        prefetch: 0,
        outbox: outbox.clone(),
        slot: 0,
        limiter: limiter.clone(),
        window_bytes: 1000,
        arguments: None,
    };
    queue.consume(consumer, &mut Wakes::default()).expect("the queue lets it in");
    queue
}

fn message() -> Arc<Chunk> {
    let mut record = Vec::new();
    append_prefix(&mut record, 0, b"", b"q", &[0, 0], 0);
    Chunk::of_one(record)
}

#[test]
fn room_is_the_lower_of_prefetch_and_ceiling() {
    let limits = [(0, 0, u32::MAX), (0, 7, 7), (5, 0, 5), (5, 7, 5), (9, 7, 7)];
    for (prefetch, ceiling, room) in limits {
        let limiter = ChannelLimiter::new(ceiling);
        limiter.set_prefetch(prefetch);
        assert_eq!(limiter.acquire(u32::MAX), room);
        assert_eq!((limiter.acquire(1), limiter.is_full()), (0, true));
    }
}

#[test]
fn a_prefetch_lowered_below_what_is_outstanding_lets_nothing_through_until_that_is_settled() {
    let limiter = ChannelLimiter::new(0);
    assert_eq!(limiter.acquire(5), 5);
    limiter.set_prefetch(2);
    limiter.give_back(3);
    assert_eq!(limiter.acquire(1), 0);
    limiter.give_back(1);
    assert_eq!(limiter.acquire(9), 1);
}

/// A queue that is refused registers and then asks again: room may have come between the two.
#[test]
fn room_that_comes_between_refusal_and_registration_is_not_missed() {
    let (limiter, outbox) = (ChannelLimiter::new(1), Arc::default());
    let queue = queue_with_consumer(&limiter, &outbox);
    assert_eq!(limiter.acquire(1), 1);
    thread::scope(|scope| {
        let registration = limiter.waiting.lock().expect("nobody has failed");
        scope.spawn(|| queue.enqueue(&message(), false, &mut Wakes::default()));
        // Long enough to be refused. If it was not, it finds room without that.
        thread::sleep(Duration::from_millis(10));
        limiter.give_back(1);
        assert!(!limiter.some_wait.load(Ordering::SeqCst), "nobody is told of the room");
        drop(registration);
    });
    let mut items = VecDeque::new();
    outbox.take(&mut items);
    assert_eq!(items.len(), 1);
}

/// A dead queue that waits does not stand in the way of those behind it.
#[test]
fn queues_that_are_gone_are_passed_over() {
    let (limiter, outbox) = (ChannelLimiter::new(1), Arc::default());
    let [gone, lives] = [(); 2].map(|()| queue_with_consumer(&limiter, &outbox));
    assert_eq!(limiter.acquire(1), 1);
    for queue in [&gone, &lives] {
        queue.enqueue(&message(), false, &mut Wakes::default());
    }
    drop(gone);
    limiter.give_back(1);
    assert!(limiter.next_waiting().is_some_and(|next| Arc::ptr_eq(&next, &lives)));
    assert!(limiter.next_waiting().is_none());
}
