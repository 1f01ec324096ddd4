//! How often a message on its way through the broker allocates: never. Only runs, chunks and buffers do.
//!
//! Each test sends messages through a warm connection and compares how often that allocates for few of them and for
//! many: the difference may come from a buffer that doubles, not from messages.

// An allocator cannot be written without; this one only counts and hands over to the system's.
#![allow(unsafe_code)]

#[path = "../bench/connection.rs"]
mod connection;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use leveret::bench::message::Properties;

use self::connection::{Connection, ack, publishes};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count_one() {
    // At the end of a thread there is nothing left to count in.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count_one();
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

const FEW: u64 = 250;
const MANY: u64 = 4_000;
/// What a buffer that doubles from `FEW` to `MANY` and the runs of some more turns of the consumer's window may add.
const GROWTH_MAX: u64 = 64;

/// Sends `FEW` and `MANY` messages again and again; once all is warm, checks that both allocate about equally often.
fn check(properties: Properties, acks_every: Option<u64>) {
    let mut connection = Connection::new("q");
    connection.consume("q", acks_every.is_none());
    let mut next_tag = 1;
    let mut allocations = [0; 2];
    for _ in 0..4 {
        for (count, allocations) in [FEW, MANY].into_iter().zip(&mut allocations) {
            let bytes = publishes(count, "q", properties, 16);
            let mut acks = Vec::new();
            if let Some(every) = acks_every {
                for tag in (next_tag..next_tag + count).filter(|tag| tag % every == 0) {
                    ack(&mut acks, tag, every > 1);
                }
            }
            next_tag += count;
            *allocations = allocations_of(|| {
                connection.read(&bytes);
                assert!(connection.write() > count as usize * 50);
                connection.read(&acks);
            });
        }
    }
    let [few, many] = allocations;
    println!("{FEW} messages: {few} allocations; {MANY}: {many}");
    assert!(many <= few + GROWTH_MAX, "{FEW} messages: {few} allocations; {MANY}: {many}");
}

#[test]
fn messages_that_are_alike_do_not_allocate() {
    check(Properties::None, None);
}

#[test]
fn messages_with_properties_do_not_allocate() {
    check(Properties::Usual, None);
}

#[test]
fn messages_with_different_properties_do_not_allocate() {
    check(Properties::Varied, None);
}

#[test]
fn messages_acknowledged_together_do_not_allocate() {
    check(Properties::None, Some(50));
}

#[test]
fn messages_acknowledged_one_by_one_do_not_allocate() {
    check(Properties::None, Some(1));
}
