//! One change of the topology, with the rows of definitions that change with it.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use super::Topology;
use crate::broker::definitions::Definition;
use crate::storage::log::{Change, Log};

/// The locked topology. The rows that change are logged in one go, so that after a crash all of them have changed or
/// none: when the operation ends, still under the lock, so that the log has them in the order of the operations.
pub(super) struct Operation<'a> {
    /// Locked until after the rows are logged.
    topology: MutexGuard<'a, Topology>,
    log: Option<&'a Log>,
    changes: Vec<Change>,
}

impl<'a> Operation<'a> {
    /// Without a log, no row is written.
    pub(super) fn new(topology: MutexGuard<'a, Topology>, log: Option<&'a Log>) -> Operation<'a> {
        Operation { topology, log, changes: Vec::new() }
    }

    pub(super) fn put(&mut self, definition: impl FnOnce() -> Definition) {
        if self.log.is_some() {
            self.changes.push(definition().put());
        }
    }

    pub(super) fn delete(&mut self, definition: impl FnOnce() -> Definition) {
        if self.log.is_some() {
            self.changes.push(definition().delete());
        }
    }

    /// Logs what has changed so far. An operation that does so changes nothing afterwards.
    pub(super) fn log_now(&mut self) {
        if let Some(log) = self.log
            && !self.changes.is_empty()
        {
            log.define(std::mem::take(&mut self.changes));
        }
    }
}

impl Deref for Operation<'_> {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        &self.topology
    }
}

impl DerefMut for Operation<'_> {
    fn deref_mut(&mut self) -> &mut Topology {
        &mut self.topology
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.log_now();
    }
}
