//! Taking in users, virtual hosts and permissions.

use std::sync::Arc;

use serde_json::Value;

use super::super::document::{PermissionEntry, TopicPermissionEntry, UserEntry, VHostEntry};
use super::{Import, outcome};
use crate::broker::administration::VHostChange;
use crate::broker::arguments::QueueType;
use crate::broker::password::{HashingAlgorithm, PasswordHash};
use crate::broker::policy::object_of;
use crate::broker::quota::UserLimits;
use crate::broker::user::UserDefinition;

impl Import<'_> {
    pub(super) fn user(&mut self, entry: UserEntry) {
        let what = format!("user '{}'", entry.name);
        let before = self.broker.users.definition(&entry.name);
        let name = entry.name.clone();
        let put = definition(entry).and_then(|user| self.broker.put_user(user).map_err(|error| error.to_string()));
        match put {
            Ok(()) => self.report.count("users", outcome(before, self.broker.users.definition(&name))),
            Err(flaw) => self.report.skip("users", what, format!("is left out: {flaw}")),
        }
    }

    /// `has_parameter` tells whether its limits come as a parameter.
    pub(super) fn add_vhost(&mut self, entry: &VHostEntry, has_parameter: bool) {
        let what = format!("virtual host '{}'", entry.name);
        let tags: Option<Vec<&str>> = entry.tags.as_ref().map(|tags| tags.iter().map(String::as_str).collect());
        let change = VHostChange {
            description: entry.description.as_deref(),
            tags: tags.as_deref(),
            default_queue_type: self.default_queue_type(&what, entry),
            protected_from_deletion: entry.protected_from_deletion,
        };
        let before = self.broker.vhost(&entry.name).map(|vhost| vhost.metadata());
        let result = match before {
            None => self.broker.add_vhost(&entry.name, change).map(drop),
            Some(_) => self.broker.update_vhost_metadata(&entry.name, change),
        };
        if let Err(error) = result {
            return self.report.skip("vhosts", what, format!("is left out: {error}"));
        }
        let after = self.broker.vhost(&entry.name).map(|vhost| vhost.metadata());
        self.report.count("vhosts", outcome(before, after));
        if let Some(limits) = entry.limits.clone().filter(|_| !has_parameter)
            && let Err(error) = self.broker.set_vhost_limits(&entry.name, limits)
        {
            self.report.note(what, format!("its limits are left out: {}", error.to_string().replace('\n', " ")));
        }
    }

    fn default_queue_type<'e>(&mut self, what: &str, entry: &'e VHostEntry) -> Option<&'e str> {
        let name = entry.default_queue_type.as_deref()?;
        if QueueType::named(name).is_none() {
            self.report.note(what, format!("its default queue type is left out: there are no queues of type '{name}'"));
            return None;
        }
        Some(name)
    }

    pub(super) fn permission(&mut self, entry: PermissionEntry) {
        let PermissionEntry { user, vhost, configure, write, read } = entry;
        let what = format!("the permission of user '{user}' in vhost '{vhost}'");
        let current = |import: &Self| import.broker.list_permissions(Some(&vhost), Some(&user)).ok()?.pop();
        let before = current(self);
        match self.broker.set_permissions(&vhost, &user, &configure, &write, &read) {
            Ok(()) => self.report.count("permissions", outcome(before, current(self))),
            Err(error) => self.report.skip("permissions", what, format!("is left out: {error}")),
        }
    }

    pub(super) fn topic_permission(&mut self, entry: TopicPermissionEntry) {
        let TopicPermissionEntry { user, vhost, exchange, write, read } = entry;
        let what = format!("the topic permission of user '{user}' on exchange '{exchange}' in vhost '{vhost}'");
        let current = |import: &Self| {
            let all = import.broker.list_topic_permissions(Some(&vhost), Some(&user)).ok()?;
            all.into_iter().find(|permission| *permission.exchange == *exchange)
        };
        let before = current(self);
        match self.broker.set_topic_permissions(&vhost, &user, &exchange, &write, &read) {
            Ok(()) => self.report.count("topic_permissions", outcome(before, current(self))),
            Err(error) => self.report.skip("topic_permissions", what, format!("is left out: {error}")),
        }
    }
}

fn definition(entry: UserEntry) -> Result<UserDefinition, String> {
    let password = match entry.password_hash.as_str() {
        "" => None,
        hash => {
            let algorithm = &entry.hashing_algorithm;
            let known = HashingAlgorithm::named(algorithm)
                .ok_or_else(|| format!("no password is hashed by {algorithm} here"))?;
            Some(
                PasswordHash::decode_as(known, hash)
                    .ok_or_else(|| format!("its password hash is none of {algorithm}"))?,
            )
        }
    };
    let limits = object_of(&entry.limits).ok_or("its limits are no object")?;
    Ok(UserDefinition {
        name: entry.name.into(),
        password,
        tags: entry.tags.into_iter().map(Arc::from).collect(),
        limits: UserLimits::from_json(&Value::Object(limits))?,
    })
}
