//! Section 1.5: publishing.

use crate::leveret_only;
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::props::{NONE, decode, headers, props};
use crate::support::unique;
use crate::support::wire::*;

/// The publish closes the channel with these values; the channel is opened again.
#[track_caller]
fn check_refused(peer: &mut Peer, publish: &Method, properties: &[u8], code: u16, text: &str) {
    peer.send_publish(1, publish, properties, b"x");
    peer.expect_channel_close(1, code, text, ids("basic.publish"));
    peer.open_channel(1);
}

/// An array of longstr, as CC and BCC are.
fn keys(keys: &[&str]) -> Value {
    Value::Array(keys.iter().map(|key| s(key)).collect())
}

#[test]
fn a_publish_has_no_answer() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.publish(1, "", &queue, "x");
    peer.publish(1, "amq.direct", &unique("nowhere"), "dropped");
    peer.expect_nothing_before_sync(1);
    assert_eq!(peer.drain(1, &queue), ["x"]);
}

#[test]
fn an_exchange_that_is_missing() {
    let mut peer = Peer::connect();
    let exchange = unique("missing");
    let text = format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'");
    check_refused(&mut peer, &publish(&exchange, "k"), NONE, 404, &text);
    check_refused(&mut peer, &publish(&exchange, "k").on("mandatory"), NONE, 404, &text);
}

#[test]
fn a_refused_publish_takes_effect_at_its_place() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(2);
    let mut bytes = publish_frames(1, &publish("", &queue), NONE, b"before");
    bytes.extend(publish_frames(1, &publish("no such exchange", "k"), NONE, b"refused"));
    bytes.extend(publish_frames(1, &publish("", &queue), NONE, b"behind"));
    peer.send_raw(&bytes);
    peer.expect_channel_close(1, 404, "NOT_FOUND - no exchange 'no such exchange' in vhost '/'", ids("basic.publish"));
    assert_eq!(peer.drain(2, &queue), ["before"]);
    peer.expect_counts(2, &queue, (0, 0));
}

#[test]
fn immediate_is_not_implemented() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.send_publish(1, &publish("", &queue).on("immediate"), NONE, b"x");
    peer.expect_connection_close(540, "NOT_IMPLEMENTED - immediate=true", ids("basic.publish"));
}

#[test]
fn a_mandatory_message_without_a_queue_comes_back_as_it_was() {
    let mut peer = Peer::connect();
    let properties = props().text("content-type", "text/plain").headers([("a", i(1))]).octet("priority", 3).bytes();
    let key = unique("nowhere");
    for (exchange, body) in [("", &b"default"[..]), ("amq.topic", b""), ("amq.direct", &[7; 300_000])] {
        peer.send_publish(1, &publish(exchange, &key).on("mandatory"), &properties, body);
        let returned = peer.expect_message(1, "basic.return");
        assert_eq!(returned.method.number("reply-code"), 312);
        assert_eq!(returned.method.text("reply-text"), "NO_ROUTE");
        assert_eq!(returned.method.text("exchange"), exchange);
        assert_eq!(returned.method.text("routing-key"), key);
        assert!(returned.body == body);
        assert_eq!(returned.properties, properties);
    }
}

#[test]
fn a_mandatory_message_with_a_queue_does_not_come_back() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.send_publish(1, &publish("", &queue).on("mandatory"), NONE, b"x");
    peer.expect_nothing_before_sync(1);
    peer.expect_counts(1, &queue, (1, 0));
}

#[test]
fn returns_come_in_the_order_of_their_messages() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let key = unique("nowhere");
    let mut bytes = Vec::new();
    for n in 0..50 {
        let target = if n % 5 == 0 { &queue } else { &key };
        bytes.extend(publish_frames(1, &publish("", target).on("mandatory"), NONE, n.to_string().as_bytes()));
    }
    peer.send_raw(&bytes);
    for n in (0..50).filter(|n| n % 5 != 0) {
        assert_eq!(peer.expect_message(1, "basic.return").body_text(), n.to_string());
    }
    peer.expect_nothing_before_sync(1);
}

#[test]
fn a_message_keeps_the_exchange_and_the_key_it_was_published_with() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let key = unique("a.b");
    peer.call(1, &queue_bind(&queue, "amq.topic", &format!("{}.*", key.split('.').next().expect("a word"))));
    peer.publish(1, "amq.topic", &key, "x");
    peer.publish(1, "", &queue, "y");
    for (exchange, key) in [("amq.topic", &key), ("", &queue)] {
        let message = peer.get_no_ack(1, &queue).expect("a message");
        assert_eq!((message.method.text("exchange"), message.method.text("routing-key")), (exchange, key.as_str()));
    }
}

#[test]
fn messages_stay_in_the_order_of_their_channel() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let mut bytes = Vec::new();
    for n in 0..5000 {
        let size = [0, 1, 16, 300, 5000][n % 5];
        let body = format!("{n}:{}", "x".repeat(size));
        let properties = if n % 3 == 0 { headers([("n", i(n as i32))]) } else { NONE.to_vec() };
        bytes.extend(publish_frames(1, &publish("", &queue), &properties, body.as_bytes()));
    }
    peer.send_raw(&bytes);
    peer.call(1, &consume(&queue, "t").on("no-ack"));
    for n in 0..5000 {
        let body = peer.expect_delivery(1);
        assert_eq!(body.body_text().split(':').next(), Some(n.to_string().as_str()));
    }
}

// ---- checks of the properties ----

#[test]
fn an_expiration_is_a_number_of_milliseconds() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for (expiration, reason) in [
        ("abc", "no_integer"),
        ("12a", "{leftover_string,\"a\"}"),
        ("1.5", "{leftover_string,\".5\"}"),
        ("-1", "{value_negative,-1}"),
        ("315360000001", "{value_too_large,315360000001}"),
        ("", "no_integer"),
        ("-", "no_integer"),
        (" 1", "no_integer"),
        ("1 ", "{leftover_string,\" \"}"),
    ] {
        let properties = props().text("expiration", expiration).bytes();
        peer.send_publish(1, &publish("", &queue), &properties, b"x");
        let close = peer.expect(1, "channel.close");
        let text = format!("PRECONDITION_FAILED - invalid expiration '{expiration}': {reason}");
        assert_eq!(close_values(&close), (406, text, ids("basic.publish")));
        peer.send(1, &method("channel.close-ok"));
        peer.open_channel(1);
    }
    for expiration in ["100000", "315360000000", "+100000", "0100000"] {
        let properties = props().text("expiration", expiration).bytes();
        peer.send_publish(1, &publish("", &queue), &properties, b"x");
        assert_eq!(peer.get_no_ack(1, &queue).expect("a message").properties, properties);
    }
}

#[test]
fn a_user_id_must_be_true() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let properties = props().text("user-id", "guest").bytes();
    peer.send_publish(1, &publish("", &queue), &properties, b"x");
    assert_eq!(peer.get_no_ack(1, &queue).expect("a message").properties, properties);
    for other in ["somebody", "", "Guest"] {
        check_refused(
            &mut peer,
            &publish("", &queue),
            &props().text("user-id", other).bytes(),
            406,
            &format!("PRECONDITION_FAILED - user_id property set to '{other}' but authenticated user was 'guest'"),
        );
    }
}

#[test]
fn the_first_check_that_fails_is_the_one_that_is_told() {
    let mut peer = Peer::connect();
    let missing = unique("missing");
    let bad = props().text("expiration", "x").text("user-id", "x").headers([("CC", s("x"))]).bytes();
    check_refused(
        &mut peer,
        &publish(&missing, ""),
        &bad,
        404,
        &format!("NOT_FOUND - no exchange '{missing}' in vhost '/'"),
    );
    let internal = "amq.rabbitmq.trace";
    check_refused(
        &mut peer,
        &publish(internal, ""),
        &bad,
        403,
        &format!("ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'"),
    );
}

#[test]
fn expiration_is_checked_before_copies_and_copies_before_the_user_id() {
    leveret_only!("3.10.8 looks at the user-id first");
    let mut peer = Peer::connect();
    let copies = ("CC", s("x"));
    let expiration = "PRECONDITION_FAILED - invalid expiration 'x': no_integer";
    let bad = props().text("expiration", "x").text("user-id", "x").headers([copies.clone()]).bytes();
    check_refused(&mut peer, &publish("", ""), &bad, 406, expiration);
    let bad = props().text("user-id", "x").headers([copies]).bytes();
    let invalid = "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}";
    check_refused(&mut peer, &publish("", ""), &bad, 406, invalid);
}

// ---- CC and BCC ----

#[test]
fn cc_and_bcc_are_further_routing_keys() {
    let mut peer = Peer::connect();
    let queues: Vec<String> = (0..4).map(|_| peer.exclusive_queue(1)).collect();
    let properties = headers([("CC", keys(&[&queues[1]])), ("BCC", keys(&[&queues[2]])), ("other", i(1))]);
    peer.send_publish(1, &publish("", &queues[0]), &properties, b"x");
    let delivered = headers([("CC", keys(&[&queues[1]])), ("other", i(1))]);
    for queue in &queues[..3] {
        let message = peer.get_no_ack(1, queue).unwrap_or_else(|| panic!("{queue} has no message"));
        assert_eq!(message.method.text("routing-key"), queues[0], "the key it was published with");
        assert_eq!(message.headers(), decode_headers(&delivered), "CC stays, BCC goes");
    }
    peer.expect_counts(1, &queues[3], (0, 0));
}

fn decode_headers(properties: &[u8]) -> Table {
    crate::support::props::headers_of(properties)
}

#[test]
fn a_queue_that_several_keys_name_gets_one_message() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let properties = headers([("CC", keys(&[&queue, &queue])), ("BCC", keys(&[&queue]))]);
    peer.send_publish(1, &publish("", &queue), &properties, b"once");
    assert_eq!(peer.drain(1, &queue), ["once"]);
}

#[test]
fn copies_alone_are_enough_of_a_route() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for name in ["CC", "BCC"] {
        let properties = headers([(name, keys(&[&queue]))]);
        peer.send_publish(1, &publish("", &unique("nowhere")).on("mandatory"), &properties, b"copied");
        assert_eq!(peer.drain(1, &queue), ["copied"], "{name}");
    }
    peer.expect_nothing_before_sync(1);
}

#[test]
fn copies_are_keys_of_every_kind_of_exchange() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let word = unique("word");
    peer.call(1, &queue_bind(&queue, "amq.topic", &format!("{word}.*")));
    peer.call(1, &queue_bind(&queue, "amq.direct", &word));
    for (exchange, key) in [("amq.topic", format!("{word}.copy")), ("amq.direct", word)] {
        let properties = headers([("CC", keys(&["elsewhere", &key]))]);
        peer.send_publish(1, &publish(exchange, "nowhere"), &properties, b"copied");
        assert_eq!(peer.drain(1, &queue), ["copied"], "{exchange}");
    }
}

#[test]
fn copies_that_are_no_array() {
    let mut peer = Peer::connect();
    for name in ["CC", "BCC"] {
        for (value, kind) in [(s("key"), "longstr"), (i(1), "signedint"), (Value::Table(Table::new()), "table")] {
            check_refused(
                &mut peer,
                &publish("", "x"),
                &headers([(name, value)]),
                406,
                &format!("PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"),
            );
        }
    }
}

#[test]
fn elements_of_copies_that_are_no_strings_are_ignored() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let mixed = Value::Array(vec![i(1), s(&queue), Value::Void]);
    peer.send_publish(1, &publish("", "nowhere"), &headers([("CC", mixed)]), b"copied");
    assert_eq!(peer.drain(1, &queue), ["copied"]);
}

#[test]
fn the_names_of_copies_are_in_capitals() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.send_publish(1, &publish("", "nowhere"), &headers([("cc", keys(&[&queue]))]), b"not copied");
    peer.send_publish(1, &publish("", "nowhere"), &headers([("Bcc", s("no array"))]), b"not copied");
    peer.expect_counts(1, &queue, (0, 0));
}

#[test]
fn bcc_goes_from_a_message_that_comes_back() {
    let mut peer = Peer::connect();
    let properties = headers([("BCC", keys(&["nowhere either"])), ("a", i(1))]);
    peer.send_publish(1, &publish("", &unique("nowhere")).on("mandatory"), &properties, b"x");
    let returned = peer.expect_message(1, "basic.return");
    assert_eq!(returned.headers(), table([("a", i(1))]));
}

#[test]
fn one_queue_gets_a_message_once_however_many_bindings_match() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let word = unique("word");
    for pattern in [format!("{word}.#"), format!("{word}.*"), format!("#.{word}.b"), format!("{word}.b")] {
        peer.call(1, &queue_bind(&queue, "amq.topic", &pattern));
    }
    peer.publish(1, "amq.topic", &format!("{word}.b"), "once");
    assert_eq!(peer.drain(1, &queue), ["once"]);
}

#[test]
fn a_persistent_message_goes_to_any_queue() {
    let mut peer = Peer::connect();
    let durable = unique("durable");
    peer.call(1, &queue_declare(&durable).on("durable"));
    let transient = peer.exclusive_queue(1);
    for queue in [&durable, &transient] {
        for mode in [1, 2] {
            let properties = props().octet("delivery-mode", mode).bytes();
            peer.send_publish(1, &publish("", queue), &properties, b"x");
            let message = peer.get_no_ack(1, queue).expect("a message");
            assert_eq!(decode(&message.properties)["delivery-mode"], Field::Number(mode.into()));
        }
    }
    peer.call(1, &queue_delete(&durable));
}

#[test]
fn a_user_id_is_compared_with_the_user_of_the_connection() {
    leveret_only!("the user comes from the command line");
    let broker = Broker::start(Launch::new().arg("--user").arg("eve:secret"));
    let mut peer = Login::new().user("eve", "secret").connect(broker.address);
    let queue = peer.exclusive_queue(1);
    check_refused(
        &mut peer,
        &publish("", &queue),
        &props().text("user-id", "guest").bytes(),
        406,
        "PRECONDITION_FAILED - user_id property set to 'guest' but authenticated user was 'eve'",
    );
    peer.send_publish(1, &publish("", &queue), &props().text("user-id", "eve").bytes(), b"x");
    assert_eq!(peer.drain(1, &queue), ["x"]);
}
