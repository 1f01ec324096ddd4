//! What users may do.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::{Context, Group, Reply, Table, Target};
use crate::ctl::request::Refusal;

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Permissions {
    /// Set what a user may do in a virtual host: regular expressions of names
    SetPermissions {
        #[arg(value_name = "USER")]
        username: String,
        /// What the user may declare and delete
        #[arg(value_name = "CONFIGURE")]
        configure: String,
        /// What the user may publish to, and bind
        #[arg(value_name = "WRITE")]
        write: String,
        /// What the user may consume from, and bind to
        #[arg(value_name = "READ")]
        read: String,
    },
    /// The same, in every virtual host
    SetPermissionsGlobally {
        #[arg(value_name = "USER")]
        username: String,
        #[arg(value_name = "CONFIGURE")]
        configure: String,
        #[arg(value_name = "WRITE")]
        write: String,
        #[arg(value_name = "READ")]
        read: String,
    },
    /// Take away what a user may do in a virtual host
    ClearPermissions {
        #[arg(value_name = "USER")]
        username: String,
    },
    /// List what users may do in a virtual host
    ListPermissions,
    /// List what a user may do in all virtual hosts
    ListUserPermissions {
        #[arg(value_name = "USER")]
        username: String,
    },
    /// Set with which routing keys a user may use a topic exchange
    SetTopicPermissions {
        #[arg(value_name = "USER")]
        username: String,
        #[arg(value_name = "EXCHANGE")]
        exchange: String,
        /// A regular expression of the keys to publish with
        #[arg(value_name = "WRITE")]
        write: String,
        /// A regular expression of the keys to bind with
        #[arg(value_name = "READ")]
        read: String,
    },
    /// Let a user use a topic exchange, or all, with every routing key
    ClearTopicPermissions {
        #[arg(value_name = "USER")]
        username: String,
        #[arg(value_name = "EXCHANGE")]
        exchange: Option<String>,
    },
    /// List the topic permissions in a virtual host
    ListTopicPermissions,
    /// List the topic permissions of a user in all virtual hosts
    ListUserTopicPermissions {
        #[arg(value_name = "USER")]
        username: String,
    },
}

impl Group for Permissions {
    fn banner(&self, target: &Target<'_>) -> Option<String> {
        let vhost = target.vhost;
        Some(match self {
            Permissions::SetPermissions { username, .. } => {
                format!("Setting permissions for user \"{username}\" in vhost \"{vhost}\" ...")
            }
            Permissions::SetPermissionsGlobally { username, .. } => {
                format!("Setting permissions for user \"{username}\" in all virtual hosts ...")
            }
            Permissions::ClearPermissions { username } => {
                format!("Clearing permissions for user \"{username}\" in vhost \"{vhost}\" ...")
            }
            Permissions::ListPermissions => format!("Listing permissions for vhost \"{vhost}\" ..."),
            Permissions::ListUserPermissions { username } => format!("Listing permissions for user \"{username}\" ..."),
            Permissions::SetTopicPermissions { username, exchange, .. } => {
                format!("Setting topic permissions on \"{exchange}\" for user \"{username}\" in vhost \"{vhost}\" ...")
            }
            Permissions::ClearTopicPermissions { username, exchange: Some(exchange) } => {
                format!("Clearing topic permissions on \"{exchange}\" for user \"{username}\" in vhost \"{vhost}\" ...")
            }
            Permissions::ClearTopicPermissions { username, exchange: None } => {
                format!("Clearing topic permissions for user \"{username}\" in vhost \"{vhost}\" ...")
            }
            Permissions::ListTopicPermissions => format!("Listing topic permissions for vhost \"{vhost}\" ..."),
            Permissions::ListUserTopicPermissions { username } => {
                format!("Listing topic permissions for user \"{username}\" ...")
            }
        })
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        let (broker, vhost) = (&context.broker, context.vhost.as_str());
        match self {
            Permissions::SetPermissions { username, configure, write, read } => {
                broker.set_permissions(vhost, username, configure, write, read)?;
            }
            Permissions::SetPermissionsGlobally { username, configure, write, read } => {
                broker.set_permissions_globally(username, configure, write, read)?;
            }
            Permissions::ClearPermissions { username } => broker.clear_permissions(vhost, username)?,
            Permissions::ListPermissions => return permissions(context, Of::VHost(vhost)).map(Reply::Table),
            Permissions::ListUserPermissions { username } => {
                return permissions(context, Of::User(username)).map(Reply::Table);
            }
            Permissions::SetTopicPermissions { username, exchange, write, read } => {
                broker.set_topic_permissions(vhost, username, exchange, write, read)?;
            }
            Permissions::ClearTopicPermissions { username, exchange } => {
                broker.clear_topic_permissions(vhost, username, exchange.as_deref())?;
            }
            Permissions::ListTopicPermissions => return topics(context, Of::VHost(vhost)).map(Reply::Table),
            Permissions::ListUserTopicPermissions { username } => {
                return topics(context, Of::User(username)).map(Reply::Table);
            }
        }
        Ok(Reply::Done)
    }
}

/// Whose permissions are listed: a row then names the other of the two.
#[derive(Clone, Copy)]
enum Of<'a> {
    VHost(&'a str),
    User(&'a str),
}

impl<'a> Of<'a> {
    fn filter(self) -> (Option<&'a str>, Option<&'a str>) {
        match self {
            Of::VHost(vhost) => (Some(vhost), None),
            Of::User(user) => (None, Some(user)),
        }
    }

    fn first_column(self) -> &'static str {
        match self {
            Of::VHost(_) => "user",
            Of::User(_) => "vhost",
        }
    }

    fn shows_user(self) -> bool {
        matches!(self, Of::VHost(_))
    }
}

fn permissions(context: &Context, of: Of<'_>) -> Result<Table, Refusal> {
    let (vhost, user) = of.filter();
    let shows_user = of.shows_user();
    let rows = context.broker.list_permissions(vhost, user)?.into_iter().map(move |permission| {
        let first = if shows_user { &permission.user } else { &permission.vhost };
        [first, &permission.configure, &permission.write, &permission.read].map(|text| (**text).into()).to_vec()
    });
    Ok(Table { columns: vec![of.first_column(), "configure", "write", "read"], rows: Box::new(rows) })
}

fn topics(context: &Context, of: Of<'_>) -> Result<Table, Refusal> {
    let (vhost, user) = of.filter();
    let shows_user = of.shows_user();
    let rows = context.broker.list_topic_permissions(vhost, user)?.into_iter().map(move |topic| {
        let first = if shows_user { &topic.user } else { &topic.vhost };
        [first, &topic.exchange, &topic.write, &topic.read].map(|text| (**text).into()).to_vec()
    });
    Ok(Table { columns: vec![of.first_column(), "exchange", "write", "read"], rows: Box::new(rows) })
}
