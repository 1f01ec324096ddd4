//! Waiting for the disk: where the input stops, and how channels and the connection go on.

use amq_protocol::protocol::{AMQPClass, connection};

use super::{Dispatcher, Phase, close_ok};
use crate::channel::Resumed;
use crate::connection::scratch::Scratch;
use crate::connection::session::Session;
use crate::error::Close;
use crate::storage::log::Outcome;
use crate::wire::frame::FrameHead;
use crate::wire::hot::CLASS_BASIC;
use crate::wire::method;

impl Dispatcher {
    /// Whether the frame at the front of `data` is one of a suspended channel.
    #[cold]
    pub(super) fn stops_at(&mut self, data: &[u8]) -> bool {
        let number = FrameHead::read(data).map(|head| head.channel);
        self.stopped_at = number.filter(|number| self.is_suspended(*number));
        self.stopped_at.is_some()
    }

    fn is_suspended(&self, number: u16) -> bool {
        self.find(number).is_ok_and(|at| self.channels[at].is_suspended())
    }

    /// Whether nothing can be read, because what comes next is for a channel that waits for the disk.
    pub fn waits_for_disk(&self) -> bool {
        self.phase == Phase::Finishing || self.stopped_at.is_some_and(|number| self.is_suspended(number))
    }

    /// Goes on with what waited for the disk, as far as it is ready: confirms, withheld replies, closes.
    pub fn look_at_disk(&mut self, scratch: &mut Scratch) -> Result<(), Close> {
        let Session { waits, broker, .. } = &self.session;
        let log = broker.store.as_ref().map(|store| &store.log);
        if waits.is_empty() || log.is_some_and(|log| log.outcome(waits.from()) == Outcome::Pending) {
            return Ok(());
        }
        let count = self.session.waits.begin();
        for index in 0..count {
            self.look_at_channel(self.session.waits.channel(index), scratch)?;
        }
        self.session.waits.end(count);
        self.finish(scratch);
        Ok(())
    }

    fn look_at_channel(&mut self, number: u16, scratch: &mut Scratch) -> Result<(), Close> {
        const GET: u16 = 70;
        let Ok(at) = self.find(number) else { return Ok(()) };
        match self.channels[at].look_at_disk(&mut self.session, scratch) {
            Ok(Resumed::GoesOn) => Ok(()),
            Ok(Resumed::Closes) => {
                self.channels.remove(at);
                close_ok(number, scratch);
                Ok(())
            }
            // Nothing else that waits can fail.
            Err(fault) => self.handled(number, (CLASS_BASIC, GET), Err(fault), scratch),
        }
    }

    /// Answers the client's `connection.close`, unless there are answers that it should get before and soon can.
    pub(super) fn finish(&mut self, scratch: &mut Scratch) {
        let mut channels = self.channels.iter();
        if self.phase != Phase::Finishing || channels.any(|channel| channel.has_answers_pending(&self.session)) {
            return;
        }
        self.release(scratch);
        let ok = AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
        method::encode(&mut scratch.out, 0, ok);
        self.phase = Phase::Closed;
    }

    #[cfg(test)]
    pub fn suspend(&mut self, number: u16, suspended: crate::channel::Suspended) {
        let at = self.find(number).expect("an open channel");
        self.channels[at].suspend(suspended, &mut self.session);
    }
}
