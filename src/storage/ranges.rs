//! A set of positions, kept as ranges.

use std::collections::BTreeMap;

/// Ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// The end of each range by its first position.
    by_first: BTreeMap<u64, u64>,
}

impl Ranges {
    pub fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// How many positions there are.
    pub fn count(&self) -> u64 {
        self.by_first.iter().map(|(first, end)| end - first).sum()
    }

    pub fn to_vec(&self) -> Vec<(u64, u64)> {
        self.by_first.iter().map(|(&first, &end)| (first, end)).collect()
    }

    /// The first range that ends behind `at`.
    fn start_of_overlap(&self, at: u64) -> u64 {
        match self.by_first.range(..=at).next_back() {
            Some((&first, &end)) if end > at => first,
            _ => at,
        }
    }

    fn overlapping(&self, first: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let start = self.start_of_overlap(first);
        self.by_first.range(start..end.max(start)).map(|(&first, &end)| (first, end))
    }

    /// Adds the positions from `first` up to but not including `end`.
    pub fn insert(&mut self, mut first: u64, mut end: u64) {
        if first >= end {
            return;
        }
        if let Some((&before, &its_end)) = self.by_first.range(..=first).next_back()
            && its_end >= first
        {
            first = before;
            end = end.max(its_end);
        }
        while let Some((&next, &its_end)) = self.by_first.range(first..=end).next() {
            end = end.max(its_end);
            self.by_first.remove(&next);
        }
        self.by_first.insert(first, end);
    }

    /// Takes positions out.
    pub fn remove(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let hit: Vec<(u64, u64)> = self.overlapping(first, end).collect();
        for (its_first, its_end) in hit {
            self.by_first.remove(&its_first);
            if its_first < first {
                self.by_first.insert(its_first, first);
            }
            if its_end > end {
                self.by_first.insert(end, its_end);
            }
        }
    }

    /// How many of the positions between the two are in the set.
    pub fn overlap(&self, first: u64, end: u64) -> u64 {
        self.overlapping(first, end).map(|(a, b)| b.min(end) - a.max(first)).sum()
    }

    /// Those of the positions between the two that are in the set.
    pub fn between(&self, first: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        self.overlapping(first, end).map(move |(a, b)| (a.max(first), b.min(end)))
    }

    /// Whether all of them are in the set.
    pub fn covers(&self, first: u64, end: u64) -> bool {
        self.by_first.range(..=first).next_back().is_some_and(|(_, &its_end)| its_end >= end)
    }

    /// The first position from `first` on, before `end`, that is not in the set.
    pub fn first_gap(&self, first: u64, end: u64) -> Option<u64> {
        let gap = match self.by_first.range(..=first).next_back() {
            Some((_, &its_end)) if its_end > first => its_end,
            _ => first,
        };
        (gap < end).then_some(gap)
    }

    /// The positions between the two that are not in the set.
    pub fn gaps(&self, first: u64, end: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = first;
        for (a, b) in self.overlapping(first, end) {
            if at < a {
                gaps.push((at, a));
            }
            at = b;
        }
        if at < end {
            gaps.push((at, end));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model_testing::Random;

    #[test]
    fn it_is_the_set_of_its_positions() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..30 {
                let first = random.below(60) as u64;
                let end = first + random.below(12) as u64;
                if random.one_in(3) {
                    ranges.remove(first, end);
                    set.retain(|at| !(first..end).contains(at));
                } else {
                    ranges.insert(first, end);
                    set.extend(first..end);
                }
                let all: Vec<u64> = ranges.to_vec().into_iter().flat_map(|(a, b)| a..b).collect();
                assert!(all.iter().copied().eq(set.iter().copied()));
                assert!(ranges.to_vec().windows(2).all(|two| two[0].1 < two[1].0), "{ranges:?}");
                assert_eq!(ranges.overlap(first, end), set.range(first..end).count() as u64);
                let missing: Vec<u64> = (first..end).filter(|at| !set.contains(at)).collect();
                assert_eq!(ranges.first_gap(first, end), missing.first().copied());
                assert!(first == end || ranges.covers(first, end) == missing.is_empty());
                let gaps: Vec<u64> = ranges.gaps(first, end).into_iter().flat_map(|(a, b)| a..b).collect();
                assert_eq!(gaps, missing);
            }
        }
    }
}
