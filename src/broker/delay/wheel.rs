//! When what is delayed is due: a hierarchy of wheels, whose lanes know times and not messages.
//!
//! Time passes in ticks. A bucket is a **level** and a **slot**: on level 0 a slot is a tick, on each further level 64
//! slots of the one below. A message goes to the lowest level on which it is fewer than 128 slots away, so that the slot
//! modulo 128, the **lane**, tells the buckets of a level apart. Two things have their turn:
//!
//! * a bucket of level 0 at its tick: what it holds is due;
//! * one of a higher level a span of its own before it begins: what it holds is put in again, and now goes to lower levels.
//!
//! ```text
//! level 0  |.|.|.|.|…          5 ms each, up to 640 ms away
//! level 1  |   .   |   .   |…  320 ms each, up to 41 s away
//! level 2  20 s each, up to 44 minutes;  level 3  22 minutes, up to 47 hours;  …  level 10 has all of 64 bits
//! ```
//!
//! The wheel has a time of its own, which never passes the turn of a bucket. If turns come late (the broker was stopped, or
//! had much to do), they are taken in their order all the same. Should a lane come to hold two slots, which happens only
//! when clocks are set or turns are late, it has its turn for the earlier, and who empties it puts the others in again.

use std::cmp::Reverse;
use std::collections::BTreeSet;

/// How exact the wheel is: nothing is early, and nothing later than this but by what it takes to attend to it.
pub const TICK_MS: u64 = 5;
/// Slots of one level in a slot of the next: two to this power.
const BITS: u32 = 6;
/// Twice that: a bucket of the next level may be taken apart before the one before it is over.
const LANES: u64 = 2 << BITS;
/// Enough for all times there are.
pub const LEVELS: usize = 11;

/// A bucket, as it is found: which slot it stands for at the moment is the wheel's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub level: u8,
    pub lane: u8,
}

impl Place {
    fn of(level: u8, slot: u64) -> Place {
        Place { level, lane: (slot % LANES) as u8 }
    }

    fn index(self) -> usize {
        usize::from(self.level) * LANES as usize + usize::from(self.lane)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// The earliest slot of what it holds; `None` if it holds nothing.
    slot: Option<u64>,
    /// Of what has come since its turn began.
    later: Option<u64>,
}

/// Which buckets hold something, and whose turn is when.
#[derive(Debug, Default)]
pub struct Wheel {
    /// The tick that has come.
    at: u64,
    lanes: Vec<Lane>,
    /// The turns to come, of one tick the higher level first.
    turns: BTreeSet<(u64, Reverse<u8>, u8)>,
    /// Whose turn it is.
    turning: Option<Place>,
}

/// The first tick that is not before this time.
fn tick_of(due_ms: u64) -> u64 {
    due_ms.div_ceil(TICK_MS)
}

/// When a bucket has its turn.
fn turn_of(level: u8, slot: u64) -> u64 {
    match level {
        0 => slot,
        _ => slot.saturating_sub(1) << (u32::from(level) * BITS),
    }
}

impl Wheel {
    pub fn new(now_ms: u64) -> Wheel {
        Wheel { at: now_ms / TICK_MS, ..Wheel::default() }
    }

    /// Where a message goes that is due at this time.
    pub fn put(&mut self, due_ms: u64) -> Place {
        let due = tick_of(due_ms).max(self.at);
        let is_near = |shift: u32| (due >> shift) - (self.at >> shift) < LANES;
        let level = (0..LEVELS as u8 - 1).find(|level| is_near(u32::from(*level) * BITS)).unwrap_or(LEVELS as u8 - 1);
        let slot = due >> (u32::from(level) * BITS);
        let place = Place::of(level, slot);
        self.note(place, slot);
        place
    }

    /// Notes that a bucket was found to hold something, the first of it due at this time.
    pub fn found(&mut self, place: Place, due_ms: u64) {
        let slot = tick_of(due_ms) >> (u32::from(place.level) * BITS);
        self.note(place, slot);
        self.at = self.at.min(turn_of(place.level, slot));
    }

    fn lane(&mut self, place: Place) -> &mut Lane {
        if self.lanes.len() <= place.index() {
            self.lanes.resize((usize::from(place.level) + 1) * LANES as usize, Lane::default());
        }
        &mut self.lanes[place.index()]
    }

    fn note(&mut self, place: Place, slot: u64) {
        let is_turning = self.turning == Some(place);
        let lane = self.lane(place);
        let known = if is_turning { &mut lane.later } else { &mut lane.slot };
        if known.is_some_and(|known| known <= slot) {
            return;
        }
        let replaced = known.replace(slot);
        if is_turning {
            return;
        }
        let Place { level, lane } = place;
        if let Some(replaced) = replaced {
            self.turns.remove(&(turn_of(level, replaced), Reverse(level), lane));
        }
        self.turns.insert((turn_of(level, slot), Reverse(level), lane));
    }

    /// The bucket whose turn it is, if one has it by now. It keeps it until its [end](Wheel::end).
    pub fn begin(&mut self, now_ms: u64) -> Option<Place> {
        if self.turning.is_some() {
            return self.turning;
        }
        let now = now_ms / TICK_MS;
        // Clocks may be set back.
        self.at = self.at.min(now);
        let Some(&(turn, Reverse(level), lane)) = self.turns.first().filter(|(turn, ..)| *turn <= now) else {
            self.at = now;
            return None;
        };
        self.turns.pop_first();
        self.at = self.at.max(turn);
        self.turning = Some(Place { level, lane });
        self.turning
    }

    /// Everything has been taken out that the bucket held when its turn began.
    pub fn end(&mut self, place: Place) {
        assert_eq!(self.turning.take(), Some(place), "only a turn that has begun ends");
        let lane = self.lane(place);
        lane.slot = None;
        if let Some(slot) = lane.later.take() {
            self.note(place, slot);
        }
    }

    /// Whether what is due at this time, and found in a bucket of level 0 whose turn it is, is due.
    pub fn is_due(&self, due_ms: u64) -> bool {
        tick_of(due_ms) <= self.at
    }

    /// The bucket that has the next turn, and when it has it, in milliseconds since 1970.
    pub fn next(&self) -> Option<(u64, Place)> {
        let &(turn, Reverse(level), lane) = self.turns.first()?;
        Some((turn.saturating_mul(TICK_MS), Place { level, lane }))
    }
}

#[cfg(test)]
mod tests;
