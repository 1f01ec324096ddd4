use serde_json::{Value, json};

use super::*;
use crate::broker::policy::PolicyKind;

const CLASSIC: Subject = Subject::Queue(QueueType::Classic);
const QUORUM: Subject = Subject::Queue(QueueType::Quorum);

fn add(set: &mut PolicySet, name: &str, pattern: &str, priority: i64, apply_to: &str) -> Option<Arc<Policy>> {
    add_with(set, name, pattern, priority, apply_to, json!({"message-ttl": 1}))
}

fn add_with(
    set: &mut PolicySet,
    name: &str,
    pattern: &str,
    priority: i64,
    apply_to: &str,
    definition: Value,
) -> Option<Arc<Policy>> {
    let value = json!({"pattern": pattern, "priority": priority, "apply-to": apply_to, "definition": definition});
    let (policy, pattern) = Policy::parse(PolicyKind::User, &"/".into(), name, &value).unwrap();
    set.insert(Arc::new(policy), pattern)
}

fn best(set: &PolicySet, name: &str, subject: Subject) -> Option<String> {
    set.best(name, subject).map(|policy| policy.name.to_string())
}

#[test]
fn the_highest_priority_wins_and_of_equal_ones_the_first_name() {
    let mut set = PolicySet::default();
    assert_eq!(best(&set, "q", CLASSIC), None);
    add(&mut set, "b", "^q", 1, "all");
    add(&mut set, "a", "^q", 1, "all");
    add(&mut set, "low", ".*", -5, "all");
    add(&mut set, "high", "^quite", 9, "all");
    assert_eq!(best(&set, "q", CLASSIC).as_deref(), Some("a"));
    assert_eq!(best(&set, "quite", CLASSIC).as_deref(), Some("high"));
    assert_eq!(best(&set, "other", CLASSIC).as_deref(), Some("low"));
    set.remove("a");
    assert_eq!(best(&set, "q", CLASSIC).as_deref(), Some("b"));
}

#[test]
fn a_policy_applies_to_the_things_that_it_is_for() {
    for (apply_to, exchange, classic, quorum) in [
        ("all", true, true, true),
        ("exchanges", true, false, false),
        ("queues", false, true, true),
        ("classic_queues", false, true, false),
        ("quorum_queues", false, false, true),
        ("streams", false, false, false),
    ] {
        let mut set = PolicySet::default();
        add(&mut set, "p", "", 0, apply_to);
        let applies = |subject| best(&set, "x", subject).is_some();
        let found = (applies(Subject::Exchange), applies(CLASSIC), applies(QUORUM));
        assert_eq!(found, (exchange, classic, quorum), "{apply_to}");
    }
}

#[test]
fn a_policy_for_streams_does_not_hide_another_from_queues() {
    let mut set = PolicySet::default();
    add_with(&mut set, "streams", "", 9, "all", json!({"max-age": "1D"}));
    add_with(&mut set, "lazy", "", 5, "all", json!({"queue-mode": "lazy"}));
    add(&mut set, "rest", "", 0, "all");
    assert_eq!(best(&set, "q", CLASSIC).as_deref(), Some("lazy"));
    assert_eq!(best(&set, "q", QUORUM).as_deref(), Some("rest"));
    assert_eq!(best(&set, "q", Subject::Exchange).as_deref(), Some("streams"));
}

/// Patterns and names of few letters, so that much of them overlaps.
#[test]
fn the_index_finds_what_trying_every_policy_finds() {
    let patterns = [
        "",
        "^",
        ".*",
        "a",
        "^a",
        "b$",
        "^ab",
        "^ab$",
        "^(a|b)c",
        "a.*b",
        "^a.*c$",
        "(?i)A",
        "^(?!a)",
        "c+",
        "^.b",
        "bc|ca",
        "abc",
        "cab",
        "^c.*abcabc",
        "[ab]c$",
    ];
    let mut random = 17_u64;
    let mut next = |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % n
    };
    for _ in 0..200 {
        let mut set = PolicySet::default();
        for i in 0..next(12) {
            let apply_to = ["all", "queues", "classic_queues", "exchanges"][next(4)];
            add(&mut set, &format!("p{i}"), patterns[next(patterns.len())], next(3) as i64, apply_to);
        }
        for _ in 0..20 {
            let name: String = (0..next(7)).map(|_| ['a', 'b', 'c'][next(3)]).collect();
            for subject in [CLASSIC, QUORUM, Subject::Exchange] {
                let tried = set.by_name.values().filter(|entry| entry.matches(&name, subject));
                let expected = tried.min_by_key(|entry| (-entry.policy.priority, entry.policy.name.clone()));
                let found = set.best(&name, subject);
                assert_eq!(found.as_ref(), expected.map(|entry| &entry.policy), "{name:?} {subject:?} {set:?}");
            }
        }
    }
}

#[test]
fn what_applies_after_one_change_is_what_a_search_of_all_finds() {
    let mut random = 5_u64;
    let mut next = |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % n
    };
    let mut set = PolicySet::default();
    let names = ["a", "ab", "b", "ba", "c"];
    let mut applied: Vec<Option<Arc<Policy>>> = vec![None; names.len()];
    for step in 0..2000 {
        let changed = format!("p{}", next(5));
        let replaced = match next(3) {
            0 => set.remove(&changed),
            _ => add(&mut set, &changed, ["a", "^b", "", "c$"][next(4)], next(3) as i64, "all"),
        };
        for (name, current) in names.iter().zip(&mut applied) {
            *current = set.after_set(&changed, replaced.as_ref(), current.as_ref(), name, CLASSIC);
            assert_eq!(*current, set.best(name, CLASSIC), "{name} at step {step}");
            let exact = current.as_ref().is_none_or(|policy| Arc::ptr_eq(policy, set.get(&policy.name).unwrap()));
            assert!(exact, "{name} has an old policy at step {step}");
        }
    }
}
