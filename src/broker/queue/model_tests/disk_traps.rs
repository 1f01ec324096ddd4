//! What messages that leave memory and come back must not break, one test for each trap.

use crate::broker::queue::Leaving;
use std::sync::Arc;
use std::task::Waker;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::commands::Consume;
use super::traps::{Client, ids, returned};
use super::{chunk_with, definition};
use crate::broker::ConnectionId;
use crate::broker::outbox::{Outbox, Wakes};
use crate::broker::queue::{Got, HowReturned, Queue, QueueDefinition, Returned, Surroundings};
use crate::storage::Epoch;
use crate::storage::chunk::Run;
use crate::storage::store::memory::MemoryDisk;
use crate::storage::store::{ColdRange, ColdTarget, Loaded, RecoveredQueue, Store};

/// A durable queue whose disk answers when it is told, and brings three messages a load.
struct Stand {
    disk: MemoryDisk,
    store: Arc<Store>,
    queue: Arc<Queue>,
}

impl Stand {
    fn new(resident_bytes: u64) -> Stand {
        Stand::with(MemoryDisk::open(resident_bytes, 3), true)
    }

    fn with((disk, store): (MemoryDisk, Arc<Store>), durable: bool) -> Stand {
        let queue = Queue::with_store(definition("q", durable, false), Queue::new_id(), &store);
        Stand { disk, store, queue }
    }

    /// A queue of whose messages, 0 to 9, none is in memory.
    fn all_cold() -> Stand {
        let stand = Stand::new(0);
        stand.enqueue(0..10);
        stand.sync();
        assert_eq!(stand.hot(), 0);
        stand
    }

    fn enqueue(&self, messages: std::ops::Range<u32>) {
        self.enqueue_of(messages, 4);
    }

    fn enqueue_of(&self, messages: std::ops::Range<u32>, body_bytes: usize) {
        for id in messages {
            self.queue.enqueue(&chunk_with([(id, body_bytes)], |_| true), false, &mut Wakes::default());
        }
    }

    fn sync(&self) {
        self.disk.write(&self.store.log);
    }

    /// How many messages on disk the journal has, and how many were spilled.
    fn on_disk(&self) -> (usize, usize) {
        self.sync();
        self.disk.counts(self.queue.id)
    }

    /// Bytes of ready messages in memory.
    fn hot(&self) -> u64 {
        let state = self.queue.lock();
        state.lanes().at(0).ready.head_bytes() + state.lanes().at(0).ready.tail_bytes
    }

    /// How many entries stand for the messages on disk.
    fn ranges(&self) -> usize {
        self.queue.lock().lanes().at(0).ready.cold.iter().count()
    }

    fn is_loading(&self) -> bool {
        self.disk.is_loading(self.queue.id)
    }

    fn answer_all(&self) {
        while self.disk.next_request().is_some() {
            self.disk.answer();
        }
    }

    fn get(&self) -> Got {
        self.queue.get(false, &Arc::default(), &mut Wakes::default())
    }

    /// Gets everything, with the flags.
    fn drain(&self) -> Vec<(u32, bool)> {
        let next = || {
            // A load that was under way may be of others.
            while let Got::Loading = self.get_kept() {
                assert!(self.disk.next_request().is_some(), "nobody asks the disk for the message at the front");
                self.answer_all();
            }
            match self.get() {
                Got::Message(run, _) => Some((ids(&run)[0], run.redelivered)),
                Got::Empty => None,
                Got::Loading => panic!("the message at the front has been loaded"),
            }
        };
        std::iter::from_fn(next).collect()
    }

    /// Whether the front is loading, without taking it.
    fn get_kept(&self) -> Got {
        let state = self.queue.lock();
        let (is_empty, has_front) = (state.lanes().at(0).ready.is_empty(), state.lanes().at(0).ready.has_front());
        drop(state);
        if is_empty || has_front { Got::Empty } else { self.get() }
    }

    fn got(&self) -> Run {
        match self.get() {
            Got::Message(run, _) => run,
            other => panic!("{other:?}"),
        }
    }

    fn requeue(&self, run: Run) {
        let back = Returned { run, consumer: None, to_be_acked: true, how: HowReturned::Unsettled };
        assert!(!self.queue.release(&[], || vec![back], &mut Wakes::default()));
    }
}

fn unflagged(messages: std::ops::Range<u32>) -> Vec<(u32, bool)> {
    messages.map(|id| (id, false)).collect()
}

fn is_notified(outbox: &Outbox) -> bool {
    !outbox.park(Waker::noop(), false)
}

#[test]
fn any_number_of_messages_on_disk_is_one_entry() {
    let stand = Stand::new(100);
    stand.enqueue(0..500);
    assert_eq!(stand.ranges(), 0, "nothing leaves memory before it is on disk");
    stand.sync();
    assert_eq!((stand.ranges(), stand.queue.counts().0), (1, 500));
    assert!((1..200).contains(&stand.hot()), "{} bytes in memory", stand.hot());
    for first in (500..1000).step_by(50) {
        stand.enqueue(first..first + 50);
        stand.sync();
    }
    assert_eq!((stand.ranges(), stand.queue.counts().0), (1, 1000));
    assert_eq!(stand.drain(), unflagged(0..1000));
}

/// Nothing more is enqueued after the last epoch is written, and it leaves memory all the same.
#[test]
fn the_last_messages_leave_memory_when_they_are_written() {
    let stand = Stand::new(0);
    for first in [0, 10, 20] {
        stand.enqueue(first..first + 10);
        assert!(stand.hot() > 0);
        stand.sync();
        assert_eq!((stand.hot(), stand.ranges()), (0, 1));
    }
}

/// Transient messages in between stay in memory, and do not keep others there.
#[test]
fn a_message_that_cannot_leave_does_not_hold_those_behind_it() {
    let stand = Stand::new(0);
    for id in 0..9 {
        stand.queue.enqueue(&chunk_with([(id, 4)], |id| id % 3 != 0), false, &mut Wakes::default());
    }
    let all = stand.hot();
    stand.sync();
    assert_eq!((stand.hot(), stand.ranges()), (all / 3, 3));
    assert_eq!(stand.drain(), unflagged(0..9));
}

#[test]
fn what_is_purged_during_a_load_does_not_come_back() {
    let stand = Stand::all_cold();
    assert!(matches!(stand.get(), Got::Loading));
    let (purged, epoch) = stand.queue.purge(&mut Wakes::default());
    assert!(purged == 10 && epoch.is_some());
    stand.enqueue(20..22);
    stand.answer_all();
    assert_eq!(stand.queue.counts().0, 2);
    assert_eq!(stand.on_disk().0, 2);
    assert_eq!(stand.drain(), unflagged(20..22));
}

#[test]
fn a_queue_that_is_deleted_during_a_load_stays_empty() {
    let stand = Stand::all_cold();
    let outbox = Arc::<Outbox>::default();
    assert!(matches!(stand.queue.get(false, &outbox, &mut Wakes::default()), Got::Loading));
    assert_eq!(stand.queue.kill(false, false).expect("nothing is asked of it"), Some(10));
    assert!(is_notified(&outbox), "whoever waits for a message hears that there is none");
    stand.answer_all();
    assert!(matches!(stand.get(), Got::Empty));
    assert_eq!(stand.on_disk(), (0, 0));
    assert!(stand.disk.is_dropped(stand.queue.id));
}

#[test]
fn what_comes_back_before_the_messages_on_disk_is_first() {
    for forgets in [false, true] {
        let stand = Stand::new(60);
        stand.enqueue(0..10);
        let mut got = [stand.got(), stand.got()];
        stand.sync();
        stand.queue.shrink(0, Leaving::All);
        assert!(matches!(stand.get(), Got::Loading), "the load of what follows is under way");
        if forgets {
            got.iter_mut().for_each(Run::forget_bytes);
        }
        got.into_iter().rev().for_each(|run| stand.requeue(run));
        let expected: Vec<_> = (0..10).map(|id| (id, id < 2)).collect();
        assert_eq!((stand.queue.counts().0, stand.queue.unacked()), (10, 0));
        assert_eq!(stand.drain(), expected);
    }
}

#[test]
fn everyone_who_asks_for_a_message_on_disk_is_told_when_it_is_there() {
    let stand = Stand::all_cold();
    let outboxes = [0, 1].map(|_| Arc::<Outbox>::default());
    for outbox in outboxes.iter().chain(&outboxes) {
        assert!(matches!(stand.queue.get(true, outbox, &mut Wakes::default()), Got::Loading));
        assert!(!is_notified(outbox));
    }
    stand.disk.answer();
    assert!(outboxes.iter().all(|outbox| is_notified(outbox)));
    assert!(!stand.is_loading(), "nobody consumes, so nothing more is loaded");
    assert_eq!(stand.drain(), unflagged(0..10));
}

#[test]
fn a_consumer_that_leaves_during_a_load_takes_nothing_with_it() {
    let stand = Stand::all_cold();
    let client = Client::new(0);
    let key = client.consume(&stand.queue, 0, Consume::PLAIN);
    assert!(stand.is_loading());
    assert!(!stand.queue.release(&[key], Vec::new, &mut Wakes::default()));
    stand.answer_all();
    assert!(client.take().is_empty());
    assert_eq!(stand.queue.counts(), (10, 0));
    client.consume(&stand.queue, 1, Consume::PLAIN);
    stand.answer_all();
    assert_eq!(client.take_messages(), (0..10).map(|id| (1, id)).collect::<Vec<_>>());
    assert_eq!((stand.queue.counts().0, stand.queue.unacked()), (0, 10));
}

/// The messages were given away while they were being spilled, and one came back.
#[test]
fn what_is_assigned_while_it_is_spilled_is_there_once() {
    let stand = Stand::with(MemoryDisk::open(0, 3), false);
    stand.enqueue(0..10);
    stand.queue.shrink(0, Leaving::All);
    let got = [stand.got(), stand.got(), stand.got()];
    let [_, back, _] = got;
    stand.requeue(back);
    stand.answer_all();
    assert_eq!((stand.hot(), stand.queue.counts().0, stand.on_disk()), (0, 8, (0, 8)));
    let expected: Vec<_> = [1].into_iter().chain(3..10).map(|id| (id, id == 1)).collect();
    assert_eq!(stand.drain(), expected);
    assert_eq!(stand.on_disk(), (0, 0));
}

/// The front of a chunk is with a consumer, the rest leaves memory.
#[test]
fn a_run_leaves_memory_while_its_first_half_is_assigned() {
    let stand = Stand::new(0);
    let client = Client::new(0);
    let key = client.consume(&stand.queue, 0, Consume { prefetch: 2, ..Consume::PLAIN });
    let chunk = chunk_with((0..5).map(|id| (id, 4)), |_| true);
    stand.queue.enqueue(&chunk, false, &mut Wakes::default());
    stand.sync();
    assert_eq!(client.take_messages(), [(0, 0), (0, 1)]);
    stand.answer_all();
    let run = Run::of_records(&chunk, 0, 2, 0, Epoch(1));
    stand.queue.settle([(Some(key), run)], crate::broker::queue::HowSettled::Acked, &mut Wakes::default());
    assert_eq!(client.take_messages(), [(0, 2), (0, 3)]);
    assert_eq!(stand.on_disk().0, 3);
}

#[test]
fn what_was_spilled_and_is_purged_leaves_the_disk() {
    let stand = Stand::with(MemoryDisk::open(0, 3), false);
    stand.enqueue(0..10);
    let all = stand.hot();
    stand.queue.shrink(all / 2, Leaving::All);
    stand.answer_all();
    assert_eq!((stand.hot(), stand.on_disk()), (all / 2, (0, 5)));
    assert_eq!(stand.queue.purge(&mut Wakes::default()), (10, Epoch::NONE));
    assert_eq!(stand.on_disk(), (0, 0));
}

#[test]
fn a_disk_without_room_leaves_messages_where_they_are() {
    let stand = Stand::with(MemoryDisk::open(0, 3), false);
    stand.disk.fill();
    stand.enqueue(0..10);
    stand.queue.shrink(0, Leaving::All);
    stand.answer_all();
    assert!(stand.hot() > 0 && stand.ranges() == 0);
    assert_eq!(stand.drain(), unflagged(0..10));
}

/// What is lost is not waited for.
#[test]
fn messages_that_the_disk_has_lost_are_not_counted_any_more() {
    for lost in [&[0][..], &[4, 5, 6], &[9], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]] {
        let stand = Stand::all_cold();
        lost.iter().for_each(|&seq| stand.disk.lose(stand.queue.id, seq));
        let left: Vec<_> = unflagged(0..10).into_iter().filter(|(id, _)| !lost.contains(&u64::from(*id))).collect();
        assert_eq!(stand.drain(), left);
        assert_eq!(stand.queue.counts().0, 0);
        assert_eq!(stand.queue.pressure(ConnectionId(1)).ready_bytes, 0);
    }
}

/// It is asked for again when something happens, not at once and for ever.
#[test]
fn what_cannot_be_read_is_neither_lost_nor_asked_for_at_once() {
    let stand = Stand::all_cold();
    let client = Client::new(0);
    client.consume(&stand.queue, 0, Consume::PLAIN);
    stand.disk.drop_request();
    stand.queue.clone().loaded(Loaded { queue: stand.queue.id, from_seq: 0, through_seq: 0, runs: Vec::new() });
    assert_eq!((stand.is_loading(), stand.queue.counts().0), (false, 10));
    stand.enqueue(10..11);
    stand.sync();
    stand.answer_all();
    assert_eq!(client.take_messages(), (0..11).map(|id| (0, id)).collect::<Vec<_>>());
}

/// Half a load in memory is enough.
#[test]
fn no_more_is_loaded_than_consumers_soon_need() {
    const BODY_BYTES: usize = 64 * 1024;
    let stand = Stand::with(MemoryDisk::open(0, usize::MAX), true);
    stand.enqueue_of(0..40, BODY_BYTES);
    stand.sync();
    let client = Client::new(0);
    let key = client.consume(&stand.queue, 0, Consume { prefetch: 1, ..Consume::PLAIN });
    for id in 0..40 {
        stand.answer_all();
        let in_memory = stand.hot() as usize / BODY_BYTES;
        assert!(in_memory < 4 + 8, "{in_memory} messages are in memory");
        assert!(in_memory >= 3.min(39 - id as usize), "only {in_memory} messages are in memory");
        let run = client.take_one(0, id);
        stand.queue.sent(key, run.bytes(), &[], &mut Wakes::default());
        client.ack(&stand.queue, key, run);
    }
    assert_eq!(stand.on_disk(), (0, 0));
}

#[test]
fn what_was_found_at_start_is_loaded_for_who_wants_it() {
    let before = Stand::all_cold();
    let bytes = before.queue.pressure(ConnectionId(1)).ready_bytes / 10;
    let range = |first_seq: u64, end_seq: u64, redelivered| ColdRange {
        first_seq,
        end_seq,
        count: end_seq - first_seq,
        bytes: bytes * (end_seq - first_seq),
        redelivered,
    };
    let found =
        RecoveredQueue { may_expire: false, next_seq: 10, waiting: vec![range(0, 4, true), range(4, 10, false)] };
    let queue = Queue::recovered(
        definition("q", true, false),
        before.queue.id,
        Surroundings { store: Some(before.store.clone()), ..Surroundings::default() },
        [(0, &found)],
    );
    let after = Stand { queue, ..before };
    assert_eq!((after.queue.counts().0, after.is_loading()), (10, false));
    after.enqueue(10..12);
    assert_eq!(after.drain(), (0..12).map(|id| (id, id < 4)).collect::<Vec<_>>());
}

#[test]
fn a_delivery_that_forgot_its_bytes_is_settled_or_comes_back() {
    let stand = Stand::new(1 << 20);
    stand.enqueue_of(0..2, 2000);
    let mut got = [stand.got(), stand.got()];
    assert!(!stand.store.may_forget(&got[0]), "it is not on disk");
    stand.sync();
    for run in &mut got {
        assert!(stand.store.may_forget(run));
        run.forget_bytes();
    }
    let [settled, back] = got;
    let epoch = stand.queue.settle([(None, settled)], crate::broker::queue::HowSettled::Acked, &mut Wakes::default());
    assert!(epoch.is_some());
    stand.requeue(back);
    assert_eq!((stand.on_disk().0, stand.hot()), (1, 0));
    assert_eq!(stand.drain(), [(1, true)]);
}

/// What is read back from disk does not have it yet.
#[test]
fn a_return_is_counted_before_it_is_written_where_the_bytes_were_forgotten() {
    let (disk, store) = MemoryDisk::open(1 << 20, 3);
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let definition = QueueDefinition { arguments, ..definition("q", true, false) };
    let queue = Queue::with_store(definition, Queue::new_id(), &store);
    let stand = Stand { disk, store, queue };
    stand.enqueue_of(0..1, 2000);
    let mut run = stand.got();
    stand.sync();
    run.forget_bytes();
    stand.requeue(run);
    assert!(matches!(stand.get(), Got::Loading));
    stand.answer_all();
    assert_eq!(stand.got().returns, 1);
}

#[test]
fn what_a_consumer_returns_unsent_is_not_flagged_on_disk_either() {
    let stand = Stand::all_cold();
    let client = Client::new(0);
    let key = client.consume(&stand.queue, 0, Consume::PLAIN);
    stand.answer_all();
    let unsent = client.take().into_iter().map(|(_, run)| returned(run, key, HowReturned::Unsent)).collect();
    assert!(!stand.queue.release(&[key], || unsent, &mut Wakes::default()));
    stand.queue.shrink(0, Leaving::All);
    assert_eq!((stand.hot(), stand.ranges()), (0, 1));
    assert_eq!(stand.drain(), unflagged(0..10));
}

/// A disk that answers at once finds the queue unlocked.
#[test]
fn a_disk_may_answer_at_once() {
    let stand = Stand::all_cold();
    stand.disk.answer_at_once();
    let client = Client::new(0);
    client.consume(&stand.queue, 0, Consume::PLAIN);
    assert_eq!(client.take_messages(), (0..10).map(|id| (0, id)).collect::<Vec<_>>());
}
