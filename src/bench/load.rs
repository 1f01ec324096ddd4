//! Messages through queues as fast as they go, or at a rate: how many a second, and what the broker spends on them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;

use super::arguments::Argument;
use super::backlog::Backlog;
use super::client::Client;
use super::consumer::{self, Consumer};
use super::endpoint::Endpoint;
use super::error::{BenchError, Result};
use super::message::Properties;
use super::process;
use super::producer;
use super::seconds;
use super::topology::{ExchangeType, Topology};

/// How long a load runs before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often a running load is looked at.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct Load {
    /// Producers, each with a connection of its own; producer i publishes to queue i modulo their number
    #[arg(short = 'x', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub producers: u32,

    /// Consumers, each with a connection of its own; consumer i takes from queue i modulo their number
    #[arg(short = 'y', long, value_name = "N", default_value_t = 1)]
    pub consumers: u32,

    /// Queues
    #[arg(short = 'q', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub queues: u32,

    /// Body of a message, in bytes
    #[arg(short = 's', long = "size", value_name = "BYTES", default_value_t = 16)]
    pub body_bytes: usize,

    /// Properties of a message
    #[arg(long, value_enum, value_name = "WHICH", default_value = "none", num_args = 0..=1,
          default_missing_value = "usual")]
    pub props: Properties,

    /// Publishes a second over all producers, one message a write; 0 is as fast as it goes
    #[arg(short = 'r', long = "rate", value_name = "N", default_value_t = 0)]
    pub rate_per_s: u64,

    /// Acknowledge after every Nth delivery, all up to it; 0 is no-ack
    #[arg(short = 'a', long = "acks", value_name = "N", default_value_t = 0)]
    pub ack_every: u64,

    /// Unacknowledged deliveries that a consumer may have; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub prefetch: u16,

    /// Publisher confirms, with at most N messages unconfirmed; 0 is none
    #[arg(short = 'c', long = "confirms", value_name = "N", default_value_t = 0)]
    pub confirms: u64,

    /// Publish to an exchange of this type, to which each queue is bound [default: the default exchange]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub exchange: Option<ExchangeType>,

    /// Bindings of the exchange, spread over the queues, each with a key of its own [default: one for each queue]
    #[arg(long, value_name = "N", requires = "exchange")]
    pub bindings: Option<u32>,

    /// Give each message a random one of all routing keys, instead of each producer one key
    #[arg(long)]
    pub random_keys: bool,

    /// Durable queues and persistent messages
    #[arg(long)]
    pub durable: bool,

    /// An argument of each queue, such as x-message-ttl=60000; may be given several times
    #[arg(long = "arg", value_name = "KEY=VALUE")]
    pub arguments: Vec<Argument>,

    /// Give each message a random one of N priorities, from 0 on; 0 is none at all
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=256))]
    pub priorities: u16,

    /// Give each message a time to live of its own, a random one of N from an hour on, in ms; 0 is none at all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub expirations: u32,

    /// Fill the queues with N messages, and while there are consumers keep about as many waiting
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "exchange")]
    pub backlog: u64,

    /// Seconds to measure, after a second of warming up
    #[arg(short = 'z', long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,

    /// The shortest time to live that messages draw.
    #[arg(skip = 3_600_000_u64)]
    pub expiration_min_ms: u64,

    /// What names begin with.
    #[arg(skip = "bench")]
    pub name: &'static str,
}

impl Default for Load {
    /// Sixteen bytes, from one producer through one queue to one consumer.
    fn default() -> Load {
        Load {
            producers: 1,
            consumers: 1,
            queues: 1,
            body_bytes: 16,
            props: Properties::None,
            rate_per_s: 0,
            ack_every: 0,
            prefetch: 0,
            confirms: 0,
            exchange: None,
            bindings: None,
            random_keys: false,
            durable: false,
            arguments: Vec::new(),
            priorities: 0,
            expirations: 0,
            expiration_min_ms: 3_600_000,
            backlog: 0,
            seconds: 5.0,
            name: "bench",
        }
    }
}

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    pub published_per_s: f64,
    pub delivered_per_s: f64,
    /// The server's processor time for a million messages: deliveries or, where nobody consumes, publishes.
    pub cpu_s_per_million: Option<f64>,
    pub resident_kib: Option<f64>,
}

/// What the threads of a load share.
#[derive(Default)]
pub struct Progress {
    pub published: AtomicU64,
    pub delivered: AtomicU64,
    /// Producers are to end.
    pub no_more: AtomicBool,
    /// Consumers are to end as well.
    pub over: AtomicBool,
    backlog: Backlog,
    failure: Mutex<Option<BenchError>>,
}

impl Progress {
    /// Whether producers are to hold still, for consumers to keep up.
    pub fn has_too_many(&self) -> bool {
        self.backlog.is_exceeded(self.published.load(Relaxed), self.delivered.load(Relaxed))
    }

    /// Whether consumers are to hold still, for producers to keep up.
    pub fn has_too_few(&self) -> bool {
        self.backlog.is_undercut(self.published.load(Relaxed), self.delivered.load(Relaxed))
    }

    fn fail(&self, error: BenchError) {
        self.failure.lock().expect("nothing panics here").get_or_insert(error);
        self.no_more.store(true, Relaxed);
        self.over.store(true, Relaxed);
    }

    fn check(&self) -> Result<()> {
        match &*self.failure.lock().expect("nothing panics here") {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// The counts of one moment.
struct Moment {
    at: Instant,
    published: u64,
    delivered: u64,
    cpu_s: Option<f64>,
}

impl Load {
    pub fn topology(&self) -> Topology {
        Topology {
            name: self.name,
            exchange: self.exchange,
            queues: self.queues,
            bindings: self.bindings,
            durable: self.durable,
            arguments: self.arguments.clone(),
        }
    }

    /// Whether all messages of a producer are the same bytes.
    pub fn is_uniform(&self) -> bool {
        !self.random_keys && self.props != Properties::Varied && self.priorities == 0 && self.expirations == 0
    }

    /// Declares what is needed, runs the load, and cleans up.
    pub fn run(&self, endpoint: &Endpoint) -> Result<Throughput> {
        if self.prefetch > 0 && self.ack_every > u64::from(self.prefetch) {
            return Err(BenchError::new("with fewer deliveries than are acknowledged at once nothing would go on"));
        }
        let topology = self.topology();
        topology.declare(endpoint)?;
        Backlog::fill(self, endpoint)?;
        let throughput = self.start(endpoint)?.measured(self.seconds)?;
        topology.delete(endpoint)?;
        Ok(throughput)
    }

    /// Starts the load over queues that are declared already.
    pub fn start(&self, endpoint: &Endpoint) -> Result<Running> {
        let mut running = Running {
            progress: Arc::new(Progress { backlog: Backlog::of(self), ..Progress::default() }),
            producers: Vec::new(),
            consumers: Vec::new(),
            endpoint: endpoint.clone(),
        };
        for n in 0..self.consumers {
            let consumer = Consumer::open(self, n, endpoint)?;
            let task = move |progress: &Progress| consumer::run(consumer, progress);
            running.consumers.push(running.spawn(task));
        }
        let mut clients = (0..self.producers).map(|_| Client::open(endpoint)).collect::<Result<Vec<_>>>()?;
        if self.rate_per_s > 0 {
            let load = self.clone();
            let task = move |progress: &Progress| producer::pace(&load, clients, progress);
            running.producers.push(running.spawn(task));
            return Ok(running);
        }
        for (n, client) in clients.drain(..).enumerate() {
            let load = self.clone();
            let task = move |progress: &Progress| producer::flood(&load, n as u32, client, progress);
            running.producers.push(running.spawn(task));
        }
        Ok(running)
    }
}

/// A load that runs. Ends when dropped.
pub struct Running {
    progress: Arc<Progress>,
    producers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
    endpoint: Endpoint,
}

impl Running {
    fn spawn(&self, task: impl FnOnce(&Progress) -> Result<()> + Send + 'static) -> JoinHandle<()> {
        let progress = self.progress.clone();
        thread::spawn(move || {
            if let Err(error) = task(&progress) {
                progress.fail(error);
            }
        })
    }

    /// Warms up, measures and ends.
    fn measured(mut self, seconds: f64) -> Result<Throughput> {
        self.wait(WARM_UP)?;
        let throughput = self.measure(Duration::from_secs_f64(seconds))?;
        self.end();
        // What fails while it ends tells of a broker that does not close as it should.
        self.progress.check()?;
        Ok(throughput)
    }

    /// What goes through from now on, for this long.
    pub fn measure(&self, time: Duration) -> Result<Throughput> {
        let from = self.moment();
        self.wait(time)?;
        let to = self.moment();
        let seconds = (to.at - from.at).as_secs_f64();
        let (published, delivered) = ((to.published - from.published) as f64, (to.delivered - from.delivered) as f64);
        if !self.consumers.is_empty() && delivered == 0.0 {
            return Err(BenchError::new(format!("nothing was delivered in {seconds:.1} s")));
        }
        let messages = if self.consumers.is_empty() { published } else { delivered };
        let cpu_s = to.cpu_s.zip(from.cpu_s).map(|(to, from)| to - from);
        Ok(Throughput {
            published_per_s: published / seconds,
            delivered_per_s: delivered / seconds,
            cpu_s_per_million: cpu_s.map(|cpu_s| cpu_s / messages.max(1.0) * 1e6),
            resident_kib: self.endpoint.pid.and_then(process::resident_kib),
        })
    }

    fn moment(&self) -> Moment {
        Moment {
            at: Instant::now(),
            published: self.progress.published.load(Relaxed),
            delivered: self.progress.delivered.load(Relaxed),
            cpu_s: self.endpoint.pid.and_then(process::cpu_s),
        }
    }

    /// Lets it run for this long; ends early if anything fails.
    pub fn wait(&self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.progress.check()?;
            thread::sleep(left.min(LOOK));
        }
        self.progress.check()
    }

    /// Producers end first: while they finish what they have begun, consumers still make room.
    fn end(&mut self) {
        self.progress.no_more.store(true, Relaxed);
        join(&mut self.producers);
        self.progress.over.store(true, Relaxed);
        join(&mut self.consumers);
    }
}

fn join(threads: &mut Vec<JoinHandle<()>>) {
    for thread in threads.drain(..) {
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.end();
        }
    }
}
