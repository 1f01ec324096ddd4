//! The policies that apply to a queue.

use std::sync::PoisonError;

use super::Queue;
use crate::broker::policy::AppliedPolicies;

impl Queue {
    /// The policies that apply from now on, in place of those before.
    pub fn apply_policies(&self, applied: AppliedPolicies) {
        let before =
            std::mem::replace(&mut *self.policies.lock().unwrap_or_else(PoisonError::into_inner), applied.clone());
        if before.is_some() || applied.is_some() {
            self.follow_settings();
        }
    }

    /// The policies that apply.
    pub fn applied_policies(&self) -> AppliedPolicies {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
