//! Changing users, virtual hosts and permissions while the broker runs.
//!
//! Each change is one set of rows in one epoch, so that after a crash all of it is there or nothing. It holds at once; it
//! is kept with the epoch that the log's `defined` gives afterwards. Changes are made one at a time, under one mutex,
//! which precedes all others in the order of locks.

mod permissions;
#[cfg(test)]
mod tests;
mod users;
mod vhosts;

use std::sync::{Arc, MutexGuard, PoisonError};

pub use self::users::deleted_reason;
pub use self::vhosts::VHostChange;
use super::Broker;
use super::pattern::InvalidPattern;
use super::user::AuthFailure;
use super::vhost::VHost;
use crate::limits::{DESCRIPTION_MAX_BYTES, SHORT_STRING_MAX_BYTES, TAGS_MAX};
use crate::storage::log::Change;

/// Why something is not changed, in RabbitMQ's words where it has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    #[error("User \"{0}\" does not exist")]
    NoSuchUser(String),
    #[error("User \"{0}\" already exists")]
    UserExists(String),
    #[error("Error: failed to authenticate user \"{user}\"\n{reason}")]
    NotAuthenticated { user: String, reason: AuthFailure },
    #[error("Virtual host '{0}' does not exist")]
    NoSuchVHost(String),
    #[error(
        "Cannot delete this virtual host: it is protected from deletion. To lift the protection, inspect and update \
         its metadata"
    )]
    Protected,
    #[error("Unsupported default queue type")]
    UnsupportedQueueType,
    #[error(transparent)]
    InvalidPattern(#[from] InvalidPattern),
    #[error("{what} has to have from 1 to {SHORT_STRING_MAX_BYTES} bytes")]
    InvalidName { what: &'static str },
    #[error("there can be {TAGS_MAX} tags at most")]
    TooManyTags,
    #[error("a description can have {DESCRIPTION_MAX_BYTES} bytes at most")]
    DescriptionTooLong,
    /// The limits of a user that are no object with whole numbers under known names.
    #[error("{0}")]
    InvalidLimits(String),
}

impl Broker {
    fn administration(&self) -> MutexGuard<'_, ()> {
        self.administration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn define(&self, changes: Vec<Change>) {
        if let Some(store) = self.store.as_ref().filter(|_| !changes.is_empty()) {
            store.log.define(changes);
        }
    }

    /// # Errors
    /// If there is no such virtual host.
    pub fn existing_vhost(&self, name: &str) -> Result<Arc<VHost>, AdminError> {
        self.vhost(name).ok_or_else(|| AdminError::NoSuchVHost(name.to_owned()))
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), AdminError> {
    match name.len() {
        1..=SHORT_STRING_MAX_BYTES => Ok(()),
        _ => Err(AdminError::InvalidName { what }),
    }
}

/// Tags without those that are there twice.
fn checked_tags<T: AsRef<str>>(tags: &[T]) -> Result<Vec<Arc<str>>, AdminError> {
    let mut checked: Vec<Arc<str>> = Vec::new();
    for tag in tags {
        let tag = tag.as_ref();
        check_name("a tag", tag)?;
        if !checked.iter().any(|known| **known == *tag) {
            checked.push(tag.into());
        }
    }
    if checked.len() > TAGS_MAX { Err(AdminError::TooManyTags) } else { Ok(checked) }
}
