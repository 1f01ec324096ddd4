//! The model: virtual hosts, exchanges, bindings, queues and users. Synchronous, without I/O.

pub mod alarm;
pub mod arguments;
pub mod binding;
pub mod exchange;
pub mod outbox;
pub mod queue;
pub mod router;
pub mod user;
pub mod vhost;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;

use self::alarm::Alarm;
use self::outbox::{Item, Outbox, Wakes};
use self::user::UserStore;
use self::vhost::VHost;
use crate::config::Config;
use crate::connection::sasl::Sasl;

/// Identifies a client connection for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Everything that connections share.
pub struct Broker {
    pub config: Config,
    pub users: UserStore,
    pub sasl: Sasl,
    vhosts: DashMap<Arc<str>, Arc<VHost>>,
    connections: DashMap<ConnectionId, Arc<Outbox>>,
    next_connection: AtomicU64,
    pub alarm: Alarm,
    stopping: AtomicBool,
}

impl Broker {
    pub fn new(config: Config) -> Arc<Broker> {
        let vhosts = DashMap::new();
        for name in &config.vhosts {
            let name: Arc<str> = name.as_str().into();
            vhosts.insert(name.clone(), VHost::new(name));
        }
        Arc::new(Broker {
            users: config.user_store(),
            sasl: config.sasl(),
            vhosts,
            connections: DashMap::new(),
            next_connection: AtomicU64::new(1),
            alarm: Alarm::default(),
            stopping: AtomicBool::new(false),
            config,
        })
    }

    pub fn vhost(&self, name: &str) -> Option<Arc<VHost>> {
        self.vhosts.get(name).map(|vhost| vhost.clone())
    }

    pub fn new_connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// Connections that are open: through with `connection.open` and not ended.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Enters an open connection. Once the broker is stopping, it is told to close at once.
    pub fn register(&self, id: ConnectionId, outbox: &Arc<Outbox>) {
        self.connections.insert(id, outbox.clone());
        if self.is_stopping() {
            self.close_all(SHUTDOWN_REASON);
        }
    }

    pub fn unregister(&self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Begins a graceful stop: every connection is closed with 320, those that are yet to open as well.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.close_all(SHUTDOWN_REASON);
    }

    fn close_all(&self, reason: &str) {
        let mut wakes = Wakes::default();
        for outbox in &self.connections {
            outbox.push(Item::Close { reason: reason.to_owned() }, &mut wakes);
            outbox.notify(&mut wakes);
        }
    }

    /// Has every connection look at the alarm.
    pub fn notify_all(&self) {
        let mut wakes = Wakes::default();
        for outbox in &self.connections {
            outbox.notify(&mut wakes);
        }
    }
}

/// What clients are told when the broker stops.
pub const SHUTDOWN_REASON: &str = "broker forced connection closure with reason 'shutdown'";
