use amq_protocol::types::{AMQPValue, FieldArray, LongString};

use super::*;
use crate::broker::arguments::QueueType;
use crate::broker::password::{HashingAlgorithm, PasswordHash};
use crate::broker::user::UserLimits;
use crate::model_testing::Random;

fn name(random: &mut Random) -> Arc<str> {
    let length = random.pick(&[0, 1, 2, 7, 255]);
    (0..length).map(|_| random.pick(&['a', 'b', '.', '\n', '\0', '#'])).collect::<String>().into()
}

fn bytes(random: &mut Random) -> Vec<u8> {
    (0..random.below(9)).map(|_| random.next() as u8).collect()
}

fn table(random: &mut Random, depth: usize) -> FieldTable {
    let mut table = FieldTable::default();
    for _ in 0..random.below(4) {
        let key = name(random);
        table.insert((*key).into(), value(random, depth));
    }
    table
}

fn value(random: &mut Random, depth: usize) -> AMQPValue {
    match random.below(if depth == 0 { 9 } else { 11 }) {
        0 => AMQPValue::Boolean(random.one_in(2)),
        1 => AMQPValue::LongInt(random.next() as i32),
        2 => AMQPValue::LongLongInt(random.next() as i64),
        3 => AMQPValue::LongString(LongString::from(bytes(random))),
        4 => AMQPValue::Double(f64::from_bits(random.next())),
        5 => AMQPValue::Timestamp(random.next()),
        6 => AMQPValue::ByteArray(bytes(random).into()),
        7 => AMQPValue::ShortShortUInt(random.next() as u8),
        8 => AMQPValue::Void,
        9 => AMQPValue::FieldTable(table(random, depth - 1)),
        _ => AMQPValue::FieldArray(FieldArray::from(vec![value(random, depth - 1), value(random, depth - 1)])),
    }
}

fn metadata(random: &mut Random) -> VHostMetadata {
    VHostMetadata {
        description: name(random),
        tags: tags(random),
        default_queue_type: random.pick(&[None, Some(QueueType::Classic), Some(QueueType::Quorum)]),
        protected_from_deletion: random.one_in(2),
    }
}

fn user(random: &mut Random) -> UserDefinition {
    let algorithm = random.pick(&HashingAlgorithm::ALL);
    let hash = vec![random.next() as u8; algorithm.hash_bytes()];
    let mut limit = || random.one_in(2).then(|| random.next() as i64);
    let limits = UserLimits { max_connections: limit(), max_channels: limit() };
    UserDefinition {
        name: name(random),
        password: if random.one_in(4) { None } else { PasswordHash::from_bytes(algorithm, &hash) },
        tags: tags(random),
        limits,
    }
}

fn tags(random: &mut Random) -> Vec<Arc<str>> {
    (0..random.below(4)).map(|_| name(random)).collect()
}

fn owner(random: &mut Random) -> HiddenOwner {
    match random.one_in(2) {
        true => HiddenOwner::Queue(QueueId(random.next())),
        false => HiddenOwner::Exchange { vhost: name(random), name: name(random) },
    }
}

fn json(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => Value::Bool(random.one_in(2)),
        2 => (random.next() as i64).into(),
        3 => random.next().into(),
        4 => f64::from_bits(random.next()).into(),
        5 => name(random).to_string().into(),
        6 => (0..random.below(3)).map(|_| json(random, depth - 1)).collect(),
        _ => (0..random.below(3)).map(|_| (name(random).to_string(), json(random, depth - 1))).collect(),
    }
}

fn definition(random: &mut Random) -> Definition {
    match random.below(10) {
        9 => Definition::Window { id: QueueId(random.next()), owner: owner(random) },
        0 => Definition::VHost { name: name(random), metadata: metadata(random) },
        1 => Definition::User(user(random)),
        5 => Definition::Permission(PermissionDefinition {
            vhost: name(random),
            user: name(random),
            configure: name(random),
            write: name(random),
            read: name(random),
        }),
        6 => Definition::TopicPermission(TopicPermissionDefinition {
            vhost: name(random),
            user: name(random),
            exchange: name(random),
            write: name(random),
            read: name(random),
        }),
        2 => {
            let definition = ExchangeDefinition {
                name: name(random),
                kind: random.pick(&KINDS).0,
                durable: true,
                auto_delete: random.one_in(2),
                internal: random.one_in(2),
                arguments: table(random, 2),
            };
            Definition::Exchange { vhost: name(random), definition }
        }
        3 => {
            let definition = QueueDefinition {
                vhost: name(random),
                name: name(random),
                durable: true,
                auto_delete: random.one_in(2),
                exclusive_owner: None,
                arguments: table(random, 2),
            };
            Definition::Queue { id: QueueId(random.next()), definition }
        }
        4 => Definition::Parameter(Parameter {
            vhost: name(random),
            component: name(random),
            name: name(random),
            value: Arc::new(json(random, 2)),
        }),
        7 => Definition::GlobalParameter { name: name(random), value: Arc::new(json(random, 2)) },
        _ => Definition::Binding(BindingDefinition {
            vhost: name(random),
            source: name(random),
            destination: match random.one_in(2) {
                true => BoundTo::Queue(QueueId(random.next())),
                false => BoundTo::Exchange(name(random)),
            },
            routing_key: bytes(random).into(),
            arguments: table(random, 2),
        }),
    }
}

fn in_words(definition: &Definition) -> String {
    format!("{definition:?} {:?} {:?}", definition.key(), definition.value())
}

#[test]
fn what_is_written_is_read() {
    for seed in 0..2000 {
        let written = definition(&mut Random::new(seed));
        let read = Definition::decode(&written.key(), &written.value());
        assert_eq!(in_words(&read.unwrap()), in_words(&written), "seed {seed}");
    }
}

/// Every kind of damage is an error or another definition, never a panic.
#[test]
fn what_is_damaged_is_refused_or_something_else() {
    for seed in 0..500 {
        let random = &mut Random::new(seed);
        let written = definition(random);
        let (key, value) = (written.key(), written.value());
        for end in 0..key.len() {
            assert!(Definition::decode(&key[..end], &value).is_err(), "seed {seed}: key cut at {end}");
        }
        for end in 0..value.len() {
            assert!(Definition::decode(&key, &value[..end]).is_err(), "seed {seed}: value cut at {end}");
        }
        let longer = |bytes: &[u8]| [bytes, &[0]].concat();
        assert!(Definition::decode(&longer(&key), &value).is_err(), "seed {seed}: key too long");
        assert!(Definition::decode(&key, &longer(&value)).is_err(), "seed {seed}: value too long");
        for _ in 0..50 {
            let (mut key, mut value) = (key.clone(), value.clone());
            let damaged = if random.one_in(2) { &mut key } else { &mut value };
            let at = random.below(damaged.len());
            damaged[at] = random.next() as u8;
            if let Ok(read) = Definition::decode(&key, &value) {
                assert_eq!(read.key(), key, "seed {seed}");
            }
        }
    }
}

/// What the module's head draws, byte by byte: a data directory outlives the program that wrote it.
#[test]
fn rows_have_the_bytes_that_are_documented() {
    let row = |definition: Definition| (definition.key(), definition.value());
    let metadata = VHostMetadata {
        description: "d".into(),
        tags: vec!["t".into()],
        default_queue_type: Some(QueueType::Quorum),
        protected_from_deletion: true,
    };
    let vhost = Definition::VHost { name: "/".into(), metadata };
    assert_eq!(row(vhost), (b"\x01\0\x01/".to_vec(), b"\x02\x01\0\x01d\0\x06quorum\0\x01\0\x01t".to_vec()));

    let password = PasswordHash::from_bytes(HashingAlgorithm::Md5, &[7; 20]);
    let limits = UserLimits { max_connections: None, max_channels: Some(-1) };
    let user = UserDefinition { name: "me".into(), password, tags: vec!["t".into()], limits };
    let value = [&[2, 3][..], &[7; 20], b"\0\x01\0\x01t\x02", &[255; 8]].concat();
    assert_eq!(row(Definition::User(user.clone())), (b"\x02\0\x02me".to_vec(), value));
    let user = UserDefinition { password: None, tags: vec![], limits: UserLimits::default(), ..user };
    assert_eq!(row(Definition::User(user)).1, b"\x02\0\0\0\0");

    let permission = PermissionDefinition {
        vhost: "/".into(),
        user: "me".into(),
        configure: "c".into(),
        write: "".into(),
        read: ".*".into(),
    };
    let value = b"\x01\0\x01c\0\0\0\x02.*".to_vec();
    assert_eq!(row(Definition::Permission(permission)), (b"\x06\0\x01/\0\x02me".to_vec(), value));
    let topic = TopicPermissionDefinition {
        vhost: "/".into(),
        user: "me".into(),
        exchange: "x".into(),
        write: "w".into(),
        read: "r".into(),
    };
    let key = b"\x07\0\x01/\0\x02me\0\x01x".to_vec();
    assert_eq!(row(Definition::TopicPermission(topic)), (key, b"\x01\0\x01w\0\x01r".to_vec()));

    let mut arguments = FieldTable::default();
    arguments.insert("a".into(), AMQPValue::Boolean(true));
    let topic = ExchangeDefinition {
        auto_delete: true,
        internal: true,
        arguments: arguments.clone(),
        ..ExchangeDefinition::durable("x", ExchangeKind::Topic)
    };
    let exchange = Definition::Exchange { vhost: "/".into(), definition: topic };
    assert_eq!(row(exchange), (b"\x03\0\x01/\0\x01x".to_vec(), b"\x01\x03\x03\0\0\0\x04\x01at\x01".to_vec()));

    let definition = QueueDefinition {
        vhost: "/".into(),
        name: "q".into(),
        durable: true,
        auto_delete: false,
        exclusive_owner: None,
        arguments: FieldTable::default(),
    };
    let queue = Definition::Queue { id: QueueId(258), definition };
    assert_eq!(row(queue), (queue_key(QueueId(258)), b"\x01\0\0\x01/\0\x01q\0\0\0\0".to_vec()));
    assert_eq!(queue_key(QueueId(258)), b"\x04\0\0\0\0\0\0\x01\x02");

    let mut binding = BindingDefinition {
        vhost: "/".into(),
        source: "x".into(),
        destination: BoundTo::Queue(QueueId(258)),
        routing_key: (*b"k").into(),
        arguments: FieldTable::default(),
    };
    let key = b"\x05\0\x01/\x04\0\0\0\0\0\0\x01\x02\0\x01x\0\x01k".to_vec();
    assert_eq!(row(Definition::Binding(binding.clone())), (key.clone(), b"\x01\0\0\0\0".to_vec()));
    binding.arguments = arguments;
    let digest = Sha256::digest(b"\0\0\0\x04\x01at\x01");
    let value = b"\x01\0\0\0\x04\x01at\x01".to_vec();
    assert_eq!(row(Definition::Binding(binding)), ([key.as_slice(), &digest].concat(), value));

    let value = Arc::new(serde_json::json!({"a": 1}));
    let parameter = Parameter { vhost: "/".into(), component: "policy".into(), name: "p".into(), value: value.clone() };
    let (key, bytes) = (b"\x08\0\x01/\0\x06policy\0\x01p".to_vec(), b"\x01\0\0\0\x07{\"a\":1}".to_vec());
    assert_eq!(row(Definition::Parameter(parameter)), (key, bytes.clone()));
    assert_eq!(row(Definition::GlobalParameter { name: "g".into(), value }), (b"\x09\0\x01g".to_vec(), bytes));
}

/// Rows from before there were permissions are read, and told apart.
#[test]
fn first_versions_are_read() {
    let vhost = Definition::decode(b"\x01\0\x01/", &[1]).unwrap();
    assert!(matches!(vhost, Definition::VHost { metadata, .. } if metadata == VHostMetadata::default()));
    let (key, value) = (b"\x02\0\x02me", [&[1][..], &[7; 36], b"\0\x01\0\x01t"].concat());
    let Definition::User(user) = Definition::decode(key, &value).unwrap() else { panic!("a user") };
    assert_eq!(user.password, PasswordHash::from_bytes(HashingAlgorithm::Sha256, &[7; 36]));
    assert_eq!((&*user.tags[0], user.limits), ("t", UserLimits::default()));
    assert!(is_user_without_permissions(key, &value));
    assert!(!is_user_without_permissions(key, &Definition::User(user).value()));
    assert!(!is_user_without_permissions(b"\x01\0\x01/", &[1]));
}

#[test]
fn an_error_names_what_cannot_be_read() {
    let exchange = b"\x03\0\x01/\0\x01x";
    let binding = b"\x05\0\x01/\x04\0\0\0\0\0\0\x01\x02\0\x01x\0\x01k";
    let cases: [(&[u8], &[u8], &str); 10] = [
        (exchange, b"\x02", "exchange 'x' in vhost '/' cannot be read: it has version 2"),
        (exchange, b"\x01\x63\0\0\0\0\0", "exchange 'x' in vhost '/' cannot be read: its exchange type is 0x63"),
        (exchange, b"\x01\x01\x04\0\0\0\0", "its flags is 0x04, which this broker does not know"),
        (exchange, b"\x01\x01\0\0\0\0\x02\0?", "its arguments are damaged: unknown field type"),
        (binding, b"\x01\0\0\0\x04\x01at\x01", "a binding from exchange 'x' to the queue with id 258 in vhost '/'"),
        (b"\x01\0\x01\xff", b"\x01", "something with the key 010001ff cannot be read: a name in it is not UTF-8"),
        (
            b"\x08\0\x01/\0\x01c\0\x01n",
            b"\x01\0\0\0\x01{",
            "parameter 'n' of component 'c' in vhost '/' cannot be read",
        ),
        (b"\x09\0\x01n", b"\x02", "global parameter 'n' cannot be read: it has version 2"),
        (b"\x7f", b"", "something with the key 7f cannot be read: its kind is 0x7f"),
        (b"", b"", "cannot be read: it is cut short"),
    ];
    for (key, value, expected) in cases {
        let error = Definition::decode(key, value).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
