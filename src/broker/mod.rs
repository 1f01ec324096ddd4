//! The model: virtual hosts, exchanges, bindings, queues and users. Synchronous, without I/O.

pub mod access;
pub mod administration;
pub mod admission;
pub mod alarm;
pub mod arguments;
pub mod binding;
pub mod connections;
pub mod dead_letter;
pub mod dedup;
pub mod definitions;
pub mod delay;
pub mod exchange;
pub mod message;
mod open;
mod operations;
pub mod outbox;
pub mod parameter;
pub mod password;
pub mod pattern;
pub mod permission;
pub mod policy;
pub mod queue;
pub mod quota;
pub mod router;
pub mod routes;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod test_rows;
pub mod user;
pub mod vhost;
pub mod worker;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dashmap::DashMap;

use self::alarm::{Alarm, Marks};
use self::connections::{Connections, OpenConnection};
pub use self::open::OpenError;
pub use self::operations::NotDone;
use self::parameter::GlobalParameters;
use self::permission::Permissions;
use self::queue::{Leaving, Queue};
use self::quota::ConnectionSlot;
use self::user::UserStore;
use self::vhost::VHost;
use self::worker::Worker;
use crate::config::Config;
use crate::connection::sasl::Sasl;
use crate::storage::store::Store;

/// Bytes of ready messages that a queue keeps in memory where memory is short, and that all of them keep.
const KEPT_WHEN_SHORT_BYTES: u64 = 64 * 1024;
const KEPT_WHEN_SHORT_BY_ALL_BYTES: u64 = 16 * 1024 * 1024;

/// Identifies a client connection for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything that connections share.
pub struct Broker {
    pub config: Config,
    pub users: UserStore,
    pub permissions: Permissions,
    pub sasl: Sasl,
    vhosts: DashMap<Arc<str>, Arc<VHost>>,
    /// Held by whoever changes users, virtual hosts or permissions.
    administration: Mutex<()>,
    pub connections: Connections,
    next_connection: AtomicU64,
    pub alarm: Alarm,
    stopping: AtomicBool,
    /// For its uptime.
    pub started_at: Instant,
    pub global_parameters: GlobalParameters,
    /// Who attends to queues; somebody has to let it run.
    pub worker: Arc<Worker>,
    /// Where what is durable is kept; nothing is without.
    pub store: Option<Arc<Store>>,
}

impl Broker {
    fn build(
        config: Config,
        users: UserStore,
        permissions: Permissions,
        vhosts: impl Iterator<Item = (Arc<str>, Arc<VHost>)>,
        global_parameters: GlobalParameters,
        worker: Arc<Worker>,
        store: Option<Arc<Store>>,
    ) -> Arc<Broker> {
        Arc::new(Broker {
            users,
            permissions,
            sasl: config.sasl(),
            administration: Mutex::new(()),
            vhosts: vhosts.collect(),
            store,
            connections: Connections::default(),
            next_connection: AtomicU64::new(1),
            alarm: Alarm::new(Marks::configured(&config.limits)),
            stopping: AtomicBool::new(false),
            started_at: Instant::now(),
            global_parameters,
            worker,
            config,
        })
    }

    pub fn vhost(&self, name: &str) -> Option<Arc<VHost>> {
        self.vhosts.get(name).map(|vhost| vhost.clone())
    }

    /// All virtual hosts of this moment, by name.
    pub fn vhosts(&self) -> Vec<Arc<VHost>> {
        let mut all: Vec<_> = self.vhosts.iter().map(|entry| entry.value().clone()).collect();
        all.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// Has queues give up memory, the deepest first, until those that were asked held `excess_bytes` of it.
    pub fn shrink_queues(&self, excess_bytes: u64, leaving: Leaving) {
        let resident = |queue: Arc<Queue>| (queue.resident_bytes(), queue);
        let mut queues: Vec<(u64, Arc<Queue>)> = Vec::new();
        for vhost in &self.vhosts {
            queues.extend(vhost.queues().into_iter().map(resident).filter(|(bytes, _)| *bytes > 0));
        }
        // Many queues keep less each.
        let keep_bytes = KEPT_WHEN_SHORT_BYTES.min(KEPT_WHEN_SHORT_BY_ALL_BYTES / queues.len().max(1) as u64);
        deepest(queues, excess_bytes).for_each(|queue| queue.shrink(keep_bytes, leaving));
    }

    pub fn new_connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// Connections that are open: through with `connection.open` and not ended.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Enters an open connection. It is told to close at once if the broker is stopping, and if its user, to whom `slot`
    /// belongs, or its virtual host has been deleted meanwhile: whoever deletes them tells only those that are entered.
    pub fn register(&self, connection: OpenConnection, slot: &ConnectionSlot) {
        let connection = self.connections.insert(connection);
        let OpenConnection { user, vhost, .. } = &*connection;
        if self.is_stopping() {
            self.connections.close_all(SHUTDOWN_REASON);
        }
        if !self.users.knows(&user.name, slot) {
            connection.close(&administration::deleted_reason(&user.name));
        }
        if !self.vhost(vhost.name()).is_some_and(|current| Arc::ptr_eq(&current, vhost)) {
            connection.close(&vhost.deleted_reason());
        }
    }

    pub fn unregister(&self, id: ConnectionId) {
        self.connections.remove(id);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Begins a graceful stop: every connection is closed with 320, those that are yet to open as well.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.connections.close_all(SHUTDOWN_REASON);
    }

    /// Has every connection look at the alarm.
    pub fn notify_all(&self) {
        self.connections.notify_all();
    }
}

/// The fewest of these that have so many bytes together, the one with the most first; all if they have fewer.
fn deepest<T>(mut sized: Vec<(u64, T)>, bytes: u64) -> impl Iterator<Item = T> {
    sized.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let mut missing = bytes;
    let wanted = sized.into_iter().take_while(move |(bytes, _)| {
        let is_wanted = missing > 0;
        missing = missing.saturating_sub(*bytes);
        is_wanted
    });
    wanted.map(|(_, item)| item)
}

/// What clients are told when the broker stops.
pub const SHUTDOWN_REASON: &str = "broker forced connection closure with reason 'shutdown'";

#[test]
fn the_deepest_come_first_and_no_more_than_are_needed() {
    let found = |bytes| deepest(vec![(5, 'a'), (20, 'b'), (10, 'c')], bytes).collect::<String>();
    assert_eq!([0, 1, 20, 21, 30, 31, 1000].map(found), ["", "b", "b", "bc", "bc", "bca", "bca"]);
}
