//! A consumer that reads nothing from a queue at full speed: what it costs the broker in memory, and others in speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Args;

use super::client::Client;
use super::endpoint::Endpoint;
use super::error::Result;
use super::load::Load;
use super::process;
use super::seconds;

const WARM_UP: Duration = Duration::from_secs(1);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct Stall {
    /// Body of a message, in bytes
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 16)]
    pub body_bytes: usize,

    /// Seconds for which the consumer does not read
    #[arg(long = "stall", value_name = "S", default_value_t = 30.0, value_parser = seconds)]
    pub stall_seconds: f64,

    /// Seconds to measure the other queue's rate: first alone, then at the end of the stall
    #[arg(short = 'z', long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct Stalled {
    /// Deliveries a second of a queue that has the broker to itself.
    pub alone_per_s: f64,
    /// Of the same queue beside the one whose consumer does not read.
    pub beside_per_s: f64,
    /// The broker's memory before that consumer came.
    pub before_kib: Option<f64>,
    /// The most that it had meanwhile.
    pub peak_kib: Option<f64>,
}

impl Stall {
    pub fn run(&self, endpoint: &Endpoint) -> Result<Stalled> {
        let lively = Load { name: "bench-lively", body_bytes: self.body_bytes, ..Load::default() };
        let stalled = Load { name: "bench-stalled", consumers: 0, ..lively.clone() };
        for load in [&lively, &stalled] {
            load.topology().declare(endpoint)?;
        }
        let measured = self.measure(&lively, &stalled, endpoint)?;
        for load in [&lively, &stalled] {
            load.topology().delete(endpoint)?;
        }
        Ok(measured)
    }

    fn measure(&self, lively: &Load, stalled: &Load, endpoint: &Endpoint) -> Result<Stalled> {
        let time = Duration::from_secs_f64(self.seconds);
        let before = Duration::from_secs_f64((self.stall_seconds - self.seconds).max(0.0));
        let lively = lively.start(endpoint)?;
        lively.wait(WARM_UP)?;
        let alone_per_s = lively.measure(time)?.delivered_per_s;
        let before_kib = endpoint.pid.and_then(process::resident_kib);
        let peak = Peak::watch(endpoint.pid);
        let mut consumer = Client::open(endpoint)?;
        consumer.consume(&stalled.topology().queue(0), true)?;
        let flood = stalled.start(endpoint)?;
        lively.wait(before)?;
        let beside_per_s = lively.measure(time)?.delivered_per_s;
        let peak_kib = peak.end();
        // In this order: a queue without any consumer would take in all that the flood has.
        drop(flood);
        drop(consumer);
        Ok(Stalled { alone_per_s, beside_per_s, before_kib, peak_kib })
    }
}

/// The most memory that a process has while this watches.
struct Peak {
    over: Arc<AtomicBool>,
    watching: JoinHandle<Option<f64>>,
}

impl Peak {
    fn watch(pid: Option<u32>) -> Peak {
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let watching = thread::spawn(move || {
            let mut peak_kib: Option<f64> = None;
            while !until.load(Relaxed) {
                let now_kib = process::resident_kib(pid?)?;
                peak_kib = Some(peak_kib.map_or(now_kib, |peak| peak.max(now_kib)));
                thread::sleep(LOOK);
            }
            peak_kib
        });
        Peak { over, watching }
    }

    fn end(self) -> Option<f64> {
        self.over.store(true, Relaxed);
        self.watching.join().unwrap_or_default()
    }
}
