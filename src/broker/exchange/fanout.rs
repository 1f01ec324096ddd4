//! Fanout exchanges: every binding matches.

use std::sync::Arc;

use crate::broker::binding::{Binding, FromSource};

#[derive(Default)]
pub struct Fanout {
    bindings: FromSource,
}

impl Fanout {
    pub fn insert(&mut self, binding: Arc<Binding>) {
        self.bindings.push(binding);
    }

    pub fn remove(&mut self, binding: &Binding) {
        self.bindings.remove(binding);
    }

    pub fn matches(&self) -> &[Arc<Binding>] {
        self.bindings.as_slice()
    }
}
