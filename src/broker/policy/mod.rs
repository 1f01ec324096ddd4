//! Policies: settings that an operator gives to all queues and exchanges whose names match a pattern.
//!
//! Of all policies that match a queue or exchange, the one with the highest priority applies, alone; of the operator
//! policies likewise one. What they and the arguments come to together is [`effective`](effective::effective).

pub mod definition;
pub mod effective;
pub mod pattern;

use std::sync::Arc;

use serde_json::{Map, Value};

pub use self::definition::PolicyDefinition;

/// One policy, or one operator policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub vhost: Arc<str>,
    pub name: Arc<str>,
    /// A regular expression; it matches anywhere in a name unless it is anchored.
    pub pattern: Arc<str>,
    pub apply_to: ApplyTo,
    /// The highest that matches wins.
    pub priority: i64,
    /// As it was given.
    pub definition: Map<String, Value>,
    /// What of the definition this broker acts on.
    pub settings: PolicyDefinition,
}

/// What kinds of things a policy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    #[default]
    All,
    Queues,
    Exchanges,
    ClassicQueues,
    QuorumQueues,
    Streams,
}

const APPLY_TO: [(ApplyTo, &str); 6] = [
    (ApplyTo::All, "all"),
    (ApplyTo::Queues, "queues"),
    (ApplyTo::Exchanges, "exchanges"),
    (ApplyTo::ClassicQueues, "classic_queues"),
    (ApplyTo::QuorumQueues, "quorum_queues"),
    (ApplyTo::Streams, "streams"),
];

impl ApplyTo {
    pub fn parse(name: &str) -> Option<ApplyTo> {
        APPLY_TO.iter().find(|(_, known)| *known == name).map(|(apply_to, _)| *apply_to)
    }

    pub fn name(self) -> &'static str {
        APPLY_TO.iter().find(|(known, _)| *known == self).expect("every kind has a name").1
    }
}

/// The policy and the operator policy that apply to one queue or exchange.
#[derive(Clone, Debug, Default)]
pub struct AppliedPolicies {
    pub policy: Option<Arc<Policy>>,
    pub operator: Option<Arc<Policy>>,
}

impl AppliedPolicies {
    /// Whether the same two policies apply: not only equal ones, so that a policy that was set again counts as another.
    pub fn is_same(&self, other: &AppliedPolicies) -> bool {
        let pointer = |policy: &Option<Arc<Policy>>| policy.as_ref().map(Arc::as_ptr);
        pointer(&self.policy) == pointer(&other.policy) && pointer(&self.operator) == pointer(&other.operator)
    }
}
