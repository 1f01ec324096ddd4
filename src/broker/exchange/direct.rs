//! Direct exchanges: a binding matches if its key equals a routing key of the message.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::binding::{Binding, FromSource};

#[derive(Default)]
pub struct Direct {
    keys: HashMap<Arc<[u8]>, FromSource>,
}

impl Direct {
    pub fn insert(&mut self, binding: Arc<Binding>) {
        self.keys.entry(binding.routing_key.clone()).or_default().push(binding);
    }

    pub fn remove(&mut self, binding: &Binding) {
        let list = self.keys.get_mut(&binding.routing_key).expect("a binding is under its key");
        list.remove(binding);
        if list.is_empty() {
            self.keys.remove(&binding.routing_key);
        }
    }

    pub fn matches(&self, routing_key: &[u8]) -> &[Arc<Binding>] {
        self.keys.get(routing_key).map_or(&[], |list| list.as_slice())
    }
}
