use std::collections::BTreeSet;

use amq_protocol::types::FieldTable;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::broker::binding::Destination;
use crate::broker::exchange::{Exchange, ExchangeDefinition, ExchangeKind};

fn bindings(patterns: &[impl AsRef<[u8]>]) -> Vec<Arc<Binding>> {
    let to = Destination::Exchange(Exchange::new(ExchangeDefinition::durable("x", ExchangeKind::Fanout)));
    let binding = |pattern: &[u8]| Arc::new(Binding::new("s".into(), to.clone(), pattern, FieldTable::default()));
    patterns.iter().map(|pattern| binding(pattern.as_ref())).collect()
}

fn topic(patterns: &[impl AsRef<[u8]>]) -> Topic {
    let mut topic = Topic::default();
    bindings(patterns).into_iter().for_each(|binding| topic.insert(binding));
    topic
}

/// The patterns that match, each as often as it was found.
fn found(topic: &Topic, key: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    topic.for_each_match(key, |some| {
        found.extend(some.iter().map(|b| String::from_utf8_lossy(&b.routing_key).into_owned()))
    });
    found.sort();
    found
}

/// The definition of a match, word by word.
fn naive_match(pattern: &[&[u8]], words: &[&[u8]]) -> bool {
    match (pattern, words) {
        ([], words) => words.is_empty(),
        ([b"#", rest @ ..], words) => (0..=words.len()).any(|n| naive_match(rest, &words[n..])),
        ([b"*", rest @ ..], [_, words @ ..]) => naive_match(rest, words),
        ([word, rest @ ..], [first, words @ ..]) => word == first && naive_match(rest, words),
        (_, []) => false,
    }
}

fn naive(pattern: &[u8], key: &[u8]) -> bool {
    naive_match(&words_of(pattern).collect::<Vec<_>>(), &words_of(key).collect::<Vec<_>>())
}

#[test]
fn words_are_what_lies_between_dots() {
    let words = |key: &'static str| words_of(key.as_bytes()).count();
    assert_eq!([words(""), words("a"), words("."), words("a."), words("a..b")], [0, 1, 2, 2, 3]);
}

#[test]
fn star_is_one_word_and_hash_any_number() {
    let topic = topic(&["", "#", "*", "a.b", "a.*", "#.b", "a.#", "*.*", "#.#", "a.*.#", "..", "*.a.#"]);
    assert_eq!(found(&topic, b""), ["", "#", "#.#"]);
    assert_eq!(found(&topic, b"a"), ["#", "#.#", "*", "a.#"]);
    assert_eq!(found(&topic, b"a.b"), ["#", "#.#", "#.b", "*.*", "a.#", "a.*", "a.*.#", "a.b"]);
    assert_eq!(found(&topic, b"."), ["#", "#.#", "*.*"]);
    assert_eq!(found(&topic, b".."), ["#", "#.#", ".."]);
    assert_eq!(found(&topic, b"*"), ["#", "#.#", "*"]);
    assert_eq!(found(&topic, b"#"), ["#", "#.#", "*"]);
}

#[test]
fn agrees_with_the_definition() {
    let mut rng = StdRng::seed_from_u64(0x5eed);
    let key = |rng: &mut StdRng, alphabet: &[&str]| {
        let words: Vec<_> = (0..rng.random_range(0..6)).map(|_| *alphabet.choose(rng).unwrap()).collect();
        words.join(".").into_bytes()
    };
    for _ in 0..300 {
        let patterns: BTreeSet<_> =
            (0..rng.random_range(0..30)).map(|_| key(&mut rng, &["a", "b", "", "*", "#", "#"])).collect();
        let patterns: Vec<_> = patterns.into_iter().collect();
        let all = bindings(&patterns);
        let mut topic = Topic::default();
        all.iter().for_each(|binding| topic.insert(binding.clone()));
        let (gone, kept) = all.split_at(rng.random_range(0..=all.len()));
        gone.iter().for_each(|binding| topic.remove(binding));
        for _ in 0..20 {
            let key = key(&mut rng, &["a", "b", "", "c", "*", "#"]);
            let kept = kept.iter().filter(|binding| naive(&binding.routing_key, &key));
            let mut expected: Vec<_> =
                kept.map(|binding| String::from_utf8(binding.routing_key.to_vec()).unwrap()).collect();
            expected.sort();
            assert_eq!(found(&topic, &key), expected, "key {:?}", String::from_utf8_lossy(&key));
        }
        kept.iter().for_each(|binding| topic.remove(binding));
        assert_eq!(topic.nodes.len(), topic.free_nodes.len() + 1, "only the root is left");
        assert!(topic.edges.is_empty() && topic.words.numbers.is_empty());
    }
}

#[test]
fn many_hashes_cost_no_more_than_words_times_nodes() {
    let pattern = |last: &str| "#.".repeat(100) + last;
    let topic = topic(&[pattern("a"), pattern("b"), pattern("*.a.#"), "#.".repeat(127) + "a"]);
    let key = vec!["a"; 120].join(".");
    assert_eq!(found(&topic, key.as_bytes()).len(), 3);
}

#[test]
fn numbers_of_nodes_and_words_are_used_again() {
    let mut topic = Topic::default();
    let all = bindings(&(0..1000).map(|n| format!("a.{n}.*")).collect::<Vec<_>>());
    for _ in 0..5 {
        all.iter().for_each(|binding| topic.insert(binding.clone()));
        assert_eq!(found(&topic, b"a.17.x"), ["a.17.*"]);
        all.iter().for_each(|binding| topic.remove(binding));
    }
    assert_eq!(topic.nodes.len(), 2 + 2 * 1000);
    assert!(topic.words.free.len() <= 1001);
}

#[test]
fn bytes_that_are_no_text_are_words_too() {
    let topic = topic(&[b"\xff.\xfe".as_slice(), b"*.\xfe"]);
    assert_eq!(found(&topic, b"\xff.\xfe").len(), 2);
    assert_eq!(found(&topic, b"\xfd.\xfe").len(), 1);
}
