//! The ledger against a plain map of delivery tags.

use super::*;
use crate::broker::queue::QueueDefinition;
use crate::model_testing::{Random, check_seeds, ensure};
use crate::storage::chunk::OpenChunk;
use crate::storage::record::append_prefix;

#[derive(Clone, Debug)]
enum Command {
    // Files deliveries, some tags after the last: those between went to a consumer that does not acknowledge.
    Deliver { count: u64, skipped: u64, body_bytes: usize },
    // Takes one tag; not always one that is outstanding.
    Take { pick: u64 },
    TakeThrough { pick: u64 },
    TakeThroughAll,
    // What was taken since the last of these two is settled for good, or outstanding again.
    Commit,
    RollBack,
    Sweep,
}

fn commands(random: &mut Random) -> Vec<Command> {
    let large = random.one_in(4);
    let mut commands = Vec::new();
    for _ in 0..random.within(5..80) {
        let pick = random.next();
        commands.push(match random.below(20) {
            0..=4 => Command::Deliver {
                count: random.within(1..8) as u64,
                skipped: random.below(3) as u64,
                body_bytes: if large { 4000 } else { 8 },
            },
            5..=12 => Command::Take { pick },
            13 | 14 => Command::TakeThrough { pick },
            15 if random.one_in(4) => Command::TakeThroughAll,
            16 => Command::Commit,
            17 | 18 => Command::RollBack,
            _ => Command::Sweep,
        });
    }
    commands
}

/// Outstanding tags and taken ones, one entry each. A message has its tag in its body.
struct World {
    ledger: Ledger,
    queue: Arc<Queue>,
    outstanding: BTreeMap<u64, usize>,
    taken: Vec<Delivered>,
    next_tag: u64,
}

impl World {
    fn new() -> World {
        let queue = Queue::new(QueueDefinition {
            vhost: "/".into(),
            name: "q".into(),
            durable: false,
            auto_delete: false,
            exclusive_owner: None,
            arguments: Default::default(),
        });
        World { ledger: Ledger::default(), queue, outstanding: BTreeMap::new(), taken: Vec::new(), next_tag: 1 }
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), String> {
        match *command {
            Command::Deliver { count, skipped, body_bytes } => self.deliver(count, skipped, body_bytes),
            Command::Take { pick } => self.take(self.tag(pick))?,
            Command::TakeThrough { pick } => self.take_through(self.tag(pick))?,
            Command::TakeThroughAll => self.take_through(0)?,
            Command::Commit => self.taken.drain(..).for_each(|delivered| delivered.run.settle()),
            Command::RollBack => {
                for delivered in std::mem::take(&mut self.taken) {
                    for tag in tags(&delivered)? {
                        self.outstanding.insert(tag, body_bytes(&delivered));
                    }
                    self.ledger.file(delivered);
                }
            }
            Command::Sweep => {
                self.ledger.settled_since_sweep = u64::MAX / 2;
                self.ledger.sweep();
                let pinned = self.ledger.entries.values().filter(|entry| entry.run.pins_dead_bytes()).count();
                ensure!(pinned == 0, "{pinned} entries still keep chunks that are mostly settled");
            }
        }
        Ok(())
    }

    fn deliver(&mut self, count: u64, skipped: u64, body_bytes: usize) {
        let first_tag = self.next_tag + skipped;
        self.next_tag = first_tag + count;
        let mut open = OpenChunk::default();
        for tag in first_tag..self.next_tag {
            let mut prefix = Vec::new();
            let mut body = vec![0; body_bytes];
            body[..8].copy_from_slice(&tag.to_le_bytes());
            append_prefix(&mut prefix, 0, b"", b"q", &[0, 0], body_bytes as u32);
            open.push(&prefix, &body);
            self.outstanding.insert(tag, body_bytes);
        }
        let from = DeliveredFrom { queue: self.queue.clone(), consumer: None };
        self.ledger.file(Delivered { first_tag, run: Run::of_chunk(&open.close(), first_tag), from, due: None });
    }

    /// Mostly a tag that is outstanding, else any up to one that is yet to come.
    fn tag(&self, pick: u64) -> u64 {
        let known: Vec<_> = self.outstanding.keys().collect();
        match pick % 8 {
            1.. if !known.is_empty() => *known[(pick / 8) as usize % known.len()],
            _ => pick / 8 % (self.next_tag + 2),
        }
    }

    fn take(&mut self, tag: u64) -> Result<(), String> {
        let known = self.outstanding.remove(&tag).is_some();
        let taken = self.ledger.take(tag);
        ensure!(taken.is_ok() == known, "tag {tag}: {taken:?}, but outstanding: {known}");
        if let Ok(delivered) = taken {
            ensure!(tags(&delivered)? == [tag], "tag {tag} is not {delivered:?}");
            self.taken.push(delivered);
        }
        Ok(())
    }

    fn take_through(&mut self, tag: u64) -> Result<(), String> {
        let known = tag == 0 || self.outstanding.contains_key(&tag);
        let mut taken = Vec::new();
        let result = self.ledger.take_through(tag, |delivered| taken.push(delivered));
        ensure!(result.is_ok() == known, "through tag {tag}: {result:?}, but outstanding: {known}");
        let mut all = Vec::new();
        for delivered in &taken {
            all.extend(tags(delivered)?);
        }
        let last = match (known, tag) {
            (false, _) => 0,
            (true, 0) => u64::MAX,
            (true, tag) => tag,
        };
        let expected: Vec<_> = self.outstanding.range(..=last).map(|(tag, _)| *tag).collect();
        ensure!(all == expected, "through tag {tag}: took {all:?}, not {expected:?}");
        self.outstanding.retain(|tag, _| *tag > last);
        self.taken.append(&mut taken);
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let mut all = Vec::new();
        for entry in self.ledger.entries.values() {
            all.extend(tags(entry)?);
        }
        let expected: Vec<_> = self.outstanding.keys().copied().collect();
        ensure!(all == expected, "outstanding are {all:?}, not {expected:?}");
        ensure!(self.ledger.outstanding == expected.len() as u64, "counts {}", self.ledger.outstanding);
        ensure!(self.ledger.entries.len() <= expected.len(), "more entries than deliveries");
        Ok(())
    }
}

/// The tags of an entry, which are those in the bodies of its messages.
fn tags(delivered: &Delivered) -> Result<Vec<u64>, String> {
    let tags: Vec<_> = (delivered.first_tag..delivered.end_tag()).collect();
    let bodies = delivered.run.records().map(|record| record.body().first_chunk().map(|tag| u64::from_le_bytes(*tag)));
    let bodies: Vec<_> = bodies.flatten().collect();
    ensure!(tags == bodies, "tags {tags:?} stand for the messages {bodies:?}");
    ensure!(delivered.run.first_seq == delivered.first_tag, "a message has lost its position");
    Ok(tags)
}

fn body_bytes(delivered: &Delivered) -> usize {
    delivered.run.record(0).body_bytes()
}

fn run(commands: &[Command]) -> Result<(), String> {
    let mut world = World::new();
    for command in commands {
        world.carry_out(command)?;
        world.check()?;
    }
    Ok(())
}

#[test]
fn tags_are_those_of_a_plain_map() {
    check_seeds(0..400, commands, run);
}

/// The second transaction puts back what had been the front of an entry whose first front is settled for good.
#[test]
fn a_rollback_after_a_commit_puts_tags_back_in_order() {
    let mut world = World::new();
    world.deliver(4, 0, 8);
    world.take(1).unwrap();
    world.carry_out(&Command::Commit).unwrap();
    world.take(2).unwrap();
    world.carry_out(&Command::RollBack).unwrap();
    world.take(3).unwrap();
    world.take_through(4).unwrap();
    world.check().unwrap();
}
