//! The policies that apply to an exchange.

use std::sync::{Arc, PoisonError};

use super::Exchange;
use crate::broker::policy::AppliedPolicies;

impl Exchange {
    /// The policies that apply from now on, in place of those before. Who changes the alternate exchange thereby enters it
    /// in the topology, and invalidates the routes.
    pub(in crate::broker) fn apply_policies(&self, applied: AppliedPolicies) {
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = applied.clone();
        let settings = applied.policy.as_ref().map(|policy| &policy.settings);
        self.hold_back_by_policy(settings.and_then(|settings| settings.delayed_message).unwrap_or(false));
        self.deduplicate_by(&applied);
    }

    /// The policies that apply.
    pub fn applied_policies(&self) -> AppliedPolicies {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where messages go that no binding matches: the argument `alternate-exchange`, else what the policy says.
    pub fn alternate_exchange(&self) -> Option<Arc<str>> {
        if self.arguments.contains_key("alternate-exchange") {
            return self.alternate_argument.clone();
        }
        let policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        policies.policy.as_ref()?.settings.alternate_exchange.clone()
    }
}
