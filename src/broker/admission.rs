//! Letting a user who has logged in into a virtual host.

use std::sync::Arc;

use super::Broker;
use super::access::Access;
use super::quota::ConnectionSlot;
use super::user::User;
use super::vhost::{Place, VHost};
use crate::error::Fault;

/// What a connection has been let into, and as whom.
pub struct Admission {
    pub vhost: Arc<VHost>,
    pub user: Arc<User>,
    /// What the user may do there.
    pub access: Access,
    /// The connection that it takes of those that the user may have.
    pub slot: ConnectionSlot,
    /// The connection that it takes of those that the virtual host may have.
    pub place: Place,
}

impl Broker {
    /// The checks of `connection.open`, in RabbitMQ's order.
    ///
    /// # Errors
    /// 530 at the limit of connections, if there is no such virtual host, at its limit, at the user's limit, and without a permission.
    pub fn admit(&self, user: &Arc<User>, vhost: &str) -> Result<Admission, Fault> {
        let max = self.config.limits.connections;
        if max != 0 && self.connection_count() >= max as usize {
            return Err(Fault::not_allowed(format!("connection refused: node connection limit ({max}) is reached")));
        }
        let Some(vhost) = self.vhost(vhost) else {
            return Err(Fault::not_allowed(format!("vhost {vhost} not found")));
        };
        let place = vhost.enter(&user.name)?;
        let name = &user.name;
        let no_access = || Fault::not_allowed(format!("access to vhost '{}' refused for user '{name}'", vhost.name()));
        // Who has been deleted since the login has no permission either.
        let slot = self.users.connect(name).ok_or_else(no_access)?.map_err(|max| {
            Fault::not_allowed(format!(
                "connection refused for user '{name}': user connection limit ({max}) is reached"
            ))
        })?;
        let access = Access::new(&self.permissions, vhost.name(), user);
        if !access.is_granted() {
            return Err(no_access());
        }
        Ok(Admission { vhost, user: user.clone(), access, slot, place })
    }
}
