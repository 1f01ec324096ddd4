//! The policies that apply to a queue.

use std::sync::PoisonError;

use super::Queue;
use crate::broker::policy::AppliedPolicies;

impl Queue {
    /// The policies that apply from now on, in place of those before.
    pub fn apply_policies(&self, applied: AppliedPolicies) {
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = applied;
    }

    /// The policies that apply.
    pub fn applied_policies(&self) -> AppliedPolicies {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
