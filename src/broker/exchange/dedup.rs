//! Exchanges that drop duplicates: those of the type `x-message-deduplication`, and any that is told to.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use amq_protocol::types::{AMQPValue, FieldTable};

use super::{Exchange, ExchangeKind};
use crate::broker::dedup::{Deduplication, Line};
use crate::broker::definitions::HiddenOwner;
use crate::broker::policy::AppliedPolicies;
use crate::broker::policy::effective::{self, Dedup};
use crate::error::Fault;
use crate::storage::store::Store;

impl Exchange {
    /// Whether messages are compared with those that came before.
    pub(in crate::broker) fn deduplicates(&self) -> bool {
        self.deduplicates.load(Ordering::Acquire)
    }

    pub(in crate::broker) fn window(&self) -> MutexGuard<'_, Option<Box<Deduplication>>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a durable exchange keep what it remembers, from now on.
    pub(in crate::broker) fn keep_window(&self, store: &Arc<Store>, vhost: &Arc<str>) {
        if self.durable {
            let owner = HiddenOwner::Exchange { vhost: vhost.clone(), name: self.name.clone() };
            // Once for each exchange, when it becomes known.
            let _ = self.keeps_window.set((store.clone(), owner));
        }
    }

    /// Does as its arguments and these policies say.
    pub(in crate::broker) fn deduplicate_by(&self, applied: &AppliedPolicies) {
        let settings = self.dedup_settings(applied);
        let mut window = self.window();
        let line = || self.keeps_window.get().map(|(store, owner)| Line::new(store.clone(), owner.clone()));
        let is_on = settings.is_some();
        *window = Deduplication::follow(window.take(), settings, line);
        drop(window);
        if self.deduplicates.swap(is_on, Ordering::AcqRel) != is_on {
            self.invalidate_routes();
        }
    }

    fn dedup_settings(&self, applied: &AppliedPolicies) -> Option<Dedup> {
        match self.kind {
            ExchangeKind::MessageDeduplication => Some(effective::dedup_always(&self.arguments, applied)),
            _ => effective::dedup(&self.arguments, applied),
        }
    }

    /// Takes in what was found at start.
    pub(in crate::broker) fn restore_window(&self, found: Deduplication) {
        let mut window = self.window();
        *window = Some(match window.take() {
            Some(empty) => empty.restored(found),
            None => Box::new(found),
        });
    }

    /// The exchange is deleted: nothing is remembered any more, nor kept.
    pub(in crate::broker) fn drop_window(&self) {
        if let Some(mut dedup) = self.window().take() {
            dedup.remove();
        }
    }
}

/// Checks the arguments of an `x-message-deduplication` exchange, as the plugin of that name does; numbers may be text.
///
/// # Errors
/// 406 if `x-cache-size` is missing, if it or `x-cache-ttl` is not greater than 0, or if `x-cache-persistence` is neither
/// `disk` nor `memory`.
pub fn validate(arguments: &FieldTable) -> Result<(), Fault> {
    let arguments = arguments.inner();
    let is_positive = |value: &AMQPValue| effective::number_or_text(value).is_some_and(|number| number > 0);
    if !arguments.get("x-cache-size").is_some_and(is_positive) {
        return Err(invalid("Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"));
    }
    if !arguments.get("x-cache-ttl").is_none_or(is_positive) {
        return Err(invalid("Invalid argument, 'x-cache-ttl' must be an integer greater than 0"));
    }
    match arguments.get("x-cache-persistence") {
        None => Ok(()),
        Some(AMQPValue::LongString(text)) if [&b"disk"[..], b"memory"].contains(&text.as_bytes()) => Ok(()),
        Some(_) => Err(invalid("Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'")),
    }
}

fn invalid(text: &str) -> Fault {
    Fault::precondition_failed(text)
}
