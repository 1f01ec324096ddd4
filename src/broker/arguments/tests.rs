use std::sync::Arc;

use amq_protocol::types::DecimalValue;

use super::*;
use crate::broker::ConnectionId;
use crate::broker::exchange::{Exchange, ExchangeDefinition, ExchangeKind};
use crate::broker::queue::QueueDefinition;
use crate::error::ReplyCode;

const Q: Resource<'static> = Resource { kind: "queue", name: "q", vhost: "/" };

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn int(n: i32) -> AMQPValue {
    AMQPValue::LongInt(n)
}

fn long(n: i64) -> AMQPValue {
    AMQPValue::LongLongInt(n)
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn validate(fields: &[(&str, AMQPValue)]) -> Result<(), String> {
    let arguments = table(fields);
    let properties = QueueProperties { durable: true, exclusive: false, auto_delete: false, arguments: &arguments };
    validate_queue(Q, properties).map_err(|fault| {
        assert_eq!(fault.code, ReplyCode::PreconditionFailed);
        fault.text
    })
}

/// The reason that is given for refusing one argument.
fn reason(name: &str, value: AMQPValue) -> String {
    let text = validate(&[(name, value)]).unwrap_err();
    let prefix = format!("invalid arg '{name}' for queue 'q' in vhost '/': ");
    text.strip_prefix(&prefix).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn refuses_values_with_rabbits_reasons() {
    for (name, value, expected) in [
        ("x-message-ttl", text("60000"), "\"expected integer, got longstr\""),
        ("x-message-ttl", AMQPValue::Double(1.0), "\"expected integer, got double\""),
        ("x-message-ttl", AMQPValue::Timestamp(1), "\"expected integer, got timestamp\""),
        ("x-message-ttl", int(-1), "{value_negative,-1}"),
        ("x-message-ttl", long(315_360_000_001), "{value_too_large,315360000001}"),
        ("x-expires", int(0), "{value_zero,0}"),
        ("x-expires", int(-5), "{value_negative,-5}"),
        ("x-expires", long(i64::MAX), "{value_too_large,9223372036854775807}"),
        ("x-max-length", int(-1), "{value_negative,-1}"),
        ("x-max-length-bytes", AMQPValue::Boolean(true), "\"expected integer, got bool\""),
        ("x-max-priority", int(256), "{max_value_exceeded,256}"),
        ("x-max-priority", int(-1), "{value_negative,-1}"),
        ("x-overflow", text("drop-tail"), "invalid_overflow"),
        ("x-overflow", int(1), "{unacceptable_type,signedint}"),
        ("x-queue-mode", text("eager"), "\"unsupported queue mode 'eager'\""),
        ("x-queue-version", int(1), "\"unsupported queue version '1'\""),
        ("x-queue-type", text("stream"), "\"unsupported queue type 'stream'\""),
        ("x-queue-type", AMQPValue::Void, "{unacceptable_type,void}"),
        ("x-single-active-consumer", text("true"), "{unacceptable_type,longstr}"),
        ("x-dead-letter-routing-key", text("k"), "routing_key_but_no_dlx_defined"),
        ("x-dead-letter-routing-key", int(1), "{unacceptable_type,signedint}"),
        ("x-queue-leader-locator", text("nowhere"), "invalid_queue_locator_arg"),
        ("x-consumer-timeout", int(-1), "{value_negative,-1}"),
    ] {
        assert_eq!(reason(name, value), expected, "{name}");
    }
}

#[test]
fn accepts_what_classic_queues_know_and_what_nobody_knows() {
    let every = [
        ("x-message-ttl", int(0)),
        ("x-expires", AMQPValue::ShortShortUInt(1)),
        ("x-max-length", long(i64::MAX)),
        ("x-max-length-bytes", int(0)),
        ("x-overflow", text("reject-publish-dlx")),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("k")),
        ("x-max-priority", AMQPValue::ShortShortUInt(255)),
        ("x-queue-mode", text("lazy")),
        ("x-queue-version", int(2)),
        ("x-queue-type", text("classic")),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-queue-leader-locator", text("client-local")),
        ("x-queue-master-locator", text("min-masters")),
        ("x-consumer-timeout", int(1000)),
        ("x-whatever", AMQPValue::Void),
        ("plain", int(-1)),
    ];
    assert_eq!(validate(&every), Ok(()));
}

#[test]
fn refuses_a_dead_letter_exchange_that_is_no_name_before_anything_else() {
    let fields = [("x-dead-letter-exchange", int(1)), ("x-queue-type", text("no"))];
    let expected = "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'";
    assert_eq!(validate(&fields).unwrap_err(), expected);
}

#[test]
fn refuses_arguments_of_other_queue_types_last() {
    let foreign = |name: &str, value, queue_type: &str| {
        validate(&[(name, value), ("x-queue-type", text(queue_type))]).unwrap_err()
    };
    assert_eq!(
        foreign("x-max-priority", int(5), "quorum"),
        "invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"
    );
    assert_eq!(
        foreign("x-delivery-limit", int(5), "classic"),
        "invalid arg 'x-delivery-limit' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"
    );
    assert_eq!(
        foreign("x-max-age", text("1D"), "classic"),
        "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"
    );
    let both = validate(&[("x-delivery-limit", int(5)), ("x-max-length", int(-1))]).unwrap_err();
    assert!(both.starts_with("invalid arg 'x-max-length'"), "{both}");
}

#[test]
fn quorum_queues_have_arguments_and_properties_of_their_own() {
    let quorum = ("x-queue-type", text("quorum"));
    assert_eq!(
        validate(&[quorum.clone(), ("x-delivery-limit", int(-1)), ("x-quorum-initial-group-size", int(3))]),
        Ok(())
    );
    let refused = validate(&[quorum.clone(), ("x-dead-letter-strategy", text("never"))]).unwrap_err();
    assert_eq!(refused, "invalid arg 'x-dead-letter-strategy' for queue 'q' in vhost '/': invalid_dlx_strategy");
    let refused = validate(&[quorum.clone(), ("x-quorum-initial-group-size", int(0))]).unwrap_err();
    assert_eq!(refused, "invalid arg 'x-quorum-initial-group-size' for queue 'q' in vhost '/': {value_zero,0}");

    let arguments = table(&[quorum]);
    let with = |durable, exclusive, auto_delete| {
        let properties = QueueProperties { durable, exclusive, auto_delete, arguments: &arguments };
        validate_queue(Q, properties).map_err(|fault| fault.text)
    };
    let invalid = |property| Err(format!("invalid property '{property}' for queue 'q' in vhost '/'"));
    assert_eq!(with(true, false, false), Ok(()));
    assert_eq!(with(false, true, true), invalid("auto-delete"));
    assert_eq!(with(false, true, false), invalid("exclusive-owner"));
    assert_eq!(with(false, false, false), invalid("non-durable"));
    let server_named = validate_server_named(&arguments).unwrap_err().text;
    assert_eq!(server_named, "Cannot declare a server-named queue for type rabbit_quorum_queue");
}

#[test]
fn priority_is_an_integer_of_any_width() {
    let priority = |value| ConsumerArguments::of(Q, &table(&[("x-priority", value)])).map(|found| found.priority);
    assert_eq!(ConsumerArguments::of(Q, &table(&[])), Ok(ConsumerArguments::default()));
    assert_eq!(priority(int(-7)), Ok(-7));
    assert_eq!(priority(AMQPValue::ShortShortUInt(200)), Ok(200));
    assert_eq!(priority(long(i64::MAX)), Ok(i64::MAX));
    let refused = priority(text("1")).unwrap_err().text;
    assert_eq!(refused, "invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected integer, got longstr\"");
}

#[test]
fn other_arguments_of_consumers_are_checked() {
    let of = |name, value| {
        let found = ConsumerArguments::of(Q, &table(&[(name, value)]));
        found.map(|found| found.timeout_ms).map_err(|fault| fault.text)
    };
    let invalid = |name: &str, reason: &str| Err(format!("invalid arg '{name}' for queue 'q' in vhost '/': {reason}"));
    assert_eq!(of("x-consumer-timeout", int(250)), Ok(Some(250)));
    assert_eq!(of("x-consumer-timeout", int(0)), Ok(Some(0)));
    assert_eq!(of("x-consumer-timeout", int(-1)), invalid("x-consumer-timeout", "{value_negative,-1}"));
    let no_integer = "\"expected integer, got longstr\"";
    assert_eq!(of("x-consumer-timeout", text("1")), invalid("x-consumer-timeout", no_integer));
    assert_eq!(of("x-cancel-on-ha-failover", AMQPValue::Boolean(true)), Ok(None));
    assert_eq!(
        of("x-cancel-on-ha-failover", int(1)),
        invalid("x-cancel-on-ha-failover", "{unacceptable_type,signedint}")
    );
}

#[test]
fn values_are_the_same_by_what_they_mean() {
    let bytes = |bytes: &[u8]| AMQPValue::ByteArray(bytes.to_vec().into());
    let same = [
        (int(5), long(5)),
        (AMQPValue::ShortShortUInt(255), AMQPValue::ShortInt(255)),
        (AMQPValue::Timestamp(5), int(5)),
        (text("abc"), bytes(b"abc")),
        (AMQPValue::Float(0.5), AMQPValue::Double(0.5)),
        (AMQPValue::FieldArray(vec![].into()), AMQPValue::FieldTable(table(&[]))),
        (AMQPValue::FieldTable(table(&[("a", int(1))])), AMQPValue::FieldTable(table(&[("a", int(1))]))),
        (AMQPValue::Void, AMQPValue::Void),
    ];
    let different = [
        (int(1), AMQPValue::Double(1.0)),
        (int(1), AMQPValue::Boolean(true)),
        (text("1"), int(1)),
        (AMQPValue::ShortShortInt(-1), AMQPValue::ShortShortUInt(255)),
        (AMQPValue::Timestamp(u64::MAX), long(-1)),
        (AMQPValue::Float(0.1), AMQPValue::Double(0.1)),
        (AMQPValue::DecimalValue(DecimalValue { scale: 0, value: 1 }), int(1)),
        (AMQPValue::FieldTable(table(&[("a", int(1))])), AMQPValue::FieldTable(table(&[("a", long(1))]))),
        (AMQPValue::FieldArray(vec![int(1)].into()), AMQPValue::FieldTable(table(&[]))),
        (AMQPValue::Void, text("undefined")),
    ];
    for (a, b) in same {
        assert!(same_value(&a, &b) && same_value(&b, &a), "{a:?} {b:?}");
    }
    for (a, b) in different {
        assert!(!same_value(&a, &b) && !same_value(&b, &a), "{a:?} {b:?}");
    }
}

fn queue_difference(current: &[(&str, AMQPValue)], declared: &[(&str, AMQPValue)]) -> Option<String> {
    let definition = QueueDefinition {
        vhost: "/".into(),
        name: "q".into(),
        durable: true,
        auto_delete: false,
        exclusive_owner: Some(ConnectionId(1)),
        arguments: table(current),
    };
    let arguments = table(declared);
    let properties = QueueProperties { durable: true, exclusive: true, auto_delete: false, arguments: &arguments };
    let fault = assert_equivalent_queue(Q, &definition, properties).err()?;
    let text = fault.text.strip_prefix("inequivalent arg ").unwrap().to_owned();
    Some(text.replace(" for queue 'q' in vhost '/'", ""))
}

#[test]
fn the_same_queue_may_be_declared_again_in_other_words() {
    let equal = |current: &[(&str, AMQPValue)], declared: &[(&str, AMQPValue)]| {
        assert_eq!(queue_difference(current, declared), None);
    };
    equal(&[("x-max-length", int(5))], &[("x-max-length", long(5))]);
    equal(&[], &[("x-queue-type", text("classic"))]);
    equal(&[("x-queue-type", text("classic"))], &[]);
    equal(&[], &[("x-unknown", int(1))]);
    equal(&[("x-unknown", int(2))], &[("x-unknown", int(1))]);
}

#[test]
fn differences_are_told_with_values_and_types() {
    for (current, declared, expected) in [
        (
            Some(("x-message-ttl", int(60000))),
            None,
            "'x-message-ttl': received none but current is the value '60000' of type 'signedint'",
        ),
        (
            None,
            Some(("x-message-ttl", long(1))),
            "'x-message-ttl': received the value '1' of type 'long' but current is none",
        ),
        (
            Some(("x-message-ttl", int(1))),
            Some(("x-message-ttl", int(2))),
            "'x-message-ttl': received '2' but current is '1'",
        ),
        (
            Some(("x-max-length", int(1))),
            Some(("x-max-length", AMQPValue::Double(1.0))),
            "'x-max-length': received '1.0' but current is '1'",
        ),
        (
            Some(("x-overflow", text("drop-head"))),
            Some(("x-overflow", text("reject-publish"))),
            "'x-overflow': received 'reject-publish' but current is 'drop-head'",
        ),
        (
            None,
            Some(("x-queue-type", text("quorum"))),
            "'x-queue-type': received the value 'quorum' of type 'longstr' but current is none",
        ),
        (
            Some(("x-single-active-consumer", AMQPValue::Boolean(true))),
            None,
            "'x-single-active-consumer': received none but current is the value 'true' of type 'bool'",
        ),
    ] {
        let difference = queue_difference(&Vec::from_iter(current), &Vec::from_iter(declared));
        assert_eq!(difference.as_deref(), Some(expected));
    }
}

#[test]
fn exchanges_differ_in_type_first_and_alternate_exchange_last() {
    let definition = ExchangeDefinition {
        auto_delete: true,
        arguments: table(&[("alternate-exchange", text("ae")), ("x-ignored", int(1))]),
        ..ExchangeDefinition::durable("x", ExchangeKind::Direct)
    };
    let current: Arc<Exchange> = Exchange::new(definition.clone());
    let resource = Resource::exchange("x", "/");
    let difference = |change: fn(&mut ExchangeDefinition)| {
        let mut declared = definition.clone();
        change(&mut declared);
        assert_equivalent_exchange(resource, &current, &declared).map_err(|fault| fault.text)
    };
    let told = |text: &str| Err(format!("inequivalent arg {text}"));
    assert_eq!(difference(|_| {}), Ok(()));
    let ignored = difference(|x| {
        x.arguments.insert("x-ignored".into(), AMQPValue::Void);
    });
    assert_eq!(ignored, Ok(()));
    assert_eq!(
        difference(|x| {
            x.kind = ExchangeKind::Fanout;
            x.durable = false;
        }),
        told("'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'")
    );
    assert_eq!(
        difference(|x| {
            x.durable = false;
            x.auto_delete = false;
        }),
        told("'durable' for exchange 'x' in vhost '/': received 'false' but current is 'true'")
    );
    assert_eq!(
        difference(|x| x.internal = true),
        told("'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'")
    );
    assert_eq!(
        difference(|x| x.arguments = FieldTable::default()),
        told(
            "'alternate-exchange' for exchange 'x' in vhost '/': \
             received none but current is the value 'ae' of type 'longstr'"
        )
    );
}
