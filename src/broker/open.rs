//! Starting a broker over what its store has: rows become virtual hosts, users, exchanges, queues and bindings.

mod grants;

use std::collections::HashMap;
use std::sync::Arc;

use super::binding::{Binding, Destination};
use super::dedup::{Deduplication, Line};
use super::definitions::{
    BindingDefinition, BoundTo, Definition, DefinitionError, HiddenOwner, is_user_without_permissions,
};
use super::delay::RecoveredLevel;
use super::parameter::{GlobalParameters, Parameter};
use super::pattern::InvalidPattern;
use super::permission::{PermissionDefinition, Permissions, TopicPermissionDefinition};
use super::queue::{Queue, QueueDefinition, QueueId};
use super::user::{UserDefinition, UserStore};
use super::vhost::{VHost, VHostMetadata};
use super::worker::Worker;
use super::{Broker, arguments::Resource};
use crate::config::{Config, UserConfig};
use crate::storage::log::Change;
use crate::storage::store::{Recovered, RecoveredQueue, Store};

/// Why a broker does not start over what is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Nothing deletes a virtual host and leaves what is in it.
    #[error("{what} is defined, but its virtual host is not")]
    NoVHost { what: String },
    /// It was understood when it was set.
    #[error("a permission of user '{user}' in vhost '{vhost}' cannot be read: {reason}")]
    Permission { user: Arc<str>, vhost: Arc<str>, reason: InvalidPattern },
}

impl Broker {
    /// A broker of which nothing outlives the process. Its users may do everything.
    pub fn new(config: Config) -> Arc<Broker> {
        let (users, permissions) = (config.user_store(), Permissions::default());
        let vhosts: Vec<Arc<str>> = config.vhosts.iter().map(|name| name.as_str().into()).collect();
        for user in users.definitions() {
            for vhost in &vhosts {
                permissions.put(&PermissionDefinition::full(vhost, &user.name)).expect("patterns of our own");
            }
        }
        let worker = Arc::<Worker>::default();
        let vhosts = vhosts.into_iter().map(|name| (name.clone(), VHost::build(name, None, worker.clone())));
        Broker::build(config, users, permissions, vhosts, GlobalParameters::default(), worker.clone(), None)
    }

    /// A broker with everything that is stored, and what the configuration adds to it: virtual hosts that are not
    /// there; users, who replace those of their names; on the first start the default user; and their permissions. What
    /// is added is logged.
    /// Messages and bindings of queues that are not there are dropped.
    ///
    /// # Errors
    /// If a row cannot be understood: to go on without it would lose what it defines.
    pub fn open(config: Config, store: Arc<Store>, recovered: Recovered) -> Result<Arc<Broker>, OpenError> {
        Broker::open_attended(config, store, recovered, Arc::default())
    }

    /// As [`open`](Broker::open), with this worker to attend to it.
    pub(in crate::broker) fn open_attended(
        config: Config,
        store: Arc<Store>,
        recovered: Recovered,
        worker: Arc<Worker>,
    ) -> Result<Arc<Broker>, OpenError> {
        let is_first_start = recovered.definitions.is_empty();
        let mut rebuilt = Rebuilt::new(&config, &store, recovered.queues, worker);
        let mut next_queue_id = recovered.next_queue_id;
        for (key, value) in recovered.definitions {
            let definition = Definition::decode(&key, &value)?;
            if let Definition::User(user) = &definition
                && is_user_without_permissions(&key, &value)
            {
                rebuilt.unrestricted.push(user.name.clone());
            }
            if let Definition::Queue { id, .. } | Definition::Delays { id, .. } | Definition::Window { id, .. } =
                definition
            {
                next_queue_id = next_queue_id.max(id.0 + 1);
            }
            rebuilt.add(definition)?;
        }
        Queue::raise_ids(next_queue_id);
        rebuilt.add_windows();
        rebuilt.restore_delays();
        rebuilt.add_configured_vhosts(&config);
        rebuilt.put_configured_users(&config, is_first_start);
        rebuilt.grant_permissions(&config, is_first_start);
        rebuilt.tidy();
        rebuilt.resume_queues();
        let Rebuilt { users, permissions, vhosts, global_parameters, worker, .. } = rebuilt;
        let (vhosts, store) = (vhosts.into_iter(), Some(store));
        Ok(Broker::build(config, users, permissions, vhosts, global_parameters, worker, store))
    }
}

/// What has been built of the rows so far. They come in the order of their keys, so that what a row refers to is there
/// before it.
struct Rebuilt<'a> {
    store: &'a Arc<Store>,
    vhosts: HashMap<Arc<str>, Arc<VHost>>,
    users: UserStore,
    permissions: Permissions,
    /// Users from before there were permissions, who could do everything.
    unrestricted: Vec<Arc<str>>,
    /// Virtual hosts that the configuration adds.
    added_vhosts: Vec<Arc<str>>,
    global_parameters: GlobalParameters,
    queues: HashMap<QueueId, Arc<Queue>>,
    worker: Arc<Worker>,
    /// What waits in queues whose rows have not come, level by level.
    levels: HashMap<QueueId, Vec<(u8, RecoveredQueue)>>,
    /// What was delayed, by whom it was.
    delays: HashMap<HiddenOwner, Vec<RecoveredLevel>>,
    /// Exchanges that have lost a binding, by virtual host.
    bereaved: Vec<(Arc<VHost>, Arc<str>)>,
    bindings: usize,
    /// Where queues and exchanges have what they remember.
    windows: Vec<(QueueId, HiddenOwner)>,
    changes: Vec<Change>,
}

impl<'a> Rebuilt<'a> {
    fn new(
        config: &Config,
        store: &'a Arc<Store>,
        waiting: HashMap<QueueId, RecoveredQueue>,
        worker: Arc<Worker>,
    ) -> Rebuilt<'a> {
        Rebuilt {
            store,
            vhosts: HashMap::new(),
            users: UserStore::new(config.loopback_users.iter().cloned()),
            permissions: Permissions::default(),
            unrestricted: Vec::new(),
            added_vhosts: Vec::new(),
            global_parameters: GlobalParameters::default(),
            queues: HashMap::new(),
            worker,
            levels: by_level(waiting),
            delays: HashMap::new(),
            bereaved: Vec::new(),
            bindings: 0,
            windows: Vec::new(),
            changes: Vec::new(),
        }
    }

    fn add(&mut self, definition: Definition) -> Result<(), OpenError> {
        match definition {
            Definition::VHost { name, metadata } => self.add_vhost(name, metadata),
            Definition::User(user) => self.users.put(user),
            Definition::Permission(permission) => self.add_permission(permission)?,
            Definition::TopicPermission(topic) => self.add_topic_permission(topic)?,
            Definition::Exchange { vhost, definition } => {
                let resource = Resource::exchange(&definition.name, &vhost);
                self.vhost(&vhost, || resource.to_string())?.restore_exchange(definition);
            }
            Definition::Queue { id, definition } => self.add_queue(id, definition)?,
            Definition::Binding(binding) => self.add_binding(binding)?,
            Definition::Delays { id, level, owner } => self.add_delays(id, level, owner),
            Definition::Window { id, owner } => self.windows.push((id, owner)),
            Definition::Parameter(parameter) => self.add_parameter(parameter)?,
            Definition::GlobalParameter { name, value } => self.global_parameters.restore(name, value),
        }
        Ok(())
    }

    fn add_permission(&mut self, permission: PermissionDefinition) -> Result<(), OpenError> {
        let PermissionDefinition { user, vhost, .. } = permission.clone();
        if !self.knows_both(&vhost, &user)? {
            self.changes.push(Definition::Permission(permission).delete());
            return Ok(());
        }
        self.permissions.put(&permission).map_err(|reason| OpenError::Permission { user, vhost, reason })
    }

    fn add_topic_permission(&mut self, topic: TopicPermissionDefinition) -> Result<(), OpenError> {
        let TopicPermissionDefinition { user, vhost, .. } = topic.clone();
        if !self.knows_both(&vhost, &user)? {
            self.changes.push(Definition::TopicPermission(topic).delete());
            return Ok(());
        }
        self.permissions.put_topic(&topic).map_err(|reason| OpenError::Permission { user, vhost, reason })
    }

    /// A permission goes with its user. Only a repair, which gave up the user, leaves it over; then another of that name
    /// must not find it.
    fn knows_both(&self, vhost: &str, user: &str) -> Result<bool, OpenError> {
        self.vhost(vhost, || format!("a permission of user '{user}' in vhost '{vhost}'"))?;
        let is_known = self.users.get(user).is_some();
        if !is_known {
            tracing::warn!("the permissions of user '{user}' in vhost '{vhost}' are dropped: the user is not defined");
        }
        Ok(is_known)
    }

    fn add_vhost(&mut self, name: Arc<str>, metadata: VHostMetadata) {
        let vhost = VHost::build(name.clone(), Some(self.store.clone()), self.worker.clone());
        vhost.set_metadata(metadata);
        self.vhosts.insert(name, vhost);
    }

    fn vhost(&self, name: &str, what: impl FnOnce() -> String) -> Result<&Arc<VHost>, OpenError> {
        self.vhosts.get(name).ok_or_else(|| OpenError::NoVHost { what: what() })
    }

    /// Ids grow. Of two queues of one name, the one with the lower id was deleted before the other was declared.
    fn add_queue(&mut self, id: QueueId, definition: QueueDefinition) -> Result<(), OpenError> {
        let resource = Resource::queue(&definition.name, &definition.vhost);
        let vhost = self.vhost(&definition.vhost, || resource.to_string())?.clone();
        let waiting: Vec<_> = self.levels.remove(&id).unwrap_or_default();
        let waiting = waiting.iter().map(|(level, found)| (*level, found));
        let queue = Queue::recovered(definition, id, vhost.surroundings(), waiting);
        self.queues.insert(id, queue.clone());
        if let Some(deleted) = vhost.restore_queue(queue) {
            tracing::warn!(
                "what is left of a deleted queue is dropped: {}",
                Resource::queue(deleted.name(), vhost.name())
            );
            self.queues.remove(&deleted.id);
            self.store.log.drop_queue(deleted.id);
        }
        Ok(())
    }

    /// A queue that is deleted takes its row with it at once, its bindings a moment later. What that moment left over
    /// goes now.
    fn add_binding(&mut self, definition: BindingDefinition) -> Result<(), OpenError> {
        let what = || format!("a binding from exchange '{}'", definition.source);
        let vhost = self.vhost(&definition.vhost, what)?.clone();
        let destination = match &definition.destination {
            BoundTo::Queue(id) => self.queues.get(id).cloned().map(Destination::Queue),
            BoundTo::Exchange(name) => vhost.find_exchange(name).map(Destination::Exchange),
        };
        let restored = destination.is_some_and(|destination| {
            let BindingDefinition { source, routing_key, arguments, .. } = &definition;
            vhost.restore_binding(Binding::new(source.clone(), destination, routing_key, arguments.clone()))
        });
        if restored {
            self.bindings += 1;
        } else {
            self.bereaved.push((vhost, definition.source.clone()));
            self.changes.push(Definition::Binding(definition).delete());
        }
        Ok(())
    }

    fn add_parameter(&mut self, parameter: Parameter) -> Result<(), OpenError> {
        let what = parameter.to_string();
        if let Some(flaw) = self.vhost(&parameter.vhost, || what.clone())?.restore_parameter(parameter) {
            tracing::warn!("{what} has no effect: {flaw}");
        }
        Ok(())
    }

    fn add_windows(&mut self) {
        for (id, owner) in std::mem::take(&mut self.windows) {
            self.add_window(id, owner);
        }
    }

    /// The keys that a queue or an exchange remembers. If it is gone, or has nothing to remember, so is the row.
    fn add_window(&mut self, id: QueueId, owner: HiddenOwner) {
        let found = self.levels.remove(&id).and_then(|levels| levels.into_iter().next());
        let read = |(_, found)| {
            let (line, keys) = Line::recovered(self.store.clone(), owner.clone(), id, &found);
            Deduplication::recovered(line, keys)
        };
        let restored = match &owner {
            HiddenOwner::Queue(queue) => self.queues.get(queue).zip(found).map(|(queue, found)| {
                queue.restore_window(read(found));
            }),
            HiddenOwner::Exchange { vhost, name } => {
                let exchange = self.vhosts.get(vhost).and_then(|vhost| vhost.find_exchange(name));
                exchange.zip(found).map(|(exchange, found)| exchange.restore_window(read(found)))
            }
        };
        if restored.is_none() {
            self.store.log.drop_queue(id);
            self.changes.push(Definition::Window { id, owner }.delete());
        }
    }

    fn add_delays(&mut self, id: QueueId, level: u8, owner: HiddenOwner) {
        let lanes = self.levels.remove(&id).unwrap_or_default();
        self.delays.entry(owner).or_default().push(RecoveredLevel { level, id, lanes });
    }

    /// Gives what was delayed to whose it is, or drops it: the owner was deleted, or was not durable.
    fn restore_delays(&mut self) {
        for (owner, levels) in std::mem::take(&mut self.delays) {
            let restored = match &owner {
                HiddenOwner::Queue(id) => self.queues.get(id).map(|queue| queue.restore_delays(&levels)),
                HiddenOwner::Exchange { vhost, name } => {
                    let exchange = self.vhosts.get(vhost).and_then(|vhost| vhost.find_exchange(name));
                    exchange.map(|exchange| exchange.restore_delays(&levels))
                }
            };
            if restored.is_none() {
                for RecoveredLevel { level, id, .. } in levels {
                    self.store.log.drop_queue(id);
                    self.changes.push(Definition::Delays { id, level, owner: owner.clone() }.delete());
                }
            }
        }
    }

    fn add_configured_vhosts(&mut self, config: &Config) {
        for name in &config.vhosts {
            let name: Arc<str> = name.as_str().into();
            if !self.vhosts.contains_key(&name) {
                let metadata = VHostMetadata::default();
                self.changes.push(Definition::VHost { name: name.clone(), metadata: metadata.clone() }.put());
                self.added_vhosts.push(name.clone());
                self.add_vhost(name, metadata);
            }
        }
    }

    /// The default user is there for a broker that has nothing yet; who changed or removed it shall not find it again.
    fn put_configured_users(&mut self, config: &Config, is_first_start: bool) {
        if is_first_start && let Some(user) = config.default_user() {
            self.put_user(&user);
        }
        config.users.iter().for_each(|user| self.put_user(user));
    }

    fn put_user(&mut self, configured: &UserConfig) {
        let known = self.users.definition(&configured.name);
        let known_password = known.as_ref().and_then(|user| user.password);
        let Some((password, tags)) = configured.account(known_password) else { return };
        let user = UserDefinition {
            limits: known.as_ref().map(|user| user.limits).unwrap_or_default(),
            ..UserDefinition::new(configured.name.as_str(), password, tags)
        };
        if known.as_ref() != Some(&user) {
            self.users.put(user.clone());
            self.changes.push(Definition::User(user).put());
        }
    }

    /// Only once all is there that dead letters may go to.
    fn resume_queues(&self) {
        let mut queues: Vec<&Arc<Queue>> = self.queues.values().collect();
        queues.sort_unstable_by_key(|queue| queue.id);
        queues.into_iter().for_each(|queue| queue.resume());
    }

    /// Logs what has changed, and drops what nobody refers to.
    fn tidy(&mut self) {
        self.vhosts.values().for_each(|vhost| vhost.apply_all_policies());
        let log = &self.store.log;
        let left_over = self.levels.len();
        self.levels.keys().for_each(|&id| _ = log.drop_queue(id));
        if left_over > 0 {
            tracing::warn!("the messages of {left_over} queues are dropped: the queues are not defined");
        }
        if !self.changes.is_empty() {
            log.define(std::mem::take(&mut self.changes));
        }
        self.bereaved.dedup_by(|a, b| a.1 == b.1 && Arc::ptr_eq(&a.0, &b.0));
        for (vhost, exchange) in self.bereaved.drain(..) {
            vhost.delete_if_deserted(&exchange);
        }
        tracing::info!(
            "recovered {} virtual hosts, {} queues, {} bindings",
            self.vhosts.len(),
            self.queues.len(),
            self.bindings
        );
    }
}

fn by_level(waiting: HashMap<QueueId, RecoveredQueue>) -> HashMap<QueueId, Vec<(u8, RecoveredQueue)>> {
    let mut levels: HashMap<QueueId, Vec<(u8, RecoveredQueue)>> = HashMap::new();
    for (id, found) in waiting {
        levels.entry(id.base()).or_default().push((id.level(), found));
    }
    levels
}

#[cfg(test)]
mod tests;
