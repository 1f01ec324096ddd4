//! The policy key `redeclare`: what a declaration with other arguments comes to.

use serde_json::json;

use super::{ctl, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::props::props;
use crate::support::wire::*;

/// A queue of three levels with three messages in it, and the policy.
fn filled(how: &str) -> (Broker, Peer) {
    let broker = Broker::start(Launch::new());
    ctl(&broker, &["-q", "set_policy", "p", ".*", &format!("{{\"redeclare\":\"{how}\"}}")]).printed("");
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("q").on("durable").args([("x-max-priority", i(3))]));
    peer.call(1, &method("confirm.select"));
    for (priority, body) in [(1, "low"), (3, "high"), (2, "middle")] {
        let properties = props().octet("priority", priority).octet("delivery-mode", 2).bytes();
        peer.send_publish(1, &publish("", "q"), &properties, body.as_bytes());
        assert_eq!(peer.next_method(1).name, "basic.ack");
    }
    (broker, peer)
}

#[test]
fn strictly_it_is_refused() {
    let (_broker, mut peer) = filled("strict");
    let text = "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'q' in vhost '/': received '5' but \
                current is '3'";
    peer.refused(1, &queue_declare("q").on("durable").args([("x-max-priority", i(5))]), 406, text);
}

#[test]
fn what_is_there_may_be_kept() {
    let (broker, mut peer) = filled("keep");
    peer.call(1, &queue_declare("q").on("durable").args([("x-max-priority", i(5)), ("x-max-length", i(1))]));
    assert_eq!(list(&broker, &["list_queues", "arguments"])[0]["arguments"], json!({"x-max-priority": 3}));
    assert_eq!(peer.drain(1, "q"), ["high", "middle", "low"]);
}

#[test]
fn or_replaced_with_its_range_of_priorities_and_its_type_and_nothing_is_lost() {
    let (mut broker, mut peer) = filled("update");
    let arguments = [("x-max-priority", i(1)), ("x-queue-type", s("quorum")), ("x-delivery-limit", i(4))];
    peer.call(1, &queue_declare("q").on("durable").args(arguments));
    let expected = json!({"x-max-priority": 1, "x-queue-type": "quorum", "x-delivery-limit": 4});
    assert_eq!(list(&broker, &["list_queues", "arguments"])[0]["arguments"], expected);
    broker.crash();
    assert_eq!(list(&broker, &["list_queues", "arguments"])[0]["arguments"], expected);
    let mut peer = Login::new().connect(broker.address);
    let properties = props().octet("priority", 9).octet("delivery-mode", 2).bytes();
    peer.send_publish(1, &publish("", "q"), &properties, b"new");
    // What was at a level that there is no more is delivered first; the new one is clipped to the highest there is.
    assert_eq!(peer.drain(1, "q"), ["high", "middle", "low", "new"]);
}

#[test]
fn what_is_not_an_argument_cannot_change() {
    let (_broker, mut peer) = filled("update");
    let text = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but \
                current is 'true'";
    peer.refused(1, &queue_declare("q"), 406, text);
    let text =
        "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/': {max_value_exceeded,256}";
    peer.refused(1, &queue_declare("q").on("durable").args([("x-max-priority", i(256))]), 406, text);
}
