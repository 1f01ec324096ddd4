//! What waits costs disk, and no memory; what has gone costs neither.

use std::io::Result;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::durability::client::{Client, Event};
use crate::durability::node::Stop;
use crate::durability::process::{Directory, Process};
use crate::durability::publisher::{durable_queue, persistent};
use crate::leveret_only;
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::wire::*;

const MIB: u64 = 1 << 20;
/// Time for what goes on in the background, on a slow machine.
const SETTLING: Duration = Duration::from_secs(120);

/// Waits until the amount is at most this.
#[track_caller]
fn wait_until_at_most(limit: u64, what: &str, amount: impl Fn() -> u64) {
    let deadline = Instant::now() + SETTLING;
    while amount() > limit {
        let now = amount();
        assert!(Instant::now() < deadline, "{what}: {} KiB, and not {} KiB", now >> 10, limit >> 10);
        std::thread::sleep(Duration::from_millis(20)); // neither files nor memory tell when they change
    }
}

/// A client of this broker that has a confirmed channel.
fn connect(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).expect("the broker accepts");
    client.call(&method("confirm.select")).expect("an answer");
    client
}

/// Publishes these bodies in order, each to its queue, and waits until all are confirmed.
fn fill<'a>(address: SocketAddr, messages: impl Iterator<Item = (&'a str, Vec<u8>)>) -> Result<()> {
    const OUTSTANDING: u64 = 2_000;
    let mut client = connect(address);
    let (mut sent, mut confirmed) = (0, 0);
    for (queue, body) in messages {
        client.put_persistent("", queue, &body);
        sent += 1;
        while sent - confirmed >= OUTSTANDING {
            confirmed += confirms(&mut client, confirmed)?;
        }
        if client.waiting_bytes() > 64 << 10 {
            client.flush()?;
        }
    }
    while confirmed < sent {
        confirmed += confirms(&mut client, confirmed)?;
    }
    Ok(())
}

/// How many are confirmed by what comes next, if so many are already.
fn confirms(client: &mut Client, already: u64) -> Result<u64> {
    match client.next()? {
        Event::Confirm { tag, multiple: true } => Ok(tag - already),
        Event::Confirm { .. } => Ok(1),
        Event::Other(reply) if ["connection.blocked", "connection.unblocked"].contains(&reply.name) => Ok(0),
        other => panic!("no confirm: {other:?}"),
    }
}

/// Takes so many messages away, and hands each to `check`.
fn drain(address: SocketAddr, queue: &str, count: u64, mut check: impl FnMut(u64, &[u8])) -> Result<()> {
    const BATCH: u64 = 500;
    let mut client = Client::connect(address)?;
    client.call(&qos(2 * BATCH as u16))?;
    client.put(&consume(queue, "t"));
    let mut number = 0;
    while number < count {
        let Event::Delivery(delivery) = client.next()? else { continue };
        check(number, &delivery.body);
        number += 1;
        if number.is_multiple_of(BATCH) || number == count {
            client.put(&ack(delivery.tag).on("multiple"));
        }
    }
    client.call(&channel_close())?;
    Ok(())
}

// ---- disk ----

const LARGE: usize = 64 << 10;
/// Together 200 MB of [`LARGE`] bodies.
const MANY: u64 = 3_200;
const LITTLE_LEFT: u64 = 80 * MIB;

#[test]
fn disk_comes_back_when_a_queue_is_drained() {
    leveret_only!("its data directory is looked at");
    let directory = Directory::new();
    let process = Process::start(&directory);
    connect(process.address).call(&durable_queue("q")).expect("an answer");
    fill(process.address, (0..MANY).map(|_| ("q", vec![7; LARGE]))).expect("all confirmed");
    assert!(directory.used_bytes() > 180 * MIB, "what waits is on disk");
    drain(process.address, "q", MANY, |_, body| assert!(body == [7; LARGE])).expect("all of them");
    wait_until_at_most(LITTLE_LEFT, "disk", || directory.used_bytes());
}

#[test]
fn a_single_old_message_does_not_keep_the_disk() {
    leveret_only!("its data directory is looked at");
    let directory = Directory::new();
    let mut process = Process::start(&directory);
    let mut client = connect(process.address);
    client.call(&durable_queue("old")).expect("an answer");
    client.call(&durable_queue("q")).expect("an answer");
    // Before, in the middle, and behind.
    let is_old = |number: u64| matches!(number, 0 | 1_500 | 3_000);
    let message = |number: u64| (if is_old(number) { "old" } else { "q" }, vec![number as u8; LARGE]);
    fill(process.address, (0..MANY).map(message)).expect("all confirmed");
    drain(process.address, "q", MANY - 3, |_, _| {}).expect("all of them");
    wait_until_at_most(LITTLE_LEFT, "disk", || directory.used_bytes());
    process.end(Stop::Kill);
    let process = Process::start(&directory);
    wait_until_at_most(LITTLE_LEFT, "disk after a restart", || directory.used_bytes());
    let old = [0, 1_500, 3_000_u64];
    let check = |at: u64, body: &[u8]| assert!(body == vec![old[at as usize] as u8; LARGE], "message {at}");
    drain(process.address, "old", 3, check).expect("all of them");
}

#[test]
fn scattered_old_messages_do_not_keep_the_disk() {
    leveret_only!("its data directory is looked at");
    let directory = Directory::new();
    let mut process = Process::start(&directory);
    connect(process.address).call(&durable_queue("q")).expect("an answer");
    fill(process.address, (0..MANY).map(|number| ("q", vec![number as u8; LARGE]))).expect("all confirmed");
    // Every hundredth is not acknowledged, and so goes back when the channel closes.
    let mut client = Client::connect(process.address).expect("the broker accepts");
    client.put(&consume("q", "t"));
    for number in 0..MANY {
        let delivery = next_delivery(&mut client);
        if number % 100 != 0 {
            client.put(&ack(delivery));
        }
    }
    client.call(&channel_close()).expect("an answer");
    wait_until_at_most(LITTLE_LEFT, "disk", || directory.used_bytes());
    process.end(Stop::Kill);
    let process = Process::start(&directory);
    let check = |at: u64, body: &[u8]| assert!(body == vec![(at * 100) as u8; LARGE], "message {at}");
    drain(process.address, "q", MANY / 100, check).expect("all of them");
}

fn next_delivery(client: &mut Client) -> u64 {
    loop {
        if let Event::Delivery(delivery) = client.next().expect("a delivery") {
            return delivery.tag;
        }
    }
}

#[test]
fn disk_comes_back_when_a_full_queue_is_purged_or_deleted() {
    leveret_only!("its data directory is looked at");
    let directory = Directory::new();
    let process = Process::start(&directory);
    let mut client = connect(process.address);
    for end in [queue_purge("q"), queue_delete("q")] {
        client.call(&durable_queue("q")).expect("an answer");
        fill(process.address, (0..MANY / 2).map(|_| ("q", vec![7; LARGE]))).expect("all confirmed");
        assert!(directory.used_bytes() > 90 * MIB, "what waits is on disk");
        assert_eq!(client.call(&end).expect("an answer").number("message-count"), MANY / 2);
        wait_until_at_most(LITTLE_LEFT, "disk", || directory.used_bytes());
    }
}

// ---- memory ----

/// A build without optimization is given less to do.
const WAITING: u64 = if cfg!(debug_assertions) { 200_000 } else { 2_000_000 };
const MEMORY: u64 = 24 * MIB;

/// Publishes the numbers from 0 on as bodies of 16 bytes, without building each message anew.
fn fill_with_numbers(address: SocketAddr, queue: &str, count: u64) -> Result<()> {
    const BATCH: u64 = 1_000;
    let one = publish_frames(1, &publish("", queue), &persistent(), &[0; 16]);
    let mut client = connect(address);
    let mut batch = one.repeat(BATCH as usize);
    let (mut sent, mut confirmed) = (0, 0);
    while sent < count {
        for (at, message) in batch.chunks_exact_mut(one.len()).enumerate() {
            let body = one.len() - 17; // before the end of its frame
            message[body..body + 8].copy_from_slice(&(sent + at as u64).to_be_bytes());
        }
        client.put_bytes(&batch);
        sent += BATCH;
        client.flush()?;
        while sent - confirmed > 20 * BATCH || (sent == count && confirmed < count) {
            confirmed += confirms(&mut client, confirmed)?;
        }
    }
    Ok(())
}

#[test]
fn a_deep_queue_costs_no_memory() {
    leveret_only!("the memory of the process is looked at");
    let directory = Directory::new();
    let mut process = Process::start(&directory);
    connect(process.address).call(&durable_queue("q")).expect("an answer");
    let idle = process.anonymous_bytes();
    fill_with_numbers(process.address, "q", WAITING).expect("all confirmed");
    wait_until_at_most(idle + MEMORY, "memory while they wait", || process.anonymous_bytes());
    process.end(Stop::Kill);
    let process = Process::start(&directory);
    wait_until_at_most(idle + MEMORY, "memory after a restart", || process.anonymous_bytes());
    let mut client = connect(process.address);
    assert_eq!(client.count("q").expect("an answer"), WAITING);
    let check = |number: u64, body: &[u8]| assert_eq!(body, [number.to_be_bytes(), [0; 8]].concat());
    drain(process.address, "q", WAITING, check).expect("all of them, in order");
    assert_eq!(client.count("q").expect("an answer"), 0);
    wait_until_at_most(idle + MEMORY, "memory when they have gone", || process.anonymous_bytes());
}

/// What is delivered and not acknowledged leaves memory when it is short, also what was delivered before it was on disk.
/// Otherwise the publisher would be blocked for as long as nothing is acknowledged.
#[test]
fn unacknowledged_messages_hold_no_memory_when_it_is_short() {
    leveret_only!("the mark is set by configuration");
    const COUNT: u64 = 1_600;
    let broker = Broker::start(Launch::new().limit("memory_high_watermark", "32MiB"));
    let mut consumer = connect(broker.address);
    consumer.call(&durable_queue("q")).expect("an answer");
    let body = |number: u64| {
        let mut body = vec![number as u8; LARGE];
        body[..8].copy_from_slice(&number.to_be_bytes());
        body
    };
    let address = broker.address;
    let publisher = std::thread::spawn(move || fill(address, (0..COUNT).map(|number| ("q", body(number)))));
    expect_in_order(&mut consumer, COUNT, body, false);
    publisher.join().expect("no panic").expect("all confirmed");
    // Nobody is blocked although all of it is still unacknowledged.
    connect(address).call(&durable_queue("other")).expect("an answer");
    fill(address, (0..COUNT).map(|number| ("other", body(number)))).expect("all confirmed");
    consumer.call(&channel_close()).expect("an answer");
    let mut next = connect(broker.address);
    expect_in_order(&mut next, COUNT, body, true);
    broker.assert_no_panic();
}

/// Consumes from `q` without acknowledging anything.
fn expect_in_order(client: &mut Client, count: u64, body: impl Fn(u64) -> Vec<u8>, redelivered: bool) {
    client.put(&consume("q", "t"));
    let mut number = 0;
    while number < count {
        if let Event::Delivery(delivery) = client.next().expect("a delivery") {
            assert!(delivery.body == body(number), "message {number} is as it was sent");
            assert_eq!(delivery.redelivered, redelivered, "message {number}");
            number += 1;
        }
    }
}
