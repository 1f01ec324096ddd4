//! Many clients at once, from a seed: nothing is lost, nothing invented, nothing settled comes again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use rand::{Rng, SeedableRng};

use crate::support::broker;
use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

/// What the clients of a crowd know about its messages.
#[derive(Default)]
struct Ledger {
    /// Seen by some client, which has given them back since or has vanished.
    seen: BTreeSet<u64>,
    /// Acknowledged, and the broker has answered a later method.
    settled: BTreeSet<u64>,
}

/// A consumer of the crowd: takes messages, settles some, and leaves in one way or another.
fn crowd_consumer(queue: &str, ledger: &Mutex<Ledger>, random: &mut impl Rng) {
    let mut peer = Login::new().connect(broker::shared());
    peer.call(1, &qos(random.random_range(1..20)));
    peer.consume(1, queue, "t");
    let mut held: BTreeMap<u64, u64> = BTreeMap::new();
    let mut acknowledged = Vec::new();
    for _ in 0..random.random_range(1..60) {
        let Ok(Some(frame)) = peer.next_frame_within(Duration::from_millis(50)) else { break };
        let delivery = peer.expect_content(1, Reply::decode(&frame.payload));
        let number: u64 = delivery.body_text().parse().expect("a number");
        {
            let mut ledger = ledger.lock().expect("the ledger");
            assert!(!ledger.settled.contains(&number), "{number} was settled and comes again");
            assert!(delivery.redelivered() || !ledger.seen.contains(&number), "{number} was seen and is not marked");
            ledger.seen.insert(number);
        }
        held.insert(delivery.tag(), number);
        let tags: Vec<u64> = held.keys().copied().collect();
        let tag = tags[random.random_range(0..tags.len())];
        let multiple = random.random_ratio(1, 5);
        let affected: Vec<u64> = tags.into_iter().filter(|&t| t == tag || multiple && t < tag).collect();
        let settle = match random.random_range(0..4) {
            0 => continue,
            1 => nack(tag).on("requeue"),
            _ => ack(tag),
        };
        peer.send(1, &settle.clone().bit("multiple", multiple));
        for tag in affected {
            let number = held.remove(&tag).expect("held");
            if settle.name == "basic.ack" {
                acknowledged.push(number);
            }
        }
    }
    match random.random_range(0..4) {
        0 => return, // vanished: nobody knows which of the acknowledgements were read
        1 => drain_until(&mut peer, cancel("t"), "basic.cancel-ok"),
        2 => drain_until(&mut peer, channel_close(), "channel.close-ok"),
        _ => drain_until(&mut peer, method("channel.flow").on("active"), "channel.flow-ok"),
    }
    ledger.lock().expect("the ledger").settled.extend(acknowledged);
}

/// Reads and drops deliveries up to an answer. What is dropped counts as seen only by the broker.
fn drain_until(peer: &mut Peer, method: Method, answer: &str) {
    peer.send(1, &method);
    loop {
        let reply = peer.next_method(1);
        if reply.name == answer {
            return;
        }
        peer.expect_content(1, reply);
    }
}

#[test]
fn a_crowd_of_publishers_and_consumers_loses_and_invents_nothing() {
    let seed: u64 = rand::rng().random();
    eprintln!("seed {seed}");
    let queue = unique("crowd");
    let mut owner = Peer::connect();
    owner.call(1, &queue_declare(&queue));
    let ledger = Mutex::new(Ledger::default());
    let (publishers, each) = (4, 400);
    std::thread::scope(|scope| {
        for publisher in 0..publishers {
            let queue = &queue;
            scope.spawn(move || {
                let mut peer = Peer::connect();
                peer.call(1, &method("confirm.select"));
                for n in 0..each {
                    peer.publish(1, "", queue, &(publisher * each + n).to_string());
                }
                let mut last = 0;
                while last < each {
                    let confirm = peer.expect(1, "basic.ack");
                    last = last.max(confirm.number("delivery-tag"));
                }
            });
        }
        for consumer in 0..3 {
            let (queue, ledger) = (&queue, &ledger);
            scope.spawn(move || {
                let mut random = rand::rngs::StdRng::seed_from_u64(seed + consumer);
                for _ in 0..25 {
                    crowd_consumer(queue, ledger, &mut random);
                }
            });
        }
    });
    let mut ledger = ledger.into_inner().expect("the ledger");
    // Whoever vanished may still hold something; the last consumer waits for all of it.
    owner.consume(1, &queue, "t");
    while ledger.seen.len() < (publishers * each) as usize || !ledger.seen.is_subset(&ledger.settled) {
        let delivery = match owner.next_frame_within(Duration::from_secs(2)) {
            Ok(Some(frame)) => owner.expect_content(1, Reply::decode(&frame.payload)),
            _ => break, // acknowledgements of those who vanished were read after all
        };
        let number: u64 = delivery.body_text().parse().expect("a number");
        assert!(!ledger.settled.contains(&number), "{number} was settled and comes again");
        assert!(delivery.redelivered() || !ledger.seen.contains(&number), "{number} was seen and is not marked");
        ledger.seen.insert(number);
        ledger.settled.insert(number);
        owner.send(1, &ack(delivery.tag()));
    }
    assert_eq!(ledger.seen, (0..publishers * each).collect(), "every message was seen by someone");
    owner.expect_counts(1, &queue, (0, 1));
    owner.call(1, &queue_delete(&queue));
}
