//! Users and their limits.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, Group, Reply, Table, Target, parse_json};
use crate::ctl::request::Refusal;

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Users {
    /// Add a user, who may do nothing yet
    AddUser {
        #[arg(value_name = "USER")]
        username: String,
        /// Better on standard input: other users of this machine can see command lines
        #[arg(value_name = "PASSWORD")]
        password: Option<String>,
    },
    /// Delete a user, and close the user's connections
    DeleteUser {
        #[arg(value_name = "USER")]
        username: String,
    },
    /// Change the password of a user
    ChangePassword {
        #[arg(value_name = "USER")]
        username: String,
        /// Better on standard input: other users of this machine can see command lines
        #[arg(value_name = "PASSWORD")]
        password: Option<String>,
    },
    /// Let nobody log in as a user with a password
    ClearPassword {
        #[arg(value_name = "USER")]
        username: String,
    },
    /// Ask whether this is the password of a user
    AuthenticateUser {
        #[arg(value_name = "USER")]
        username: String,
        /// Better on standard input: other users of this machine can see command lines
        #[arg(value_name = "PASSWORD")]
        password: Option<String>,
    },
    /// Replace the tags of a user
    SetUserTags {
        #[arg(value_name = "USER")]
        username: String,
        #[arg(value_name = "TAG")]
        tags: Vec<String>,
    },
    /// List users and their tags
    ListUsers,
    /// Limit the connections or channels of a user
    SetUserLimits {
        #[arg(value_name = "USER")]
        username: String,
        /// As JSON: {"max-connections": 10, "max-channels": 100}; below zero is no limit
        #[arg(value_name = "LIMITS")]
        limits: String,
    },
    /// Lift a limit of a user: max-connections, max-channels, or all
    ClearUserLimits {
        #[arg(value_name = "USER")]
        username: String,
        #[arg(value_name = "LIMIT")]
        limit: String,
    },
    /// Show the limits of a user, or of all
    ListUserLimits {
        #[arg(long, value_name = "USER", required_unless_present = "global")]
        user: Option<String>,
        /// Of all users that have some
        #[arg(long)]
        global: bool,
    },
}

impl Group for Users {
    fn check(&self) -> Result<(), Refusal> {
        match self {
            Users::SetUserLimits { limits, .. } => parse_json(limits).map(drop),
            _ => Ok(()),
        }
    }

    fn password(&mut self) -> Option<&mut Option<String>> {
        match self {
            Users::AddUser { password, .. }
            | Users::ChangePassword { password, .. }
            | Users::AuthenticateUser { password, .. } => Some(password),
            _ => None,
        }
    }

    fn banner(&self, _: &Target<'_>) -> Option<String> {
        Some(match self {
            Users::AddUser { username, .. } => format!("Adding user \"{username}\" ..."),
            Users::DeleteUser { username } => format!("Deleting user \"{username}\" ..."),
            Users::ChangePassword { username, .. } => format!("Changing password for user \"{username}\" ..."),
            Users::ClearPassword { username } => format!("Clearing password for user \"{username}\" ..."),
            Users::AuthenticateUser { username, .. } => format!("Authenticating user \"{username}\" ..."),
            Users::SetUserTags { username, tags } => {
                format!("Setting tags for user \"{username}\" to [{}] ...", tags.join(", "))
            }
            Users::ListUsers => "Listing users ...".to_owned(),
            Users::SetUserLimits { username, limits } => {
                format!("Setting user limits to \"{limits}\" for user \"{username}\" ...")
            }
            Users::ClearUserLimits { username, limit } if limit == "all" => {
                format!("Clearing all limits for user \"{username}\" ...")
            }
            Users::ClearUserLimits { username, limit } => {
                format!("Clearing \"{limit}\" limit for user \"{username}\" ...")
            }
            Users::ListUserLimits { user: Some(user), .. } => format!("Listing limits for user \"{user}\" ..."),
            Users::ListUserLimits { .. } => "Listing limits for all users ...".to_owned(),
        })
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        let broker = &context.broker;
        match self {
            Users::AddUser { username, password } => {
                broker.add_user(username, given(password)?)?;
                return Ok(Reply::Remark(ADDED.to_owned()));
            }
            Users::DeleteUser { username } => broker.delete_user(username)?,
            Users::ChangePassword { username, password } => broker.change_password(username, given(password)?)?,
            Users::ClearPassword { username } => broker.clear_password(username)?,
            Users::AuthenticateUser { username, password } => {
                broker.authenticate_user(username, given(password)?)?;
                return Ok(Reply::Message("Success".to_owned()));
            }
            Users::SetUserTags { username, tags } => broker.set_user_tags(username, tags)?,
            Users::ListUsers => return Ok(Reply::Table(users(context))),
            Users::SetUserLimits { username, limits } => broker.set_user_limits(username, &parse_json(limits)?)?,
            Users::ClearUserLimits { username, limit } => broker.clear_user_limits(username, limit)?,
            Users::ListUserLimits { user: Some(user), .. } => {
                return Ok(Reply::Value(broker.user_limits(user)?.to_json()));
            }
            Users::ListUserLimits { .. } => return Ok(Reply::Table(limits(context))),
        }
        Ok(Reply::Done)
    }
}

const ADDED: &str = "Done. Don't forget to grant the user permissions to some virtual hosts! \
                     See 'leveret ctl set_permissions --help' to learn more.";

fn given(password: &Option<String>) -> Result<&str, Refusal> {
    password.as_deref().ok_or_else(|| Refusal::usage("a password is needed"))
}

fn users(context: &Context) -> Table {
    let rows = context.broker.list_users().into_iter().map(|user| {
        let tags = user.tags.iter().map(|tag| Value::from(&**tag)).collect();
        vec![(*user.name).into(), Value::Array(tags)]
    });
    Table { columns: vec!["user", "tags"], rows: Box::new(rows) }
}

fn limits(context: &Context) -> Table {
    let limited = context.broker.list_users().into_iter().filter_map(|user| {
        let limits = user.limits.to_json();
        let some = limits.as_object().is_some_and(|limits| !limits.is_empty());
        some.then(|| vec![(*user.name).into(), limits.to_string().into()])
    });
    Table { columns: vec!["user", "limits"], rows: Box::new(limited) }
}
