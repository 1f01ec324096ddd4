//! Declaring, deleting, arguments.

use crate::leveret_only;
use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

const TYPES: [&str; 4] = ["x-consistent-hash", "x-modulus-hash", "x-random", "x-recent-history"];

#[track_caller]
fn every_type(types: &[&str]) {
    let mut peer = Peer::connect();
    for kind in types {
        for flags in [&[][..], &["durable"], &["auto-delete"], &["internal"], &["durable", "auto-delete", "internal"]] {
            let exchange = unique(kind);
            let declare = flags.iter().fold(exchange_declare(&exchange, kind), |declare, flag| declare.on(flag));
            peer.call(1, &declare);
            peer.call(1, &declare);
            peer.call(1, &exchange_declare(&exchange, "").on("passive"));
            peer.call(1, &exchange_delete(&exchange));
        }
    }
}

#[test]
fn every_type_can_be_declared_and_declared_again() {
    every_type(&TYPES);
}

#[test]
fn a_local_random_exchange_can_be_declared() {
    leveret_only!("RabbitMQ has it from 4.0 on");
    every_type(&["x-local-random"]);
}

#[test]
fn another_type_of_the_same_name() {
    let mut peer = Peer::connect();
    let exchange = unique("other");
    let text = |received: &str, current: &str| {
        format!(
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{exchange}' in vhost '/': received \
             '{received}' but current is '{current}'"
        )
    };
    peer.call(1, &exchange_declare(&exchange, "x-random"));
    peer.refused(1, &exchange_declare(&exchange, "direct"), 406, &text("direct", "'x-random'"));
    peer.refused(1, &exchange_declare(&exchange, "x-modulus-hash"), 406, &text("'x-modulus-hash'", "'x-random'"));
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn a_type_that_is_not_there() {
    leveret_only!("RabbitMQ 3.10 closes the connection, with 503");
    let mut peer = Peer::connect();
    for kind in ["x-jms-topic", "x-Random", "x-nothing"] {
        let text = format!("PRECONDITION_FAILED - unknown exchange type '{kind}'");
        peer.refused(1, &exchange_declare(&unique("none"), kind), 406, &text);
    }
}

#[test]
fn arguments_of_a_type_are_not_compared() {
    let mut peer = Peer::connect();
    for (kind, name, value, other) in [
        ("x-consistent-hash", "hash-header", s("h"), s("other")),
        ("x-recent-history", "x-recent-history-length", i(2), i(0)),
    ] {
        let exchange = unique(kind);
        peer.call(1, &exchange_declare(&exchange, kind).args([(name, value)]));
        peer.call(1, &exchange_declare(&exchange, kind).args([(name, other)]));
        peer.call(1, &exchange_declare(&exchange, kind));
        peer.call(1, &exchange_delete(&exchange));
    }
}

#[test]
fn what_is_hashed_is_checked() {
    let mut peer = Peer::connect();
    let exchange = unique("hash");
    let declare = exchange_declare(&exchange, "x-consistent-hash");
    for property in ["message_id", "correlation_id", "timestamp"] {
        peer.call(1, &declare.clone().args([("hash-property", s(property))]));
        peer.call(1, &exchange_delete(&exchange));
    }
    for property in ["message-id", "type", ""] {
        let text = format!("PRECONDITION_FAILED - Unsupported property: {property}");
        peer.refused(1, &declare.clone().args([("hash-property", s(property))]), 406, &text);
    }
    let both = declare.args([("hash-property", s("message_id")), ("hash-header", s("h"))]);
    let text = "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive";
    peer.refused(1, &both, 406, text);
}

#[test]
fn what_is_hashed_is_named_by_a_string() {
    leveret_only!("RabbitMQ fails inside");
    let mut peer = Peer::connect();
    let exchange = unique("hash");
    for name in ["hash-property", "hash-header", "x-hash-on", "x-algorithm"] {
        let declare = exchange_declare(&exchange, "x-consistent-hash").args([(name, i(1))]);
        let text = format!(
            "PRECONDITION_FAILED - invalid type 'signedint' for arg '{name}' in exchange '{exchange}' in vhost '/'"
        );
        peer.refused(1, &declare, 406, &text);
    }
}

#[test]
fn the_length_of_a_history_is_a_positive_integer() {
    let mut peer = Peer::connect();
    let exchange = unique("history");
    let declare = |length| exchange_declare(&exchange, "x-recent-history").args([("x-recent-history-length", length)]);
    for length in [i(1), Value::I64(1 << 40), Value::I16(3), Value::I8(3)] {
        peer.call(1, &declare(length));
        peer.call(1, &exchange_delete(&exchange));
    }
    for (length, printed) in [(i(0), "0"), (i(-1), "-1"), (s("5"), "<<\"5\">>"), (Value::Bool(true), "true")] {
        let text = format!(
            "PRECONDITION_FAILED - Invalid argument {printed}, 'x-recent-history-length' must be a positive integer"
        );
        peer.refused(1, &declare(length), 406, &text);
    }
}
