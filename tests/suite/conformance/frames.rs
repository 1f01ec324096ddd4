//! Section 1.2: frames, their order, and what is wrong with them.

use crate::leveret_only;
use crate::support::broker;
use crate::support::peer::*;
use crate::support::props::{self, NONE, headers};
use crate::support::unique;
use crate::support::wire::*;

/// The bytes, sent on an open channel 1, close the connection like this.
#[track_caller]
fn check_fatal(bytes: &[u8], code: u16, text: &str, cause: (u16, u16)) {
    let mut peer = Peer::connect();
    peer.send_raw(bytes);
    peer.expect_connection_close(code, text, cause);
}

const NO_CAUSE: (u16, u16) = (0, 0);

#[test]
fn a_frame_of_an_unknown_type() {
    let rows: [(u8, u16, &[u8], &str); 7] = [
        (5, 1, b"", "type 5, all octets = <<>>"),
        (0, 1, b"", "type 0, all octets = <<>>"),
        (4, 0, b"\x01\x02\x03\xff", "type 4, all octets = <<1,2,3,255>>"),
        (255, 1, b"hello world", "type 255, all octets = <<\"hello world\">>"),
        (9, 7, b"a\n\"\\", r#"type 9, all octets = <<"a\n\"\\">>"#),
        (9, 1, b"hello world, 17 ", "type 9, all octets = <<\"hello world, 17 \">>"),
        (9, 1, b"hello world, 17 bytes", "type 9, first 16 octets = <<\"hello world, 17 \">>"),
    ];
    for (kind, channel, payload, text) in rows {
        let text = format!("FRAME_ERROR - {text}: unknown_frame");
        check_fatal(&frame(kind, channel, payload), 501, &text, NO_CAUSE);
    }
}

#[test]
fn a_method_frame_too_short_for_a_method_is_an_unknown_frame() {
    check_fatal(&frame(FRAME_METHOD, 1, b""), 501, "FRAME_ERROR - type 1, all octets = <<>>: unknown_frame", NO_CAUSE);
    check_fatal(
        &frame(FRAME_METHOD, 0, b"\x00\x0a\x00"),
        501,
        "FRAME_ERROR - type 1, all octets = <<0,10,0>>: unknown_frame",
        NO_CAUSE,
    );
}

#[test]
fn a_header_frame_too_short_for_a_header_is_an_unknown_frame() {
    let publish = method_frame(1, &publish("", "q"));
    check_fatal(
        &[publish.clone(), frame(FRAME_HEADER, 1, b"")].concat(),
        501,
        "FRAME_ERROR - type 2, all octets = <<>>: unknown_frame",
        NO_CAUSE,
    );
    check_fatal(
        &[publish, frame(FRAME_HEADER, 1, b"\x00\x3c\x00\x00")].concat(),
        501,
        "FRAME_ERROR - type 2, all octets = <<0,60,0,0>>: unknown_frame",
        NO_CAUSE,
    );
}

#[test]
fn a_frame_without_its_end_byte() {
    let mut bytes = frame(FRAME_METHOD, 1, &method("channel.flow").payload());
    *bytes.last_mut().expect("a frame") = 0;
    check_fatal(
        &bytes,
        501,
        "FRAME_ERROR - type 1, all octets = <<0,20,0,20,0>>: {invalid_frame_end_marker,0}",
        NO_CAUSE,
    );
}

/// The head of a frame is enough to know that it is too large; eight bytes too many are forgiven.
#[test]
fn a_frame_larger_than_agreed() {
    for (frame_max, length) in [(4096, 4097), (4096, u32::MAX), (131_072, 131_073)] {
        let mut peer = Login::new().frame_max(frame_max).connect(broker::shared());
        peer.send_raw(&[&[FRAME_BODY, 0, 1][..], &length.to_be_bytes()].concat());
        let limit = frame_max - 8;
        let text = format!("FRAME_ERROR - type 3, all octets = <<>>: {{frame_too_large,{length},{limit}}}");
        peer.expect_connection_close(501, &text, NO_CAUSE);
    }
}

#[test]
fn a_payload_of_exactly_frame_max_is_forgiven() {
    let mut peer = Login::new().frame_max(4096).connect(broker::shared());
    let queue = peer.exclusive_queue(1);
    for size in [4087, 4088, 4089, 4096] {
        let body = vec![b'x'; size];
        peer.send(1, &publish("", &queue));
        peer.send_raw(&header_frame(1, size as u64, NONE));
        peer.send_raw(&body_frame(1, &body));
        assert_eq!(peer.get_no_ack(1, &queue).expect("the message").body, body);
    }
}

#[test]
fn frames_of_a_content_in_the_wrong_order() {
    let method_text = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    let header_text = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
    let body_text = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    let published = ids("basic.publish");
    let publish = method_frame(1, &publish("", "q"));
    let other = method_frame(1, &method("channel.flow").on("active"));
    let close = method_frame(1, &channel_close());
    let header = header_frame(1, 5, NONE);
    let empty = header_frame(1, 0, NONE);
    let body = body_frame(1, b"x");
    let nothing = body_frame(1, b"");
    let check = |frames: &[&[u8]], text: &str, cause| check_fatal(&frames.concat(), 505, text, cause);
    check(&[&header], method_text, NO_CAUSE);
    check(&[&body], method_text, NO_CAUSE);
    check(&[&publish, &other], header_text, published);
    check(&[&publish, &publish], header_text, published);
    check(&[&publish, &close], header_text, published);
    check(&[&publish, &body], header_text, published);
    check(&[&publish, &header, &header], body_text, published);
    check(&[&publish, &header, &other], body_text, published);
    check(&[&publish, &header, &close], body_text, published);
    check(&[&publish, &header, &body, &publish], body_text, published);
    check(&[&publish, &empty, &body], method_text, NO_CAUSE);
    check(&[&publish, &empty, &nothing], method_text, NO_CAUSE);
    check(&[&publish, &empty, &header], method_text, NO_CAUSE);
}

#[test]
fn content_frames_do_not_belong_on_channel_zero() {
    check_fatal(&body_frame(0, b"x"), 505, "UNEXPECTED_FRAME - type 3, all octets = <<\"x\">>", NO_CAUSE);
    check_fatal(
        &header_frame(0, 0, NONE),
        505,
        "UNEXPECTED_FRAME - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,0,0,0>>",
        NO_CAUSE,
    );
}

#[test]
fn the_class_of_a_content_header_is_the_class_of_its_method() {
    let publish = method_frame(1, &publish("", "q"));
    for class in [0, 10, 50, 61, 65535] {
        let header = frame(FRAME_HEADER, 1, &header_payload(class, 0, 5, NONE));
        check_fatal(
            &[&publish[..], &header].concat(),
            505,
            &format!("UNEXPECTED_FRAME - expected content header for class 60, got one for class {class} instead"),
            ids("basic.publish"),
        );
    }
}

#[test]
fn the_weight_of_a_content_is_zero() {
    let publish = method_frame(1, &publish("", "q"));
    let header = frame(FRAME_HEADER, 1, &header_payload(60, 1, 5, NONE));
    check_fatal(
        &[publish, header].concat(),
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ids("basic.publish"),
    );
}

#[test]
fn a_body_longer_than_announced() {
    leveret_only!("3.10.8 takes the surplus as part of the body");
    let publish = method_frame(1, &publish("", "q"));
    for bodies in [&[6][..], &[3, 3], &[5, 1]] {
        let mut bytes = [&publish[..], &header_frame(1, 5, NONE)].concat();
        bodies.iter().for_each(|&size| bytes.extend(body_frame(1, &vec![b'x'; size])));
        if bodies == [5, 1] {
            check_fatal(
                &bytes,
                505,
                "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
                NO_CAUSE,
            );
            continue;
        }
        check_fatal(
            &bytes,
            501,
            "FRAME_ERROR - content body frame exceeds remaining content size",
            ids("basic.publish"),
        );
    }
}

#[test]
fn a_body_of_more_than_half_a_gibibyte_is_refused_at_its_header() {
    leveret_only!("3.10.8 has no such limit");
    for size in [536_870_913, u64::MAX] {
        check_fatal(
            &[method_frame(1, &publish("", "q")), header_frame(1, size, NONE)].concat(),
            501,
            &format!("FRAME_ERROR - content body size {size} exceeds maximum allowed size 536870912"),
            ids("basic.publish"),
        );
    }
}

#[test]
fn an_empty_body_has_no_body_frame_and_empty_body_frames_count_for_nothing() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.send(1, &publish("", &queue));
    peer.send_raw(&header_frame(1, 0, NONE));
    peer.send(1, &publish("", &queue));
    peer.send_raw(&header_frame(1, 2, NONE));
    for part in [&b""[..], b"a", b"", b"", b"b"] {
        peer.send_raw(&body_frame(1, part));
    }
    assert_eq!(peer.drain(1, &queue), ["", "ab"]);
}

#[test]
fn arguments_that_do_not_fit_their_method() {
    let rows: Vec<(&str, &[u8], &str)> = vec![
        ("channel.flow", b"", "<<>>"),
        ("channel.flow", b"\x01\x00", "<<1,0>>"),
        ("queue.declare", b"\x00\x00\x05ab", "<<0,0,5,97,98>>"),
        ("queue.declare", b"\x00\x00\x02ab\x00", "<<0,0,2,97,98,0>>"),
        ("queue.declare", b"\x00\x00\x02ab\x00\x00\x00\x00\x09\x01a", "<<0,0,2,97,98,0,0,0,0,9,1,97>>"),
        ("queue.declare", b"\x00\x00\x02ab\x00\x00\x00\x00\x01\x01a", "<<0,0,2,97,98,0,0,0,0,1,1,97>>"),
        ("basic.ack", b"\x00\x00\x00\x00\x00\x00\x00\x01", "<<0,0,0,0,0,0,0,1>>"),
        ("basic.publish", b"\x00\x00\x00\x00", "<<0,0,0,0>>"),
        ("tx.select", b"\x00", "<<0>>"),
    ];
    for (name, arguments, snippet) in rows {
        let (class, id) = ids(name);
        let payload = [&class.to_be_bytes()[..], &id.to_be_bytes(), arguments].concat();
        check_fatal(
            &frame(FRAME_METHOD, 1, &payload),
            501,
            &format!("FRAME_ERROR - cannot decode {snippet}"),
            (class, id),
        );
    }
}

#[test]
fn arguments_that_do_not_fit_a_method_of_the_connection() {
    leveret_only!("RabbitMQ closes with an internal error");
    let (class, id) = ids("connection.update-secret");
    let payload = [&class.to_be_bytes()[..], &id.to_be_bytes(), b"\x00"].concat();
    check_fatal(&frame(FRAME_METHOD, 0, &payload), 501, "FRAME_ERROR - cannot decode <<0>>", (class, id));
}

#[test]
fn a_text_too_long_for_a_close_is_cut() {
    let mut peer = Peer::connect();
    let queue = format!("{}{}", unique("long"), "x".repeat(255))[..255].to_owned();
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    peer.refused(1, &queue_declare(&queue).on("passive"), 404, &format!("{}...", &text[..252]));
}

#[test]
fn bits_and_tickets_without_a_meaning_are_ignored() {
    let mut peer = Peer::connect();
    let queue = unique("bits");
    let mut payload = queue_declare(&queue).on("exclusive").number("ticket", 0xffff).payload();
    let bits = 4 + 2 + 1 + queue.len();
    assert_eq!(payload[bits], 4, "only exclusive");
    payload[bits] = 0b1110_0100;
    peer.send_raw(&frame(FRAME_METHOD, 1, &payload));
    assert_eq!(peer.expect(1, "queue.declare-ok").text("queue"), queue);
    peer.send_raw(&frame(FRAME_METHOD, 1, b"\x00\x14\x00\x14\xff"));
    assert!(peer.expect(1, "channel.flow-ok").bit("active"));
}

#[test]
fn a_table_value_of_an_unknown_type_or_cut_short() {
    leveret_only!("RabbitMQ drops the socket without a word");
    let rows: [&[u8]; 7] = [
        b"\x01kZ\x00",
        b"\x01k\x00",
        b"\x01kS\x00\x00\x00\x09ab",
        b"\x01k",
        b"\x09k",
        b"\x01kA\x00\x00\x00\x02S\x00",
        b"\x01kl\x00",
    ];
    for entries in rows {
        let mut peer = Peer::connect();
        peer.send(1, &queue_declare("never").raw_table("arguments", entries));
        let (code, _, cause) = close_values(&peer.expect(0, "connection.close"));
        assert_eq!((code, cause), (502, ids("queue.declare")), "for {entries:?}");
        peer.send(0, &method("connection.close-ok"));
        peer.expect_eof();
    }
}

#[test]
fn names_are_utf8() {
    let not_utf8: &[u8] = b"\xff\xfe";
    for method in [
        method("queue.declare").short_bytes("queue", not_utf8),
        method("queue.declare").short_bytes("queue", b"\xc3"),
        method("basic.consume").short_bytes("consumer-tag", not_utf8),
    ] {
        check_fatal(&method_frame(1, &method), 501, "FRAME_ERROR - Malformed UTF-8 in shortstr", NO_CAUSE);
    }
}

#[test]
fn names_of_any_script_are_names() {
    let mut peer = Peer::connect();
    for name in ["häsin", "ウサギ", "🐇", "a b", "with\u{0}nul", &"x".repeat(255)] {
        let name = if name.len() == 255 { name.to_owned() } else { format!("{}{name}", unique("script")) };
        let reply = peer.call(1, &queue_declare(&name).on("exclusive"));
        assert_eq!(reply.text("queue"), name);
        peer.publish(1, "", &name, "x");
        assert_eq!(peer.drain(1, &name), ["x"]);
    }
}

#[test]
fn the_routing_key_of_a_binding_is_utf8_but_that_of_a_message_is_bytes() {
    let bind = method("queue.bind").text("exchange", "amq.direct").short_bytes("routing-key", b"\xff\xfe");
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, "amq.fanout", ""));
    let publish = method("basic.publish").text("exchange", "amq.fanout").short_bytes("routing-key", b"\xff\xfe");
    peer.send_publish(1, &publish, NONE, b"odd");
    peer.send(1, &method("basic.get").text("queue", &queue).on("no-ack"));
    let frame = peer.next_frame().expect("an answer");
    assert_eq!(frame.payload[..4], [0, 60, 0, 71], "get-ok");
    assert!(frame.payload.windows(3).any(|bytes| bytes == b"\x02\xff\xfe"), "the routing key as it was sent");
    check_fatal(&method_frame(1, &bind), 501, "FRAME_ERROR - Malformed UTF-8 in shortstr", NO_CAUSE);
}

#[test]
fn an_unknown_method() {
    leveret_only!("RabbitMQ drops the socket without a word");
    for (channel, class, id) in [(1, 99, 10), (1, 50, 99), (1, 0, 0), (0, 10, 99), (0, 77, 1)] {
        let payload = [u16::to_be_bytes(class), u16::to_be_bytes(id)].concat();
        let mut peer = Peer::connect();
        peer.send_raw(&frame(FRAME_METHOD, channel, &payload));
        let (code, _, _) = close_values(&peer.expect(0, "connection.close"));
        assert_eq!(code, 503, "for {class}.{id}");
        peer.send(0, &method("connection.close-ok"));
        peer.expect_eof();
    }
}

#[test]
fn methods_of_the_server_are_not_implemented_for_clients() {
    for name in [
        "channel.open-ok",
        "channel.flow-ok",
        "channel.close-ok",
        "access.request-ok",
        "exchange.declare-ok",
        "exchange.unbind-ok",
        "queue.declare-ok",
        "queue.unbind-ok",
        "basic.qos-ok",
        "basic.consume-ok",
        "basic.get-empty",
        "basic.recover-ok",
        "confirm.select-ok",
        "tx.commit-ok",
    ] {
        Peer::connect().fatal(1, &method(name), 503, "COMMAND_INVALID - unimplemented method");
    }
    for name in ["basic.return", "basic.deliver", "basic.get-ok"] {
        let mut peer = Peer::connect();
        peer.send_publish(1, &method(name), NONE, b"x");
        peer.expect_connection_close(503, "COMMAND_INVALID - unimplemented method", ids(name));
    }
}

#[test]
fn the_answer_to_a_cancel_that_wanted_none_is_accepted() {
    leveret_only!("RabbitMQ does not implement it");
    let mut peer = Peer::connect();
    peer.send(1, &method("basic.cancel-ok").text("consumer-tag", "t"));
    peer.expect_nothing_before_sync(1);
}

// ---- splitting ----

/// The sizes of the body frames of the next content of channel 1.
fn frame_sizes(peer: &mut Peer) -> Vec<usize> {
    let header = peer.next_frame().expect("a header");
    assert_eq!(header.kind, FRAME_HEADER);
    let size = u64::from_be_bytes(header.payload[4..12].try_into().expect("eight bytes")) as usize;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < size {
        let body = peer.next_frame().expect("a body");
        assert_eq!(body.kind, FRAME_BODY);
        sizes.push(body.payload.len());
    }
    sizes
}

#[test]
fn bodies_are_split_at_the_frame_max_of_the_reader() {
    let queue = unique("split");
    let mut writer = Peer::connect();
    writer.call(1, &queue_declare(&queue));
    for (frame_max, size, sizes) in [
        (4096, 4088, vec![4088]),
        (4096, 4089, vec![4088, 1]),
        (4096, 10_000, vec![4088, 4088, 1824]),
        (131_072, 131_064, vec![131_064]),
        (131_072, 131_065, vec![131_064, 1]),
        (5000, 4992 * 3, vec![4992; 3]),
    ] {
        let mut reader = Login::new().frame_max(frame_max).connect(broker::shared());
        writer.send_publish(1, &publish("", &queue), NONE, &vec![b'x'; size]);
        writer.expect_counts(1, &queue, (1, 0));
        reader.send(1, &method("basic.get").text("queue", &queue).on("no-ack"));
        reader.expect(1, "basic.get-ok");
        assert_eq!(frame_sizes(&mut reader), sizes, "{size} bytes over frames of {frame_max}");

        writer.send_publish(1, &publish("", &queue), NONE, &vec![b'x'; size]);
        reader.call(1, &consume(&queue, "t").on("no-ack"));
        reader.expect(1, "basic.deliver");
        assert_eq!(frame_sizes(&mut reader), sizes, "{size} bytes over frames of {frame_max}, delivered");

        reader.send_publish(1, &publish("", "").on("mandatory"), NONE, &vec![b'x'; size]);
        reader.expect(1, "basic.return");
        assert_eq!(frame_sizes(&mut reader), sizes, "{size} bytes over frames of {frame_max}, returned");
    }
    writer.call(1, &queue_delete(&queue));
}

/// There is no way to split one: a reader with a smaller frame_max than the writer's gets it whole.
#[test]
fn a_header_is_not_split() {
    let queue = unique("header");
    let mut writer = Peer::connect();
    let mut reader = Login::new().frame_max(4096).connect(broker::shared());
    writer.call(1, &queue_declare(&queue));
    let properties = headers([("large", s(&"x".repeat(10_000)))]);
    for body in [&b"small"[..], &[b'x'; 10_000]] {
        writer.send_publish(1, &publish("", &queue), &properties, body);
        writer.expect_counts(1, &queue, (1, 0));
        let message = reader.get_no_ack(1, &queue).expect("the message");
        assert!(message.properties == properties && message.body == body);
    }
    writer.call(1, &queue_delete(&queue));
}

#[test]
fn a_body_in_any_frames_is_the_same_body() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let body: Vec<u8> = (0..5000).map(|n| (n % 251) as u8).collect();
    for part in [1, 7, 500, 4999, 5000] {
        let mut bytes = method_frame(1, &publish("", &queue));
        bytes.extend(header_frame(1, body.len() as u64, NONE));
        body.chunks(part).for_each(|part| bytes.extend(body_frame(1, part)));
        peer.send_raw(&bytes);
        assert_eq!(peer.get_no_ack(1, &queue).expect("the message").body, body, "in parts of {part}");
    }
}

#[test]
fn a_large_body_goes_through_whole() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let body: Vec<u8> = (0..5_000_000u32).map(|n| (n % 253) as u8).collect();
    let small = headers([("n", i(1))]);
    peer.send_publish(1, &publish("", &queue), NONE, b"before");
    peer.send_publish(1, &publish("", &queue), &small, &body);
    peer.send_publish(1, &publish("", &queue), NONE, b"behind");
    peer.consume(1, &queue, "t");
    assert_eq!(peer.expect_delivery(1).body, b"before");
    let large = peer.expect_delivery(1);
    assert!(large.body == body, "the body is not what was sent");
    assert_eq!(large.properties, small);
    assert_eq!(peer.expect_delivery(1).body, b"behind");
}

#[test]
fn contents_of_several_channels_may_be_mixed() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(1);
    let publish = publish("", &queue);
    peer.send_raw(
        &[
            method_frame(1, &publish),
            method_frame(2, &publish),
            header_frame(2, 4, &props::props().text("type", "second").bytes()),
            header_frame(1, 4, &props::props().text("type", "first").bytes()),
            body_frame(1, b"on"),
            body_frame(2, b"tw"),
            frame(FRAME_HEARTBEAT, 0, b""),
            body_frame(2, b"o2"),
            body_frame(1, b"e1"),
        ]
        .concat(),
    );
    peer.expect_counts(1, &queue, (2, 0));
    let mut bodies = peer.drain(1, &queue);
    bodies.sort();
    assert_eq!(bodies, ["one1", "two2"]);
}

#[test]
fn a_message_larger_than_configured_is_refused() {
    leveret_only!("the limit is made small by configuration");
    let broker = broker::Broker::start(broker::Launch::new().limit("max_message_bytes", 1000));
    let mut peer = Login::new().connect(broker.address);
    let queue = peer.exclusive_queue(1);
    peer.send_publish(1, &publish("", &queue), NONE, &[b'x'; 1000]);
    peer.send_publish(1, &publish("", &queue), NONE, &[b'x'; 1001]);
    peer.send_publish(1, &publish("", &queue), NONE, b"ignored");
    peer.expect_channel_close(
        1,
        406,
        "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000",
        ids("basic.publish"),
    );
    peer.open_channel(1);
    peer.expect_counts(1, &queue, (1, 0));
    peer.close();
}
