//! What a channel says of itself to who asks.

use super::{Channel, Mode};
use crate::broker::connections::ChannelReport;

impl Channel {
    pub fn report(&self) -> ChannelReport {
        let report = ChannelReport {
            number: self.number,
            is_closing: self.closing,
            consumers: self.consumers.len(),
            unacknowledged: self.ledger.outstanding(),
            prefetch: self.prefetch,
            global_prefetch: self.limiter.prefetch(),
            ..ChannelReport::default()
        };
        match &self.mode {
            Mode::Plain => report,
            Mode::Confirm(confirms) => ChannelReport { is_confirm: true, unconfirmed: confirms.unanswered(), ..report },
            Mode::Transaction(transaction) => ChannelReport {
                is_transactional: true,
                uncommitted: transaction.published.len(),
                uncommitted_acks: transaction.settled.iter().map(|(_, delivered)| u64::from(delivered.run.count)).sum(),
                ..report
            },
        }
    }
}
