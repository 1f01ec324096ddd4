use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::json;

use super::*;
use crate::broker::ConnectionId;
use crate::broker::exchange::Exchange;
use crate::broker::policy::effective::{Effective, effective};
use crate::broker::queue::Queue;
use crate::broker::test_rows::Rows;
use crate::broker::vhost::{ExchangeDeclare, QueueDeclare};
use crate::config::Config;

const USER: PolicyKind = PolicyKind::User;
const OPERATOR: PolicyKind = PolicyKind::Operator;
const ME: ConnectionId = ConnectionId(1);

fn broker() -> Arc<Broker> {
    Broker::new(Config::default())
}

fn policy<'a>(name: &'a str, pattern: &'a str, priority: i64, definition: Value) -> NewPolicy<'a> {
    NewPolicy { name, pattern, apply_to: None, priority, definition }
}

fn declare_queue(broker: &Broker, name: &str, durable: bool) -> Arc<Queue> {
    declare_queue_with(broker, name, durable, FieldTable::default())
}

fn declare_queue_with(broker: &Broker, name: &str, durable: bool, arguments: FieldTable) -> Arc<Queue> {
    let declare = QueueDeclare { name, passive: false, durable, exclusive: false, auto_delete: false, arguments };
    broker.vhost("/").unwrap().queue_declare(declare, ME).unwrap()
}

fn declare_exchange(broker: &Broker, name: &str, arguments: FieldTable) -> Arc<Exchange> {
    let vhost = broker.vhost("/").unwrap();
    let durable = true;
    let declare = ExchangeDeclare {
        name,
        kind: "fanout",
        passive: false,
        durable,
        auto_delete: false,
        internal: false,
        arguments,
    };
    vhost.exchange_declare(declare).unwrap();
    vhost.find_exchange(name).unwrap()
}

fn settings(queue: &Queue) -> Effective {
    effective(&queue.definition.arguments, &queue.applied_policies())
}

fn max_length(queue: &Queue) -> Option<u64> {
    settings(queue).max_length
}

/// The names of the policy and the operator policy that apply.
fn applied(queue: &Queue) -> (Option<String>, Option<String>) {
    let applied = queue.applied_policies();
    let name = |policy: Option<Arc<Policy>>| policy.map(|policy| policy.name.to_string());
    (name(applied.policy), name(applied.operator))
}

#[test]
fn a_policy_applies_to_what_exists_and_to_what_comes_until_it_is_cleared() {
    let broker = broker();
    let old = declare_queue(&broker, "q.old", false);
    let other = declare_queue(&broker, "other", false);
    broker.set_policy(USER, "/", policy("p", "^q\\.", 0, json!({"max-length": 5}))).unwrap();
    let new = declare_queue(&broker, "q.new", false);
    assert_eq!([&old, &new, &other].map(|queue| max_length(queue)), [Some(5), Some(5), None]);
    broker.set_policy(USER, "/", policy("p", "^q\\.", 0, json!({"max-length": 7}))).unwrap();
    assert_eq!([&old, &new, &other].map(|queue| max_length(queue)), [Some(7), Some(7), None]);
    broker.set_policy(USER, "/", policy("p", "^o", 0, json!({"max-length": 7}))).unwrap();
    assert_eq!([&old, &new, &other].map(|queue| max_length(queue)), [None, None, Some(7)]);
    broker.clear_policy(USER, "/", "p").unwrap();
    assert_eq!([&old, &new, &other].map(|queue| max_length(queue)), [None; 3]);
    assert!(settings(&old).is_plain());
}

#[test]
fn one_policy_and_one_operator_policy_apply_and_are_not_mixed_with_others() {
    let broker = broker();
    let queue = declare_queue(&broker, "q", false);
    let set = |kind, name, priority, definition| {
        broker.set_policy(kind, "/", policy(name, "", priority, definition)).unwrap();
    };
    set(USER, "low", 1, json!({"max-length": 5, "expires": 1000}));
    set(USER, "high", 2, json!({"message-ttl": 100}));
    assert_eq!(applied(&queue), (Some("high".into()), None));
    assert_eq!((settings(&queue).max_length, settings(&queue).message_ttl_ms), (None, Some(100)));
    set(OPERATOR, "cap", 0, json!({"message-ttl": 50, "max-length": 9}));
    set(OPERATOR, "weak", -1, json!({"message-ttl": 1}));
    assert_eq!(applied(&queue), (Some("high".into()), Some("cap".into())));
    assert_eq!((settings(&queue).max_length, settings(&queue).message_ttl_ms), (Some(9), Some(50)));
    broker.clear_policy(USER, "/", "high").unwrap();
    broker.clear_policy(OPERATOR, "/", "cap").unwrap();
    assert_eq!(applied(&queue), (Some("low".into()), Some("weak".into())));
}

#[test]
fn policies_are_of_one_virtual_host() {
    let broker = Broker::new(Config { vhosts: vec!["/".into(), "b".into()], ..Config::default() });
    let queue = declare_queue(&broker, "q", false);
    broker.set_policy(USER, "b", policy("p", "", 0, json!({"max-length": 5}))).unwrap();
    assert_eq!(max_length(&queue), None);
    assert_eq!(broker.list_policies(USER, "/").unwrap().len(), 0);
    let listed = broker.list_policies(USER, "b").unwrap();
    assert_eq!((&*listed[0].name, &*listed[0].pattern, listed[0].apply_to.name()), ("p", "", "all"));
}

#[test]
fn an_alternate_exchange_by_policy_takes_effect_at_once_unless_there_is_an_argument() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("alternate-exchange".into(), AMQPValue::LongString("ae".into()));
    let plain = declare_exchange(&broker, "plain", FieldTable::default());
    let own = declare_exchange(&broker, "own", arguments);
    for name in ["ae", "by-policy"] {
        declare_exchange(&broker, name, FieldTable::default());
        declare_queue(&broker, name, false);
        vhost.queue_bind(name, name, b"", FieldTable::default(), ME).unwrap();
    }
    let to = |exchange: &Arc<Exchange>| {
        let route = vhost.route(exchange, &[b"key"], &mut || None);
        route.queues.iter().map(|queue| queue.name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!((to(&plain), to(&own)), (vec![], vec!["ae".to_owned()]));
    let before = vhost.route(&plain, &[b"key"], &mut || None);
    let definition = json!({"alternate-exchange": "by-policy"});
    broker.set_policy(USER, "/", policy("p", "^(plain|own|late)$", 0, definition)).unwrap();
    assert!(!before.is_current(), "publishers forget the routes that they have");
    assert_eq!((to(&plain), to(&own)), (vec!["by-policy".to_owned()], vec!["ae".to_owned()]));
    let late = declare_exchange(&broker, "late", FieldTable::default());
    assert_eq!(to(&late), ["by-policy"]);

    let before = vhost.route(&plain, &[b"key"], &mut || None);
    vhost.exchange_delete("by-policy", false).unwrap();
    assert_eq!((to(&plain), to(&late)), (vec![], vec![]));
    assert!(!before.is_current());
    let before = vhost.route(&plain, &[b"key"], &mut || None);
    declare_exchange(&broker, "by-policy", FieldTable::default());
    assert!(!before.is_current(), "the alternate exchange is there again");
    vhost.queue_bind("by-policy", "by-policy", b"", FieldTable::default(), ME).unwrap();
    assert_eq!(to(&plain), ["by-policy"]);
    broker.clear_policy(USER, "/", "p").unwrap();
    assert_eq!((to(&plain), to(&own), to(&late)), (vec![], vec!["ae".to_owned()], vec![]));
    for name in ["plain", "late", "own", "by-policy", "ae"] {
        vhost.exchange_delete(name, false).unwrap();
    }
}

/// Texts as RabbitMQ 3.10.8 gives them.
#[test]
fn what_is_refused_is_refused_in_rabbitmqs_words_and_changes_nothing() {
    let broker = broker();
    let refusal = |new: NewPolicy<'_>| broker.set_policy(USER, "/", new).unwrap_err().to_string();
    let definition = || json!({"max-length": 5});
    assert_eq!(refusal(policy("p", "", 0, json!({}))), "Validation failed\n\nno policy provided\n");
    let pattern = refusal(policy("p", "(", 0, definition()));
    assert!(
        pattern.starts_with("Validation failed\n\npattern should be regular expression but is invalid: "),
        "{pattern}"
    );
    let unknown = NewPolicy { apply_to: Some("foo"), ..policy("p", "", 0, definition()) };
    let expected = "Validation failed\n\napply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues', \
                    'quorum_queues', 'streams', 'exchanges', or 'all'\n";
    assert_eq!(refusal(unknown), expected);
    let all_wrong = NewPolicy { apply_to: Some("foo"), ..policy("p", "(", 0, json!([1])) };
    assert_eq!(refusal(all_wrong).lines().count(), 5, "every problem has its line");
    let long = "x".repeat(256);
    assert!(refusal(policy(&long, "", 0, definition())).contains("a name has 256 bytes, and may have 255"));
    assert_eq!(broker.list_policies(USER, "/").unwrap().len(), 0);

    let text = |result: Result<(), ParameterError>| result.unwrap_err().to_string();
    assert_eq!(
        text(broker.set_policy(USER, "no", policy("p", "", 0, definition()))),
        "Virtual host 'no' does not exist"
    );
    assert_eq!(text(broker.clear_policy(USER, "/", "p")), "Parameter does not exist");
    assert_eq!(text(broker.clear_policy(OPERATOR, "/", "p")), "Parameter does not exist");
    assert_eq!(text(broker.clear_parameter("/", "shovel", "p")), "Parameter does not exist");
    assert_eq!(text(broker.clear_global_parameter("p")), "Parameter does not exist");
    assert_eq!(text(broker.set_parameter("/", "policy", "p", json!({}))), "policies may not be set using this method");
    assert_eq!(text(broker.clear_parameter("/", "policy", "p")), "policies may not be cleared using this method");
}

#[test]
fn parameters_of_unknown_components_are_kept_as_they_are() {
    let broker = broker();
    let value = json!({"src-uri": ["amqp://a", "amqp://b"], "n": 1.5, "none": null});
    broker.set_parameter("/", "shovel", "s", value.clone()).unwrap();
    broker.set_parameter("/", "shovel", "r", json!("text")).unwrap();
    broker.set_policy(USER, "/", policy("p", "", 0, json!({"max-length": 5}))).unwrap();
    broker.set_policy(OPERATOR, "/", policy("o", "", 0, json!({"max-length": 5}))).unwrap();
    let listed: Vec<_> =
        broker.list_parameters("/").unwrap().iter().map(|p| format!("{} {}", p.component, p.name)).collect();
    assert_eq!(listed, ["operator_policy o", "shovel r", "shovel s"], "all but policies");
    assert_eq!(*broker.list_parameters("/").unwrap()[2].value, value);
    broker.clear_parameter("/", "shovel", "s").unwrap();
    assert_eq!(broker.list_parameters("/").unwrap().len(), 2);
}

#[test]
fn an_operator_policy_may_be_set_as_the_parameter_that_it_is() {
    let broker = broker();
    let queue = declare_queue(&broker, "q", false);
    // As RabbitMQ 3.10.8 exports it.
    let value = json!({"apply-to": "queues", "definition": [["max-length", 500]], "pattern": ".*", "priority": 1});
    broker.set_parameter("/", "operator_policy", "o", value).unwrap();
    assert_eq!(max_length(&queue), Some(500));
    let kept = &broker.list_parameters("/").unwrap()[0];
    assert_eq!(kept.value["definition"], json!({"max-length": 500}));
    broker.clear_parameter("/", "operator_policy", "o").unwrap();
    assert_eq!(max_length(&queue), None);
}

#[test]
fn there_may_be_so_many_parameters_of_such_a_size() {
    let mut config = Config::default();
    (config.limits.parameters, config.limits.parameter_bytes) = (2, 1024);
    let broker = Broker::new(config);
    for name in ["a", "b", "a"] {
        broker.set_parameter("/", "c", name, json!(1)).unwrap();
        broker.set_global_parameter(name, json!(1)).unwrap();
    }
    let expected = "Validation failed\n\nthere are 2 parameters, the most that may be\n";
    assert_eq!(broker.set_parameter("/", "c", "x", json!(1)).unwrap_err().to_string(), expected);
    assert_eq!(broker.set_global_parameter("x", json!(1)).unwrap_err().to_string(), expected);
    let large = json!("x".repeat(1023));
    let expected = "Validation failed\n\nthe value has 1025 bytes as JSON, and may have 1024\n";
    assert_eq!(broker.set_parameter("/", "c", "a", large.clone()).unwrap_err().to_string(), expected);
    assert_eq!(broker.set_global_parameter("a", large).unwrap_err().to_string(), expected);
}

/// Code and text as RabbitMQ 3.10.8 gives them; queues of all kinds count.
#[test]
fn a_virtual_host_has_no_more_queues_than_its_limit() {
    let broker = broker();
    declare_queue(&broker, "a", false);
    broker.set_vhost_limits("/", json!({"max-queues": 2})).unwrap();
    declare_queue(&broker, "b", true);
    let vhost = broker.vhost("/").unwrap();
    let declare = |name| {
        let arguments = FieldTable::default();
        let declare =
            QueueDeclare { name, passive: false, durable: true, exclusive: false, auto_delete: false, arguments };
        vhost.queue_declare(declare, ME)
    };
    let fault = declare("c").err().unwrap();
    let text = "406 PRECONDITION_FAILED - cannot declare queue 'c': queue limit in vhost '/' (2) is reached";
    assert_eq!(fault.to_string(), text);
    assert!(declare("").err().unwrap().text.starts_with("cannot declare queue 'amq.gen-"));
    assert!(declare("amq.x").err().unwrap().text.contains("reserved prefix"));
    declare("b").unwrap();
    vhost.queue_delete("a", false, false, ME).unwrap();
    declare("c").unwrap();
    broker.clear_vhost_limits("/").unwrap();
    declare("d").unwrap();
    broker.set_vhost_limits("/", json!({"max-queues": -1})).unwrap();
    declare("e").unwrap();
}

#[test]
fn a_virtual_host_has_no_more_connections_than_its_limit() {
    let broker = broker();
    let vhost = broker.vhost("/").unwrap();
    broker.set_vhost_limits("/", json!({"max-connections": 1})).unwrap();
    let first = vhost.enter("guest").unwrap();
    let text = "530 NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached";
    assert_eq!(vhost.enter("guest").unwrap_err().to_string(), text);
    drop(first);
    let again = vhost.enter("guest").unwrap();
    broker.set_vhost_limits("/", json!({"max-connections": 0})).unwrap();
    drop(again);
    assert!(vhost.enter("guest").is_err());
    assert_eq!(vhost.connection_count(), 0);
}

/// Texts as RabbitMQ 3.10.8 gives them.
#[test]
fn limits_that_are_none_are_refused() {
    let broker = broker();
    for (value, text) in [
        (json!({"max-foo": 1}), "Unrecognised terms [{<<\"max-foo\">>,1}] in limits"),
        (json!({"max-queues": "a"}), "max-queues should be a number, actually was <<\"a\">>"),
        (json!({"max-queues": 1.5}), "max-queues should be a number, actually was 1.5"),
        (json!(3), "limits must be a dictionary: 3"),
    ] {
        let refusal = broker.set_vhost_limits("/", value).unwrap_err().to_string();
        assert_eq!(refusal, format!("Validation failed\n\n{text}\n"));
    }
    assert!(broker.set_parameter("/", "vhost-limits", "foo", json!({})).is_err());
    assert_eq!(broker.list_vhost_limits("/").unwrap(), VHostLimits::default());
    assert_eq!(broker.clear_vhost_limits("/").unwrap_err(), ParameterError::NotFound);
}

#[test]
fn everything_is_there_again_after_a_restart() {
    let mut rows = Rows::new();
    let start = |rows: &mut Rows| {
        rows.store = Rows::new().store;
        let broker = Broker::open(Config::default(), rows.store.clone(), rows.recovered()).unwrap();
        rows.take();
        broker
    };
    let broker = start(&mut rows);
    declare_queue(&broker, "q", true);
    declare_exchange(&broker, "x", FieldTable::default());
    broker.set_policy(USER, "/", policy("p", "^q", 3, json!({"max-length": 5}))).unwrap();
    broker.set_policy(USER, "/", policy("ae", "^x", 3, json!({"alternate-exchange": "amq.fanout"}))).unwrap();
    broker.set_policy(OPERATOR, "/", policy("o", "^q", 3, json!({"message-ttl": 50}))).unwrap();
    broker.set_policy(USER, "/", policy("gone", "", 9, json!({"max-length": 1}))).unwrap();
    broker.clear_policy(USER, "/", "gone").unwrap();
    broker.set_parameter("/", "shovel", "s", json!([1, 2])).unwrap();
    broker.set_global_parameter("g", json!({"a": 1})).unwrap();
    broker.set_global_parameter("gone", json!(1)).unwrap();
    broker.clear_global_parameter("gone").unwrap();
    broker.set_vhost_limits("/", json!({"max-queues": 10})).unwrap();
    rows.take();
    drop(broker);

    let broker = start(&mut rows);
    let queue = broker.vhost("/").unwrap().find_queue("q").unwrap();
    assert_eq!(applied(&queue), (Some("p".into()), Some("o".into())));
    let exchange = broker.vhost("/").unwrap().find_exchange("x").unwrap();
    assert_eq!(exchange.alternate_exchange().as_deref(), Some("amq.fanout"));
    assert_eq!(broker.list_policies(USER, "/").unwrap().len(), 2);
    assert_eq!(broker.list_global_parameters(), [("g".into(), Arc::new(json!({"a": 1})))]);
    assert_eq!(broker.list_vhost_limits("/").unwrap().max_queues, Some(10));
    assert_eq!(*broker.list_parameters("/").unwrap()[1].value, json!([1, 2]));
    let policy = &broker.list_policies(USER, "/").unwrap()[1];
    assert_eq!((&*policy.name, policy.priority, &policy.definition["max-length"]), ("p", 3, &json!(5)));
}

#[test]
fn what_a_virtual_host_has_goes_with_it() {
    let mut rows = Rows::new();
    let config = Config { vhosts: vec!["/".into(), "b".into()], ..Config::default() };
    let broker = Broker::open(config.clone(), rows.store.clone(), rows.recovered()).unwrap();
    broker.set_policy(USER, "b", policy("p", "", 0, json!({"max-length": 5}))).unwrap();
    broker.set_parameter("b", "shovel", "s", json!([["max-queues", 1]])).unwrap();
    broker.set_vhost_limits("b", json!([["max-queues", 1]])).unwrap();
    assert_eq!(*broker.list_parameters("b").unwrap()[1].value, json!({"max-queues": 1}), "pairs stand for an object");
    let vhost = broker.vhost("b").unwrap();
    broker.delete_vhost("b").unwrap();
    let gone = ParameterError::NoVHost("b".into());
    assert_eq!(vhost.set_parameter("c", "n", json!(1), broker.parameter_limits()), Err(gone.clone()));
    assert_eq!(vhost.clear_parameter("shovel", "s"), Err(gone));
    rows.take();
    let of_b = |key: &&Vec<u8>| key.windows(3).any(|bytes| bytes == b"\0\x01b");
    assert_eq!(rows.rows.keys().filter(of_b).count(), 0);
    rows.store = Rows::new().store;
    let again = Broker::open(config, rows.store.clone(), rows.recovered()).unwrap();
    assert!(again.list_parameters("b").unwrap().is_empty() && again.list_policies(USER, "b").unwrap().is_empty());
}

/// Policies are set and queues declared at once; in the end each queue has what a search finds.
#[test]
fn queues_that_are_declared_while_policies_change_have_the_right_ones() {
    let broker = broker();
    let setter = {
        let broker = broker.clone();
        std::thread::spawn(move || {
            for i in 0..300 {
                let name = format!("p{}", i % 7);
                let (priority, definition) = (i % 5, json!({"max-length": i}));
                broker.set_policy(USER, "/", policy(&name, "", priority, definition)).unwrap();
                if i % 3 == 0 {
                    broker.clear_policy(USER, "/", &name).unwrap();
                }
            }
        })
    };
    let queues: Vec<_> = (0..300).map(|i| declare_queue(&broker, &format!("q{i}"), false)).collect();
    setter.join().unwrap();
    let before: Vec<_> = queues.iter().map(|queue| queue.applied_policies()).collect();
    broker.vhost("/").unwrap().apply_all_policies();
    for (queue, before) in queues.iter().zip(before) {
        assert!(queue.applied_policies().is_same(&before), "{}", queue.name());
    }
}

/// The bar: 10 000 policies applied to 10 000 queues in less than a second, in a release build:
/// `cargo test --release --lib -- --ignored --nocapture ten_thousand`.
#[test]
#[ignore = "it measures"]
fn ten_thousand_policies_are_applied_to_ten_thousand_queues() {
    const N: usize = 10_000;
    for (what, pattern) in [
        ("literal prefix", (|i| format!("^queue-{i:05}\\.")) as fn(usize) -> String),
        ("whole name", |i| format!("^queue-{i:05}\\.x$")),
        ("wild start and end", |i| format!("^queue-.*{i:05}.*$")),
        ("alternatives", |i| format!("^(queue|topic)-({i:05}|{i:05}a)\\.")),
        ("suffix", |i| format!("{i:05}\\.[xyz]$")),
    ] {
        let broker = broker();
        for i in 0..N {
            declare_queue(&broker, &format!("queue-{i:05}.x"), false);
        }
        let start = std::time::Instant::now();
        for i in 0..N {
            let pattern = pattern(i);
            let value = json!({"pattern": pattern, "definition": {"max-length": i}, "priority": i % 10});
            let parameter = Parameter {
                vhost: "/".into(),
                component: "policy".into(),
                name: format!("policy-{i}").into(),
                value: Arc::new(value),
            };
            assert_eq!(broker.vhost("/").unwrap().restore_parameter(parameter), None);
        }
        let entered = start.elapsed();
        let start = std::time::Instant::now();
        broker.vhost("/").unwrap().apply_all_policies();
        let applied = start.elapsed();
        let start = std::time::Instant::now();
        broker.set_policy(USER, "/", policy("one", "^queue-", -1, json!({"max-length": 1}))).unwrap();
        broker.clear_policy(USER, "/", "one").unwrap();
        let one = start.elapsed();
        let has = |i: usize| max_length(&broker.vhost("/").unwrap().find_queue(&format!("queue-{i:05}.x")).unwrap());
        (0..N).for_each(|i| assert_eq!(has(i), Some(i as u64)));
        println!(
            "{what}: {N} entered in {entered:?}, applied to {N} queues in {applied:?}; one set and cleared in {one:?}"
        );
    }
}
