//! Something of each queue, where those that have levels of priority have it for each level.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::QueueId;

/// A map by the id of a queue or of one of its lanes. All lanes of a queue are found without looking at other queues, and
/// queues without lanes cost nothing more than in a plain map.
#[derive(Clone, Debug)]
pub struct ByLane<T> {
    by_id: HashMap<QueueId, T>,
    /// Those of the keys whose level is not 0.
    lanes: BTreeSet<QueueId>,
}

impl<T> Default for ByLane<T> {
    fn default() -> ByLane<T> {
        ByLane { by_id: HashMap::new(), lanes: BTreeSet::new() }
    }
}

impl<T> ByLane<T> {
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn get(&self, id: &QueueId) -> Option<&T> {
        self.by_id.get(id)
    }

    pub fn get_mut(&mut self, id: &QueueId) -> Option<&mut T> {
        self.by_id.get_mut(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (QueueId, &T)> {
        self.by_id.iter().map(|(&id, of)| (id, of))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (QueueId, &mut T)> {
        self.by_id.iter_mut().map(|(&id, of)| (id, of))
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.by_id.values()
    }

    pub fn insert(&mut self, id: QueueId, of: T) {
        if id.level() != 0 {
            self.lanes.insert(id);
        }
        self.by_id.insert(id, of);
    }

    pub fn remove(&mut self, id: &QueueId) -> Option<T> {
        if id.level() != 0 {
            self.lanes.remove(id);
        }
        self.by_id.remove(id)
    }

    /// Takes out what there is of a queue and all its lanes.
    pub fn remove_queue(&mut self, base: QueueId) -> Vec<(QueueId, T)> {
        let mut removed: Vec<(QueueId, T)> = self.by_id.remove(&base).map(|of| (base, of)).into_iter().collect();
        while let Some(&lane) = self.lanes.range(base.lane(1)..=base.lane(u8::MAX)).next() {
            removed.extend(self.remove(&lane).map(|of| (lane, of)));
        }
        removed
    }

    pub fn retain(&mut self, mut keep: impl FnMut(QueueId, &mut T) -> bool) {
        self.by_id.retain(|&id, of| keep(id, of));
        self.lanes.retain(|id| self.by_id.contains_key(id));
    }
}

impl<T: Default> ByLane<T> {
    /// What there is of this id, made if there is nothing.
    #[inline]
    pub fn of(&mut self, id: QueueId) -> &mut T {
        match self.by_id.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                if id.level() != 0 {
                    self.lanes.insert(id);
                }
                new.insert(T::default())
            }
        }
    }
}

impl<T> IntoIterator for ByLane<T> {
    type Item = (QueueId, T);
    type IntoIter = std::collections::hash_map::IntoIter<QueueId, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_id.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_goes_with_all_its_lanes_and_nothing_else() {
        let mut map: ByLane<u64> = ByLane::default();
        let (one, two, three) = (QueueId(1), QueueId(2), QueueId(3));
        for id in [one, two, two.lane(1), two.lane(9), two.lane(255), three, three.lane(9)] {
            *map.of(id) = id.0;
        }
        map.remove(&two.lane(1));
        let mut removed = map.remove_queue(two);
        removed.sort_unstable();
        assert_eq!(removed, [two, two.lane(9), two.lane(255)].map(|id| (id, id.0)));
        assert_eq!(map.remove_queue(two), []);
        let mut left: Vec<QueueId> = map.iter().map(|(id, _)| id).collect();
        left.sort_unstable();
        assert_eq!(left, [one, three, three.lane(9)]);
        map.retain(|id, _| id.level() == 0);
        assert_eq!(map.remove_queue(three), [(three, 3)]);
    }

    #[test]
    fn lanes_are_told_apart_and_lie_beside_their_queue() {
        let id = QueueId(77);
        assert_eq!((id.lane(0), id.base(), id.level()), (id, id, 0));
        let lane = id.lane(255);
        assert_eq!((lane.base(), lane.level(), lane.lane(3)), (id, 255, id.lane(3)));
        assert!(id < id.lane(1) && id.lane(1) < lane && lane < QueueId(78));
    }
}
