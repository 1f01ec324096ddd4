use amq_protocol::types::{AMQPValue, FieldTable};

use super::*;
use crate::broker::ConnectionId;
use crate::broker::binding::DestinationId;
use crate::error::ReplyCode::{self, AccessRefused, NotFound, PreconditionFailed, ResourceLocked};
use crate::error::Scope;

mod model;
mod races;

const ME: ConnectionId = ConnectionId(1);
const OTHER: ConnectionId = ConnectionId(2);

const LOCKED: &str = "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally \
                      declared on another connection or the exclusive property value does not match that of the \
                      original declaration.";

fn exchange<'a>(name: &'a str, kind: &'a str) -> ExchangeDeclare<'a> {
    ExchangeDeclare {
        name,
        kind,
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    }
}

fn queue(name: &str) -> QueueDeclare<'_> {
    QueueDeclare {
        name,
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
    }
}

fn none() -> FieldTable {
    FieldTable::default()
}

fn field(name: &str, value: AMQPValue) -> FieldTable {
    let mut table = none();
    table.insert(name.into(), value);
    table
}

/// Code and text of an error that is expected.
fn refused<T>(result: Result<T, Fault>) -> (u16, String) {
    let fault = result.err().expect("an error");
    assert_eq!(fault.scope, Scope::Channel);
    (fault.code as u16, fault.text)
}

fn told(code: ReplyCode, text: &str) -> (u16, String) {
    (code as u16, text.to_owned())
}

#[test]
fn has_the_predeclared_exchanges() {
    let vhost = VHost::new("/");
    let mut exchanges = vhost.exchanges();
    exchanges.sort_by(|a, b| a.name.cmp(&b.name));
    let described: Vec<_> = exchanges.iter().map(|x| (&*x.name, x.kind.name(), x.durable, x.internal)).collect();
    assert_eq!(
        described,
        [
            ("", "direct", true, false),
            ("amq.direct", "direct", true, false),
            ("amq.fanout", "fanout", true, false),
            ("amq.headers", "headers", true, false),
            ("amq.match", "headers", true, false),
            ("amq.rabbitmq.trace", "topic", true, true),
            ("amq.topic", "topic", true, false),
        ]
    );
    let mut again = exchange("amq.direct", "direct");
    again.durable = true;
    assert_eq!(vhost.exchange_declare(again), Ok(()));
}

#[test]
fn declaring_exchanges_is_refused_in_order() {
    let vhost = VHost::new("/");
    let declare = |name, kind| refused(vhost.exchange_declare(exchange(name, kind)));
    let default = told(AccessRefused, "operation not permitted on the default exchange");
    assert_eq!(declare("", "no"), told(PreconditionFailed, "unknown exchange type 'no'"));
    assert_eq!(declare("", "direct"), default);
    assert_eq!(declare("\r\n", "direct"), default);
    let reserved = told(AccessRefused, "exchange name 'amq.x' contains reserved prefix 'amq.*'");
    assert_eq!(declare("amq.x", "direct"), reserved);
    let mut wrong = exchange("x", "direct");
    wrong.arguments = field("alternate-exchange", AMQPValue::LongInt(5));
    let text = "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'x' in vhost '/'";
    assert_eq!(refused(vhost.exchange_declare(wrong.clone())), told(PreconditionFailed, text));
    wrong.name = "amq.x";
    assert_eq!(refused(vhost.exchange_declare(wrong)), reserved);
    let text = "inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': \
                received 'fanout' but current is 'direct'";
    assert_eq!(declare("amq.direct", "fanout"), told(PreconditionFailed, text));
}

#[test]
fn passive_declarations_look_at_the_name_only() {
    let vhost = VHost::new("/");
    let passive = |name| vhost.exchange_declare(ExchangeDeclare { passive: true, ..exchange(name, "no") });
    assert_eq!(passive("amq.topic"), Ok(()));
    assert_eq!(refused(passive("x")), told(NotFound, "no exchange 'x' in vhost '/'"));
    assert_eq!(refused(passive("")), told(AccessRefused, "operation not permitted on the default exchange"));

    let passive = |name| {
        let arguments = field("x-message-ttl", AMQPValue::Void);
        let declare = QueueDeclare { passive: true, durable: true, exclusive: true, arguments, ..queue(name) };
        vhost.queue_declare(declare, ME)
    };
    assert_eq!(refused(passive("q")), told(NotFound, "no queue 'q' in vhost '/'"));
    assert_eq!(refused(passive("")), told(NotFound, "no queue '' in vhost '/'"));
    assert_eq!(refused(passive("amq.x")), told(NotFound, "no queue 'amq.x' in vhost '/'"));
    let declared = vhost.queue_declare(queue("q"), ME).unwrap();
    assert!(Arc::ptr_eq(&passive("q").unwrap(), &declared));
}

#[test]
fn deleting_exchanges() {
    let vhost = VHost::new("/");
    let text = "operation not permitted on the default exchange";
    assert_eq!(refused(vhost.exchange_delete("", false)), told(AccessRefused, text));
    let text = "deletion of system exchange 'amq.no' in vhost '/' not allowed";
    assert_eq!(refused(vhost.exchange_delete("amq.no", false)), told(AccessRefused, text));
    assert_eq!(vhost.exchange_delete("x", true), Ok(()));
    vhost.exchange_declare(exchange("x", "direct")).unwrap();
    vhost.exchange_bind("x", "amq.fanout", b"", none()).unwrap();
    vhost.exchange_bind("amq.fanout", "x", b"", none()).unwrap();
    let in_use = told(PreconditionFailed, "exchange 'x' in vhost '/' in use");
    assert_eq!(refused(vhost.exchange_delete("x", true)), in_use);
    vhost.exchange_unbind("amq.fanout", "x", b"", none()).unwrap();
    assert_eq!(vhost.exchange_delete("x\n", true), Ok(()), "to be a destination is not to be in use");
    assert!(vhost.find_exchange("x").is_none());
    assert_eq!(vhost.find_exchange("amq.fanout").unwrap().binding_count(), 0);
}

#[test]
fn publishing_needs_an_exchange_that_is_not_internal() {
    let vhost = VHost::new("/");
    let text = "cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'";
    assert_eq!(refused(vhost.exchange_to_publish("amq.rabbitmq.trace")), told(AccessRefused, text));
    assert_eq!(refused(vhost.exchange_to_publish("x")), told(NotFound, "no exchange 'x' in vhost '/'"));
    assert!(vhost.exchange_to_publish("").unwrap().is_default());
}

#[test]
fn the_server_names_queues() {
    let vhost = VHost::new("/");
    let (a, b) = (vhost.queue_declare(queue(""), ME).unwrap(), vhost.queue_declare(queue("\r"), ME).unwrap());
    assert_ne!(a.name(), b.name());
    let random = a.name().strip_prefix("amq.gen-").unwrap();
    assert_eq!(random.len(), 22);
    assert!(random.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
    let quorum = field("x-queue-type", AMQPValue::LongString("quorum".into()));
    let text = "Cannot declare a server-named queue for type rabbit_quorum_queue";
    let named = vhost.queue_declare(QueueDeclare { arguments: quorum, ..queue("") }, ME);
    assert_eq!(refused(named), told(PreconditionFailed, text));
}

#[test]
fn line_ends_do_not_count_in_names() {
    let vhost = VHost::new("/");
    let declared = vhost.queue_declare(queue("a\r\nb"), ME).unwrap();
    assert_eq!(&**declared.name(), "ab");
    vhost.exchange_declare(exchange("x\n", "direct")).unwrap();
    assert_eq!(vhost.queue_bind("a\nb", "\rx", b"k\r", none(), ME), Ok(()));
    assert_eq!(&*vhost.bindings_to(DestinationId::Queue(declared.id))[0].routing_key, b"k\r");
    assert_eq!(refused(vhost.queue("a\nb", ME)), told(NotFound, "no queue 'a\nb' in vhost '/'"));
    assert_eq!(vhost.queue_delete("a\rb", false, false, ME), Ok(0));
    assert!(vhost.find_queue("ab").is_none());
}

#[test]
fn names_of_the_server_are_reserved() {
    let vhost = VHost::new("/");
    let named = vhost.queue_declare(queue(""), ME).unwrap();
    let again = refused(vhost.queue_declare(queue(named.name()), ME));
    let text = format!("queue name '{}' contains reserved prefix 'amq.*'", named.name());
    assert_eq!(again, told(AccessRefused, &text), "even if it exists");
    let mut passive = queue(named.name());
    passive.passive = true;
    assert!(vhost.queue_declare(passive, ME).is_ok());
}

#[test]
fn exclusive_queues_are_their_connections_and_not_durable() {
    let vhost = VHost::new("/");
    let exclusive = || QueueDeclare { exclusive: true, durable: true, ..queue("q") };
    let declared = vhost.queue_declare(exclusive(), ME).unwrap();
    assert_eq!(declared.definition.exclusive_owner, Some(ME));
    assert!(!declared.definition.durable);
    assert!(Arc::ptr_eq(&vhost.queue_declare(exclusive(), ME).unwrap(), &declared));
    let mut transient = exclusive();
    transient.durable = false;
    assert!(vhost.queue_declare(transient, ME).is_ok());
    let locked = told(ResourceLocked, LOCKED);
    assert_eq!(refused(vhost.queue_declare(exclusive(), OTHER)), locked);
    assert_eq!(refused(vhost.queue_declare(queue("q"), ME)), locked, "it is not as exclusive as declared");
    assert_eq!(refused(vhost.queue_declare(QueueDeclare { passive: true, ..queue("q") }, OTHER)), locked);
    assert_eq!(refused(vhost.queue("q", OTHER)), locked);
    assert_eq!(refused(vhost.queue_delete("q", true, true, OTHER)), locked);
    assert_eq!(refused(vhost.queue_bind("q", "amq.fanout", b"", none(), OTHER)), locked);
    assert_eq!(vhost.queue_unbind("q", "amq.fanout", b"", none(), OTHER), Ok(()), "there is no such binding");
    vhost.queue_bind("q", "amq.fanout", b"", none(), ME).unwrap();
    assert_eq!(refused(vhost.queue_unbind("q", "amq.fanout", b"", none(), OTHER)), locked);
}

#[test]
fn a_queue_declared_as_exclusive_later_is_locked() {
    let vhost = VHost::new("/");
    vhost.queue_declare(queue("q"), ME).unwrap();
    let declare = QueueDeclare { exclusive: true, auto_delete: true, ..queue("q") };
    assert_eq!(refused(vhost.queue_declare(declare, ME)), told(ResourceLocked, LOCKED));
}

#[test]
fn arguments_of_a_queue_that_exists_are_compared_not_validated() {
    let vhost = VHost::new("/");
    vhost.queue_declare(queue("q"), ME).unwrap();
    let declare = |arguments| refused(vhost.queue_declare(QueueDeclare { arguments, ..queue("q") }, ME));
    let text = "inequivalent arg 'x-dead-letter-exchange' for queue 'q' in vhost '/': \
                received the value '5' of type 'signedint' but current is none";
    assert_eq!(declare(field("x-dead-letter-exchange", AMQPValue::LongInt(5))), told(PreconditionFailed, text));
    let durable = QueueDeclare { durable: true, auto_delete: true, ..queue("q") };
    let text = "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'";
    assert_eq!(refused(vhost.queue_declare(durable, ME)), told(PreconditionFailed, text));
}

#[test]
fn binding_is_refused_in_order() {
    let vhost = VHost::new("/");
    let bind =
        |queue, exchange, arguments, connection| refused(vhost.queue_bind(queue, exchange, b"", arguments, connection));
    let default = told(AccessRefused, "operation not permitted on the default exchange");
    assert_eq!(bind("amq.rabbitmq.reply-to", "", none(), ME), default);
    for name in ["amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.x", "amq.direct.reply-to"] {
        let volatile = told(AccessRefused, "cannot bind or unbind to a volatile (direct reply-to) queue");
        assert_eq!(bind(name, "no", none(), ME), volatile);
        assert_eq!(refused(vhost.queue_unbind(name, "no", b"", none(), ME)), volatile);
    }
    assert_eq!(bind("no", "no", none(), ME), told(NotFound, "no exchange 'no' in vhost '/'"));
    assert_eq!(bind("no", "amq.headers", none(), ME), told(NotFound, "no queue 'no' in vhost '/'"));
    vhost.queue_declare(QueueDeclare { exclusive: true, ..queue("q") }, ME).unwrap();
    let form = || field("x-match", AMQPValue::LongString("foo".into()));
    let text = "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x";
    assert_eq!(bind("q", "amq.headers", form(), OTHER), told(PreconditionFailed, text));
    assert_eq!(vhost.queue_unbind("q", "amq.headers", b"", form(), ME), Ok(()));
    assert_eq!(vhost.queue_bind("q", "amq.direct", b"", form(), ME), Ok(()), "only headers exchanges look");

    let link = |destination, source| refused(vhost.exchange_bind(destination, source, b"", none()));
    assert_eq!(link("", "no"), default);
    assert_eq!(link("no", ""), default);
    assert_eq!(link("no", "gone"), told(NotFound, "no exchange 'gone' in vhost '/'"));
    assert_eq!(link("no", "amq.direct"), told(NotFound, "no exchange 'no' in vhost '/'"));
    assert_eq!(refused(vhost.exchange_unbind("", "no", b"", none())), default);
    assert_eq!(refused(vhost.exchange_unbind("no", "", b"", none())), default);
}

#[test]
fn what_is_not_there_is_unbound_and_deleted() {
    let vhost = VHost::new("/");
    vhost.queue_declare(queue("q"), ME).unwrap();
    assert_eq!(vhost.queue_unbind("no", "no", b"", none(), ME), Ok(()));
    assert_eq!(vhost.queue_unbind("q", "no", b"", none(), ME), Ok(()));
    assert_eq!(vhost.queue_unbind("q", "amq.direct", b"", none(), ME), Ok(()));
    assert_eq!(vhost.exchange_unbind("no", "amq.direct", b"", none()), Ok(()));
    assert_eq!(vhost.queue_delete("no", true, true, ME), Ok(0));
    assert_eq!(vhost.queue_delete("amq.rabbitmq.reply-to", true, true, ME), Ok(0));
}

#[test]
fn bindings_differ_in_arguments_and_go_one_by_one() {
    let vhost = VHost::new("/");
    vhost.queue_declare(queue("q"), ME).unwrap();
    let source = vhost.find_exchange("amq.direct").unwrap();
    let arguments = || field("a", AMQPValue::LongInt(1));
    for _ in 0..2 {
        vhost.queue_bind("q", "amq.direct", b"k", none(), ME).unwrap();
        vhost.queue_bind("q", "amq.direct", b"k", arguments(), ME).unwrap();
    }
    assert_eq!(source.binding_count(), 2);
    vhost.queue_unbind("q", "amq.direct", b"k", arguments(), ME).unwrap();
    assert_eq!(source.bindings().len(), 1);
    assert!(source.bindings()[0].arguments.inner().is_empty());
}

fn declare_auto_delete(vhost: &VHost, name: &str) {
    vhost.exchange_declare(ExchangeDeclare { auto_delete: true, ..exchange(name, "fanout") }).unwrap();
}

#[test]
fn auto_delete_exchanges_go_with_their_last_binding() {
    let vhost = VHost::new("/");
    declare_auto_delete(&vhost, "x");
    vhost.queue_declare(queue("q"), ME).unwrap();
    vhost.queue_bind("q", "x", b"1", none(), ME).unwrap();
    vhost.queue_bind("q", "x", b"2", none(), ME).unwrap();
    vhost.queue_unbind("q", "x", b"1", none(), ME).unwrap();
    assert!(vhost.find_exchange("x").is_some());
    vhost.queue_unbind("q", "x", b"2", none(), ME).unwrap();
    assert!(vhost.find_exchange("x").is_none());
}

#[test]
fn auto_delete_goes_along_chains_and_circles() {
    let vhost = VHost::new("/");
    let count = vhost.exchanges().len();
    for n in 0..100 {
        declare_auto_delete(&vhost, &format!("x{n}"));
    }
    for n in 1..100 {
        vhost.exchange_bind(&format!("x{n}"), &format!("x{}", n - 1), b"", none()).unwrap();
    }
    vhost.queue_declare(queue("q"), ME).unwrap();
    vhost.queue_bind("q", "x99", b"", none(), ME).unwrap();
    vhost.queue_delete("q", false, false, ME).unwrap();
    assert_eq!(vhost.exchanges().len(), count);

    declare_auto_delete(&vhost, "a");
    declare_auto_delete(&vhost, "b");
    for (destination, source) in [("a", "a"), ("b", "a"), ("a", "b")] {
        vhost.exchange_bind(destination, source, b"", none()).unwrap();
    }
    vhost.exchange_delete("b", false).unwrap();
    assert!(vhost.find_exchange("a").is_some(), "it is bound to itself");
    vhost.exchange_unbind("a", "a", b"", none()).unwrap();
    assert!(vhost.find_exchange("a").is_none());
}

#[test]
fn a_queue_takes_its_bindings_along() {
    let vhost = VHost::new("/");
    let q = vhost.queue_declare(queue("q"), ME).unwrap();
    vhost.queue_declare(queue("p"), ME).unwrap();
    for n in 0..3000u32 {
        vhost.queue_bind("q", "amq.topic", format!("a.{n}.*").as_bytes(), none(), ME).unwrap();
        vhost.queue_bind("p", "amq.topic", format!("a.{n}.*").as_bytes(), none(), ME).unwrap();
    }
    vhost.queue_bind("q", "amq.direct", b"k", none(), ME).unwrap();
    assert_eq!(vhost.bindings_to(DestinationId::Queue(q.id)).len(), 3001);
    vhost.queue_delete("q", false, false, ME).unwrap();
    assert_eq!(vhost.find_exchange("amq.topic").unwrap().binding_count(), 3000);
    assert_eq!(vhost.find_exchange("amq.direct").unwrap().binding_count(), 0);
    assert!(vhost.bindings_to(DestinationId::Queue(q.id)).is_empty());
}

#[test]
fn a_dead_queue_makes_room_for_another_of_its_name() {
    let vhost = VHost::new("/");
    let first = vhost.queue_declare(queue("q"), ME).unwrap();
    vhost.queue_bind("q", "amq.fanout", b"", none(), ME).unwrap();
    first.kill(false, false).unwrap();
    assert_eq!(refused(vhost.queue("q", ME)), told(NotFound, "no queue 'q' in vhost '/'"));
    let text = "no queue 'q' in vhost '/'";
    assert_eq!(refused(vhost.queue_bind("q", "amq.topic", b"", none(), ME)), told(NotFound, text));
    assert_eq!(vhost.queue_delete("q", false, false, ME), Ok(0));
    assert!(vhost.queues().is_empty());

    let second = vhost.queue_declare(QueueDeclare { durable: true, ..queue("q") }, ME).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(vhost.find_exchange("amq.fanout").unwrap().binding_count(), 0, "it was bound to the first");
    vhost.queue_bind("q", "amq.fanout", b"", none(), ME).unwrap();
    vhost.remove_queue(&first);
    vhost.remove_queue(&first);
    assert!(Arc::ptr_eq(&vhost.queue("q", ME).unwrap(), &second));
    assert_eq!(vhost.find_exchange("amq.fanout").unwrap().binding_count(), 1);
}

#[test]
fn reply_queues_can_only_be_asked_for() {
    let vhost = VHost::new("/");
    assert!(VHost::is_reply_to_declared("amq.rabbitmq.reply-to"));
    assert!(VHost::is_reply_to_declared("amq.rabbitmq.reply-to\r"));
    assert!(VHost::is_reply_to_declared("amq.direct.reply-to"));
    assert!(!VHost::is_reply_to_declared("amq.rabbitmq.reply-to.x"));
    for name in ["amq.rabbitmq.reply-to.x", "amq.rabbitmq.reply-toz"] {
        let text = format!("no queue '{name}' in vhost '/'");
        assert_eq!(refused(vhost.queue_declare(queue(name), ME)), told(NotFound, &text));
    }
    let reserved = told(AccessRefused, "queue name 'amq.rabbitmq.reply-to' contains reserved prefix 'amq.*'");
    assert_eq!(refused(vhost.queue_declare(queue("\ramq.rabbitmq.reply-to"), ME)), reserved);
}

#[test]
fn a_virtual_host_with_circles_is_freed() {
    let vhost = VHost::new("/");
    vhost.exchange_declare(exchange("a", "fanout")).unwrap();
    vhost.exchange_declare(exchange("b", "fanout")).unwrap();
    vhost.exchange_bind("a", "b", b"", none()).unwrap();
    vhost.exchange_bind("b", "a", b"", none()).unwrap();
    let weak = Arc::downgrade(&vhost.find_exchange("a").unwrap());
    drop(vhost);
    assert!(weak.upgrade().is_none());
}
