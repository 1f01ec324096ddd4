//! How fast things come and go, one after the other on one connection, each answer awaited.

use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, channel};
use clap::{Args, ValueEnum};

use super::client::{CHANNEL, Client};
use super::endpoint::Endpoint;
use super::error::Result;
use super::seconds;
use super::topology::{bind_queue, declare_queue, delete_queue};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Connections, each with a channel: opened and closed
    Connections,
    /// Channels: opened and closed
    Channels,
    /// Transient queues: declared and deleted
    Queues,
    /// Bindings of one queue to a topic exchange: made
    Bindings,
}

impl What {
    pub fn name(self) -> &'static str {
        match self {
            What::Connections => "connections",
            What::Channels => "channels",
            What::Queues => "queues",
            What::Bindings => "bindings",
        }
    }
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct Churn {
    /// What comes and goes
    #[arg(value_enum)]
    pub what: What,

    /// Seconds to measure
    #[arg(short = 'z', long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
}

const QUEUE: &str = "bench-churn";
/// The channel that comes and goes.
const OTHER_CHANNEL: u16 = CHANNEL + 1;

impl Churn {
    /// How many a second.
    pub fn run(&self, endpoint: &Endpoint) -> Result<f64> {
        let mut client = Client::open(endpoint)?;
        if self.what == What::Bindings {
            client.call(CHANNEL, delete_queue(QUEUE))?;
            client.call(CHANNEL, declare_queue(QUEUE, false))?;
        }
        let time = Duration::from_secs_f64(self.seconds);
        let began = Instant::now();
        let mut n = 0u32;
        while began.elapsed() < time {
            self.once(n, &mut client, endpoint)?;
            n += 1;
        }
        let per_s = f64::from(n) / began.elapsed().as_secs_f64();
        if self.what == What::Bindings {
            client.call(CHANNEL, delete_queue(QUEUE))?;
        }
        client.close()?;
        Ok(per_s)
    }

    fn once(&self, n: u32, client: &mut Client, endpoint: &Endpoint) -> Result<()> {
        use channel::AMQPMethod as M;
        match self.what {
            What::Connections => Client::open(endpoint)?.close(),
            What::Channels => {
                let close = channel::Close { reply_code: 200, reply_text: "done".into(), class_id: 0, method_id: 0 };
                client.call(OTHER_CHANNEL, AMQPClass::Channel(M::Open(channel::Open {})))?;
                client.call(OTHER_CHANNEL, AMQPClass::Channel(M::Close(close))).map(drop)
            }
            What::Queues => {
                let name = format!("{QUEUE}-{n}");
                client.call(CHANNEL, declare_queue(&name, false))?;
                client.call(CHANNEL, delete_queue(&name)).map(drop)
            }
            What::Bindings => {
                client.call(CHANNEL, bind_queue(QUEUE, "amq.topic", &format!("churn.{n}.*"), false)).map(drop)
            }
        }
    }
}
