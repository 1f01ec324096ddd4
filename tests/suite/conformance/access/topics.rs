//! Topic permissions: routing keys of topic exchanges.

use super::{REFUSED, refused};
use crate::support::local::Local;
use crate::support::peer::*;
use crate::support::props::{NONE, headers, props};
use crate::support::wire::*;

fn world(write: &str, read: &str) -> (Local, Peer) {
    let local = Local::start();
    local.user("u", [".*", ".*", ".*"]);
    local.broker.set_topic_permissions("/", "u", "amq.topic", write, read).unwrap();
    let mut peer = local.peer("u");
    peer.call(1, &queue_declare("q"));
    (local, peer)
}

fn topic(key: &str) -> String {
    refused(&format!("topic '{key}' in exchange 'amq.topic'"))
}

#[track_caller]
fn publish_refused(peer: &mut Peer, key: &str, properties: &[u8], refused_key: &str) {
    peer.send_publish(1, &publish("amq.topic", key), properties, b"");
    peer.expect_channel_close(1, REFUSED, &topic(refused_key), (60, 40));
    peer.open_channel(1);
}

#[test]
fn publishing_is_narrowed_by_routing_key() {
    let (_local, mut peer) = world("^a", ".*");
    peer.call(1, &queue_bind("q", "amq.topic", "#"));
    for key in ["a", "a.b", "a"] {
        peer.publish(1, "amq.topic", key, key);
    }
    publish_refused(&mut peer, "b", NONE, "b");
    publish_refused(&mut peer, "", NONE, "");
    assert_eq!(peer.drain(1, "q"), ["a", "a.b", "a"]);
    // Only there.
    peer.publish(1, "amq.direct", "b", "b");
    peer.publish(1, "amq.fanout", "b", "b");
    peer.open_channel(2);
}

#[test]
fn copies_are_narrowed_too() {
    let (_local, mut peer) = world("^a", ".*");
    let copies = |name: &str| headers([(name, Value::Array(vec![s("a2"), s("secret")]))]);
    peer.publish(1, "amq.topic", "a", "the route is known");
    for name in ["CC", "BCC"] {
        publish_refused(&mut peer, "a", &copies(name), "secret");
    }
}

/// Size, expiration and CC come before it, the user id after it.
#[test]
fn the_order_of_checks() {
    let (_local, mut peer) = world("^a", ".*");
    publish_refused(&mut peer, "b", &props().text("user-id", "other").bytes(), "b");
    let text = "PRECONDITION_FAILED - invalid expiration 'x'";
    peer.send_publish(1, &publish("amq.topic", "b"), &props().text("expiration", "x").bytes(), b"");
    let (code, found, _) = close_values(&peer.expect(1, "channel.close"));
    assert_eq!(code, 406);
    assert!(found.starts_with(text), "{found}");
}

#[test]
fn binding_is_narrowed_by_routing_key() {
    let (_local, mut peer) = world(".*", "^b");
    peer.call(1, &queue_bind("q", "amq.topic", "b.*"));
    for refused in [
        queue_bind("q", "amq.topic", "a"),
        queue_bind("nope", "amq.topic", "a"),
        queue_unbind("q", "amq.topic", "a"),
        exchange_bind("amq.fanout", "amq.topic", "a"),
        exchange_unbind("amq.fanout", "amq.topic", "a"),
    ] {
        peer.refused(1, &refused, REFUSED, &topic("a"));
    }
    peer.call(1, &exchange_bind("amq.topic", "amq.fanout", "a"));
}

#[test]
fn names_stand_for_themselves() {
    let local = Local::start();
    local.user("u.u", [".*", ".*", ".*"]);
    local.broker.set_topic_permissions("/", "u.u", "amq.topic", r"^{username}\.{vhost}$", "").unwrap();
    let mut peer = local.peer("u.u");
    peer.publish(1, "amq.topic", "u.u./", "");
    peer.publish(1, "amq.topic", "uxu./", "");
    let text = "ACCESS_REFUSED - access to topic 'uxu./' in exchange 'amq.topic' in vhost '/' refused for user 'u.u'";
    peer.expect_channel_close(1, REFUSED, text, (60, 40));
}

#[test]
fn changes_count_for_routes_that_are_known() {
    let (local, mut peer) = world("^a", ".*");
    peer.publish(1, "amq.topic", "a", "");
    local.broker.set_topic_permissions("/", "u", "amq.topic", "^z", ".*").unwrap();
    publish_refused(&mut peer, "a", NONE, "a");
    local.broker.clear_topic_permissions("/", "u", Some("amq.topic")).unwrap();
    peer.publish(1, "amq.topic", "b", "");
    peer.open_channel(2);
}
