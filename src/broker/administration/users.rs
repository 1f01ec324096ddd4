//! Users: adding, changing, deleting.

use std::sync::Arc;

use serde_json::Value;

use super::{AdminError, check_name, checked_tags};
use crate::broker::Broker;
use crate::broker::definitions::Definition;
use crate::broker::password::PasswordHash;
use crate::broker::user::{User, UserDefinition, UserLimits};
use crate::storage::log::Change;

impl Broker {
    /// Adds a user, who has no permissions yet. With an empty password nobody logs in.
    ///
    /// # Errors
    /// If there is one of that name, or the name is too long.
    pub fn add_user(&self, name: &str, password: &str) -> Result<(), AdminError> {
        let _lock = self.administration();
        check_name("the name of a user", name)?;
        if self.users.get(name).is_some() {
            return Err(AdminError::UserExists(name.to_owned()));
        }
        self.keep_user(UserDefinition::new(name, PasswordHash::of(password.as_bytes()), Vec::new()));
        tracing::info!("Created user '{name}'");
        Ok(())
    }

    /// Adds a user, or replaces the one of that name, as when definitions are imported. Permissions and connections stay.
    ///
    /// # Errors
    /// If the name, or a tag, is too long.
    pub fn put_user(&self, definition: UserDefinition) -> Result<(), AdminError> {
        let _lock = self.administration();
        check_name("the name of a user", &definition.name)?;
        let tags = checked_tags(&definition.tags)?;
        let definition = UserDefinition { tags, ..definition };
        if self.users.definition(&definition.name).as_ref() != Some(&definition) {
            self.keep_user(definition);
        }
        Ok(())
    }

    /// Deletes a user with all permissions, and closes the user's connections with 320.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn delete_user(&self, name: &str) -> Result<(), AdminError> {
        let _lock = self.administration();
        let user = self.existing_user(name)?;
        let changes = self.rows_of_user(&user).iter().map(Definition::delete).collect::<Vec<Change>>();
        self.users.remove(name);
        self.permissions.remove_user(name);
        self.define(changes);
        self.connections.close(|open| open.user.name == user.name, usize::MAX, &deleted_reason(name));
        tracing::info!("Deleted user '{name}'");
        Ok(())
    }

    /// # Errors
    /// If there is no such user.
    pub fn change_password(&self, name: &str, password: &str) -> Result<(), AdminError> {
        let hash = PasswordHash::of(password.as_bytes());
        self.change_user(name, |user| user.password = Some(hash))?;
        tracing::info!("Successfully changed password for user '{name}'");
        Ok(())
    }

    /// From now on nobody logs in as this user with a password.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn clear_password(&self, name: &str) -> Result<(), AdminError> {
        self.change_user(name, |user| user.password = None)?;
        tracing::info!("Successfully cleared password for user '{name}'");
        Ok(())
    }

    /// # Errors
    /// If this is not the password of that user.
    pub fn authenticate_user(&self, name: &str, password: &str) -> Result<(), AdminError> {
        let refused = |reason| AdminError::NotAuthenticated { user: name.to_owned(), reason };
        self.users.check_password(name, password.as_bytes()).map(drop).map_err(refused)
    }

    /// Replaces the tags of a user. Connections that are open keep those they have.
    ///
    /// # Errors
    /// If there is no such user, or a tag is too long.
    pub fn set_user_tags<T: AsRef<str>>(&self, name: &str, tags: &[T]) -> Result<(), AdminError> {
        let tags = checked_tags(tags)?;
        self.change_user(name, |user| user.tags = tags)?;
        tracing::info!("Successfully set user tags for user '{name}'");
        Ok(())
    }

    /// Sets limits of a user, a JSON object with whole numbers under `max-connections` and `max-channels`; negative ones
    /// lift the limit. What it does not name stays. Nothing that is open is closed.
    ///
    /// # Errors
    /// If there is no such user, or if it is no such object.
    pub fn set_user_limits(&self, name: &str, limits: &Value) -> Result<(), AdminError> {
        let set = UserLimits::from_json(limits).map_err(AdminError::InvalidLimits)?;
        self.change_user(name, |user| {
            user.limits.max_connections = set.max_connections.or(user.limits.max_connections);
            user.limits.max_channels = set.max_channels.or(user.limits.max_channels);
        })
    }

    /// Lifts a limit of a user, or with `all` both. To lift one that does not exist lifts nothing, as in RabbitMQ.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn clear_user_limits(&self, name: &str, limit: &str) -> Result<(), AdminError> {
        self.change_user(name, |user| {
            if matches!(limit, "all" | UserLimits::MAX_CONNECTIONS) {
                user.limits.max_connections = None;
            }
            if matches!(limit, "all" | UserLimits::MAX_CHANNELS) {
                user.limits.max_channels = None;
            }
        })
    }

    /// All users, by name.
    pub fn list_users(&self) -> Vec<UserDefinition> {
        self.users.definitions()
    }

    /// # Errors
    /// If there is no such user.
    pub fn user_limits(&self, name: &str) -> Result<UserLimits, AdminError> {
        let user = self.users.definition(name).ok_or_else(|| AdminError::NoSuchUser(name.to_owned()))?;
        Ok(user.limits)
    }

    pub(super) fn existing_user(&self, name: &str) -> Result<Arc<User>, AdminError> {
        self.users.get(name).ok_or_else(|| AdminError::NoSuchUser(name.to_owned()))
    }

    fn change_user(&self, name: &str, change: impl FnOnce(&mut UserDefinition)) -> Result<(), AdminError> {
        let _lock = self.administration();
        let mut user = self.users.definition(name).ok_or_else(|| AdminError::NoSuchUser(name.to_owned()))?;
        change(&mut user);
        self.keep_user(user);
        Ok(())
    }

    fn keep_user(&self, definition: UserDefinition) {
        self.users.put(definition.clone());
        self.define(vec![Definition::User(definition).put()]);
    }

    /// All rows that go with a user: its own, and its permissions.
    fn rows_of_user(&self, user: &User) -> Vec<Definition> {
        let permissions = self.permissions.permissions().into_iter().filter(|of| of.user == user.name);
        let topics = self.permissions.topic_permissions().into_iter().filter(|of| of.user == user.name);
        let own = self.users.definition(&user.name).map(Definition::User);
        own.into_iter()
            .chain(permissions.map(Definition::Permission))
            .chain(topics.map(Definition::TopicPermission))
            .collect()
    }
}

/// Why connections of a user are closed.
pub fn deleted_reason(user: &str) -> String {
    format!("user '{user}' is deleted")
}
