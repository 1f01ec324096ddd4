//! The broker is killed under load, again and again, on the same data; every message is accounted for.
//!
//! Publishers with confirms fill queues directly, in turn and by a fanout, with transient messages in between; one
//! commits transactions over two queues, another moves messages from queue to queue in transactions; consumers
//! acknowledge, reject, requeue and keep. At a random moment the broker gets SIGKILL. What is there after the restart is
//! compared with what the clients know ([`ledger`]), and then it goes on from there.
//!
//! `LEVERET_KILL_ROUNDS` sets the number of kills, `LEVERET_KILL_SEED` repeats a run as far as the clients go; the
//! moment of the kill is never quite the same again.

mod ledger;
mod load;

use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::durability::client::{Client, Event};
use crate::durability::node::{Node, Way};
use crate::durability::process::PATIENCE;
use crate::durability::publisher::{durable_exchange, durable_queue};
use crate::support::broker::under_test_is_foreign;
use crate::support::peer::*;
use ledger::{Found, Ledger, Promises};
use load::*;

/// How long a round goes on at most when the broker makes no progress to speak of.
const ROUND_MAX: Duration = Duration::from_secs(1);
/// A queue that has more is emptied when it has been looked at.
const MANY: usize = 5_000;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn every_message_is_accounted_for_after_kills_under_load() {
    let rounds = from_environment("LEVERET_KILL_ROUNDS").unwrap_or(3);
    let seed = from_environment("LEVERET_KILL_SEED").unwrap_or_else(rand::random);
    eprintln!("to repeat: LEVERET_KILL_SEED={seed} LEVERET_KILL_ROUNDS={rounds}");
    let mut test = Test::new(seed);
    for round in 0..rounds {
        let summary = test.round(round);
        eprintln!("round {round}: {summary}");
    }
}

struct Test {
    node: Node,
    random: StdRng,
    ledger: Ledger,
    seed: u64,
}

impl Test {
    fn new(seed: u64) -> Self {
        let node = Node::start(Way::Killed);
        declare_everything(node.address()).expect("the broker answers");
        Self { node, random: StdRng::seed_from_u64(seed), ledger: Ledger::default(), seed }
    }

    /// Load, kill, restart, comparison.
    fn round(&mut self, number: u64) -> String {
        let round = Arc::new(Round {
            address: self.node.address(),
            seed: self.seed.wrapping_add(number),
            first: (number + 1) << 32,
            progress: AtomicU64::new(0),
            killed: AtomicBool::new(false),
        });
        let clients = start_load(&round);
        let goal = self.random.random_range(1..4_000);
        wait_for_progress(&round, goal);
        round.killed.store(true, Ordering::SeqCst);
        let dies_again = self.random.random_bool(0.3);
        self.node.restart_dying_at_first(dies_again.then(|| self.random.random_range(0..30_000)));
        for client in clients {
            let report = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            report(&mut self.ledger);
        }
        let found = self.look();
        let promises = if under_test_is_foreign() { Promises::Confirms } else { Promises::All };
        if let Err(what) = self.ledger.check(&found, promises) {
            panic!("after kill {number} of LEVERET_KILL_SEED={}: {what}", self.seed);
        }
        self.mark_as_seen(&found);
        let messages: usize = found.values().map(Vec::len).sum();
        format!(
            "killed after {} confirms and commits, {messages} messages wait",
            round.progress.load(Ordering::Relaxed)
        )
    }

    /// Reads every queue without taking anything, and then empties those that are long.
    fn look(&mut self) -> Found {
        let address = self.node.address();
        let look = |queue| (queue, read_all(address, queue).unwrap_or_else(|error| panic!("queue {queue}: {error}")));
        all_queues().into_iter().map(look).collect()
    }

    /// The look itself delivered everything.
    fn mark_as_seen(&mut self, found: &Found) {
        let mut client = Client::connect(self.node.address()).expect("the broker answers");
        for (name, messages) in found {
            let Some((last, _)) = messages.last() else { continue };
            self.ledger.queue(name).delivered(*last, 0);
            if messages.len() > MANY {
                let purged = client.call(&queue_purge(name)).expect("the broker answers").number("message-count");
                assert_eq!(purged, messages.len() as u64, "what was looked at is back in {name}");
                // A purge is answered when it is kept.
                messages.iter().for_each(|(number, _)| self.ledger.queue(name).settled_surely(*number));
            }
        }
    }
}

fn all_queues() -> Vec<&'static str> {
    let fences = CONSUMED.map(|(_, fence)| fence);
    [&DIRECT[..], &FAN, &TX, &[MOVED], &fences].concat()
}

fn declare_everything(address: SocketAddr) -> Result<()> {
    let mut client = Client::connect(address)?;
    client.call(&durable_exchange(FAN_EXCHANGE, "fanout"))?;
    for queue in all_queues() {
        client.call(&durable_queue(queue))?;
    }
    for queue in FAN {
        client.call(&queue_bind(queue, FAN_EXCHANGE, ""))?;
    }
    Ok(())
}

fn start_load(round: &Arc<Round>) -> Vec<JoinHandle<Report>> {
    let direct = |at: usize| ("", DIRECT[at], vec![DIRECT[at]]);
    let publishers = [
        Confirmed { who: 1, routes: vec![direct(0), direct(1)], window: 100 },
        Confirmed { who: 2, routes: vec![direct(2)], window: 1 },
        Confirmed { who: 3, routes: vec![(FAN_EXCHANGE, "", FAN.to_vec())], window: 300 },
    ];
    let mut clients = Vec::new();
    for publisher in publishers {
        clients.push(start(round, move |round| publisher.run(round)));
    }
    for (who, (queue, fence)) in (10..).zip(CONSUMED) {
        clients.push(start(round, move |round| Consumer { who, queue, fence }.run(round)));
    }
    clients.push(start(round, commit_pairs));
    // RabbitMQ may keep the half of a transaction: then a message is moved twice.
    if !under_test_is_foreign() {
        clients.push(start(round, move_on));
    }
    clients
}

fn start(round: &Arc<Round>, work: impl FnOnce(&Round) -> Report + Send + 'static) -> JoinHandle<Report> {
    let round = Arc::clone(round);
    std::thread::spawn(move || work(&round))
}

/// Returns after so many confirms, or when there has been time enough for some.
fn wait_for_progress(round: &Round, goal: u64) {
    let began = Instant::now();
    loop {
        let progress = round.progress.load(Ordering::Relaxed);
        let late = began.elapsed() > ROUND_MAX && progress > 0;
        if progress >= goal || late {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "nothing is confirmed");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// All messages of a queue, as number and flag; they are put back.
fn read_all(address: SocketAddr, queue: &'static str) -> Result<Vec<(u64, bool)>> {
    let mut client = Client::connect(address)?;
    let count = client.count(queue)?;
    client.call(&consume(queue, "look"))?;
    let mut found = Vec::new();
    while (found.len() as u64) < count {
        match client.next()? {
            Event::Delivery(delivery) => found.push((number_of(&delivery.body), delivery.redelivered)),
            other => panic!("no delivery: {other:?}"),
        }
    }
    assert_eq!(client.count(queue)?, 0, "more than was counted in {queue}");
    client.call(&channel_close())?;
    let mut client = Client::connect(address)?;
    let deadline = Instant::now() + PATIENCE;
    while client.count(queue)? != count {
        assert!(Instant::now() < deadline, "what was looked at does not come back to {queue}");
    }
    Ok(found)
}
