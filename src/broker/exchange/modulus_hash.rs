//! Modulus hash exchanges: the routing keys' hash modulo the number of bindings says by which of them a message goes.
//!
//! Bindings count in the order of binding key, destination and arguments, as in RabbitMQ, whatever the order in which
//! they came; so the same bindings mean the same places after a restart.

use std::sync::Arc;

use super::hash::hash_of;
use crate::broker::binding::Binding;

#[derive(Default)]
pub struct ModulusHash {
    /// In their order.
    bindings: Vec<Arc<Binding>>,
}

impl ModulusHash {
    pub fn insert(&mut self, binding: Arc<Binding>) {
        let place = self.bindings.partition_point(|other| other.order() <= binding.order());
        self.bindings.insert(place, binding);
    }

    pub fn remove(&mut self, binding: &Binding) {
        let first = self.bindings.partition_point(|other| other.order() < binding.order());
        // One to a queue that has just been deleted may be like one to its namesake.
        let further = self.bindings[first..].iter().position(|other| std::ptr::eq(&**other, binding));
        self.bindings.remove(first + further.expect("a binding is at its place"));
    }

    /// One binding, if there is any.
    pub fn matches(&self, routing_keys: &[&[u8]]) -> &[Arc<Binding>] {
        if self.bindings.is_empty() {
            return &[];
        }
        let hash = match routing_keys {
            [key] => hash_of(key),
            several => hash_of(&several.join(&0)),
        };
        std::slice::from_ref(&self.bindings[(hash % self.bindings.len() as u64) as usize])
    }
}
