//! A channel that waits for the disk: its next frame is not handled until then, while everyone else goes on.
//!
//! ```text
//!            a definition, a purge, a commit     ┌─ Reply ─┐  the epoch is kept
//!           ────────────────────────────────────▶│         │──────────────────────┐
//!   going    get of a message that is on disk    ├─ Get ───┤  it has been read     ▼
//!           ────────────────────────────────────▶│         │────────────────────▶ going
//!            channel.close, confirms pending     ├─ Close ─┤  all are answered
//!           ────────────────────────────────────▶│         │────────────────────▶ closed
//!                                                └─────────┘
//! ```
//!
//! Only the reply is withheld, and with it a `basic.cancel`, which may be due to the method that is to be answered: whoever
//! deletes a queue learns that first, as from RabbitMQ. Deliveries and confirms go out meanwhile; they are not answers to
//! what waits.

use amq_protocol::protocol::{AMQPClass, basic};

use super::{Channel, Mode};
use crate::connection::scratch::Scratch;
use crate::connection::session::Session;
use crate::error::Fault;
use crate::storage::Epoch;
use crate::storage::log::Outcome;
use crate::wire::method;

/// What a suspended channel waits for.
pub enum Suspended {
    /// For the epoch to be kept, be it that the disk first needs room; then these frames are sent.
    Reply { until: Epoch, frames: Vec<u8> },
    /// For the message at the front of a queue to be in memory; then this is asked again.
    Get(basic::Get),
    /// For the answers to all publishes; then the client's `channel.close` is answered.
    Close,
}

/// How a channel goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    GoesOn,
    /// Its `channel.close` is to be answered now.
    Closes,
}

impl Channel {
    pub fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Whether something that the client may expect an answer to can be answered soon: what waits for room on the disk
    /// may never be.
    pub fn has_answers_pending(&self, session: &Session) -> bool {
        let Some(log) = session.log() else { return false };
        match &self.suspended {
            Some(Suspended::Reply { until, .. }) if log.outcome(*until) == Outcome::Pending => true,
            _ => self.has_confirms_pending(),
        }
    }

    pub fn has_confirms_pending(&self) -> bool {
        matches!(&self.mode, Mode::Confirm(confirms) if confirms.is_waiting())
    }

    /// Replies once the log has kept this epoch.
    pub(super) fn reply_when_kept(
        &mut self,
        until: Epoch,
        reply: AMQPClass,
        session: &mut Session,
        scratch: &mut Scratch,
    ) {
        if session.log().is_none_or(|log| log.outcome(until) == Outcome::Kept) {
            return self.reply(scratch, reply);
        }
        let mut frames = Vec::new();
        method::encode(&mut frames, self.number, reply);
        self.suspend(Suspended::Reply { until, frames }, session);
    }

    /// Sends what may follow from the method whose reply is withheld, and is not to come before it.
    pub(super) fn tell(&mut self, scratch: &mut Scratch, class: AMQPClass) {
        match &mut self.suspended {
            Some(Suspended::Reply { frames, .. }) => method::encode(frames, self.number, class),
            _ => self.reply(scratch, class),
        }
    }

    pub fn suspend(&mut self, suspended: Suspended, session: &mut Session) {
        match &suspended {
            Suspended::Reply { until, .. } => {
                session.wait_until_kept(*until);
                self.list_as_waiting(*until, session);
            }
            Suspended::Get(_) => self.list_as_waiting(Epoch::NONE, session),
            // Pending confirms have it listed.
            Suspended::Close => {}
        }
        self.suspended = Some(suspended);
    }

    /// Answers publishes whose epoch is not known to be kept.
    #[inline(never)]
    pub(super) fn confirm_when_kept(&mut self, epoch: Epoch, session: &mut Session, scratch: &mut Scratch) {
        let Mode::Confirm(confirms) = &mut self.mode else { return };
        confirms.file(epoch);
        self.answer_settled(session, scratch);
    }

    fn answer_settled(&mut self, session: &mut Session, scratch: &mut Scratch) {
        let Mode::Confirm(confirms) = &mut self.mode else { return };
        let Some(log) = session.log() else { return confirms.confirm_all(self.number, &mut scratch.out) };
        confirms.answer_settled(log, self.number, &mut scratch.out);
        if let Some((first, last)) = confirms.waits_for() {
            session.wait_until_settled(last);
            self.list_as_waiting(first, session);
        }
    }

    fn list_as_waiting(&mut self, from: Epoch, session: &mut Session) {
        session.waits.note(from);
        if !std::mem::replace(&mut self.listed_as_waiting, true) {
            session.waits.list(self.number);
        }
    }

    /// The log may have got further, or a message come from the disk: does what can be done now. It is no longer listed
    /// among those that wait, unless it still waits.
    pub fn look_at_disk(&mut self, session: &mut Session, scratch: &mut Scratch) -> Result<Resumed, Fault> {
        self.listed_as_waiting = false;
        self.answer_settled(session, scratch);
        match self.suspended.take() {
            Some(Suspended::Reply { until, frames }) => {
                if session.log().is_none_or(|log| log.outcome(until) == Outcome::Kept) {
                    scratch.out.extend_from_slice(&frames);
                } else {
                    self.list_as_waiting(until, session);
                    self.suspended = Some(Suspended::Reply { until, frames });
                }
            }
            Some(Suspended::Get(get)) => self.basic_get(get, session, scratch)?,
            Some(Suspended::Close) if self.has_confirms_pending() => self.suspended = Some(Suspended::Close),
            Some(Suspended::Close) => return Ok(Resumed::Closes),
            None => {}
        }
        Ok(Resumed::GoesOn)
    }
}
