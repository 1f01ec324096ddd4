//! Section 1.1: the connection from its header to its end.

use std::time::{Duration, Instant};

use crate::leveret_only;
use crate::support::broker::{self, Broker, Launch, exchange_bytes};
use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

/// How long a refused login is held before the socket is dropped.
const SILENT_CLOSE: Duration = Duration::from_secs(3);

// ---- protocol header ----

#[test]
fn both_versions_of_the_protocol_header_are_answered_by_start() {
    for header in [PROTOCOL_HEADER, b"AMQP\x01\x01\x00\x09"] {
        let mut peer = Peer::tcp(broker::shared());
        peer.send_raw(header);
        let start = peer.expect(0, "connection.start");
        assert_eq!((start.number("version-major"), start.number("version-minor")), (0, 9));
        assert_eq!(start.text("locales"), "en_US");
        let mechanisms: Vec<_> = start.text("mechanisms").split(' ').collect();
        assert!(mechanisms.contains(&"PLAIN") && mechanisms.contains(&"AMQPLAIN"), "{mechanisms:?}");
    }
}

#[test]
fn an_old_header_leads_to_the_same_connection() {
    let mut peer = Peer::tcp(broker::shared());
    peer.send_raw(b"AMQP\x01\x01\x00\x09");
    peer.expect(0, "connection.start");
    let login = Login::new();
    peer.send(0, &login.start_ok());
    peer.expect(0, "connection.tune");
    peer.send(0, &login.tune_ok());
    peer.send(0, &login.open());
    peer.expect(0, "connection.open-ok");
    peer.open_channel(1);
    peer.close();
}

#[test]
fn a_version_that_is_not_spoken_is_answered_by_the_one_that_is() {
    for header in [
        b"AMQP\x00\x00\x09\x02",
        b"AMQP\x00\x00\x0a\x00",
        b"AMQP\x00\x00\x08\x00",
        b"AMQP\x00\x09\x00\x01",
        b"AMQP\xff\xff\xff\xff",
    ] {
        assert_eq!(exchange_bytes(broker::shared(), header), PROTOCOL_HEADER, "after {header:?}");
    }
}

#[test]
fn another_protocol_is_answered_by_the_header_and_closed() {
    for greeting in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\x16\x03\x01\x02\x00\x01\x00\x01", b"amqp\x00\x00\x09\x01"]
    {
        assert_eq!(exchange_bytes(broker::shared(), greeting), PROTOCOL_HEADER, "after {greeting:?}");
    }
}

#[test]
fn a_header_in_single_bytes_is_a_header() {
    let mut peer = Peer::tcp(broker::shared());
    for byte in PROTOCOL_HEADER {
        peer.send_raw(&[*byte]);
    }
    peer.expect(0, "connection.start");
}

#[test]
fn half_a_header_is_answered_by_nothing() {
    for length in 0..8 {
        let mut peer = Peer::tcp(broker::shared());
        peer.send_raw(&PROTOCOL_HEADER[..length]);
        peer.shutdown_write();
        peer.expect_eof();
    }
}

// ---- start ----

#[test]
fn server_properties_say_what_client_libraries_look_for() {
    let mut peer = Peer::tcp(broker::shared());
    peer.send_raw(PROTOCOL_HEADER);
    let start = peer.expect(0, "connection.start");
    let properties = start.table("server-properties");
    assert_eq!(lookup(properties, "product"), &s("RabbitMQ"));
    let Value::Str(version) = lookup(properties, "version") else { panic!("a version that is no string") };
    let numbers: Vec<u32> =
        std::str::from_utf8(version).expect("UTF-8").split('.').map(|n| n.parse().expect("a number")).collect();
    assert!(numbers.len() == 3 && numbers >= vec![3, 3, 0], "{numbers:?}");
    for name in ["cluster_name", "copyright", "information", "platform"] {
        assert!(matches!(lookup(properties, name), Value::Str(text) if !text.is_empty()), "{name}");
    }
    let Value::Table(capabilities) = lookup(properties, "capabilities") else { panic!("no table of capabilities") };
    let mut names: Vec<_> = capabilities.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "authentication_failure_close",
            "basic.nack",
            "connection.blocked",
            "consumer_cancel_notify",
            "consumer_priorities",
            "direct_reply_to",
            "exchange_exchange_bindings",
            "per_consumer_qos",
            "publisher_confirms",
        ]
    );
    assert!(capabilities.iter().all(|(_, value)| *value == Value::Bool(true)));
}

#[test]
fn the_version_is_the_last_with_global_qos() {
    leveret_only!("the version of the product is its own");
    let mut peer = Peer::tcp(broker::shared());
    peer.send_raw(PROTOCOL_HEADER);
    let start = peer.expect(0, "connection.start");
    let properties = start.table("server-properties");
    assert_eq!(lookup(properties, "version"), &s("3.13.7"));
    assert!(properties.iter().any(|(_, value)| *value == s("Leveret")), "its own name: {properties:?}");
    assert_eq!(start.text("mechanisms"), "PLAIN AMQPLAIN", "ANONYMOUS is offered only where it is configured");
}

#[test]
fn login_with_plain() {
    Login::new().connect(broker::shared()).close();
}

/// The response of AMQPLAIN: the entries of a table without the length before them.
fn amqplain<const N: usize>(entries: [(&str, Value); N]) -> Vec<u8> {
    table_entries(&table(entries))
}

#[test]
fn login_with_amqplain() {
    let response = amqplain([("LOGIN", s("guest")), ("PASSWORD", s("guest"))]);
    Login::new().mechanism("AMQPLAIN", &response).connect(broker::shared()).close();
    let more = amqplain([("OTHER", i(1)), ("PASSWORD", s("guest")), ("LOGIN", s("guest"))]);
    Login::new().mechanism("AMQPLAIN", &more).connect(broker::shared()).close();
}

#[test]
fn login_with_amqplain_in_binary() {
    leveret_only!("3.10.8 wants strings");
    let bytes = || Value::Bytes(b"guest".to_vec());
    let binary = amqplain([("LOGIN", bytes()), ("PASSWORD", bytes())]);
    Login::new().mechanism("AMQPLAIN", &binary).connect(broker::shared()).close();
}

#[test]
fn any_locale_and_empty_client_properties_are_accepted() {
    let mut peer = Login::new().started(broker::shared());
    peer.send(
        0,
        &method("connection.start-ok")
            .text("mechanism", "PLAIN")
            .long_bytes("response", b"\0guest\0guest")
            .text("locale", "xx_YY"),
    );
    peer.expect(0, "connection.tune");
}

#[test]
fn client_properties_of_every_type_are_accepted() {
    let mut login = Login::new();
    login.properties.extend(table([
        ("connection_name", s("name")),
        ("list", Value::Array(vec![i(1), Value::Table(table([("x", Value::Void)]))])),
        ("time", Value::Time(1)),
        ("number", Value::F64(1.5)),
        ("decimal", Value::Decimal(2, 12345)),
        ("bytes", Value::Bytes(vec![0, 255])),
    ]));
    login.connect(broker::shared()).close();
}

#[test]
fn a_refused_login_is_closed_at_once_for_a_client_that_understands() {
    let amqplain = amqplain([("LOGIN", s("guest")), ("PASSWORD", s("wrong"))]);
    for login in [
        Login::new().user("guest", "wrong"),
        Login::new().user("nobody", "guest"),
        Login::new().user("guest", ""),
        Login::new().user("", ""),
        Login::new().mechanism("AMQPLAIN", &amqplain),
    ] {
        let mut peer = login.started(broker::shared());
        let before = Instant::now();
        peer.send(0, &login.start_ok());
        let close = peer.expect(0, "connection.close");
        assert!(before.elapsed() < SILENT_CLOSE, "the close comes at once");
        let text = format!(
            "ACCESS_REFUSED - Login was refused using authentication mechanism {}. For details see the broker \
             logfile.",
            login.mechanism
        );
        assert_eq!(close_values(&close), (403, text, (0, 0)));
        peer.send(0, &method("connection.close-ok"));
        peer.expect_eof();
    }
}

/// Errors before the limits are agreed are not told to the client: the socket is held and then dropped.
#[test]
fn errors_before_open_are_silent_and_held_for_three_seconds() {
    let without_capability = Login::new().user("guest", "wrong").capabilities(&[]);
    let start_ok =
        |mechanism: &str, response: &[u8]| method_frame(0, &Login::new().mechanism(mechanism, response).start_ok());
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("a wrong password without the capability", method_frame(0, &without_capability.start_ok())),
        ("a PLAIN response without separators", start_ok("PLAIN", b"guestguest")),
        ("a PLAIN response with one part", start_ok("PLAIN", b"\0guest")),
        ("a PLAIN response with four parts", start_ok("PLAIN", b"\0guest\0guest\0more")),
        ("a PLAIN response that is empty", start_ok("PLAIN", b"")),
        ("an AMQPLAIN response without a password", start_ok("AMQPLAIN", &amqplain([("LOGIN", s("guest"))]))),
        ("an AMQPLAIN response without a name", start_ok("AMQPLAIN", &amqplain([("PASSWORD", s("guest"))]))),
        ("an AMQPLAIN response that is no table", start_ok("AMQPLAIN", b"\x05LOGIN")),
        ("a mechanism that is not offered", start_ok("SCRAM-SHA-256", b"")),
        ("a mechanism in small letters", start_ok("plain", b"\0guest\0guest")),
        ("an empty mechanism", start_ok("", b"\0guest\0guest")),
        ("tune-ok before its time", method_frame(0, &Login::new().tune_ok())),
        ("open before its time", method_frame(0, &Login::new().open())),
        ("secure-ok that nobody asked for", method_frame(0, &method("connection.secure-ok"))),
        ("a method on a channel", method_frame(1, &method("channel.open"))),
        ("a frame of an unknown type", frame(9, 0, b"")),
        ("a header frame", frame(FRAME_HEADER, 0, b"")),
        ("a frame without its end", [&frame(FRAME_METHOD, 0, b"abcd")[..11], b"\0"].concat()),
        ("a start-ok that ends early", frame(FRAME_METHOD, 0, &Login::new().start_ok().payload()[..20])),
    ];
    let tuning_rows: Vec<(&str, Vec<u8>)> = vec![
        ("open before tune-ok", method_frame(0, &Login::new().open())),
        ("a second start-ok", method_frame(0, &Login::new().start_ok())),
        ("secure-ok before tune-ok", method_frame(0, &method("connection.secure-ok"))),
        ("close before tune-ok", method_frame(0, &connection_close())),
        ("a frame of an unknown type before tune-ok", frame(9, 0, b"")),
    ];
    let before = Instant::now();
    let mut peers: Vec<(&str, Peer)> = Vec::new();
    for (what, bytes) in rows {
        let mut peer = Login::new().started(broker::shared());
        peer.send_raw(&bytes);
        peers.push((what, peer));
    }
    for (what, bytes) in tuning_rows {
        let mut peer = Login::new().tuning(broker::shared());
        peer.send_raw(&bytes);
        peers.push((what, peer));
    }
    for (what, mut peer) in peers {
        assert_eq!(peer.next_frame(), None, "after {what}");
        assert!(before.elapsed() + Duration::from_millis(200) > SILENT_CLOSE, "{what} is held for three seconds");
    }
    assert!(before.elapsed() < SILENT_CLOSE + Duration::from_secs(3), "no longer than needed");
}

// ---- tune ----

#[test]
fn the_limits_that_are_offered() {
    let mut peer = Login::new().started(broker::shared());
    peer.send(0, &Login::new().start_ok());
    let tune = peer.expect(0, "connection.tune");
    let limits = ["channel-max", "frame-max", "heartbeat"].map(|name| tune.number(name));
    assert_eq!(limits, [2047, 131_072, 60]);
}

fn check_refused_limits(channel_max: u16, frame_max: u32, text: &str) {
    let login = Login::new().channel_max(channel_max).frame_max(frame_max);
    let mut peer = login.tuning(broker::shared());
    peer.send(0, &login.tune_ok());
    peer.expect_connection_close(530, &format!("NOT_ALLOWED - {text}"), ids("connection.tune"));
}

#[test]
fn limits_above_the_offer_are_refused() {
    leveret_only!("before 4.0 a refused limit was not told to the client");
    check_refused_limits(
        2048,
        131_072,
        "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
    );
    check_refused_limits(
        0,
        131_072,
        "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
    );
    check_refused_limits(
        2047,
        131_073,
        "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
    );
    check_refused_limits(
        2047,
        0,
        "negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)",
    );
    check_refused_limits(
        2047,
        u32::MAX,
        "negotiated frame_max = 4294967295 is higher than the maximum allowed value (131072)",
    );
}

#[test]
fn a_frame_max_below_the_minimum_is_refused() {
    leveret_only!("before 4.0 a refused limit was not told to the client");
    check_refused_limits(2047, 4095, "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)");
    check_refused_limits(2047, 1, "negotiated frame_max = 1 is lower than the minimum allowed value (4096)");
}

#[test]
fn limits_within_the_offer_are_accepted() {
    for (channel_max, frame_max) in [(2047, 131_072), (1, 4096), (2, 8192)] {
        Login::new().channel_max(channel_max).frame_max(frame_max).connect(broker::shared()).close();
    }
}

// ---- open ----

#[test]
fn an_unknown_virtual_host_is_refused() {
    for vhost in ["nowhere", "", "//"] {
        let peer = Login::new().opening(broker::shared());
        let open = Login::new().vhost(vhost).open();
        peer.fatal(0, &open, 530, &format!("NOT_ALLOWED - vhost {vhost} not found"));
    }
}

#[test]
fn the_reserved_fields_of_open_are_ignored() {
    let mut peer = Login::new().opening(broker::shared());
    peer.send(0, &Login::new().open().text("capabilities", "anything").on("insist"));
    let reply = peer.expect(0, "connection.open-ok");
    assert_eq!(reply.text("known-hosts"), "");
}

#[test]
fn a_method_out_of_its_state_closes_the_connection() {
    let state_error = |state: &str| format!("CHANNEL_ERROR - unexpected method in connection state {state}");
    let login = Login::new();
    for early in [login.tune_ok(), login.start_ok(), connection_close()] {
        login.opening(broker::shared()).fatal(0, &early, 504, &state_error("opening"));
    }
    let late = [login.open(), login.start_ok(), login.tune_ok(), method("connection.secure-ok")];
    for method in late {
        login.connection(broker::shared()).fatal(0, &method, 504, &state_error("running"));
    }
}

#[test]
fn methods_of_the_server_are_no_methods_of_a_client() {
    for name in ["connection.start", "connection.tune", "connection.open-ok", "connection.blocked"] {
        let peer = Login::new().connection(broker::shared());
        peer.fatal(0, &method(name), 504, "CHANNEL_ERROR - unexpected method in connection state running");
    }
}

#[test]
fn methods_of_a_channel_do_not_belong_on_channel_zero() {
    for name in ["channel.open", "queue.declare", "basic.publish", "channel.close", "tx.select"] {
        let peer = Login::new().connection(broker::shared());
        peer.fatal(0, &method(name), 504, "CHANNEL_ERROR - unexpected method in connection state running");
    }
}

#[test]
fn methods_of_the_connection_do_not_belong_on_a_channel() {
    for method in [Login::new().open(), connection_close(), Login::new().tune_ok()] {
        Peer::connect().fatal(1, &method, 503, "COMMAND_INVALID - unimplemented method");
    }
}

#[test]
fn everything_may_be_sent_before_anything_is_answered() {
    let queue = unique("pipelined");
    let mut peer = Peer::tcp(broker::shared());
    let mut bytes = Login::new().pipelined();
    bytes.extend(method_frame(1, &queue_declare(&queue).on("exclusive")));
    bytes.extend(method_frame(2, &method("channel.open")));
    bytes.extend(publish_frames(1, &publish("", &queue), b"\0\0", b"early"));
    bytes.extend(method_frame(1, &get(&queue)));
    peer.send_raw(&bytes);
    peer.expect(0, "connection.start");
    peer.expect(0, "connection.tune");
    peer.expect(0, "connection.open-ok");
    peer.expect(1, "channel.open-ok");
    assert_eq!(peer.expect(1, "queue.declare-ok").text("queue"), queue);
    assert_eq!(peer.expect_message(1, "basic.get-ok").body, b"early");
    peer.expect(2, "channel.open-ok");
    peer.close();
}

#[test]
fn frames_may_be_cut_anywhere_by_the_network() {
    let mut peer = Peer::tcp(broker::shared());
    for byte in Login::new().pipelined() {
        peer.send_raw(&[byte]);
    }
    peer.expect(0, "connection.start");
    peer.expect(0, "connection.tune");
    peer.expect(0, "connection.open-ok");
    peer.expect(1, "channel.open-ok");
    peer.close();
}

// ---- heartbeats ----

#[test]
fn a_silent_client_is_dropped_after_two_missed_heartbeats_and_hears_heartbeats_until_then() {
    let mut peer = Login::new().heartbeat(1).connect(broker::shared());
    let before = Instant::now();
    let mut heartbeats = 0;
    while let Some(frame) = peer.next_frame() {
        assert_eq!(frame, Frame { kind: FRAME_HEARTBEAT, channel: 0, payload: vec![] });
        heartbeats += 1;
    }
    let lived = before.elapsed();
    assert!(lived > Duration::from_millis(1400) && lived < Duration::from_secs(5), "dropped after {lived:?}");
    assert!(heartbeats >= 3, "one each half interval, {heartbeats} came in {lived:?}");
}

#[test]
fn heartbeats_or_any_other_traffic_keep_a_connection_and_zero_means_none() {
    let mut beating = Login::new().heartbeat(1).connect(broker::shared());
    let mut working = Login::new().heartbeat(1).connect(broker::shared());
    let mut careless = Login::new().heartbeat(0).connect(broker::shared());
    let until = Instant::now() + Duration::from_millis(3500);
    while Instant::now() < until {
        beating.send_raw(&frame(FRAME_HEARTBEAT, 0, b""));
        working.send(1, &method("channel.flow").on("active"));
        loop {
            let frame = working.next_frame().expect("a connection that works stays open");
            if frame.kind == FRAME_METHOD {
                break;
            }
        }
        let wait = beating.next_frame_within(Duration::from_millis(300));
        assert!(!matches!(wait, Ok(None)), "a connection that beats stays open");
    }
    assert!(careless.next_frame_within(Duration::from_millis(1)).is_err(), "no heartbeat where none was agreed");
    careless.close();
    working.close();
    beating.close();
}

#[test]
fn a_heartbeat_is_welcome_where_none_was_agreed() {
    let mut peer = Peer::connect();
    peer.send_raw(&[frame(FRAME_HEARTBEAT, 0, b""), frame(FRAME_HEARTBEAT, 0, b"")].concat());
    peer.expect_nothing_before_sync(1);
}

#[test]
fn a_heartbeat_belongs_on_channel_zero_and_is_empty() {
    let mut peer = Peer::connect();
    peer.send_raw(&frame(FRAME_HEARTBEAT, 1, b""));
    peer.expect_connection_close(505, "UNEXPECTED_FRAME - type 8, all octets = <<>>", (0, 0));
    let mut peer = Peer::connect();
    peer.send_raw(&frame(FRAME_HEARTBEAT, 0, b"x"));
    peer.expect_connection_close(501, "FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame", (0, 0));
}

#[test]
fn a_client_that_does_not_finish_the_handshake_is_dropped() {
    leveret_only!("the time allowed is made short by configuration");
    let broker = Broker::start(Launch::new().limit("handshake_timeout_ms", 500));
    let before = Instant::now();
    let mut peers =
        [Peer::tcp(broker.address), Login::new().started(broker.address), Login::new().opening(broker.address)];
    for peer in &mut peers {
        peer.expect_eof();
    }
    let lived = before.elapsed();
    assert!(lived > Duration::from_millis(400) && lived < Duration::from_secs(5), "dropped after {lived:?}");
    broker.assert_serves();
}

// ---- close ----

#[test]
fn close_is_answered_with_close_ok() {
    Login::new().connection(broker::shared()).close();
    Peer::connect().close();
}

/// One that saw the end before it had looked at the answer took the connection for lost: the Go client.
#[test]
fn the_client_hangs_up_first_after_close_ok() {
    let mut peer = Peer::connect();
    peer.call(0, &connection_close());
    let end = peer.next_frame_within(Duration::from_millis(100));
    assert!(end.is_err(), "the broker hung up first: {end:?}");
    peer.shutdown_write();
    peer.expect_eof();
}

#[test]
fn nothing_is_done_after_close() {
    let queue = unique("after-close");
    let mut peer = Peer::connect();
    let mut bytes = method_frame(0, &connection_close());
    bytes.extend(method_frame(1, &queue_declare(&queue)));
    peer.send_raw(&bytes);
    peer.expect_closed();
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    Peer::connect().refused(1, &queue_declare(&queue).on("passive"), 404, &text);
}

#[test]
fn what_came_before_close_is_done() {
    let queue = unique("before-close");
    let mut peer = Peer::connect();
    peer.call(1, &queue_declare(&queue));
    let mut bytes = publish_frames(1, &publish("", &queue), b"\0\0", b"last words");
    bytes.extend(method_frame(0, &connection_close()));
    peer.send_raw(&bytes);
    peer.expect_closed();
    let mut other = Peer::connect();
    assert_eq!(other.get_no_ack(1, &queue).expect("the message").body, b"last words");
    other.call(1, &queue_delete(&queue));
}

#[test]
fn an_exclusive_queue_is_gone_when_close_ok_arrives() {
    let mut other = Peer::connect();
    for _ in 0..20 {
        let mut peer = Peer::connect();
        let queue = peer.exclusive_queue(1);
        peer.call(0, &connection_close());
        other.call(1, &queue_declare(&queue[1..])); // a name of the same length without the reserved prefix
        other.call(1, &queue_delete(&queue[1..]));
        other.refused(
            1,
            &queue_declare(&queue).on("passive"),
            404,
            &format!("NOT_FOUND - no queue '{queue}' in vhost '/'"),
        );
    }
}

#[test]
fn after_a_close_from_the_broker_only_close_and_close_ok_count() {
    let queue = unique("closing");
    let mut peer = Peer::connect();
    peer.send(0, &Login::new().open());
    assert_eq!(peer.expect(0, "connection.close").number("reply-code"), 504);
    peer.send(1, &queue_declare(&queue));
    peer.send_publish(1, &publish("", "nowhere").on("mandatory"), b"\0\0", b"x");
    peer.send_raw(&frame(FRAME_HEARTBEAT, 0, b""));
    peer.send(0, &connection_close());
    peer.expect(0, "connection.close-ok");
    peer.send(0, &method("connection.close-ok"));
    peer.expect_eof();
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    Peer::connect().refused(1, &queue_declare(&queue).on("passive"), 404, &text);
}

#[test]
fn a_connection_that_is_closed_for_an_error_has_given_back_what_it_had() {
    let queue = unique("error");
    let mut other = Peer::connect();
    other.call(1, &queue_declare(&queue));
    other.publish(1, "", &queue, "x");
    other.expect_counts(1, &queue, (1, 0));
    let mut peer = Peer::connect();
    let exclusive = peer.exclusive_queue(1);
    peer.consume(1, &queue, "t");
    peer.expect_delivery(1);
    peer.open_channel(2);
    peer.send(2, &method("channel.flow"));
    peer.expect(0, "connection.close");
    other.expect_counts(1, &queue, (1, 0));
    let text = format!("NOT_FOUND - no queue '{exclusive}' in vhost '/'");
    other.call(1, &queue_delete(&queue));
    other.refused(1, &queue_declare(&exclusive).on("passive"), 404, &text);
}

#[test]
fn a_close_ok_that_nobody_asked_for() {
    Login::new().connection(broker::shared()).fatal(
        0,
        &method("connection.close-ok"),
        504,
        "CHANNEL_ERROR - unexpected method in connection state running",
    );
}

#[test]
fn a_lost_connection_gives_back_what_it_had() {
    let queue = unique("lost");
    let mut other = Peer::connect();
    other.call(1, &queue_declare(&queue));
    other.publish(1, "", &queue, "one");
    let mut peer = Peer::connect();
    let exclusive = peer.exclusive_queue(1);
    assert!(!peer.get(1, &queue).expect("a message").redelivered());
    drop(peer);
    other.consume(1, &queue, "t");
    let delivery = other.expect_delivery(1);
    assert_eq!((delivery.body_text(), delivery.redelivered()), ("one", true));
    let text = format!("NOT_FOUND - no queue '{exclusive}' in vhost '/'");
    other.call(1, &queue_delete(&queue));
    other.expect(1, "basic.cancel");
    other.refused(1, &queue_declare(&exclusive).on("passive"), 404, &text);
}

// ---- the rest of the class ----

#[test]
fn a_new_secret_is_accepted_and_passwords_do_not_expire() {
    let mut peer = Login::new().connection(broker::shared());
    for secret in ["guest", "anything", ""] {
        let update = method("connection.update-secret").long_bytes("new-secret", secret.as_bytes());
        peer.call(0, &update.text("reason", "a reason"));
    }
    peer.open_channel(1);
}

#[test]
fn access_request_is_granted_for_old_clients() {
    let mut peer = Peer::connect();
    let reply = peer.call(1, &method("access.request").text("realm", "/data").on("active").on("write"));
    assert_eq!(reply.number("ticket"), 1);
}
