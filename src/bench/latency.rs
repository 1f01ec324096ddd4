//! How long a message is on its way, at a steady rate.
//!
//! Each message is due at a moment fixed beforehand, which it carries in its body, and its latency counts from then:
//! a stall is charged to every message that it delays, not only to the one that met it.

use std::thread;
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

    fn messages_in(&self, seconds: f64) -> u64 {
        (seconds * self.rate_per_s as f64) as u64
    }

    fn due(&self, n: u64) -> Duration {
        Duration::from_secs_f64(n as f64 / self.rate_per_s as f64)
    }

    fn measure(&self, queue: &str, endpoint: &Endpoint) -> Result<Latencies> {
        let mut producer = Client::open(endpoint)?;
        let mut consumer = Client::open(endpoint)?;
        consumer.consume(queue, true)?;
        let skipped = self.messages_in(WARM_UP_S);
        let total = skipped + self.messages_in(self.seconds).max(1);
        let cpu_s = || endpoint.pid.and_then(process::cpu_s);
        let (began, cpu_before) = (Instant::now(), cpu_s());
        let consuming = thread::spawn(move || consume(consumer, began, skipped, total));
        let produced = self.produce(&mut producer, queue, began, total);
        let consumed = consuming.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let seconds = began.elapsed().as_secs_f64();
        let cpu_s_per_s = cpu_s().zip(cpu_before).map(|(after, before)| (after - before) / seconds);
        produced?;
        let nanos = consumed?;
        producer.close()?;
        Latencies::of(nanos, cpu_s_per_s)
    }

    fn produce(&self, client: &mut Client, queue: &str, began: Instant, total: u64) -> Result<()> {
        let mut message = Vec::new();
        let body = vec![b'x'; self.body_bytes as usize];
        let properties = Properties::None.of(0);
        let stamp_at = Message { exchange: "", routing_key: queue, properties, body: &body }
            .publish(&mut message, client.frame_max);
        let mut out = Vec::new();
        for n in 0..total {
            let stamp = (self.due(n).as_nanos() as u64).to_be_bytes();
            message[stamp_at..stamp_at + STAMP_BYTES].copy_from_slice(&stamp);
            out.extend_from_slice(&message);
            let wait = self.due(n + 1).checked_sub(began.elapsed());
            if wait.is_some() || out.len() >= BLOCK_BYTES || n + 1 == total {
                client.send(&out)?;
                out.clear();
            }
            // Writing has taken its time.
            if let Some(wait) = wait.and_then(|_| self.due(n + 1).checked_sub(began.elapsed())) {
                thread::sleep(wait);
            }
        }
        Ok(())
    }
}

/// Reads all messages; returns the latencies of those behind the first `skipped`, in nanoseconds.
fn consume(mut client: Client, began: Instant, skipped: u64, total: u64) -> Result<Vec<u64>> {
    let mut nanos = Vec::with_capacity((total - skipped) as usize);
    let mut seen = 0;
    while seen < total {
        let frame = client.next_frame()?;
        if frame.kind != BODY {
            continue;
        }
        let Some(stamp) = frame.payload.first_chunk() else { continue };
        let now = began.elapsed().as_nanos() as u64;
        if seen >= skipped {
            nanos.push(now.saturating_sub(u64::from_be_bytes(*stamp)));
        }
        seen += 1;
    }
    client.close()?;
    Ok(nanos)
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
