use amq_protocol::types::{AMQPValue, FieldTable};

use super::*;
use crate::broker::exchange::{ExchangeDefinition, ExchangeKind};
use crate::broker::test_rows::Rows;
use crate::broker::user::PasswordHash;
use crate::config::Secret;
use crate::storage::log::Entry;
use crate::storage::store::ColdRange;
use crate::time::Clock;

const HERE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Starts over the rows, and keeps what that changes. Returns how much that was.
fn start(rows: &mut Rows, config: Config) -> (Arc<Broker>, usize) {
    rows.store = Rows::new().store;
    let broker = Broker::open(config, rows.store.clone(), rows.recovered()).unwrap();
    (broker, rows.take().len())
}

fn refused(definitions: &[Definition]) -> String {
    let rows = rows_with(definitions);
    Broker::open(Config::default(), rows.store.clone(), rows.recovered()).err().expect("an error").to_string()
}

fn rows_with(definitions: &[Definition]) -> Rows {
    let mut rows = Rows::new();
    rows.rows = definitions.iter().map(|definition| (definition.key(), definition.value())).collect();
    rows
}

fn vhost() -> Definition {
    Definition::VHost { name: "/".into(), metadata: VHostMetadata::default() }
}

fn queue(id: u64, name: &str) -> Definition {
    let definition = QueueDefinition {
        vhost: "/".into(),
        name: name.into(),
        durable: true,
        auto_delete: false,
        exclusive_owner: None,
        arguments: FieldTable::default(),
    };
    Definition::Queue { id: QueueId(id), definition }
}

fn queue_with(id: u64, name: &str, argument: &str, number: i64) -> Definition {
    let Definition::Queue { id, definition } = queue(id, name) else { unreachable!("it is a queue") };
    let mut arguments = FieldTable::default();
    arguments.insert(argument.into(), AMQPValue::LongLongInt(number));
    Definition::Queue { id, definition: QueueDefinition { arguments, ..definition } }
}

fn binding(source: &str, id: u64, key: &str) -> Definition {
    Definition::Binding(BindingDefinition {
        vhost: "/".into(),
        source: source.into(),
        destination: BoundTo::Queue(QueueId(id)),
        routing_key: key.as_bytes().into(),
        arguments: FieldTable::default(),
    })
}

fn user(name: &str, password: &str, tags: &[&str]) -> UserConfig {
    UserConfig {
        name: name.into(),
        password: Some(Secret::new(password)),
        password_hash: None,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    }
}

#[test]
fn the_first_start_writes_what_is_configured_and_the_next_one_nothing() {
    let mut rows = Rows::new();
    let config = Config {
        vhosts: vec!["/".into(), "test".into()],
        users: vec![user("alice", "a", &["administrator"])],
        ..Config::default()
    };
    assert_eq!(start(&mut rows, config.clone()).1, 1);
    assert_eq!(rows.rows.len(), 8, "two virtual hosts, two users, four permissions");
    let (broker, changes) = start(&mut rows, config);
    assert_eq!(changes, 0);
    for (name, password) in [("guest", "guest"), ("alice", "a")] {
        assert!(broker.users.authenticate(name, password.as_bytes(), HERE).unwrap().has_tag("administrator"));
    }
    assert!(broker.vhost("/").is_some() && broker.vhost("test").is_some());
}

#[test]
fn the_default_user_is_made_on_the_first_start_only() {
    let mut rows = rows_with(&[vhost()]);
    let (broker, changes) = start(&mut rows, Config::default());
    assert!(broker.users.get("guest").is_none() && changes == 0);

    let mut rows = Rows::new();
    start(&mut rows, Config::default());
    let config = Config { default_pass: Secret::new("other"), ..Config::default() };
    let (broker, _) = start(&mut rows, config);
    assert!(broker.users.authenticate("guest", b"guest", HERE).is_ok());
}

#[test]
fn a_user_who_is_named_is_as_configured() {
    let mut rows = Rows::new();
    let with = |user: UserConfig| Config { users: vec![user], ..Config::default() };
    let (broker, _) = start(&mut rows, with(user("guest", "first", &[])));
    assert!(broker.users.authenticate("guest", b"guest", HERE).is_err());
    for (configured, expected_changes) in [
        (user("guest", "first", &[]), 0),
        (user("guest", "second", &[]), 1),
        (user("guest", "second", &["monitoring"]), 1),
        (user("guest", "second", &["monitoring"]), 0),
    ] {
        let password = configured.password.clone().unwrap();
        let tags = configured.tags.clone();
        let (broker, changes) = start(&mut rows, with(configured));
        assert_eq!(changes, expected_changes);
        let user = broker.users.authenticate("guest", password.expose().as_bytes(), HERE).unwrap();
        assert_eq!(user.tags.iter().map(|tag| tag.to_string()).collect::<Vec<_>>(), tags);
    }
    let hash = PasswordHash::of(b"third");
    let hashed = || {
        let password_hash = Some(Secret::new(hash.encoded()));
        with(UserConfig { password: None, password_hash, ..user("guest", "", &[]) })
    };
    assert_eq!(start(&mut rows, hashed()).1, 1);
    assert_eq!(start(&mut rows, hashed()).1, 0);
    // Who is no longer configured stays.
    let (broker, changes) = start(&mut rows, Config::default());
    assert!(broker.users.authenticate("guest", b"third", HERE).is_ok() && changes == 0);
}

/// The permissions of a user, by virtual host.
fn permissions(broker: &Broker, user: &str) -> Vec<String> {
    let all = broker.list_permissions(None, Some(user)).unwrap();
    all.iter().map(|of| format!("{} {} {} {}", of.vhost, of.configure, of.write, of.read)).collect()
}

fn with_vhosts(vhosts: &[&str], users: Vec<UserConfig>) -> Config {
    Config { vhosts: vhosts.iter().map(|name| (*name).to_owned()).collect(), users, ..Config::default() }
}

#[test]
fn users_from_before_permissions_may_do_everything_from_then_on() {
    let mut rows = rows_with(&[vhost(), Definition::VHost { name: "v".into(), metadata: VHostMetadata::default() }]);
    // Version 1 of a row.
    let hash = PasswordHash::of(b"p");
    for name in ["guest", "old"] {
        let value = [&[1][..], &hash.to_bytes(), &[0, 0]].concat();
        let definition = Definition::User(UserDefinition::new(name, hash, Vec::new()));
        rows.rows.insert(definition.key(), value);
    }
    let config = || with_vhosts(&["/", "added"], Vec::new());
    let (broker, _) = start(&mut rows, config());
    for name in ["guest", "old"] {
        assert_eq!(permissions(&broker, name), ["/ .* .* .*", "added .* .* .*", "v .* .* .*"]);
    }
    assert_eq!(start(&mut rows, config()).1, 0);

    let (broker, _) = start(&mut rows, config());
    broker.clear_permissions("/", "old").unwrap();
    rows.take();
    let (broker, changes) = start(&mut rows, config());
    assert_eq!((permissions(&broker, "old").len(), changes), (2, 0), "it happens once");
}

#[test]
fn who_is_configured_may_use_what_is_configured() {
    let mut rows = Rows::new();
    let alice = || vec![user("alice", "a", &[])];
    let (broker, _) = start(&mut rows, with_vhosts(&["/", "v"], alice()));
    for name in ["guest", "alice"] {
        assert_eq!(permissions(&broker, name), ["/ .* .* .*", "v .* .* .*"]);
    }
    broker.add_user("bob", "b").unwrap();
    broker.set_permissions("/", "bob", ".*", ".*", ".*").unwrap();
    broker.set_permissions("v", "alice", "^mine", "", "").unwrap();
    rows.take();
    // What the configuration adds is for those whom it names and who have never been restricted.
    let (broker, _) = start(&mut rows, with_vhosts(&["/", "v", "w"], alice()));
    assert_eq!(permissions(&broker, "guest"), ["/ .* .* .*", "v .* .* .*", "w .* .* .*"]);
    assert_eq!(permissions(&broker, "alice"), ["/ .* .* .*", "v ^mine  "]);
    assert_eq!(permissions(&broker, "bob"), ["/ .* .* .*"]);
    for name in ["guest", "alice"] {
        ["/", "v", "w"].iter().for_each(|vhost| broker.clear_permissions(vhost, name).unwrap());
    }
    rows.take();
    // Who is listed has what the configuration says; the default user is made once.
    let (broker, _) = start(&mut rows, with_vhosts(&["/"], alice()));
    assert_eq!(permissions(&broker, "alice"), ["/ .* .* .*"]);
    assert!(permissions(&broker, "guest").is_empty());
}

#[test]
fn permissions_of_a_user_whom_a_repair_gave_up_go() {
    let full = PermissionDefinition::full(&"/".into(), &"gone".into());
    let topic = TopicPermissionDefinition {
        vhost: "/".into(),
        user: "gone".into(),
        exchange: "x".into(),
        write: "".into(),
        read: "".into(),
    };
    let mut rows = rows_with(&[vhost(), Definition::Permission(full.clone()), Definition::TopicPermission(topic)]);
    start(&mut rows, Config::default());
    assert_eq!(rows.rows.len(), 1);
    let text = "a permission of user 'gone' in vhost '/' is defined, but its virtual host is not";
    assert_eq!(refused(&[Definition::Permission(full)]), text);
}

#[test]
fn virtual_hosts_are_added_and_stay() {
    let mut rows = rows_with(&[Definition::VHost { name: "stored".into(), metadata: VHostMetadata::default() }]);
    let (broker, changes) = start(&mut rows, Config::default());
    assert!(broker.vhost("stored").is_some() && broker.vhost("/").is_some());
    assert_eq!((changes, rows.rows.len()), (1, 2));
}

#[test]
fn ids_of_queues_are_not_used_again() {
    let mut rows = rows_with(&[vhost(), queue(7_000_000, "q")]);
    let (broker, _) = start(&mut rows, Config::default());
    assert_eq!(broker.vhost("/").unwrap().find_queue("q").unwrap().id, QueueId(7_000_000));
    assert!(Queue::new_id() > QueueId(7_000_000));
    let recovered = Recovered { next_queue_id: 8_000_000, ..rows.recovered() };
    Broker::open(Config::default(), Rows::new().store, recovered).unwrap();
    assert!(Queue::new_id() >= QueueId(8_000_000));
}

#[test]
fn messages_of_queues_that_are_not_there_are_dropped() {
    let rows = rows_with(&[vhost(), queue(1, "q")]);
    let mut rows = rows;
    let range = ColdRange { first_seq: 1, end_seq: 2, count: 1, bytes: 10, redelivered: false };
    let waiting = RecoveredQueue { may_expire: false, next_seq: 2, waiting: vec![range] };
    let queues = HashMap::from([(QueueId(1), waiting.clone()), (QueueId(2), waiting)]);
    Broker::open(Config::default(), rows.store.clone(), Recovered { queues, ..rows.recovered() }).unwrap();
    let dropped = |entry: &Entry| matches!(entry, Entry::DropQueue(QueueId(2)));
    let logged = rows.take();
    assert!(logged.len() == 1 && dropped(&logged[0]), "{logged:?}");
}

#[test]
fn a_queue_that_is_too_long_at_start_drops_its_head_before_anybody_uses_it() {
    let rows = rows_with(&[vhost(), queue_with(1, "q", "x-max-length", 2)]);
    let range = ColdRange { first_seq: 0, end_seq: 5, count: 5, bytes: 100, redelivered: false };
    let waiting = RecoveredQueue { may_expire: false, next_seq: 5, waiting: vec![range] };
    let queues = HashMap::from([(QueueId(1), waiting)]);
    let recovered = Recovered { queues, ..rows.recovered() };
    let broker = Broker::open(Config::default(), rows.store.clone(), recovered).unwrap();
    let queue = broker.vhost("/").unwrap().find_queue("q").unwrap();
    assert_eq!(queue.counts().0, 2);
}

#[test]
fn a_queue_that_nobody_uses_after_the_start_expires() {
    let rows = rows_with(&[vhost(), queue_with(1, "q", "x-expires", 100)]);
    let worker = Worker::new(Clock::manual(1_000));
    let broker =
        Broker::open_attended(Config::default(), rows.store.clone(), rows.recovered(), worker.clone()).unwrap();
    let vhost = broker.vhost("/").unwrap();
    worker.clock.set(1_099);
    worker.attend_due(10);
    assert!(vhost.find_queue("q").is_some());
    worker.clock.set(1_100);
    worker.attend_due(10);
    assert!(vhost.find_queue("q").is_none());
}

#[test]
fn of_two_queues_of_one_name_the_older_was_deleted() {
    let mut rows = rows_with(&[vhost(), queue(3, "q"), queue(5, "q"), binding("amq.topic", 3, "k")]);
    let (broker, _) = start(&mut rows, Config::default());
    let vhost = broker.vhost("/").unwrap();
    assert_eq!(vhost.find_queue("q").unwrap().id, QueueId(5));
    assert_eq!(vhost.find_exchange("amq.topic").unwrap().binding_count(), 0);
    assert!(!rows.rows.contains_key(&queue(3, "q").key()) && rows.rows.len() == 2, "{:?}", rows.rows);
}

#[test]
fn a_row_that_cannot_be_understood_is_named() {
    assert_eq!(refused(&[queue(1, "q")]), "queue 'q' in vhost '/' is defined, but its virtual host is not");
    let exchange = ExchangeDefinition::durable("x", ExchangeKind::Direct);
    let exchange = Definition::Exchange { vhost: "gone".into(), definition: exchange };
    assert_eq!(refused(&[exchange]), "exchange 'x' in vhost 'gone' is defined, but its virtual host is not");
    let mut rows = rows_with(&[vhost()]);
    rows.rows.insert(queue(1, "q").key(), vec![9]);
    let error = Broker::open(Config::default(), rows.store.clone(), rows.recovered()).err().expect("an error");
    assert!(error.to_string().starts_with("the definition of the queue with id 1 cannot be read: it has version 9"));
}

/// Quadratic time would take minutes.
#[test]
fn many_queues_and_bindings_are_no_trouble() {
    let queues = (1..=10_000).map(|id| queue(id, &format!("q{id}")));
    let bindings = (0..100_000).map(|n| binding("amq.topic", 1 + n % 10_000, &format!("a.{n}.*")));
    let to_one = (0..20_000).map(|n| binding("amq.direct", 1, &format!("k{n}")));
    let all: Vec<Definition> = [vhost()].into_iter().chain(queues).chain(bindings).chain(to_one).collect();
    let mut rows = rows_with(&all);
    let began = std::time::Instant::now();
    let (broker, changes) = start(&mut rows, Config::default());
    println!("{:?}", began.elapsed());
    assert_eq!(changes, 0);
    let vhost = broker.vhost("/").unwrap();
    assert_eq!(vhost.queues().len(), 10_000);
    assert_eq!(vhost.find_exchange("amq.topic").unwrap().binding_count(), 100_000);
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}
