//! Remembering what a route or a match has already been through.

use std::collections::HashSet;
use std::hash::Hash;

use smallvec::SmallVec;

/// A set that keeps the order of insertion. Nearly always it holds a few members, which a scan finds fastest;
/// beyond that it hashes, so that a large one costs no more per member.
pub struct Seen<K> {
    members: SmallVec<[K; SCANNED_MEMBERS]>,
    hashed: HashSet<K>,
}

/// Up to so many members are found by a scan.
const SCANNED_MEMBERS: usize = 16;

impl<K: Copy + Eq + Hash> Seen<K> {
    pub fn new() -> Seen<K> {
        Seen { members: SmallVec::new(), hashed: HashSet::new() }
    }

    /// Returns whether `key` was new.
    pub fn insert(&mut self, key: K) -> bool {
        if self.members.len() < SCANNED_MEMBERS {
            if self.members.contains(&key) {
                return false;
            }
        } else {
            if self.hashed.is_empty() {
                self.hashed.extend(self.members.iter().copied());
            }
            if !self.hashed.insert(key) {
                return false;
            }
        }
        self.members.push(key);
        true
    }

    /// The members in the order in which they were inserted.
    pub fn members(&self) -> &[K] {
        &self.members
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn each_member_is_new_once() {
        let mut seen = Seen::new();
        for round in 0..3 {
            for n in 0..100u32 {
                assert_eq!(seen.insert(n), round == 0);
            }
        }
        assert_eq!(seen.members(), (0..100).collect::<Vec<_>>());
    }
}
