//! What has to be done at some time, or soon, and by nobody's connection: messages that expire, dead letters on their way
//! to other queues, queues that nobody uses.
//!
//! One thread attends to all duties, in turns of bounded length, so that a queue with a million messages to move does not
//! hold up another's. It holds no lock while it attends; whoever has something to do for it may hold any.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::time::Clock;

/// Something that is attended to in turns.
pub trait Duty: Send + Sync {
    /// Does a bounded part of what is due.
    fn attend(self: Arc<Self>, now_ms: u64) -> Attended;
}

/// What is left after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attended {
    Done,
    /// There is more to do at once.
    More,
}

#[derive(Default)]
struct Agenda {
    /// By when they are due, and where the duty lives: that tells those of one moment apart.
    timers: BTreeMap<(u64, usize), Weak<dyn Duty>>,
    ready: VecDeque<Arc<dyn Duty>>,
    /// When the thread is to end at the latest, once it has been told to.
    stop_by: Option<Instant>,
    /// Until when the thread sleeps, if it does; `u64::MAX` if it has no timer.
    asleep_until: Option<u64>,
}

impl Agenda {
    /// Makes ready what is due. Returns when the next timer is, if there is one.
    fn ready_due(&mut self, now_ms: u64) -> Option<u64> {
        while let Some(timer) = self.timers.first_entry() {
            let (due_ms, _) = *timer.key();
            if due_ms > now_ms {
                return Some(due_ms);
            }
            if let Some(duty) = timer.remove().upgrade() {
                self.ready.push_back(duty);
            }
        }
        None
    }
}

#[derive(Default)]
pub struct Worker {
    pub clock: Clock,
    agenda: Mutex<Agenda>,
    work: Condvar,
}

/// How long the thread sleeps at most: the system's clock may be set.
const NAP_MAX: Duration = Duration::from_secs(1);
/// How long what is ready is attended to when the thread is told to end.
const LAST_WORK_MAX: Duration = Duration::from_secs(5);

/// Tells duties apart. A weak reference keeps the place from being used again.
fn place_of(duty: &Weak<dyn Duty>) -> usize {
    duty.as_ptr().cast::<()>() as usize
}

impl Worker {
    /// A worker without a thread: somebody has to let it [run](Worker::run), or [attend](Worker::attend_due) for it.
    pub fn new(clock: Clock) -> Arc<Worker> {
        Arc::new(Worker { clock, ..Worker::default() })
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn lock(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().expect("no code panics while it holds the agenda")
    }

    /// Has the duty attended to at this time, or soon after, and not at `instead_of_ms`, for which it had asked before; 0 if
    /// it had not.
    pub fn at(&self, due_ms: u64, instead_of_ms: u64, duty: Weak<dyn Duty>) {
        let mut agenda = self.lock();
        let place = place_of(&duty);
        agenda.timers.remove(&(instead_of_ms, place));
        agenda.timers.insert((due_ms, place), duty);
        if agenda.asleep_until.is_some_and(|until| due_ms < until) {
            agenda.asleep_until = None;
            self.work.notify_one();
        }
    }

    /// Has the duty attended to at the next occasion.
    pub fn soon(&self, duty: Arc<dyn Duty>) {
        let mut agenda = self.lock();
        agenda.ready.push_back(duty);
        if agenda.asleep_until.take().is_some() {
            self.work.notify_one();
        }
    }

    /// Attends to duties until told to [stop](Worker::stop).
    pub fn run(&self) {
        while let Some(duty) = self.wait_for_next() {
            self.attend(duty);
            // Clients wait for what other threads do, and nobody for this one.
            std::thread::yield_now();
        }
    }

    fn attend(&self, duty: Arc<dyn Duty>) {
        if duty.clone().attend(self.now_ms()) == Attended::More {
            self.lock().ready.push_back(duty);
        }
    }

    fn wait_for_next(&self) -> Option<Arc<dyn Duty>> {
        let mut agenda = self.lock();
        loop {
            let now_ms = self.now_ms();
            if let Some(stop_by) = agenda.stop_by {
                // What is on its way arrives; what is due later is found again at the next start.
                return if Instant::now() < stop_by { agenda.ready.pop_front() } else { None };
            }
            let next_ms = agenda.ready_due(now_ms);
            if let Some(duty) = agenda.ready.pop_front() {
                return Some(duty);
            }
            let nap = next_ms.map_or(NAP_MAX, |next_ms| Duration::from_millis(next_ms - now_ms).min(NAP_MAX));
            agenda.asleep_until = Some(next_ms.unwrap_or(u64::MAX));
            agenda = self.work.wait_timeout(agenda, nap).expect("no code panics while it holds the agenda").0;
            agenda.asleep_until = None;
        }
    }

    /// Attends to everything that is due, in place of a thread; gives up after so many turns. Returns how many it took.
    pub fn attend_due(&self, turns_max: usize) -> usize {
        for turn in 0..turns_max {
            let now_ms = self.now_ms();
            let duty = {
                let mut agenda = self.lock();
                agenda.ready_due(now_ms);
                agenda.ready.pop_front()
            };
            match duty {
                Some(duty) => self.attend(duty),
                None => return turn,
            }
        }
        turns_max
    }

    /// Ends [`run`](Worker::run) once what is ready has been attended to, within a few seconds. What is left undone is found
    /// again at the next start.
    pub fn stop(&self) {
        self.lock().stop_by = Some(Instant::now() + LAST_WORK_MAX);
        self.work.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count {
        turns: AtomicU32,
        wanted: u32,
    }

    impl Duty for Count {
        fn attend(self: Arc<Self>, _: u64) -> Attended {
            let turns = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
            if turns < self.wanted { Attended::More } else { Attended::Done }
        }
    }

    fn duty(wanted: u32) -> Arc<Count> {
        Arc::new(Count { wanted, ..Count::default() })
    }

    #[test]
    fn timers_fire_when_they_are_due_and_not_before() {
        let worker = Worker::new(Clock::manual(100));
        let count = duty(1);
        let weak: Weak<Count> = Arc::downgrade(&count);
        worker.at(150, 0, weak.clone());
        worker.at(200, 0, weak);
        assert_eq!(worker.attend_due(9), 0);
        worker.clock.set(150);
        assert_eq!(worker.attend_due(9), 1);
        worker.clock.set(200);
        assert_eq!(worker.attend_due(9), 1);
        assert_eq!(count.turns.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_timer_takes_the_place_of_the_one_before() {
        let worker = Worker::new(Clock::manual(0));
        let (count, other) = (duty(1), duty(1));
        let weak: Weak<Count> = Arc::downgrade(&count);
        let weak_other: Weak<Count> = Arc::downgrade(&other);
        worker.at(100, 0, weak_other);
        for due_ms in (1..=100).rev() {
            worker.at(due_ms, due_ms + 1, weak.clone());
        }
        assert_eq!(worker.lock().timers.len(), 2);
    }

    #[test]
    fn what_is_ready_is_attended_to_before_the_end() {
        let worker = Worker::new(Clock::system());
        let count = duty(3);
        worker.soon(count.clone());
        worker.stop();
        worker.run();
        assert_eq!(count.turns.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn duties_take_turns() {
        let worker = Worker::new(Clock::manual(0));
        let (long, short) = (duty(5), duty(1));
        worker.soon(long.clone());
        worker.soon(short.clone());
        assert_eq!(worker.attend_due(2), 2);
        assert_eq!(short.turns.load(Ordering::Relaxed), 1, "the other has more to do, and waits");
        assert_eq!(worker.attend_due(100), 4);
        assert_eq!(long.turns.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn a_thread_that_sleeps_is_woken_for_an_earlier_timer() {
        let worker = Worker::new(Clock::system());
        let count = duty(1);
        let thread = std::thread::spawn({
            let worker = worker.clone();
            move || worker.run()
        });
        let weak: Weak<Count> = Arc::downgrade(&count);
        worker.at(worker.now_ms() + 20, 0, weak);
        while count.turns.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        worker.stop();
        thread.join().expect("the worker ends when it is told to");
    }
}
