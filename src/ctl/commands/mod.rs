//! The commands, by what they are about.
//!
//! Each is defined once: the fields of its variant are its arguments on the command line and in the request. The command
//! line asks [`Group::check`] and prints [`Group::banner`]; the broker's end does [`Group::carry_out`], which calls the
//! broker and has no logic of its own.

mod checks;
mod definitions;
mod listing;
mod node;
mod operations;
mod parameters;
mod permissions;
mod policies;
mod resources;
mod users;
mod vhosts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

pub use self::checks::Checks;
pub use self::definitions::Definitions;
pub use self::listing::Listing;
pub use self::node::Node;
pub use self::operations::Operations;
pub use self::parameters::Parameters;
pub use self::permissions::Permissions;
pub use self::policies::Policies;
pub use self::resources::Resources;
pub use self::users::Users;
pub use self::vhosts::VHosts;
use super::request::{Refusal, Status};
use crate::broker::administration::AdminError;
use crate::broker::parameter::ParameterError;
use crate::broker::{Broker, NotDone};

/// Everything that can be asked of a broker.
#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    #[command(flatten)]
    Node(Node),
    #[command(flatten)]
    Checks(Checks),
    #[command(flatten)]
    Listing(Listing),
    #[command(flatten)]
    Operations(Operations),
    #[command(flatten)]
    Users(Users),
    #[command(flatten)]
    Permissions(Permissions),
    #[command(flatten)]
    VHosts(VHosts),
    #[command(flatten)]
    Policies(Policies),
    #[command(flatten)]
    Parameters(Parameters),
    #[command(flatten)]
    Definitions(Definitions),
    #[command(flatten)]
    Resources(Resources),
}

/// What commands are carried out with.
#[derive(Clone)]
pub struct Context {
    pub broker: Arc<Broker>,
    /// The addresses that clients connect to.
    pub listening: Arc<[SocketAddr]>,
    /// Ends the process in good order.
    pub stop: Arc<Notify>,
    pub vhost: String,
}

/// Where a command goes, as it is announced.
pub struct Target<'a> {
    pub vhost: &'a str,
    /// The path of the socket.
    pub socket: String,
    pub timeout: Option<Duration>,
}

/// What a command came to.
pub enum Reply {
    Done,
    /// In words: what was asked for.
    Message(String),
    /// In words that who wants it quiet need not read.
    Remark(String),
    /// A JSON object.
    Value(Value),
    Table(Table),
    /// The process is to end, once this is said.
    Stopping,
}

/// Rows that are made as they are sent.
pub struct Table {
    pub columns: Vec<&'static str>,
    pub rows: Box<dyn Iterator<Item = Vec<Value>> + Send>,
}

/// What the commands of a group have in common.
pub trait Group {
    /// Whether the arguments make sense, as far as can be told without a broker.
    ///
    /// # Errors
    /// A usage error.
    fn check(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// Where the password goes that the command wants, if it was not given as an argument.
    fn password(&mut self) -> Option<&mut Option<String>> {
        None
    }

    /// What is said before the command is carried out, in RabbitMQ's words.
    fn banner(&self, target: &Target<'_>) -> Option<String>;

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal>;
}

impl Command {
    fn group(&self) -> &dyn Group {
        match self {
            Command::Node(group) => group,
            Command::Checks(group) => group,
            Command::Listing(group) => group,
            Command::Operations(group) => group,
            Command::Users(group) => group,
            Command::Permissions(group) => group,
            Command::VHosts(group) => group,
            Command::Policies(group) => group,
            Command::Parameters(group) => group,
            Command::Definitions(group) => group,
            Command::Resources(group) => group,
        }
    }

    fn group_mut(&mut self) -> &mut dyn Group {
        match self {
            Command::Node(group) => group,
            Command::Checks(group) => group,
            Command::Listing(group) => group,
            Command::Operations(group) => group,
            Command::Users(group) => group,
            Command::Permissions(group) => group,
            Command::VHosts(group) => group,
            Command::Policies(group) => group,
            Command::Parameters(group) => group,
            Command::Definitions(group) => group,
            Command::Resources(group) => group,
        }
    }

    pub fn check(&self) -> Result<(), Refusal> {
        self.group().check()
    }

    /// Asks for the password that the command wants and was not given.
    pub fn complete(&mut self, ask: impl FnOnce() -> Result<String, Refusal>) -> Result<(), Refusal> {
        if let Some(password @ None) = self.group_mut().password() {
            *password = Some(ask()?);
        }
        Ok(())
    }

    pub fn banner(&self, target: &Target<'_>) -> Option<String> {
        self.group().banner(target)
    }

    pub fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        self.check()?;
        self.group().carry_out(context)
    }

    /// For the help: the titles of the groups, with the names and descriptions of their commands.
    pub fn overview() -> String {
        let groups: [Titled; 11] = [
            ("Broker", Node::augment_subcommands),
            ("Health checks", Checks::augment_subcommands),
            ("What there is", Listing::augment_subcommands),
            ("Queues and connections", Operations::augment_subcommands),
            ("Users", Users::augment_subcommands),
            ("Permissions", Permissions::augment_subcommands),
            ("Virtual hosts", VHosts::augment_subcommands),
            ("Policies", Policies::augment_subcommands),
            ("Parameters and limits", Parameters::augment_subcommands),
            ("Definitions", Definitions::augment_subcommands),
            ("Resources", Resources::augment_subcommands),
        ];
        list(&groups)
    }
}

/// A group of commands as the help shows it: its title, and what adds them to a command line.
pub type Titled = (&'static str, fn(clap::Command) -> clap::Command);

/// The titles of groups, with the names and descriptions of their commands.
pub fn list(groups: &[Titled]) -> String {
    let mut text = String::new();
    for (title, augment) in groups {
        text.push_str(&format!("{title}:\n"));
        for command in augment(clap::Command::new("ctl")).get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {:<36} {about}\n", command.get_name()));
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

impl From<NotDone> for Refusal {
    fn from(error: NotDone) -> Refusal {
        Refusal::data(error)
    }
}

impl From<AdminError> for Refusal {
    fn from(error: AdminError) -> Refusal {
        let status = match error {
            AdminError::NoSuchUser(_) => Status::NoUser,
            AdminError::UserExists(_) | AdminError::Protected => Status::Software,
            _ => Status::Data,
        };
        Refusal::new(status, error)
    }
}

impl From<ParameterError> for Refusal {
    fn from(error: ParameterError) -> Refusal {
        Refusal::data(error)
    }
}

/// JSON that was given as an argument.
fn parse_json(text: &str) -> Result<Value, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::data(format!("JSON decoding error. Reason: {error}")))
}
