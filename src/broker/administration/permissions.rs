//! Permissions: setting, clearing, listing.

use std::sync::Arc;

use super::AdminError;
use crate::broker::Broker;
use crate::broker::definitions::Definition;
use crate::broker::permission::{PermissionDefinition, TopicPermissionDefinition};
use crate::broker::user::User;
use crate::broker::vhost::VHost;

impl Broker {
    /// Sets what a user may do in a virtual host: three regular expressions of names.
    ///
    /// # Errors
    /// If there is no such virtual host or user, or one of the expressions is none.
    pub fn set_permissions(
        &self,
        vhost: &str,
        user: &str,
        configure: &str,
        write: &str,
        read: &str,
    ) -> Result<(), AdminError> {
        let _lock = self.administration();
        let (host, who) = self.host_and_user(vhost, user)?;
        let definition = PermissionDefinition {
            vhost: host.name().clone(),
            user: who.name.clone(),
            configure: configure.into(),
            write: write.into(),
            read: read.into(),
        };
        self.permissions.put(&definition)?;
        self.define(vec![Definition::Permission(definition).put()]);
        tracing::info!(
            "Successfully set permissions for user '{user}' in virtual host '{vhost}' to '{configure}', '{write}', '{read}'"
        );
        Ok(())
    }

    /// The same in every virtual host that there is.
    ///
    /// # Errors
    /// If there is no such user, or one of the expressions is none.
    pub fn set_permissions_globally(
        &self,
        user: &str,
        configure: &str,
        write: &str,
        read: &str,
    ) -> Result<(), AdminError> {
        let _lock = self.administration();
        let who = self.existing_user(user)?;
        let mut changes = Vec::new();
        for vhost in self.list_vhosts() {
            let definition = PermissionDefinition {
                vhost: vhost.name().clone(),
                user: who.name.clone(),
                configure: configure.into(),
                write: write.into(),
                read: read.into(),
            };
            // If one of the expressions is none, it is so for the first.
            self.permissions.put(&definition)?;
            changes.push(Definition::Permission(definition).put());
        }
        self.define(changes);
        Ok(())
    }

    /// Takes away what a user may do in a virtual host; nothing happens if that was nothing. Connections stay open, but may
    /// do nothing any more that asks for a permission.
    ///
    /// # Errors
    /// If there is no such virtual host or user.
    pub fn clear_permissions(&self, vhost: &str, user: &str) -> Result<(), AdminError> {
        let _lock = self.administration();
        let (host, who) = self.host_and_user(vhost, user)?;
        let is_it = |of: &PermissionDefinition| of.vhost == *host.name() && of.user == who.name;
        let Some(definition) = self.permissions.permissions().into_iter().find(is_it) else { return Ok(()) };
        self.permissions.change(host.name(), &who.name, |grant| grant.permission = None);
        self.define(vec![Definition::Permission(definition).delete()]);
        tracing::info!("Successfully revoked permissions for user '{user}' in virtual host '{vhost}'");
        Ok(())
    }

    /// Permissions, by virtual host and user; those of one virtual host or of one user only, if they are given.
    ///
    /// # Errors
    /// If there is no such virtual host or user.
    pub fn list_permissions(
        &self,
        vhost: Option<&str>,
        user: Option<&str>,
    ) -> Result<Vec<PermissionDefinition>, AdminError> {
        self.check_exist(vhost, user)?;
        let mut all = self.permissions.permissions();
        all.retain(|of| vhost.is_none_or(|name| *of.vhost == *name) && user.is_none_or(|name| *of.user == *name));
        Ok(all)
    }

    /// Sets with which routing keys a user may publish to a topic exchange, and bind things to it: two regular expressions,
    /// in which `{username}` and `{vhost}` stand for the names of the two. The exchange need not exist.
    ///
    /// # Errors
    /// If there is no such virtual host or user, or one of the expressions is none.
    pub fn set_topic_permissions(
        &self,
        vhost: &str,
        user: &str,
        exchange: &str,
        write: &str,
        read: &str,
    ) -> Result<(), AdminError> {
        let _lock = self.administration();
        let (host, who) = self.host_and_user(vhost, user)?;
        super::check_name("the name of an exchange", exchange)?;
        let definition = TopicPermissionDefinition {
            vhost: host.name().clone(),
            user: who.name.clone(),
            exchange: exchange.into(),
            write: write.into(),
            read: read.into(),
        };
        self.permissions.put_topic(&definition)?;
        self.define(vec![Definition::TopicPermission(definition).put()]);
        tracing::info!(
            "Successfully set topic permissions on exchange '{exchange}' for user '{user}' in virtual host '{vhost}' to \
             '{write}', '{read}'"
        );
        Ok(())
    }

    /// Lets a user publish to a topic exchange, or to all of a virtual host, with every routing key again.
    ///
    /// # Errors
    /// If there is no such virtual host or user.
    pub fn clear_topic_permissions(&self, vhost: &str, user: &str, exchange: Option<&str>) -> Result<(), AdminError> {
        let _lock = self.administration();
        let (host, who) = self.host_and_user(vhost, user)?;
        let mut cleared = self.permissions.topic_permissions();
        cleared.retain(|of| {
            of.vhost == *host.name() && of.user == who.name && exchange.is_none_or(|name| *of.exchange == *name)
        });
        if cleared.is_empty() {
            return Ok(());
        }
        self.permissions.change(host.name(), &who.name, |grant| {
            cleared.iter().for_each(|topic| _ = grant.topics.remove(&topic.exchange));
        });
        self.define(cleared.into_iter().map(|topic| Definition::TopicPermission(topic).delete()).collect());
        Ok(())
    }

    /// Topic permissions, by virtual host, user and exchange; those of one virtual host or of one user only, if they are
    /// given.
    ///
    /// # Errors
    /// If there is no such virtual host or user.
    pub fn list_topic_permissions(
        &self,
        vhost: Option<&str>,
        user: Option<&str>,
    ) -> Result<Vec<TopicPermissionDefinition>, AdminError> {
        self.check_exist(vhost, user)?;
        let mut all = self.permissions.topic_permissions();
        all.retain(|of| vhost.is_none_or(|name| *of.vhost == *name) && user.is_none_or(|name| *of.user == *name));
        Ok(all)
    }

    fn host_and_user(&self, vhost: &str, user: &str) -> Result<(Arc<VHost>, Arc<User>), AdminError> {
        // The user first, as RabbitMQ tells it if neither exists.
        let who = self.existing_user(user)?;
        Ok((self.existing_vhost(vhost)?, who))
    }

    fn check_exist(&self, vhost: Option<&str>, user: Option<&str>) -> Result<(), AdminError> {
        vhost.map_or(Ok(()), |vhost| self.existing_vhost(vhost).map(drop))?;
        user.map_or(Ok(()), |user| self.existing_user(user).map(drop))
    }
}
