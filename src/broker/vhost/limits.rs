//! How many connections and queues a virtual host may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::{Operation, VHost};
use crate::broker::policy::object_of;
use crate::broker::policy::validation::{JsonTerm, Terms};
use crate::error::Fault;

/// The limits of a virtual host; `None` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VHostLimits {
    pub max_connections: Option<u64>,
    pub max_queues: Option<u64>,
}

const MAX_CONNECTIONS: &str = "max-connections";
const MAX_QUEUES: &str = "max-queues";

impl VHostLimits {
    /// Reads an object, or a list of pairs, with the limits by their names; below zero is none.
    ///
    /// # Errors
    /// What is wrong, in RabbitMQ's words.
    pub fn parse(value: &Value) -> Result<VHostLimits, String> {
        let Some(object) = object_of(value) else {
            return Err(format!("limits must be a dictionary: {}", JsonTerm(value)));
        };
        let limit = |name: &str| match object.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(limit) => Ok(u64::try_from(limit).ok()),
                None => Err(format!("{name} should be a number, actually was {}", JsonTerm(value))),
            },
        };
        let limits = VHostLimits { max_connections: limit(MAX_CONNECTIONS)?, max_queues: limit(MAX_QUEUES)? };
        let is_known = |name: &str| [MAX_CONNECTIONS, MAX_QUEUES].contains(&name);
        let unknown: Vec<_> = object.iter().filter(|(name, _)| !is_known(name)).collect();
        if !unknown.is_empty() {
            return Err(format!("Unrecognised terms {} in limits", Terms(unknown)));
        }
        Ok(limits)
    }
}

/// Connections that are open in a virtual host.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<AtomicU32>);

/// A connection that is let into a virtual host, and counts there until this is dropped.
#[derive(Debug)]
pub struct Place(Places);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl VHost {
    /// Lets a connection of this user in.
    ///
    /// # Errors
    /// 530 if the virtual host has as many as it may.
    pub fn enter(&self, user: &str) -> Result<Place, Fault> {
        let max = self.limits().max_connections;
        let one_more = |open: u32| max.is_none_or(|max| u64::from(open) < max).then_some(open + 1);
        match self.places.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Place(self.places.clone())),
            Err(_) => Err(Fault::not_allowed(format!(
                "access to vhost '{}' refused for user '{user}': connection limit ({}) is reached",
                self.name,
                max.unwrap_or_default()
            ))),
        }
    }

    /// Connections that are open in this virtual host.
    pub fn connection_count(&self) -> u32 {
        self.places.0.load(Ordering::Relaxed)
    }

    /// Whether one more queue may be declared, of this name.
    ///
    /// # Errors
    /// 406 if there are as many as there may be.
    pub(super) fn check_queue_limit(&self, name: &str, _operation: &Operation<'_>) -> Result<(), Fault> {
        let Some(max) = self.limits().max_queues else { return Ok(()) };
        // Dead queues that nobody has come to remove yet are among these.
        if (self.queues.len() as u64) < max || (self.queues().len() as u64) < max {
            return Ok(());
        }
        Err(Fault::precondition_failed(format!(
            "cannot declare queue '{name}': queue limit in vhost '{}' ({max}) is reached",
            self.name
        )))
    }
}
