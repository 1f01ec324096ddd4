//! Parameters of a virtual host, and the policies and limits that some of them are.
//!
//! Changes come one after another, so that what applies in the end is what was set last. What is declared meanwhile finds
//! the policies as they are, or is in the lists that the change goes through afterwards; a queue is told under no lock
//! but that of the changes, an exchange under the topology mutex, since its alternate exchange is topology.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;

use super::{Operation, VHost, VHostLimits};
use crate::broker::arguments::QueueType;
use crate::broker::definitions::Definition;
use crate::broker::exchange::Exchange;
use crate::broker::parameter::{
    NewPolicy, Parameter, ParameterError, ParameterLimits, VHOST_LIMITS, VHOST_LIMITS_NAME,
};
use crate::broker::policy::pattern::Pattern;
use crate::broker::policy::{AppliedPolicies, Policy, PolicyKind, PolicySet, Subject, object_of};
use crate::broker::queue::{Queue, QueueDefinition};

/// Changed under the topology mutex only.
#[derive(Default)]
pub(super) struct Settings {
    current: RwLock<Current>,
    /// Held by who changes them, until the change is applied.
    changes: Mutex<()>,
}

#[derive(Default)]
struct Current {
    /// All, under component and name.
    parameters: BTreeMap<(Arc<str>, Arc<str>), Arc<Value>>,
    policies: PolicySet,
    operator_policies: PolicySet,
    limits: VHostLimits,
}

/// What a component is to this broker.
enum Component {
    Policy(PolicyKind),
    Limits,
    Other,
}

impl Component {
    fn of(name: &str) -> Component {
        let is = |kind: PolicyKind| kind.component() == name;
        match name {
            _ if is(PolicyKind::User) => Component::Policy(PolicyKind::User),
            _ if is(PolicyKind::Operator) => Component::Policy(PolicyKind::Operator),
            VHOST_LIMITS => Component::Limits,
            _ => Component::Other,
        }
    }
}

/// A parameter's value, checked.
enum Checked {
    Policy(PolicyKind, Box<(Policy, Pattern)>),
    Limits(VHostLimits),
    Other,
}

/// A policy that was set or cleared, and the one that had its name.
struct PolicyChange<'a> {
    kind: PolicyKind,
    name: &'a str,
    replaced: Option<Arc<Policy>>,
}

impl Current {
    fn set(&self, kind: PolicyKind) -> &PolicySet {
        match kind {
            PolicyKind::User => &self.policies,
            PolicyKind::Operator => &self.operator_policies,
        }
    }

    fn set_mut(&mut self, kind: PolicyKind) -> &mut PolicySet {
        match kind {
            PolicyKind::User => &mut self.policies,
            PolicyKind::Operator => &mut self.operator_policies,
        }
    }

    fn best(&self, name: &str, subject: Subject) -> AppliedPolicies {
        AppliedPolicies {
            policy: self.policies.best(name, subject),
            operator: self.operator_policies.best(name, subject),
        }
    }

    /// What applies after a change to what `applied` applied to.
    fn after(
        &self,
        change: &PolicyChange<'_>,
        applied: &AppliedPolicies,
        name: &str,
        subject: Subject,
    ) -> AppliedPolicies {
        let after = |kind, current: &Option<Arc<Policy>>| match change.kind == kind {
            true => self.set(kind).after_set(change.name, change.replaced.as_ref(), current.as_ref(), name, subject),
            false => current.clone(),
        };
        AppliedPolicies {
            policy: after(PolicyKind::User, &applied.policy),
            operator: after(PolicyKind::Operator, &applied.operator),
        }
    }

    /// Enters a parameter. Of a policy, returns the one that had its name.
    fn enter(&mut self, key: (Arc<str>, Arc<str>), value: Arc<Value>, checked: Checked) -> Option<Arc<Policy>> {
        self.parameters.insert(key, value);
        match checked {
            Checked::Policy(kind, compiled) => {
                let (policy, pattern) = *compiled;
                self.set_mut(kind).insert(Arc::new(policy), pattern)
            }
            Checked::Limits(limits) => {
                self.limits = limits;
                None
            }
            Checked::Other => None,
        }
    }

    fn clear(&mut self, component: &str, name: &str) -> Option<Option<Arc<Policy>>> {
        self.parameters.remove(&(Arc::from(component), Arc::from(name)))?;
        Some(match Component::of(component) {
            Component::Policy(kind) => self.set_mut(kind).remove(name),
            Component::Limits => {
                self.limits = VHostLimits::default();
                None
            }
            Component::Other => None,
        })
    }
}

impl VHost {
    /// Sets a policy and applies it. See [`Broker::set_policy`](crate::broker::Broker::set_policy).
    ///
    /// # Errors
    /// If anything about it is not as it has to be.
    pub fn set_policy(
        &self,
        kind: PolicyKind,
        new: NewPolicy<'_>,
        limits: ParameterLimits,
    ) -> Result<(), ParameterError> {
        let mut value = serde_json::json!({
            "pattern": new.pattern,
            "priority": new.priority,
            "apply-to": new.apply_to,
        });
        value["definition"] = new.definition;
        self.set(kind.component(), new.name, value, limits)
    }

    /// # Errors
    /// If there is no such policy.
    pub fn clear_policy(&self, kind: PolicyKind, name: &str) -> Result<(), ParameterError> {
        self.clear(kind.component(), name)
    }

    /// In the order of their names.
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        self.settings().set(kind).iter().cloned().collect()
    }

    /// See [`Broker::set_parameter`](crate::broker::Broker::set_parameter).
    ///
    /// # Errors
    /// If the component is `policy`, or the value not what it takes.
    pub fn set_parameter(
        &self,
        component: &str,
        name: &str,
        value: Value,
        limits: ParameterLimits,
    ) -> Result<(), ParameterError> {
        if component == PolicyKind::User.component() {
            return Err(ParameterError::IsPolicy("set"));
        }
        self.set(component, name, value, limits)
    }

    /// # Errors
    /// If there is no such parameter, or the component is `policy`.
    pub fn clear_parameter(&self, component: &str, name: &str) -> Result<(), ParameterError> {
        if component == PolicyKind::User.component() {
            return Err(ParameterError::IsPolicy("cleared"));
        }
        self.clear(component, name)
    }

    /// All but policies.
    pub fn parameters(&self) -> Vec<Parameter> {
        let is_policy = |parameter: &Parameter| &*parameter.component == PolicyKind::User.component();
        let mut parameters = self.all_parameters();
        parameters.retain(|parameter| !is_policy(parameter));
        parameters
    }

    /// The rows of all parameters, policies among them.
    pub fn parameter_definitions(&self) -> Vec<Definition> {
        self.all_parameters().into_iter().map(Definition::Parameter).collect()
    }

    pub fn limits(&self) -> VHostLimits {
        self.settings().limits
    }

    /// Enters a parameter from its row. What is declared afterwards finds it; what is there is told by
    /// [`VHost::apply_all_policies`]. Returns what is wrong with a value that has no effect.
    pub fn restore_parameter(&self, parameter: Parameter) -> Option<String> {
        let Parameter { component, name, value, .. } = parameter;
        let (checked, flaw) = match self.check(&component, &name, &value) {
            Ok(checked) => (checked, None),
            Err(flaw) => (Checked::Other, Some(flaw)),
        };
        self.settings_mut().enter((component, name), value, checked);
        flaw
    }

    /// Has every exchange and queue have the policies that match it.
    pub fn apply_all_policies(&self) {
        let _change = self.change();
        let mut operation = self.operation();
        for exchange in self.exchanges() {
            let applied = self.policies_for_exchange(&exchange.name);
            self.apply_to_exchange(&mut operation, &exchange, applied);
        }
        drop(operation);
        for queue in self.queues() {
            let applied = self.policies_for_queue(&queue.definition_now());
            if !applied.is_same(&queue.applied_policies()) {
                queue.apply_policies(applied);
            }
        }
    }

    /// What applies to a queue that is about to be.
    pub(super) fn policies_for_queue(&self, definition: &QueueDefinition) -> AppliedPolicies {
        self.settings().best(&definition.name, subject(definition))
    }

    /// What applies to an exchange of this name.
    pub(super) fn policies_for_exchange(&self, name: &str) -> AppliedPolicies {
        self.settings().best(name, Subject::Exchange)
    }

    fn all_parameters(&self) -> Vec<Parameter> {
        let parameter = |((component, name), value): (&(Arc<str>, Arc<str>), &Arc<Value>)| Parameter {
            vhost: self.name.clone(),
            component: component.clone(),
            name: name.clone(),
            value: value.clone(),
        };
        self.settings().parameters.iter().map(parameter).collect()
    }

    fn set(&self, component: &str, name: &str, value: Value, limits: ParameterLimits) -> Result<(), ParameterError> {
        limits.check(&[component, name], &value)?;
        let checked = self.check(component, name, &value).map_err(ParameterError::Invalid)?;
        // As it is told and kept: with what was left out, and lists of pairs as objects.
        let value = Arc::new(match &checked {
            Checked::Policy(_, compiled) => compiled.0.to_value(),
            Checked::Limits(_) => object_of(&value).map_or(value, Value::Object),
            Checked::Other => value,
        });
        let _change = self.change();
        let key: (Arc<str>, Arc<str>) = (component.into(), name.into());
        let mut operation = self.operation();
        self.check_there(&operation)?;
        {
            let settings = self.settings();
            if !settings.parameters.contains_key(&key) {
                limits.check_count(settings.parameters.len())?;
            }
        }
        operation.put(|| Definition::Parameter(self.parameter(&key, &value)));
        let replaced = self.settings_mut().enter(key, value, checked);
        self.apply(operation, component, name, replaced);
        Ok(())
    }

    fn clear(&self, component: &str, name: &str) -> Result<(), ParameterError> {
        let _change = self.change();
        let mut operation = self.operation();
        self.check_there(&operation)?;
        let cleared = self.settings_mut().clear(component, name).ok_or(ParameterError::NotFound)?;
        operation.delete(|| Definition::Parameter(self.parameter(&(component.into(), name.into()), &Arc::default())));
        self.apply(operation, component, name, cleared);
        Ok(())
    }

    /// Tells what is changed by a policy.
    fn apply(&self, mut operation: Operation<'_>, component: &str, name: &str, replaced: Option<Arc<Policy>>) {
        let Component::Policy(kind) = Component::of(component) else { return };
        let change = PolicyChange { kind, name, replaced };
        for exchange in self.exchanges() {
            let before = exchange.applied_policies();
            let applied = self.settings().after(&change, &before, &exchange.name, Subject::Exchange);
            if !applied.is_same(&before) {
                self.apply_to_exchange(&mut operation, &exchange, applied);
            }
        }
        drop(operation);
        for queue in self.queues() {
            self.apply_to_queue(&change, &queue);
        }
    }

    fn apply_to_queue(&self, change: &PolicyChange<'_>, queue: &Queue) {
        let before = queue.applied_policies();
        let applied = self.settings().after(change, &before, queue.name(), subject(&queue.definition));
        if !applied.is_same(&before) {
            queue.apply_policies(applied);
        }
    }

    /// An alternate exchange by policy is topology like one by argument.
    fn apply_to_exchange(&self, operation: &mut Operation<'_>, exchange: &Arc<Exchange>, applied: AppliedPolicies) {
        let before = exchange.alternate_exchange();
        exchange.apply_policies(applied);
        let after = exchange.alternate_exchange();
        if before == after {
            return;
        }
        if let Some(before) = before {
            operation.remove_alternate(&before, exchange);
        }
        if let Some(after) = after {
            operation.add_alternate(after, exchange);
        }
        exchange.invalidate_routes();
    }

    fn check(&self, component: &str, name: &str, value: &Value) -> Result<Checked, String> {
        match Component::of(component) {
            Component::Policy(kind) => {
                let compiled = Policy::parse(kind, &self.name, name, value)?;
                Ok(Checked::Policy(kind, Box::new(compiled)))
            }
            Component::Limits if name == VHOST_LIMITS_NAME => VHostLimits::parse(value).map(Checked::Limits),
            Component::Limits => Err(format!("{VHOST_LIMITS} are named '{VHOST_LIMITS_NAME}', not '{name}'")),
            Component::Other => Ok(Checked::Other),
        }
    }

    fn check_there(&self, operation: &Operation<'_>) -> Result<(), ParameterError> {
        match operation.is_deleted {
            true => Err(ParameterError::NoVHost(self.name.to_string())),
            false => Ok(()),
        }
    }

    fn parameter(&self, (component, name): &(Arc<str>, Arc<str>), value: &Arc<Value>) -> Parameter {
        Parameter { vhost: self.name.clone(), component: component.clone(), name: name.clone(), value: value.clone() }
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.settings.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> RwLockReadGuard<'_, Current> {
        self.settings.current.read().expect("no code panics while it changes the settings")
    }

    fn settings_mut(&self) -> RwLockWriteGuard<'_, Current> {
        self.settings.current.write().expect("no code panics while it changes the settings")
    }
}

fn subject(definition: &QueueDefinition) -> Subject {
    Subject::Queue(QueueType::of(&definition.arguments))
}
