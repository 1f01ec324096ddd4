//! A client is told the same by a broker whose disk is slow, and now and then full, as by one without a disk: only
//! later, and with confirms that come in other portions.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, queue, tx};

use super::disk::Disk;
use super::durability::described;
use super::peer::{Event, Frames, Peer, new_broker, new_broker_with};
use crate::model_testing::{Random, check_seeds, ensure};
use crate::storage::Epoch;
use crate::storage::log::Contents;

/// In confirm mode, in transactions, plain.
const CHANNELS: u16 = 3;
const QUEUES: [&str; 3] = ["durable", "other", "transient"];

#[derive(Clone, Debug)]
enum Command {
    // What the client sends in one go.
    Send(Vec<(u16, Action)>),
    // The disk does its next step; refuses, if it can.
    Disk { refuses: bool },
    Look,
}

#[derive(Clone, Debug)]
enum Action {
    Publish { queue: usize, persistent: bool },
    PublishToAll,
    PublishNowhere,
    Declare { queue: usize },
    Bind { queue: usize, unbind: bool },
    Purge { queue: usize },
    Delete { queue: usize },
    Get { queue: usize, no_ack: bool },
    Commit,
    CloseAndOpen,
}

fn commands(random: &mut Random) -> Vec<Command> {
    let command = |random: &mut Random| match random.below(6) {
        0 | 1 => Command::Send((0..random.within(1..6)).map(|_| action(random)).collect()),
        2 => Command::Look,
        _ => Command::Disk { refuses: random.one_in(6) },
    };
    (0..random.within(5..60)).map(|_| command(random)).collect()
}

fn action(random: &mut Random) -> (u16, Action) {
    let queue = random.below(QUEUES.len());
    let action = match random.below(20) {
        0..=5 => Action::Publish { queue, persistent: random.one_in(2) },
        6 | 7 => Action::PublishToAll,
        8 => Action::PublishNowhere,
        9 | 10 => Action::Declare { queue },
        11 | 12 => Action::Bind { queue, unbind: random.one_in(2) },
        13 => Action::Purge { queue },
        14 if random.one_in(3) => Action::Delete { queue },
        15 => Action::CloseAndOpen,
        16 | 17 => Action::Commit,
        _ => Action::Get { queue, no_ack: random.one_in(2) },
    };
    (random.below(usize::from(CHANNELS)) as u16 + 1, action)
}

fn opening(channel: u16) -> Frames {
    let frames = Frames::on(channel).open();
    match channel {
        1 => {
            let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
            frames.method(AMQPClass::Confirm(select))
        }
        2 => frames.method(AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))),
        _ => frames,
    }
}

fn declare(frames: Frames, queue: usize) -> Frames {
    if queue < 2 { frames.declare_durable(QUEUES[queue]) } else { frames.declare(QUEUES[queue]) }
}

/// What is sent for an action; `body` tells its message from others. Nothing that the broker would refuse.
fn frames(channel: u16, action: &Action, body: &str) -> Frames {
    let frames = Frames::on(channel);
    match *action {
        Action::Publish { queue, persistent: true } => frames.publish_persistent(("", QUEUES[queue]), body.as_bytes()),
        Action::Publish { queue, .. } => frames.publish(("", QUEUES[queue]), false, body.as_bytes(), 1),
        Action::PublishToAll => frames.publish_persistent(("amq.fanout", ""), body.as_bytes()),
        Action::PublishNowhere => frames.publish(("", "nowhere"), true, body.as_bytes(), 1),
        Action::Declare { queue } => declare(frames, queue),
        Action::Bind { queue, unbind: false } => declare(frames, queue).bind(QUEUES[queue], "amq.fanout", ""),
        Action::Bind { queue, .. } => {
            let (queue, exchange) = (QUEUES[queue].into(), "amq.fanout".into());
            let unbind = queue::Unbind { queue, exchange, ..queue::Unbind::default() };
            frames.method(AMQPClass::Queue(queue::AMQPMethod::Unbind(unbind)))
        }
        Action::Purge { queue } => {
            let purge = queue::Purge { queue: QUEUES[queue].into(), nowait: false };
            declare(frames, queue).method(AMQPClass::Queue(queue::AMQPMethod::Purge(purge)))
        }
        Action::Delete { queue } => {
            let delete = queue::Delete { queue: QUEUES[queue].into(), ..queue::Delete::default() };
            frames.method(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))
        }
        Action::Get { queue, no_ack } => declare(frames, queue).get(QUEUES[queue], no_ack),
        Action::Commit if channel == 2 => frames.method(AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}))),
        Action::Commit => frames,
        Action::CloseAndOpen => {
            let close = channel::AMQPMethod::Close(channel::Close::default());
            let mut frames = frames.method(AMQPClass::Channel(close));
            frames.bytes.extend(opening(channel).bytes);
            frames
        }
    }
}

/// Where the disk is with the epoch that it has taken.
enum Step {
    Idle,
    Taken((Epoch, Contents)),
    Refused((Epoch, Contents)),
    Written((Epoch, Contents)),
}

struct Slow {
    disk: Disk,
    step: Step,
}

impl Slow {
    fn go_on(&mut self, refuses: bool) {
        let log = &self.disk.0.log;
        self.step = match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Idle => Step::Taken(self.disk.take_now()),
            Step::Taken(taken) if refuses => {
                log.refused(taken.0);
                Step::Refused(taken)
            }
            Step::Taken(taken) | Step::Refused(taken) => {
                self.disk.write(&taken);
                Step::Written(taken)
            }
            Step::Written(taken) => {
                log.synced(taken.0);
                Step::Idle
            }
        };
    }
}

/// What came on each channel, in order; confirms of a channel as how far each part of its life was answered.
#[derive(Default, Debug, PartialEq, Eq)]
struct Told(BTreeMap<u16, Vec<String>>);

impl Told {
    /// Adds what came, and checks that confirms go up.
    fn add(&mut self, events: &[Event], answered: &mut u64) -> Result<(), String> {
        for event in events {
            let tag = match &event.method {
                AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => Some((ack.delivery_tag, ack.multiple)),
                AMQPClass::Basic(basic::AMQPMethod::Nack(nack)) => Some((nack.delivery_tag, nack.multiple)),
                _ => None,
            };
            if let Some((tag, multiple)) = tag {
                ensure!(tag > *answered && multiple == (tag > *answered + 1), "{event:?} after {answered}");
                *answered = tag;
                continue;
            }
            let mut described = described(std::slice::from_ref(event));
            if matches!(&event.method, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))) && event.channel == 1 {
                described[0] = format!("closed with {} answered", std::mem::take(answered));
            }
            self.0.entry(event.channel).or_default().append(&mut described);
        }
        Ok(())
    }
}

/// Carries the commands out; returns what the client was told, and how many of its last publishes were answered.
fn told(commands: &[Command], mut slow: Option<Slow>) -> Result<(Told, u64), String> {
    let broker = slow.as_ref().map_or_else(new_broker, |slow| new_broker_with(&slow.disk.0));
    let mut peer = Peer::new(&broker);
    let (mut told, mut answered, mut number) = (Told::default(), 0, 0);
    told.add(&peer.send(&(1..=CHANNELS).flat_map(|channel| opening(channel).bytes).collect::<Vec<_>>()), &mut 0)?;
    for command in commands {
        match command {
            Command::Send(actions) => {
                let mut bytes = Vec::new();
                for (channel, action) in actions {
                    number += 1;
                    bytes.extend(frames(*channel, action, &number.to_string()).bytes);
                }
                told.add(&peer.send(&bytes), &mut answered)?;
            }
            Command::Disk { refuses } => slow.iter_mut().for_each(|slow| slow.go_on(*refuses)),
            Command::Look => told.add(&peer.look(), &mut answered)?,
        }
    }
    // Each stop of the input takes three steps, and is one of at most a few hundred.
    for _ in 0..2000 {
        slow.iter_mut().for_each(|slow| slow.go_on(false));
        told.add(&peer.look(), &mut answered)?;
        if peer.is_idle() {
            return Ok((told, answered));
        }
    }
    Err("the connection waits for ever".into())
}

/// Each on a new thread, so that a failure leaves nothing in the thread's buffers for the next.
fn run(commands: &[Command]) -> Result<(), String> {
    let told =
        |slow| thread::scope(|scope| scope.spawn(|| told(commands, slow)).join()).unwrap_or_else(|p| resume_unwind(p));
    let expected = told(None)?;
    let got = told(Some(Slow { disk: Disk::new(usize::MAX), step: Step::Idle }))?;
    ensure!(got == expected, "told {got:?}\nnot {expected:?}");
    Ok(())
}

#[test]
fn a_slow_disk_changes_only_when_clients_are_told() {
    check_seeds(0..200, commands, run);
}
