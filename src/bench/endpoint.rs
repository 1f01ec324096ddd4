//! Which broker to measure, and how to log in there.

use clap::Args;

/// A broker that runs already, or none.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Broker")]
pub struct BrokerArgs {
    /// A broker that runs already; without it one is started for the measurement, with the default settings
    ///
    /// The broker that is started listens on a free port and is stopped at the end. Variables LEVERET_… reach it, so
    /// that a setting can be tried: LEVERET_LIMITS__CONSUMER_WINDOW_BYTES=1MiB leveret bench throughput
    #[arg(long = "addr", visible_alias = "broker", value_name = "HOST:PORT")]
    pub address: Option<String>,

    /// Process of the broker at --addr, to measure its processor time and memory
    #[arg(long, value_name = "PID", requires = "address")]
    pub pid: Option<u32>,

    #[command(flatten)]
    pub login: Login,
}

#[derive(Args, Clone, Debug)]
pub struct Login {
    /// User to log in as
    #[arg(long, value_name = "NAME", default_value = "guest")]
    pub user: String,

    /// Password of that user
    #[arg(long, value_name = "PASSWORD", default_value = "guest")]
    pub password: String,

    /// Virtual host to work in
    #[arg(long, value_name = "NAME", default_value = "/")]
    pub vhost: String,
}

impl Default for Login {
    fn default() -> Login {
        Login { user: "guest".to_owned(), password: "guest".to_owned(), vhost: "/".to_owned() }
    }
}

/// Where a server listens, how to log in, and which process it is.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub address: String,
    pub login: Login,
    /// `None` if what the process spends is not to be known.
    pub pid: Option<u32>,
}
