//! Who is given permissions at start.

use std::sync::Arc;

use super::Rebuilt;
use crate::broker::definitions::Definition;
use crate::broker::permission::PermissionDefinition;
use crate::config::Config;

impl Rebuilt<'_> {
    /// Gives full permissions:
    /// - to users from before there were permissions, in every virtual host: they could do everything. Their rows are
    ///   written anew, so that this happens once;
    /// - to users of the configuration who have none at all, and to the default user when it is made, in the virtual hosts
    ///   of the configuration;
    /// - to these users, if nothing is kept from them elsewhere, in virtual hosts that the configuration adds.
    pub(super) fn grant_permissions(&mut self, config: &Config, is_first_start: bool) {
        for user in std::mem::take(&mut self.unrestricted) {
            let definition = self.users.definition(&user).expect("users are added, not removed");
            self.changes.push(Definition::User(definition).put());
            let everywhere: Vec<Arc<str>> = self.vhosts.keys().cloned().collect();
            self.grant_all(&user, &everywhere);
        }
        if let Some(default) = &config.default_user {
            self.grant_configured(default, config, is_first_start);
        }
        for user in &config.users {
            self.grant_configured(&user.name, config, true);
        }
    }

    fn grant_configured(&mut self, user: &str, config: &Config, is_given_first: bool) {
        let Some(user) = self.users.get(user).map(|user| user.name.clone()) else { return };
        let permissions = self.permissions.of_user(&user);
        if permissions.is_empty() && is_given_first {
            let configured: Vec<Arc<str>> = config.vhosts.iter().map(|name| name.as_str().into()).collect();
            self.grant_all(&user, &configured);
        } else if !permissions.is_empty() && permissions.iter().all(|permission| permission.is_full()) {
            let added = self.added_vhosts.clone();
            self.grant_all(&user, &added);
        }
    }

    fn grant_all(&mut self, user: &Arc<str>, vhosts: &[Arc<str>]) {
        for vhost in vhosts {
            if self.permissions.grant(vhost, user).permission.is_none() {
                let full = PermissionDefinition::full(vhost, user);
                self.permissions.put(&full).expect("patterns of our own");
                self.changes.push(Definition::Permission(full).put());
            }
        }
    }
}
