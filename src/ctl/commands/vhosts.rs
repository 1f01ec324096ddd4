//! Virtual hosts.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::listing::columns::{Column, Columns, pick, table};
use super::{Context, Group, Reply, Target};
use crate::broker::administration::VHostChange;
use crate::broker::vhost::VHost;
use crate::ctl::request::Refusal;

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum VHosts {
    /// Add a virtual host
    AddVhost {
        #[arg(value_name = "VHOST")]
        name: String,
        #[command(flatten)]
        metadata: Metadata,
    },
    /// Delete a virtual host with everything in it
    DeleteVhost {
        #[arg(value_name = "VHOST")]
        name: String,
    },
    /// Change the description, tags or default queue type of a virtual host
    UpdateVhostMetadata {
        #[arg(value_name = "VHOST")]
        name: String,
        #[command(flatten)]
        metadata: Metadata,
    },
    /// Replace the tags of a virtual host
    SetVhostTags {
        #[arg(value_name = "VHOST")]
        name: String,
        #[arg(value_name = "TAG")]
        tags: Vec<String>,
    },
    /// Refuse to delete a virtual host from now on
    EnableVhostDeletionProtection {
        #[arg(value_name = "VHOST")]
        name: String,
    },
    /// Let a virtual host be deleted again
    DisableVhostDeletionProtection {
        #[arg(value_name = "VHOST")]
        name: String,
    },
    /// List virtual hosts
    ListVhosts {
        #[arg(value_name = "COLUMN", help = VHOSTS.help())]
        columns: Vec<String>,
    },
}

#[derive(Args, Debug, Default, Serialize, Deserialize)]
pub struct Metadata {
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// With commas between them
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
    /// What queues are that are declared without a type: classic or quorum
    #[arg(long = "default-queue-type", value_name = "TYPE")]
    default_queue_type: Option<String>,
}

impl Metadata {
    fn tags(&self) -> Option<Vec<&str>> {
        let tags = self.tags.as_ref()?;
        Some(tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect())
    }

    fn change<'a>(&'a self, tags: &'a Option<Vec<&'a str>>) -> VHostChange<'a> {
        VHostChange {
            description: self.description.as_deref(),
            tags: tags.as_deref(),
            default_queue_type: self.default_queue_type.as_deref(),
            protected_from_deletion: None,
        }
    }
}

pub const VHOSTS: Columns<Arc<VHost>> = Columns {
    all: &[
        Column { name: "name", value: |vhost| (**vhost.name()).into() },
        Column { name: "tracing", value: |vhost| vhost.is_traced().into() },
        Column { name: "description", value: |vhost| (*vhost.metadata().description).into() },
        Column { name: "tags", value: |vhost| tags(vhost) },
        Column { name: "default_queue_type", value: |vhost| queue_type(vhost) },
        Column { name: "protected_from_deletion", value: |vhost| vhost.metadata().protected_from_deletion.into() },
        Column {
            name: "metadata",
            value: |vhost| {
                let metadata = vhost.metadata();
                json!({"description": &*metadata.description, "tags": tags(vhost),
                       "default_queue_type": queue_type(vhost),
                       "protected_from_deletion": metadata.protected_from_deletion})
            },
        },
    ],
    default: &["name"],
};

fn tags(vhost: &VHost) -> Value {
    vhost.metadata().tags.iter().map(|tag| Value::from(&**tag)).collect()
}

fn queue_type(vhost: &VHost) -> Value {
    vhost.default_queue_type().map(|kind| kind.name()).into()
}

impl Group for VHosts {
    fn check(&self) -> Result<(), Refusal> {
        match self {
            VHosts::ListVhosts { columns } => pick(&VHOSTS, columns).map(drop),
            _ => Ok(()),
        }
    }

    fn banner(&self, _: &Target<'_>) -> Option<String> {
        Some(match self {
            VHosts::AddVhost { name, .. } => format!("Adding vhost \"{name}\" ..."),
            VHosts::DeleteVhost { name } => format!("Deleting vhost \"{name}\" ..."),
            VHosts::UpdateVhostMetadata { name, .. } => format!("Updating metadata of vhost \"{name}\" ..."),
            VHosts::SetVhostTags { name, tags } => {
                format!("Setting tags for virtual host \"{name}\" to [{}] ...", tags.join(", "))
            }
            VHosts::EnableVhostDeletionProtection { name } => {
                format!("Protecting virtual host \"{name}\" from deletion ...")
            }
            VHosts::DisableVhostDeletionProtection { name } => {
                format!("Lifting the deletion protection of virtual host \"{name}\" ...")
            }
            VHosts::ListVhosts { .. } => "Listing vhosts ...".to_owned(),
        })
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        let broker = &context.broker;
        match self {
            VHosts::AddVhost { name, metadata } => {
                broker.add_vhost(name, metadata.change(&metadata.tags()))?;
            }
            VHosts::DeleteVhost { name } => broker.delete_vhost(name)?,
            VHosts::UpdateVhostMetadata { name, metadata } => {
                broker.update_vhost_metadata(name, metadata.change(&metadata.tags()))?;
            }
            VHosts::SetVhostTags { name, tags } => {
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                broker.update_vhost_metadata(name, VHostChange { tags: Some(&tags), ..VHostChange::default() })?;
            }
            VHosts::EnableVhostDeletionProtection { name } => protect(context, name, true)?,
            VHosts::DisableVhostDeletionProtection { name } => protect(context, name, false)?,
            VHosts::ListVhosts { columns } => {
                return Ok(Reply::Table(table(pick(&VHOSTS, columns)?, broker.list_vhosts().into_iter())));
            }
        }
        Ok(Reply::Done)
    }
}

fn protect(context: &Context, name: &str, protected: bool) -> Result<(), Refusal> {
    let change = VHostChange { protected_from_deletion: Some(protected), ..VHostChange::default() };
    Ok(context.broker.update_vhost_metadata(name, change)?)
}
