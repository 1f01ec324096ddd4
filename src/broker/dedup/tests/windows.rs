//! Windows, by themselves and against a list of everything that ever came.

use std::fmt::Debug;

use crate::broker::dedup::key::Key;
use crate::broker::dedup::window::{FOREVER, Window};
use crate::model_testing::{Random, check_seeds, ensure};
use crate::wire::table::ValueView;

fn key(name: u64) -> Key {
    Key::of(ValueView::Long(name as i64))
}

/// A window that remembers so many.
struct Sized(Window, usize);

impl Sized {
    /// Whether it is new.
    fn note(&mut self, name: u64, until_ms: u64, now_ms: u64) -> bool {
        let is_new = !self.0.contains(key(name), now_ms);
        if is_new {
            self.0.remember(key(name), until_ms, true);
            self.0.trim(self.1, now_ms);
        }
        is_new
    }
}

#[test]
fn the_oldest_is_forgotten_first() {
    let mut window = Sized(Window::default(), 2);
    assert!(window.note(1, FOREVER, 0) && window.note(2, FOREVER, 0));
    assert!(!window.note(1, FOREVER, 0), "a duplicate does not make it younger");
    assert!(window.note(3, FOREVER, 0) && window.note(1, FOREVER, 0));
    assert!(!window.note(3, FOREVER, 0));
}

#[test]
fn a_key_is_remembered_for_its_time() {
    let mut window = Sized(Window::default(), 10);
    assert!(window.note(1, 100, 50));
    assert!(!window.note(1, 200, 99), "a duplicate does not prolong it");
    assert!(window.note(1, 200, 100));
    assert!(!window.note(1, 300, 199));
    assert!(window.note(1, FOREVER, 200));
    assert!(!window.note(1, FOREVER, u64::MAX >> 2));
}

#[test]
fn what_a_log_has_is_counted_as_it_goes() {
    let mut window = Window::default();
    for name in 0..6 {
        window.remember(key(name), FOREVER, name % 2 == 0);
    }
    assert_eq!(window.trim(3, 0), 2);
    assert_eq!(window.kept().map(|(key, _)| key).collect::<Vec<_>>(), [key(4)]);
    window.forsake();
    assert_eq!((window.trim(0, 0), window.len()), (0, 0));
}

#[test]
fn a_remembered_key_takes_at_most_64_bytes() {
    for most in [1_000, 100_000, 140_000, 150_000] {
        let mut window = Window::default();
        for name in 0..most * 2 {
            window.remember(key(name), FOREVER, true);
            window.trim(most as usize, 0);
        }
        assert!(window.bytes() <= 64 * most as usize, "{most} take {} bytes", window.bytes());
    }
}

#[derive(Clone, Debug)]
struct Note {
    name: u64,
    ttl_ms: Option<u64>,
    after_ms: u64,
}

/// A key is remembered if it is among the last that were noted, and its time is not up.
#[test]
fn a_window_is_the_end_of_the_list_of_all_that_came() {
    let notes = |random: &mut Random| {
        let (names, forever) = (random.within(1..40), random.one_in(2));
        let one = |_| Note {
            name: random.below(names) as u64,
            ttl_ms: (!forever && !random.one_in(3)).then(|| random.below(60) as u64),
            after_ms: random.below(4) as u64,
        };
        (0..300).map(one).collect()
    };
    for most in [1, 2, 7, 30] {
        check_seeds(0..200, notes, |notes: &[Note]| {
            let (mut window, mut all, mut now_ms) = (Sized(Window::default(), most), Vec::new(), 0);
            for note in notes {
                now_ms += note.after_ms;
                let until_ms = note.ttl_ms.map_or(FOREVER, |ttl| now_ms + ttl);
                let mut last = all.iter().rev().take(most);
                let is_new = !last.any(|(name, until_ms)| *name == note.name && *until_ms > now_ms);
                if is_new {
                    all.push((note.name, until_ms));
                }
                ensure!(window.note(note.name, until_ms, now_ms) == is_new, "at {now_ms} ms {note:?} is new: {is_new}");
            }
            Ok(())
        });
    }
}
