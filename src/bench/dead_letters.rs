//! Messages that expire all at once, in a queue that dead-letters: how fast they reach the other queue, and how long
//! messages of a third queue are on their way meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use amq_protocol::protocol::basic;
use clap::Args;

use super::arguments::Argument;
use super::client::Client;
use super::endpoint::Endpoint;
use super::error::{BenchError, Result};
use super::latency::{Latencies, Latency, Probe};
use super::load::Load;
use super::message::Message;
use super::process;
use super::producer;
use super::seconds;
use super::topology::{Topology, ready_messages};

/// How long the other queue's messages go through before they are measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often the queue of the dead letters is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How long the first dead letter, and each further one, may be waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct DeadLetters {
    /// Messages that expire
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: u64,

    /// Body of a message, in bytes
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 16)]
    pub body_bytes: usize,

    /// Durable queues and persistent messages
    #[arg(long)]
    pub durable: bool,

    /// Let each message draw a time to live of its own, one of N [default: all have that of the queue]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub expirations: u32,

    /// Time to live of the message at the head, in seconds: long enough to publish all that are behind it
    #[arg(long, value_name = "S", default_value_t = 4.0, value_parser = seconds)]
    pub ttl: f64,

    /// Messages a second through the queue whose latency is measured
    #[arg(short = 'r', long = "rate", value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub rate_per_s: u64,

    /// Seconds for which its latency is measured before
    #[arg(short = 'z', long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct DeadLettered {
    /// From the first to the last that arrived.
    pub per_s: f64,
    /// The server's processor time for a million, without what the third queue takes.
    pub cpu_s_per_million: Option<f64>,
    /// Of the third queue.
    pub before: Latencies,
    pub meanwhile: Latencies,
}

/// A moment on the way.
struct Moment {
    at: Duration,
    arrived: u64,
    cpu_s: Option<f64>,
}

const DYING: &str = "bench-dying";
const DEAD: &str = "bench-dead";
const OTHER: &str = "bench-latency";

impl DeadLetters {
    pub fn run(&self, endpoint: &Endpoint) -> Result<DeadLettered> {
        let all = [self.dying().topology(), self.dead(), Topology::one_queue(OTHER)];
        all.iter().try_for_each(|topology| topology.declare(endpoint))?;
        let measured = self.measure(endpoint)?;
        all.iter().try_for_each(|topology| topology.delete(endpoint))?;
        Ok(measured)
    }

    fn ttl_ms(&self) -> i64 {
        (self.ttl * 1000.0) as i64
    }

    fn dead(&self) -> Topology {
        Topology { durable: self.durable, ..Topology::one_queue(DEAD) }
    }

    /// What fills the queue.
    fn dying(&self) -> Load {
        let mut arguments = vec![
            Argument::text("x-dead-letter-exchange", ""),
            Argument::text("x-dead-letter-routing-key", &self.dead().queue(0)),
        ];
        if self.expirations == 0 {
            arguments.push(Argument::number("x-message-ttl", self.ttl_ms()));
        }
        Load {
            name: DYING,
            arguments,
            body_bytes: self.body_bytes,
            durable: self.durable,
            expirations: self.expirations,
            expiration_min_ms: 1,
            ..Load::default()
        }
    }

    fn measure(&self, endpoint: &Endpoint) -> Result<DeadLettered> {
        let latency = Latency { rate_per_s: self.rate_per_s, body_bytes: 16, seconds: self.seconds };
        let probe = Probe::start(&latency, &Topology::one_queue(OTHER).queue(0), endpoint)?;
        let moment = |arrived| Moment { at: probe.elapsed(), arrived, cpu_s: endpoint.pid.and_then(process::cpu_s) };
        probe.wait_until(WARM_UP)?;
        let quiet = moment(0);
        probe.wait_until(WARM_UP + Duration::from_secs_f64(self.seconds))?;
        let filling = moment(0);
        self.fill(endpoint)?;
        let mut client = Client::open(endpoint)?;
        let (first, last) = self.arrivals(&mut client, &moment)?;
        client.close()?;
        let samples = probe.end()?;
        let time = (last.at - first.at).as_secs_f64();
        let arrived = (last.arrived - first.arrived) as f64;
        if arrived == 0.0 {
            return Err(BenchError::new("all had come before anyone looked: they need a longer time to live"));
        }
        let cores = filling.cores_since(&quiet);
        let cpu_s = last.cores_since(&first).zip(cores).map(|(meanwhile, before)| (meanwhile - before).max(0.0) * time);
        Ok(DeadLettered {
            per_s: arrived / time,
            cpu_s_per_million: cpu_s.map(|cpu_s| cpu_s / arrived * 1e6),
            before: samples.between(quiet.at, filling.at)?,
            meanwhile: samples.between(first.at, last.at)?,
        })
    }

    /// Where messages have times to live of their own, the first lives longer: those behind it, which would have expired,
    /// wait for it.
    fn fill(&self, endpoint: &Endpoint) -> Result<()> {
        let load = self.dying();
        let mut client = Client::open(endpoint)?;
        let properties = match self.expirations {
            0 => basic::AMQPProperties::default(),
            _ => basic::AMQPProperties::default().with_expiration(self.ttl_ms().to_string().into()),
        };
        let properties = if self.durable { properties.with_delivery_mode(2) } else { properties };
        let queue = load.topology().queue(0);
        let mut first = Vec::new();
        let body = &vec![b'x'; self.body_bytes];
        Message { exchange: "", routing_key: &queue, properties, body }.publish(&mut first, client.frame_max);
        client.send(&first)?;
        producer::fill(&load, 0, client, self.messages - 1)
    }

    /// The moment at which none had arrived yet, as far as there is one, and that at which all have.
    fn arrivals(&self, client: &mut Client, moment: &impl Fn(u64) -> Moment) -> Result<(Moment, Moment)> {
        let queue = self.dead().queue(0);
        let mut first = None;
        let (mut before, mut changed) = (0, Instant::now());
        loop {
            let looked = moment(0);
            let arrived = ready_messages(client, &queue)?;
            if arrived == 0 || first.is_none() {
                first = Some(Moment { arrived, ..looked });
            }
            if let Some(first) = first.take_if(|_| arrived >= self.messages) {
                return Ok((first, moment(arrived)));
            }
            if arrived != before {
                (before, changed) = (arrived, Instant::now());
            } else if changed.elapsed() > PATIENCE {
                let text = format!("{arrived} of {} dead letters have come, and no more", self.messages);
                return Err(BenchError::new(text));
            }
            thread::sleep(LOOK);
        }
    }
}

impl Moment {
    /// How many processors the server has used since then.
    fn cores_since(&self, from: &Moment) -> Option<f64> {
        let cpu_s = self.cpu_s? - from.cpu_s?;
        Some(cpu_s / (self.at - from.at).as_secs_f64())
    }
}
