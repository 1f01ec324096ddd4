use std::sync::Arc;

use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use serde_json::{Value, json};

use super::*;
use crate::broker::administration::VHostChange;
use crate::broker::arguments::{QueueType, same_value};
use crate::broker::parameter::NewPolicy;
use crate::broker::policy::PolicyKind;
use crate::broker::vhost::{ExchangeDeclare, QueueDeclare};
use crate::broker::{Broker, ConnectionId};
use crate::config::Config;

const ME: ConnectionId = ConnectionId(1);
const RABBITMQ_3: &str = include_str!("../../tests/suite/definitions/rabbitmq-3.10.8.json");
const RABBITMQ_4: &str = include_str!("../../tests/suite/definitions/rabbitmq-4.json");

fn broker_with(vhosts: &[&str]) -> Arc<Broker> {
    let vhosts = vhosts.iter().map(|name| (*name).to_owned()).collect();
    Broker::new(Config { vhosts, ..Config::default() })
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn imported(broker: &Broker, document: &Value) -> Report {
    broker.import_definitions(document).unwrap()
}

fn counts(report: &Report, kind: &str) -> (usize, usize, usize, usize) {
    let Counts { created, changed, existed, skipped } = report.kinds.get(kind).copied().unwrap_or_default();
    (created, changed, existed, skipped)
}

fn note<'a>(report: &'a Report, what: &str) -> &'a str {
    let is_it = |note: &&Note| note.what == what;
    &report.notes.iter().find(is_it).unwrap_or_else(|| panic!("no note about {what} in {report}")).text
}

fn declare_queue(broker: &Broker, name: &str, arguments: FieldTable) {
    let declare = QueueDeclare { name, passive: false, durable: true, exclusive: false, auto_delete: false, arguments };
    broker.vhost("/").unwrap().queue_declare(declare, ME).unwrap();
}

fn declare_exchange(broker: &Broker, name: &str, kind: &str, internal: bool) {
    let (durable, arguments) = (true, FieldTable::default());
    let declare = ExchangeDeclare { name, kind, passive: false, durable, auto_delete: false, internal, arguments };
    broker.vhost("/").unwrap().exchange_declare(declare).unwrap();
}

fn table(entries: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    entries.into_iter().for_each(|(name, value)| _ = table.insert(name.into(), value));
    table
}

/// The sections about what virtual hosts have.
fn contents(document: &Value) -> Value {
    let sections = ["parameters", "policies", "queues", "exchanges", "bindings"];
    sections.into_iter().map(|section| (section.to_owned(), document[section].clone())).collect()
}

#[test]
fn every_type_of_argument_comes_back_as_an_equal_one() {
    let values = [
        AMQPValue::Boolean(true),
        AMQPValue::ShortShortInt(-5),
        AMQPValue::ShortShortUInt(255),
        AMQPValue::ShortInt(-500),
        AMQPValue::ShortUInt(65535),
        AMQPValue::LongInt(i32::MIN),
        AMQPValue::LongUInt(u32::MAX),
        AMQPValue::LongLongInt(i64::MIN),
        AMQPValue::LongLongInt(i64::MAX),
        AMQPValue::Timestamp(1_700_000_000),
        AMQPValue::Timestamp(u64::MAX),
        AMQPValue::Float(1.1),
        AMQPValue::Double(0.1 + 0.2),
        AMQPValue::Double(5e-324),
        AMQPValue::LongString("t\u{e9}xt\u{1F407}".into()),
        AMQPValue::LongString(b"\xff\xfe\0raw".as_slice().into()),
        AMQPValue::ByteArray(b"\x01\x02bytes".as_slice().into()),
        AMQPValue::ByteArray(b"\xff".as_slice().into()),
        AMQPValue::Void,
        AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongLongInt(1), AMQPValue::Void])),
        AMQPValue::FieldTable(table([("a", AMQPValue::FieldArray(FieldArray::default()))])),
    ];
    for value in values {
        let written = argument_values(&table([("x", value.clone())]));
        let text = written.to_string();
        let read = arguments_of("arguments", parsed(&text).as_object().unwrap(), 64).unwrap();
        assert!(same_value(&value, &read.inner()["x"]), "{value:?} was written {text}, and read {read:?}");
    }
    let decimal = AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 250 });
    assert_eq!(argument_values(&table([("x", decimal)])), json!({"x": 2.5}));
    assert_eq!(argument_values(&table([("x", AMQPValue::Double(f64::INFINITY))])), json!({"x": null}));
}

#[test]
fn arguments_may_not_be_nested_too_deep_or_too_large() {
    let refusal = |value: Value, depth| arguments_of("a", value.as_object().unwrap(), depth).unwrap_err().to_string();
    assert_eq!(refusal(json!({"b": {"c": [[1]]}}), 3), "a.b.c[0]: arguments are nested too deep");
    assert!(arguments_of("a", json!({"b": {"c": [[1]]}}).as_object().unwrap(), 4).is_ok());
    let large = json!({"b": "x".repeat(200_000)});
    assert!(refusal(large, 4).starts_with("a: arguments of 2000"));
    let long = json!({ "x".repeat(256): 1 });
    assert!(refusal(long, 4).ends_with("a name of 256 bytes, of which there may be 255"));
}

#[test]
fn what_is_exported_can_be_imported_elsewhere_and_changes_nothing_where_it_came_from() {
    let broker = broker_with(&["/", "empty"]);
    let none = FieldTable::default;
    declare_queue(&broker, "plain", none());
    let arguments = table([
        ("x-message-ttl", AMQPValue::LongInt(5)),
        ("x-dead-letter-exchange", AMQPValue::LongString("".into())),
        ("own", AMQPValue::ByteArray(b"\xff".as_slice().into())),
        ("none", AMQPValue::Void),
    ]);
    declare_queue(&broker, "with arguments", arguments);
    declare_queue(&broker, "quorum", table([("x-queue-type", AMQPValue::LongString("quorum".into()))]));
    declare_exchange(&broker, "head", "headers", false);
    declare_exchange(&broker, "inner", "fanout", true);
    let vhost = broker.vhost("/").unwrap();
    let headers = table([("n", AMQPValue::ShortInt(5)), ("x-match", AMQPValue::LongString("any".into()))]);
    vhost.queue_bind("plain", "head", b"", headers.clone(), ME).unwrap();
    vhost.queue_bind("plain", "head", b"key", headers, ME).unwrap();
    vhost.queue_bind("plain", "amq.topic", b"a.#", none(), ME).unwrap();
    vhost.queue_bind("plain", "amq.topic", b"\xff", none(), ME).unwrap();
    vhost.exchange_bind("inner", "head", b"", none()).unwrap();
    let exclusive = QueueDeclare {
        name: "mine",
        passive: false,
        durable: true,
        exclusive: true,
        auto_delete: false,
        arguments: none(),
    };
    vhost.queue_declare(exclusive, ME).unwrap();
    vhost.queue_bind("mine", "amq.topic", b"", none(), ME).unwrap();
    let policy = NewPolicy {
        name: "p",
        pattern: "^plain$",
        apply_to: Some("classic_queues"),
        priority: -3,
        definition: json!({"max-length": 5, "retry": {"attempts": 2, "backoff": [10]}}),
    };
    broker.set_policy(PolicyKind::User, "/", policy.clone()).unwrap();
    broker.set_policy(PolicyKind::Operator, "/", NewPolicy { definition: json!({"expires": 5}), ..policy }).unwrap();
    broker.set_parameter("/", "shovel", "s", json!({"a": [1, 1.5, null]})).unwrap();
    broker.set_vhost_limits("/", json!({"max-queues": 100})).unwrap();
    broker.set_global_parameter("g", json!("x")).unwrap();
    broker.set_global_parameter("internal_x", json!("x")).unwrap();

    broker.add_user("alice", "wonderland").unwrap();
    broker.set_user_tags("alice", &["monitoring"]).unwrap();
    broker.set_user_limits("alice", &json!({"max-channels": 5})).unwrap();
    broker.set_permissions("/", "alice", "", "^a", ".*").unwrap();
    broker.set_topic_permissions("/", "alice", "amq.topic", "^a\\.", "").unwrap();
    let about = VHostChange {
        description: Some("The default"),
        tags: Some(&["eu"]),
        default_queue_type: None,
        protected_from_deletion: Some(true),
    };
    broker.update_vhost_metadata("/", about).unwrap();

    let exported = broker.export_definitions();
    let again = imported(&broker, &exported);
    for (kind, counts) in &again.kinds {
        assert_eq!((counts.created, counts.changed, counts.skipped), (0, 0, 0), "{kind}: {again}");
    }
    assert_eq!(broker.export_definitions(), exported);

    let other = broker_with(&["/"]);
    let report = imported(&other, &parsed(&exported.to_string()));
    assert_eq!(other.export_definitions(), exported);
    assert_eq!((counts(&report, "users"), counts(&report, "vhosts")), ((1, 1, 0, 0), (1, 1, 0, 0)));
    assert_eq!(counts(&report, "permissions"), (2, 0, 1, 0));
    assert_eq!(counts(&report, "topic_permissions"), (1, 0, 0, 0));
    assert_eq!(counts(&report, "queues"), (3, 0, 0, 0));
    assert_eq!(counts(&report, "bindings"), (5, 0, 0, 0));
    assert_eq!(counts(&report, "policies"), (1, 0, 0, 0));
    assert_eq!(counts(&report, "parameters"), (3, 0, 0, 0));
    let plain = other.vhost("/").unwrap().find_queue("plain").unwrap();
    assert!(plain.applied_policies().policy.is_some() && plain.applied_policies().operator.is_some());
    for section in ["queues", "bindings"] {
        assert!(!exported[section].to_string().contains("mine"), "what a connection owns is not exported");
    }
}

#[test]
fn the_type_of_a_queue_is_the_one_that_it_had_whatever_the_default_is() {
    let broker = broker_with(&["/"]);
    declare_queue(&broker, "old", FieldTable::default());
    let quorum = VHostChange { default_queue_type: Some("quorum"), ..VHostChange::default() };
    broker.update_vhost_metadata("/", quorum).unwrap();
    declare_queue(&broker, "new", FieldTable::default());
    let exported = broker.export_definitions();
    let other = broker_with(&["/"]);
    let mut document = exported.clone();
    document["queues"].as_array_mut().unwrap().push(json!({"vhost": "/", "name": "none", "durable": true}));
    for _ in 0..2 {
        assert_eq!(counts(&imported(&other, &document), "queues").3, 0);
    }
    let kind = |name: &str| QueueType::of(&other.vhost("/").unwrap().find_queue(name).unwrap().definition.arguments);
    assert_eq!([kind("old"), kind("new"), kind("none")], [QueueType::Classic, QueueType::Quorum, QueueType::Quorum]);
    assert_eq!(counts(&imported(&broker, &exported), "queues"), (0, 0, 2, 0));
}

#[test]
fn an_export_says_what_it_is_of() {
    let exported = broker_with(&["/"]).export_definitions();
    assert_eq!(exported["rabbit_version"], "3.13.7");
    assert_eq!(exported["rabbitmq_version"], "3.13.7");
    assert_eq!(exported["product_name"], "RabbitMQ");
    assert_eq!(exported["rabbitmq_definition_format"], "cluster");
    for section in ["queues", "exchanges", "bindings", "policies", "parameters", "global_parameters"] {
        assert_eq!(exported[section], json!([]), "{section}");
    }
}

#[test]
fn a_file_of_rabbitmq_3_imports_as_it_is() {
    let broker = broker_with(&["/"]);
    let report = imported(&broker, &parsed(RABBITMQ_3));
    assert_eq!(counts(&report, "users"), (2, 1, 0, 0));
    assert_eq!(counts(&report, "vhosts"), (2, 1, 0, 0));
    assert_eq!(counts(&report, "permissions"), (4, 0, 1, 0));
    assert_eq!(counts(&report, "topic_permissions"), (1, 0, 0, 0));
    assert_eq!(counts(&report, "exchanges"), (4, 0, 0, 0));
    assert_eq!(counts(&report, "queues"), (6, 0, 0, 3));
    assert_eq!(counts(&report, "bindings"), (5, 0, 0, 2));
    assert_eq!(counts(&report, "policies"), (4, 0, 0, 1));
    assert_eq!(counts(&report, "parameters"), (2, 0, 0, 0));
    assert_eq!(counts(&report, "global_parameters"), (1, 0, 0, 0));
    broker.authenticate_user("alice", "wonderland").unwrap();
    assert_eq!(broker.list_permissions(None, Some("alice")).unwrap().len(), 2);
    let bob = broker.users.definition("bob").unwrap();
    assert_eq!((bob.password, bob.limits.max_connections, bob.limits.max_channels), (None, Some(10), Some(20)));
    let about = broker.vhost("shop").unwrap().metadata();
    assert_eq!((&*about.description, about.tags.join(",")), ("The shop", "production,eu".to_owned()));
    assert!(note(&report, "queue 'log' in vhost 'shop'").contains("unsupported queue type 'stream'"));
    assert!(note(&report, "policy 'mirrored' in vhost '/'").contains("ha-mode, ha-params, ha-sync-mode"));
    assert!(note(&report, "policy 'ha-only' in vhost '/'").contains("ha-mode"));
    // RabbitMQ 3.10 leaves internal exchanges out, and not what is bound to them.
    let to_internal = "binding from exchange 'events' to exchange 'unrouted' in vhost '/'";
    assert!(note(&report, to_internal).contains("no exchange 'unrouted' in vhost '/'"));

    let shop = broker.vhost("shop").unwrap();
    assert_eq!((shop.limits().max_queues, shop.limits().max_connections), (Some(100), Some(50)));
    let queue = shop.find_queue("orders.ttl").unwrap();
    let applied = queue.applied_policies();
    assert_eq!(&*applied.policy.unwrap().name, "ttl");
    assert_eq!(applied.operator.unwrap().settings.max_length, Some(500));
    let types = broker.vhost("/").unwrap().find_queue("types").unwrap();
    assert_eq!(types.definition.arguments.inner()["bad"], AMQPValue::LongString(b"\xff\xfe\0raw".as_slice().into()));
    let again = imported(&broker, &parsed(RABBITMQ_3));
    for kind in ["users", "vhosts", "permissions", "topic_permissions", "exchanges"] {
        let (created, changed, _, skipped) = counts(&again, kind);
        assert_eq!((created, changed, skipped), (0, 0, 0), "{kind}");
    }
    assert_eq!(counts(&again, "queues"), (0, 0, 6, 3));
    assert_eq!(counts(&again, "bindings"), (0, 0, 5, 2));
    assert_eq!(counts(&again, "policies"), (0, 0, 4, 1));
    assert_eq!(counts(&again, "parameters"), (0, 0, 2, 0));
}

#[test]
fn a_file_of_rabbitmq_4_imports_as_it_is() {
    let broker = broker_with(&["/"]);
    let report = imported(&broker, &parsed(RABBITMQ_4));
    assert_eq!((counts(&report, "users"), counts(&report, "vhosts")), ((2, 0, 0, 0), (1, 1, 0, 0)));
    broker.authenticate_user("dave", "test12").unwrap();
    let dave = broker.users.definition("dave").unwrap();
    assert_eq!((dave.tags.join(","), dave.limits.max_channels), ("monitoring,policymaker".to_owned(), Some(7)));
    let about = broker.vhost("billing").unwrap().metadata();
    assert!(about.protected_from_deletion && about.default_queue_type.is_some());
    assert_eq!(counts(&report, "exchanges"), (2, 0, 0, 1));
    assert_eq!(counts(&report, "queues"), (3, 0, 0, 1));
    assert_eq!(counts(&report, "bindings"), (3, 0, 0, 1));
    assert_eq!(counts(&report, "policies"), (2, 0, 0, 1));
    assert_eq!(counts(&report, "parameters"), (4, 0, 0, 0));
    assert_eq!(counts(&report, "global_parameters"), (2, 0, 0, 1));
    assert_eq!(note(&report, "parameter 'to-backup' of component 'shovel' in vhost '/'"), "is kept, and has no effect");
    assert!(note(&report, "exchange 'odd' in vhost 'billing'").contains("x-jms-topic"));
    assert!(note(&report, "policy 'sharded' in vhost 'billing'").contains("routing-key, shards-per-node"));
    let invoices = broker.vhost("billing").unwrap().find_queue("invoices").unwrap();
    assert_eq!(&*invoices.applied_policies().policy.unwrap().name, "quorum");
}

#[test]
fn what_is_there_and_differs_is_left_alone() {
    let broker = broker_with(&["/"]);
    declare_queue(&broker, "q", table([("x-message-ttl", AMQPValue::LongInt(5))]));
    declare_exchange(&broker, "x", "direct", false);
    let policy = |length: u64| json!({"vhost": "/", "name": "p", "pattern": "", "definition": {"max-length": length}});
    let document = json!({
        "queues": [{"vhost": "/", "name": "q", "durable": true, "auto_delete": false, "arguments": {"x-message-ttl": 6}}],
        "exchanges": [{"vhost": "/", "name": "x", "durable": true, "type": "fanout"}],
        "policies": [policy(1)],
    });
    let report = imported(&broker, &document);
    assert_eq!((counts(&report, "queues"), counts(&report, "exchanges")), ((0, 0, 0, 1), (0, 0, 0, 1)));
    let expected = "is left as it is: inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '6' but \
                    current is '5'";
    assert_eq!(note(&report, "queue 'q' in vhost '/'"), expected);
    assert!(note(&report, "exchange 'x' in vhost '/'").starts_with("is left as it is: inequivalent arg 'type'"));
    let report = imported(&broker, &json!({"policies": [policy(2)]}));
    assert_eq!(counts(&report, "policies"), (0, 1, 0, 0), "a policy is a setting");
}

#[test]
fn what_cannot_be_had_is_left_out_and_reported() {
    let broker = broker_with(&["/"]);
    let queue = |name: &str| json!({"vhost": "/", "name": name, "durable": true});
    let document = json!({
        "new_section": [],
        "users": [
            {"name": "a", "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "hashing_algorithm": "own"},
            {"name": "b", "password_hash": "no base64!"},
            {"name": "c", "limits": {"max-foo": 1}},
            {"name": ""},
        ],
        "vhosts": [{"name": "s", "default_queue_type": "stream", "limits": {"max-foo": 1}}],
        "permissions": [
            {"user": "no", "vhost": "/", "configure": "", "write": "", "read": ""},
            {"user": "guest", "vhost": "/", "configure": "(", "write": "", "read": ""},
        ],
        "queues": [queue("amq.gen-x"), queue(""), {"vhost": "no", "name": "q", "durable": true}, queue("q")],
        "exchanges": [{"vhost": "/", "name": "amq.own", "durable": true, "type": "direct"}],
        "bindings": [
            {"vhost": "/", "source": "", "destination": "q", "destination_type": "queue", "routing_key": "q"},
            {"vhost": "/", "source": "amq.topic", "destination": "no", "destination_type": "queue", "routing_key": "q"},
        ],
        "policies": [
            {"vhost": "/", "name": "pattern", "pattern": "(", "definition": {"max-length": 1}},
            {"vhost": "/", "name": "value", "pattern": "", "definition": {"max-length": -1}},
            {"vhost": "/", "name": "none", "pattern": ""},
        ],
        "parameters": [
            {"vhost": "/", "component": "policy", "name": "p", "value": {}},
            {"vhost": "/", "component": "vhost-limits", "name": "limits", "value": {"max-foo": 1}},
        ],
    });
    let report = imported(&broker, &document);
    assert_eq!((counts(&report, "users"), counts(&report, "permissions")), ((0, 0, 0, 4), (0, 0, 0, 2)));
    assert_eq!(note(&report, "user 'a'"), "is left out: no password is hashed by own here");
    let unknown = "is left out: its password hash is none of rabbit_password_hashing_sha256";
    assert_eq!(note(&report, "user 'b'"), unknown);
    assert_eq!(counts(&report, "vhosts"), (1, 0, 0, 0));
    assert!(note(&report, "virtual host 's'").contains("no queues of type 'stream'"));
    assert_eq!(counts(&report, "queues"), (1, 0, 0, 3));
    assert_eq!(counts(&report, "exchanges"), (0, 0, 0, 1));
    assert_eq!(counts(&report, "bindings"), (0, 0, 0, 2));
    assert_eq!(counts(&report, "policies"), (0, 0, 0, 3));
    assert_eq!(counts(&report, "parameters"), (0, 0, 0, 2));
    assert_eq!(note(&report, "new_section"), "nothing is known of such a section; it is left out");
    assert_eq!(note(&report, "queue 'q' in vhost 'no'"), "is left out: virtual host 'no' does not exist");
    assert!(note(&report, "policy 'value' in vhost '/'").ends_with("-1 is not a valid maximum length"));
    let limits = note(&report, "parameter 'limits' of component 'vhost-limits' in vhost '/'");
    assert!(limits.contains("Unrecognised terms [{<<\"max-foo\">>,1}] in limits"));
    let text = report.to_string();
    assert!(text.contains("queues: 1 created, 0 changed, 0 existed, 3 skipped\n"), "{text}");
}

#[test]
fn a_document_that_is_not_understood_changes_nothing_and_the_place_is_told() {
    let broker = broker_with(&["/"]);
    let good = json!({"vhost": "/", "name": "q", "durable": true});
    let with = |section: &str, entry: Value| json!({"queues": [good.clone()], section: [entry]});
    let cases = [
        (json!([]), "the document: expected an object, found []"),
        (json!({"queues": 5}), "queues: expected a list, found 5"),
        (json!({"queues": [good.clone(), 5]}), "queues[1]: expected an object, found 5"),
        (with("exchanges", json!({"vhost": "/"})), "exchanges[0].name: expected a text, there is none"),
        (json!({"queues": [{"vhost": "/", "name": 1}]}), "queues[0].name: expected a text, found 1"),
        (json!({"queues": [{"vhost": "/", "name": "q"}]}), "queues[0].durable: expected true or false, there is none"),
        (
            with("exchanges", json!({"vhost": "/", "name": "x", "type": 3})),
            "exchanges[0].type: expected a text, found 3",
        ),
        (
            json!({"queues": [{"name": "q", "durable": true}]}),
            "queues[0]: no virtual host; a document of a single one has to be imported into one",
        ),
        (
            json!({"queues": [{"vhost": "/", "name": "q", "durable": true, "arguments": [1]}]}),
            "queues[0].arguments: expected an object, found [1]",
        ),
        (
            with("bindings", json!({"vhost": "/", "source": "a", "destination": "b", "destination_type": "x"})),
            "bindings[0].destination_type: expected \"queue\" or \"exchange\", found \"x\"",
        ),
        (
            with("users", json!({"name": "u", "tags": [1]})),
            "users[0].tags: expected a list of texts, or a text with commas, found [1]",
        ),
        (with("vhosts", json!({"name": "u", "metadata": 1})), "vhosts[0].metadata: expected an object, found 1"),
        (
            with("permissions", json!({"user": "u", "vhost": "/"})),
            "permissions[0].configure: expected a text, there is none",
        ),
    ];
    for (document, expected) in cases {
        assert_eq!(broker.import_definitions(&document).unwrap_err().to_string(), expected, "{document}");
        assert!(broker.vhost("/").unwrap().queues().is_empty(), "{document}");
    }
}

#[test]
fn the_definitions_of_one_virtual_host_can_be_imported_into_another() {
    let broker = broker_with(&["/", "copy"]);
    declare_queue(&broker, "q", FieldTable::default());
    declare_exchange(&broker, "x", "fanout", false);
    broker.vhost("/").unwrap().queue_bind("q", "x", b"k", FieldTable::default(), ME).unwrap();
    let definition = json!({"max-length": 5});
    let policy = NewPolicy { name: "p", pattern: "", apply_to: None, priority: 0, definition };
    broker.set_policy(PolicyKind::User, "/", policy).unwrap();
    let exported = broker.export_vhost_definitions("/").unwrap();
    assert_eq!(exported["rabbitmq_definition_format"], "single_virtual_host");
    assert_eq!(exported["original_vhost_name"], "/");
    assert!(!exported.to_string().contains("\"vhost\":"));
    assert!(broker.import_definitions(&exported).is_err());
    let report = broker.import_vhost_definitions("copy", &exported).unwrap();
    assert_eq!((counts(&report, "queues"), counts(&report, "bindings")), ((1, 0, 0, 0), (1, 0, 0, 0)));
    assert_eq!(contents(&broker.export_vhost_definitions("copy").unwrap()), contents(&exported));
    let of_a_cluster = broker.export_definitions();
    let report = broker.import_vhost_definitions("copy", &of_a_cluster).unwrap();
    assert_eq!(counts(&report, "queues"), (0, 0, 2, 0), "whatever the document says, it is for this one");
    assert!(broker.import_vhost_definitions("no", &exported).is_err());
    assert!(broker.export_vhost_definitions("no").is_err());
}

#[test]
fn files_are_loaded_in_the_order_of_their_names_and_again_only_if_they_have_changed() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let queue = |name: &str, ttl: u64| {
        json!({"queues": [{"vhost": "/", "name": name, "durable": true, "arguments": {"x-message-ttl": ttl}}]})
            .to_string()
    };
    write("2.json", &queue("q", 2));
    write("1.json", &queue("q", 1));
    write("3.txt", "no JSON");
    let mut config = Config { load_definitions: Some(directory.path().into()), ..Config::default() };
    config.definitions.skip_if_unchanged = true;
    let broker = Broker::new(config.clone());
    let load = || boot::ToLoad::read(&config).and_then(|files| files.import(&broker));
    load().unwrap();
    let vhost = broker.vhost("/").unwrap();
    assert_eq!(vhost.find_queue("q").unwrap().definition.arguments.inner()["x-message-ttl"], AMQPValue::LongLongInt(1));
    vhost.queue_delete("q", false, false, ME).unwrap();
    load().unwrap();
    assert!(vhost.find_queue("q").is_none(), "nothing has changed");
    assert!(!broker.export_definitions().to_string().contains(boot::HASH_PARAMETER));
    write("2.json", &queue("q", 3));
    load().unwrap();
    assert!(vhost.find_queue("q").is_some());

    write("4.json", "{\n\"queues\": [}");
    let error = load().unwrap_err();
    assert!(error.contains("4.json") && error.contains("line 2"), "{error}");
    write("4.json", r#"{"queues": [{"vhost": "/"}]}"#);
    let error = load().unwrap_err();
    assert!(error.ends_with("4.json: queues[0].name: expected a text, there is none"), "{error}");
}

#[test]
fn a_file_that_is_too_large_or_not_there_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.json");
    std::fs::write(&path, format!("{{{}}}", " ".repeat(2000))).unwrap();
    let mut config = Config { load_definitions: Some(path), ..Config::default() };
    config.limits.definitions_bytes = 1024;
    let error = boot::ToLoad::read(&config).unwrap_err();
    assert!(error.ends_with("it has 2002 bytes, and limits.definitions_bytes allows 1024"), "{error}");
    config.load_definitions = Some(directory.path().join("no.json"));
    assert!(boot::ToLoad::read(&config).unwrap_err().contains("no.json"));
}
