//! Holding back a publisher whose queue fills faster than its consumers drain it.
//!
//! While consumers nearly keep up, it pays to let them: what is in flight stays in the processor's caches, and the
//! queue stays short. So a publisher whose queue has more than `queue_flow_bytes` ready is not read until half of that
//! is gone, but only while the queue drains so fast that this takes some milliseconds. Consumers that are slower than
//! that (work that takes time, a prefetch that is used up) hold nobody back: to absorb is what a queue is for.
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
use crate::broker::queue::Queue;
use crate::limits::Limits;

/// How often a pause is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// In this many looks a queue has to drain what it has too much, or its publishers go on.
const LOOKS_TO_DRAIN: u64 = 8;
/// How long a publisher is then left alone.
const LENIENCE: Duration = Duration::from_millis(100);
/// How often a stalled queue is looked at.
const STALLED_LOOK: Duration = Duration::from_millis(500);

struct Pause {
    queue: Arc<Queue>,
    /// Bytes to drain by the next look.
    expected: u64,
    /// What had left the queue at the last look.
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

    /// A queue that was just published to is fuller than it should be: pauses, if that is of use.
    pub fn pressed(&mut self, queue: Arc<Queue>, id: ConnectionId, outbox: &Arc<Outbox>, limits: &Limits) {
        let now = Instant::now();
        let pressure = queue.pressure(id);
        let stalled = pressure.ready_bytes >= limits.stalled_queue_bytes && pressure.held_by_socket;
        let lenient = self.lenient_until.is_some_and(|until| now < until);
        if !stalled && lenient {
            return;
        }
        let resume_bytes = limits.queue_flow_bytes / 2;
        let expected = pressure.ready_bytes.saturating_sub(resume_bytes) / LOOKS_TO_DRAIN;
        if !queue.pause_publisher(outbox, resume_bytes) {
            return;
        }
        self.set_timer(now + if stalled { STALLED_LOOK } else { LOOK });
        self.pause = Some(Pause { queue, expected, drained: pressure.drained_bytes, stalled });
    }

    /// The outbox was notified, perhaps because the queue has drained.
    pub fn look(&mut self, limits: &Limits) {
        if let Some(pause) = &self.pause
            && pause.queue.is_drained_below(limits.queue_flow_bytes / 2)
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
            let keeps_up = pressure.drained_bytes.saturating_sub(pause.drained) >= pause.expected;
            if stalled || (!pause.stalled && keeps_up) {
                pause.drained = pressure.drained_bytes;
                pause.stalled = stalled;
                timer.as_mut().reset(now + if stalled { STALLED_LOOK } else { LOOK });
                continue;
            }
            self.lenient_until = Some(now + LENIENCE);
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
