use amq_protocol::types::ShortString;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::broker::exchange::{Exchange, ExchangeDefinition, ExchangeKind};
use crate::wire::properties;

fn destination(name: &str) -> Destination {
    Destination::Exchange(Exchange::new(ExchangeDefinition::durable(name, ExchangeKind::Fanout)))
}

fn binding(to: &Destination, weight: &str) -> Arc<Binding> {
    Arc::new(Binding::new("s".into(), to.clone(), weight.as_bytes(), FieldTable::default()))
}

fn bound(weights: &[&str]) -> (ConsistentHash, Vec<Arc<Binding>>) {
    let mut hash = ConsistentHash::new(&FieldTable::default());
    let name = |n: usize| destination(&format!("queue-{n}"));
    let bindings: Vec<_> = weights.iter().enumerate().map(|(n, weight)| binding(&name(n), weight)).collect();
    bindings.iter().for_each(|binding| hash.insert(binding.clone()));
    (hash, bindings)
}

fn place(hash: &ConsistentHash, key: &str) -> Arc<str> {
    let found = hash.matches(&[key.as_bytes(), b"a copy"], None);
    assert_eq!(found.len(), 1, "exactly one binding");
    found[0].destination.name().clone()
}

fn places(hash: &ConsistentHash, keys: u32) -> Vec<Arc<str>> {
    (0..keys).map(|n| place(hash, &format!("key-{n}"))).collect()
}

/// How many keys of 100 000 each of the first so many queues has.
fn shares(hash: &ConsistentHash, queues: usize) -> Vec<usize> {
    let places = places(hash, 100_000);
    (0..queues).map(|n| places.iter().filter(|place| ***place == *format!("queue-{n}")).count()).collect()
}

/// Within five standard deviations, and so that the sum is right.
#[track_caller]
fn assert_shares(found: &[usize], weights: &[f64]) {
    let total: f64 = weights.iter().sum();
    for (found, weight) in found.iter().zip(weights) {
        let share = weight / total;
        let (mean, deviation) = (100_000.0 * share, (100_000.0 * share * (1.0 - share)).sqrt());
        assert!((*found as f64 - mean).abs() < 5.0 * deviation, "{found} are not about {mean}");
    }
    assert_eq!(found.iter().sum::<usize>(), 100_000);
}

#[test]
fn shares_are_as_the_weights() {
    let (even, _) = bound(&["1"; 7]);
    assert_shares(&shares(&even, 7), &[1.0; 7]);
    let (heavy, _) = bound(&["10"; 4]);
    assert_shares(&shares(&heavy, 4), &[1.0; 4]);
    let (uneven, _) = bound(&["1", "2", "3", "10"]);
    assert_shares(&shares(&uneven, 4), &[1.0, 2.0, 3.0, 10.0]);
}

#[test]
fn the_weights_of_several_bindings_of_a_destination_add_up() {
    let (mut hash, bindings) = bound(&["1", "1", "1"]);
    let second = binding(&bindings[1].destination, "3");
    hash.insert(second.clone());
    assert_shares(&shares(&hash, 3), &[1.0, 4.0, 1.0]);
    hash.remove(&bindings[1]);
    assert_shares(&shares(&hash, 3), &[1.0, 3.0, 1.0]);
    hash.remove(&second);
    let left = shares(&hash, 3);
    assert_eq!(left[1], 0);
    assert_shares(&[left[0], left[2]], &[1.0, 1.0]);
}

#[test]
fn only_what_must_move_moves() {
    for weights in [["1"; 10].as_slice(), &["1", "2", "3", "4", "1", "1", "2", "5", "1", "3"]] {
        let (mut hash, bindings) = bound(weights);
        let before = places(&hash, 20_000);
        for removed in &bindings {
            hash.remove(removed);
            let after = places(&hash, 20_000);
            let name = removed.destination.name();
            for (before, after) in before.iter().zip(&after) {
                assert!(after != name && (before == after || before == name), "only what was there moves");
            }
            hash.insert(removed.clone());
            assert_eq!(places(&hash, 20_000), before, "and it comes back");
        }
    }
}

#[test]
fn the_order_of_binding_does_not_matter() {
    let (hash, bindings) = bound(&["1", "7", "2", "2", "1"]);
    let mut other = ConsistentHash::new(&FieldTable::default());
    bindings.iter().rev().for_each(|binding| other.insert(binding.clone()));
    assert_eq!(places(&hash, 1_000), places(&other, 1_000));
}

/// After any history, the targets are as if only what is bound now had ever been.
#[test]
fn agrees_with_one_that_was_never_changed() {
    let mut rng = StdRng::seed_from_u64(0x4a54);
    let queues: Vec<_> = (0..6).map(|n| destination(&format!("queue-{n}"))).collect();
    let weights = ["1", "2", "3", "007"];
    for _ in 0..200 {
        let mut hash = ConsistentHash::new(&FieldTable::default());
        let mut model: Vec<Arc<Binding>> = Vec::new();
        for _ in 0..rng.random_range(1..30) {
            if model.is_empty() || rng.random_bool(0.6) {
                let new = binding(queues.choose(&mut rng).unwrap(), weights.choose(&mut rng).unwrap());
                if !model.contains(&new) {
                    hash.insert(new.clone());
                    model.push(new);
                }
            } else {
                let gone = model.swap_remove(rng.random_range(0..model.len()));
                hash.remove(&gone);
            }
        }
        let mut fresh = ConsistentHash::new(&FieldTable::default());
        // A binding is in one list of its source at a time: these are others like them.
        let alike = |b: &Arc<Binding>| binding(&b.destination, std::str::from_utf8(&b.routing_key).unwrap());
        model.iter().for_each(|binding| fresh.insert(alike(binding)));
        assert_eq!(hash.matches(&[b"k"], None).is_empty(), model.is_empty());
        if !model.is_empty() {
            assert_eq!(places(&hash, 50), places(&fresh, 50));
        }
    }
}

fn arguments(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(ShortString::from(*name), value.clone());
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn hash_of_message(fields: &[(&str, AMQPValue)], wire: &[u8]) -> u64 {
    let on = HashOn::of(Resource::exchange("x", "/"), &arguments(fields)).unwrap();
    on.hash(&[b"key"], Some(&PropertiesView::parse(wire, 4).unwrap()))
}

#[test]
fn what_the_arguments_name_is_hashed() {
    let header = |entries: &[u8]| [&b"\x20\0"[..], &(entries.len() as u32).to_be_bytes(), entries].concat();
    let by_header = |entries: &[u8]| hash_of_message(&[("hash-header", text("h"))], &header(entries));
    assert_eq!(by_header(b"\x01hS\0\0\0\x01v"), by_header(b"\x01aV\x01hS\0\0\0\x01v\x01hV"));
    assert_ne!(by_header(b"\x01hS\0\0\0\x01v"), by_header(b"\x01hS\0\0\0\x01w"));
    assert_eq!(by_header(b"\x01aV"), hash_of_message(&[("hash-header", text("h"))], properties::NONE));
    assert_eq!(
        by_header(b"\x01hI\0\0\0\x01"),
        hash_of_message(&[("x-hash-on", text("h"))], &header(b"\x01hI\0\0\0\x01"))
    );

    let by = |name: &str, wire: &[u8]| hash_of_message(&[("hash-property", text(name))], wire);
    assert_ne!(by("message_id", b"\x00\x80\x01a"), by("message_id", b"\x00\x80\x01b"));
    assert_ne!(by("correlation_id", b"\x04\x00\x01a"), by("correlation_id", b"\x04\x00\x01b"));
    assert_ne!(by("timestamp", b"\x00\x40\0\0\0\0\0\0\0\x01"), by("timestamp", b"\x00\x40\0\0\0\0\0\0\0\x02"));
    assert_eq!(by("message_id", b"\x04\x00\x01a"), by("message_id", properties::NONE));
    assert_eq!(hash_of_message(&[], properties::NONE), hash_of(b"key"));
}

#[test]
fn arguments_are_checked() {
    let refused = |fields: &[(&str, AMQPValue)]| {
        validate(Resource::exchange("x", "/"), &arguments(fields)).unwrap_err().reply_text()
    };
    assert_eq!(refused(&[("hash-property", text("type"))]), "PRECONDITION_FAILED - Unsupported property: type");
    assert_eq!(
        refused(&[("hash-property", text("type")), ("hash-header", text("h"))]),
        "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive"
    );
    assert_eq!(
        refused(&[("x-hash-on", text("h")), ("hash-header", text("h"))]),
        "PRECONDITION_FAILED - hash-header and x-hash-on are mutually exclusive"
    );
    assert_eq!(
        refused(&[("hash-header", AMQPValue::LongInt(1))]),
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'hash-header' in exchange 'x' in vhost '/'"
    );
    assert_eq!(refused(&[("x-algorithm", text("sha"))]), "PRECONDITION_FAILED - Unsupported algorithm: sha");
    for algorithm in ["ring", "jump"] {
        validate(Resource::exchange("x", "/"), &arguments(&[("x-algorithm", text(algorithm))])).unwrap();
    }
}

#[test]
fn weights_are_integers_as_erlang_reads_them() {
    assert_eq!(weight(b"1"), Ok(1));
    assert_eq!(weight(b"+007"), Ok(7));
    assert_eq!(weight(b"99999999999999999999999"), Ok(u64::MAX));
    for key in ["0", "-1", "-0", "-99999999999999999999"] {
        let fault = weight(key.as_bytes()).unwrap_err();
        assert_eq!(fault.reply_text(), "PRECONDITION_FAILED - The binding key must be greater than 0");
    }
    for key in ["", "a", "1a", " 1", "1.0", "+", "--1"] {
        let fault = weight(key.as_bytes()).unwrap_err();
        let term = if key.is_empty() { "<<>>".to_owned() } else { format!("<<\"{key}\">>") };
        assert_eq!(fault.reply_text(), format!("PRECONDITION_FAILED - The binding key must be an integer: {term}"));
    }
}
