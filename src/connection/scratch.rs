//! Buffers that belong to the thread, not to the connection: an idle connection holds none.

use std::cell::RefCell;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::broker::outbox::Wakes;
use crate::broker::queue::{ConsumerKey, HowSettled, Queue};
use crate::broker::routes::{Batch, Routes, TargetId};
use crate::storage::Epoch;
use crate::storage::chunk::Run;

/// A settled run, to be reported to its queue.
pub struct Settled {
    pub queue: Arc<Queue>,
    pub consumer: Option<ConsumerKey>,
    pub run: Run,
    pub how: HowSettled,
}

/// What a turn of a connection works with. Empty between two turns, but for the buffers' capacity.
pub struct Scratch {
    /// Bytes read from the socket.
    pub read: Vec<u8>,
    /// Frames to write; what the socket does not take stays with the connection.
    pub out: Vec<u8>,
    /// The record of the message at hand, up to its body.
    pub prefix: Vec<u8>,
    /// Messages on their way to queues.
    pub batch: Batch,
    /// Deliveries settled in this turn and not yet reported.
    settled: Vec<Settled>,
    /// The epoch with which all that was settled since this was last taken is kept.
    pub settled_in: Epoch,
    /// Channels in confirm mode that have published in this turn.
    pub to_confirm: Vec<u16>,
    pub wakes: Wakes,
}

/// A buffer with more capacity than this is not kept for the next turn.
const KEPT_OUT_BYTES: usize = 2 * 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: Vec::new(),
        out: Vec::new(),
        prefix: Vec::new(),
        batch: Batch::default(),
        settled: Vec::new(),
        settled_in: Epoch::NONE,
        to_confirm: Vec::new(),
        wakes: Wakes::default(),
    });
}

impl Scratch {
    /// Runs one turn of a connection with this thread's buffers.
    pub fn with<R>(turn: impl FnOnce(&mut Scratch) -> R) -> R {
        SCRATCH.with_borrow_mut(|scratch| {
            let result = turn(scratch);
            scratch.out.clear();
            scratch.batch.take_epoch();
            scratch.batch.forget_refused();
            scratch.settled_in = Epoch::NONE;
            if scratch.out.capacity() > KEPT_OUT_BYTES {
                scratch.out = Vec::new();
            }
            result
        })
    }

    /// Makes everything that this turn has published and settled so far visible in the queues, in that order.
    pub fn apply(&mut self, routes: &mut Routes) {
        if !self.batch.is_empty() {
            self.batch.flush(routes, &mut self.wakes);
        }
        self.apply_settled();
    }

    /// Takes note of a settled run. What one queue sees happens in the order of the frames, so messages published to
    /// the same queue before are handed over first.
    pub fn settle(&mut self, settled: Settled, routes: &mut Routes) {
        if !self.batch.is_empty() && self.batch.goes_to(settled.queue.id, routes) {
            self.batch.flush(routes, &mut self.wakes);
        }
        self.settled.push(settled);
    }

    /// The other way round: reports what was settled before, if it concerns a queue that is to be published to.
    pub fn settle_before_publishing_to(&mut self, target: TargetId, routes: &Routes) {
        const LOOKED_AT_MAX: usize = 8;
        if self.settled.is_empty() {
            return;
        }
        let queues = routes.queues(target);
        if self.settled.len() > LOOKED_AT_MAX
            || self.settled.iter().any(|settled| queues.iter().any(|queue| queue.id == settled.queue.id))
        {
            self.apply_settled();
        }
    }

    fn apply_settled(&mut self) {
        let mut settled = self.settled.drain(..).peekable();
        while let Some(Settled { queue, consumer, run, how }) = settled.next() {
            let mut of_queue: SmallVec<[(Option<ConsumerKey>, Run); 8]> = SmallVec::new();
            of_queue.push((consumer, run));
            let goes_on = |next: &Settled| Arc::ptr_eq(&next.queue, &queue) && next.how == how;
            while let Some(Settled { consumer, run, .. }) = settled.next_if(goes_on) {
                of_queue.push((consumer, run));
            }
            let epoch = queue.settle(of_queue, how, &mut self.wakes);
            self.settled_in = self.settled_in.max(epoch);
        }
    }
}
