//! What the model tests share: numbers from a seed, and lists of commands that shrink when they fail.
//!
//! A model test makes a list of commands from a seed and carries it out twice, on the real thing and on a model so
//! simple that it is right. Commands name what they act on by a number that fits whatever there is, so that a list
//! stays a valid one when some of it is left out. `LEVERET_SEEDS=17` runs that seed alone, `LEVERET_SEEDS=0..100000`
//! a great many.

use std::fmt::Debug;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns from a test with a text that says what is wrong.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
pub(crate) use ensure;

/// Numbers that look random and depend on the seed alone (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `end - 1`.
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0);
        (self.next() % end as u64) as usize
    }

    pub fn within(&mut self, range: Range<usize>) -> usize {
        range.start + self.below(range.len())
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// Runs the list of commands of each seed. If one fails, panics with the shortest list found that fails as well.
pub fn check_seeds<C: Clone + Debug>(
    seeds: Range<u64>,
    generate: impl Fn(&mut Random) -> Vec<C>,
    run: impl Fn(&[C]) -> Result<(), String>,
) {
    for seed in chosen(seeds) {
        let commands = generate(&mut Random::new(seed));
        let Err(why) = attempt(&commands, &run) else { continue };
        let (fewest, why) = shrunk(commands, why, &run);
        let list: String = fewest.iter().map(|command| format!("    {command:?}\n")).collect();
        panic!("seed {seed}: {why}\nafter {} commands:\n{list}", fewest.len());
    }
}

/// Runs each seed. A panic is repeated with its seed, and the line that replays it.
pub fn each_seed(test: &str, seeds: Range<u64>, run: impl Fn(u64)) {
    for seed in chosen(seeds) {
        let ran = attempt(&[seed], |seeds: &[u64]| {
            run(seeds[0]);
            Ok(())
        });
        if let Err(why) = ran {
            panic!("seed {seed}: {why}\nagain: LEVERET_SEEDS={seed} cargo test --lib {test}");
        }
    }
}

fn chosen(seeds: Range<u64>) -> Range<u64> {
    let Ok(asked) = std::env::var("LEVERET_SEEDS") else { return seeds };
    let number = |text: &str| text.parse::<u64>().expect("LEVERET_SEEDS is a number or a range such as 0..1000");
    match asked.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&asked)..number(&asked) + 1,
    }
}

/// A panic of the code under test counts as a failure like any other.
fn attempt<C>(commands: &[C], run: impl Fn(&[C]) -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| run(commands))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or(panic.downcast_ref::<&str>().map(|&text| text.into())).unwrap_or("a panic".into()))
    })
}

/// Leaves out what is not needed for a failure: first large parts, then ever smaller ones.
fn shrunk<C: Clone>(
    mut commands: Vec<C>,
    mut why: String,
    run: impl Fn(&[C]) -> Result<(), String>,
) -> (Vec<C>, String) {
    let mut part = commands.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at < commands.len() {
            let mut fewer = commands.clone();
            fewer.drain(at..(at + part).min(commands.len()));
            match attempt(&fewer, &run) {
                Ok(()) => at += part,
                Err(still) => (commands, why) = (fewer, still),
            }
        }
        part /= 2;
    }
    (commands, why)
}

#[test]
fn a_failing_list_shrinks_to_what_makes_it_fail() {
    let fails = |commands: &[u32]| {
        ensure!(!(commands.contains(&3) && commands.contains(&70)), "3 and 70");
        Ok(())
    };
    assert_eq!(shrunk((0..100).collect(), "as a whole".into(), fails), (vec![3, 70], "3 and 70".into()));
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let numbers = |seed| (0..3).map(|_| Random::new(seed).below(1000)).collect::<Vec<_>>();
    assert_eq!(numbers(7), numbers(7));
    assert_ne!(Random::new(1).next(), Random::new(2).next());
}
