//! Hostile, broken and absent clients: the offender may be dropped, nobody else notices, memory stays bounded.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};

use crate::leveret_only;
use crate::support::broker::{self, Broker, Launch};
use crate::support::bystander::Bystander;
use crate::support::peer::*;
use crate::support::props::{NONE, headers, props};
use crate::support::unique;
use crate::support::wire::*;

/// Sends bytes on a new connection with channel 1, says that nothing more comes and waits for the end.
fn send_and_hang_up(address: SocketAddr, bytes: &[u8]) {
    let mut peer = Login::new().connect(address);
    let _ = peer.send_raw_if_open(bytes);
    peer.hang_up();
    peer.drain_to_eof();
}

#[test]
fn every_kind_of_broken_frame_harms_only_its_connection() {
    let mut bystander = Bystander::of_shared();
    let publish = method_frame(1, &publish("", "q"));
    let rows: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![1],
        frame(FRAME_METHOD, 1, &[]),
        frame(FRAME_METHOD, 1, &[0; 3]),
        frame(FRAME_METHOD, 1, &[255; 4]),
        frame(FRAME_METHOD, 65535, &[0; 4]),
        frame(0, 0, &[]),
        frame(255, 65535, &[255; 100]),
        frame(FRAME_HEARTBEAT, 5, &[]),
        frame(FRAME_HEARTBEAT, 0, &[1, 2, 3]),
        vec![FRAME_METHOD, 0, 1, 255, 255, 255, 255],
        vec![FRAME_METHOD, 0, 1, 0, 1, 0, 0],
        [vec![FRAME_METHOD, 0, 1, 0, 0, 0, 4], vec![0, 50, 0, 10, 0]].concat(),
        [vec![FRAME_METHOD, 0, 1, 0, 0, 0, 0], vec![FRAME_END; 100]].concat(),
        vec![FRAME_END; 1000],
        PROTOCOL_HEADER.to_vec(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        header_frame(1, 5, NONE),
        body_frame(1, b"x"),
        [publish.clone(), publish.clone()].concat(),
        [publish.clone(), frame(FRAME_HEADER, 1, &[])].concat(),
        [publish.clone(), frame(FRAME_HEADER, 1, &[0; 11])].concat(),
        [publish.clone(), frame(FRAME_HEADER, 1, &header_payload(60, 0, 5, &[]))].concat(),
        [publish.clone(), header_frame(1, u64::MAX, NONE)].concat(),
        [publish.clone(), header_frame(1, 1 << 63, NONE), body_frame(1, b"x")].concat(),
        [publish.clone(), header_frame(1, 3, NONE), body_frame(1, b"1234")].concat(),
        [publish.clone(), header_frame(1, 0, NONE), body_frame(1, b"")].concat(),
        [publish.clone(), header_frame(1, 10, &[255, 255])].concat(),
        [publish.clone(), header_frame(1, 0, &[255, 254, 0])].concat(),
        [publish.clone(), header_frame(1, 0, &[0x80, 0, 200, b'a'])].concat(),
        [publish.clone(), header_frame(1, 0, &[0x20, 0, 255, 255, 255, 255])].concat(),
        [publish.clone(), header_frame(1, 0, &[0x20, 0, 0, 0, 0, 3, 200, b'a', b'V'])].concat(),
        [publish.clone(), header_frame(1, 0, &[0, 1, 0, 1, 0, 1, 0, 1])].concat(),
    ];
    for bytes in rows {
        send_and_hang_up(broker::shared(), &bytes);
        bystander.works();
    }
    bystander.and_newcomers_work();
}

#[test]
fn every_method_with_every_kind_of_argument_harms_only_its_connection() {
    let mut bystander = Bystander::of_shared();
    for class in [0u16, 10, 20, 30, 40, 50, 60, 85, 90, 91, 0xffff] {
        let mut bytes_of_class = Vec::new();
        for id in (0..=130u16).chain([0xffff]) {
            for arguments in [&b""[..], b"\x00", b"\xff\xff\xff\xff\xff\xff", &[0; 40]] {
                let payload = [&class.to_be_bytes()[..], &id.to_be_bytes(), arguments].concat();
                bytes_of_class.push(frame(FRAME_METHOD, 1, &payload));
            }
        }
        // Nearly each of them ends its connection; all on one connection each would take a while.
        for bytes in bytes_of_class.chunks(6) {
            send_and_hang_up(broker::shared(), &bytes.concat());
        }
        bystander.works();
    }
    bystander.and_newcomers_work();
}

/// Properties that end before their values do would break whoever reads them later: they are refused.
#[test]
fn properties_that_are_cut_short_are_refused() {
    leveret_only!("RabbitMQ closes with an internal error");
    let mut bystander = Bystander::of_shared();
    let rows: [&[u8]; 12] = [
        b"",
        b"\x80",
        b"\x80\x00",
        b"\x80\x00\x05abc",
        b"\x10\x00",
        b"\x00\x40\x00\x00",
        b"\x20\x00\x00\x00\x00\x09\x01aV",
        b"\x20\x00\x00\x00\x00\x03\x01aZ",
        b"\x20\x00\x00\x00\x00\x02\x05a",
        b"\x20\x00\x00\x00\x00\x06\x01aS\x00\x00\x00",
        b"\x00\x00surplus",
        b"\x10\x00\x02surplus",
    ];
    for properties in rows {
        let mut peer = Peer::connect();
        peer.send_raw(&publish_frames(1, &publish("", &bystander.queue), properties, b"x"));
        let (code, _, cause) = close_values(&peer.expect(0, "connection.close"));
        assert_eq!((code, cause), (502, ids("basic.publish")), "for {properties:?}");
        peer.send(0, &method("connection.close-ok"));
        peer.expect_eof();
        bystander.works();
    }
}

/// Tables in tables, as deep as a frame of this size can hold them.
fn nested(frame_max: usize, arrays: bool) -> Vec<u8> {
    let room = frame_max - 300;
    let levels = if arrays { room / 5 } else { room / 6 };
    let mut entries = Vec::new();
    for level in (0..levels).rev() {
        let size = if arrays { 5 * (levels - level - 1) } else { 6 * (levels - level - 1) } as u32;
        let mut head = if arrays { vec![b'A'] } else { vec![0, b'F'] };
        head.extend_from_slice(&size.to_be_bytes());
        entries.push(head);
    }
    entries.reverse();
    let mut bytes = if arrays { vec![0] } else { Vec::new() };
    bytes.extend(entries.concat());
    bytes
}

#[test]
fn tables_nested_as_deep_as_a_frame_allows() {
    let mut bystander = Bystander::of_shared();
    for arrays in [false, true] {
        let table = nested(131_072, arrays);
        let declare = queue_declare(&unique("deep")).on("exclusive").raw_table("arguments", &table);
        let bind = queue_bind(&bystander.queue, "amq.headers", "").raw_table("arguments", &table);
        let properties = props().raw_headers(&table).bytes();
        for bytes in [
            method_frame(1, &declare),
            method_frame(1, &bind),
            publish_frames(1, &publish("amq.headers", ""), &properties, b"x"),
            publish_frames(1, &publish("", "nowhere").on("mandatory"), &properties, b"x"),
        ] {
            send_and_hang_up(broker::shared(), &bytes);
            bystander.works();
        }
    }
    bystander.and_newcomers_work();
}

#[test]
fn a_hundred_thousand_levels() {
    leveret_only!("the frame size is raised by configuration");
    let broker = Broker::start(Launch::new().limit("frame_max_bytes", 1 << 20).limit("max_header_bytes", 1 << 20));
    let mut bystander = Bystander::of(broker.address);
    let login = Login::new().frame_max(1 << 20);
    for arrays in [false, true] {
        let table = nested(700_000, arrays);
        let declare = queue_declare("deep").raw_table("arguments", &table);
        let properties = props().raw_headers(&table).bytes();
        for bytes in [
            method_frame(1, &declare),
            publish_frames(1, &publish("amq.headers", ""), &properties, b"x"),
            publish_frames(1, &publish("", &bystander.queue), &properties, b"x"),
        ] {
            let mut peer = login.connect(broker.address);
            peer.send_raw(&bytes);
            assert_eq!(peer.expect(0, "connection.close").number("reply-code"), 502);
        }
        let mut deep = Login::new();
        deep.properties.clear();
        let mut peer = deep.started(broker.address);
        let start_ok = deep.start_ok().raw_table("client-properties", &table[..60_000]);
        let _ = peer.send_raw_if_open(&method_frame(0, &start_ok));
        peer.hang_up();
        peer.drain_to_eof();
        bystander.and_newcomers_work();
    }
}

#[test]
fn a_body_shorter_than_announced_waits_and_a_longer_one_is_refused() {
    let mut bystander = Bystander::of_shared();
    let queue = unique("short");
    let mut peer = Peer::connect();
    peer.call(1, &queue_declare(&queue));
    peer.send(1, &publish("", &queue));
    peer.send_raw(&header_frame(1, 1000, NONE));
    peer.send_raw(&body_frame(1, &[b'x'; 999]));
    peer.open_channel(2);
    peer.expect_counts(2, &queue, (0, 0));
    drop(peer);
    bystander.and_newcomers_work();
    let mut peer = Peer::connect();
    peer.expect_counts(1, &queue, (0, 0));
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn a_conversation_in_single_bytes() {
    let queue = unique("slow");
    let mut bytes = Login::new().pipelined();
    bytes.extend(method_frame(1, &queue_declare(&queue).on("exclusive")));
    let properties = headers([("a", i(1))]);
    bytes.extend(publish_frames(1, &publish("", &queue), &properties, b"slowly"));
    bytes.extend(method_frame(1, &consume(&queue, "t")));
    bytes.extend(method_frame(1, &ack(1)));
    let mut peer = Peer::tcp(broker::shared());
    let (last, first) = bytes.split_last().expect("bytes");
    for byte in first {
        peer.send_raw(&[*byte]);
    }
    for name in ["connection.start", "connection.tune", "connection.open-ok"] {
        peer.expect(0, name);
    }
    peer.expect(1, "channel.open-ok");
    peer.expect(1, "queue.declare-ok");
    peer.expect(1, "basic.consume-ok");
    let delivery = peer.expect_delivery(1);
    assert_eq!((delivery.body_text(), delivery.properties.clone()), ("slowly", properties));
    peer.send_raw(&[*last]);
    peer.expect_counts(1, &queue, (0, 1));
    peer.close();
}

// ---- clients that vanish ----

/// All that a client may be in the middle of; the queue has one message that it takes.
fn conversation(queue: &str) -> Vec<u8> {
    let mut bytes = Login::new().pipelined();
    bytes.extend(method_frame(1, &queue_declare("").on("exclusive")));
    bytes.extend(method_frame(1, &get(queue)));
    bytes.extend(publish_frames(1, &publish("", ""), &headers([("a", s("b"))]), b"a body"));
    bytes.extend(method_frame(1, &nack(1).on("requeue")));
    bytes.extend(method_frame(1, &consume(queue, "t")));
    bytes.extend(method_frame(1, &cancel("t")));
    bytes.extend(method_frame(2, &method("channel.open")));
    bytes.extend(method_frame(2, &method("tx.select")));
    bytes.extend(method_frame(2, &get(queue)));
    bytes.extend(publish_frames(2, &publish("", queue), NONE, b"never committed"));
    bytes.extend(method_frame(2, &ack(1)));
    bytes.extend(method_frame(2, &method("tx.rollback")));
    bytes.extend(method_frame(2, &channel_close()));
    bytes
}

#[test]
fn a_client_that_vanishes_at_any_byte_gives_back_what_it_had() {
    let queue = unique("vanish");
    let mut bystander = Bystander::of_shared();
    let mut owner = Peer::connect();
    owner.call(1, &queue_declare(&queue));
    owner.publish(1, "", &queue, "the message");
    owner.expect_counts(1, &queue, (1, 0));
    let bytes = conversation(&queue);
    for length in 0..=bytes.len() {
        let mut peer = Peer::tcp(broker::shared());
        peer.send_raw(&bytes[..length]);
        if length % 2 == 0 {
            // It says goodbye and waits for the end; the other half just goes.
            peer.hang_up();
            peer.drain_to_eof();
        }
        drop(peer);
        if length % 16 == 0 {
            bystander.works();
            owner.wait_for_counts(1, &queue, (1, 0));
        }
    }
    owner.consume(1, &queue, "t");
    let delivery = owner.expect_delivery(1);
    assert_eq!((delivery.body_text(), delivery.redelivered()), ("the message", true));
    owner.expect_nothing_from(1, &queue);
    owner.call(1, &queue_delete(&queue));
    bystander.and_newcomers_work();
}

#[test]
fn clients_that_connect_and_go() {
    let mut bystander = Bystander::of_shared();
    for _ in 0..200 {
        drop(Peer::tcp(broker::shared()));
    }
    let waiting: Vec<Peer> = (0..200).map(|_| Peer::tcp(broker::shared())).collect();
    bystander.and_newcomers_work();
    drop(waiting);
    bystander.and_newcomers_work();
}

// ---- random bytes ----

#[test]
fn random_bytes() {
    let seed: u64 = rand::rng().random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut bystander = Bystander::of_shared();
    for round in 0..300 {
        let mut bytes = vec![0; random.random_range(1..2000)];
        random.fill(&mut bytes[..]);
        if round % 3 == 0 {
            let mut peer = Peer::tcp(broker::shared());
            let _ = peer.send_raw_if_open(&bytes);
        } else if round % 3 == 1 {
            let mut peer = Login::new().connect(broker::shared());
            let _ = peer.send_raw_if_open(&bytes);
        } else {
            // Frames that are whole, of random content.
            let kind = random.random_range(1..=3);
            let mut peer = Login::new().connect(broker::shared());
            let _ = peer.send_raw_if_open(&publish_frames(1, &publish("", "q"), NONE, b""));
            let _ = peer.send_raw_if_open(&frame(kind, random.random_range(0..3), &bytes));
        }
        if round % 20 == 0 {
            bystander.works();
        }
    }
    bystander.and_newcomers_work();
}

#[test]
fn conversations_with_random_damage() {
    let seed: u64 = rand::rng().random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let queue = unique("damage");
    let mut bystander = Bystander::of_shared();
    bystander.peer.call(1, &queue_declare(&queue));
    bystander.peer.publish(1, "", &queue, "x");
    let handshake = Login::new().pipelined().len();
    let whole = conversation(&queue);
    for round in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(handshake..bytes.len());
            match random.random_range(0..3) {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes[at] = random.random(),
                _ => _ = bytes.remove(at),
            }
        }
        let mut peer = Peer::tcp(broker::shared());
        let _ = peer.send_raw_if_open(&bytes);
        drop(peer);
        if round % 20 == 0 {
            bystander.works();
        }
    }
    bystander.and_newcomers_work();
    bystander.peer.call(1, &queue_delete(&queue));
}

#[test]
fn a_slow_handshake_does_not_hold_up_others() {
    let mut bystander = Bystander::of_shared();
    let until = Instant::now() + Duration::from_millis(300);
    let mut slow: Vec<Peer> = (0..50).map(|_| Peer::tcp(broker::shared())).collect();
    let mut at = 0;
    while Instant::now() < until && at < 8 {
        for peer in &mut slow {
            peer.send_raw(&PROTOCOL_HEADER[at..=at]);
        }
        at += 1;
        bystander.and_newcomers_work();
    }
    for peer in &mut slow {
        peer.send_raw(&PROTOCOL_HEADER[at..]);
        peer.expect(0, "connection.start");
    }
}
