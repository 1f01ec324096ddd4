//! Exchanges and bindings as plain lists, and what a message that is published takes for its way.

use std::collections::{BTreeMap, BTreeSet};

use super::durable::{Row, To};
use crate::storage::QueueId;

#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    pub kind: &'static str,
    pub durable: bool,
    pub auto_delete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    pub source: String,
    pub to: To,
    pub key: String,
}

#[derive(Clone, Default, PartialEq, Debug)]
pub struct Topology {
    pub exchanges: BTreeMap<String, Exchange>,
    pub bindings: BTreeSet<Bound>,
}

const PREDECLARED: [(&str, &str); 3] = [("amq.direct", "direct"), ("amq.fanout", "fanout"), ("amq.topic", "topic")];

pub fn is_predeclared(name: &str) -> bool {
    name.is_empty() || name.starts_with("amq.")
}

impl Topology {
    pub fn new() -> Topology {
        let predeclared =
            |(name, kind): (&str, _)| (name.to_owned(), Exchange { kind, durable: true, auto_delete: false });
        Topology { exchanges: PREDECLARED.map(predeclared).into(), bindings: BTreeSet::new() }
    }

    /// What is found after a restart, with what is deleted because its queue is not there. `rows` has no such queue.
    pub fn recovered(rows: &BTreeSet<Row>) -> Topology {
        let mut topology = Topology::new();
        let is_there = |to: &To| match to {
            To::Queue(id) => rows.iter().any(|row| matches!(row, Row::Queue { id: of, .. } if of == id)),
            To::Exchange(_) => true,
        };
        let mut lost = Vec::new();
        for row in rows {
            match row.clone() {
                Row::Exchange { name, kind, auto_delete } => {
                    topology.exchanges.insert(name, Exchange { kind, durable: true, auto_delete });
                }
                Row::Binding { source, to, key } if is_there(&to) => {
                    topology.bindings.insert(Bound { source, to, key });
                }
                Row::Binding { source, .. } => lost.push(source),
                Row::VHost(_) | Row::User(_) | Row::Permission { .. } | Row::Queue { .. } => {}
            }
        }
        lost.iter().for_each(|source| topology.delete_if_deserted(source));
        topology
    }

    pub fn names(&self) -> Vec<String> {
        self.exchanges.keys().cloned().collect()
    }

    fn delete_if_deserted(&mut self, name: &str) {
        let has_bindings = self.bindings.iter().any(|bound| bound.source == name);
        if !has_bindings && self.exchanges.get(name).is_some_and(|exchange| exchange.auto_delete) {
            self.delete(name);
        }
    }

    pub fn delete(&mut self, name: &str) {
        self.exchanges.remove(name);
        self.bindings.retain(|bound| bound.source != name);
        self.unlink(&To::Exchange(name.to_owned()));
    }

    pub fn unbind(&mut self, bound: &Bound) {
        if self.bindings.remove(bound) {
            self.delete_if_deserted(&bound.source);
        }
    }

    /// Something that was bound is gone.
    pub fn unlink(&mut self, to: &To) {
        let (gone, left) = std::mem::take(&mut self.bindings).into_iter().partition(|bound| bound.to == *to);
        self.bindings = left;
        let gone: BTreeSet<Bound> = gone;
        gone.iter().for_each(|bound| self.delete_if_deserted(&bound.source));
    }

    /// The rows of exchanges and bindings.
    pub fn rows(&self, is_durable: impl Fn(QueueId) -> bool) -> BTreeSet<Row> {
        let durable_exchange = |name: &str| self.exchanges[name].durable;
        let exchanges = self.exchanges.iter().filter(|(name, exchange)| !is_predeclared(name) && exchange.durable);
        let exchanges = exchanges.map(|(name, exchange)| {
            let Exchange { kind, auto_delete, .. } = *exchange;
            Row::Exchange { name: name.clone(), kind, auto_delete }
        });
        let bindings = self.bindings.iter().filter(|bound| {
            durable_exchange(&bound.source)
                && match &bound.to {
                    To::Queue(id) => is_durable(*id),
                    To::Exchange(name) => durable_exchange(name),
                }
        });
        let bindings = bindings.cloned().map(|Bound { source, to, key }| Row::Binding { source, to, key });
        exchanges.chain(bindings).collect()
    }

    /// Where a message goes.
    pub fn route(&self, exchange: &str, key: &str) -> BTreeSet<QueueId> {
        let (mut seen, mut next) = (vec![exchange.to_owned()], 0);
        let mut queues = BTreeSet::new();
        while next < seen.len() {
            let source = seen[next].clone();
            next += 1;
            let kind = self.exchanges[&source].kind;
            for bound in self.bindings.iter().filter(|bound| bound.source == source && matches(kind, &bound.key, key)) {
                match &bound.to {
                    To::Queue(id) => drop(queues.insert(*id)),
                    To::Exchange(name) if !seen.contains(name) => seen.push(name.clone()),
                    To::Exchange(_) => {}
                }
            }
        }
        queues
    }
}

fn matches(kind: &str, pattern: &str, key: &str) -> bool {
    let words = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    match kind {
        "fanout" => true,
        "topic" if pattern == "#" => true,
        "topic" => {
            let (pattern, key) = (words(pattern), words(key));
            pattern.len() == key.len() && pattern.iter().zip(&key).all(|(p, k)| p == "*" || p == k)
        }
        _ => pattern == key,
    }
}
