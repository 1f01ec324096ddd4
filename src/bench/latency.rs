//! How long a message is on its way, at a steady rate.
//!
//! Each message is due at a moment fixed beforehand, which it carries in its body, and its latency counts from then:
//! a stall is charged to every message that it delays, not only to the one that met it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;

use super::client::Client;
use super::endpoint::Endpoint;
use super::error::{BenchError, Result};
use super::message::{Message, Properties};
use super::process;
use super::seconds;
use super::topology::Topology;
use crate::wire::frame::BODY;

const WARM_UP_S: f64 = 1.0;
/// How often a consumer that gets nothing looks whether all is over.
const LOOK: Duration = Duration::from_millis(100);
/// How long messages that are on their way may take once no more are published.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// A producer that lags behind writes so much at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// A moment in nanoseconds, at the front of each body.
const STAMP_BYTES: usize = 8;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct Latency {
    /// Messages a second
    #[arg(short = 'r', long = "rate", value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub rate_per_s: u64,

    /// Body of a message, in bytes
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(8..))]
    pub body_bytes: u32,

    /// Seconds to measure, after a second of warming up
    #[arg(short = 'z', long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latencies {
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// The server's processor time a second, in seconds.
    pub cpu_s_per_s: Option<f64>,
}

impl Latencies {
    pub fn of(mut nanos: Vec<u64>, cpu_s_per_s: Option<f64>) -> Result<Latencies> {
        if nanos.is_empty() {
            return Err(BenchError::new("no message was measured"));
        }
        nanos.sort_unstable();
        let at = |share: f64| nanos[((nanos.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
        Ok(Latencies { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99), max_us: at(1.0), cpu_s_per_s })
    }
}

impl Latency {
    /// From one producer through one queue to one consumer without acknowledgements.
    pub fn run(&self, endpoint: &Endpoint) -> Result<Latencies> {
        let topology = Topology::one_queue("bench-latency");
        topology.declare(endpoint)?;
        let latencies = self.measure(&topology.queue(0), endpoint)?;
        topology.delete(endpoint)?;
        Ok(latencies)
    }

    fn measure(&self, queue: &str, endpoint: &Endpoint) -> Result<Latencies> {
        let cpu_s = || endpoint.pid.and_then(process::cpu_s);
        let probe = Probe::start(self, queue, endpoint)?;
        let (from, to) = (WARM_UP_S, WARM_UP_S + self.seconds);
        let cpu_before = cpu_s();
        probe.wait_until(Duration::from_secs_f64(to))?;
        let cpu_s_per_s = cpu_s().zip(cpu_before).map(|(after, before)| (after - before) / to);
        let samples = probe.end()?;
        let latencies = samples.between(Duration::from_secs_f64(from), Duration::from_secs_f64(to))?;
        Ok(Latencies { cpu_s_per_s, ..latencies })
    }
}

/// Messages at a steady rate through a queue, until told to end.
pub struct Probe {
    began: Instant,
    state: Arc<ProbeState>,
    producing: JoinHandle<Result<()>>,
    consuming: JoinHandle<Result<Samples>>,
}

#[derive(Default)]
struct ProbeState {
    no_more: AtomicBool,
    /// So many were published in all, once that is known.
    total: AtomicU64,
}

const UNKNOWN: u64 = u64::MAX;

impl Probe {
    /// From one producer to one consumer without acknowledgements.
    pub fn start(load: &Latency, queue: &str, endpoint: &Endpoint) -> Result<Probe> {
        let producer = Client::open(endpoint)?;
        let mut consumer = Client::open(endpoint)?;
        consumer.consume(queue, true)?;
        let state = Arc::new(ProbeState { total: AtomicU64::new(UNKNOWN), ..ProbeState::default() });
        let began = Instant::now();
        let consuming = thread::spawn({
            let state = state.clone();
            move || consume(consumer, began, &state)
        });
        let producing = thread::spawn({
            let (load, queue, state) = (load.clone(), queue.to_owned(), state.clone());
            move || {
                let produced = load.produce(producer, &queue, began, &state);
                // A consumer must not wait for what could not be published.
                state.total.fetch_min(*produced.as_ref().unwrap_or(&0), Ordering::Relaxed);
                produced.map(drop)
            }
        });
        Ok(Probe { began, state, producing, consuming })
    }

    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits until it has been running for so long.
    pub fn wait_until(&self, time: Duration) -> Result<()> {
        while let Some(left) = time.checked_sub(self.elapsed()) {
            if self.producing.is_finished() || self.consuming.is_finished() {
                return Err(BenchError::new("the measurement of latencies has ended too soon"));
            }
            thread::sleep(left.min(LOOK));
        }
        Ok(())
    }

    pub fn end(self) -> Result<Samples> {
        self.state.no_more.store(true, Ordering::Relaxed);
        join(self.producing)?;
        join(self.consuming)
    }
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Of each message when it was due, and its latency, in nanoseconds.
#[derive(Default)]
pub struct Samples(Vec<(u64, u64)>);

impl Samples {
    /// The latencies of messages that were due in this time.
    pub fn between(&self, from: Duration, to: Duration) -> Result<Latencies> {
        let range = from.as_nanos() as u64..to.as_nanos() as u64;
        let of_range = self.0.iter().filter(|(due, _)| range.contains(due));
        Latencies::of(of_range.map(|(_, nanos)| *nanos).collect(), None)
    }
}

impl Latency {
    fn due(&self, n: u64) -> Duration {
        Duration::from_secs_f64(n as f64 / self.rate_per_s as f64)
    }

    /// Publishes until told to end. Returns how many messages that were.
    fn produce(&self, mut client: Client, queue: &str, began: Instant, state: &ProbeState) -> Result<u64> {
        let mut message = Vec::new();
        let body = vec![b'x'; self.body_bytes as usize];
        let properties = Properties::None.of(0);
        let stamp_at = Message { exchange: "", routing_key: queue, properties, body: &body }
            .publish(&mut message, client.frame_max);
        let mut out = Vec::new();
        let mut n = 0;
        while !state.no_more.load(Ordering::Relaxed) {
            let stamp = (self.due(n).as_nanos() as u64).to_be_bytes();
            message[stamp_at..stamp_at + STAMP_BYTES].copy_from_slice(&stamp);
            out.extend_from_slice(&message);
            n += 1;
            let wait = self.due(n).checked_sub(began.elapsed());
            if wait.is_some() || out.len() >= BLOCK_BYTES {
                client.send(&out)?;
                out.clear();
            }
            // Writing has taken its time.
            if let Some(wait) = wait.and_then(|_| self.due(n).checked_sub(began.elapsed())) {
                thread::sleep(wait);
            }
        }
        client.send(&out)?;
        client.close()?;
        Ok(n)
    }
}

/// Reads all messages, until as many have come as were published.
fn consume(mut client: Client, began: Instant, state: &ProbeState) -> Result<Samples> {
    client.set_read_wait(LOOK)?;
    let mut samples = Samples::default();
    let mut told = None;
    loop {
        let total = state.total.load(Ordering::Relaxed);
        if samples.0.len() as u64 >= total {
            break;
        }
        if total != UNKNOWN && told.get_or_insert_with(Instant::now).elapsed() > LAST_WAIT {
            return Err(BenchError::new(format!("{} of {total} messages have come", samples.0.len())));
        }
        let Some(frame) = client.poll_frame()? else { continue };
        if frame.kind != BODY {
            continue;
        }
        let Some(stamp) = frame.payload.first_chunk() else { continue };
        let (due, now) = (u64::from_be_bytes(*stamp), began.elapsed().as_nanos() as u64);
        samples.0.push((due, now.saturating_sub(due)));
    }
    client.close()?;
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let latencies = Latencies::of((0..=100).rev().map(|us| us * 1000).collect(), None).unwrap();
        assert_eq!((latencies.p50_us, latencies.p90_us, latencies.p99_us, latencies.max_us), (50.0, 90.0, 99.0, 100.0));
        assert!(Latencies::of(Vec::new(), None).is_err());
    }
}
