//! The directory of a simulated disk: what its names mean now, and what they may mean after a crash.

use std::collections::BTreeMap;

use super::InodeId;
use crate::model_testing::Random;

#[derive(Clone)]
enum Change {
    Create { name: String, id: InodeId },
    Remove { name: String },
    Rename { id: InodeId, to: String },
}

#[derive(Clone, Default)]
pub(super) struct Names {
    now: BTreeMap<String, InodeId>,
    durable: BTreeMap<String, InodeId>,
    /// What leads from the durable names to those of now.
    unsynced: Vec<Change>,
}

impl Names {
    pub(super) fn find(&self, name: &str) -> Option<InodeId> {
        self.now.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &InodeId)> {
        self.now.iter()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = InodeId> {
        self.now.values().copied()
    }

    pub(super) fn refers_to(&self, id: InodeId) -> bool {
        self.ids().any(|named| named == id)
    }

    pub(super) fn create(&mut self, name: &str, id: InodeId) {
        self.change(Change::Create { name: name.to_owned(), id });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(Change::Remove { name: name.to_owned() });
    }

    pub(super) fn rename(&mut self, id: InodeId, to: &str) {
        self.change(Change::Rename { id, to: to.to_owned() });
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable = self.now.clone();
        self.unsynced.clear();
    }

    /// All that came before it is durable as well.
    pub(super) fn put_durably(&mut self, name: &str, id: InodeId) {
        self.now.insert(name.to_owned(), id);
        self.sync();
    }

    /// Each change is there or not, so of each name the last change that is there counts. Half of the time they are
    /// there up to some point, as with a file system that has a journal.
    pub(super) fn after_crash(&self, random: &mut Random) -> Names {
        let journaled = random.one_in(2);
        let until = random.below(self.unsynced.len() + 1);
        let mut names = self.durable.clone();
        for (index, change) in self.unsynced.iter().enumerate() {
            let survives = if journaled { index < until } else { random.one_in(2) };
            if survives {
                apply(&mut names, change);
            }
        }
        Names { now: names.clone(), durable: names, unsynced: Vec::new() }
    }
}

/// A change whose forerunner did not survive still says what its names mean. No file ever has two names.
fn apply(names: &mut BTreeMap<String, InodeId>, change: &Change) {
    match change {
        Change::Create { name, id } => {
            names.insert(name.clone(), *id);
        }
        Change::Remove { name } => {
            names.remove(name);
        }
        Change::Rename { id, to } => {
            names.retain(|_, named| named != id);
            names.insert(to.clone(), *id);
        }
    }
}
