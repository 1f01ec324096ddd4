//! Holding back a publisher whose queue fills faster than its consumers drain it.
//!
//! While consumers nearly keep up, it pays to let them: what is in flight stays in the processor's caches, and the
//! queue stays short. So a publisher whose queue has more than `queue_flow_bytes` ready is not read until consumers have
//! taken a little more than it has just published. It goes at their pace, but only if that is a fast one: consumers that
//! are slow (work that takes time, a prefetch that is used up) hold nobody back, for to absorb is what a queue is for.
//!
//! The exception is a queue whose consumers do not read from their sockets at all. Beyond `stalled_queue_bytes` its
//! publishers are not read until it drains, is deleted or purged, or its last consumer is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::broker::ConnectionId;
use crate::broker::outbox::Outbox;
use crate::broker::queue::{Queue, Relief};
use crate::limits::Limits;

/// How often a pause is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Consumers that take less between two looks are slow.
const FAST_BYTES: u64 = 128 * 1024;
/// How long a publisher is left alone when its consumers have turned out to be slow.
const LENIENCE: Duration = Duration::from_millis(100);
/// How often a stalled queue is looked at.
const STALLED_LOOK: Duration = Duration::from_millis(500);

struct Pause {
    queue: Arc<Queue>,
    until: Relief,
    /// What had left the queue at the last look, in bytes.
    drained: u64,
    stalled: bool,
}

#[derive(Default)]
pub struct Flow {
    pause: Option<Pause>,
    /// Made when first needed, then used again.
    timer: Option<Pin<Box<Sleep>>>,
    lenient_until: Option<Instant>,
}

impl Flow {
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// A queue that was just sent `published` bytes is fuller than it should be: pauses, if that is of use.
    pub fn pressed(
        &mut self,
        queue: Arc<Queue>,
        published: u64,
        id: ConnectionId,
        outbox: &Arc<Outbox>,
        limits: &Limits,
    ) {
        let now = Instant::now();
        let pressure = queue.pressure(id);
        let stalled = pressure.ready_bytes >= limits.stalled_queue_bytes && pressure.held_by_socket;
        if !stalled && self.lenient_until.is_some_and(|until| now < until) {
            return;
        }
        let until = Relief {
            ready_bytes: limits.queue_flow_bytes / 2,
            drained_bytes: pressure.drained_bytes + published + published / 4,
        };
        if !queue.pause_publisher(outbox, until) {
            return;
        }
        self.set_timer(now + if stalled { STALLED_LOOK } else { LOOK });
        self.pause = Some(Pause { queue, until, drained: pressure.drained_bytes, stalled });
    }

    /// The outbox was notified, perhaps because the queue has drained.
    pub fn look(&mut self) {
        if let Some(pause) = &self.pause
            && !pause.stalled
            && pause.queue.is_relieved(pause.until)
        {
            self.pause = None;
        }
    }

    /// Looks after the pause when its time has come. Ready if the publisher may go on.
    pub fn poll(&mut self, cx: &mut Context<'_>, id: ConnectionId, limits: &Limits) -> Poll<()> {
        let (Some(pause), Some(timer)) = (&mut self.pause, &mut self.timer) else { return Poll::Pending };
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let pressure = pause.queue.pressure(id);
            let stalled = pressure.ready_bytes >= limits.stalled_queue_bytes && pressure.held_by_socket;
            let fast = pressure.drained_bytes.saturating_sub(pause.drained) >= FAST_BYTES;
            if (stalled || (fast && !pause.stalled)) && !pause.queue.is_relieved(pause.until) {
                pause.drained = pressure.drained_bytes;
                pause.stalled = stalled;
                timer.as_mut().reset(now + if stalled { STALLED_LOOK } else { LOOK });
                continue;
            }
            if !fast {
                self.lenient_until = Some(now + LENIENCE);
            }
            self.pause = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn set_timer(&mut self, at: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(sleep_until(at))),
        }
    }
}
