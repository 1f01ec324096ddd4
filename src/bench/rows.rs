//! The rows of the suite: what each measures, and what it is to reach.

use super::churn::{Churn, What};
use super::error::Result;
use super::feature_rows as features;
use super::idle::Idle;
use super::latency::{Latencies, Latency};
use super::load::{Load, Throughput};
use super::message::Properties;
use super::report::{Figure, Unit};
use super::rpc::Rpc;
use super::stall::Stall;
use super::stand::{Stand, Turns, in_turn};
use super::topology::ExchangeType;
use crate::limits::Limits;

/// A row of the suite.
pub struct Row {
    /// As given to `--only`.
    pub name: &'static str,
    pub title: &'static str,
    pub measure: fn(&Stand) -> Result<Vec<Figure>>,
}

pub const ROWS: &[Row] = &[
    Row { name: "16b", title: "16 B, 1 producer, 1 queue, 1 consumer, no-ack", measure: sixteen_bytes },
    Row { name: "1k", title: "the same with 1 KiB", measure: one_kib },
    Row { name: "64k", title: "the same with 64 KiB", measure: sixty_four_kib },
    Row { name: "props", title: "16 B with the properties of usual messages", measure: usual_properties },
    Row { name: "props-varied", title: "16 B with properties that vary", measure: varied_properties },
    Row { name: "acks", title: "16 B, acknowledged by fifties, prefetch 1000", measure: acks },
    Row { name: "keys", title: "1 producer, random keys over 100 queues, 100 consumers", measure: random_keys },
    Row { name: "producers", title: "100 producers into 1 queue, 1 consumer", measure: many_producers },
    Row { name: "connections", title: "400 producers, together 20 000 messages/s", measure: many_connections },
    Row { name: "pairs", title: "4 producers, 4 queues, 4 consumers", measure: four_pairs },
    Row { name: "fanout", title: "fanout to 50 queues with a consumer each", measure: fanout },
    Row { name: "topic", title: "topic exchange with 100 000 bindings, one matches", measure: topic },
    Row { name: "topic-keys", title: "the same, each message with another key", measure: topic_keys },
    Row { name: "latency-10k", title: "latency at 10 000 messages/s", measure: latency_10k },
    Row { name: "latency-50k", title: "latency at 50 000 messages/s", measure: latency_50k },
    Row { name: "rpc", title: "calls over direct reply-to, one at a time", measure: rpc },
    Row { name: "idle", title: "idle connections with a channel each", measure: idle },
    Row { name: "churn", title: "opened and closed, one after the other", measure: churn },
    Row { name: "stall", title: "a no-ack consumer that reads nothing for 30 s", measure: stall },
    Row { name: "base", title: "plain loads, over those of another build (--base)", measure: features::base },
    Row { name: "ttl", title: "a queue with a time to live", measure: features::ttl },
    Row { name: "expiration", title: "messages with times to live of their own", measure: features::expiration },
    Row { name: "max-length", title: "a queue with max-length", measure: features::max_length },
    Row {
        name: "max-length-full",
        title: "the same, full: each message drops one",
        measure: features::max_length_full,
    },
    Row { name: "reject-publish", title: "a queue that refuses what is too much", measure: features::reject_publish },
    Row { name: "priorities", title: "10 priorities, drawn at random", measure: features::priorities },
    Row { name: "dead-letters", title: "a million messages that expire at once", measure: features::dead_letters },
    Row { name: "dead-letters-own", title: "the same, each by its own time", measure: features::dead_letters_own },
];

pub(super) fn rate(throughput: &Throughput) -> Option<f64> {
    Some(throughput.delivered_per_s)
}

pub(super) fn cpu(throughput: &Throughput) -> Option<f64> {
    throughput.cpu_s_per_million
}

/// The figures there are, in this order; those that nobody could measure are left out.
pub(super) fn figures(all: impl IntoIterator<Item = Option<Figure>>) -> Result<Vec<Figure>> {
    Ok(all.into_iter().flatten().collect())
}

pub(super) fn per_second(what: &str, values: Option<Vec<f64>>) -> Option<Figure> {
    Figure::of_rounds(what, Unit::PerSecond, values)
}

pub(super) fn ratio(what: &str, values: Option<Vec<f64>>) -> Option<Figure> {
    Figure::of_rounds(what, Unit::Ratio, values)
}

pub(super) fn cpu_per_million(turns: &Turns<Throughput, Throughput>) -> Option<Figure> {
    Figure::of_rounds("broker CPU for a million messages", Unit::CpuPerMillion, turns.each(cpu))
}

fn sixteen_bytes(stand: &Stand) -> Result<Vec<Figure>> {
    beside_the_limit(stand, &stand.load(), 3.0, 0.60)
}

fn one_kib(stand: &Stand) -> Result<Vec<Figure>> {
    beside_the_limit(stand, &Load { body_bytes: 1024, ..stand.load() }, 2.7, 0.60)
}

fn sixty_four_kib(stand: &Stand) -> Result<Vec<Figure>> {
    beside_the_limit(stand, &Load { body_bytes: 64 * 1024, ..stand.load() }, 2.7, 0.65)
}

fn beside_the_limit(stand: &Stand, load: &Load, cpu_at_most: f64, rate_at_least: f64) -> Result<Vec<Figure>> {
    let turns = stand.broker_beside((load, stand.limit()), load)?;
    figures([
        ratio("broker CPU for a message over the limit's", turns.over(cpu, cpu)).map(|f| f.at_most(cpu_at_most)),
        ratio("messages/s over the limit's", turns.over(rate, rate)).map(|f| f.at_least(rate_at_least)),
        per_second("messages/s", turns.each(rate)),
        cpu_per_million(&turns),
        per_second("the limit's messages/s", turns.each_reference(rate)),
        Figure::of_rounds("the limit's CPU for a million messages", Unit::CpuPerMillion, turns.each_reference(cpu)),
    ])
}

fn usual_properties(stand: &Stand) -> Result<Vec<Figure>> {
    properties(stand, Properties::Usual)
}

fn varied_properties(stand: &Stand) -> Result<Vec<Figure>> {
    properties(stand, Properties::Varied)
}

fn properties(stand: &Stand, props: Properties) -> Result<Vec<Figure>> {
    let load = Load { props, ..stand.load() };
    let turns = beside_plain(stand, &load)?;
    // Properties are bytes to copy as well: what they cost at least.
    let limits = load.run(stand.limit())?.delivered_per_s / stand.load().run(stand.limit())?.delivered_per_s;
    figures([
        ratio("messages/s over those without properties", turns.over(rate, rate)).map(|f| f.at_least(0.5)),
        cpu_per_million(&turns).map(|f| f.at_most(0.30)),
        per_second("messages/s", turns.each(rate)),
        ratio("the limit's messages/s over those without properties", Some(vec![limits])),
    ])
}

/// A load in turn with the plain one, both through the broker.
fn beside_plain(stand: &Stand, load: &Load) -> Result<Turns<Throughput, Throughput>> {
    stand.broker_beside((&stand.load(), stand.broker()), load)
}

fn acks(stand: &Stand) -> Result<Vec<Figure>> {
    let load = Load { ack_every: 50, prefetch: 1000, ..stand.load() };
    let turns = stand.broker_beside((&stand.load(), stand.limit()), &load)?;
    figures([
        ratio("messages/s over the limit's without acks", turns.over(rate, rate)).map(|f| f.at_least(0.15)),
        cpu_per_million(&turns).map(|f| f.at_most(0.30)),
        per_second("messages/s", turns.each(rate)),
    ])
}

fn random_keys(stand: &Stand) -> Result<Vec<Figure>> {
    let load = Load { queues: 100, consumers: 100, random_keys: true, ..stand.load() };
    over_one_to_one(&beside_plain(stand, &load)?, 0.35)
}

fn many_producers(stand: &Stand) -> Result<Vec<Figure>> {
    over_one_to_one(&beside_plain(stand, &Load { producers: 100, ..stand.load() })?, 0.5)
}

fn four_pairs(stand: &Stand) -> Result<Vec<Figure>> {
    let load = Load { producers: 4, consumers: 4, queues: 4, ..stand.load() };
    over_one_to_one(&beside_plain(stand, &load)?, 0.9)
}

fn fanout(stand: &Stand) -> Result<Vec<Figure>> {
    let load = Load { queues: 50, consumers: 50, exchange: Some(ExchangeType::Fanout), ..stand.load() };
    over_one_to_one(&beside_plain(stand, &load)?, 0.8)
}

fn over_one_to_one(turns: &Turns<Throughput, Throughput>, at_least: f64) -> Result<Vec<Figure>> {
    figures([
        ratio("deliveries/s over those of 1 to 1", turns.over(rate, rate)).map(|f| f.at_least(at_least)),
        per_second("deliveries/s", turns.each(rate)),
        cpu_per_million(turns),
    ])
}

fn many_connections(stand: &Stand) -> Result<Vec<Figure>> {
    let load = Load { producers: 400, rate_per_s: 20_000, ..stand.load() };
    // No reference: the rate is given, and what is asked for is what it costs.
    let turns = in_turn(stand.rounds(), || Ok(()), || load.run(stand.broker()))?;
    figures([
        Figure::of_rounds("broker CPU for a million messages", Unit::CpuPerMillion, turns.each(cpu))
            .map(|f| f.at_most(5.0)),
        per_second("deliveries/s", turns.each(rate)),
    ])
}

fn topic(stand: &Stand) -> Result<Vec<Figure>> {
    let load = topic_load(stand);
    let turns = beside_plain(stand, &load)?;
    figures([
        ratio("messages/s over the default exchange's", turns.over(rate, rate)).map(|f| f.at_least(0.7)),
        per_second("messages/s", turns.each(rate)),
        cpu_per_million(&turns),
    ])
}

fn topic_keys(stand: &Stand) -> Result<Vec<Figure>> {
    let load = Load { random_keys: true, ..topic_load(stand) };
    let turns = beside_plain(stand, &load)?;
    figures([
        ratio("messages/s over the default exchange's with one key", turns.over(rate, rate)),
        per_second("messages/s", turns.each(rate)),
        cpu_per_million(&turns),
    ])
}

fn topic_load(stand: &Stand) -> Load {
    Load { exchange: Some(ExchangeType::Topic), bindings: Some(100_000), ..stand.load() }
}

fn latency_10k(stand: &Stand) -> Result<Vec<Figure>> {
    latency(stand, 10_000)
}

fn latency_50k(stand: &Stand) -> Result<Vec<Figure>> {
    latency(stand, 50_000)
}

/// Latencies vary more than rates do.
const LATENCY_ROUNDS: usize = 5;

fn latency(stand: &Stand, rate_per_s: u64) -> Result<Vec<Figure>> {
    let load = Latency { rate_per_s, body_bytes: 16, seconds: stand.seconds };
    let rounds = stand.rounds.unwrap_or(LATENCY_ROUNDS);
    let turns = in_turn(rounds, || load.run(stand.limit()), || load.run(stand.broker()))?;
    let p50 = |l: &Latencies| Some(l.p50_us);
    let p90 = |l: &Latencies| Some(l.p90_us);
    let p99 = |l: &Latencies| Some(l.p99_us);
    let cpu = |l: &Latencies| l.cpu_s_per_s;
    figures([
        ratio("p50 over the limit's", turns.over(p50, p50)).map(|f| f.at_most(1.4)),
        ratio("p90 over the limit's", turns.over(p90, p90)).map(|f| f.at_most(2.0)),
        ratio("p99 over the limit's", turns.over(p99, p99)),
        ratio("broker CPU over the limit's", turns.over(cpu, cpu)).map(|f| f.at_most(2.5)),
        Figure::of_rounds("p50", Unit::Micros, turns.each(p50)),
        Figure::of_rounds("p90", Unit::Micros, turns.each(p90)),
        Figure::of_rounds("p99", Unit::Micros, turns.each(p99)),
        Figure::of_rounds("the limit's p50", Unit::Micros, turns.each_reference(p50)),
        Figure::of_rounds("the limit's p90", Unit::Micros, turns.each_reference(p90)),
        Figure::of_rounds("broker CPU", Unit::Cores, turns.each(cpu)),
    ])
}

fn rpc(stand: &Stand) -> Result<Vec<Figure>> {
    let load = Rpc { body_bytes: 16, seconds: stand.seconds };
    let subject = || load.run(stand.broker());
    let own = |turns: Option<Vec<f64>>| per_second("calls/s", turns);
    let Some(peer) = &stand.peer else {
        let turns = in_turn(stand.rounds(), || Ok(()), subject)?;
        return figures([
            own(turns.each(|calls| Some(calls.per_s))),
            Figure::of_rounds("p50", Unit::Micros, turns.each(|calls| Some(calls.latencies.p50_us))),
            Figure::of_rounds("p99", Unit::Micros, turns.each(|calls| Some(calls.latencies.p99_us))),
        ]);
    };
    let turns = in_turn(stand.rounds(), || load.run(peer), subject)?;
    figures([
        ratio("calls/s over the peer's", turns.over(|c| Some(c.per_s), |c| Some(c.per_s))).map(|f| f.at_least(2.0)),
        own(turns.each(|calls| Some(calls.per_s))),
        per_second("the peer's calls/s", turns.each_reference(|calls| Some(calls.per_s))),
    ])
}

fn idle(stand: &Stand) -> Result<Vec<Figure>> {
    let load = Idle { connections: 4000, burst: 1000, body_bytes: 1024 };
    let memory = load.run(stand.broker())?;
    Ok(vec![
        Figure::new("broker memory for a fresh one", Unit::Kib, memory.fresh_kib).at_most(6.0),
        Figure::new("the same after a burst on each", Unit::Kib, memory.after_burst_kib).at_most(10.0),
    ])
}

fn churn(stand: &Stand) -> Result<Vec<Figure>> {
    let bars = [
        (What::Connections, 5_000.0),
        (What::Channels, 15_000.0),
        (What::Queues, 10_000.0),
        (What::Bindings, 20_000.0),
    ];
    let mut all = Vec::new();
    for (what, at_least) in bars {
        let load = Churn { what, seconds: stand.seconds };
        let turns = in_turn(stand.rounds(), || Ok(()), || load.run(stand.broker()))?;
        let name = format!("{}/s", what.name());
        all.push(per_second(&name, turns.each(|per_s| Some(*per_s))).map(|f| f.at_least(at_least)));
    }
    figures(all)
}

/// How long the consumer does not read.
const STALL_SECONDS: f64 = 30.0;
/// What "at full rate" leaves for chance.
const FULL_RATE: f64 = 0.9;

fn stall(stand: &Stand) -> Result<Vec<Figure>> {
    let load = Stall { body_bytes: 16, stall_seconds: STALL_SECONDS, seconds: stand.seconds };
    let stalled = load.run(stand.broker())?;
    // The setting counts the bytes of messages; half as much again is for all else.
    let bound_mib = (Limits::default().stalled_queue_bytes >> 20) as f64 * 1.5;
    let mib = |what: &str, kib: f64| Figure::new(what, Unit::Mib, kib / 1024.0);
    let added = stalled.peak_kib.zip(stalled.before_kib).map(|(peak, before)| (peak - before).max(0.0));
    let beside = stalled.beside_per_s / stalled.alone_per_s;
    figures([
        added.map(|kib| mib("broker memory that this adds, at most", kib).at_most(bound_mib)),
        stalled.peak_kib.map(|kib| mib("most broker memory", kib)),
        Some(Figure::new("another queue's messages/s over those before", Unit::Ratio, beside).at_least(FULL_RATE)),
        Some(Figure::new("another queue's messages/s", Unit::PerSecond, stalled.beside_per_s)),
    ])
}
