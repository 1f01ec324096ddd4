//! Runtime parameters: JSON values under a component, a virtual host and a name, and global ones under a name alone.
//!
//! Policies, operator policies and the limits of a virtual host are parameters too, of components that this broker acts on
//! ([`VHost`](crate::broker::vhost::VHost) does). Those of any other component are kept as they are, and have no effect.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::broker::Broker;
use crate::broker::definitions::{Definition, described_parameter};
use crate::broker::policy::{Policy, PolicyKind};
use crate::broker::vhost::{VHost, VHostLimits};
use crate::limits::{Limits, SHORT_STRING_MAX_BYTES};

/// The component, and the only name in it, of the limits of a virtual host.
pub const VHOST_LIMITS: &str = "vhost-limits";
pub const VHOST_LIMITS_NAME: &str = "limits";

/// Why a parameter or policy was not set or cleared, in RabbitMQ's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    #[error("Validation failed\n\n{0}\n")]
    Invalid(String),
    #[error("Parameter does not exist")]
    NotFound,
    #[error("Virtual host '{0}' does not exist")]
    NoVHost(String),
    #[error("policies may not be {0} using this method")]
    IsPolicy(&'static str),
}

/// One parameter of a virtual host.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub vhost: Arc<str>,
    pub component: Arc<str>,
    pub name: Arc<str>,
    pub value: Arc<Value>,
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&described_parameter(&self.vhost, &self.component, &self.name))
    }
}

/// What a policy is to be.
#[derive(Clone, Debug)]
pub struct NewPolicy<'a> {
    pub name: &'a str,
    pub pattern: &'a str,
    /// `all` if it is missing.
    pub apply_to: Option<&'a str>,
    pub priority: i64,
    /// A JSON object.
    pub definition: Value,
}

/// Parameters of no virtual host.
#[derive(Default)]
pub struct GlobalParameters(Mutex<BTreeMap<Arc<str>, Arc<Value>>>);

impl GlobalParameters {
    pub fn get(&self, name: &str) -> Option<Arc<Value>> {
        self.lock().get(name).cloned()
    }

    /// In the order of their names.
    pub fn list(&self) -> Vec<(Arc<str>, Arc<Value>)> {
        self.lock().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Without a row: from one, or for one that is yet to be written.
    pub fn restore(&self, name: Arc<str>, value: Arc<Value>) {
        self.lock().insert(name, value);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Value>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Policies of both kinds, parameters, and limits of virtual hosts. All of it lasts: what is changed is kept with the epoch
/// [`Log::defined`](crate::storage::log::Log::defined) of that moment.
impl Broker {
    /// Sets a policy, in place of the one of its name, and applies it to what exists and to what comes.
    ///
    /// # Errors
    /// If there is no such virtual host, or anything about the policy is not as it has to be.
    pub fn set_policy(&self, kind: PolicyKind, vhost: &str, policy: NewPolicy<'_>) -> Result<(), ParameterError> {
        self.vhost_of(vhost)?.set_policy(kind, policy, self.parameter_limits())
    }

    /// # Errors
    /// If there is no such virtual host or policy.
    pub fn clear_policy(&self, kind: PolicyKind, vhost: &str, name: &str) -> Result<(), ParameterError> {
        self.vhost_of(vhost)?.clear_policy(kind, name)
    }

    /// In the order of their names.
    ///
    /// # Errors
    /// If there is no such virtual host.
    pub fn list_policies(&self, kind: PolicyKind, vhost: &str) -> Result<Vec<Arc<Policy>>, ParameterError> {
        Ok(self.vhost_of(vhost)?.policies(kind))
    }

    /// Sets a parameter. Components that are not known are kept like those that are.
    ///
    /// # Errors
    /// If there is no such virtual host, the component is `policy`, which [`Broker::set_policy`] sets, or the value is not
    /// what the component takes.
    pub fn set_parameter(&self, vhost: &str, component: &str, name: &str, value: Value) -> Result<(), ParameterError> {
        self.vhost_of(vhost)?.set_parameter(component, name, value, self.parameter_limits())
    }

    /// # Errors
    /// If there is no such virtual host or parameter, or the component is `policy`.
    pub fn clear_parameter(&self, vhost: &str, component: &str, name: &str) -> Result<(), ParameterError> {
        self.vhost_of(vhost)?.clear_parameter(component, name)
    }

    /// All parameters but policies: operator policies and limits of the virtual host are among them, as in RabbitMQ.
    ///
    /// # Errors
    /// If there is no such virtual host.
    pub fn list_parameters(&self, vhost: &str) -> Result<Vec<Parameter>, ParameterError> {
        Ok(self.vhost_of(vhost)?.parameters())
    }

    /// # Errors
    /// If the name or the value is too long, or there are too many.
    pub fn set_global_parameter(&self, name: &str, value: Value) -> Result<(), ParameterError> {
        let limits = self.parameter_limits();
        limits.check(&[name], &value)?;
        let mut parameters = self.global_parameters.lock();
        if !parameters.contains_key(name) {
            limits.check_count(parameters.len())?;
        }
        let (name, value): (Arc<str>, _) = (name.into(), Arc::new(value));
        self.define(vec![Definition::GlobalParameter { name: name.clone(), value: value.clone() }.put()]);
        parameters.insert(name, value);
        Ok(())
    }

    /// # Errors
    /// If there is no such parameter.
    pub fn clear_global_parameter(&self, name: &str) -> Result<(), ParameterError> {
        let mut parameters = self.global_parameters.lock();
        let (name, value) = parameters.remove_entry(name).ok_or(ParameterError::NotFound)?;
        self.define(vec![Definition::GlobalParameter { name, value }.delete()]);
        Ok(())
    }

    pub fn list_global_parameters(&self) -> Vec<(Arc<str>, Arc<Value>)> {
        self.global_parameters.list()
    }

    /// Sets the limits of a virtual host from a JSON object with `max-connections` and `max-queues`; below zero is none.
    ///
    /// # Errors
    /// If there is no such virtual host, or the object has anything else.
    pub fn set_vhost_limits(&self, vhost: &str, limits: Value) -> Result<(), ParameterError> {
        self.set_parameter(vhost, VHOST_LIMITS, VHOST_LIMITS_NAME, limits)
    }

    /// # Errors
    /// If there is no such virtual host, or it has no limits.
    pub fn clear_vhost_limits(&self, vhost: &str) -> Result<(), ParameterError> {
        self.clear_parameter(vhost, VHOST_LIMITS, VHOST_LIMITS_NAME)
    }

    /// # Errors
    /// If there is no such virtual host.
    pub fn list_vhost_limits(&self, vhost: &str) -> Result<VHostLimits, ParameterError> {
        Ok(self.vhost_of(vhost)?.limits())
    }

    pub(crate) fn parameter_limits(&self) -> ParameterLimits {
        ParameterLimits::of(&self.config.limits)
    }

    fn vhost_of(&self, name: &str) -> Result<Arc<VHost>, ParameterError> {
        self.vhost(name).ok_or_else(|| ParameterError::NoVHost(name.to_owned()))
    }
}

/// How many parameters there may be, and how large.
#[derive(Clone, Copy, Debug)]
pub struct ParameterLimits {
    /// Of a virtual host, or global ones.
    pub count: usize,
    /// Bytes of a value, written as JSON.
    pub value_bytes: usize,
}

impl ParameterLimits {
    pub fn of(limits: &Limits) -> ParameterLimits {
        ParameterLimits { count: limits.parameters as usize, value_bytes: limits.parameter_bytes as usize }
    }

    pub(super) fn check(&self, names: &[&str], value: &Value) -> Result<(), ParameterError> {
        if let Some(name) = names.iter().find(|name| name.len() > SHORT_STRING_MAX_BYTES) {
            let text = format!("a name has {} bytes, and may have {SHORT_STRING_MAX_BYTES}", name.len());
            return Err(ParameterError::Invalid(text));
        }
        let bytes = value.to_string().len();
        if bytes > self.value_bytes {
            let text = format!("the value has {bytes} bytes as JSON, and may have {}", self.value_bytes);
            return Err(ParameterError::Invalid(text));
        }
        Ok(())
    }

    /// Whether there may be one more.
    pub(super) fn check_count(&self, count: usize) -> Result<(), ParameterError> {
        if count >= self.count {
            return Err(ParameterError::Invalid(format!("there are {} parameters, the most that may be", self.count)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
