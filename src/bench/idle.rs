//! What connections cost in memory that do nothing.

use std::thread;
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, basic};
use clap::Args;

use super::client::{CHANNEL, Client};
use super::endpoint::Endpoint;
use super::error::{BenchError, Result};
use super::message::{Message, Properties};
use super::process;
use super::topology::{declare_queue, delete_queue};
use crate::wire::frame::BODY;

/// How long memory may take to settle before it is looked at.
const SETTLE: Duration = Duration::from_secs(1);
/// Connections opened and closed before it begins, so that what the broker sets up once is not charged to the others.
const BEFORE: u32 = 50;
/// Files that this program needs besides the connections.
const OTHER_FILES: usize = 64;
const QUEUE: &str = "bench-idle";

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct Idle {
    /// Connections, each with a channel; fewer if this process may not open so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,

    /// Messages of the burst that each connection publishes and consumes; 0 is none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub burst: u32,

    /// Body of such a message, in bytes
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub body_bytes: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct IdleMemory {
    pub connections: u32,
    pub opened_per_s: f64,
    /// A connection that has only opened a channel.
    pub fresh_kib: f64,
    /// One that has published and consumed a burst since.
    pub after_burst_kib: f64,
}

impl Idle {
    pub fn run(&self, endpoint: &Endpoint) -> Result<IdleMemory> {
        let pid = endpoint.pid.ok_or_else(|| BenchError::new("memory needs the broker's --pid"))?;
        let resident_kib = || {
            thread::sleep(SETTLE);
            process::resident_kib(pid).ok_or_else(|| BenchError::new(format!("cannot see the memory of process {pid}")))
        };
        for _ in 0..BEFORE {
            Client::open(endpoint)?.close()?;
        }
        let most = process::open_files_max().saturating_sub(OTHER_FILES).max(1);
        let connections = self.connections.min(u32::try_from(most).unwrap_or(u32::MAX));
        let before_kib = resident_kib()?;
        let began = Instant::now();
        let mut clients = (0..connections).map(|_| Client::open(endpoint)).collect::<Result<Vec<_>>>()?;
        let opened_per_s = f64::from(connections) / began.elapsed().as_secs_f64();
        let fresh_kib = ((resident_kib()? - before_kib) / f64::from(connections)).max(0.0);
        // What the first bursts leave in the broker's buffers and in its allocator's hands is there once, however many
        // connections there are; what the others leave is theirs.
        let (first, others) = clients.split_at_mut(connections as usize / 2);
        self.burst_on_each(first)?;
        let after_first_kib = resident_kib()?;
        self.burst_on_each(others)?;
        let left_kib = ((resident_kib()? - after_first_kib) / others.len() as f64).max(0.0);
        clients.into_iter().try_for_each(Client::close)?;
        Ok(IdleMemory { connections, opened_per_s, fresh_kib, after_burst_kib: fresh_kib + left_kib })
    }

    fn burst_on_each(&self, clients: &mut [Client]) -> Result<()> {
        for client in clients {
            self.burst(client)?;
            client.rest();
        }
        Ok(())
    }

    /// Publishes the burst to a queue, then consumes all of it.
    fn burst(&self, client: &mut Client) -> Result<()> {
        if self.burst == 0 {
            return Ok(());
        }
        client.call(CHANNEL, declare_queue(QUEUE, false))?;
        let mut one = Vec::new();
        let body = vec![b'x'; self.body_bytes as usize];
        let properties = Properties::None.of(0);
        Message { exchange: "", routing_key: QUEUE, properties, body: &body }.publish(&mut one, client.frame_max);
        client.send(&one.repeat(self.burst as usize))?;
        client.consume(QUEUE, true)?;
        let mut missing = self.burst as usize * body.len();
        while missing > 0 {
            let frame = client.next_frame()?;
            missing -= if frame.kind == BODY { frame.payload.len().min(missing) } else { 0 };
        }
        let cancel = basic::Cancel { consumer_tag: "c".into(), nowait: false };
        client.call(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)))?;
        client.call(CHANNEL, delete_queue(QUEUE)).map(drop)
    }
}
