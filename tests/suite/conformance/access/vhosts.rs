//! Virtual hosts that come, change and go while the broker runs.

use leveret::broker::administration::VHostChange;

use super::{FORCED, NOT_ALLOWED};
use crate::support::local::Local;
use crate::support::peer::*;
use crate::support::wire::*;

fn with_vhost(change: VHostChange<'_>) -> Local {
    let local = Local::start();
    local.broker.add_vhost("v", change).unwrap();
    local.broker.set_permissions("v", "guest", ".*", ".*", ".*").unwrap();
    local
}

#[track_caller]
fn in_vhost(local: &Local) -> Peer {
    Login::new().vhost("v").connect(local.address)
}

#[test]
fn a_new_one_is_nobodys_and_has_the_usual_exchanges() {
    let local = Local::start();
    local.broker.add_vhost("v", VHostChange::default()).unwrap();
    let login = Login::new().vhost("v");
    let refused = "NOT_ALLOWED - access to vhost 'v' refused for user 'guest'";
    login.opening(local.address).fatal(0, &login.open(), NOT_ALLOWED, refused);
    local.broker.set_permissions("v", "guest", ".*", ".*", ".*").unwrap();
    let mut peer = in_vhost(&local);
    peer.call(1, &exchange_declare("amq.topic", "").on("passive"));
    peer.call(1, &queue_declare("q").on("durable"));
    peer.close();
    in_vhost(&local.restart()).call(1, &queue_declare("q").on("passive"));
}

#[test]
fn what_is_in_one_goes_with_it() {
    let local = with_vhost(VHostChange::default());
    let mut peer = in_vhost(&local);
    peer.call(1, &queue_declare("q").on("durable"));
    peer.call(1, &exchange_declare("x", "topic").on("durable"));
    peer.call(1, &queue_bind("q", "x", "k"));
    peer.consume(1, "q", "t");
    let mut guest = local.guest();
    guest.call(1, &queue_declare("q").on("durable"));
    local.broker.delete_vhost("v").unwrap();
    let close = peer.expect(0, "connection.close");
    assert_eq!(close_values(&close), (u64::from(FORCED), "CONNECTION_FORCED - vhost 'v' is deleted".into(), (0, 0)));
    let login = Login::new().vhost("v");
    login.opening(local.address).fatal(0, &login.open(), NOT_ALLOWED, "NOT_ALLOWED - vhost v not found");
    // Another of that name begins with nothing, after a restart as well.
    local.broker.add_vhost("v", VHostChange::default()).unwrap();
    let local = local.restart();
    assert!(local.broker.list_permissions(Some("v"), None).unwrap().is_empty());
    local.broker.set_permissions("v", "guest", ".*", ".*", ".*").unwrap();
    let mut peer = in_vhost(&local);
    peer.refused(1, &queue_declare("q").on("passive"), 404, "NOT_FOUND - no queue 'q' in vhost 'v'");
    peer.refused(1, &exchange_declare("x", "").on("passive"), 404, "NOT_FOUND - no exchange 'x' in vhost 'v'");
    local.guest().call(1, &queue_declare("q").on("passive"));
}

#[test]
fn the_default_queue_type_is_given_to_who_asks_for_none() {
    let local = with_vhost(VHostChange { default_queue_type: Some("quorum"), ..VHostChange::default() });
    let mut peer = in_vhost(&local);
    let typed = |name, kind| queue_declare(name).on("durable").args([("x-queue-type", s(kind))]);
    let by_default = queue_declare("q").on("durable");
    peer.call(1, &by_default);
    peer.call(1, &by_default);
    peer.call(1, &typed("q", "quorum"));
    // What cannot be of that type is not.
    peer.call(1, &queue_declare("transient"));
    peer.call(1, &queue_declare("exclusive").on("durable").on("exclusive"));
    peer.call(1, &queue_declare("").on("durable"));
    // Who asks for another gets it, and finds it again.
    peer.call(1, &typed("classic", "classic"));
    peer.call(1, &queue_declare("classic").on("durable"));
    drop(peer);
    // The type stays when the default goes.
    let none = VHostChange { default_queue_type: Some(""), ..VHostChange::default() };
    local.broker.update_vhost_metadata("v", none).unwrap();
    let local = local.restart();
    let mut peer = in_vhost(&local);
    peer.call(1, &typed("q", "quorum"));
    peer.send(1, &by_default);
    let (code, text, _) = close_values(&peer.expect(1, "channel.close"));
    assert_eq!(code, 406);
    assert!(text.starts_with("PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q'"), "{text}");
}

/// A default does not lock out those who declare what was there before it.
#[test]
fn what_was_there_before_the_default_can_be_declared_again() {
    let local = with_vhost(VHostChange::default());
    let mut peer = in_vhost(&local);
    peer.call(1, &queue_declare("q").on("durable"));
    let quorum = VHostChange { default_queue_type: Some("quorum"), ..VHostChange::default() };
    local.broker.update_vhost_metadata("v", quorum).unwrap();
    peer.call(1, &queue_declare("q").on("durable"));
}
