//! Consumer timeouts: a delivery that is not settled in time closes its channel.
//!
//! A delivery is stamped with its deadline when it is written, if it has one. What comes first of all the deadlines is
//! noted with the connection, [`Timeouts`], which looks at what is outstanding when that time has come: by then most of
//! it is settled, and the earliest deadline that is left is the next time to look. So a timeout costs a clock a run of
//! deliveries, and nothing where none is set.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Channel;
use super::ledger::Ledger;
use crate::broker::queue::Queue;
use crate::connection::session::Session;
use crate::error::Fault;

/// Until when a delivery is to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub at: Instant,
    pub timeout_ms: u64,
}

/// When the deliveries of a connection are to be looked at.
#[derive(Default)]
pub struct Timeouts {
    next: Cell<Option<Instant>>,
}

impl Timeouts {
    /// No delivery is due before.
    #[inline]
    pub fn next(&self) -> Option<Instant> {
        self.next.get()
    }

    /// Takes note that something is to be looked at then.
    fn note(&self, at: Instant) {
        self.next.set(Some(self.next.get().map_or(at, |next| next.min(at))));
    }

    /// Begins to look: what is still to be looked at later is noted anew.
    pub fn begin(&self) {
        self.next.set(None);
    }
}

impl Channel {
    /// The deadline of what is delivered now from a queue, by the consumer's own timeout, the queue's, the broker's, in this
    /// order.
    #[inline]
    pub(super) fn due(&self, own_ms: Option<u64>, queue: &Queue, session: &Session) -> Option<Due> {
        let timeout_ms = match own_ms.or_else(|| queue.consumer_timeout_ms()) {
            Some(ms) => ms,
            None => session.limits().consumer_timeout_ms,
        };
        if timeout_ms == 0 {
            return None;
        }
        let at = Instant::now().checked_add(Duration::from_millis(timeout_ms))?;
        session.timeouts.note(at);
        Some(Due { at, timeout_ms })
    }

    /// Takes note of when what is outstanding is due: deliveries have come back to the ledger.
    pub(super) fn note_earliest_due(&self, session: &Session) {
        if let Some(due) = self.ledger.earliest_due() {
            session.timeouts.note(due.at);
        }
    }

    /// Looks whether something was to be settled by now, and notes when to look again.
    ///
    /// # Errors
    /// 406 if there is something. The channel is to be closed.
    pub fn look_for_overdue(&self, now: Instant, session: &Session) -> Result<(), Fault> {
        let Some(due) = self.ledger.earliest_due() else { return Ok(()) };
        if due.at > now {
            session.timeouts.note(due.at.max(now + pause_after(&self.ledger)));
            return Ok(());
        }
        let (channel, ms) = (self.number, due.timeout_ms);
        Err(Fault::precondition_failed(format!(
            "delivery acknowledgement on channel {channel} timed out. Timeout value used: {ms} ms. This timeout value \
             can be configured, see consumers doc guide to learn more"
        )))
    }
}

/// So that looking takes a small part of the time, however much is outstanding.
fn pause_after(ledger: &Ledger) -> Duration {
    const LEAST: Duration = Duration::from_millis(20);
    const EACH: Duration = Duration::from_nanos(500);
    LEAST + EACH * u32::try_from(ledger.entries()).unwrap_or(u32::MAX)
}
