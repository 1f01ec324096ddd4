//! Exchanges: what they are, and what their bindings match.

mod consistent_hash;
mod dedup;
mod delaying;
mod direct;
mod fanout;
mod hash;
mod headers;
mod index;
mod kind;
mod modulus_hash;
mod policies;
mod random;
mod recent_history;
mod seen;
mod topic;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use amq_protocol::types::{AMQPValue, FieldTable};

use self::delaying::Delaying;
use self::index::Index;
pub use self::kind::ExchangeKind;
use self::random::Draws;
pub(super) use self::recent_history::Remembered;
pub(super) use self::seen::Seen;
use crate::broker::binding::{Binding, Destination};
use crate::broker::dedup::Deduplication;
use crate::broker::definitions::HiddenOwner;
use crate::broker::policy::AppliedPolicies;
use crate::broker::queue::Queue;
use crate::broker::router::Asked;
use crate::storage::store::Store;

/// Identifies an exchange for the life of the process; a name may be deleted and declared again, an id never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

static NEXT_EXCHANGE_ID: AtomicU64 = AtomicU64::new(1);

/// What a client asked for when it declared the exchange; does not change while the exchange lives.
#[derive(Clone, Debug)]
pub struct ExchangeDefinition {
    pub name: Arc<str>,
    pub kind: ExchangeKind,
    pub durable: bool,
    /// Deleted when its last binding as a source goes.
    pub auto_delete: bool,
    /// Clients cannot publish to it; other exchanges can be bound to it.
    pub internal: bool,
    pub arguments: FieldTable,
}

impl ExchangeDefinition {
    /// A durable exchange with no other properties, as the predeclared ones are.
    pub fn durable(name: &str, kind: ExchangeKind) -> ExchangeDefinition {
        let arguments = FieldTable::default();
        ExchangeDefinition { name: name.into(), kind, durable: true, auto_delete: false, internal: false, arguments }
    }
}

/// An exchange and the bindings of which it is the source.
///
/// Its generation grows with every change of these bindings and with its deletion, after the change: a route
/// that was read at a generation holds while the generation stands.
pub struct Exchange {
    pub id: ExchangeId,
    pub name: Arc<str>,
    pub kind: ExchangeKind,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    /// The argument `alternate-exchange`; see [`Exchange::alternate_exchange`].
    alternate_argument: Option<Arc<str>>,
    /// Those that apply; off the hot path.
    policies: Mutex<AppliedPolicies>,
    generation: AtomicU64,
    deleted: AtomicBool,
    bindings: RwLock<Bindings>,
    /// For the types that choose by chance.
    draws: Draws,
    /// Whether exchange and routing key decide where a message goes, as long as the bindings stand.
    routes_by_key: bool,
    /// Whether there is a window that is looked at.
    deduplicates: AtomicBool,
    window: Mutex<Option<Box<Deduplication>>>,
    /// Where a durable exchange keeps it.
    keeps_window: OnceLock<(Arc<Store>, HiddenOwner)>,
    delaying: Delaying,
}

/// How many bindings are taken away before publishers get a chance to read.
const REMOVED_AT_ONCE: usize = 1024;

impl Exchange {
    pub fn new(definition: ExchangeDefinition) -> Arc<Exchange> {
        let bindings = Bindings::new(Index::new(definition.kind, &definition.arguments));
        let exchange = Exchange {
            delaying: Delaying::new(&definition),
            id: ExchangeId(NEXT_EXCHANGE_ID.fetch_add(1, Ordering::Relaxed)),
            routes_by_key: bindings.index.routes_by_key(),
            bindings: RwLock::new(bindings),
            draws: Draws::seeded(rand::random()),
            alternate_argument: alternate_argument(&definition.arguments),
            policies: Mutex::default(),
            name: definition.name,
            kind: definition.kind,
            durable: definition.durable,
            auto_delete: definition.auto_delete,
            internal: definition.internal,
            arguments: definition.arguments,
            generation: AtomicU64::new(0),
            deleted: AtomicBool::new(false),
            deduplicates: AtomicBool::new(false),
            window: Mutex::default(),
            keeps_window: OnceLock::new(),
        };
        Arc::new(exchange)
    }

    /// The type as which it routes: its own, unless it is one that holds messages back for another.
    pub fn routes_as(&self) -> ExchangeKind {
        self.kind.routes_as(&self.arguments)
    }

    /// The nameless exchange, which routes by queue name and has no bindings.
    pub fn is_default(&self) -> bool {
        self.name.is_empty()
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes publishers forget the routes that they hold through this exchange. To be called after the change
    /// that those routes do not know.
    pub(super) fn invalidate_routes(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether the exchange has been deleted. Once true it stays true.
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub fn binding_count(&self) -> usize {
        self.read().all.len()
    }

    /// The bindings of which this exchange is the source, in no particular order.
    pub fn bindings(&self) -> Vec<Arc<Binding>> {
        self.read().all.iter().cloned().collect()
    }

    /// The binding equal to `binding`, if there is one.
    pub fn find_binding(&self, binding: &Binding) -> Option<Arc<Binding>> {
        self.read().all.get(binding).cloned()
    }

    /// Adds a binding unless there is one like it. It has been validated for the exchange's kind. Returns the messages
    /// that it is to get of those that were routed before; `None` if it is not new.
    pub(super) fn add_binding(&self, binding: &Arc<Binding>) -> Option<Vec<Remembered>> {
        let mut bindings = self.write();
        if !bindings.all.insert(binding.clone()) {
            return None;
        }
        bindings.index.insert(binding.clone());
        self.invalidate_routes();
        Some(bindings.index.history())
    }

    /// Takes away bindings, each of which is one of this exchange's. Returns how many are left.
    pub(super) fn remove_bindings(&self, removed: &[Arc<Binding>]) -> usize {
        for some in removed.chunks(REMOVED_AT_ONCE) {
            let mut bindings = self.write();
            some.iter().for_each(|binding| bindings.remove(binding));
            self.invalidate_routes();
        }
        self.binding_count()
    }

    /// Marks the exchange deleted and returns the bindings that it had.
    pub(super) fn delete(&self) -> Vec<Arc<Binding>> {
        let mut bindings = self.write();
        self.deleted.store(true, Ordering::Release);
        let had = std::mem::replace(&mut *bindings, Bindings::new(Index::new(self.kind, &self.arguments)));
        self.invalidate_routes();
        had.all.into_iter().collect()
    }

    /// Whether exchange and routing key decide where a message goes, as long as the bindings stand.
    pub(super) fn routes_by_key(&self) -> bool {
        self.routes_by_key
    }

    /// Calls `found` with the destination of each matching binding, with a destination perhaps more than once.
    /// Returns whether any binding matched. `found` must not look at this exchange's bindings.
    pub(super) fn route(
        &self,
        routing_keys: &[&[u8]],
        message: &mut Asked<'_>,
        mut found: impl FnMut(&Destination),
    ) -> bool {
        let bindings = self.read();
        let mut matched = false;
        bindings.index.matches(routing_keys, message, &self.draws, &mut |some: &[Arc<Binding>]| {
            matched |= !some.is_empty();
            some.iter().for_each(|binding| found(&binding.destination));
        });
        matched
    }

    /// The queues of which each message goes to one, drawn by [`draw`](Self::draw), if that is how this exchange routes
    /// and they are not too many. A queue is among them once for each binding.
    pub(super) fn candidates(&self) -> Option<Vec<Arc<Queue>>> {
        const CANDIDATES_MAX: usize = 1024;
        let bindings = self.read();
        let Index::Random(random) = &bindings.index else { return None };
        if !(1..=CANDIDATES_MAX).contains(&random.all().len()) {
            return None;
        }
        let queues = random.all().iter().map(|binding| match &binding.destination {
            Destination::Queue(queue) => Some(queue.clone()),
            Destination::Exchange(_) => None,
        });
        queues.collect()
    }

    /// By chance, a number below `n`, which is not 0.
    pub fn draw(&self, n: usize) -> usize {
        self.draws.draw(n)
    }

    fn read(&self) -> RwLockReadGuard<'_, Bindings> {
        self.bindings.read().expect("no code panics while it holds the bindings")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Bindings> {
        self.bindings.write().expect("no code panics while it holds the bindings")
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} exchange '{}'", self.kind, self.name)
    }
}

/// A name that no exchange can have (not UTF-8) counts as none: it would never be found.
fn alternate_argument(arguments: &FieldTable) -> Option<Arc<str>> {
    match arguments.inner().get("alternate-exchange") {
        Some(AMQPValue::LongString(name)) => std::str::from_utf8(name.as_bytes()).ok().map(Arc::from),
        _ => None,
    }
}

/// The bindings of an exchange: by identity, and as its kind matches them.
struct Bindings {
    all: HashSet<Arc<Binding>>,
    index: Index,
}

impl Bindings {
    fn new(index: Index) -> Bindings {
        Bindings { all: HashSet::new(), index }
    }

    fn remove(&mut self, binding: &Binding) {
        assert!(self.all.remove(binding), "a binding is with its source");
        self.index.remove(binding);
        if self.all.is_empty() {
            // Gives back the memory of what may have been many.
            self.all = HashSet::new();
            self.index.emptied();
        }
    }
}
