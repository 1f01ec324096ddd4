//! Which operation of a simulated disk fails, and how.

use std::collections::HashMap;
use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    List,
    Create,
    Open,
    Remove,
    Rename,
    SyncDir,
    Len,
    Read,
    Write,
    SetLen,
    Sync,
}

impl Operation {
    fn changes_something(self) -> bool {
        !matches!(self, Operation::List | Operation::Open | Operation::Len | Operation::Read)
    }
}

pub(super) enum Verdict {
    Go,
    /// With this error, as a disk fails.
    Fail(io::Error),
    /// The code under test is past the point where it is to be left: nothing happens any more.
    Stopped(io::Error),
}

#[derive(Clone, Default)]
pub(super) struct Faults {
    /// How often each operation was asked for.
    counts: HashMap<Operation, u64>,
    once: HashMap<(Operation, u64), io::ErrorKind>,
    always: HashMap<Operation, io::ErrorKind>,
    changes: u64,
    stop_at: Option<u64>,
    stopped: bool,
}

impl Faults {
    pub(super) fn fail(&mut self, operation: Operation, nth: u64, kind: io::ErrorKind) {
        assert!(nth > 0, "1 is the next");
        let done = self.counts.get(&operation).copied().unwrap_or_default();
        self.once.insert((operation, done + nth), kind);
    }

    pub(super) fn fail_always(&mut self, operation: Operation, kind: io::ErrorKind) {
        self.always.insert(operation, kind);
    }

    pub(super) fn heal(&mut self) {
        (self.stop_at, self.stopped) = (None, false);
        self.once.clear();
        self.always.clear();
    }

    pub(super) fn stop_after(&mut self, n: u64) {
        self.stop_at = Some(self.changes + n);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn check(&mut self, operation: Operation) -> io::Result<()> {
        match self.verdict(operation) {
            Verdict::Go => Ok(()),
            Verdict::Fail(error) | Verdict::Stopped(error) => Err(error),
        }
    }

    pub(super) fn verdict(&mut self, operation: Operation) -> Verdict {
        if operation.changes_something() {
            self.stopped |= self.stop_at == Some(self.changes);
        }
        if self.stopped {
            return Verdict::Stopped(io::Error::other("the simulated machine has stopped"));
        }
        self.changes += u64::from(operation.changes_something());
        let count = self.counts.entry(operation).or_default();
        *count += 1;
        let once = self.once.remove(&(operation, *count));
        match once.or(self.always.get(&operation).copied()) {
            Some(kind) => Verdict::Fail(kind.into()),
            None => Verdict::Go,
        }
    }
}
