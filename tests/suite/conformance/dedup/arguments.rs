//! What may be declared, and declared again.

use super::*;
use crate::leveret_only;

const KIND: &str = "x-message-deduplication";

#[test]
fn values_that_no_queue_can_have() {
    leveret_only!("it is a plugin there");
    let mut peer = Peer::connect();
    for (name, value, reason) in [
        ("x-message-deduplication", s("true"), "{unacceptable_type,longstr}"),
        ("x-cache-size", i(0), "{value_zero,0}"),
        ("x-cache-size", i(-1), "{value_negative,-1}"),
        ("x-cache-size", i(16_777_217), "{max_value_exceeded,16777217}"),
        ("x-cache-size", s("many"), "\"expected integer, got longstr\""),
        ("x-cache-ttl", i(0), "{value_zero,0}"),
        ("x-cache-ttl", i(-5), "{value_negative,-5}"),
        ("x-cache-ttl", Value::Bool(true), "\"expected integer, got bool\""),
        ("x-cache-persistence", s("tape"), "invalid_cache_persistence"),
        ("x-deduplication-header", i(1), "{unacceptable_type,signedint}"),
        ("x-deduplication-header", s(""), "invalid_header_name"),
    ] {
        let (queue, exchange) = (unique("refused"), unique("refused"));
        let text =
            |what: String| format!("PRECONDITION_FAILED - invalid arg '{name}' for {what} in vhost '/': {reason}");
        let declare = queue_declare(&queue).args([(name, value.clone())]);
        peer.refused(1, &declare, 406, &text(format!("queue '{queue}'")));
        let declare = exchange_declare(&exchange, "direct").args([(name, value)]);
        peer.refused(1, &declare, 406, &text(format!("exchange '{exchange}'")));
    }
}

#[test]
fn quorum_queues_deduplicate_too() {
    leveret_only!("it is a plugin there");
    let mut peer = Peer::connect();
    let queue = unique("quorum");
    peer.call(1, &queue_declare(&queue).on("durable").args([on(), ("x-queue-type", s("quorum"))]));
    publish_keys(&mut peer, "", &queue, &["a", "a"]);
    peer.expect_counts(1, &queue, (1, 0));
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn the_type_has_texts_of_its_own() {
    leveret_only!("it is a plugin there");
    let mut peer = Peer::connect();
    let size = "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0";
    let ttl = "Invalid argument, 'x-cache-ttl' must be an integer greater than 0";
    let persistence = "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'";
    for (name, value, text) in [
        ("x-cache-ttl", i(10), size),
        ("x-cache-size", i(0), size),
        ("x-cache-size", s("many"), size),
        ("x-cache-size", Value::F64(1.5), size),
    ] {
        let declare = exchange_declare(&unique("refused"), KIND).args([(name, value)]);
        peer.refused(1, &declare, 406, &format!("PRECONDITION_FAILED - {text}"));
    }
    for (name, value, text) in [
        ("x-cache-ttl", i(0), ttl),
        ("x-cache-ttl", s("long"), ttl),
        ("x-cache-persistence", s("tape"), persistence),
        ("x-cache-persistence", i(1), persistence),
    ] {
        let declare = exchange_declare(&unique("refused"), KIND).args([("x-cache-size", i(10)), (name, value)]);
        peer.refused(1, &declare, 406, &format!("PRECONDITION_FAILED - {text}"));
    }
    for persistence in ["disk", "memory"] {
        let exchange = unique("once");
        let arguments = [("x-cache-size", i(10)), ("x-cache-persistence", s(persistence))];
        peer.call(1, &exchange_declare(&exchange, KIND).args(arguments));
        peer.call(1, &exchange_delete(&exchange));
    }
}

#[test]
fn declared_again_it_has_to_be_the_same() {
    leveret_only!("it is a plugin there");
    let mut peer = Peer::connect();
    let (queue, exchange) = (unique("again"), unique("again"));
    let same = || [on(), ("x-cache-size", i(10))];
    peer.call(1, &queue_declare(&queue).args(same()));
    peer.call(1, &queue_declare(&queue).args(same()));
    peer.call(1, &exchange_declare(&exchange, "direct").args(same()));
    peer.call(1, &exchange_declare(&exchange, "direct").args([on(), ("x-cache-size", Value::I64(10))]));
    let text = |what: &str| {
        format!(
            "PRECONDITION_FAILED - inequivalent arg 'x-cache-size' for {what} in vhost '/': received '11' but current \
             is '10'"
        )
    };
    let other = || [on(), ("x-cache-size", i(11))];
    peer.refused(1, &queue_declare(&queue).args(other()), 406, &text(&format!("queue '{queue}'")));
    let declare = exchange_declare(&exchange, "direct").args(other());
    peer.refused(1, &declare, 406, &text(&format!("exchange '{exchange}'")));
    peer.call(1, &queue_delete(&queue));
    peer.call(1, &exchange_delete(&exchange));
}
