//! Which channels of a connection wait for the disk, and what its outbox is to be notified of.

use crate::storage::Epoch;

pub struct Waits {
    channels: Vec<u16>,
    /// None of them can go on before this epoch is settled.
    from: Epoch,
    /// The last epoch for which the outbox was registered to be notified when it is settled, so that it is not for each
    /// channel.
    pub settled: Epoch,
    /// The same for when it is kept.
    pub kept: Epoch,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { channels: Vec::new(), from: Epoch(u64::MAX), settled: Epoch::NONE, kept: Epoch::NONE }
    }
}

impl Waits {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// The epoch before which no channel can go on; none if some do not wait for an epoch.
    pub fn from(&self) -> Epoch {
        self.from
    }

    /// Takes note that some channel may go on from this epoch on.
    pub fn note(&mut self, from: Epoch) {
        self.from = self.from.min(from);
    }

    /// Enters a channel. Entries may outlive their channel, and a number may be entered twice.
    pub fn list(&mut self, channel: u16) {
        self.channels.push(channel);
    }

    /// Begins to look at the channels that are listed now. Returns how many.
    pub fn begin(&mut self) -> usize {
        self.from = Epoch(u64::MAX);
        self.channels.len()
    }

    pub fn channel(&self, index: usize) -> u16 {
        self.channels[index]
    }

    /// Has looked at so many; those that still wait are listed again behind them.
    pub fn end(&mut self, looked_at: usize) {
        self.channels.drain(..looked_at);
    }

    pub fn clear(&mut self) {
        self.begin();
        self.channels.clear();
    }
}
