//! Messages that wait while a load runs.

use super::client::Client;
use super::endpoint::Endpoint;
use super::error::Result;
use super::load::Load;
use super::producer;

/// By what part of it a backlog may grow or shrink before producers or consumers hold still.
const SLACK: u64 = 20;

/// How many messages are to wait, if it matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    messages: u64,
}

impl Backlog {
    /// Fills the load's queues, each with its share.
    pub fn fill(load: &Load, endpoint: &Endpoint) -> Result<()> {
        for queue in 0..if load.backlog == 0 { 0 } else { load.queues } {
            let share = load.backlog / u64::from(load.queues);
            producer::fill(load, queue, Client::open(endpoint)?, share)?;
        }
        Ok(())
    }

    /// The backlog that a load is to keep while it runs: where nobody consumes, it is no more than where it begins.
    pub fn of(load: &Load) -> Backlog {
        Backlog { messages: if load.consumers == 0 { 0 } else { load.backlog } }
    }

    /// Whether too many wait for producers to go on, when so many have come and gone since it was filled.
    pub fn is_exceeded(self, published: u64, delivered: u64) -> bool {
        self.messages > 0 && published > delivered + self.messages / SLACK
    }

    /// Whether too few wait for consumers to go on.
    pub fn is_undercut(self, published: u64, delivered: u64) -> bool {
        self.messages > 0 && delivered > published + self.messages / SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_and_consumers_hold_still_on_either_side() {
        let backlog = Backlog { messages: 1000 };
        assert!(!backlog.is_exceeded(50, 0) && backlog.is_exceeded(51, 0));
        assert!(!backlog.is_undercut(0, 50) && backlog.is_undercut(0, 51));
        assert!(!Backlog::default().is_exceeded(51, 0) && !Backlog::default().is_undercut(0, 51));
    }
}
