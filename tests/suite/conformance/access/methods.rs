//! Which permission each method asks for, and before which other errors.

use super::{REFUSED, refused};
use crate::support::local::Local;
use crate::support::peer::*;
use crate::support::props;
use crate::support::wire::*;

/// A user `u` who may do everything with names that begin with `ok`, and what others have declared.
fn world() -> (Local, Peer) {
    let local = Local::start();
    local.user("u", ["^ok", "^ok", "^ok"]);
    let mut guest = local.guest();
    guest.call(1, &queue_declare("q"));
    guest.call(1, &exchange_declare("x", "topic"));
    guest.call(1, &exchange_declare("y", "fanout"));
    let peer = local.peer("u");
    (local, peer)
}

#[track_caller]
fn check(peer: &mut Peer, rows: &[(Method, &str)]) {
    for (method, what) in rows {
        let text = if what.contains(' ') && !what.contains('\'') {
            format!("ACCESS_REFUSED - {what}")
        } else if let Some(text) = what.strip_prefix('!') {
            format!("ACCESS_REFUSED - {text}")
        } else {
            refused(what)
        };
        peer.refused(1, method, REFUSED, &text);
    }
}

const DEFAULT: &str = "operation not permitted on the default exchange";

#[test]
fn queue_methods() {
    let (_local, mut peer) = world();
    check(
        &mut peer,
        &[
            (queue_declare("q"), "queue 'q'"),
            (queue_declare("new"), "queue 'new'"),
            (queue_declare("q").on("durable"), "queue 'q'"),
            (queue_declare("amq.new"), "!queue name 'amq.new' contains reserved prefix 'amq.*'"),
            (queue_declare("new").args([("x-dead-letter-exchange", i(5))]), "queue 'new'"),
            (queue_delete("q"), "queue 'q'"),
            (queue_delete("nope"), "queue 'nope'"),
            (queue_purge("q"), "queue 'q'"),
            (queue_purge("nope"), "queue 'nope'"),
            (get("q"), "queue 'q'"),
            (get("nope"), "queue 'nope'"),
            (consume("q", "t"), "queue 'q'"),
            (consume("q", "t").args([("x-priority", s("a"))]), "queue 'q'"),
            (queue_bind("q", "x", ""), "queue 'q'"),
            (queue_bind("q", "", ""), "queue 'q'"),
            (queue_bind("ok", "", ""), DEFAULT),
            (queue_bind("ok", "x", ""), "exchange 'x'"),
            (queue_bind("nope", "x", ""), "queue 'nope'"),
            (queue_bind("ok", "nope", ""), "exchange 'nope'"),
            (queue_bind("amq.rabbitmq.reply-to", "x", ""), "queue 'amq.rabbitmq.reply-to'"),
            (queue_unbind("q", "x", ""), "queue 'q'"),
            (queue_unbind("ok", "x", ""), "exchange 'x'"),
            (queue_unbind("ok", "nope", ""), "exchange 'nope'"),
        ],
    );
    peer.refused(1, &queue_delete(""), 404, "NOT_FOUND - no previously declared queue");
    peer.call(1, &queue_declare("q").on("passive"));
    peer.refused(1, &queue_declare("new").on("passive"), 404, "NOT_FOUND - no queue 'new' in vhost '/'");
}

#[test]
fn what_is_permitted_works() {
    let (_local, mut peer) = world();
    peer.call(1, &queue_declare("ok"));
    peer.call(1, &exchange_declare("okx", "topic"));
    peer.call(1, &queue_bind("ok", "okx", "k"));
    peer.call(1, &exchange_bind("okx", "okx", "k"));
    peer.publish(1, "okx", "k", "hello");
    assert_eq!(peer.drain(1, "ok"), ["hello"]);
    peer.consume(1, "ok", "t");
    peer.call(1, &cancel("t"));
    peer.call(1, &queue_purge("ok"));
    peer.call(1, &queue_unbind("ok", "okx", "k"));
    peer.call(1, &queue_delete("ok"));
    peer.call(1, &exchange_delete("okx"));
    // A name that is not there is a name all the same.
    peer.refused(1, &get("ok"), 404, "NOT_FOUND - no queue 'ok' in vhost '/'");
    peer.call(1, &queue_delete("ok"));
}

#[test]
fn names_of_the_server_are_asked_for_as_they_are() {
    let local = Local::start();
    local.user("u", ["^amq\\.gen-", "", ""]);
    let mut peer = local.peer("u");
    let name = peer.call(1, &queue_declare("")).text("queue").to_owned();
    assert!(name.starts_with("amq.gen-"));
    local.user("v", ["^v", "", ""]);
    let mut peer = local.peer("v");
    peer.send(1, &queue_declare(""));
    let (code, text, _) = close_values(&peer.expect(1, "channel.close"));
    assert_eq!(code, 403);
    assert!(text.starts_with("ACCESS_REFUSED - access to queue 'amq.gen-"), "{text}");
    assert!(text.ends_with("' in vhost '/' refused for user 'v'"), "{text}");
}

#[test]
fn dead_lettering_asks_for_more_where_the_queue_is_new() {
    let (local, mut peer) = world();
    let declare = |value| queue_declare("ok").args([("x-dead-letter-exchange", value)]);
    let text =
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'ok' in vhost '/'";
    peer.refused(1, &declare(i(5)), 406, text);
    check(&mut peer, &[(declare(s("d")), "exchange 'd'"), (declare(s("")), "exchange 'amq.default'")]);
    let bad = queue_declare("ok").args([("x-dead-letter-exchange", s("d")), ("x-max-length", i(-1))]);
    check(&mut peer, &[(bad, "exchange 'd'")]);
    peer.call(1, &declare(s("okd")));
    // It exists: who may declare it may declare it again, whatever became of the other permissions.
    local.broker.set_permissions("/", "u", "^ok", "", "").unwrap();
    peer.call(1, &declare(s("okd")));
    local.broker.set_permissions("/", "u", "^ok", ".*", "").unwrap();
    let other = queue_declare("ok2").args([("x-dead-letter-exchange", s("d"))]);
    check(&mut peer, &[(other, "queue 'ok2'")]);
}

#[test]
fn exchange_methods() {
    let (_local, mut peer) = world();
    check(
        &mut peer,
        &[
            (exchange_declare("x", "topic"), "exchange 'x'"),
            (exchange_declare("new", "topic"), "exchange 'new'"),
            (exchange_declare("amq.new", "topic"), "exchange 'amq.new'"),
            (exchange_declare("amq.topic", "topic").on("durable"), "exchange 'amq.topic'"),
            (exchange_declare("", "topic"), DEFAULT),
            (exchange_delete("x"), "exchange 'x'"),
            (exchange_delete("nope"), "exchange 'nope'"),
            (exchange_delete(""), DEFAULT),
            (exchange_delete("amq.direct"), "!deletion of system exchange 'amq.direct' in vhost '/' not allowed"),
            (exchange_bind("x", "y", ""), "exchange 'x'"),
            (exchange_bind("", "y", ""), "exchange 'amq.default'"),
            (exchange_bind("ok", "y", ""), "exchange 'y'"),
            (exchange_bind("x", "", ""), "exchange 'x'"),
            (exchange_bind("ok", "", ""), DEFAULT),
            (exchange_unbind("x", "y", ""), "exchange 'x'"),
            (exchange_unbind("ok", "y", ""), "exchange 'y'"),
        ],
    );
    peer.call(1, &exchange_declare("x", "").on("passive"));
    peer.refused(1, &exchange_declare("new", "").on("passive"), 404, "NOT_FOUND - no exchange 'new' in vhost '/'");
}

#[test]
fn alternate_exchanges_ask_for_more_where_the_exchange_is_new() {
    let (_local, mut peer) = world();
    let declare = |value| exchange_declare("okx", "topic").args([("alternate-exchange", value)]);
    check(&mut peer, &[(declare(s("d")), "exchange 'd'")]);
    let text =
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'okx' in vhost '/'";
    peer.refused(1, &declare(i(5)), 406, text);
    peer.call(1, &declare(s("ok2")));
    peer.call(1, &declare(s("ok2")));
}

/// A publish has no reply, so its refusal comes alone.
#[track_caller]
fn publish_refused(peer: &mut Peer, exchange: &str, code: u16, text: &str) {
    peer.publish(1, exchange, "q", "body");
    peer.expect_channel_close(1, code, text, (60, 40));
    peer.open_channel(1);
}

#[test]
fn publishing() {
    let (_local, mut peer) = world();
    for exchange in ["x", "nope", "amq.rabbitmq.trace"] {
        publish_refused(&mut peer, exchange, REFUSED, &refused(&format!("exchange '{exchange}'")));
    }
    publish_refused(&mut peer, "", REFUSED, &refused("exchange 'amq.default'"));
    publish_refused(&mut peer, "oknope", 404, "NOT_FOUND - no exchange 'oknope' in vhost '/'");
    let expiration = props::props().text("expiration", "x").bytes();
    peer.send_publish(1, &publish("x", ""), &expiration, b"");
    peer.expect_channel_close(1, REFUSED, &refused("exchange 'x'"), (60, 40));
}

/// Direct reply-to is nobody's queue; the request and the reply are publishes like any other.
#[test]
fn direct_replies_need_no_permission_to_be_read() {
    let local = Local::start();
    local.user("u", ["", "^amq\\.default$", ""]);
    let mut peer = local.peer("u");
    peer.call(1, &consume("amq.rabbitmq.reply-to", "t").on("no-ack"));
    peer.call(1, &queue_declare("amq.rabbitmq.reply-to"));
}

/// What a connection remembers is forgotten with each change, for routes that it has used as well.
#[test]
fn changes_count_at_once() {
    let local = Local::start();
    local.user("u", [".*", ".*", ".*"]);
    let mut peer = local.peer("u");
    peer.call(1, &queue_declare("q"));
    for _ in 0..20 {
        peer.publish(1, "", "q", "one");
    }
    peer.expect_counts(1, "q", (20, 0));
    local.broker.set_permissions("/", "u", ".*", "^x$", ".*").unwrap();
    let mut other = local.peer("u");
    other.publish(1, "", "q", "two");
    other.expect_channel_close(1, REFUSED, &refused("exchange 'amq.default'"), (60, 40));
    peer.publish(1, "", "q", "two");
    peer.expect_channel_close(1, REFUSED, &refused("exchange 'amq.default'"), (60, 40));
    peer.open_channel(1);
    local.broker.clear_permissions("/", "u").unwrap();
    peer.refused(1, &get("q"), REFUSED, &refused("queue 'q'"));
    local.broker.set_permissions("/", "u", "", ".*", "^q$").unwrap();
    assert_eq!(peer.drain(1, "q").len(), 20);
}
