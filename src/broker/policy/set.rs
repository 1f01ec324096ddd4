//! The policies of one virtual host and kind, and which of them applies to a name.
//!
//! Of every policy some text is known that the names have to which it applies, or none is. A name is looked up by the
//! texts that are in it, so that of many policies few are tried.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;

use super::pattern::{Pattern, Requirement};
use super::{ApplyTo, Policy, validation};
use crate::broker::arguments::QueueType;

/// Of text that may be anywhere in a name only so many bytes are looked up, the last ones.
const INNER_TEXT_BYTES: usize = 32;

/// What a policy may apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Exchange,
    Queue(QueueType),
}

#[derive(Debug, Default)]
pub struct PolicySet {
    by_name: BTreeMap<Arc<str>, Entry>,
    /// Made when it is first asked after a change.
    index: OnceLock<Index>,
}

#[derive(Clone, Debug)]
struct Entry {
    policy: Arc<Policy>,
    pattern: Arc<Pattern>,
}

impl PolicySet {
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Policy>> {
        self.by_name.get(name).map(|entry| &entry.policy)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.by_name.values().map(|entry| &entry.policy)
    }

    /// Adds a policy in place of the one of its name, which is returned.
    pub fn insert(&mut self, policy: Arc<Policy>, pattern: Pattern) -> Option<Arc<Policy>> {
        self.index = OnceLock::new();
        let entry = Entry { policy: policy.clone(), pattern: Arc::new(pattern) };
        self.by_name.insert(policy.name.clone(), entry).map(|entry| entry.policy)
    }

    pub fn remove(&mut self, name: &str) -> Option<Arc<Policy>> {
        self.index = OnceLock::new();
        self.by_name.remove(name).map(|entry| entry.policy)
    }

    /// The policy that applies: of those that match, the one with the highest priority; of several of that, the first
    /// in the order of their names.
    pub fn best(&self, name: &str, subject: Subject) -> Option<Arc<Policy>> {
        if self.is_empty() {
            return None;
        }
        self.index.get_or_init(|| Index::new(self.by_name.values())).best(name, subject)
    }

    /// What applies after the policy `changed` was set in place of `replaced`, where `current` applied before.
    pub fn after_set(
        &self,
        changed: &str,
        replaced: Option<&Arc<Policy>>,
        current: Option<&Arc<Policy>>,
        name: &str,
        subject: Subject,
    ) -> Option<Arc<Policy>> {
        let is_replaced = current.zip(replaced).is_some_and(|(current, replaced)| Arc::ptr_eq(current, replaced));
        match self.by_name.get(changed) {
            Some(entry) if !is_replaced => {
                let wins = current.is_none_or(|current| entry.policy.outranks(current)) && entry.matches(name, subject);
                if wins { Some(entry.policy.clone()) } else { current.cloned() }
            }
            _ if is_replaced => self.best(name, subject),
            _ => current.cloned(),
        }
    }
}

impl Entry {
    fn matches(&self, name: &str, subject: Subject) -> bool {
        self.policy.suits(subject) && self.pattern.matches(name)
    }
}

impl Policy {
    /// Whether it is for such things, whatever their names.
    pub fn suits(&self, subject: Subject) -> bool {
        match (self.apply_to, subject) {
            (ApplyTo::All | ApplyTo::Exchanges, Subject::Exchange) => true,
            (ApplyTo::All | ApplyTo::Queues, Subject::Queue(queue_type))
            | (ApplyTo::ClassicQueues, Subject::Queue(queue_type @ QueueType::Classic))
            | (ApplyTo::QuorumQueues, Subject::Queue(queue_type @ QueueType::Quorum)) => {
                validation::suits(&self.definition, queue_type)
            }
            _ => false,
        }
    }

    fn outranks(&self, other: &Policy) -> bool {
        (std::cmp::Reverse(self.priority), &self.name) < (std::cmp::Reverse(other.priority), &other.name)
    }
}

/// Policies by the texts that names have to which they apply.
#[derive(Debug, Default)]
struct Index {
    /// The highest first. A rank is a place here.
    ranks: Vec<Entry>,
    by_start: Texts,
    by_inner: Texts,
    /// Those of which no text is known.
    others: Vec<u32>,
}

impl Index {
    fn new<'a>(entries: impl Iterator<Item = &'a Entry>) -> Index {
        let mut ranks: Vec<Entry> = entries.cloned().collect();
        ranks.sort_by(|a, b| (b.policy.priority, &a.policy.name).cmp(&(a.policy.priority, &b.policy.name)));
        let mut index = Index::default();
        let uses = uses(&ranks);
        for (entry, rank) in ranks.iter().zip(0..) {
            match most_telling(entry.pattern.requirements(), &uses) {
                Some(requirement) => {
                    let texts = if requirement.at_start { &mut index.by_start } else { &mut index.by_inner };
                    requirement.texts.iter().for_each(|text| texts.add(key(text, requirement.at_start), rank));
                }
                None => index.others.push(rank),
            }
        }
        Index { ranks, ..index }
    }

    fn best(&self, name: &str, subject: Subject) -> Option<Arc<Policy>> {
        let mut candidates = Vec::new();
        self.by_start.find_at(name.as_bytes(), &mut candidates);
        for start in 0..name.len() {
            self.by_inner.find_at(&name.as_bytes()[start..], &mut candidates);
        }
        candidates.sort_unstable();
        candidates.dedup();
        let tried = merged(&candidates, &self.others).map(|rank| &self.ranks[rank as usize]);
        tried.into_iter().find(|entry| entry.matches(name, subject)).map(|entry| entry.policy.clone())
    }
}

/// Lists of policies under texts.
#[derive(Debug, Default)]
struct Texts {
    ranks: HashMap<Box<[u8]>, Vec<u32>>,
    /// Of the texts, in bytes; from short to long.
    lengths: Vec<usize>,
}

impl Texts {
    fn add(&mut self, text: &[u8], rank: u32) {
        if let Err(place) = self.lengths.binary_search(&text.len()) {
            self.lengths.insert(place, text.len());
        }
        self.ranks.entry_ref(text).or_default().push(rank);
    }

    /// Adds what is listed under the texts that `rest` begins with.
    fn find_at(&self, rest: &[u8], found: &mut Vec<u32>) {
        for length in self.lengths.iter().take_while(|length| **length <= rest.len()) {
            found.extend(self.ranks.get(&rest[..*length]).into_iter().flatten());
        }
    }
}

/// How many policies have a text.
fn uses(entries: &[Entry]) -> HashMap<(bool, Box<[u8]>), usize> {
    let mut uses = HashMap::new();
    for requirement in entries.iter().flat_map(|entry| entry.pattern.requirements()) {
        for text in &requirement.texts {
            *uses.entry((requirement.at_start, key(text, requirement.at_start).into())).or_default() += 1;
        }
    }
    uses
}

/// The requirement that fewest policies share.
fn most_telling<'a>(
    requirements: &'a [Requirement],
    uses: &HashMap<(bool, Box<[u8]>), usize>,
) -> Option<&'a Requirement> {
    let shared = |requirement: &&Requirement| -> usize {
        let key = |text: &[u8]| (requirement.at_start, key(text, requirement.at_start).into());
        requirement.texts.iter().map(|text| uses[&key(text)]).sum()
    };
    requirements.iter().min_by_key(shared)
}

fn key(text: &[u8], at_start: bool) -> &[u8] {
    if at_start { text } else { &text[text.len().saturating_sub(INNER_TEXT_BYTES)..] }
}

/// Two ascending lists as one.
fn merged<'a>(mut a: &'a [u32], mut b: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
    std::iter::from_fn(move || {
        let side = match (a.first(), b.first()) {
            (Some(first), Some(second)) if first <= second => &mut a,
            (Some(_), None) => &mut a,
            _ => &mut b,
        };
        let (first, rest) = side.split_first()?;
        *side = rest;
        Some(*first)
    })
}
