//! Policies, and those of operators.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, Group, Reply, Table, Target, parse_json};
use crate::broker::parameter::NewPolicy;
use crate::broker::policy::PolicyKind;
use crate::ctl::request::Refusal;

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Policies {
    /// Set a policy for the queues and exchanges whose names match
    SetPolicy(PolicyArgs),
    /// Clear a policy
    ClearPolicy {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the policies of a virtual host
    ListPolicies,
    /// Set a policy that limits what other policies may set
    SetOperatorPolicy(PolicyArgs),
    /// Clear such a policy
    ClearOperatorPolicy {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List such policies of a virtual host
    ListOperatorPolicies,
}

#[derive(Args, Debug, Serialize, Deserialize)]
pub struct PolicyArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// A regular expression of names
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// As JSON: {"max-length": 1000}
    #[arg(value_name = "DEFINITION")]
    definition: String,
    /// Of several that match, the highest counts
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    priority: i64,
    /// queues, classic_queues, quorum_queues, streams, exchanges or all
    #[arg(long = "apply-to", value_name = "WHAT", default_value = "all")]
    apply_to: String,
}

impl Group for Policies {
    fn check(&self) -> Result<(), Refusal> {
        match self {
            Policies::SetPolicy(args) | Policies::SetOperatorPolicy(args) => parse_json(&args.definition).map(drop),
            _ => Ok(()),
        }
    }

    fn banner(&self, target: &Target<'_>) -> Option<String> {
        let vhost = target.vhost;
        let set = |what: &str, PolicyArgs { name, pattern, definition, priority, .. }: &PolicyArgs| {
            format!(
                "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" \
                 for vhost \"{vhost}\" ..."
            )
        };
        Some(match self {
            Policies::SetPolicy(args) => set("policy", args),
            Policies::SetOperatorPolicy(args) => set("operator policy override", args),
            Policies::ClearPolicy { name } => format!("Clearing policy \"{name}\" on vhost \"{vhost}\" ..."),
            Policies::ClearOperatorPolicy { name } => {
                format!("Clearing operator policy \"{name}\" on vhost \"{vhost}\" ...")
            }
            Policies::ListPolicies => format!("Listing policies for vhost \"{vhost}\" ..."),
            Policies::ListOperatorPolicies => {
                format!("Listing operator policy overrides for vhost \"{vhost}\" ...")
            }
        })
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        match self {
            Policies::SetPolicy(args) => set(context, PolicyKind::User, args),
            Policies::SetOperatorPolicy(args) => set(context, PolicyKind::Operator, args),
            Policies::ClearPolicy { name } => clear(context, PolicyKind::User, name),
            Policies::ClearOperatorPolicy { name } => clear(context, PolicyKind::Operator, name),
            Policies::ListPolicies => list(context, PolicyKind::User),
            Policies::ListOperatorPolicies => list(context, PolicyKind::Operator),
        }
    }
}

fn set(context: &Context, kind: PolicyKind, args: &PolicyArgs) -> Result<Reply, Refusal> {
    let policy = NewPolicy {
        name: &args.name,
        pattern: &args.pattern,
        apply_to: Some(&args.apply_to),
        priority: args.priority,
        definition: parse_json(&args.definition)?,
    };
    context.broker.set_policy(kind, &context.vhost, policy)?;
    Ok(Reply::Done)
}

fn clear(context: &Context, kind: PolicyKind, name: &str) -> Result<Reply, Refusal> {
    context.broker.clear_policy(kind, &context.vhost, name)?;
    Ok(Reply::Done)
}

/// The definition is text, as in RabbitMQ's tools.
fn list(context: &Context, kind: PolicyKind) -> Result<Reply, Refusal> {
    let rows = context.broker.list_policies(kind, &context.vhost)?.into_iter().map(|policy| {
        let definition = Value::Object(policy.definition.clone()).to_string();
        vec![
            (*policy.vhost).into(),
            (*policy.name).into(),
            (*policy.pattern).into(),
            policy.apply_to.name().into(),
            definition.into(),
            policy.priority.into(),
        ]
    });
    let columns = vec!["vhost", "name", "pattern", "apply-to", "definition", "priority"];
    Ok(Reply::Table(Table { columns, rows: Box::new(rows) }))
}
