use std::collections::{HashMap, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A wheel with messages, which are nothing but the times at which they are due.
struct World {
    wheel: Wheel,
    buckets: HashMap<Place, VecDeque<u64>>,
    now_ms: u64,
    fired: Vec<u64>,
}

impl World {
    fn new(now_ms: u64) -> World {
        World { wheel: Wheel::new(now_ms), buckets: HashMap::new(), now_ms, fired: Vec::new() }
    }

    fn put(&mut self, due_ms: u64) {
        let place = self.wheel.put(due_ms);
        self.buckets.entry(place).or_default().push_back(due_ms);
    }

    /// Lets every bucket have its turn that has it by then.
    fn advance(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        while let Some(place) = self.wheel.begin(now_ms) {
            for due_ms in std::mem::take(self.buckets.entry(place).or_default()) {
                if place.level == 0 && self.wheel.is_due(due_ms) {
                    assert!(due_ms <= now_ms, "nothing is early");
                    self.fired.push(due_ms);
                } else {
                    self.put(due_ms);
                }
            }
            self.wheel.end(place);
        }
    }

    /// Advances from turn to turn, as a clock does that is always attended to.
    fn pass(&mut self, until_ms: u64) {
        while let Some(next_ms) = self.next_ms().filter(|next_ms| *next_ms <= until_ms) {
            self.advance(next_ms.max(self.now_ms));
        }
        self.advance(until_ms);
    }

    fn next_ms(&self) -> Option<u64> {
        self.wheel.next().map(|(next_ms, _)| next_ms)
    }

    fn waiting(&self) -> usize {
        self.buckets.values().map(VecDeque::len).sum()
    }
}

/// A delay of any order of magnitude.
fn any_delay(random: &mut StdRng) -> u64 {
    let bits = random.random_range(0..48);
    random.random_range(0..=1u64 << bits)
}

#[test]
fn what_is_attended_to_fires_at_its_tick() {
    let mut random = StdRng::seed_from_u64(1);
    let mut world = World::new(1_700_000_000_123);
    for _ in 0..2000 {
        let now_ms = world.now_ms;
        (0..3).for_each(|_| world.put(now_ms + any_delay(&mut random)));
        let until_ms = now_ms + any_delay(&mut random) % 100_000;
        world.fired.clear();
        while let Some(next_ms) = world.next_ms().filter(|next_ms| *next_ms <= until_ms) {
            let (at_ms, before) = (next_ms.max(world.now_ms), world.fired.len());
            world.advance(at_ms);
            for due_ms in &world.fired[before..] {
                assert!(at_ms - due_ms < TICK_MS, "{due_ms} fired at {at_ms}");
            }
        }
        world.advance(until_ms);
        let overdue = world.buckets.values().flatten().filter(|due_ms| **due_ms + TICK_MS <= until_ms).count();
        assert_eq!(overdue, 0, "all that is due has fired");
    }
}

#[test]
fn all_fire_in_order_however_late_they_are_attended_to() {
    for seed in 0..50 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(1_700_000_000_000);
        let dues: Vec<u64> = (0..500).map(|_| world.now_ms + any_delay(&mut random)).collect();
        dues.iter().for_each(|due_ms| world.put(*due_ms));
        while world.waiting() > 0 {
            let step = any_delay(&mut random) * 8;
            world.advance(world.now_ms + step);
        }
        let ticks: Vec<u64> = world.fired.iter().map(|due_ms| tick_of(*due_ms)).collect();
        assert!(ticks.is_sorted(), "seed {seed}");
        let mut sorted = dues;
        sorted.sort_unstable();
        world.fired.sort_unstable();
        assert_eq!(world.fired, sorted, "seed {seed}");
    }
}

#[test]
fn what_is_due_at_the_end_of_time_waits_and_is_in_nobodys_way() {
    let mut world = World::new(1_700_000_000_000);
    [u64::MAX, u64::MAX - 1, u64::MAX / 2, world.now_ms + 7].into_iter().for_each(|due_ms| world.put(due_ms));
    world.pass(1_700_000_000_000 + 1000 * 365 * 86_400_000);
    assert_eq!((world.fired.len(), world.waiting()), (1, 3));
    world.advance(u64::MAX);
    assert_eq!((world.fired[1], world.fired.len()), (u64::MAX / 2, 4));
}

#[test]
fn those_of_one_tick_keep_their_order() {
    let mut world = World::new(1_000_000);
    // All of one tick, put from far and from near.
    [1_100_003, 1_100_001].into_iter().for_each(|due_ms| world.put(due_ms));
    world.pass(1_099_900);
    [1_100_002, 1_100_005].into_iter().for_each(|due_ms| world.put(due_ms));
    world.pass(1_100_004);
    assert!(world.fired.is_empty());
    world.pass(1_100_005);
    assert_eq!(world.fired, [1_100_003, 1_100_001, 1_100_002, 1_100_005]);
}

#[test]
fn a_clock_that_is_set_back_and_forth_loses_nothing_and_fires_nothing_early() {
    for seed in 0..50 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(1_700_000_000_000);
        for _ in 0..200 {
            let now_ms = world.now_ms;
            (0..5).for_each(|_| world.put(now_ms + any_delay(&mut random) % 1_000_000));
            let to_ms = now_ms + 500_000;
            world.advance(to_ms.saturating_sub(any_delay(&mut random) % 1_000_000));
        }
        assert_eq!(world.fired.len() + world.waiting(), 1000);
        world.advance(world.now_ms + 1_000_000 * 200);
        assert_eq!((world.fired.len(), world.waiting()), (1000, 0), "seed {seed}");
    }
}

#[test]
fn what_was_found_in_buckets_fires_in_order() {
    let mut random = StdRng::seed_from_u64(5);
    let mut world = World::new(1_700_000_000_000);
    (0..500).for_each(|_| world.put(1_700_000_000_000 + any_delay(&mut random) % 10_000_000));
    world.pass(1_700_000_100_000);
    // The wheel is gone; the buckets are found again an hour later.
    world.fired.clear();
    world.wheel = Wheel::new(1_700_003_600_000);
    for (place, dues) in &world.buckets {
        if let Some(first) = dues.front() {
            world.wheel.found(*place, *first);
        }
    }
    let waiting = world.waiting();
    world.advance(1_700_003_600_000);
    assert!(world.fired.iter().map(|due_ms| tick_of(*due_ms)).is_sorted());
    world.pass(1_700_020_000_000);
    assert_eq!((world.fired.len(), world.waiting()), (waiting, 0));
    assert!(world.fired.iter().map(|due_ms| tick_of(*due_ms)).is_sorted());
}
