use serde_json::json;

use super::*;

fn refusal(kind: PolicyKind, definition: Value) -> Option<String> {
    let Value::Object(definition) = definition else { panic!("a definition is an object") };
    validate(kind, &definition).err()
}

fn user(definition: Value) -> Option<String> {
    refusal(PolicyKind::User, definition)
}

/// Texts as RabbitMQ 3.10.8 gives them.
#[test]
fn a_value_that_a_key_cannot_have_is_named_with_it() {
    for (definition, text) in [
        (json!({"message-ttl": -1}), "-1 is not a valid message TTL"),
        (json!({"message-ttl": "a"}), "<<\"a\">> is not a valid message TTL"),
        (json!({"message-ttl": 1.0}), "1.0 is not a valid message TTL"),
        (json!({"expires": 0}), "0 is not a valid queue expiry"),
        (json!({"max-length": null}), "null is not a valid maximum length"),
        (json!({"max-length-bytes": -1}), "-1 is not a valid maximum length in bytes"),
        (json!({"max-in-memory-length": -1}), "-1 is not a valid maximum memory in bytes"),
        (json!({"max-in-memory-bytes": -1}), "-1 is not a valid maximum memory in bytes"),
        (json!({"overflow": "x"}), "<<\"x\">> is not a valid overflow value"),
        (json!({"dead-letter-exchange": 1}), "1 is not a valid dead letter exchange name"),
        (json!({"dead-letter-routing-key": 1}), "1 is not a valid dead letter routing key"),
        (json!({"dead-letter-strategy": "x"}), "<<\"x\">> is not a valid dead letter strategy"),
        (json!({"delivery-limit": "a"}), "<<\"a\">> is not a valid delivery limit"),
        (json!({"alternate-exchange": 1}), "1 is not a valid alternate exchange name"),
        (json!({"queue-mode": 1}), "1 is not a valid queue-mode value"),
        (json!({"queue-version": 5}), "5 is not a valid queue-version value"),
        (json!({"queue-master-locator": "x"}), "<<\"x\">> invalid queue-master-locator value"),
        (json!({"queue-leader-locator": 1}), "1 is not a valid queue leader locator value"),
        (json!({"stream-max-segment-size-bytes": -1}), "-1 is not a valid segment size"),
        (json!({"initial-cluster-size": -1}), "-1 is not a valid cluster size"),
        (json!({"max-age": "x"}), "<<\"x\">> is not a valid max age"),
        (json!({"foo": 1, "bar": "x", "message-ttl": -1}), "-1 is not a valid message TTL"),
    ] {
        assert_eq!(user(definition.clone()).as_deref(), Some(text), "{definition}");
    }
}

#[test]
fn keys_that_are_not_known_are_all_named() {
    let unknown = "are not recognised policy settings";
    assert_eq!(
        user(json!({"foo": 1, "bar": "x"})),
        Some(format!("[{{<<\"bar\">>,<<\"x\">>}},{{<<\"foo\">>,1}}] {unknown}"))
    );
    let nested = json!({"bar": {"a": [1, "b", null, true, 1.5]}});
    assert_eq!(
        user(nested),
        Some(format!("[{{<<\"bar\">>,#{{<<\"a\">> => [1,<<\"b\">>,null,true,1.5]}}}}] {unknown}"))
    );
    let single_active = json!({"single-active-consumer": true});
    assert_eq!(user(single_active), Some(format!("[{{<<\"single-active-consumer\">>,true}}] {unknown}")));
    assert_eq!(user(json!({})).as_deref(), Some("no policy provided"));
}

#[test]
fn mirroring_is_refused_with_the_reason() {
    let text = "[{<<\"ha-mode\">>,<<\"all\">>}] are not recognised policy settings: classic queue mirroring was removed \
                in RabbitMQ 4.0";
    assert_eq!(user(json!({"ha-mode": "all"})).as_deref(), Some(text));
}

#[test]
fn every_key_takes_what_it_is_for() {
    let all = json!({
        "alternate-exchange": "", "consumer-timeout": 0, "consumer-disconnected-timeout": 60000,
        "dead-letter-exchange": "dlx", "dead-letter-routing-key": "", "dead-letter-strategy": "at-least-once",
        "delayed-retry-max": 5, "delayed-retry-min": 1, "delayed-retry-type": "failed", "delivery-limit": -1,
        "expires": 999999999999999_i64, "federation-upstream": "u", "federation-upstream-set": "all",
        "federation-upstream-pattern": "^x", "initial-cluster-size": 3, "max-age": "7D", "max-in-memory-bytes": 0,
        "max-in-memory-length": 0, "max-length": 0, "max-length-bytes": 0, "member-placement-tag": "a",
        "message-ttl": 0, "overflow": "reject-publish-dlx", "queue-leader-locator": "balanced",
        "queue-master-locator": "min-masters", "queue-mode": "lazy", "queue-version": 1,
        "stream-filter-size-bytes": 16, "stream-max-segment-size-bytes": 0, "target-group-size": 3,
        "cache-size": 1, "cache-ttl": 1, "deduplication-header": "id", "delayed-message": true, "max-priority": 255,
        "message-deduplication": false, "redeclare": "update", "retry": {"attempts": 1, "backoff": []},
    });
    assert_eq!(all.as_object().unwrap().len(), KEYS.len());
    assert_eq!(user(all), None);
}

#[test]
fn operator_policies_have_fewer_keys() {
    let operator = |definition| refusal(PolicyKind::Operator, definition);
    for key in ["expires", "message-ttl", "max-length", "max-length-bytes", "max-in-memory-bytes", "delivery-limit"] {
        assert_eq!(operator(json!({ key: 5 })), None, "{key}");
    }
    assert_eq!(operator(json!({"overflow": "drop-head", "queue-version": 2, "target-group-size": 3})), None);
    for key in ["dead-letter-exchange", "alternate-exchange", "redeclare", "ha-mode", "consumer-timeout"] {
        assert!(operator(json!({ key: "x" })).unwrap().contains("not recognised"), "{key}");
    }
}

#[test]
fn a_retry_has_attempts_and_delays_in_their_limits() {
    let retry = |retry: Value| user(json!({ "retry": retry })).is_none();
    assert!(retry(json!({"attempts": 1000, "backoff": vec![315_360_000_000_u64; 32]})));
    for bad in [
        json!(3),
        json!({"attempts": 3}),
        json!({"attempts": 0, "backoff": []}),
        json!({"attempts": 1001, "backoff": []}),
        json!({"attempts": 1, "backoff": 5}),
        json!({"attempts": 1, "backoff": ["5"]}),
        json!({"attempts": 1, "backoff": [-1]}),
        json!({"attempts": 1, "backoff": [315_360_000_001_u64]}),
        json!({"attempts": 1, "backoff": vec![0; 33]}),
        json!({"attempts": 1, "backoff": [], "other": 1}),
    ] {
        assert!(!retry(bad.clone()), "{bad}");
    }
}

#[test]
fn a_policy_suits_queues_of_a_type_unless_it_is_for_others() {
    let suits = |definition: Value, queue_type| super::suits(definition.as_object().unwrap(), queue_type);
    assert!(!suits(json!({"max-age": "1D", "max-length": 3}), QueueType::Classic));
    assert!(!suits(json!({"queue-mode": "lazy"}), QueueType::Quorum));
    for queue_type in [QueueType::Classic, QueueType::Quorum] {
        assert!(suits(
            json!({"delivery-limit": 3, "max-priority": 5, "dead-letter-strategy": "at-least-once"}),
            queue_type
        ));
    }
}
