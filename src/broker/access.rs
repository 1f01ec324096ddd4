//! What the user of one connection may do, checked and refused.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::ConnectionId;
use super::arguments::Resource;
use super::exchange::{Exchange, ExchangeKind};
use super::permission::{Grant, Permissions, Right};
use super::user::User;
use crate::error::Fault;
use crate::limits::PERMISSION_CACHE_MAX;

/// The name under which permissions know the default exchange.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// Who asks for something: a connection, and what it may do there. The broker itself may do everything.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub connection: ConnectionId,
    access: Option<&'a Access>,
}

impl<'a> Caller<'a> {
    /// The broker itself, for which no connection asks.
    pub const BROKER: Caller<'static> = Caller { connection: ConnectionId(0), access: None };

    pub fn new(connection: ConnectionId, access: &'a Access) -> Caller<'a> {
        Caller { connection, access: Some(access) }
    }

    /// 403 unless the caller may declare and delete this queue.
    pub fn configure_queue(self, name: &str) -> Result<(), Fault> {
        self.check(|access| access.queue(Right::Configure, name))
    }

    /// 403 unless the caller may have this queue bound.
    pub fn write_queue(self, name: &str) -> Result<(), Fault> {
        self.check(|access| access.queue(Right::Write, name))
    }

    /// 403 unless the caller may consume from this queue.
    pub fn read_queue(self, name: &str) -> Result<(), Fault> {
        self.check(|access| access.queue(Right::Read, name))
    }

    /// 403 unless the caller may declare and delete this exchange.
    pub fn configure_exchange(self, name: &str) -> Result<(), Fault> {
        self.check(|access| access.exchange(Right::Configure, name))
    }

    /// 403 unless the caller may publish to this exchange, or have it bound to another.
    pub fn write_exchange(self, name: &str) -> Result<(), Fault> {
        self.check(|access| access.exchange(Right::Write, name))
    }

    /// 403 unless the caller may bind things to this exchange.
    pub fn read_exchange(self, name: &str) -> Result<(), Fault> {
        self.check(|access| access.exchange(Right::Read, name))
    }

    /// 403 unless the caller may bind things to this exchange with this routing key.
    pub fn read_topic(self, exchange: &Exchange, routing_key: &[u8]) -> Result<(), Fault> {
        self.check(|access| access.topic(Right::Read, exchange, routing_key))
    }

    /// 403 unless the caller may publish to this exchange with this routing key.
    pub fn write_topic(self, exchange: &Exchange, routing_key: &[u8]) -> Result<(), Fault> {
        self.check(|access| access.topic(Right::Write, exchange, routing_key))
    }

    fn check(self, check: impl FnOnce(&Access) -> Result<(), Fault>) -> Result<(), Fault> {
        self.access.map_or(Ok(()), check)
    }
}

impl From<ConnectionId> for Caller<'_> {
    /// A connection that may do everything.
    fn from(connection: ConnectionId) -> Self {
        Caller { connection, access: None }
    }
}

/// What a user may do in a virtual host, as long as the [generation](Permissions::generation) is the one it was looked up
/// in.
pub struct Access {
    user: Arc<User>,
    vhost: Arc<str>,
    grant: Arc<Grant>,
    generation: u64,
    /// What was found allowed last, so that patterns need not be matched for each poll of a queue.
    allowed: RefCell<Vec<(Right, Box<str>)>>,
    /// The entry that makes room for the next one.
    oldest: Cell<usize>,
}

impl Access {
    pub fn new(permissions: &Permissions, vhost: &Arc<str>, user: &Arc<User>) -> Access {
        // A change between the two has what is looked up too late looked up again.
        let generation = permissions.generation();
        Access {
            user: user.clone(),
            vhost: vhost.clone(),
            grant: permissions.grant(vhost, &user.name),
            generation,
            allowed: RefCell::default(),
            oldest: Cell::new(0),
        }
    }

    /// Whether the user may use the virtual host at all.
    pub fn is_granted(&self) -> bool {
        self.grant.permission.is_some()
    }

    /// Whether permissions are as they were.
    #[inline]
    pub fn is_current(&self, permissions: &Permissions) -> bool {
        self.generation == permissions.generation()
    }

    fn queue(&self, right: Right, name: &str) -> Result<(), Fault> {
        if self.allows(right, name) { Ok(()) } else { Err(self.refused(&Resource::queue(name, &self.vhost))) }
    }

    fn exchange(&self, right: Right, name: &str) -> Result<(), Fault> {
        let name = if name.is_empty() { DEFAULT_EXCHANGE } else { name };
        if self.allows(right, name) { Ok(()) } else { Err(self.refused(&Resource::exchange(name, &self.vhost))) }
    }

    fn topic(&self, right: Right, exchange: &Exchange, routing_key: &[u8]) -> Result<(), Fault> {
        if self.grant.topics.is_empty() || exchange.kind != ExchangeKind::Topic {
            return Ok(());
        }
        let Some(topic) = self.grant.topics.get(&exchange.name) else { return Ok(()) };
        let pattern = if right == Right::Write { &topic.write } else { &topic.read };
        let key = String::from_utf8_lossy(routing_key);
        if pattern.matches(&key) {
            return Ok(());
        }
        Err(self.refused(&format!("topic '{key}' in {}", Resource::exchange(&exchange.name, &self.vhost))))
    }

    fn allows(&self, right: Right, name: &str) -> bool {
        let Some(permission) = &self.grant.permission else { return false };
        let pattern = permission.pattern(right);
        if pattern.is_anything() || self.remembers(right, name) {
            return true;
        }
        let allowed = pattern.matches(name);
        if allowed {
            self.remember(right, name);
        }
        allowed
    }

    fn remembers(&self, right: Right, name: &str) -> bool {
        self.allowed.borrow().iter().any(|(known, of)| *known == right && **of == *name)
    }

    fn remember(&self, right: Right, name: &str) {
        let mut allowed = self.allowed.borrow_mut();
        if allowed.len() < PERMISSION_CACHE_MAX {
            return allowed.push((right, name.into()));
        }
        let at = self.oldest.get();
        allowed[at] = (right, name.into());
        self.oldest.set((at + 1) % PERMISSION_CACHE_MAX);
    }

    fn refused(&self, what: &dyn std::fmt::Display) -> Fault {
        Fault::access_refused(format!("access to {what} refused for user '{}'", self.user.name))
    }
}

#[cfg(test)]
mod tests;
