//! Virtual hosts: adding, changing, deleting.

use std::sync::Arc;

use super::{AdminError, check_name, checked_tags};
use crate::broker::Broker;
use crate::broker::arguments::QueueType;
use crate::broker::definitions::Definition;
use crate::broker::vhost::{VHost, VHostMetadata};
use crate::limits::DESCRIPTION_MAX_BYTES;
use crate::storage::log::Change;

/// What is to be changed of a virtual host; the rest stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct VHostChange<'a> {
    pub description: Option<&'a str>,
    pub tags: Option<&'a [&'a str]>,
    /// `classic` or `quorum`; empty or `undefined` for none.
    pub default_queue_type: Option<&'a str>,
    pub protected_from_deletion: Option<bool>,
}

impl VHostChange<'_> {
    fn apply(self, metadata: VHostMetadata) -> Result<VHostMetadata, AdminError> {
        if self.description.is_some_and(|text| text.len() > DESCRIPTION_MAX_BYTES) {
            return Err(AdminError::DescriptionTooLong);
        }
        Ok(VHostMetadata {
            description: self.description.map_or(metadata.description, Arc::from),
            tags: self.tags.map_or(Ok(metadata.tags), checked_tags)?,
            default_queue_type: match self.default_queue_type {
                None => metadata.default_queue_type,
                Some("" | "undefined") => None,
                Some(name) => Some(QueueType::named(name).ok_or(AdminError::UnsupportedQueueType)?),
            },
            protected_from_deletion: self.protected_from_deletion.unwrap_or(metadata.protected_from_deletion),
        })
    }
}

impl Broker {
    /// Adds a virtual host, in which nobody has permissions yet. If there is one of that name, nothing changes, as in
    /// RabbitMQ. Returns whether it was added.
    ///
    /// # Errors
    /// If its name is empty or too long, or its metadata not allowed.
    pub fn add_vhost(&self, name: &str, metadata: VHostChange<'_>) -> Result<bool, AdminError> {
        let _lock = self.administration();
        check_name("the name of a virtual host", name)?;
        let metadata = metadata.apply(VHostMetadata::default())?;
        if self.vhost(name).is_some() {
            return Ok(false);
        }
        let name: Arc<str> = name.into();
        let vhost = VHost::build(name.clone(), self.store.clone(), self.worker.clone());
        vhost.set_metadata(metadata);
        // Before anyone can find it: what is declared in it comes after its row.
        self.define(vec![vhost.definition().put()]);
        self.vhosts.insert(name.clone(), vhost);
        tracing::info!("Added vhost '{name}'");
        Ok(true)
    }

    /// Changes what is known of a virtual host.
    ///
    /// # Errors
    /// If there is no such virtual host, or that is not allowed.
    pub fn update_vhost_metadata(&self, name: &str, change: VHostChange<'_>) -> Result<(), AdminError> {
        let _lock = self.administration();
        let vhost = self.existing_vhost(name)?;
        vhost.set_metadata(change.apply(vhost.metadata())?);
        self.define(vec![vhost.definition().put()]);
        Ok(())
    }

    /// Deletes a virtual host with everything in it, and closes its connections with 320.
    ///
    /// # Errors
    /// If there is no such virtual host, or it is protected.
    pub fn delete_vhost(&self, name: &str) -> Result<(), AdminError> {
        let _lock = self.administration();
        let vhost = self.existing_vhost(name)?;
        if vhost.metadata().protected_from_deletion {
            return Err(AdminError::Protected);
        }
        // All that goes with it goes in one epoch.
        let hold = self.store.as_ref().map(|store| store.log.hold());
        self.vhosts.remove(name);
        vhost.delete();
        let changes = self.rows_of_vhost(&vhost).iter().map(Definition::delete).collect::<Vec<Change>>();
        self.permissions.remove_vhost(name);
        self.define(changes);
        drop(hold);
        self.connections.close(|open| Arc::ptr_eq(&open.vhost, &vhost), usize::MAX, &vhost.deleted_reason());
        tracing::info!("Deleted vhost '{name}'");
        Ok(())
    }

    /// All virtual hosts, by name.
    pub fn list_vhosts(&self) -> Vec<Arc<VHost>> {
        let mut vhosts: Vec<Arc<VHost>> = self.vhosts.iter().map(|entry| entry.value().clone()).collect();
        vhosts.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        vhosts
    }

    /// All rows that go with a virtual host besides those of what is in it: its own, its parameters, and its permissions.
    fn rows_of_vhost(&self, vhost: &VHost) -> Vec<Definition> {
        let permissions = self.permissions.permissions().into_iter().filter(|of| of.vhost == *vhost.name());
        let topics = self.permissions.topic_permissions().into_iter().filter(|of| of.vhost == *vhost.name());
        let permissions = permissions.map(Definition::Permission).chain(topics.map(Definition::TopicPermission));
        permissions.chain(vhost.parameter_definitions()).chain([vhost.definition()]).collect()
    }
}
