//! Chunks and runs against plain lists of messages.

use super::super::record::{append_prefix, flags};
use super::*;
use crate::model_testing::{Random, check_seeds, ensure};

#[derive(Clone, Debug)]
enum Command {
    // A chunk of messages with bodies of these lengths, held by so many queues.
    Write { bodies: Vec<usize>, queues: usize },
    Split { pick: usize, at: usize },
    // Joins a run with the one that continues it, if there is one.
    Join { pick: usize },
    Redeliver { pick: usize },
    CopyOut { pick: usize },
    Settle { pick: usize },
    // Asks how many fit into just so many messages' bytes, or one byte more or less.
    Fit { pick: usize, messages: usize, more_bytes: isize },
}

fn commands(random: &mut Random) -> Vec<Command> {
    let mut commands = Vec::new();
    for _ in 0..random.within(5..60) {
        let pick = random.below(1000);
        commands.push(match random.below(10) {
            0 | 1 => Command::Write { bodies: bodies(random), queues: random.within(1..4) },
            2..=4 => Command::Split { pick, at: random.below(1000) },
            5 => Command::Join { pick },
            6 => Command::Redeliver { pick },
            7 => Command::CopyOut { pick },
            8 => Command::Settle { pick },
            _ => Command::Fit { pick, messages: random.below(40), more_bytes: random.below(3) as isize - 1 },
        });
    }
    commands
}

/// Of one length, or each of its own; sometimes so many bytes that the buffer is given away.
fn bodies(random: &mut Random) -> Vec<usize> {
    let longest = random.pick(&[1, 20, 20, 600, 4000]);
    let of_one_length = random.one_in(2);
    let length = random.below(longest);
    let count = random.within(1..40);
    (0..count).map(|_| if of_one_length { length } else { random.below(longest) }).collect()
}

/// What a run must be: the messages in it with their positions, one entry each.
#[derive(Clone)]
struct Expected {
    redelivered: bool,
    records: Vec<(u64, Vec<u8>)>,
}

#[derive(Default)]
struct World {
    open: OpenChunk,
    chunks: Vec<Arc<Chunk>>,
    runs: Vec<(Run, Expected)>,
    written: u32,
}

impl World {
    fn carry_out(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Write { bodies, queues } => self.write(bodies, *queues),
            Command::Split { pick, at } => self.with_run(*pick, |world, (mut run, mut all)| {
                if run.count > 1 {
                    let at = 1 + at % (run.count as usize - 1);
                    let front = run.split_front(at as u32);
                    let rest = all.records.split_off(at);
                    let later = Expected { records: rest, ..all };
                    world.runs.push((front, all));
                    all = later;
                }
                world.runs.push((run, all));
            }),
            Command::Join { pick } => self.with_run(*pick, World::join),
            Command::Redeliver { pick } => self.with_run(*pick, |world, (mut run, mut all)| {
                (run.redelivered, all.redelivered) = (true, true);
                world.runs.push((run, all));
            }),
            Command::CopyOut { pick } => self.with_run(*pick, |world, (run, all)| {
                let copy = run.copied_out();
                world.chunks.push(copy.chunk.clone());
                world.runs.push((copy, all));
            }),
            Command::Settle { pick } => self.with_run(*pick, |_, (run, _)| run.settle()),
            Command::Fit { pick, messages, more_bytes } => return self.check_fit(*pick, *messages, *more_bytes),
        }
        Ok(())
    }

    fn write(&mut self, bodies: &[usize], queues: usize) {
        let mut records = Vec::new();
        for &length in bodies {
            self.written += 1;
            let key = self.written.to_string();
            let mut record = Vec::new();
            append_prefix(&mut record, flags::PERSISTENT, b"ex", key.as_bytes(), &[0x10, 0, 2], length as u32);
            let body: Vec<u8> = (0..length).map(|i| (i as u32 ^ self.written) as u8).collect();
            self.open.push(&record, &body);
            record.extend_from_slice(&body);
            records.push(record);
        }
        let chunk = self.open.close();
        for queue in 0..queues as u64 {
            let first_seq = queue * 1_000_000 + u64::from(self.written);
            let expected = Expected { redelivered: false, records: (first_seq..).zip(records.clone()).collect() };
            self.runs.push((Run::of_chunk(&chunk, first_seq), expected));
        }
        self.chunks.push(chunk);
    }

    fn with_run(&mut self, pick: usize, act: impl FnOnce(&mut World, (Run, Expected))) {
        if !self.runs.is_empty() {
            let taken = self.runs.swap_remove(pick % self.runs.len());
            act(self, taken);
        }
    }

    fn join(&mut self, (mut run, mut all): (Run, Expected)) {
        if let Some(at) = self.runs.iter().position(|(next, _)| run.continues_with(next)) {
            let (next, following) = self.runs.swap_remove(at);
            run.count += next.count;
            all.records.extend(following.records);
        }
        self.runs.push((run, all));
    }

    fn check_fit(&self, pick: usize, messages: usize, more_bytes: isize) -> Result<(), String> {
        if let Some((run, all)) = self.runs.get(pick % self.runs.len().max(1)) {
            let ends = || {
                all.records.iter().scan(0, |end, (_, record)| {
                    *end += record.len();
                    Some(*end)
                })
            };
            let bytes = ends().take(messages).last().unwrap_or(0).saturating_add_signed(more_bytes);
            let fitting = ends().take_while(|&end| end <= bytes).count().max(1) as u32;
            ensure!(run.count_within(bytes) == fitting, "{fitting} fit, not {}", run.count_within(bytes));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        for (run, all) in &self.runs {
            let bytes: usize = all.records.iter().map(|(_, record)| record.len()).sum();
            ensure!(run.count as usize == all.records.len(), "{} messages, not {}", run.count, all.records.len());
            ensure!(run.bytes() == bytes, "{} bytes, not {bytes}", run.bytes());
            ensure!(run.redelivered == all.redelivered, "redelivered {}", run.redelivered);
            for ((seq, record), expected) in (run.first_seq..).zip(run.records()).zip(&all.records) {
                let message = (seq, [record.prefix(), record.body()].concat());
                ensure!(message == *expected, "{message:?} is not {expected:?}");
            }
        }
        for chunk in &self.chunks {
            let of_chunk = self.runs.iter().filter(|(run, _)| Arc::ptr_eq(&run.chunk, chunk));
            let needed: usize = of_chunk.map(|(run, _)| run.bytes()).sum();
            let live = chunk.live_bytes.load(Ordering::Relaxed);
            ensure!(live == needed, "{live} live bytes, not {needed}");
            let capacity = chunk.bytes.capacity();
            let mostly_dead = capacity >= 16 * 1024 && needed < capacity / 4;
            ensure!(chunk.is_mostly_dead() == mostly_dead, "{needed} of {capacity} bytes: {mostly_dead}?");
        }
        Ok(())
    }

    /// With nothing left to deliver, nothing keeps a chunk.
    fn check_end(mut self) -> Result<(), String> {
        self.runs.drain(..).for_each(|(run, _)| run.settle());
        self.check()?;
        for chunk in &self.chunks {
            ensure!(Arc::strong_count(chunk) == 1, "a chunk of which nothing is needed is held");
        }
        Ok(())
    }
}

#[test]
fn runs_hold_what_a_list_of_messages_would() {
    check_seeds(0..300, commands, |commands| {
        let mut world = World::default();
        for command in commands {
            world.carry_out(command)?;
            world.check()?;
        }
        world.check_end()
    });
}

/// Chunks are charged by what they hold, and a small one holds no more than its messages.
#[test]
fn a_small_chunk_has_exactly_its_size() {
    let mut open = OpenChunk::default();
    open.reserve(100_000);
    open.push(&[0; 12], b"");
    let chunk = open.close();
    assert_eq!((chunk.bytes.capacity(), chunk.bytes.len()), (12, 12));
}
