//! Random exchanges: each message goes by one binding, drawn evenly. A queue bound twice is drawn twice as often.
//!
//! A local random exchange (RabbitMQ 4) chooses among the queues of its own node, which are all there are here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::{below, mix};
use crate::broker::arguments::QueueType;
use crate::broker::binding::{Binding, Destination, FromSource};
use crate::error::Fault;

#[derive(Default)]
pub struct Random {
    bindings: FromSource,
}

impl Random {
    pub fn insert(&mut self, binding: Arc<Binding>) {
        self.bindings.push(binding);
    }

    pub fn remove(&mut self, binding: &Binding) {
        self.bindings.remove(binding);
    }

    pub fn all(&self) -> &[Arc<Binding>] {
        self.bindings.as_slice()
    }

    /// One binding, if there is any.
    pub fn one(&self, draws: &Draws) -> &[Arc<Binding>] {
        let all = self.all();
        match all.len() {
            0 | 1 => all,
            n => std::slice::from_ref(&all[draws.draw(n)]),
        }
    }
}

/// Random numbers that many threads draw from: SplitMix64, whose state is a counter.
pub struct Draws(AtomicU64);

impl Draws {
    /// The same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Draws {
        Draws(AtomicU64::new(seed))
    }

    /// A number below `n`, which is not 0.
    pub fn draw(&self, n: usize) -> usize {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        below(mix(self.0.fetch_add(GOLDEN, Ordering::Relaxed)), n)
    }
}

/// # Errors
/// 406 if the binding key is not empty, or what is bound is no classic queue.
pub fn validate_local(routing_key: &[u8], destination: &Destination) -> Result<(), Fault> {
    if !routing_key.is_empty() {
        let key = String::from_utf8_lossy(routing_key);
        return Err(Fault::precondition_failed(format!("Non empty binding '{key}' key not permitted")));
    }
    match destination {
        Destination::Exchange(_) => Err(Fault::precondition_failed("Destination not found")),
        Destination::Queue(queue) => match QueueType::of(&queue.arguments()) {
            QueueType::Classic => Ok(()),
            other => {
                let name = other.rabbit_name();
                Err(Fault::precondition_failed(format!("Queue type {name} not valid for this exchange type")))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_follow_from_their_seed() {
        let draws = Draws::seeded(1);
        let mut counts = [0u32; 7];
        (0..70_000).for_each(|_| counts[draws.draw(7)] += 1);
        // The standard deviation is 93.
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        let (one, other) = (Draws::seeded(5), Draws::seeded(5));
        assert!((0..100).all(|_| one.draw(1000) == other.draw(1000)));
    }

    #[test]
    fn draws_in_a_row_do_not_follow_each_other() {
        let draws = Draws::seeded(2);
        let mut pairs = [0u32; 16];
        (0..16_000).for_each(|_| pairs[draws.draw(4) * 4 + draws.draw(4)] += 1);
        assert!(pairs.iter().all(|count| (840..1_160).contains(count)), "{pairs:?}");
    }
}
