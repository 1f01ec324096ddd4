//! A virtual host: a namespace of exchanges, queues and bindings.
//!
//! Names are looked up without a lock of the whole. Everything that changes what exists or what is bound happens
//! under one topology mutex, in the order topology → bindings of one exchange → one queue. A queue is marked dead
//! under its own lock first; from then on nobody finds it here, although it takes a moment until its name is free
//! and its bindings are gone.
//!
//! With a store, what is durable is also there, as rows: each [`Operation`] says in one go which rows it changes.
//!
//! Checks come in RabbitMQ's order. Permissions come after the checks of the names alone and before what exists is
//! looked at; but to bind, a permission to the destination is asked for first.

mod bindings;
mod deletion;
mod exchanges;
mod limits;
mod metadata;
mod operation;
mod queues;
mod restore;
mod settings;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock, Weak};

use dashmap::DashMap;

pub use self::exchanges::ExchangeDeclare;
use self::limits::Places;
pub use self::limits::{Place, VHostLimits};
pub use self::metadata::VHostMetadata;
use self::operation::Operation;
pub use self::queues::{QueueDeclare, REPLY_TO, REPLY_TO_ALIAS, REPLY_TO_PREFIX};
use self::settings::Settings;
use crate::broker::binding::Destinations;
use crate::broker::dedup::Admission;
use crate::broker::exchange::{Exchange, ExchangeDefinition, ExchangeKind};
use crate::broker::queue::{Queue, Surroundings};
use crate::broker::worker::Worker;
use crate::error::Fault;
use crate::storage::store::Store;

/// The exchanges that every virtual host has; all durable.
const PREDECLARED: [(&str, ExchangeKind); 7] = [
    ("", ExchangeKind::Direct),
    ("amq.direct", ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.topic", ExchangeKind::Topic),
    ("amq.match", ExchangeKind::Headers),
    ("amq.headers", ExchangeKind::Headers),
    (TRACE_EXCHANGE, ExchangeKind::Topic),
];

/// Internal, unlike the other predeclared ones.
pub const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";

pub struct VHost {
    name: Arc<str>,
    exchanges: DashMap<Arc<str>, Arc<Exchange>>,
    queues: DashMap<Arc<str>, Arc<Queue>>,
    /// The queues of direct reply-to, under the names to which replies are published.
    reply_queues: DashMap<Arc<str>, Arc<Queue>>,
    topology: Mutex<Topology>,
    /// See [`Admission`].
    gate: Mutex<()>,
    metadata: RwLock<VHostMetadata>,
    /// Whether messages are copied to the trace exchange. Off after each start, as in RabbitMQ.
    traced: AtomicBool,
    settings: Settings,
    places: Places,
    /// Where what is durable is kept; nothing is without.
    store: Option<Arc<Store>>,
    /// Who attends to its queues.
    worker: Arc<Worker>,
    this: Weak<VHost>,
}

/// What only those who change it look at.
#[derive(Default)]
struct Topology {
    destinations: Destinations,
    /// The exchanges that name another as their alternate, by the name of the other.
    alternates: HashMap<Arc<str>, Vec<Arc<Exchange>>>,
    /// The virtual host is gone: nothing is declared in it any more.
    is_deleted: bool,
}

impl Topology {
    fn add_alternate(&mut self, alternate: Arc<str>, user: &Arc<Exchange>) {
        self.alternates.entry(alternate).or_default().push(user.clone());
    }

    fn remove_alternate(&mut self, alternate: &str, user: &Arc<Exchange>) {
        let users = self.alternates.get_mut(alternate).expect("an alternate exchange knows its users");
        users.retain(|other| !Arc::ptr_eq(other, user));
        if users.is_empty() {
            self.alternates.remove(alternate);
        }
    }
}

impl VHost {
    /// A virtual host of which nothing is durable, whatever is asked.
    pub fn new(name: impl Into<Arc<str>>) -> Arc<VHost> {
        VHost::build(name.into(), None, Arc::default())
    }

    /// A virtual host that keeps what is durable in a store, if there is one, and whose queues `worker` attends to. Its own
    /// row is written by whoever creates it.
    pub fn build(name: Arc<str>, store: Option<Arc<Store>>, worker: Arc<Worker>) -> Arc<VHost> {
        let vhost = Arc::new_cyclic(|this| VHost {
            name,
            exchanges: DashMap::new(),
            queues: DashMap::new(),
            reply_queues: DashMap::new(),
            topology: Mutex::new(Topology::default()),
            gate: Mutex::default(),
            metadata: RwLock::default(),
            traced: AtomicBool::new(false),
            settings: Settings::default(),
            places: Places::default(),
            store,
            worker,
            this: this.clone(),
        });
        for (name, kind) in PREDECLARED {
            let mut definition = ExchangeDefinition::durable(name, kind);
            definition.internal = name == TRACE_EXCHANGE;
            let exchange = Exchange::new(definition);
            if let Some(store) = &vhost.store {
                exchange.keep_window(store, &vhost.name);
            }
            vhost.exchanges.insert(name.into(), exchange);
        }
        vhost
    }

    /// What a queue of this virtual host belongs to.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings { store: self.store.clone(), worker: self.worker.clone(), vhost: self.this.clone() }
    }

    /// The admission of one publish to exchanges that deduplicate.
    pub fn admission(&self) -> Admission<'_> {
        Admission::new(&self.gate, &self.worker)
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// All exchanges of this moment, in no particular order.
    pub fn exchanges(&self) -> Vec<Arc<Exchange>> {
        self.exchanges.iter().map(|entry| entry.value().clone()).collect()
    }

    /// All queues of this moment, in no particular order.
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues.iter().map(|entry| entry.value().clone()).filter(|queue| !queue.is_dead()).collect()
    }

    pub fn find_exchange(&self, name: &str) -> Option<Arc<Exchange>> {
        self.exchanges.get(name).map(|entry| entry.value().clone())
    }

    /// The queue of this name, unless it is being deleted.
    pub fn find_queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.queues.get(name).map(|entry| entry.value().clone()).filter(|queue| !queue.is_dead())
    }

    /// Locks the topology, for one operation.
    fn operation(&self) -> Operation<'_> {
        let topology = self.topology.lock().expect("no code panics while it changes the topology");
        Operation::new(topology, self.store.as_deref().map(|store| &*store.log))
    }
}

impl Drop for VHost {
    /// Bindings between exchanges may be circles, which nothing else would take apart.
    fn drop(&mut self) {
        for exchange in self.exchanges.iter() {
            exchange.delete();
        }
    }
}

/// Carriage returns and line feeds do not count in names, as in RabbitMQ.
fn strip_line_ends(name: &str) -> Cow<'_, str> {
    if name.contains(['\r', '\n']) { Cow::Owned(name.replace(['\r', '\n'], "")) } else { Cow::Borrowed(name) }
}

/// Refuses to create what only the server may name.
fn check_reserved_prefix(kind: &str, name: &str) -> Result<(), Fault> {
    if name.starts_with("amq.") {
        let text = format!("{kind} name '{name}' contains reserved prefix 'amq.*'");
        return Err(Fault::access_refused(text));
    }
    Ok(())
}
