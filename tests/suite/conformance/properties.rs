//! Section 1.3: field tables and message properties come out as they went in.

use crate::leveret_only;
use crate::support::peer::*;
use crate::support::props::{decode, headers, props};
use crate::support::wire::*;

/// Property bytes that must come back the same by get, by delivery and by return.
#[track_caller]
fn check_unchanged(peer: &mut Peer, queue: &str, properties: &[u8]) {
    peer.send_publish(1, &publish("", queue), properties, b"body");
    let got = peer.get_no_ack(1, queue).expect("the message");
    assert_eq!(got.properties, properties, "by get");
    assert_eq!(got.body, b"body");

    peer.send_publish(1, &publish("", queue), properties, b"");
    peer.call(1, &consume(queue, "t").on("no-ack"));
    assert_eq!(peer.expect_delivery(1).properties, properties, "by delivery");
    peer.call(1, &cancel("t"));

    peer.send_publish(1, &publish("", "no such queue").on("mandatory"), properties, b"x");
    assert_eq!(peer.expect_message(1, "basic.return").properties, properties, "by return");
}

#[test]
fn every_property_alone_and_all_together() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let each = [
        props(),
        props().text("content-type", "application/json"),
        props().text("content-encoding", "gzip"),
        props().headers([("a", s("b"))]),
        props().octet("delivery-mode", 2),
        props().octet("priority", 9),
        props().text("correlation-id", "1234"),
        props().text("reply-to", "somewhere"),
        props().text("expiration", "60000"),
        props().text("message-id", &"x".repeat(255)),
        props().timestamp(u64::MAX),
        props().text("type", ""),
        props().text("user-id", "guest"),
        props().text("app-id", "ウサギ"),
        props().text("cluster-id", "reserved"),
    ];
    for properties in &each {
        check_unchanged(&mut peer, &queue, &properties.bytes());
    }
    let all = props()
        .text("content-type", "text/plain")
        .text("content-encoding", "utf-8")
        .headers([("h", i(1))])
        .octet("delivery-mode", 1)
        .octet("priority", 255)
        .text("correlation-id", "c")
        .text("reply-to", "r")
        .text("expiration", "1000000")
        .text("message-id", "m")
        .timestamp(0)
        .text("type", "t")
        .text("user-id", "guest")
        .text("app-id", "a")
        .text("cluster-id", "k");
    check_unchanged(&mut peer, &queue, &all.bytes());
}

#[test]
fn headers_of_every_type() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let inner = table([("deep", Value::Table(table([("deeper", i(1))]))), ("empty", Value::Table(Table::new()))]);
    let properties = headers([
        ("longstr", s("text")),
        ("empty", s("")),
        ("not utf-8", Value::Str(vec![0xff, 0xfe, 0])),
        ("true", Value::Bool(true)),
        ("false", Value::Bool(false)),
        ("i8", Value::I8(-128)),
        ("u8", Value::U8(255)),
        ("i16", Value::I16(-32768)),
        ("u16", Value::U16(65535)),
        ("i32", Value::I32(i32::MIN)),
        ("u32", Value::U32(u32::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(-1.5e10)),
        ("f64", Value::F64(f64::MIN_POSITIVE)),
        ("decimal", Value::Decimal(3, 123_456)),
        ("time", Value::Time(1_700_000_000)),
        ("table", Value::Table(inner)),
        ("array", Value::Array(vec![i(1), s("two"), Value::Void, Value::Array(vec![]), Value::Bool(false)])),
        ("bytes", Value::Bytes(vec![0, 1, 255])),
        ("void", Value::Void),
        ("", s("an empty name")),
    ]);
    check_unchanged(&mut peer, &queue, &properties);
}

/// The bytes are kept, not read and written again: what another encoder would write differently stays.
#[test]
fn odd_but_legal_bytes_of_headers() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for entries in [
        &b"\x01aL\x00\x00\x00\x00\x00\x00\x00\x05"[..], // the second tag for a long
        b"\x01bt\x07",                                  // a boolean that is neither 0 nor 1
        b"\x01zV\x01aV",                                // not sorted
        b"\x01aV\x01aV",                                // twice the same name
        b"\x02\xff\xfeV",                               // a name that is not UTF-8
        b"",
    ] {
        check_unchanged(&mut peer, &queue, &props().raw_headers(entries).bytes());
    }
}

#[test]
fn large_headers() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let properties = headers([("large", s(&"x".repeat(100_000)))]);
    check_unchanged(&mut peer, &queue, &properties);
}

#[test]
fn deep_headers() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let mut value = i(1);
    for _ in 0..20 {
        value = Value::Table(table([("t", Value::Array(vec![value]))]));
    }
    check_unchanged(&mut peer, &queue, &headers([("deep", value)]));
}

#[test]
fn numbers_that_are_none() {
    leveret_only!("RabbitMQ, whose language has no such numbers, closes with an internal error");
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check_unchanged(&mut peer, &queue, &headers([("f64", Value::F64(value)), ("f32", Value::F32(value as f32))]));
    }
}

#[test]
fn flags_that_no_property_has_are_kept() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for properties in [&b"\x00\x02"[..], b"\x10\x02\x02"] {
        check_unchanged(&mut peer, &queue, properties);
    }
}

#[test]
fn a_second_word_of_flags_is_kept() {
    leveret_only!("RabbitMQ closes the connection with an internal error");
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for properties in [&b"\x00\x01\x00\x00"[..], b"\x10\x01\x00\x00\x02", b"\x00\x01\x00\x01\x00\x00"] {
        check_unchanged(&mut peer, &queue, properties);
    }
}

#[test]
fn what_the_protocol_changes_leaves_every_other_byte() {
    leveret_only!("RabbitMQ writes the properties anew");
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    // An odd boolean, the second tag of a long, a name twice, an unknown flag: nothing that an encoder would write.
    let (front, back) = (&b"\x01zt\x07\x01aL\x00\x00\x00\x00\x00\x00\x00\x05"[..], &b"\x01zV\x02abV"[..]);
    let with_flag = |mut properties: Vec<u8>| {
        properties[1] |= 2;
        properties
    };
    let bcc = b"\x03BCCA\x00\x00\x00\x00";
    let sent = with_flag(props().raw_headers(&[front, bcc, back].concat()).octet("priority", 3).bytes());
    let expected = with_flag(props().raw_headers(&[front, back].concat()).octet("priority", 3).bytes());
    peer.send_publish(1, &publish("", &queue), &sent, b"x");
    assert_eq!(peer.get_no_ack(1, &queue).expect("the message").properties, expected);

    peer.call(1, &consume("amq.rabbitmq.reply-to", "replies").on("no-ack"));
    let request = |reply_to: &str| {
        let properties = props().raw_headers(&[front, back].concat()).text("reply-to", reply_to).text("type", "t");
        with_flag(properties.bytes())
    };
    peer.send_publish(1, &publish("", &queue), &request("amq.rabbitmq.reply-to"), b"x");
    let properties = peer.get_no_ack(1, &queue).expect("the request").properties;
    let Field::Text(address) = &decode(&properties)["reply-to"] else { panic!("no reply-to") };
    assert_eq!(properties, request(address));
}

#[test]
fn modes_of_delivery_that_nobody_knows_are_kept() {
    leveret_only!("3.10.8 refuses them");
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for mode in [0, 3, 255] {
        check_unchanged(&mut peer, &queue, &props().octet("delivery-mode", mode).bytes());
    }
}

#[test]
fn arguments_of_every_type_are_accepted() {
    let mut peer = Peer::connect();
    let queue = crate::support::unique("arguments");
    let declare = queue_declare(&queue).on("exclusive").args([
        ("x-a", Value::Decimal(1, 2)),
        ("x-b", Value::Bytes(vec![1])),
        ("x-c", Value::Array(vec![Value::Void, Value::Table(table([("k", Value::F32(1.5))]))])),
        ("x-d", Value::Time(1)),
        ("x-e", Value::Void),
    ]);
    peer.call(1, &declare);
    peer.call(1, &declare);
    peer.call(1, &queue_declare(&queue).on("exclusive"));
}

#[test]
fn bodies_of_any_bytes() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for body in [vec![0xCE; 5000], (0..=255).collect(), b"\x01\x00\x00\x00\x00\x00\x04".to_vec()] {
        peer.send_publish(1, &publish("", &queue), b"\0\0", &body);
        assert_eq!(peer.get_no_ack(1, &queue).expect("the message").body, body);
    }
}
