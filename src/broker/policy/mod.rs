//! Policies: settings that an operator gives to all queues and exchanges whose names match a pattern.
//!
//! Of all policies that match a queue or exchange, the one with the highest priority applies, alone; of the operator
//! policies likewise one. What they and the arguments come to together is [`effective`](effective::effective).

pub mod definition;
pub mod effective;
pub mod pattern;
pub mod set;
pub mod validation;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use self::pattern::Pattern;
use self::validation::JsonTerm;

pub use self::definition::PolicyDefinition;
pub use self::set::{PolicySet, Subject};

/// Whose policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    User,
    /// Policies that limit what those of users may set.
    Operator,
}

impl PolicyKind {
    /// The component of runtime parameters that these policies are.
    pub fn component(self) -> &'static str {
        match self {
            PolicyKind::User => "policy",
            PolicyKind::Operator => "operator_policy",
        }
    }
}

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

impl Policy {
    /// Reads a policy from the JSON that stands for it as a runtime parameter: `pattern`, `definition`, `priority` (0 if
    /// it is missing) and `apply-to` (`all` if it is missing). A definition may be a list of pairs, as RabbitMQ 3
    /// exports it.
    ///
    /// # Errors
    /// All that is wrong, a line each, in RabbitMQ's words.
    pub fn parse(kind: PolicyKind, vhost: &Arc<str>, name: &str, value: &Value) -> Result<(Policy, Pattern), String> {
        let mut problems = Vec::new();
        let mut keep = |result: Result<(), String>| result.unwrap_or_else(|problem| problems.push(problem));
        let priority = parse_priority(value.get("priority"));
        keep(priority.as_ref().map(drop).map_err(Clone::clone));
        let text = value.get("pattern").and_then(Value::as_str);
        let pattern = parse_pattern(value.get("pattern"));
        keep(pattern.as_ref().map(drop).map_err(Clone::clone));
        let apply_to = parse_apply_to(value.get("apply-to"));
        keep(apply_to.as_ref().map(drop).map_err(Clone::clone));
        let definition = parse_definition(kind, value.get("definition"));
        keep(definition.as_ref().map(drop).map_err(Clone::clone));
        let (Ok(priority), Some(text), Ok(pattern), Ok(apply_to), Ok(definition)) =
            (priority, text, pattern, apply_to, definition)
        else {
            return Err(problems.join("\n"));
        };
        let settings = PolicyDefinition::of(&definition);
        let (vhost, name, text) = (vhost.clone(), name.into(), text.into());
        Ok((Policy { vhost, name, pattern: text, apply_to, priority, definition, settings }, pattern))
    }

    /// The JSON that stands for it as a runtime parameter.
    pub fn to_value(&self) -> Value {
        json!({
            "pattern": &*self.pattern,
            "apply-to": self.apply_to.name(),
            "priority": self.priority,
            "definition": self.definition,
        })
    }
}

fn parse_priority(value: Option<&Value>) -> Result<i64, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(0) };
    value.as_i64().ok_or_else(|| format!("priority should be a number, actually was {}", JsonTerm(value)))
}

fn parse_pattern(value: Option<&Value>) -> Result<Pattern, String> {
    match value {
        Some(Value::String(text)) => {
            Pattern::new(text).map_err(|flaw| format!("pattern should be regular expression but is invalid: {flaw}"))
        }
        Some(value) => Err(format!("pattern should be a binary, actually was {}", JsonTerm(value))),
        None => Err("Key \"pattern\" not found in policy".into()),
    }
}

fn parse_apply_to(value: Option<&Value>) -> Result<ApplyTo, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(ApplyTo::All) };
    value.as_str().and_then(ApplyTo::parse).ok_or_else(|| {
        let given = value.as_str().map_or_else(|| JsonTerm(value).to_string(), str::to_owned);
        format!(
            "apply-to '{given}' unrecognised; should be one of: 'queues', 'classic_queues', 'quorum_queues', \
             'streams', 'exchanges', or 'all'"
        )
    })
}

fn parse_definition(kind: PolicyKind, value: Option<&Value>) -> Result<Map<String, Value>, String> {
    let Some(value) = value else { return Err("no policy provided".into()) };
    let definition = object_of(value).ok_or_else(|| format!("definition must be a dictionary: {}", JsonTerm(value)))?;
    validation::validate(kind, &definition)?;
    Ok(definition)
}

/// An object, or what stands for one in definitions that RabbitMQ 3 exports: a list of pairs.
pub fn object_of(value: &Value) -> Option<Map<String, Value>> {
    fn pair(item: &Value) -> Option<(String, Value)> {
        match item.as_array()?.as_slice() {
            [Value::String(name), value] => Some((name.clone(), value.clone())),
            _ => None,
        }
    }
    match value {
        Value::Object(object) => Some(object.clone()),
        Value::Array(items) => items.iter().map(pair).collect(),
        _ => None,
    }
}

/// The policy and the operator policy that apply to one queue or exchange.
#[derive(Clone, Debug, Default)]
pub struct AppliedPolicies {
    pub policy: Option<Arc<Policy>>,
    pub operator: Option<Arc<Policy>>,
}

impl AppliedPolicies {
    /// Whether any applies.
    pub fn is_some(&self) -> bool {
        self.policy.is_some() || self.operator.is_some()
    }

    /// The settings of both as one, as RabbitMQ shows them (`effective_policy_definition`): where both set a number, the
    /// lesser counts, and what else the operator's policy sets.
    pub fn definition(&self) -> Map<String, Value> {
        let settings = |policy: &Option<Arc<Policy>>| policy.as_ref().map(|policy| policy.definition.clone());
        let mut merged = settings(&self.policy).unwrap_or_default();
        for (name, limit) in settings(&self.operator).unwrap_or_default() {
            match (merged.get(&name).and_then(Value::as_i64), limit.as_i64()) {
                (Some(own), Some(limit)) if own <= limit => {}
                _ => _ = merged.insert(name, limit),
            }
        }
        merged
    }

    /// Whether the same two policies apply: not only equal ones, so that a policy that was set again counts as another.
    pub fn is_same(&self, other: &AppliedPolicies) -> bool {
        let pointer = |policy: &Option<Arc<Policy>>| policy.as_ref().map(Arc::as_ptr);
        pointer(&self.policy) == pointer(&other.policy) && pointer(&self.operator) == pointer(&other.operator)
    }
}
