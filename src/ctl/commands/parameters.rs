//! Runtime parameters, global ones, and the limits of virtual hosts.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, Group, Reply, Table, Target, parse_json};
use crate::broker::parameter::VHOST_LIMITS;
use crate::ctl::request::Refusal;

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Parameters {
    /// Set a runtime parameter
    SetParameter {
        #[arg(value_name = "COMPONENT")]
        component: String,
        #[arg(value_name = "NAME")]
        name: String,
        /// As JSON
        #[arg(value_name = "VALUE")]
        value: String,
    },
    /// Clear a runtime parameter
    ClearParameter {
        #[arg(value_name = "COMPONENT")]
        component: String,
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the runtime parameters of a virtual host
    ListParameters,
    /// Set a runtime parameter of no virtual host
    SetGlobalParameter {
        #[arg(value_name = "NAME")]
        name: String,
        /// As JSON
        #[arg(value_name = "VALUE")]
        value: String,
    },
    /// Clear a runtime parameter of no virtual host
    ClearGlobalParameter {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the runtime parameters of no virtual host
    ListGlobalParameters,
    /// Limit the connections or queues of a virtual host
    SetVhostLimits {
        /// As JSON: {"max-connections": 10, "max-queues": 100}; below zero is no limit
        #[arg(value_name = "LIMITS")]
        limits: String,
    },
    /// Lift the limits of a virtual host
    ClearVhostLimits,
    /// Show the limits of a virtual host, or of all
    ListVhostLimits {
        /// Of all virtual hosts that have some
        #[arg(long)]
        global: bool,
    },
}

impl Group for Parameters {
    fn check(&self) -> Result<(), Refusal> {
        match self {
            Parameters::SetParameter { value, .. } | Parameters::SetGlobalParameter { value, .. } => {
                parse_json(value).map(drop)
            }
            Parameters::SetVhostLimits { limits } => parse_json(limits).map(drop),
            _ => Ok(()),
        }
    }

    fn banner(&self, target: &Target<'_>) -> Option<String> {
        let vhost = target.vhost;
        Some(match self {
            Parameters::SetParameter { component, name, value } => format!(
                "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
            ),
            Parameters::ClearParameter { component, name } => {
                format!("Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ...")
            }
            Parameters::ListParameters => format!("Listing runtime parameters for vhost \"{vhost}\" ..."),
            Parameters::SetGlobalParameter { name, value } => {
                format!("Setting global runtime parameter \"{name}\" to \"{value}\" ...")
            }
            Parameters::ClearGlobalParameter { name } => format!("Clearing global runtime parameter \"{name}\" ..."),
            Parameters::ListGlobalParameters => "Listing global runtime parameters ...".to_owned(),
            Parameters::SetVhostLimits { limits } => {
                format!("Setting vhost limits to \"{limits}\" for vhost \"{vhost}\" ...")
            }
            Parameters::ClearVhostLimits => format!("Clearing vhost \"{vhost}\" limits ..."),
            Parameters::ListVhostLimits { global: true } => "Listing limits for all vhosts ...".to_owned(),
            Parameters::ListVhostLimits { global: false } => format!("Listing limits for vhost \"{vhost}\" ..."),
        })
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        let (broker, vhost) = (&context.broker, context.vhost.as_str());
        match self {
            Parameters::SetParameter { component, name, value } => {
                broker.set_parameter(vhost, component, name, parse_json(value)?)?;
            }
            Parameters::ClearParameter { component, name } => broker.clear_parameter(vhost, component, name)?,
            Parameters::ListParameters => return parameters(context).map(Reply::Table),
            Parameters::SetGlobalParameter { name, value } => broker.set_global_parameter(name, parse_json(value)?)?,
            Parameters::ClearGlobalParameter { name } => broker.clear_global_parameter(name)?,
            Parameters::ListGlobalParameters => return Ok(Reply::Table(global_parameters(context))),
            Parameters::SetVhostLimits { limits } => broker.set_vhost_limits(vhost, parse_json(limits)?)?,
            Parameters::ClearVhostLimits => broker.clear_vhost_limits(vhost)?,
            Parameters::ListVhostLimits { global: true } => return all_limits(context).map(Reply::Table),
            Parameters::ListVhostLimits { global: false } => {
                let limits = limits(context, vhost)?;
                return Ok(Reply::Value(limits.unwrap_or_else(|| Value::Object(Default::default()))));
            }
        }
        Ok(Reply::Done)
    }
}

/// Values are text, as in RabbitMQ's tools.
fn parameters(context: &Context) -> Result<Table, Refusal> {
    let rows = context.broker.list_parameters(&context.vhost)?.into_iter().map(|parameter| {
        vec![(*parameter.component).into(), (*parameter.name).into(), parameter.value.to_string().into()]
    });
    Ok(Table { columns: vec!["component", "name", "value"], rows: Box::new(rows) })
}

fn global_parameters(context: &Context) -> Table {
    let all = context.broker.list_global_parameters().into_iter();
    let rows = all.map(|(name, value)| vec![(*name).into(), value.to_string().into()]);
    Table { columns: vec!["name", "value"], rows: Box::new(rows) }
}

/// The limits of a virtual host, as they were set.
fn limits(context: &Context, vhost: &str) -> Result<Option<Value>, Refusal> {
    let parameters = context.broker.list_parameters(vhost)?;
    let limits = parameters.into_iter().find(|parameter| &*parameter.component == VHOST_LIMITS);
    Ok(limits.map(|parameter| (*parameter.value).clone()))
}

fn all_limits(context: &Context) -> Result<Table, Refusal> {
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for vhost in context.broker.list_vhosts() {
        if let Some(limits) = limits(context, vhost.name())? {
            rows.push(vec![(**vhost.name()).into(), limits.to_string().into()]);
        }
    }
    Ok(Table { columns: vec!["vhost", "limits"], rows: Box::new(rows.into_iter()) })
}
