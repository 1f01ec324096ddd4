//! The benchmark: `leveret bench`. It measures a broker, this one or another, over its socket, as clients see it.
//!
//! The load costs as little as it can: publishes are encoded once and written in large blocks, deliveries are counted
//! by walking the heads of frames, sockets block and each has a thread. What is left of the machine is the broker's.
//! Figures are best read beside those of [`limit`], which are the machine's: both in turn, on the same machine.

mod arguments;
mod backlog;
mod churn;
mod client;
mod consumer;
mod dead_letters;
mod endpoint;
mod error;
mod feature_rows;
mod idle;
mod latency;
mod limit;
mod load;
mod machine;
#[doc(hidden)]
pub mod message;
mod process;
mod producer;
mod report;
mod rows;
mod rpc;
mod server;
mod stall;
mod stand;
mod suite;
mod topology;

use clap::{Args, Subcommand};

use self::endpoint::{BrokerArgs, Endpoint};
use self::error::Result;
use self::report::{Figure, Report, Unit};
use self::server::Server;

/// `leveret bench`.
#[derive(Args, Debug)]
pub struct Bench {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Measure everything there is a bar for, and say which are met
    ///
    /// Starts a broker with its default settings, and the limit, for each row, and measures them in turn. Prints what
    /// was measured beside the bar. Ends with 0 whether bars are met or not.
    Suite(suite::Suite),

    /// Messages through queues: how many a second, and what the broker spends on them
    Throughput(Single<load::Load>),

    /// How long messages are on their way at a steady rate
    Latency(Single<latency::Latency>),

    /// Calls over direct reply-to, one at a time
    Rpc(Single<rpc::Rpc>),

    /// How many things can be opened and closed a second
    Churn(Single<churn::Churn>),

    /// What connections that do nothing cost in memory
    Idle(Single<idle::Idle>),

    /// What a consumer that reads nothing costs in memory, and other queues in speed
    Stall(Single<stall::Stall>),

    /// Messages that expire all at once: how fast they are dead letters, and how long others are on their way meanwhile
    DeadLetters(Single<dead_letters::DeadLetters>),

    /// A server that only reads publishes and writes them as deliveries: the machine's limit
    ///
    /// What `throughput` and `latency` find with its --addr is what a broker could reach at best.
    Limit(limit::Limit),

    /// What this machine makes of checksums, copies and syncs, apart from any broker
    Machine(machine::Machine),
}

/// One measurement of one broker.
#[derive(Args, Debug)]
struct Single<L: Args> {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    load: L,

    #[command(flatten)]
    broker: BrokerArgs,
}

impl<L: Args> Single<L> {
    fn run(&self, name: &'static str, measure: impl FnOnce(&L, &Endpoint) -> Result<Vec<Figure>>) -> Result<()> {
        let server = Server::of(&self.broker)?;
        let figures = measure(&self.load, &server.endpoint)?;
        if self.json {
            report::print_json(&[Report { name, title: name.to_owned(), outcome: Ok(figures) }]);
        } else {
            report::print_lines(&figures);
        }
        Ok(())
    }
}

/// The value of a flag that is a time: more than nothing, and no more than a day.
fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("expected a number of seconds, more than 0 and at most 86400".to_owned()),
    }
}

impl Bench {
    /// Measures and prints. An error is a sentence that says why that was not possible.
    pub fn run(&self) -> std::result::Result<(), String> {
        self.measure().map_err(|error| error.to_string())
    }

    fn measure(&self) -> Result<()> {
        if !matches!(self.mode, Mode::Limit(_)) {
            server::stop_all_on_signal()?;
        }
        match &self.mode {
            Mode::Limit(limit) => limit.run(),
            Mode::Machine(machine) => machine.run(),
            Mode::Suite(suite) => suite.run(),
            Mode::Throughput(single) => single.run("throughput", |load, endpoint| Ok(throughput(load.run(endpoint)?))),
            Mode::Latency(single) => single.run("latency", |load, endpoint| Ok(latencies(load.run(endpoint)?))),
            Mode::Rpc(single) => single.run("rpc", |load, endpoint| {
                let calls = load.run(endpoint)?;
                let mut figures = vec![Figure::new("calls", Unit::PerSecond, calls.per_s)];
                figures.extend(latencies(calls.latencies));
                Ok(figures)
            }),
            Mode::Churn(single) => single.run("churn", |load, endpoint| {
                Ok(vec![Figure::new(load.what.name(), Unit::PerSecond, load.run(endpoint)?)])
            }),
            Mode::Idle(single) => single.run("idle", |load, endpoint| Ok(idle(load.run(endpoint)?))),
            Mode::Stall(single) => single.run("stall", |load, endpoint| Ok(stall(load.run(endpoint)?))),
            Mode::DeadLetters(single) => {
                single.run("dead-letters", |load, endpoint| Ok(dead_letters(load.run(endpoint)?)))
            }
        }
    }
}

fn throughput(throughput: load::Throughput) -> Vec<Figure> {
    let mut figures = vec![
        Figure::new("published", Unit::PerSecond, throughput.published_per_s),
        Figure::new("delivered", Unit::PerSecond, throughput.delivered_per_s),
    ];
    let cpu = throughput.cpu_s_per_million;
    figures.extend(cpu.map(|cpu| Figure::new("broker CPU for a million messages", Unit::CpuPerMillion, cpu)));
    figures.extend(throughput.resident_kib.map(|kib| Figure::new("broker memory", Unit::Mib, kib / 1024.0)));
    figures
}

fn latencies(latencies: latency::Latencies) -> Vec<Figure> {
    let mut figures = vec![
        Figure::new("p50", Unit::Micros, latencies.p50_us),
        Figure::new("p90", Unit::Micros, latencies.p90_us),
        Figure::new("p99", Unit::Micros, latencies.p99_us),
        Figure::new("longest", Unit::Micros, latencies.max_us),
    ];
    figures.extend(latencies.cpu_s_per_s.map(|cpu| Figure::new("broker CPU", Unit::Cores, cpu)));
    figures
}

fn idle(memory: idle::IdleMemory) -> Vec<Figure> {
    vec![
        Figure::new(format!("each of {}, fresh", memory.connections), Unit::Kib, memory.fresh_kib),
        Figure::new("each after a burst", Unit::Kib, memory.after_burst_kib),
        Figure::new("opened", Unit::PerSecond, memory.opened_per_s),
    ]
}

fn stall(stalled: stall::Stalled) -> Vec<Figure> {
    let mut figures = vec![
        Figure::new("the other queue, alone", Unit::PerSecond, stalled.alone_per_s),
        Figure::new("the other queue, beside it", Unit::PerSecond, stalled.beside_per_s),
    ];
    figures.extend(stalled.before_kib.map(|kib| Figure::new("broker memory before", Unit::Mib, kib / 1024.0)));
    figures.extend(stalled.peak_kib.map(|kib| Figure::new("most broker memory", Unit::Mib, kib / 1024.0)));
    figures
}

fn dead_letters(dead: dead_letters::DeadLettered) -> Vec<Figure> {
    let mut figures = vec![Figure::new("dead letters", Unit::PerSecond, dead.per_s)];
    let cpu = dead.cpu_s_per_million;
    figures.extend(cpu.map(|cpu| Figure::new("broker CPU for a million of them", Unit::CpuPerMillion, cpu)));
    figures.extend([
        Figure::new("the other queue's p50 before", Unit::Micros, dead.before.p50_us),
        Figure::new("the other queue's p99 before", Unit::Micros, dead.before.p99_us),
        Figure::new("the other queue's p50 meanwhile", Unit::Micros, dead.meanwhile.p50_us),
        Figure::new("the other queue's p99 meanwhile", Unit::Micros, dead.meanwhile.p99_us),
        Figure::new("the other queue's longest meanwhile", Unit::Micros, dead.meanwhile.max_us),
    ]);
    figures
}
