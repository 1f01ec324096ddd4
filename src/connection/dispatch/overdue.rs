//! Deliveries that were to be settled by now: their channels are closed.

use std::time::Instant;

use super::Dispatcher;
use crate::connection::scratch::Scratch;
use crate::error::Close;

impl Dispatcher {
    /// Looks for them, if it is time to.
    #[inline]
    pub fn look_for_overdue(&mut self, scratch: &mut Scratch) -> Result<(), Close> {
        match self.session.timeouts.next() {
            None => Ok(()),
            Some(next) => self.look_for_overdue_since(next, scratch),
        }
    }

    fn look_for_overdue_since(&mut self, next: Instant, scratch: &mut Scratch) -> Result<(), Close> {
        let now = Instant::now();
        if now < next {
            return Ok(());
        }
        self.session.timeouts.begin();
        for at in 0..self.channels.len() {
            let looked = self.channels[at].look_for_overdue(now, &self.session);
            self.handled(self.channels[at].number, (0, 0), looked, scratch)?;
        }
        Ok(())
    }
}
