//! Topic exchanges: binding keys are patterns of words between dots, `*` for one word, `#` for any number.
//!
//! The patterns form a trie, one level a word. Matching walks all branches at once, a word at a time:
//!
//! ```text
//!   a.*.c   a.b.#   #.c            after "a"      after "a.b"       after "a.b.c"
//!
//!   root ─ a ─ * ─ c               a              a.*  a.b          a.*.c  #.c
//!        │   └ b ─ #               #              a.b.#  #          a.b.#  #
//!        └ # ─ c
//! ```
//!
//! A `#` may stand for no word, so reaching a node reaches its `#` child too; and it may stand for any number,
//! so once reached it stays. Any other node is reached from its one parent only. Therefore no node is reached
//! twice for a word, and a match costs at most words × nodes, however many `#` the patterns have.
//!
//! Words are numbered, so that a word of a routing key is hashed once and an edge is a pair of numbers. Empty
//! words are words like others; only the empty key has none at all (as in RabbitMQ). The maps are hashbrown's for
//! its hasher: with a lookup or two a word, a route takes a third less time than with the standard one.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::seen::Seen;
use crate::broker::binding::{Binding, FromSource};

pub struct Topic {
    /// Nodes by number; the root is the first and always there.
    nodes: Vec<Node>,
    free_nodes: Vec<NodeId>,
    /// The children for words that are not wildcards.
    edges: HashMap<(NodeId, WordId), NodeId>,
    words: Words,
}

type NodeId = u32;
type WordId = u32;

const ROOT: NodeId = 0;
/// No node: the root is nobody's child.
const NONE: NodeId = ROOT;

#[derive(Default)]
struct Node {
    bindings: FromSource,
    /// Children under words, which are in `edges`.
    children: u32,
    star: NodeId,
    hash: NodeId,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.bindings.is_empty() && self.children == 0 && self.star == NONE && self.hash == NONE
    }
}

impl Default for Topic {
    fn default() -> Self {
        Topic { nodes: vec![Node::default()], free_nodes: Vec::new(), edges: HashMap::new(), words: Words::default() }
    }
}

impl Topic {
    pub fn insert(&mut self, binding: Arc<Binding>) {
        let key = binding.routing_key.clone();
        let leaf = words_of(&key).fold(ROOT, |node, word| self.child_or_new(node, word));
        self.nodes[leaf as usize].bindings.push(binding);
    }

    /// Takes out a binding and the branch that nothing else needs.
    pub fn remove(&mut self, binding: &Binding) {
        let mut path: SmallVec<[(NodeId, &[u8]); 16]> = SmallVec::new();
        let mut node = ROOT;
        for word in words_of(&binding.routing_key) {
            path.push((node, word));
            node = self.child(node, word).expect("a binding is at the end of its words");
        }
        self.nodes[node as usize].bindings.remove(binding);
        for (parent, word) in path.into_iter().rev() {
            if !self.nodes[node as usize].is_unused() {
                break;
            }
            self.cut(parent, word, node);
            node = parent;
        }
    }

    /// Calls `found` with each group of bindings whose pattern matches; each binding is in one group.
    pub fn for_each_match<'a>(&'a self, routing_key: &[u8], mut found: impl FnMut(&'a [Arc<Binding>])) {
        let mut reached = Reached::new();
        self.reach(ROOT, &mut reached);
        for word in words_of(routing_key) {
            self.step(self.words.get(word), &mut reached);
        }
        for &node in reached.nodes.iter().chain(reached.hashes.members()) {
            let bindings = self.nodes[node as usize].bindings.as_slice();
            if !bindings.is_empty() {
                found(bindings);
            }
        }
    }

    /// One word further. `word` is `None` if no pattern contains it: then only wildcards match.
    fn step(&self, word: Option<WordId>, reached: &mut Reached) {
        let from = std::mem::take(&mut reached.nodes);
        let hashes_before = reached.hashes.members().len();
        for &node in &from {
            self.step_from(node, word, reached);
        }
        for i in 0..hashes_before {
            self.step_from(reached.hashes.members()[i], word, reached);
        }
    }

    fn step_from(&self, from: NodeId, word: Option<WordId>, reached: &mut Reached) {
        let node = &self.nodes[from as usize];
        if node.children > 0
            && let Some(word) = word
            && let Some(&child) = self.edges.get(&(from, word))
        {
            self.reach(child, reached);
        }
        if node.star != NONE {
            self.reach(node.star, reached);
        }
    }

    /// Adds a node, and what `#` lets one reach from it without a word.
    fn reach(&self, node: NodeId, reached: &mut Reached) {
        reached.nodes.push(node);
        let mut hash = self.nodes[node as usize].hash;
        while hash != NONE && reached.hashes.insert(hash) {
            hash = self.nodes[hash as usize].hash;
        }
    }

    fn child(&self, node: NodeId, word: &[u8]) -> Option<NodeId> {
        let child = match word {
            b"*" => self.nodes[node as usize].star,
            b"#" => self.nodes[node as usize].hash,
            _ => *self.edges.get(&(node, self.words.get(word)?))?,
        };
        (child != NONE).then_some(child)
    }

    fn child_or_new(&mut self, parent: NodeId, word: &[u8]) -> NodeId {
        if let Some(child) = self.child(parent, word) {
            return child;
        }
        let child = self.new_node();
        let node = &mut self.nodes[parent as usize];
        match word {
            b"*" => node.star = child,
            b"#" => node.hash = child,
            _ => {
                node.children += 1;
                self.edges.insert((parent, self.words.take(word)), child);
            }
        }
        child
    }

    fn new_node(&mut self) -> NodeId {
        if let Some(node) = self.free_nodes.pop() {
            return node;
        }
        self.nodes.push(Node::default());
        NodeId::try_from(self.nodes.len() - 1).expect("more bindings than memory can hold")
    }

    fn cut(&mut self, parent: NodeId, word: &[u8], child: NodeId) {
        let node = &mut self.nodes[parent as usize];
        match word {
            b"*" => node.star = NONE,
            b"#" => node.hash = NONE,
            _ => {
                node.children -= 1;
                let id = self.words.give_back(word);
                self.edges.remove(&(parent, id));
            }
        }
        self.nodes[child as usize] = Node::default();
        self.free_nodes.push(child);
    }
}

/// Where the words so far lead.
struct Reached {
    /// Nodes reached by exactly the words so far.
    nodes: SmallVec<[NodeId; 16]>,
    /// Nodes of `#`, which stay reached.
    hashes: Seen<NodeId>,
}

impl Reached {
    fn new() -> Reached {
        Reached { nodes: SmallVec::new(), hashes: Seen::new() }
    }
}

/// The words between the dots; none for an empty key.
fn words_of(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = if key.is_empty() { 0 } else { usize::MAX };
    key.split(|&byte| byte == b'.').take(count)
}

/// Numbers for the words of all patterns, given back when no edge has them.
#[derive(Default)]
struct Words {
    numbers: HashMap<Box<[u8]>, Word>,
    free: Vec<WordId>,
}

struct Word {
    id: WordId,
    edges: u32,
}

impl Words {
    fn get(&self, word: &[u8]) -> Option<WordId> {
        self.numbers.get(word).map(|word| word.id)
    }

    fn take(&mut self, word: &[u8]) -> WordId {
        if let Some(word) = self.numbers.get_mut(word) {
            word.edges += 1;
            return word.id;
        }
        let id = self.free.pop().unwrap_or(self.numbers.len() as WordId);
        self.numbers.insert(word.into(), Word { id, edges: 1 });
        id
    }

    fn give_back(&mut self, word: &[u8]) -> WordId {
        let entry = self.numbers.get_mut(word).expect("a word on an edge has a number");
        let id = entry.id;
        entry.edges -= 1;
        if entry.edges == 0 {
            self.numbers.remove(word);
            self.free.push(id);
        }
        id
    }
}
