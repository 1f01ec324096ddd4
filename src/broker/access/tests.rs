use super::*;
use crate::broker::exchange::ExchangeDefinition;
use crate::broker::permission::{PermissionDefinition, TopicPermissionDefinition};

fn permissions(configure: &str, write: &str, read: &str) -> Permissions {
    let permissions = Permissions::default();
    let definition = PermissionDefinition {
        vhost: "/".into(),
        user: "u".into(),
        configure: configure.into(),
        write: write.into(),
        read: read.into(),
    };
    permissions.put(&definition).unwrap();
    permissions
}

fn access(permissions: &Permissions) -> Access {
    let user = Arc::new(User { name: "u".into(), tags: Vec::new() });
    Access::new(permissions, &"/".into(), &user)
}

fn refused(checked: Result<(), Fault>) -> String {
    checked.err().map(|fault| fault.reply_text()).unwrap_or_default()
}

#[test]
fn each_right_has_its_pattern_and_text() {
    let access = access(&permissions("^c", "^w", "^r"));
    let caller = Caller::new(ConnectionId(1), &access);
    for (allowed, denied) in [
        (caller.configure_queue("c"), caller.configure_queue("w")),
        (caller.write_queue("w"), caller.write_queue("r")),
        (caller.read_queue("r"), caller.read_queue("c")),
        (caller.configure_exchange("c"), caller.configure_exchange("w")),
        (caller.write_exchange("w"), caller.write_exchange("r")),
        (caller.read_exchange("r"), caller.read_exchange("c")),
    ] {
        assert_eq!(allowed, Ok(()));
        assert!(denied.is_err());
    }
    let text = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'";
    assert_eq!(refused(caller.read_queue("q")), text);
    let text = "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'u'";
    assert_eq!(refused(caller.write_exchange("")), text);
}

#[test]
fn the_broker_and_a_connection_by_its_id_may_do_everything() {
    assert_eq!(Caller::BROKER.configure_queue("q"), Ok(()));
    assert_eq!(Caller::from(ConnectionId(1)).write_exchange(""), Ok(()));
}

#[test]
fn without_a_permission_nothing_is_allowed() {
    let access = access(&Permissions::default());
    assert!(!access.is_granted());
    assert!(Caller::new(ConnectionId(1), &access).read_queue("q").is_err());
}

#[test]
fn topics_are_narrowed_on_topic_exchanges_only() {
    let permissions = permissions(".*", ".*", ".*");
    let topic = |exchange: &str| TopicPermissionDefinition {
        vhost: "/".into(),
        user: "u".into(),
        exchange: exchange.into(),
        write: r"^{username}\.{client_id}\.".into(),
        read: "".into(),
    };
    permissions.put_topic(&topic("t")).unwrap();
    permissions.put_topic(&topic("d")).unwrap();
    let access = access(&permissions);
    let caller = Caller::new(ConnectionId(1), &access);
    let exchange = |name: &str, kind| Exchange::new(ExchangeDefinition::durable(name, kind));
    let (narrowed, free) = (exchange("t", ExchangeKind::Topic), exchange("s", ExchangeKind::Topic));
    assert_eq!(caller.write_topic(&narrowed, b"u.{client_id}.x"), Ok(()));
    let text = "ACCESS_REFUSED - access to topic 'u.x' in exchange 't' in vhost '/' refused for user 'u'";
    assert_eq!(refused(caller.write_topic(&narrowed, b"u.x")), text);
    assert!(caller.read_topic(&narrowed, b"k").is_err());
    assert_eq!(caller.read_topic(&narrowed, b""), Ok(()));
    assert_eq!(caller.write_topic(&free, b"u.x"), Ok(()));
    assert_eq!(caller.write_topic(&exchange("d", ExchangeKind::Direct), b"u.x"), Ok(()));
}

#[test]
fn changes_are_noticed() {
    let permissions = permissions("", "", "");
    let access = access(&permissions);
    assert!(access.is_current(&permissions));
    permissions.remove_user("u");
    assert!(!access.is_current(&permissions));
}

#[test]
fn what_is_remembered_is_bounded() {
    let access = access(&permissions("^q", "^q", "^q"));
    for _ in 0..2 {
        for n in 0..100 {
            assert!(access.allows(Right::Read, &format!("q{n}")));
            assert!(!access.allows(Right::Read, &format!("p{n}")));
        }
    }
    assert_eq!(access.allowed.borrow().len(), PERMISSION_CACHE_MAX);
    assert!(access.remembers(Right::Read, "q99") && !access.remembers(Right::Write, "q99"));
    assert!(!access.remembers(Right::Read, "q1"));
}
