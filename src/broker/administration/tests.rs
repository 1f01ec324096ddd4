use std::net::{IpAddr, Ipv4Addr};

use amq_protocol::types::FieldTable;
use serde_json::json;

use super::*;
use crate::broker::ConnectionId;
use crate::broker::connections::OpenConnection;
use crate::broker::outbox::{Demand, Outbox};
use crate::broker::password::HashingAlgorithm;
use crate::broker::permission::Right;
use crate::broker::test_rows::Rows;
use crate::broker::user::{PasswordHash, UserDefinition, UserLimits};
use crate::broker::vhost::{ExchangeDeclare, QueueDeclare};
use crate::config::Config;
use crate::storage::log::Entry;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ME: ConnectionId = ConnectionId(1);

/// A broker whose rows can be looked at.
struct World {
    broker: Arc<Broker>,
    rows: Rows,
}

impl World {
    fn new() -> World {
        World::over(Rows::new())
    }

    fn over(mut rows: Rows) -> World {
        rows.store = Rows::new().store;
        let broker = Broker::open(Config::default(), rows.store.clone(), rows.recovered()).unwrap();
        rows.take();
        World { broker, rows }
    }

    /// What is kept is all there after a restart.
    fn restart(mut self) -> World {
        self.rows.take();
        let World { rows, .. } = self;
        World::over(rows)
    }

    /// How many steps of the log something takes.
    fn steps(&mut self, change: impl FnOnce(&Broker)) -> Vec<Entry> {
        change(&self.broker);
        self.rows.take()
    }
}

fn declare(vhost: &VHost, name: &str) {
    let queue =
        QueueDeclare { name, passive: false, durable: true, exclusive: false, auto_delete: false, arguments: none() };
    vhost.queue_declare(queue, ME).unwrap();
}

fn none() -> FieldTable {
    FieldTable::default()
}

fn text<T>(refused: Result<T, AdminError>) -> String {
    refused.err().expect("an error").to_string()
}

#[test]
fn users_come_change_and_go_and_are_kept() {
    let world = World::new();
    world.broker.add_user("u", "one").unwrap();
    world.broker.set_user_tags("u", &["monitoring", "policymaker", "monitoring"]).unwrap();
    world.broker.set_user_limits("u", &json!({"max-connections": 3})).unwrap();
    world.broker.change_password("u", "two").unwrap();
    let world = world.restart();
    assert!(world.broker.authenticate_user("u", "one").is_err());
    let user = world.broker.users.authenticate("u", b"two", HERE).unwrap();
    assert_eq!(user.tags, ["monitoring".into(), "policymaker".into()]);
    let limits = UserLimits { max_connections: Some(3), max_channels: None };
    assert_eq!(world.broker.user_limits("u"), Ok(limits));
    world.broker.clear_password("u").unwrap();
    world.broker.set_user_tags::<&str>("u", &[]).unwrap();
    let world = world.restart();
    assert!(world.broker.authenticate_user("u", "two").is_err());
    assert!(world.broker.users.get("u").unwrap().tags.is_empty());
    world.broker.delete_user("u").unwrap();
    let names = |world: &World| world.broker.list_users().iter().map(|user| user.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&world), ["guest"]);
    assert_eq!(names(&world.restart()), ["guest"]);
}

#[test]
fn what_is_not_there_is_told_in_rabbitmqs_words() {
    let World { broker, .. } = &World::new();
    assert_eq!(text(broker.add_user("guest", "x")), "User \"guest\" already exists");
    let nobody = "User \"nobody\" does not exist";
    assert_eq!(text(broker.delete_user("nobody")), nobody);
    assert_eq!(text(broker.change_password("nobody", "x")), nobody);
    assert_eq!(text(broker.clear_password("nobody")), nobody);
    assert_eq!(text(broker.set_user_tags("nobody", &["t"])), nobody);
    assert_eq!(text(broker.set_user_limits("nobody", &json!({}))), nobody);
    assert_eq!(text(broker.set_permissions("/", "nobody", "", "", "")), nobody);
    assert_eq!(text(broker.clear_permissions("/", "nobody")), nobody);
    assert_eq!(text(broker.set_topic_permissions("/", "nobody", "x", "", "")), nobody);
    assert_eq!(text(broker.list_permissions(None, Some("nobody"))), nobody);
    let nowhere = "Virtual host 'nowhere' does not exist";
    assert_eq!(text(broker.delete_vhost("nowhere")), nowhere);
    assert_eq!(text(broker.update_vhost_metadata("nowhere", VHostChange::default())), nowhere);
    assert_eq!(text(broker.set_permissions("nowhere", "guest", "", "", "")), nowhere);
    assert_eq!(text(broker.clear_topic_permissions("nowhere", "guest", None)), nowhere);
    assert_eq!(text(broker.list_topic_permissions(Some("nowhere"), None)), nowhere);
    let failed = "Error: failed to authenticate user \"guest\"\nuser 'guest' - invalid credentials";
    assert_eq!(text(broker.authenticate_user("guest", "no")), failed);
}

#[test]
fn names_tags_and_limits_have_limits() {
    let World { broker, .. } = &World::new();
    let long = "x".repeat(256);
    for name in ["", &long] {
        let bytes = "has to have from 1 to 255 bytes";
        assert_eq!(text(broker.add_user(name, "x")), format!("the name of a user {bytes}"));
        assert_eq!(text(broker.add_vhost(name, VHostChange::default())), format!("the name of a virtual host {bytes}"));
        assert_eq!(text(broker.set_user_tags("guest", &[name])), format!("a tag {bytes}"));
    }
    let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    assert_eq!(text(broker.set_user_tags("guest", &many)), "there can be 64 tags at most");
    let description = "x".repeat(4097);
    let change = VHostChange { description: Some(&description), ..VHostChange::default() };
    assert_eq!(text(broker.update_vhost_metadata("/", change)), "a description can have 4096 bytes at most");
    let limits = |value| text(broker.set_user_limits("guest", &value));
    assert_eq!(limits(json!({"max-foo": 1})), "Unrecognised terms [{<<\"max-foo\">>,1}] in user-limits");
    assert_eq!(limits(json!({"max-channels": "x"})), "max-channels should be a number, actually was \"x\"");
    assert_eq!(limits(json!([])), "User limits have to be a JSON object");
}

#[test]
fn limits_are_merged_and_lifted_one_by_one() {
    let World { broker, .. } = &World::new();
    broker.set_user_limits("guest", &json!({"max-connections": 1, "max-channels": 2})).unwrap();
    broker.set_user_limits("guest", &json!({"max-channels": -1})).unwrap();
    let limits = || broker.user_limits("guest").unwrap().to_json();
    assert_eq!(limits(), json!({"max-connections": 1, "max-channels": -1}));
    broker.clear_user_limits("guest", "max-channels").unwrap();
    broker.clear_user_limits("guest", "max-foo").unwrap();
    assert_eq!(limits(), json!({"max-connections": 1}));
    broker.clear_user_limits("guest", "all").unwrap();
    assert_eq!(limits(), json!({}));
}

#[test]
fn users_are_put_with_their_hashes_whatever_the_algorithm() {
    let mut world = World::new();
    // Salt 01 02 03 04, password secret.
    let hashes = [
        (HashingAlgorithm::Md5, "AQIDBDgk9ci8Lfh6CKE9Y0AUfmU="),
        (
            HashingAlgorithm::Sha512,
            "AQIDBPhTH2L5HGYB1LWOrn+YpvuQmVOXKGqgsuiJRIZTILRoEvblSJo/WAsym3IZTfuaIaK5KR2o5KwFfTv6KsxfMIE=",
        ),
    ];
    for (algorithm, hash) in hashes {
        let password = PasswordHash::decode_as(algorithm, hash).unwrap();
        let put = |broker: &Broker| broker.put_user(UserDefinition::new("u", password, vec!["t".into()])).unwrap();
        assert_eq!(world.steps(put).len(), 1);
        assert!(world.steps(put).is_empty(), "nothing has changed");
        world = world.restart();
        assert_eq!(world.broker.authenticate_user("u", "secret"), Ok(()));
    }
}

#[test]
fn virtual_hosts_come_change_and_are_kept() {
    let world = World::new();
    let metadata = VHostChange {
        description: Some("for tests"),
        tags: Some(&["a", "b"]),
        default_queue_type: Some("quorum"),
        protected_from_deletion: Some(true),
    };
    assert_eq!(world.broker.add_vhost("v", metadata), Ok(true));
    assert_eq!(world.broker.add_vhost("v", VHostChange::default()), Ok(false), "nothing changes");
    let world = world.restart();
    let found = world.broker.vhost("v").unwrap().metadata();
    assert_eq!((&*found.description, found.tags.len(), found.protected_from_deletion), ("for tests", 2, true));
    let protected = "Cannot delete this virtual host: it is protected from deletion. \
                     To lift the protection, inspect and update its metadata";
    assert_eq!(text(world.broker.delete_vhost("v")), protected);
    let lifted =
        VHostChange { protected_from_deletion: Some(false), default_queue_type: Some(""), ..VHostChange::default() };
    world.broker.update_vhost_metadata("v", lifted).unwrap();
    let world = world.restart();
    let found = world.broker.vhost("v").unwrap().metadata();
    assert_eq!((&*found.description, found.default_queue_type), ("for tests", None));
    world.broker.delete_vhost("v").unwrap();
    assert!(world.broker.vhost("v").is_none());
    let bad = VHostChange { default_queue_type: Some("foo"), ..VHostChange::default() };
    assert_eq!(text(world.broker.add_vhost("w", bad)), "Unsupported default queue type");
    let names = |world: &World| world.broker.list_vhosts().iter().map(|v| v.name().to_string()).collect::<Vec<_>>();
    assert_eq!(names(&world.restart()), ["/"]);
}

#[test]
fn a_virtual_host_goes_with_all_that_is_in_it() {
    let mut world = World::new();
    let before = world.rows.rows.clone();
    world.broker.add_vhost("v", VHostChange::default()).unwrap();
    world.broker.set_permissions("v", "guest", "a", "b", "c").unwrap();
    world.broker.set_topic_permissions("v", "guest", "x", "b", "c").unwrap();
    let vhost = world.broker.vhost("v").unwrap();
    for name in ["q", "p"] {
        declare(&vhost, name);
        vhost.queue_bind(name, "amq.topic", b"k", none(), ME).unwrap();
    }
    let exchange = |name, auto_delete| ExchangeDeclare {
        name,
        kind: "fanout",
        passive: false,
        durable: true,
        auto_delete,
        internal: false,
        arguments: none(),
    };
    vhost.exchange_declare(exchange("x", false)).unwrap();
    vhost.exchange_declare(exchange("y", true)).unwrap();
    for (destination, source) in [("x", "y"), ("y", "x"), ("x", "amq.fanout"), ("amq.fanout", "x")] {
        vhost.exchange_bind(destination, source, b"", none()).unwrap();
    }
    vhost.queue_bind("q", "y", b"", none(), ME).unwrap();
    world.rows.take();
    let found = vhost.find_queue("q").unwrap();
    world.broker.delete_vhost("v").unwrap();
    assert!(found.is_dead());
    world.rows.take();
    assert_eq!(world.rows.rows, before, "no row is left");
    let gone = vhost.exchange_declare(exchange("z", false)).unwrap_err();
    assert_eq!(gone.to_string(), "320 CONNECTION_FORCED - vhost 'v' is deleted");
    let queue = QueueDeclare {
        name: "z",
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: none(),
    };
    assert_eq!(vhost.queue_declare(queue, ME).unwrap_err(), gone);
    vhost.remove_queue(&found);
    assert!(world.rows.take().is_empty(), "who finds the queue dead later changes nothing");
    assert!(world.broker.permissions.of_user("guest").iter().all(|permission| permission.is_full()));
}

#[test]
fn permissions_are_set_cleared_listed_and_kept() {
    let world = World::new();
    world.broker.add_user("u", "p").unwrap();
    world.broker.add_vhost("v", VHostChange::default()).unwrap();
    world.broker.set_permissions("/", "u", "^a", "^b", "").unwrap();
    world.broker.set_permissions_globally("u", "1", "2", "3").unwrap();
    world.broker.set_permissions("/", "u", "^a", "^b", "").unwrap();
    world.broker.set_topic_permissions("v", "u", "amq.topic", "^{username}", "^{vhost}").unwrap();
    let world = world.restart();
    let listed = |world: &World, vhost, user| {
        let all = world.broker.list_permissions(vhost, user).unwrap().into_iter();
        all.map(|p| format!("{} {} {} {} {}", p.vhost, p.user, p.configure, p.write, p.read)).collect::<Vec<_>>()
    };
    assert_eq!(listed(&world, None, Some("u")), ["/ u ^a ^b ", "v u 1 2 3"]);
    assert_eq!(listed(&world, Some("/"), None), ["/ guest .* .* .*", "/ u ^a ^b "]);
    let topics = world.broker.list_topic_permissions(Some("v"), None).unwrap();
    assert_eq!((&*topics[0].exchange, &*topics[0].write), ("amq.topic", "^{username}"));
    let grant = world.broker.permissions.grant("v", "u");
    assert!(grant.topics["amq.topic"].write.matches("user") && !grant.topics["amq.topic"].read.matches("user"));
    assert!(grant.permission.as_ref().unwrap().pattern(Right::Write).matches("x2"));

    world.broker.clear_permissions("v", "u").unwrap();
    world.broker.clear_permissions("v", "u").unwrap();
    world.broker.clear_topic_permissions("v", "u", Some("other")).unwrap();
    let world = world.restart();
    assert_eq!(listed(&world, None, Some("u")), ["/ u ^a ^b "]);
    assert_eq!(world.broker.list_topic_permissions(None, None).unwrap().len(), 1);
    world.broker.clear_topic_permissions("v", "u", None).unwrap();
    let world = world.restart();
    assert!(world.broker.list_topic_permissions(None, None).unwrap().is_empty());
}

#[test]
fn what_is_no_regular_expression_changes_nothing() {
    let mut world = World::new();
    for (configure, write, read) in [("(", "", ""), ("", "[", ""), ("", "", "*")] {
        let steps = world.steps(|broker| {
            let refused = text(broker.set_permissions("/", "guest", configure, write, read));
            assert!(refused.starts_with("invalid regular expression '"), "{refused}");
        });
        assert!(steps.is_empty());
    }
    assert!(text(world.broker.set_topic_permissions("/", "guest", "x", "(", "")).starts_with("invalid regular"));
    assert!(world.broker.permissions.of_user("guest")[0].is_full());
}

#[test]
fn a_user_takes_its_permissions_along_in_one_step() {
    let mut world = World::new();
    let before = world.rows.rows.clone();
    world.broker.add_user("u", "p").unwrap();
    world.broker.set_permissions("/", "u", "", "", "").unwrap();
    world.broker.set_topic_permissions("/", "u", "x", "", "").unwrap();
    world.rows.take();
    let steps = world.steps(|broker| broker.delete_user("u").unwrap());
    assert_eq!(steps.len(), 1);
    assert_eq!(world.rows.rows, before);
    world.broker.add_user("u", "p").unwrap();
    assert!(world.broker.list_permissions(None, Some("u")).unwrap().is_empty());
}

/// What a connection finds in its outbox: the reasons for which it is to close.
fn reasons(outbox: &Outbox) -> Vec<String> {
    let reason = |demand| if let Demand::Close { reason } = demand { Some(reason) } else { None };
    outbox.take_demands().into_iter().filter_map(reason).collect()
}

/// Enters a connection of a user, and returns its outbox.
fn enter(broker: &Broker, user: &str, vhost: &str) -> (Arc<Outbox>, crate::broker::admission::Admission) {
    let admission = broker.admit(&broker.users.get(user).unwrap(), vhost).unwrap();
    let outbox: Arc<Outbox> = Arc::default();
    let (user, vhost) = (admission.user.clone(), admission.vhost.clone());
    let open = OpenConnection::for_test(broker.new_connection_id(), user, vhost, outbox.clone());
    broker.register(open, &admission.slot);
    (outbox, admission)
}

#[test]
fn connections_are_closed_with_their_user_and_virtual_host() {
    let World { broker, .. } = &World::new();
    broker.add_vhost("v", VHostChange::default()).unwrap();
    for user in ["a", "b"] {
        broker.add_user(user, "p").unwrap();
        broker.set_permissions_globally(user, ".*", ".*", ".*").unwrap();
    }
    let (of_a, _slot) = enter(broker, "a", "/");
    let (of_b, _slot) = enter(broker, "b", "/");
    let (in_v, _slot) = enter(broker, "b", "v");
    broker.delete_user("a").unwrap();
    assert_eq!(reasons(&of_a), ["user 'a' is deleted"]);
    broker.delete_vhost("v").unwrap();
    assert_eq!(reasons(&in_v), ["vhost 'v' is deleted"]);
    assert!(reasons(&of_b).is_empty());
}

#[test]
fn who_was_let_in_before_the_user_or_virtual_host_went_is_closed_when_it_is_entered() {
    let World { broker, .. } = &World::new();
    broker.add_vhost("v", VHostChange::default()).unwrap();
    broker.add_user("a", "p").unwrap();
    broker.set_permissions_globally("a", ".*", ".*", ".*").unwrap();
    let admit = |vhost| broker.admit(&broker.users.get("a").unwrap(), vhost).unwrap();
    let (late, later) = (admit("v"), admit("/"));
    let register = |admission: &crate::broker::admission::Admission| {
        let outbox: Arc<Outbox> = Arc::default();
        let (user, vhost) = (admission.user.clone(), admission.vhost.clone());
        let open = OpenConnection::for_test(broker.new_connection_id(), user, vhost, outbox.clone());
        broker.register(open, &admission.slot);
        reasons(&outbox)
    };
    broker.delete_vhost("v").unwrap();
    broker.add_vhost("v", VHostChange::default()).unwrap();
    assert_eq!(register(&late), ["vhost 'v' is deleted"]);
    broker.delete_user("a").unwrap();
    broker.add_user("a", "p").unwrap();
    assert_eq!(register(&later), ["user 'a' is deleted"]);
}

#[test]
fn letting_in_is_refused_in_order() {
    let World { broker, .. } = &World::new();
    broker.add_user("u", "p").unwrap();
    let user = broker.users.get("u").unwrap();
    let refused = |vhost| broker.admit(&user, vhost).err().map(|fault| fault.reply_text()).unwrap_or_default();
    broker.set_user_limits("u", &json!({"max-connections": 0})).unwrap();
    assert_eq!(refused("no"), "NOT_ALLOWED - vhost no not found");
    let limited = "NOT_ALLOWED - connection refused for user 'u': user connection limit (0) is reached";
    assert_eq!(refused("/"), limited);
    broker.set_user_limits("u", &json!({"max-connections": 1})).unwrap();
    assert_eq!(refused("/"), "NOT_ALLOWED - access to vhost '/' refused for user 'u'");
    broker.set_permissions("/", "u", "", "", "").unwrap();
    let admission = broker.admit(&user, "/").unwrap();
    assert_eq!(refused("/"), limited.replace("(0)", "(1)"));
    drop(admission);
    assert_eq!(refused("/"), "");
    broker.delete_user("u").unwrap();
    assert_eq!(refused("/"), "NOT_ALLOWED - access to vhost '/' refused for user 'u'");
}
