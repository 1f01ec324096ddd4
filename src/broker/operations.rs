//! What an operator does to a running broker, past the clients.

use std::sync::Arc;

use super::administration::AdminError;
use super::alarm::Resource;
use super::outbox::Wakes;
use super::queue::Queue;
use super::vhost::VHost;
use super::{Broker, ConnectionId};
use crate::error::Fault;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    #[error(transparent)]
    Administration(#[from] AdminError),
    #[error("Queue '{queue}' does not exist in virtual host '{vhost}'")]
    NoQueue { queue: String, vhost: String },
    #[error("Connection {0} does not exist")]
    NoConnection(ConnectionId),
    /// As a client would be told.
    #[error("{}", .0.text)]
    Refused(Fault),
}

impl Broker {
    /// Drops the ready messages of a queue, whosever it is, and returns how many they were.
    pub fn purge_queue(&self, vhost: &str, queue: &str) -> Result<u32, NotDone> {
        let (_, queue) = self.existing_queue(vhost, queue)?;
        Ok(queue.purge(&mut Wakes::default()).0)
    }

    /// Deletes a queue, whosever it is, and returns how many messages were ready.
    pub fn delete_queue(&self, vhost: &str, queue: &str, if_unused: bool, if_empty: bool) -> Result<u32, NotDone> {
        let (vhost, queue) = self.existing_queue(vhost, queue)?;
        let ready = queue.kill(if_unused, if_empty).map_err(NotDone::Refused)?;
        vhost.remove_queue(&queue);
        Ok(ready.unwrap_or(0))
    }

    fn existing_queue(&self, vhost: &str, queue: &str) -> Result<(Arc<VHost>, Arc<Queue>), NotDone> {
        let found = self.existing_vhost(vhost)?;
        match found.find_queue(queue) {
            Some(queue) => Ok((found, queue)),
            None => Err(NotDone::NoQueue { queue: queue.to_owned(), vhost: vhost.to_owned() }),
        }
    }

    /// Closes a connection with 320 and this reason.
    pub fn close_connection(&self, id: ConnectionId, reason: &str) -> Result<(), NotDone> {
        self.connections.get(id).ok_or(NotDone::NoConnection(id))?.close(reason);
        Ok(())
    }

    /// Copies what is published to and delivered from a virtual host to its exchange `amq.rabbitmq.trace`, or no more.
    pub fn set_tracing(&self, vhost: &str, on: bool) -> Result<(), NotDone> {
        self.existing_vhost(vhost)?.set_traced(on);
        Ok(())
    }

    /// Raises an alarm by hand, or clears one that was, and has connections look at it.
    pub fn set_alarm_by_hand(&self, resource: Resource, on: bool) {
        if self.alarm.set_by_hand(resource, on) {
            let what = if on { "set" } else { "cleared" };
            tracing::warn!("{} resource limit alarm {what} by hand", resource.name());
            self.notify_all();
        }
    }

    /// The name by which operators know this broker, as RabbitMQ's do `rabbit@host`.
    pub fn node_name(&self) -> &str {
        &self.config.server.cluster_name
    }
}
