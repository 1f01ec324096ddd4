//! Rows of the suite about what queues do beyond keeping messages in order: each beside the plain queue, in turn, with
//! the same messages where these can be the same.

use super::arguments::Argument;
use super::dead_letters::{DeadLettered, DeadLetters};
use super::error::Result;
use super::load::{Load, Throughput};
use super::report::{Figure, Unit};
use super::rows::{cpu, cpu_per_million, figures, per_second, rate, ratio};
use super::server::Server;
use super::stand::{Stand, Turns, in_turn};

/// What a feature may cost in messages a second.
const FEATURE_AT_LEAST: f64 = 0.7;
/// How many messages wait in a queue that is not empty.
const BACKLOG: u64 = 1_000_000;
/// A time to live that nothing outlives.
const LONG_MS: i64 = 3_600_000;
/// A length that nothing reaches.
const LONG_LENGTH: i64 = 100_000_000;
/// How many priorities messages draw from.
const PRIORITIES: u16 = 10;

/// Loads that use no feature, through this build and another.
pub fn base(stand: &Stand) -> Result<Vec<Figure>> {
    let Some(program) = &stand.base else { return Ok(Vec::new()) };
    let other = Server::broker_of(program)?;
    let plain = stand.load();
    let loads = [
        ("plain", plain.clone()),
        ("acknowledged by fifties", Load { ack_every: 50, prefetch: 1000, ..plain.clone() }),
        ("durable with confirms", Load { durable: true, confirms: 1000, ack_every: 50, prefetch: 1000, ..plain }),
    ];
    let mut all = Vec::new();
    for (what, load) in loads {
        let turns = stand.broker_beside((&load, &other.endpoint), &load)?;
        let inverse = |t: &Throughput| cpu(t).map(f64::recip);
        all.extend([
            ratio(&format!("{what}: messages/s over the other's"), turns.over(rate, rate)).map(|f| f.at_least(0.98)),
            ratio(&format!("{what}: messages for broker CPU over the other's"), turns.over(inverse, inverse))
                .map(|f| f.at_least(0.98)),
            per_second(&format!("{what}: messages/s"), turns.each(rate)),
        ]);
    }
    figures(all)
}

pub fn ttl(stand: &Stand) -> Result<Vec<Figure>> {
    with_arguments(stand, &[Argument::number("x-message-ttl", LONG_MS)])
}

pub fn max_length(stand: &Stand) -> Result<Vec<Figure>> {
    with_arguments(stand, &[Argument::number("x-max-length", LONG_LENGTH)])
}

pub fn reject_publish(stand: &Stand) -> Result<Vec<Figure>> {
    let overflow = Argument::text("x-overflow", "reject-publish");
    with_arguments(stand, &[Argument::number("x-max-length", LONG_LENGTH), overflow])
}

fn with_arguments(stand: &Stand, arguments: &[Argument]) -> Result<Vec<Figure>> {
    let plain = stand.load();
    empty_and_not(stand, &plain, &Load { arguments: arguments.to_vec(), ..plain.clone() })
}

/// The plain queue's messages have priorities as well: it does not look at them.
pub fn priorities(stand: &Stand) -> Result<Vec<Figure>> {
    let plain = Load { priorities: PRIORITIES, ..stand.load() };
    let highest = Argument::number("x-max-priority", i64::from(PRIORITIES) - 1);
    empty_and_not(stand, &plain, &Load { arguments: vec![highest], ..plain.clone() })
}

/// Messages that may expire do so in every queue. Those of the plain queue have another property, at random as well: that
/// no two messages are alike costs more than what they say.
pub fn expiration(stand: &Stand) -> Result<Vec<Figure>> {
    let plain = Load { priorities: PRIORITIES, ..stand.load() };
    empty_and_not(stand, &plain, &Load { priorities: 0, expirations: 10_000, ..plain.clone() })
}

/// A load over the plain one: with queues that are empty but for what is on its way, and with much that waits.
fn empty_and_not(stand: &Stand, plain: &Load, load: &Load) -> Result<Vec<Figure>> {
    let mut all = over_plain(stand, plain, load, "")?;
    let waiting = |load: &Load| Load { backlog: BACKLOG, ..load.clone() };
    all.extend(over_plain(stand, &waiting(plain), &waiting(load), ", a million waiting")?);
    Ok(all)
}

fn over_plain(stand: &Stand, plain: &Load, load: &Load, with: &str) -> Result<Vec<Figure>> {
    let turns = stand.broker_beside((plain, stand.broker()), load)?;
    beside_plain(&turns, rate, with)
}

fn beside_plain(
    turns: &Turns<Throughput, Throughput>,
    of_load: fn(&Throughput) -> Option<f64>,
    with: &str,
) -> Result<Vec<Figure>> {
    let named = |what: &str| format!("{what}{with}");
    figures([
        ratio(&named("messages/s over the plain queue's"), turns.over(of_load, rate))
            .map(|f| f.at_least(FEATURE_AT_LEAST)),
        ratio(&named("broker CPU for a message over the plain queue's"), turns.over(cpu, cpu)),
        per_second(&named("messages/s"), turns.each(of_load)),
        cpu_per_million(turns),
    ])
}

/// Nobody consumes: what comes in drops what is oldest, in place of its delivery.
pub fn max_length_full(stand: &Stand) -> Result<Vec<Figure>> {
    let arguments = vec![Argument::number("x-max-length", BACKLOG as i64)];
    let full = Load { arguments, consumers: 0, backlog: BACKLOG, ..stand.load() };
    let turns = stand.broker_beside((&stand.load(), stand.broker()), &full)?;
    beside_plain(&turns, |throughput| Some(throughput.published_per_s), "")
}

pub fn dead_letters(stand: &Stand) -> Result<Vec<Figure>> {
    dead_letters_with(stand, 0)
}

pub fn dead_letters_own(stand: &Stand) -> Result<Vec<Figure>> {
    dead_letters_with(stand, 1)
}

fn dead_letters_with(stand: &Stand, expirations: u32) -> Result<Vec<Figure>> {
    let plain = stand.load();
    let load = DeadLetters {
        messages: BACKLOG,
        body_bytes: plain.body_bytes,
        durable: false,
        expirations,
        ttl: 4.0,
        rate_per_s: 10_000,
        seconds: stand.seconds,
    };
    let turns = in_turn(stand.rounds(), || plain.run(stand.broker()), || load.run(stand.broker()))?;
    let of_dead: fn(&DeadLettered) -> Option<f64> = |dead| dead.cpu_s_per_million;
    let p99 = |dead: &DeadLettered| Some(dead.meanwhile.p99_us / dead.before.p99_us);
    figures([
        ratio("dead letters/s over plain publish and consume", turns.over(|dead| Some(dead.per_s), rate))
            .map(|f| f.at_least(0.3)),
        ratio("broker CPU for one over that of a plain message", turns.over(of_dead, cpu)),
        per_second("dead letters/s", turns.each(|dead| Some(dead.per_s))),
        Figure::of_rounds("broker CPU for a million of them", Unit::CpuPerMillion, turns.each(of_dead)),
        ratio("another queue's p99 meanwhile, over before", turns.each(p99)).map(|f| f.at_most(2.0)),
        Figure::of_rounds("the other queue's p99 before", Unit::Micros, turns.each(|d| Some(d.before.p99_us))),
        Figure::of_rounds("the other queue's p99 meanwhile", Unit::Micros, turns.each(|d| Some(d.meanwhile.p99_us))),
    ])
}
