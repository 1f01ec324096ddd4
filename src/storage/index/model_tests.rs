//! The index against a plain list of waiting messages.

use std::collections::BTreeMap;

use super::*;
use crate::model_testing::Random;

const QUEUES: usize = 3;
const RECORD_BYTES: u64 = 100;
/// The last is a lane of the one before.
const IDS: [QueueId; QUEUES] = [QueueId(0), QueueId(1), QueueId(1).lane(7)];

/// The file of each waiting message, and how often it was returned.
#[derive(Default)]
struct Plain {
    waiting: [BTreeMap<u64, u64>; QUEUES],
    returned: [BTreeMap<u64, u32>; QUEUES],
    may_expire: [bool; QUEUES],
    next_seq: [u64; QUEUES],
    delivered: [u64; QUEUES],
}

impl Plain {
    fn forget_gone(&mut self) {
        for queue in 0..QUEUES {
            self.returned[queue].retain(|seq, _| self.waiting[queue].contains_key(seq));
            self.may_expire[queue] &= !self.waiting[queue].is_empty();
        }
    }
}

struct World {
    index: Index,
    plain: Plain,
    random: Random,
    file: u64,
    end: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world =
            World { index: Index::default(), plain: Plain::default(), random: Random::new(seed), file: 0, end: 32 };
        world.new_file();
        world
    }

    fn new_file(&mut self) {
        self.file += 1;
        self.end = 32;
        self.index.add_file(self.file, FileKind::Journal, 32);
    }

    fn place(&mut self, len: u64) -> Place {
        let place = Place { file: self.file, offset: self.end, len };
        self.end += len;
        self.index.set_file_len(self.file, self.end);
        place
    }

    fn enqueue(&mut self) {
        let queue = self.random.below(QUEUES);
        let count = self.random.within(1..6) as u64;
        let wide = self.random.one_in(3);
        let place = self.place(count * RECORD_BYTES * if wide { 5 } else { 1 });
        let first = self.plain.next_seq[queue] + if self.random.one_in(5) { 2 } else { 0 };
        self.index.enqueue(IDS[queue], Piece::new(first, count, place, count * RECORD_BYTES));
        if self.random.one_in(8) {
            self.index.note_expiring(IDS[queue]);
            self.plain.may_expire[queue] = true;
        }
        self.plain.waiting[queue].extend((first..first + count).map(|seq| (seq, place.file)));
        self.plain.next_seq[queue] = first + count;
    }

    fn settle(&mut self) {
        let queue = self.random.below(QUEUES);
        let next = self.plain.next_seq[queue] as usize;
        let first = self.random.below(next + 1) as u64;
        let end = first + self.random.below(8) as u64;
        self.index.settle(IDS[queue], first, end);
        self.plain.waiting[queue].retain(|seq, _| !(first..end).contains(seq));
        self.plain.forget_gone();
    }

    fn count_returns(&mut self) {
        let queue = self.random.below(QUEUES);
        let first = self.random.below(self.plain.next_seq[queue] as usize + 1) as u64;
        let end = first + self.random.below(8) as u64;
        let returns = self.random.within(1..4) as u32;
        self.index.count_returns(IDS[queue], first, end, returns);
        self.plain.returned[queue].extend((first..end).map(|seq| (seq, returns)));
        self.plain.forget_gone();
    }

    fn deliver(&mut self) {
        let queue = self.random.below(QUEUES);
        if self.plain.next_seq[queue] > 0 {
            let through = self.random.below(self.plain.next_seq[queue] as usize + 1) as u64;
            self.index.deliver(IDS[queue], through);
            self.plain.delivered[queue] = self.plain.delivered[queue].max(through);
        }
    }

    /// Copies what waits in a file to a new one, leaving out a message now and then, which is lost.
    fn relocate(&mut self) {
        let old = 1 + self.random.below(self.file as usize) as u64;
        self.new_file();
        for (queue, id) in IDS.into_iter().enumerate() {
            let mut copied: Vec<Piece> = Vec::new();
            let waiting: Vec<u64> =
                self.plain.waiting[queue].iter().filter(|(_, file)| **file == old).map(|(&seq, _)| seq).collect();
            for seq in waiting {
                if self.random.one_in(20) {
                    self.plain.waiting[queue].remove(&seq);
                    continue;
                }
                let piece = Piece::new(seq, 1, self.place(RECORD_BYTES), RECORD_BYTES);
                if !copied.last_mut().is_some_and(|last| last.absorb(&piece)) {
                    copied.push(piece);
                }
                self.plain.waiting[queue].insert(seq, self.file);
            }
            self.index.relocate(id, old, &copied);
        }
        assert_eq!(self.index.files()[&old].pieces, 0);
        self.plain.forget_gone();
    }

    fn drop_queue(&mut self) {
        let queue = self.random.below(QUEUES);
        self.index.drop_queue(IDS[queue].base());
        for lane in (0..QUEUES).filter(|&lane| IDS[lane].base() == IDS[queue].base()) {
            self.plain.waiting[lane].clear();
            self.plain.next_seq[lane] = 0;
            self.plain.delivered[lane] = 0;
            assert!(self.index.queue(IDS[lane]).is_none());
        }
        self.plain.forget_gone();
    }

    /// Through the rows of a checkpoint.
    fn restart(&mut self) {
        let mut again = Index::default();
        for (&number, file) in self.index.files() {
            again.add_file(number, file.kind, file.len);
        }
        for (id, queue) in self.index.queues() {
            assert_eq!(again.restore(id, &queue.encode(None)), Some(None));
        }
        self.index = again;
    }

    fn check(&mut self) {
        let mut pieces: BTreeMap<u64, u64> = BTreeMap::new();
        for (queue, id) in IDS.into_iter().enumerate() {
            let waiting = &self.plain.waiting[queue];
            let found: Vec<u64> =
                self.index.unsettled(id, 0, u64::MAX).into_iter().flat_map(|(from, to)| from..to).collect();
            assert!(found.iter().eq(waiting.keys()), "{found:?} {waiting:?}");
            let Some(known) = self.index.queue(id) else { continue };
            assert_eq!(known.live(), waiting.len() as u64);
            for piece in known.pieces() {
                *pieces.entry(piece.place.file).or_default() += 1;
            }
            let settled: u64 = known.settled.to_vec().iter().map(|(first, end)| end - first).sum();
            let in_pieces: u64 =
                known.pieces().map(|piece| known.settled.overlap(piece.first_seq, piece.end_seq)).sum();
            assert_eq!(settled, in_pieces, "what is settled is known only of pieces that there are");
            self.check_recovered(queue);
            self.check_returns(queue);
            self.check_plan(queue);
        }
        for (number, file) in self.index.files() {
            assert_eq!(file.pieces, pieces.get(number).copied().unwrap_or(0), "file {number}");
            assert_eq!(file.pieces == 0, file.live_bytes == 0, "file {number}");
        }
    }

    fn check_recovered(&self, queue: usize) {
        let known = self.index.queue(IDS[queue]).unwrap().recovered();
        assert_eq!(known.may_expire, self.plain.may_expire[queue]);
        let (waiting, mark) = (&self.plain.waiting[queue], self.plain.delivered[queue]);
        for (redelivered, expected) in [(true, waiting.range(..mark).count()), (false, waiting.range(mark..).count())] {
            let range = known.waiting.iter().find(|range| range.redelivered == redelivered);
            assert_eq!(range.map_or(0, |range| range.count), expected as u64);
            assert!(range.is_none_or(|range| range.first_seq < range.end_seq));
        }
    }

    fn check_returns(&self, queue: usize) {
        let (waiting, returned) = (&self.plain.waiting[queue], &self.plain.returned[queue]);
        let found = self.index.unsettled_with_returns(IDS[queue], 0, u64::MAX).into_iter();
        let found = found.flat_map(|(from, to, returns)| (from..to).map(move |seq| (seq, returns)));
        assert!(found.eq(waiting.keys().map(|seq| (*seq, returned.get(seq).copied().unwrap_or(0)))));
        let kept: u64 = self.index.queue(IDS[queue]).unwrap().returned.iter().map(|(first, end, _)| end - first).sum();
        assert_eq!(kept, returned.len() as u64, "nothing is kept of messages that are gone");
    }

    fn check_plan(&mut self, queue: usize) {
        let from = self.random.below(self.plain.next_seq[queue] as usize + 2) as u64;
        let expected = self.plain.waiting[queue].range(from..).next();
        let plan = self.index.plan(IDS[queue], from, u64::MAX);
        assert_eq!(plan.map(|plan| (plan.from_seq, plan.piece.place.file)), expected.map(|(&seq, &file)| (seq, file)));
    }
}

#[test]
fn the_index_knows_just_what_waits() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..60 {
            match world.random.below(23) {
                0..9 => world.enqueue(),
                9..15 => world.settle(),
                15 => world.deliver(),
                16 => world.relocate(),
                17 => world.restart(),
                18 => world.new_file(),
                20..23 => world.count_returns(),
                _ if world.random.one_in(4) => world.drop_queue(),
                _ => {}
            }
            world.check();
        }
    }
}

/// As programs wrote and read them that knew nothing of returns and expirations.
#[test]
fn the_row_of_a_queue_that_needs_nothing_new_is_as_it_ever_was() {
    let mut index = Index::default();
    index.add_file(1, FileKind::Journal, 32);
    let (plain, other) = (QueueId(1), QueueId(2));
    for id in [plain, other] {
        index.enqueue(id, Piece::new(0, 3, Place { file: 1, offset: 32, len: 400 }, 300));
        index.settle(id, 1, 2);
    }
    index.note_expiring(other);
    index.count_returns(other, 0, 3, 5);
    let old = [3, 0, 1, 0, 3, 1, 32, 0x90, 3, 0xAC, 2, 1, 1, 1];
    assert_eq!(index.queue(plain).unwrap().encode(None), old);
    let new = [&old[..], &[1, 2, 0, 1, 5, 1, 1, 5]].concat();
    assert_eq!(index.queue(other).unwrap().encode(None), new);
    for cut in old.len() + 1..new.len() {
        assert!(index.restore(other, &new[..cut]).is_none());
    }
}

#[test]
fn what_one_queue_receives_alone_is_few_pieces() {
    let mut index = Index::default();
    index.add_file(1, FileKind::Journal, 32);
    let (queue, mut offset) = (QueueId(1), 32);
    for seq in 0..100_000 {
        let place = Place { file: 1, offset, len: 120 };
        index.enqueue(queue, Piece::new(seq, 1, place, 80));
        offset += 120;
    }
    assert_eq!(index.pieces(), 1);
}

#[test]
fn spilled_messages_are_found_until_released() {
    let mut index = Index::default();
    index.add_file(1, FileKind::Spill, 32);
    let queue = QueueId(1);
    index.spill(queue, Piece::new(10, 10, Place { file: 1, offset: 32, len: 1000 }, 900));
    assert_eq!(index.plan(queue, 0, 100).map(|plan| (plan.from_seq, plan.spilled)), Some((10, true)));
    index.release_spilled(queue, 12, 15);
    assert_eq!(index.plan(queue, 12, 100).map(|plan| plan.from_seq), Some(15));
    assert_eq!(index.files()[&1].pieces, 2);
    index.release_spilled(queue, 0, 100);
    assert!(index.plan(queue, 0, 100).is_none());
    assert_eq!((index.files()[&1].pieces, index.files()[&1].live_bytes), (0, 0));
    assert!(index.queue(queue).is_none());
}
