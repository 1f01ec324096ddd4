use serde_json::{Value, json};

use super::*;
use crate::broker::policy::{ApplyTo, Policy};

fn policy(definition: Value) -> Option<Arc<Policy>> {
    let Value::Object(definition) = definition else { return None };
    Some(Arc::new(Policy {
        vhost: "/".into(),
        name: "p".into(),
        pattern: ".*".into(),
        apply_to: ApplyTo::All,
        priority: 0,
        settings: PolicyDefinition::of(&definition),
        definition,
    }))
}

/// Integers, texts and flags only.
fn table(arguments: Value) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments.as_object().into_iter().flatten() {
        let value = match value {
            Value::Bool(flag) => AMQPValue::Boolean(*flag),
            Value::String(text) => AMQPValue::LongString(text.as_str().into()),
            number => AMQPValue::LongLongInt(number.as_i64().unwrap()),
        };
        table.insert(name.as_str().into(), value);
    }
    table
}

/// The settings from arguments, a policy and an operator policy; `null` for none.
fn settings(arguments: Value, user: Value, operator: Value) -> Effective {
    effective(&table(arguments), &AppliedPolicies { policy: policy(user), operator: policy(operator) })
}

fn from_policy(user: Value) -> Effective {
    settings(Value::Null, user, Value::Null)
}

#[test]
fn with_nothing_set_a_queue_is_plain() {
    assert!(settings(Value::Null, Value::Null, Value::Null).is_plain());
    assert!(settings(json!({"x-queue-type": "classic", "x-unknown": 1}), json!({}), json!({})).is_plain());
    assert!(from_policy(json!({"alternate-exchange": "ae", "queue-mode": "lazy"})).is_plain());
    assert!(!from_policy(json!({"max-length": 0})).is_plain());
}

#[test]
fn times_and_lengths_are_the_least_of_the_three() {
    type Field = fn(&Effective) -> Option<u64>;
    let keys: [(&str, Field); 4] = [
        ("message-ttl", |e| e.message_ttl_ms),
        ("expires", |e| e.expires_ms),
        ("max-length", |e| e.max_length),
        ("max-length-bytes", |e| e.max_length_bytes),
    ];
    for (key, field) in keys {
        let of = |argument: Option<u64>, user: Option<u64>, operator: Option<u64>| {
            let set = |name: String, value: Option<u64>| value.map_or(Value::Null, |value| json!({ name: value }));
            field(&settings(
                set(format!("x-{key}"), argument),
                set(key.to_owned(), user),
                set(key.to_owned(), operator),
            ))
        };
        for (set, expected) in [
            ((None, None, None), None),
            ((Some(3), None, None), Some(3)),
            ((None, Some(3), None), Some(3)),
            ((None, None, Some(3)), Some(3)),
            ((Some(1), Some(2), Some(3)), Some(1)),
            ((Some(2), Some(1), Some(3)), Some(1)),
            ((Some(3), Some(2), Some(1)), Some(1)),
            ((Some(5), Some(4), None), Some(4)),
        ] {
            assert_eq!(of(set.0, set.1, set.2), expected, "{key} {set:?}");
        }
    }
}

#[test]
fn the_consumer_timeout_is_the_lesser_of_argument_and_policy() {
    let timeout = |argument, user| settings(argument, user, Value::Null).consumer_timeout_ms;
    assert_eq!(timeout(json!({"x-consumer-timeout": 5}), json!({"consumer-timeout": 3})), Some(3));
    assert_eq!(timeout(json!({"x-consumer-timeout": 5}), Value::Null), Some(5));
    assert_eq!(timeout(Value::Null, json!({"consumer-timeout": 3})), Some(3));
}

#[test]
fn the_delivery_limit_is_the_least_that_is_not_negative_and_20_for_quorum_queues() {
    let limit = |arguments, user, operator| settings(arguments, user, operator).delivery_limit;
    let none = Value::Null;
    let quorum = || json!({"x-queue-type": "quorum"});
    let user = |n: i64| json!({"delivery-limit": n});
    assert_eq!(limit(none.clone(), none.clone(), none.clone()), None);
    assert_eq!(limit(none.clone(), user(3), none.clone()), Some(3));
    assert_eq!(limit(quorum(), none.clone(), none.clone()), Some(20));
    assert_eq!(limit(quorum(), user(-1), none.clone()), None);
    assert_eq!(limit(quorum(), user(30), none.clone()), Some(30));
    assert_eq!(limit(quorum(), user(-1), user(7)), Some(7));
    let argument = |n: i64| json!({"x-queue-type": "quorum", "x-delivery-limit": n});
    assert_eq!(limit(argument(-1), none.clone(), none.clone()), None);
    assert_eq!(limit(argument(5), user(-1), none.clone()), Some(5));
    assert_eq!(limit(argument(0), user(2), user(1)), Some(0));
    assert_eq!(limit(argument(9), user(2), user(1)), Some(1));
}

#[test]
fn overflow_is_the_arguments_on_classic_and_the_policies_on_quorum_queues() {
    let overflow = |queue_type: &str, argument: Option<&str>, user: Value, operator: Value| {
        let mut arguments = json!({"x-queue-type": queue_type});
        if let Some(argument) = argument {
            arguments["x-overflow"] = json!(argument);
        }
        settings(arguments, user, operator).overflow
    };
    let none = Value::Null;
    let rejects = json!({"overflow": "reject-publish"});
    let drops = json!({"overflow": "drop-head"});
    for queue_type in ["classic", "quorum"] {
        assert_eq!(overflow(queue_type, None, none.clone(), none.clone()), Overflow::DropHead);
        assert_eq!(overflow(queue_type, None, rejects.clone(), none.clone()), Overflow::RejectPublish);
        assert_eq!(overflow(queue_type, None, rejects.clone(), drops.clone()), Overflow::DropHead);
        assert_eq!(overflow(queue_type, Some("reject-publish"), none.clone(), none.clone()), Overflow::RejectPublish);
    }
    let dlx = Some("reject-publish-dlx");
    assert_eq!(overflow("classic", dlx, rejects.clone(), drops.clone()), Overflow::RejectPublishDlx);
    assert_eq!(overflow("quorum", dlx, rejects.clone(), none.clone()), Overflow::RejectPublish);
    assert_eq!(overflow("quorum", dlx, rejects, drops), Overflow::DropHead);
}

#[test]
fn dead_letters_go_where_the_argument_says_else_the_policy() {
    let to = |arguments, user| {
        let dead_letter = settings(arguments, user, Value::Null).dead_letter;
        dead_letter.map(|to| (to.exchange.to_string(), to.routing_key.map(|key| key.to_string())))
    };
    let some = |exchange: &str, key: Option<&str>| Some((exchange.to_owned(), key.map(str::to_owned)));
    let user = || json!({"dead-letter-exchange": "px", "dead-letter-routing-key": "pk"});
    assert_eq!(to(Value::Null, Value::Null), None);
    assert_eq!(to(Value::Null, user()), some("px", Some("pk")));
    assert_eq!(to(json!({"x-dead-letter-exchange": ""}), Value::Null), some("", None));
    assert_eq!(to(json!({"x-dead-letter-exchange": "ax"}), user()), some("ax", Some("pk")));
    let both = json!({"x-dead-letter-exchange": "ax", "x-dead-letter-routing-key": "ak"});
    assert_eq!(to(both, user()), some("ax", Some("ak")));
    assert_eq!(to(Value::Null, json!({"dead-letter-routing-key": "pk"})), None);
}

#[test]
fn a_dead_letter_exchange_that_is_not_text_is_none_whatever_the_policy_says() {
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(b"\xff".as_slice().into()));
    let applied = AppliedPolicies { policy: policy(json!({"dead-letter-exchange": "px"})), operator: None };
    assert_eq!(effective(&arguments, &applied).dead_letter, None);
}

#[test]
fn at_least_once_needs_reject_publish() {
    let is_at_least_once = |arguments: Value, user: Value| {
        settings(arguments, user, Value::Null).dead_letter.is_some_and(|to| to.at_least_once)
    };
    let user = |overflow: &str| json!({"dead-letter-exchange": "x", "dead-letter-strategy": "at-least-once", "overflow": overflow});
    assert!(is_at_least_once(Value::Null, user("reject-publish")));
    assert!(!is_at_least_once(Value::Null, user("drop-head")));
    assert!(!is_at_least_once(Value::Null, user("reject-publish-dlx")));
    let argument = json!({"x-queue-type": "quorum", "x-dead-letter-strategy": "at-most-once"});
    assert!(!is_at_least_once(argument, user("reject-publish")));
}

#[test]
fn a_single_active_consumer_is_an_argument_only() {
    let argument = json!({"x-single-active-consumer": true});
    assert!(settings(argument, Value::Null, Value::Null).single_active_consumer);
    assert!(from_policy(json!({"single-active-consumer": true})).is_plain());
}

#[test]
fn the_highest_priority_is_the_arguments_else_the_policys() {
    let user = || json!({"max-priority": 5});
    assert_eq!(from_policy(user()).max_priority, Some(5));
    assert_eq!(settings(json!({"x-max-priority": 9}), user(), Value::Null).max_priority, Some(9));
    assert_eq!(settings(json!({"x-max-priority": 0}), user(), Value::Null).max_priority, Some(0));
}

#[test]
fn deduplication_has_defaults_that_arguments_and_policy_change_one_by_one() {
    let dedup = |arguments, user| settings(arguments, user, Value::Null).dedup;
    let with = |header: &str, cache_size, cache_ttl_ms| {
        Some(Dedup { header: header.into(), cache_size, cache_ttl_ms, in_memory: false })
    };
    let on = || json!({"x-message-deduplication": true});
    assert_eq!(dedup(on(), Value::Null), with("x-deduplication-header", 128, None));
    let user = || json!({"message-deduplication": true, "cache-size": 10, "cache-ttl": 500});
    assert_eq!(dedup(Value::Null, user()), with("x-deduplication-header", 10, Some(500)));
    let argument = json!({"x-cache-size": 20, "x-deduplication-header": "id"});
    assert_eq!(dedup(argument, user()), with("id", 20, Some(500)));
    assert_eq!(dedup(json!({"x-message-deduplication": false}), user()), None);
    assert_eq!(dedup(json!({"x-cache-size": 20}), json!({"cache-size": 10})), None);
}

#[test]
fn what_only_policies_set_comes_from_the_policy() {
    let user = json!({
        "delayed-message": true,
        "retry": {"attempts": 3, "backoff": [100, 1000]},
        "redeclare": "update",
    });
    let set = from_policy(user);
    assert!(set.delayed_message);
    assert_eq!(set.retry, Some(Retry { attempts: 3, backoff_ms: vec![100, 1000] }));
    assert_eq!(set.redeclare, Redeclare::Update);
}
