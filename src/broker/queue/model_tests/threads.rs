//! Publishers and consumers on threads of their own, under one channel limit that spans two queues.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::commands::Consume;
use super::{chunk_with, definition, id_of, new_queue};
use crate::broker::ConnectionId;
use crate::broker::outbox::{Item, Outbox, Wakes};
use crate::broker::queue::limiter::ChannelLimiter;
use crate::broker::queue::{ConsumerKey, HowReturned, NewConsumer, Queue, Returned};
use crate::storage::chunk::Run;
use crate::storage::store::memory::MemoryDisk;

const QUEUES: usize = 2;
const PUBLISHERS: u32 = 2;
const CONSUMERS: usize = 3;
/// Of each publisher to each queue.
const MESSAGES: u32 = 1500;
/// Far longer than it takes. A consumer that sleeps that long has missed a wake.
const STALLED: Duration = Duration::from_secs(10);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

/// What all threads share.
struct Shared {
    queues: Vec<Arc<Queue>>,
    limiter: Arc<ChannelLimiter>,
    settled: AtomicUsize,
    /// All consumers, to be woken when there is nothing more to come.
    outboxes: Vec<Arc<Outbox>>,
    /// Messages as they were settled: queue and id.
    log: Mutex<Vec<(usize, u32)>>,
}

const ALL: usize = QUEUES * (PUBLISHERS * MESSAGES) as usize;

fn publish(publisher: u32, shared: &Shared) {
    let first = publisher * MESSAGES;
    let mut next = first;
    // Chunks of many sizes, each to both queues.
    for count in (1..).map(|i| i * 13 % 29 + 1) {
        let end = (next + count).min(first + MESSAGES);
        let chunk = chunk_with((next..end).map(|id| (id, 4 + (id % 5) as usize)), |_| true);
        for queue in &shared.queues {
            queue.enqueue(&chunk, false, &mut Wakes::default());
        }
        next = end;
        if next == first + MESSAGES {
            return;
        }
    }
}

/// A connection that consumes from every queue and settles all it gets; a few messages it sends back once.
struct Consumer<'a> {
    shared: &'a Shared,
    outbox: Arc<Outbox>,
    keys: Vec<ConsumerKey>,
    /// The last message of each publisher from each queue that was new.
    last: [[Option<u32>; PUBLISHERS as usize]; QUEUES],
}

impl Consumer<'_> {
    fn new(number: usize, shared: &Shared) -> Consumer<'_> {
        let outbox = shared.outboxes[number].clone();
        let start = |(slot, queue): (u32, &Arc<Queue>)| {
            let new = NewConsumer {
                connection: ConnectionId(number as u64),
                channel: 1,
                tag: "c".into(),
                no_ack: false,
                exclusive: false,
                priority: 0,
                prefetch: 0,
                outbox: outbox.clone(),
                slot,
                limiter: shared.limiter.clone(),
                window_bytes: Consume::PLAIN.window_bytes,
                arguments: None,
            };
            queue.consume(new, &mut Wakes::default()).expect("the queue lets it in")
        };
        let keys = (0..).zip(&shared.queues).map(start).collect();
        Consumer { shared, outbox, keys, last: Default::default() }
    }

    fn run(mut self) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut items = VecDeque::new();
        let mut log = Vec::new();
        while self.shared.settled.load(Ordering::SeqCst) < ALL {
            self.outbox.take(&mut items);
            if items.is_empty() {
                self.wait(&waker);
            }
            for item in items.drain(..) {
                let Item::Deliver { slot, run } = item else { panic!("{item:?}") };
                self.deliver(slot as usize, run, &mut log);
            }
        }
        self.shared.log.lock().expect("no other thread has failed").append(&mut log);
        // The others may have gone to sleep before the last was settled.
        let mut wakes = Wakes::default();
        self.shared.outboxes.iter().for_each(|outbox| outbox.notify(&mut wakes));
    }

    fn wait(&self, waker: &Waker) {
        // Lets the others come between the look into the outbox and the registration.
        thread::yield_now();
        if self.outbox.park(waker, true) {
            let since = Instant::now();
            thread::park_timeout(STALLED);
            assert!(since.elapsed() < STALLED, "a wake was lost");
        }
    }

    fn deliver(&mut self, queue: usize, run: Run, log: &mut Vec<(usize, u32)>) {
        let key = self.keys[queue];
        let mut wakes = Wakes::default();
        self.shared.queues[queue].sent(key, run.bytes(), &[], &mut wakes);
        let ids: Vec<_> = run.records().map(|record| id_of(record.body())).collect();
        if !run.redelivered {
            self.check_order(queue, &ids);
        }
        let count = run.count;
        if !run.redelivered && ids.iter().any(|id| id % 17 == 0) {
            let how = HowReturned::Unsettled;
            let back = Returned { run, consumer: Some(key), to_be_acked: true, how };
            assert!(!self.shared.queues[queue].release(&[], || vec![back], &mut wakes));
        } else {
            self.shared.queues[queue].settle([(Some(key), run)], crate::broker::queue::HowSettled::Acked, &mut wakes);
            log.extend(ids.iter().map(|id| (queue, *id)));
            self.shared.settled.fetch_add(count as usize, Ordering::SeqCst);
        }
        self.shared.limiter.give_back(count);
        while let Some(queue) = self.shared.limiter.next_waiting() {
            queue.limit_lifted(&self.shared.limiter, &mut wakes);
        }
    }

    /// What one publisher sent to one queue comes in that order, if it has not been back.
    fn check_order(&mut self, queue: usize, ids: &[u32]) {
        for &id in ids {
            let last = &mut self.last[queue][(id / MESSAGES) as usize];
            assert!(last.is_none_or(|last| last < id), "{id} came after {last:?}");
            *last = Some(id);
        }
    }
}

/// With one message at a time, every wake that is lost stops them all.
#[test]
fn threads_lose_nothing_and_get_everything_once_in_order() {
    let new_queues = || (0..QUEUES).map(|_| new_queue("q", false)).collect();
    [1, 7, 0].into_iter().for_each(|limit| check_under_limit(limit, new_queues(), || {}));
}

/// Messages leave memory as soon as they are written, and are loaded all the time.
#[test]
fn threads_lose_nothing_that_is_on_disk_meanwhile() {
    for limit in [7, 0] {
        let (disk, store) = MemoryDisk::open(0, usize::MAX);
        disk.answer_at_once();
        let new_queue = |_| Queue::with_store(definition("q", true, false), Queue::new_id(), &store);
        let queues: Vec<_> = (0..QUEUES).map(new_queue).collect();
        check_under_limit(limit, queues.clone(), || {
            disk.write(&store.log);
        });
        disk.write(&store.log);
        assert!(queues.iter().all(|queue| disk.counts(queue.id) == (0, 0)), "what is settled is on disk");
    }
}

/// `meanwhile` is done again and again until the consumers have ended.
fn check_under_limit(global_prefetch: u32, queues: Vec<Arc<Queue>>, meanwhile: impl Fn() + Sync) {
    let limiter = ChannelLimiter::new(0);
    limiter.set_prefetch(global_prefetch);
    let shared = Shared {
        queues,
        limiter,
        settled: AtomicUsize::new(0),
        outboxes: (0..CONSUMERS).map(|_| Arc::default()).collect(),
        log: Mutex::default(),
    };
    thread::scope(|scope| {
        let shared = &shared;
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || publish(publisher, shared));
        }
        let consumer = |number| scope.spawn(move || Consumer::new(number, shared).run());
        let consumers: Vec<_> = (0..CONSUMERS).map(consumer).collect();
        while consumers.iter().any(|consumer| !consumer.is_finished()) {
            meanwhile();
            thread::yield_now();
        }
    });
    let mut log = shared.log.into_inner().expect("no thread has failed");
    log.sort_unstable();
    let expected: Vec<_> =
        (0..QUEUES).flat_map(|queue| (0..PUBLISHERS * MESSAGES).map(move |id| (queue, id))).collect();
    assert_eq!(log, expected);
    let room = if global_prefetch == 0 { u32::MAX } else { global_prefetch };
    assert_eq!(shared.limiter.acquire(u32::MAX), room, "the limit has leaked");
    for queue in &shared.queues {
        assert_eq!((queue.counts().0, queue.unacked()), (0, 0));
    }
}
