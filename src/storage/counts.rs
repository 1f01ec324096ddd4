//! A number for each of some positions, kept as ranges.

use std::collections::BTreeMap;

/// Positions with a number each that is not 0. Neighbours with the same number are one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The end and the number of each range by its first position.
    by_first: BTreeMap<u64, (u64, u32)>,
}

impl Counts {
    pub fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// First, end and number of each range, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, u32)> {
        self.by_first.iter().map(|(&first, &(end, count))| (first, end, count))
    }

    /// Gives the positions from `first` up to but not including `end` this number, whatever they had before.
    pub fn set(&mut self, mut first: u64, mut end: u64, count: u32) {
        self.remove(first, end);
        if first >= end || count == 0 {
            return;
        }
        if let Some((&before, &(its_end, its_count))) = self.by_first.range(..first).next_back()
            && (its_end, its_count) == (first, count)
        {
            first = before;
        }
        if let Some(&(its_end, its_count)) = self.by_first.get(&end)
            && its_count == count
        {
            self.by_first.remove(&end);
            end = its_end;
        }
        self.by_first.insert(first, (end, count));
    }

    /// Takes positions out.
    pub fn remove(&mut self, first: u64, end: u64) {
        if first >= end || self.by_first.is_empty() {
            return;
        }
        let hit: Vec<(u64, u64, u32)> = self.overlapping(first, end).collect();
        for (its_first, its_end, count) in hit {
            self.by_first.remove(&its_first);
            if its_first < first {
                self.by_first.insert(its_first, (first, count));
            }
            if its_end > end {
                self.by_first.insert(end, (its_end, count));
            }
        }
    }

    fn overlapping(&self, first: u64, end: u64) -> impl Iterator<Item = (u64, u64, u32)> {
        let start = match self.by_first.range(..=first).next_back() {
            Some((&before, &(its_end, _))) if its_end > first => before,
            _ => first,
        };
        self.by_first.range(start..end.max(start)).map(|(&first, &(end, count))| (first, end, count))
    }

    /// Those of the positions between the two that have a number.
    pub fn between(&self, first: u64, end: u64) -> impl Iterator<Item = (u64, u64, u32)> {
        self.overlapping(first, end).map(move |(a, b, count)| (a.max(first), b.min(end), count))
    }

    /// All positions between the two, those without a number with 0.
    pub fn over(&self, first: u64, end: u64) -> Vec<(u64, u64, u32)> {
        let mut all = Vec::new();
        let mut at = first;
        for (a, b, count) in self.between(first, end) {
            if at < a {
                all.push((at, a, 0));
            }
            all.push((a, b, count));
            at = b;
        }
        if at < end {
            all.push((at, end, 0));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_testing::Random;

    #[test]
    fn each_position_has_the_number_it_was_given_last() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let (mut counts, mut plain) = (Counts::default(), BTreeMap::new());
            for _ in 0..30 {
                let first = random.below(60) as u64;
                let end = first + random.below(12) as u64;
                let count = random.below(4) as u32;
                if random.one_in(4) {
                    counts.remove(first, end);
                    plain.retain(|at, _| !(first..end).contains(at));
                } else {
                    counts.set(first, end, count);
                    plain.extend((first..end).map(|at| (at, count)));
                    plain.retain(|_, count| *count > 0);
                }
                let all = counts.iter().flat_map(|(first, end, count)| (first..end).map(move |at| (at, count)));
                assert!(all.eq(plain.iter().map(|(&at, &count)| (at, count))), "{counts:?} {plain:?}");
                let ranges: Vec<_> = counts.iter().collect();
                let is_apart = |two: &[(u64, u64, u32)]| two[0].1 < two[1].0 || two[0].2 != two[1].2;
                assert!(ranges.windows(2).all(is_apart), "{counts:?}");
                let over =
                    counts.over(first, end).into_iter().flat_map(|(a, b, count)| (a..b).map(move |at| (at, count)));
                assert!(over.eq((first..end).map(|at| (at, plain.get(&at).copied().unwrap_or(0)))));
            }
        }
    }
}
