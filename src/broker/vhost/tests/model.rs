//! Random commands against a model that keeps a plain list of everything and routes by looking at all of it.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::broker::Broker;
use crate::broker::definitions::Definition;
use crate::broker::router::Route;
use crate::broker::test_rows::Rows;
use crate::config::Config;
use crate::storage::log::Entry;

const EXCHANGES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const KINDS: [&str; 3] = ["direct", "fanout", "topic"];
const QUEUES: [&str; 4] = ["q0", "q1", "q2", "q3"];
const DURABLE_QUEUES: [&str; 2] = ["q0", "q1"];
const PATTERNS: [&str; 6] = ["", "k", "k.l", "k.*", "#", "#.l"];
const KEYS: [&str; 4] = ["", "k", "k.l", "x.l"];

#[derive(Clone, Debug)]
struct Declared {
    kind: &'static str,
    durable: bool,
    auto_delete: bool,
    alternate: Option<&'static str>,
}

/// Source, destination (is it a queue, its name), pattern.
type Bound = (&'static str, (bool, &'static str), &'static str);

#[derive(Default)]
struct Model {
    exchanges: BTreeMap<&'static str, Declared>,
    queues: BTreeSet<&'static str>,
    bindings: BTreeSet<Bound>,
}

impl Model {
    fn route(&self, exchange: &'static str, key: &str) -> BTreeSet<&'static str> {
        let (mut queues, mut seen, mut todo) = (BTreeSet::new(), BTreeSet::from([exchange]), vec![exchange]);
        while let Some(name) = todo.pop() {
            let Some(declared) = self.exchanges.get(name) else { continue };
            let matching = |b: &&Bound| b.0 == name && matches(declared.kind, b.2, key);
            let mut next: Vec<_> = self.bindings.iter().filter(matching).map(|b| b.1).collect();
            if next.is_empty() {
                next.extend(declared.alternate.map(|alternate| (false, alternate)));
            }
            for (is_queue, name) in next {
                if is_queue {
                    queues.insert(name);
                } else if seen.insert(name) {
                    todo.push(name);
                }
            }
        }
        queues
    }

    /// Drops bindings until nothing more follows from it.
    fn drop_bindings(&mut self, goes: impl Fn(&Bound) -> bool) {
        let (gone, kept): (BTreeSet<_>, _) = std::mem::take(&mut self.bindings).into_iter().partition(goes);
        self.bindings = kept;
        for (source, ..) in gone {
            let is_left = self.bindings.iter().any(|b| b.0 == source);
            if self.exchanges.get(source).is_some_and(|x| x.auto_delete) && !is_left {
                self.delete_exchange(source);
            }
        }
    }

    fn delete_exchange(&mut self, name: &'static str) {
        self.exchanges.remove(name);
        self.bindings.retain(|b| b.0 != name);
        self.drop_bindings(|b| b.1 == (false, name));
    }

    /// What is left of it after a restart.
    fn durable(&self) -> Model {
        let exchanges = self.exchanges.iter().filter(|(_, declared)| declared.durable);
        let exchanges: BTreeMap<_, _> = exchanges.map(|(name, declared)| (*name, declared.clone())).collect();
        let queues: BTreeSet<_> = self.queues.iter().copied().filter(|q| DURABLE_QUEUES.contains(q)).collect();
        let is_durable = |(source, (is_queue, name), _): &&Bound| {
            exchanges.contains_key(source)
                && if *is_queue { queues.contains(name) } else { exchanges.contains_key(name) }
        };
        let bindings = self.bindings.iter().filter(is_durable).copied().collect();
        Model { exchanges, queues, bindings }
    }
}

fn matches(kind: &str, pattern: &str, key: &str) -> bool {
    fn words(text: &str) -> Vec<&str> {
        if text.is_empty() { Vec::new() } else { text.split('.').collect() }
    }
    fn follow(pattern: &[&str], words: &[&str]) -> bool {
        match pattern {
            [] => words.is_empty(),
            ["#", rest @ ..] => (0..=words.len()).any(|n| follow(rest, &words[n..])),
            [word, rest @ ..] => {
                words.first().is_some_and(|first| *word == "*" || word == first) && follow(rest, &words[1..])
            }
        }
    }
    match kind {
        "direct" => pattern == key,
        "topic" => follow(&words(pattern), &words(key)),
        _ => true,
    }
}

fn declare(vhost: &VHost, name: &str, declared: &Declared) {
    let alternate = |name: &str| field("alternate-exchange", AMQPValue::LongString(name.into()));
    let arguments = declared.alternate.map(alternate).unwrap_or_default();
    let Declared { durable, auto_delete, .. } = *declared;
    vhost
        .exchange_declare(ExchangeDeclare { durable, auto_delete, arguments, ..exchange(name, declared.kind) })
        .unwrap();
}

/// One random command to both.
fn command(vhost: &VHost, model: &mut Model, rng: &mut StdRng) {
    let pick = |rng: &mut StdRng, from: &[&'static str]| *from.choose(rng).unwrap();
    let (x, y) = (pick(rng, &EXCHANGES), pick(rng, &EXCHANGES));
    let (q, key) = (pick(rng, &QUEUES), pick(rng, &PATTERNS));
    let both_exist = model.exchanges.contains_key(x) && model.exchanges.contains_key(y);
    match rng.random_range(0..100) {
        0..20 if !model.exchanges.contains_key(x) => {
            let declared = Declared {
                kind: pick(rng, &KINDS),
                durable: rng.random_bool(0.7),
                auto_delete: rng.random_bool(0.3),
                alternate: rng.random_bool(0.5).then_some(y),
            };
            declare(vhost, x, &declared);
            model.exchanges.insert(x, declared);
        }
        20..25 => {
            vhost.exchange_delete(x, false).unwrap();
            model.delete_exchange(x);
        }
        25..40 => {
            let durable = DURABLE_QUEUES.contains(&q);
            vhost.queue_declare(QueueDeclare { durable, ..queue(q) }, ME).unwrap();
            model.queues.insert(q);
        }
        40..45 => {
            vhost.queue_delete(q, false, false, ME).unwrap();
            model.queues.remove(q);
            model.drop_bindings(|b| b.1 == (true, q));
        }
        45..65 => {
            let bound = vhost.queue_bind(q, x, key.as_bytes(), none(), ME);
            assert_eq!(bound.is_ok(), model.exchanges.contains_key(x) && model.queues.contains(q));
            if bound.is_ok() {
                model.bindings.insert((x, (true, q), key));
            }
        }
        65..80 => {
            let bound = vhost.exchange_bind(y, x, key.as_bytes(), none());
            assert_eq!(bound.is_ok(), both_exist);
            if bound.is_ok() {
                model.bindings.insert((x, (false, y), key));
            }
        }
        80..90 => {
            vhost.queue_unbind(q, x, key.as_bytes(), none(), ME).unwrap();
            model.drop_bindings(|b| *b == (x, (true, q), key));
        }
        _ => {
            vhost.exchange_unbind(y, x, key.as_bytes(), none()).unwrap();
            model.drop_bindings(|b| *b == (x, (false, y), key));
        }
    }
}

fn queue_names(route: &Route) -> BTreeSet<String> {
    let names: BTreeSet<_> = route.queues.iter().map(|queue| queue.name().to_string()).collect();
    assert_eq!(names.len(), route.queues.len(), "each queue once");
    names
}

/// What exists is what the model says, routes are the model's, and a kept route that looks current still is one.
fn compare(vhost: &VHost, model: &Model, kept: &mut BTreeMap<(&'static str, &'static str), Route>) {
    let count = model.exchanges.keys().filter(|name| vhost.find_exchange(name).is_some()).count();
    assert_eq!((count, vhost.exchanges().len()), (model.exchanges.len(), count + PREDECLARED.len()));
    let bindings: usize = vhost.exchanges().iter().map(|x| x.binding_count()).sum();
    assert_eq!(bindings, model.bindings.len());
    for &exchange in EXCHANGES.iter() {
        for &key in &KEYS {
            let fresh = vhost.find_exchange(exchange).map(|x| vhost.route(&x, &[key.as_bytes()], &mut || None));
            let expected: BTreeSet<_> = model.route(exchange, key).into_iter().map(str::to_owned).collect();
            if let Some(route) = kept.get(&(exchange, key)).filter(|route| route.is_current()) {
                assert_eq!(queue_names(route), expected, "kept route of {key:?} through {exchange}");
                assert!(fresh.is_some(), "the exchange exists while its route is current");
            }
            let Some(fresh) = fresh else { continue };
            assert_eq!(queue_names(&fresh), expected, "{key:?} through {exchange}");
            assert!(fresh.cacheable);
            kept.insert((exchange, key), fresh);
        }
    }
}

#[test]
fn agrees_with_the_model() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (vhost, mut model, mut kept) = (VHost::new("/"), Model::default(), BTreeMap::new());
        for step in 0..300 {
            command(&vhost, &mut model, &mut rng);
            if step % 3 == 0 {
                compare(&vhost, &model, &mut kept);
            }
        }
        for name in EXCHANGES {
            vhost.exchange_delete(name, false).unwrap();
        }
        let topology = vhost.operation();
        assert!(topology.alternates.is_empty() && topology.destinations.is_empty(), "nothing is left behind");
    }
}

/// A broker over what is in the rows, without a user or another virtual host.
fn reopened(rows: &Rows, store: &Rows) -> Arc<Broker> {
    let config = Config { default_user: None, ..Config::default() };
    Broker::open(config, store.store.clone(), rows.recovered()).unwrap()
}

/// The rows that a virtual host should have.
fn rows_of(vhost: &VHost) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let exchanges = vhost.exchanges();
    let is_predeclared = |name: &str| PREDECLARED.iter().any(|(predeclared, _)| *predeclared == name);
    let durable = exchanges.iter().filter(|x| x.durable && !is_predeclared(&x.name));
    let bindings = exchanges.iter().filter(|x| x.durable).flat_map(|x| x.bindings());
    let durable_bindings: Vec<_> = bindings.filter(|b| b.destination.is_durable()).collect();
    let queues = vhost.queues();
    let definitions = durable
        .map(|exchange| Definition::exchange(vhost.name(), exchange))
        .chain(queues.iter().filter(|queue| queue.definition.durable).map(|queue| Definition::queue(queue)))
        .chain(durable_bindings.iter().map(|binding| Definition::binding(vhost.name(), binding)))
        .chain([vhost.definition()]);
    definitions.map(|definition| (definition.key(), definition.value())).collect()
}

/// After each command, the rows are exactly those of what is durable, one step of the log took them there, and another
/// broker makes the same of them and has nothing to add.
#[test]
fn what_is_durable_is_in_the_rows_and_comes_back() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut rows, mut model) = (Rows::new(), Model::default());
        let vhost = reopened(&rows, &rows).vhost("/").unwrap();
        rows.take();
        for step in 0..200 {
            command(&vhost, &mut model, &mut rng);
            let logged = rows.take();
            let defined = logged.iter().filter(|entry| matches!(entry, Entry::Define(_))).count();
            assert!(defined <= 1, "seed {seed}, step {step}: {logged:?}");
            assert!(rows.rows == rows_of(&vhost), "seed {seed}, step {step}: other rows than definitions");

            let mut again = Rows::new();
            let restarted = reopened(&rows, &again).vhost("/").unwrap();
            assert!(again.take().is_empty(), "seed {seed}, step {step}: nothing changes by itself");
            assert!(rows_of(&restarted) == rows.rows, "seed {seed}, step {step}: other definitions than rows");
            compare(&restarted, &model.durable(), &mut BTreeMap::new());
        }
    }
}

/// The process may end after any step of the log: what comes back then is whole, and what it lacks goes for good.
#[test]
fn a_queue_whose_deletion_is_half_done_is_gone_after_the_start() {
    let mut rows = Rows::new();
    let vhost = reopened(&rows, &rows).vhost("/").unwrap();
    let auto_delete = ExchangeDeclare { durable: true, auto_delete: true, ..exchange("x", "fanout") };
    vhost.exchange_declare(auto_delete).unwrap();
    vhost.exchange_bind("x", "amq.fanout", b"", none()).unwrap();
    let doomed = vhost.queue_declare(QueueDeclare { durable: true, ..queue("q") }, ME).unwrap();
    vhost.queue_bind("q", "x", b"", none(), ME).unwrap();
    vhost.queue_bind("q", "amq.topic", b"#", none(), ME).unwrap();
    rows.take();
    doomed.kill(false, false).unwrap();
    rows.take();
    assert_eq!(rows.rows.len(), 5, "virtual host, exchange, its binding, those of the queue");

    rows.store = Rows::new().store;
    let restarted = reopened(&rows, &rows).vhost("/").unwrap();
    assert!(restarted.find_queue("q").is_none() && restarted.find_exchange("x").is_none());
    assert_eq!(restarted.find_exchange("amq.fanout").unwrap().binding_count(), 0);
    rows.take();
    assert!(rows.rows == rows_of(&restarted));
}
