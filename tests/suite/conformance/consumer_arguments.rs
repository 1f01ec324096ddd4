//! Arguments of `basic.consume`.

use crate::leveret_only;
use crate::support::peer::*;
use crate::support::wire::*;

fn invalid(argument: &str, queue: &str, reason: &str) -> String {
    format!("PRECONDITION_FAILED - invalid arg '{argument}' for queue '{queue}' in vhost '/': {reason}")
}

#[test]
fn priorities_beyond_32_bits_differ() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.call(1, &qos(1));
    // Each holds one message, so they are served in the order of their priorities.
    for (tag, priority) in [
        ("low", Value::I64(i64::from(i32::MAX))),
        ("lowest", Value::I64(i64::MIN)),
        ("high", Value::I64(i64::MAX)),
        ("middle", Value::I64(1 << 40)),
    ] {
        peer.call(1, &consume(&queue, tag).args([("x-priority", priority)]));
    }
    for (n, tag) in ["high", "middle", "low", "lowest"].into_iter().enumerate() {
        peer.publish(1, "", &queue, &n.to_string());
        assert_eq!(peer.expect_delivery(1).consumer(), tag);
    }
}

#[test]
fn cancel_on_failover_is_a_boolean_without_effect() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for (value, kind) in [(s("true"), "longstr"), (i(1), "signedint"), (Value::Void, "void")] {
        let consume = consume(&queue, "t").args([("x-cancel-on-ha-failover", value)]);
        let text = invalid("x-cancel-on-ha-failover", &queue, &format!("{{unacceptable_type,{kind}}}"));
        peer.refused(1, &consume, 406, &text);
    }
    for (tag, value) in [("yes", true), ("no", false)] {
        peer.call(1, &consume(&queue, tag).args([("x-cancel-on-ha-failover", Value::Bool(value))]));
    }
    peer.publish(1, "", &queue, "x");
    assert_eq!(peer.expect_delivery(1).consumer(), "yes");
}

#[test]
fn a_timeout_is_an_integer_that_is_not_negative() {
    leveret_only!("RabbitMQ before 4.3 does not look at it");
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for (value, reason) in [
        (s("1000"), "\"expected integer, got longstr\""),
        (Value::Bool(true), "\"expected integer, got bool\""),
        (i(-1), "{value_negative,-1}"),
    ] {
        let consume = consume(&queue, "t").args([("x-consumer-timeout", value)]);
        peer.refused(1, &consume, 406, &invalid("x-consumer-timeout", &queue, reason));
    }
    peer.call(1, &consume(&queue, "t").args([("x-consumer-timeout", Value::I64(1 << 50))]));
}
