//! What users may do in virtual hosts, as RabbitMQ's internal store has it.
//!
//! A permission is three patterns of names: what the user may configure (declare, delete), write to (publish, be bound
//! to) and read from (consume, be bound from). Without one the user may not even connect. A topic permission narrows what
//! may be published to one topic exchange, and be bound from it, by routing key; without one, all may.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::pattern::{InvalidPattern, Pattern};

/// A kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Configure,
    Write,
    Read,
}

/// A permission as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionDefinition {
    pub vhost: Arc<str>,
    pub user: Arc<str>,
    pub configure: Arc<str>,
    pub write: Arc<str>,
    pub read: Arc<str>,
}

impl PermissionDefinition {
    /// What may do everything.
    pub fn full(vhost: &Arc<str>, user: &Arc<str>) -> PermissionDefinition {
        let any = || Arc::from(".*");
        PermissionDefinition { vhost: vhost.clone(), user: user.clone(), configure: any(), write: any(), read: any() }
    }

    pub fn compile(&self) -> Result<Permission, InvalidPattern> {
        Ok(Permission {
            configure: Pattern::new(&self.configure)?,
            write: Pattern::new(&self.write)?,
            read: Pattern::new(&self.read)?,
        })
    }
}

/// A topic permission as it is kept. In its patterns `{username}` and `{vhost}` stand for the names of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermissionDefinition {
    pub vhost: Arc<str>,
    pub user: Arc<str>,
    pub exchange: Arc<str>,
    pub write: Arc<str>,
    pub read: Arc<str>,
}

impl TopicPermissionDefinition {
    pub fn compile(&self) -> Result<TopicPermission, InvalidPattern> {
        // Clients of AMQP have no client id, so for them that variable stands for itself, as in RabbitMQ.
        let variables = [("{username}", &*self.user), ("{vhost}", &*self.vhost), ("{client_id}", "{client_id}")];
        Ok(TopicPermission {
            write: Pattern::with_variables(&self.write, &variables)?,
            read: Pattern::with_variables(&self.read, &variables)?,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Permission {
    pub configure: Pattern,
    pub write: Pattern,
    pub read: Pattern,
}

impl Permission {
    pub fn pattern(&self, right: Right) -> &Pattern {
        match right {
            Right::Configure => &self.configure,
            Right::Write => &self.write,
            Right::Read => &self.read,
        }
    }

    pub fn is_full(&self) -> bool {
        [&self.configure, &self.write, &self.read].iter().all(|pattern| pattern.is_anything())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct TopicPermission {
    pub write: Pattern,
    pub read: Pattern,
}

/// All that one user may do in one virtual host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grant {
    /// Without one, nothing.
    pub permission: Option<Permission>,
    /// By exchange, which need not exist.
    pub topics: BTreeMap<Arc<str>, TopicPermission>,
}

impl Grant {
    fn is_empty(&self) -> bool {
        self.permission.is_none() && self.topics.is_empty()
    }
}

/// The grants of one virtual host, by user.
type Grants = HashMap<Arc<str>, Arc<Grant>>;

/// Everybody's permissions.
#[derive(Default)]
pub struct Permissions {
    by_vhost: RwLock<HashMap<Arc<str>, Grants>>,
    /// Counts changes, so that connections notice when what they remember is no longer so.
    generation: AtomicU64,
}

impl Permissions {
    /// Another number after each change.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What a user may do in a virtual host; perhaps nothing.
    pub fn grant(&self, vhost: &str, user: &str) -> Arc<Grant> {
        self.read().get(vhost).and_then(|grants| grants.get(user)).cloned().unwrap_or_default()
    }

    /// Changes what a user may do in a virtual host.
    pub fn change(&self, vhost: &Arc<str>, user: &Arc<str>, change: impl FnOnce(&mut Grant)) {
        let mut by_vhost = self.write();
        let grants = by_vhost.entry(vhost.clone()).or_default();
        let grant = grants.entry(user.clone()).or_default();
        change(Arc::make_mut(grant));
        if grant.is_empty() {
            grants.remove(user);
        }
        if grants.is_empty() {
            by_vhost.remove(vhost);
        }
        self.changed();
    }

    /// Gives a user a permission, in place of the one of before.
    pub fn put(&self, definition: &PermissionDefinition) -> Result<(), InvalidPattern> {
        let permission = definition.compile()?;
        self.change(&definition.vhost, &definition.user, |grant| grant.permission = Some(permission));
        Ok(())
    }

    /// The same for a topic permission.
    pub fn put_topic(&self, definition: &TopicPermissionDefinition) -> Result<(), InvalidPattern> {
        let permission = definition.compile()?;
        self.change(&definition.vhost, &definition.user, |grant| {
            grant.topics.insert(definition.exchange.clone(), permission);
        });
        Ok(())
    }

    /// A user's permissions in all virtual hosts.
    pub fn of_user(&self, user: &str) -> Vec<Permission> {
        self.read().values().filter_map(|grants| grants.get(user)?.permission.clone()).collect()
    }

    /// Takes away what users may do in a virtual host.
    pub fn remove_vhost(&self, vhost: &str) {
        self.write().remove(vhost);
        self.changed();
    }

    /// Takes away all that a user may do.
    pub fn remove_user(&self, user: &str) {
        self.write().retain(|_, grants| {
            grants.remove(user);
            !grants.is_empty()
        });
        self.changed();
    }

    /// All permissions, by virtual host and user.
    pub fn permissions(&self) -> Vec<PermissionDefinition> {
        let of_grant = |vhost: &Arc<str>, user: &Arc<str>, grant: &Grant, all: &mut Vec<PermissionDefinition>| {
            let Some(permission) = &grant.permission else { return };
            all.push(PermissionDefinition {
                vhost: vhost.clone(),
                user: user.clone(),
                configure: permission.configure.text().clone(),
                write: permission.write.text().clone(),
                read: permission.read.text().clone(),
            });
        };
        self.list(of_grant)
    }

    /// All topic permissions, by virtual host, user and exchange.
    pub fn topic_permissions(&self) -> Vec<TopicPermissionDefinition> {
        let of_grant = |vhost: &Arc<str>, user: &Arc<str>, grant: &Grant, all: &mut Vec<TopicPermissionDefinition>| {
            all.extend(grant.topics.iter().map(|(exchange, topic)| TopicPermissionDefinition {
                vhost: vhost.clone(),
                user: user.clone(),
                exchange: exchange.clone(),
                write: topic.write.text().clone(),
                read: topic.read.text().clone(),
            }));
        };
        self.list(of_grant)
    }

    fn list<T>(&self, add: impl Fn(&Arc<str>, &Arc<str>, &Grant, &mut Vec<T>)) -> Vec<T> {
        let by_vhost = self.read();
        let mut grants: Vec<(&Arc<str>, &Arc<str>, &Grant)> = by_vhost
            .iter()
            .flat_map(|(vhost, grants)| grants.iter().map(move |(user, grant)| (vhost, user, &**grant)))
            .collect();
        grants.sort_unstable_by_key(|(vhost, user, _)| (*vhost, *user));
        let mut all = Vec::new();
        grants.into_iter().for_each(|(vhost, user, grant)| add(vhost, user, grant, &mut all));
        all
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Arc<str>, Grants>> {
        self.by_vhost.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Arc<str>, Grants>> {
        self.by_vhost.write().unwrap_or_else(PoisonError::into_inner)
    }
}
