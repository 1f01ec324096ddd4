//! A channel's open transaction: publishes and settlements that wait for `tx.commit`.

use std::sync::Arc;

use smallvec::SmallVec;

use super::ledger::{Delivered, Ledger};
use crate::broker::exchange::Exchange;
use crate::broker::queue::Queue;
use crate::error::Fault;
use crate::wire::hot::{Outcome, Settle};

/// A message of a transaction. It was routed when it was published.
pub struct Staged {
    pub queues: SmallVec<[Arc<Queue>; 1]>,
    pub mandatory: bool,
    pub record: Vec<u8>,
    /// If it is to be routed when it is committed, because exchanges are to drop duplicates then.
    pub again: Option<Box<RoutedAgain>>,
}

/// With what a message is routed again.
pub struct RoutedAgain {
    pub exchange: Arc<Exchange>,
    /// Its own, and those of its CC and BCC headers.
    pub routing_keys: Vec<Box<[u8]>>,
}

impl RoutedAgain {
    pub fn new(exchange: &Arc<Exchange>, routing_keys: &[&[u8]]) -> Box<RoutedAgain> {
        let routing_keys = routing_keys.iter().map(|key| Box::from(*key)).collect();
        Box::new(RoutedAgain { exchange: exchange.clone(), routing_keys })
    }
}

#[derive(Default)]
pub struct Transaction {
    pub published: Vec<Staged>,
    pub settled: Vec<(Outcome, Delivered)>,
}

impl Transaction {
    /// Takes deliveries off the ledger; an unknown tag is refused now, not at the commit.
    pub fn settle(&mut self, ledger: &mut Ledger, settle: Settle) -> Result<(), Fault> {
        let Settle { delivery_tag: tag, multiple, outcome } = settle;
        let mut each = |delivered| self.settled.push((outcome, delivered));
        let taken = if multiple { ledger.take_through(tag, each) } else { ledger.take(tag).map(&mut each) };
        taken.map_err(|_| Fault::precondition_failed(format!("unknown delivery tag {tag}")))
    }

    /// Drops what was published; what was settled is outstanding again.
    pub fn roll_back(self, ledger: &mut Ledger) {
        for (_, delivered) in self.settled {
            ledger.file(delivered);
        }
    }
}
