//! `leveret plugins`: what scripts for RabbitMQ do with `rabbitmq-plugins`, to a broker that has none to enable.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ctl::print;
use crate::ctl::request::Status;

/// RabbitMQ's plugins of which the broker has what they add.
const BUILT_IN: [&str; 6] = [
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_message_deduplication",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
];

/// `leveret plugins`.
#[derive(Args, Debug)]
#[command(disable_help_subcommand = true)]
pub struct Plugins {
    #[command(subcommand)]
    command: Action,

    /// Say nothing but the answer
    #[arg(short, long, visible_short_alias = 's', visible_alias = "silent", global = true)]
    quiet: bool,

    /// Taken for the sake of scripts, and not looked at
    #[arg(short, long, value_name = "NODE", global = true)]
    node: Option<String>,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
enum Action {
    /// Say which of these plugins the broker has built in; changes nothing
    Enable(Named),
    /// Say so; changes nothing
    Disable(Named),
    /// Say which of these plugins the broker has built in; changes nothing
    Set(Named),
    /// Check that the broker has what these plugins add
    IsEnabled(Named),
    /// List the plugins of which the broker has what they add
    List {
        /// Only those whose names contain this
        #[arg(value_name = "PATTERN")]
        pattern: Option<String>,
        /// Only the names
        #[arg(short, long)]
        minimal: bool,
        /// Taken for the sake of scripts: all of them are enabled
        #[arg(short = 'E', long)]
        enabled: bool,
        /// Taken for the sake of scripts: all of them are enabled
        #[arg(short = 'e', long)]
        implicitly_enabled: bool,
    },
}

#[derive(Args, Debug)]
struct Named {
    #[arg(value_name = "PLUGIN")]
    plugins: Vec<String>,
    /// Taken for the sake of scripts, and not looked at
    #[arg(long)]
    offline: bool,
    /// Taken for the sake of scripts, and not looked at
    #[arg(long)]
    online: bool,
    /// Taken for the sake of scripts, and not looked at
    #[arg(long)]
    all: bool,
}

impl Plugins {
    pub fn run(self) -> ExitCode {
        match self.command {
            Action::Enable(named) | Action::Set(named) => {
                for plugin in &named.plugins {
                    print(&match is_built_in(plugin) {
                        true => format!("{plugin} is part of the broker"),
                        false => format!("{plugin} is not part of the broker, and there is nothing to enable"),
                    });
                }
            }
            Action::Disable(named) => {
                for plugin in named.plugins.iter().filter(|plugin| is_built_in(plugin)) {
                    print(&format!("{plugin} is part of the broker, and stays enabled"));
                }
            }
            Action::IsEnabled(named) => {
                let missing: Vec<&str> =
                    named.plugins.iter().map(String::as_str).filter(|plugin| !is_built_in(plugin)).collect();
                if !missing.is_empty() {
                    eprintln!("Error:\nnot part of the broker: {}", missing.join(", "));
                    return ExitCode::from(Status::Unavailable.exit_code());
                }
                if !self.quiet {
                    print(&format!("part of the broker: {}", named.plugins.join(", ")));
                }
            }
            Action::List { pattern, minimal, .. } => {
                let pattern = pattern.unwrap_or_default();
                let shown: BTreeSet<_> = BUILT_IN.into_iter().filter(|plugin| plugin.contains(&pattern)).collect();
                for plugin in shown {
                    print(&format!("{}{plugin}", if minimal { "" } else { "[E*] " }));
                }
            }
        }
        ExitCode::SUCCESS
    }
}

fn is_built_in(plugin: &str) -> bool {
    BUILT_IN.contains(&plugin)
}
