//! What may happen to queues, and lists of it from a seed.

use crate::model_testing::Random;
use crate::wire::hot::Outcome;

/// Queues by name. The last one is auto-delete; one that ends is declared again at once.
pub const QUEUES: usize = 3;
pub const CONNECTIONS: usize = 3;
pub const CHANNELS_EACH: usize = 2;
pub const CHANNELS: usize = CONNECTIONS * CHANNELS_EACH;
/// Connections that only publish and may be paused.
pub const PUBLISHERS: usize = 2;

/// `pick` names any of what there is at the time.
#[derive(Clone, Debug)]
pub enum Command {
    // One chunk, to each of the queues.
    Publish { queues: Vec<usize>, bodies: Bodies },
    Consume { channel: usize, queue: usize, how: Consume },
    // The connection writes so many items of its outbox, then reports it.
    Write { connection: usize, items: usize },
    Settle { channel: usize, pick: usize, multiple: bool, outcome: Outcome },
    Get { channel: usize, queue: usize, no_ack: bool },
    Cancel { pick: usize },
    CloseChannel { channel: usize },
    LoseConnection { connection: usize },
    Purge { queue: usize },
    Delete { queue: usize, if_unused: bool, if_empty: bool },
    // `basic.qos` with `global`.
    Limit { channel: usize, prefetch: u32 },
    // The epoch that is being filled gets to disk.
    Sync,
    // The disk does what it was asked first.
    Answer,
    Shrink { queue: usize, keep_bytes: u64 },
    // The bytes of a delivery that is not settled leave memory, if they are on disk.
    Forget { channel: usize, pick: usize },
    // Until so much is left, or so much more has left.
    Pause { queue: usize, publisher: usize, ready_bytes: u64, more_drained_bytes: Option<u64> },
}

/// So many bodies, of one length if `shortest` is `longest`.
#[derive(Clone, Copy, Debug)]
pub struct Bodies {
    pub count: usize,
    pub shortest: usize,
    pub longest: usize,
    /// Every so many is persistent; 0 is none.
    pub persistent_every: u32,
}

impl Bodies {
    pub fn lengths(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |i| self.shortest + i * 37 % (self.longest - self.shortest + 1))
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Consume {
    pub no_ack: bool,
    pub exclusive: bool,
    pub prefetch: u32,
    pub priority: i64,
    pub window_bytes: usize,
}

impl Consume {
    /// As most consumers: acknowledges, unlimited, with room for everything.
    pub const PLAIN: Consume =
        Consume { no_ack: false, exclusive: false, prefetch: 0, priority: 0, window_bytes: 1 << 20 };

    fn any(random: &mut Random) -> Consume {
        Consume {
            no_ack: random.one_in(4),
            exclusive: random.one_in(20),
            prefetch: random.pick(&[0, 0, 1, 2, 3, 10]),
            priority: random.pick(&[0, 0, 0, 1, 5, -3]),
            window_bytes: random.pick(&[1, 100, 500, 5000, 1 << 20]),
        }
    }
}

pub fn of_all_kinds(random: &mut Random) -> Vec<Command> {
    (0..random.within(10..120)).map(|_| any(random)).collect()
}

/// As [`of_all_kinds`], and what only happens to queues that have a disk.
pub fn with_a_disk(random: &mut Random) -> Vec<Command> {
    let of_disk = |random: &mut Random| match random.below(10) {
        0..=2 => Command::Sync,
        3..=5 => Command::Answer,
        6 | 7 => Command::Shrink { queue: random.below(QUEUES), keep_bytes: random.pick(&[0, 0, 100, 1000]) },
        _ => Command::Forget { channel: random.below(CHANNELS), pick: random.below(1000) },
    };
    (0..random.within(10..150)).map(|_| if random.one_in(3) { of_disk(random) } else { any(random) }).collect()
}

fn any(random: &mut Random) -> Command {
    let channel = random.below(CHANNELS);
    let connection = random.below(CONNECTIONS);
    let queue = random.below(QUEUES);
    let pick = random.below(1000);
    match random.below(100) {
        0..=24 => Command::Publish { queues: some_queues(random), bodies: bodies(random) },
        25..=36 => Command::Consume { channel, queue, how: Consume::any(random) },
        37..=56 => Command::Write { connection, items: random.pick(&[1, 1, 2, 5, 1000]) },
        57..=73 => settle(random, channel, pick),
        74..=79 => Command::Get { channel, queue, no_ack: random.one_in(2) },
        80..=84 => Command::Cancel { pick },
        85 | 86 => Command::CloseChannel { channel },
        87 => Command::LoseConnection { connection },
        88 => Command::Purge { queue },
        89 => Command::Delete { queue, if_unused: random.one_in(2), if_empty: random.one_in(2) },
        90..=93 => Command::Limit { channel, prefetch: random.pick(&[0, 1, 2, 5]) },
        _ => Command::Pause {
            queue,
            publisher: random.below(PUBLISHERS),
            ready_bytes: random.pick(&[0, 50, 300]),
            more_drained_bytes: random.pick(&[None, Some(0), Some(1), Some(200)]),
        },
    }
}

fn settle(random: &mut Random, channel: usize, pick: usize) -> Command {
    let outcome = random.pick(&[Outcome::Acked, Outcome::Acked, Outcome::Rejected, Outcome::Requeued]);
    Command::Settle { channel, pick, multiple: random.one_in(3), outcome }
}

fn some_queues(random: &mut Random) -> Vec<usize> {
    let one = random.below(QUEUES);
    if random.one_in(4) { (0..QUEUES).filter(|&queue| queue == one || random.one_in(2)).collect() } else { vec![one] }
}

fn bodies(random: &mut Random) -> Bodies {
    let count = random.pick(&[1, 1, 1, 2, 5, 30]);
    let shortest = random.within(4..40);
    let longest = if random.one_in(2) { shortest } else { 300 };
    Bodies { count, shortest, longest, persistent_every: random.pick(&[0, 1, 1, 1, 2]) }
}

/// One connection, whose channels all have a limit and consume from several queues.
pub fn under_a_shared_limit(random: &mut Random) -> Vec<Command> {
    let mut commands = Vec::new();
    for channel in 0..CHANNELS_EACH {
        commands.push(Command::Limit { channel, prefetch: random.pick(&[1, 1, 2, 4]) });
        for _ in 0..random.within(1..5) {
            let how = Consume { no_ack: random.one_in(5), prefetch: random.pick(&[0, 0, 1]), ..Consume::PLAIN };
            commands.push(Command::Consume { channel, queue: random.below(QUEUES), how });
        }
    }
    for _ in 0..random.within(10..80) {
        let (channel, pick) = (random.below(CHANNELS_EACH), random.below(1000));
        commands.push(match random.below(12) {
            0..=3 => Command::Publish { queues: some_queues(random), bodies: bodies(random) },
            4..=6 => Command::Write { connection: 0, items: random.pick(&[1, 2, 1000]) },
            7..=9 => settle(random, channel, pick),
            10 => Command::Limit { channel, prefetch: random.pick(&[0, 1, 3]) },
            _ => Command::Cancel { pick },
        });
    }
    commands
}

/// Thousands of messages before consumers that may have as many as they like, or only so many.
pub fn with_a_long_backlog(random: &mut Random) -> Vec<Command> {
    let mut commands = Vec::new();
    for channel in 0..random.within(2..5) {
        let how = Consume { prefetch: random.pick(&[0, 0, 700]), no_ack: random.one_in(3), ..Consume::PLAIN };
        commands.push(Command::Consume { channel, queue: 0, how });
    }
    for _ in 0..random.within(1..3) {
        commands.push(Command::Publish {
            queues: vec![0],
            bodies: Bodies { count: random.within(400..2500), shortest: 4, longest: 4, persistent_every: 1 },
        });
        commands.push(Command::Write { connection: random.below(CONNECTIONS), items: random.within(1..30) });
    }
    let outcome = random.pick(&[Outcome::Acked, Outcome::Requeued]);
    commands.push(Command::Settle { channel: 0, pick: random.below(10_000), multiple: true, outcome });
    commands.push(Command::CloseChannel { channel: 1 });
    commands
}
