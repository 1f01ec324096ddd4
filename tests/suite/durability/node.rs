//! A broker that is stopped and started again on its data.
//!
//! Against Leveret each test has a process and a data directory of its own. When `LEVERET_TEST_BROKER` is set, whatever
//! its value, the tests run against private nodes of RabbitMQ, one for each [`Way`]. A start takes one some seconds, so
//! its tests share it: it is restarted when everyone who uses it asks for that. Give them threads enough:
//!
//! ```text
//! LEVERET_TEST_BROKER=rabbitmq cargo test --test suite durability:: -- --test-threads 100
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use crate::durability::process::{Directory, Process};
use crate::durability::publisher::Publisher;
use crate::durability::rabbitmq::Guest;
use crate::support::broker::under_test_is_foreign;
use crate::support::peer::{Login, Peer};

/// How a broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM, and time to put everything in order.
    Orderly,
    /// SIGKILL.
    Kill,
}

/// The ends that a broker meets in a row before the test looks at it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Orderly,
    Killed,
    KilledTwice,
    KilledThenOrderly,
}

impl Way {
    pub const ALL: [Way; 4] = [Way::Orderly, Way::Killed, Way::KilledTwice, Way::KilledThenOrderly];

    pub fn stops(self) -> &'static [Stop] {
        match self {
            Way::Orderly => &[Stop::Orderly],
            Way::Killed => &[Stop::Kill],
            Way::KilledTwice => &[Stop::Kill, Stop::Kill],
            Way::KilledThenOrderly => &[Stop::Kill, Stop::Orderly],
        }
    }
}

/// Runs the test once for each way in which a broker may end.
#[track_caller]
pub fn in_every_way(test: impl Fn(&mut Node)) {
    for way in Way::ALL {
        eprintln!("in this way: {way:?}"); // the last line tells where a test failed
        test(&mut Node::start(way));
    }
}

/// A broker with durable data.
pub struct Node {
    way: Way,
    broker: Running,
}

enum Running {
    Ours { directory: Directory, process: Process },
    Foreign(Guest),
}

impl Node {
    #[track_caller]
    pub fn start(way: Way) -> Self {
        if under_test_is_foreign() {
            return Self { way, broker: Running::Foreign(Guest::enter(way)) };
        }
        let directory = Directory::new();
        let process = Process::start(&directory);
        Self { way, broker: Running::Ours { directory, process } }
    }

    pub fn way(&self) -> Way {
        self.way
    }

    pub fn address(&self) -> SocketAddr {
        match &self.broker {
            Running::Ours { process, .. } => process.address,
            Running::Foreign(guest) => guest.address(),
        }
    }

    /// Ends the broker in its way and has it there again. Clients lose their connections; the address may change.
    #[track_caller]
    pub fn restart(&mut self) {
        match &mut self.broker {
            Running::Foreign(guest) => guest.restart(),
            Running::Ours { directory, process } => {
                for &stop in self.way.stops() {
                    process.end(stop);
                    *process = Process::start(directory);
                }
            }
        }
    }

    /// As [`Self::restart`] by a kill, but the broker that is started is killed after so many microseconds, perhaps
    /// before it is ready, and started once more.
    #[track_caller]
    pub fn restart_dying_at_first(&mut self, after_us: Option<u64>) {
        if let (Some(after_us), Running::Ours { directory, process }) = (after_us, &mut self.broker) {
            process.end(Stop::Kill);
            let mut short_lived = Process::spawn(directory);
            std::thread::sleep(Duration::from_micros(after_us)); // a random moment is what is wanted
            short_lived.end(Stop::Kill);
            *process = Process::start(directory);
        } else {
            self.restart();
        }
    }

    /// A client with channel 1.
    #[track_caller]
    pub fn peer(&self) -> Peer {
        Login::new().connect(self.address())
    }

    /// A client whose channel 1 is in confirm mode.
    #[track_caller]
    pub fn publisher(&self) -> Publisher {
        Publisher::on(self.peer())
    }
}
