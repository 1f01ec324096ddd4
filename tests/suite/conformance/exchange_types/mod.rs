//! The exchange types of RabbitMQ's plugins, and LavinMQ's arguments.

mod chains;
mod consistent_hash;
mod declare;
mod modulus_hash;
mod random;
mod recent_history;

use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::unique;
use crate::support::wire::*;

/// An exchange of some type and exclusive queues that are bound to it.
struct Bound {
    peer: Peer,
    exchange: String,
    queues: Vec<String>,
}

impl Bound {
    /// With a queue for each binding key.
    #[track_caller]
    fn new<const N: usize>(kind: &str, arguments: [(&str, Value); N], keys: &[&str]) -> Bound {
        let mut peer = Peer::connect();
        let exchange = unique(kind);
        peer.call(1, &exchange_declare(&exchange, kind).on("auto-delete").args(arguments));
        let mut bound = Bound { peer, exchange, queues: Vec::new() };
        keys.iter().for_each(|key| bound.add(key));
        bound
    }

    #[track_caller]
    fn add(&mut self, key: &str) {
        let queue = self.peer.exclusive_queue(1);
        self.peer.call(1, &queue_bind(&queue, &self.exchange, key));
        self.queues.push(queue);
    }

    fn publish(&mut self, key: &str, properties: &[u8]) {
        self.peer.send_publish(1, &publish(&self.exchange, key), properties, b"x");
    }

    /// Publishes a message with each of these keys in one write.
    fn publish_all<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>) {
        let exchange = self.exchange.clone();
        let frames = keys.into_iter().flat_map(|key| publish_frames(1, &publish(&exchange, key), NONE, b"x"));
        let frames: Vec<u8> = frames.collect();
        self.peer.send_raw(&frames);
    }

    /// How many messages each queue had, which it has no longer.
    #[track_caller]
    fn take_counts(&mut self) -> Vec<u64> {
        let Bound { peer, queues, .. } = self;
        queues.iter().map(|queue| peer.call(1, &queue_purge(queue)).number("message-count")).collect()
    }

    /// The one queue that has got a message, by its number.
    #[track_caller]
    fn place_of(&mut self, key: &str, properties: &[u8]) -> usize {
        self.publish(key, properties);
        let counts = self.take_counts();
        assert_eq!(counts.iter().sum::<u64>(), 1, "one queue gets it once: {counts:?}");
        counts.iter().position(|&count| count == 1).expect("a queue")
    }

    #[track_caller]
    fn places(&mut self, keys: &[String]) -> Vec<usize> {
        keys.iter().map(|key| self.place_of(key, NONE)).collect()
    }
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key-{n}")).collect()
}

/// Counts are within six standard deviations of what the shares make likely.
#[track_caller]
fn assert_shares(counts: &[u64], shares: &[f64]) {
    let (total, whole) = (counts.iter().sum::<u64>() as f64, shares.iter().sum::<f64>());
    for (&count, share) in counts.iter().zip(shares) {
        let share = share / whole;
        let (mean, deviation) = (total * share, (total * share * (1.0 - share)).sqrt());
        assert!((count as f64 - mean).abs() < 6.0 * deviation, "{counts:?} are not shares of {shares:?}");
    }
}
