//! Clients that work until the broker is gone, and then tell what they know.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::durability::client::{Client, Delivery, Event};
use crate::kill::ledger::{Claim, Ledger};
use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::wire::*;

/// Queues, by who publishes to them; see [`crate::kill`].
pub const DIRECT: [&str; 3] = ["direct-0", "direct-1", "direct-2"];
pub const FAN: [&str; 3] = ["fan-0", "fan-1", "fan-2"];
pub const TX: [&str; 2] = ["tx-0", "tx-1"];
pub const MOVED: &str = "moved";
/// Queues with a consumer, and where it publishes to learn that its acknowledgements are kept.
pub const CONSUMED: [(&str, &str); 3] =
    [("direct-1", "fence-direct-1"), ("direct-2", "fence-direct-2"), ("fan-1", "fence-fan-1")];
pub const FAN_EXCHANGE: &str = "fan";

/// Messages that a consumer holds at most.
const PREFETCH: u16 = 100;
/// Messages that a consumer leaves unsettled at most.
const HELD: usize = 40;

/// What the clients of one round share.
pub struct Round {
    pub address: SocketAddr,
    pub seed: u64,
    /// The first number of every publisher; none below it was used.
    pub first: u64,
    /// Confirms and commits so far, by which to choose the moment of the kill.
    pub progress: AtomicU64,
    pub killed: AtomicBool,
}

impl Round {
    fn random(&self, who: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_add(who.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// The work ends by the kill, and by nothing else.
    fn ended(&self, result: Result<()>) {
        let error = result.expect_err("clients work until the kill");
        assert_ne!(error.kind(), ErrorKind::TimedOut, "the broker is silent");
        assert!(self.killed.load(Ordering::SeqCst), "the broker left before it was killed: {error}");
    }

    fn advance(&self, by: u64) {
        self.progress.fetch_add(by, Ordering::Relaxed);
    }
}

/// A task of a round: works until the kill, returns what it has to tell the ledger.
pub type Report = Box<dyn FnOnce(&mut Ledger) + Send>;

/// The body of a message: its number, and bytes that depend on it; some are large.
pub fn body(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(509) { 50_000 + number % 100_000 } else { number.wrapping_mul(31) % 300 };
    let mut body = number.to_be_bytes().to_vec();
    body.extend((0..length).map(|at| (at ^ number) as u8));
    body
}

/// The number of a message, whose body must be as it was sent.
#[track_caller]
pub fn number_of(delivered: &[u8]) -> u64 {
    let number = u64::from_be_bytes(delivered[..8].try_into().expect("eight bytes"));
    assert!(delivered == body(number), "the body of {number} has changed");
    number
}

// ---- publishers with confirms ----

/// A publisher whose messages go to one of several routes each, and reach all queues of that.
pub struct Confirmed {
    pub who: u64,
    /// Exchange, routing key, queues.
    pub routes: Vec<(&'static str, &'static str, Vec<&'static str>)>,
    pub window: usize,
}

/// What a publisher has sent.
#[derive(Default)]
struct Sent {
    /// The number, the route, and whether it is persistent; tags count from 1.
    by_tag: Vec<(u64, usize, bool)>,
    unconfirmed: BTreeSet<u64>,
}

impl Confirmed {
    pub fn run(self, round: &Round) -> Report {
        let mut sent = Sent::default();
        round.ended(self.work(round, &mut sent));
        Box::new(move |ledger| {
            for (tag, (number, route, persistent)) in (1..).zip(sent.by_tag) {
                let kept = !sent.unconfirmed.contains(&tag);
                for queue in self.routes[route].2.iter().filter(|_| persistent) {
                    ledger.queue(queue).sent(number);
                    if kept {
                        ledger.queue(queue).kept(number);
                    }
                }
            }
        })
    }

    fn work(&self, round: &Round, sent: &mut Sent) -> Result<()> {
        let mut random = round.random(self.who);
        let mut client = Client::connect(round.address)?;
        client.call(&method("confirm.select"))?;
        loop {
            while sent.unconfirmed.len() < self.window {
                self.publish(&mut client, &mut random, round.first, sent);
            }
            let mut event = Some(client.next()?);
            while let Some(this) = event {
                round.advance(sent.confirm(&this));
                event = client.next_buffered();
            }
        }
    }

    fn publish(&self, client: &mut Client, random: &mut StdRng, first: u64, sent: &mut Sent) {
        let tag = sent.by_tag.len() as u64 + 1;
        let route = random.random_range(0..self.routes.len());
        let persistent = random.random_bool(0.9);
        sent.by_tag.push((first + tag, route, persistent));
        sent.unconfirmed.insert(tag);
        let (exchange, key, _) = self.routes[route];
        if persistent {
            client.put_persistent(exchange, key, &body(first + tag));
        } else {
            client.put_message(exchange, key, NONE, &body(first + tag));
        }
    }
}

impl Sent {
    /// Returns how many are confirmed by this.
    fn confirm(&mut self, event: &Event) -> u64 {
        let &Event::Confirm { tag, multiple } = event else { panic!("no confirm: {event:?}") };
        let before = self.unconfirmed.len();
        assert!(self.unconfirmed.contains(&tag), "{tag} is confirmed twice or was never published");
        if multiple {
            self.unconfirmed = self.unconfirmed.split_off(&(tag + 1));
        } else {
            self.unconfirmed.remove(&tag);
        }
        (before - self.unconfirmed.len()) as u64
    }
}

// ---- consumers ----

/// A consumer that acknowledges, rejects, requeues and keeps, and now and then publishes a fence on the same channel:
/// when that is confirmed, all that it did before is kept.
pub struct Consumer {
    pub who: u64,
    pub queue: &'static str,
    pub fence: &'static str,
}

/// What a consumer did, in its order.
enum Deed {
    Saw(u64),
    Settled(u64),
    Fenced(u64),
}

#[derive(Default)]
struct Diary {
    deeds: Vec<Deed>,
    /// Fences up to this tag are confirmed.
    confirmed: u64,
}

impl Consumer {
    pub fn run(self, round: &Round) -> Report {
        let mut diary = Diary::default();
        round.ended(self.work(round, &mut diary));
        let first = round.first;
        Box::new(move |ledger| diary.tell(ledger, &self, first))
    }

    fn work(&self, round: &Round, diary: &mut Diary) -> Result<()> {
        let mut random = round.random(self.who);
        let mut client = Client::connect(round.address)?;
        client.call(&method("confirm.select"))?;
        client.call(&qos(PREFETCH))?;
        client.put(&consume(self.queue, "t"));
        let mut held = BTreeMap::new();
        let (mut fences, mut since_fence) = (0, 0);
        loop {
            match client.next()? {
                Event::Delivery(delivery) => {
                    self.receive(&mut client, &mut random, &delivery, &mut held, diary);
                    since_fence += 1;
                }
                Event::Confirm { tag, .. } => diary.confirmed = diary.confirmed.max(tag),
                Event::Other(reply) => assert_eq!(reply.name, "basic.consume-ok"),
            }
            if since_fence >= 50 {
                since_fence = 0;
                fences += 1;
                diary.deeds.push(Deed::Fenced(fences));
                client.put_persistent("", self.fence, &body(round.first + fences));
            }
        }
    }

    fn receive(
        &self,
        client: &mut Client,
        random: &mut StdRng,
        delivery: &Delivery,
        held: &mut BTreeMap<u64, u64>,
        diary: &mut Diary,
    ) {
        diary.deeds.push(Deed::Saw(number_of(&delivery.body)));
        held.insert(delivery.tag, number_of(&delivery.body));
        let choice = random.random_range(0..100);
        let tag = if held.len() > HELD { *held.keys().next().expect("many") } else { delivery.tag };
        match choice {
            0..70 => {
                client.put(&ack(tag));
                diary.settled(held.remove(&tag));
            }
            70..75 => {
                client.put(&ack(tag).on("multiple"));
                let later = held.split_off(&(tag + 1));
                std::mem::replace(held, later).into_values().for_each(|number| diary.settled(Some(number)));
            }
            75..82 => {
                client.put(&reject(tag));
                diary.settled(held.remove(&tag));
            }
            82..92 => {
                client.put(&nack(tag).on("requeue"));
                held.remove(&tag);
            }
            _ if held.len() > HELD => {
                client.put(&reject(tag).on("requeue"));
                held.remove(&tag);
            }
            _ => {}
        }
    }
}

impl Diary {
    fn settled(&mut self, number: Option<u64>) {
        self.deeds.push(Deed::Settled(number.expect("held")));
    }

    fn tell(&self, ledger: &mut Ledger, consumer: &Consumer, first: u64) {
        ledger.queue(consumer.queue).delivered(0, usize::from(PREFETCH));
        let kept = self.deeds.iter().rposition(|deed| matches!(deed, Deed::Fenced(tag) if *tag <= self.confirmed));
        for (at, deed) in self.deeds.iter().enumerate() {
            let surely = kept.is_some_and(|kept| at < kept);
            match *deed {
                Deed::Saw(number) => {
                    let queue = ledger.queue(consumer.queue);
                    queue.delivered(number, usize::from(PREFETCH));
                    if surely {
                        queue.delivered_surely(number);
                    }
                }
                Deed::Settled(number) if surely => ledger.queue(consumer.queue).settled_surely(number),
                Deed::Settled(number) => ledger.queue(consumer.queue).settled_perhaps(number),
                Deed::Fenced(tag) => {
                    ledger.queue(consumer.fence).sent(first + tag);
                    if tag <= self.confirmed {
                        ledger.queue(consumer.fence).kept(first + tag);
                    }
                }
            }
        }
    }
}

// ---- transactions ----

/// Commits the same messages to both [`TX`] queues.
pub fn commit_pairs(round: &Round) -> Report {
    let mut committed = Vec::new();
    let mut open = Vec::new();
    round.ended(try_commit_pairs(round, &mut committed, &mut open));
    Box::new(move |ledger| {
        for queue in TX {
            for number in &committed {
                ledger.queue(queue).sent(*number);
                ledger.queue(queue).kept(*number);
            }
            open.iter().for_each(|number| ledger.queue(queue).sent(*number));
        }
        // What is in the first queue may have been moved on already.
        let there = |queues: &[&'static str], number: u64| Claim { queues: queues.to_vec(), number, is_there: true };
        let claims = open.iter().flat_map(|&number| [there(&[TX[0], MOVED], number), there(&[TX[1]], number)]);
        ledger.together.push(claims.collect());
    })
}

fn try_commit_pairs(round: &Round, committed: &mut Vec<u64>, open: &mut Vec<u64>) -> Result<()> {
    let mut random = round.random(100);
    let mut client = Client::connect(round.address)?;
    client.call(&method("tx.select"))?;
    let mut number = round.first;
    loop {
        for _ in 0..random.random_range(1..=5) {
            number += 1;
            open.push(number);
            TX.iter().for_each(|queue| client.put_persistent("", queue, &body(number)));
        }
        client.call(&method("tx.commit"))?;
        round.advance(1);
        committed.append(open);
    }
}

/// Takes messages from the first of the [`TX`] queues and publishes them to [`MOVED`], both in one transaction.
pub fn move_on(round: &Round) -> Report {
    let mut moved = Vec::new();
    let mut open = Vec::new();
    let mut seen = 0;
    round.ended(try_move_on(round, &mut moved, &mut open, &mut seen));
    Box::new(move |ledger| {
        ledger.queue(TX[0]).delivered(seen, usize::from(PREFETCH));
        for &number in &moved {
            ledger.queue(TX[0]).settled_surely(number);
            ledger.queue(MOVED).sent(number);
            ledger.queue(MOVED).kept(number);
        }
        for &number in &open {
            ledger.queue(TX[0]).settled_perhaps(number);
            ledger.queue(MOVED).sent(number);
        }
        // Messages are delivered before they are kept: one that the kill undid is not there although it never moved. Then
        // the claim of those who published it says that it is in no queue at all.
        let was_kept = |number: &&u64| ledger.queues.get(TX[0]).is_some_and(|queue| queue.was_kept(**number));
        let claim = |queue, number, is_there| Claim { queues: vec![queue], number, is_there };
        let mut claims: Vec<_> = open.iter().filter(was_kept).map(|number| claim(TX[0], *number, false)).collect();
        claims.extend(open.iter().map(|number| claim(MOVED, *number, true)));
        ledger.together.push(claims);
    })
}

fn try_move_on(round: &Round, moved: &mut Vec<u64>, open: &mut Vec<u64>, seen: &mut u64) -> Result<()> {
    let mut random = round.random(101);
    let mut client = Client::connect(round.address)?;
    client.call(&method("tx.select"))?;
    client.call(&qos(PREFETCH))?;
    client.put(&consume(TX[0], "t"));
    let mut batch = random.random_range(1..8);
    let mut committing = false;
    let mut waiting = VecDeque::new();
    loop {
        match client.next()? {
            Event::Delivery(delivery) => {
                let number = number_of(&delivery.body);
                *seen = number.max(*seen);
                waiting.push_back((delivery.tag, number));
            }
            Event::Other(reply) if reply.name == "tx.commit-ok" => {
                committing = false;
                moved.append(open);
                round.advance(1);
                batch = random.random_range(1..8);
            }
            Event::Other(reply) => assert_eq!(reply.name, "basic.consume-ok"),
            confirm => panic!("in a transaction: {confirm:?}"),
        }
        if !committing && waiting.len() >= batch {
            for (tag, number) in waiting.drain(..batch) {
                open.push(number);
                client.put_persistent("", MOVED, &body(number));
                client.put(&ack(tag));
            }
            client.put(&method("tx.commit"));
            committing = true;
        }
    }
}
