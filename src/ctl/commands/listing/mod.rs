//! Tables of what there is. Each takes the names of the columns to show; [`columns`] has those that may be asked for.

pub mod columns;
mod connections;
mod topology;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use self::columns::pick;
use super::{Context, Group, Reply, Target};
use crate::ctl::request::Refusal;

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// List the queues of a virtual host
    ListQueues {
        #[arg(value_name = "COLUMN", help = topology::QUEUES.help())]
        columns: Vec<String>,
    },
    /// List the exchanges of a virtual host
    ListExchanges {
        #[arg(value_name = "COLUMN", help = topology::EXCHANGES.help())]
        columns: Vec<String>,
    },
    /// List the bindings of a virtual host
    ListBindings {
        #[arg(value_name = "COLUMN", help = topology::BINDINGS.help())]
        columns: Vec<String>,
    },
    /// List the connections of clients
    ListConnections {
        #[arg(value_name = "COLUMN", help = connections::CONNECTIONS.help())]
        columns: Vec<String>,
    },
    /// List the channels of all connections
    ListChannels {
        #[arg(value_name = "COLUMN", help = connections::CHANNELS.help())]
        columns: Vec<String>,
    },
    /// List the consumers of a virtual host
    ListConsumers {
        #[arg(value_name = "COLUMN", help = topology::CONSUMERS.help())]
        columns: Vec<String>,
    },
}

impl Group for Listing {
    fn check(&self) -> Result<(), Refusal> {
        match self {
            Listing::ListQueues { columns } => pick(&topology::QUEUES, columns).map(drop),
            Listing::ListExchanges { columns } => pick(&topology::EXCHANGES, columns).map(drop),
            Listing::ListBindings { columns } => pick(&topology::BINDINGS, columns).map(drop),
            Listing::ListConnections { columns } => pick(&connections::CONNECTIONS, columns).map(drop),
            Listing::ListChannels { columns } => pick(&connections::CHANNELS, columns).map(drop),
            Listing::ListConsumers { columns } => pick(&topology::CONSUMERS, columns).map(drop),
        }
    }

    fn banner(&self, target: &Target<'_>) -> Option<String> {
        let vhost = target.vhost;
        Some(match self {
            Listing::ListQueues { .. } => match target.timeout {
                Some(timeout) => {
                    let timeout_s = timeout.as_secs_f64();
                    format!("Timeout: {timeout_s:.1} seconds ...\nListing queues for vhost {vhost} ...")
                }
                None => format!("Listing queues for vhost {vhost} ..."),
            },
            Listing::ListExchanges { .. } => format!("Listing exchanges for vhost {vhost} ..."),
            // Without a space, as RabbitMQ says it.
            Listing::ListBindings { .. } => format!("Listing bindings for vhost {vhost}..."),
            Listing::ListConnections { .. } => "Listing connections ...".to_owned(),
            Listing::ListChannels { .. } => "Listing channels ...".to_owned(),
            Listing::ListConsumers { .. } => format!("Listing consumers in vhost {vhost} ..."),
        })
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        let table = match self {
            Listing::ListQueues { columns } => topology::queues(context, columns),
            Listing::ListExchanges { columns } => topology::exchanges(context, columns),
            Listing::ListBindings { columns } => topology::bindings(context, columns),
            Listing::ListConnections { columns } => connections::connections(context, columns),
            Listing::ListChannels { columns } => connections::channels(context, columns),
            Listing::ListConsumers { columns } => topology::consumers(context, columns),
        };
        table.map(Reply::Table)
    }
}
