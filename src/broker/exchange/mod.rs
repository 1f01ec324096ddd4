//! Exchanges: what they are, and what their bindings match.

mod direct;
mod fanout;
mod headers;
mod seen;
mod topic;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use amq_protocol::types::{AMQPValue, FieldTable};

use self::direct::Direct;
use self::fanout::Fanout;
use self::headers::Headers;
pub(super) use self::seen::Seen;
use self::topic::Topic;
use crate::broker::binding::{Binding, Destination};
use crate::error::Fault;

/// Identifies an exchange for the life of the process; a name may be deleted and declared again, an id never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

static NEXT_EXCHANGE_ID: AtomicU64 = AtomicU64::new(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl ExchangeKind {
    pub fn name(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Headers => "headers",
        }
    }

    /// # Errors
    /// 406 for any other type: a channel error, as in RabbitMQ 4 (before it was 503, a connection error).
    pub fn parse(name: &str) -> Result<ExchangeKind, Fault> {
        match name {
            "direct" => Ok(ExchangeKind::Direct),
            "fanout" => Ok(ExchangeKind::Fanout),
            "topic" => Ok(ExchangeKind::Topic),
            "headers" => Ok(ExchangeKind::Headers),
            _ => Err(Fault::precondition_failed(format!("unknown exchange type '{name}'"))),
        }
    }

    /// Checks what a binding's arguments mean to its source.
    ///
    /// # Errors
    /// 406 if it is a headers exchange and `x-match` is none of the four forms.
    pub fn validate_binding(self, arguments: &FieldTable) -> Result<(), Fault> {
        match self {
            ExchangeKind::Headers => headers::validate(arguments),
            ExchangeKind::Direct | ExchangeKind::Fanout | ExchangeKind::Topic => Ok(()),
        }
    }
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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
    /// Where messages go that no binding matches: the argument `alternate-exchange`.
    pub alternate_exchange: Option<Arc<str>>,
    generation: AtomicU64,
    deleted: AtomicBool,
    bindings: RwLock<Bindings>,
}

/// How many bindings are taken away before publishers get a chance to read.
const REMOVED_AT_ONCE: usize = 1024;

impl Exchange {
    pub fn new(definition: ExchangeDefinition) -> Arc<Exchange> {
        Arc::new(Exchange {
            id: ExchangeId(NEXT_EXCHANGE_ID.fetch_add(1, Ordering::Relaxed)),
            alternate_exchange: alternate_exchange(&definition.arguments),
            bindings: RwLock::new(Bindings::new(definition.kind)),
            name: definition.name,
            kind: definition.kind,
            durable: definition.durable,
            auto_delete: definition.auto_delete,
            internal: definition.internal,
            arguments: definition.arguments,
            generation: AtomicU64::new(0),
            deleted: AtomicBool::new(false),
        })
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

    /// Adds a binding unless there is one like it. Its arguments have been validated for the exchange's kind.
    pub(super) fn add_binding(&self, binding: &Arc<Binding>) -> bool {
        let mut bindings = self.write();
        if !bindings.all.insert(binding.clone()) {
            return false;
        }
        bindings.index.insert(binding.clone());
        self.invalidate_routes();
        true
    }

    /// Takes away bindings, each of which is one of this exchange's. Returns how many are left.
    pub(super) fn remove_bindings(&self, removed: &[Arc<Binding>]) -> usize {
        for some in removed.chunks(REMOVED_AT_ONCE) {
            let mut bindings = self.write();
            some.iter().for_each(|binding| bindings.remove(binding, self.kind));
            self.invalidate_routes();
        }
        self.binding_count()
    }

    /// Marks the exchange deleted and returns the bindings that it had.
    pub(super) fn delete(&self) -> Vec<Arc<Binding>> {
        let mut bindings = self.write();
        self.deleted.store(true, Ordering::Release);
        let had = std::mem::replace(&mut *bindings, Bindings::new(self.kind));
        self.invalidate_routes();
        had.all.into_iter().collect()
    }

    /// Calls `found` with the destination of each matching binding, with a destination perhaps more than once.
    /// Returns whether any binding matched. `found` must not look at this exchange's bindings.
    pub(super) fn route<'h>(
        &self,
        routing_keys: &[&[u8]],
        headers: impl FnOnce() -> &'h FieldTable,
        mut found: impl FnMut(&Destination),
    ) -> bool {
        let bindings = self.read();
        let mut matched = false;
        let mut each = |some: &[Arc<Binding>]| {
            matched |= !some.is_empty();
            some.iter().for_each(|binding| found(&binding.destination));
        };
        match &bindings.index {
            Index::Direct(direct) => routing_keys.iter().for_each(|key| each(direct.matches(key))),
            Index::Fanout(fanout) => each(fanout.matches()),
            Index::Topic(topic) => routing_keys.iter().for_each(|key| topic.for_each_match(key, &mut each)),
            Index::Headers(_) if bindings.all.is_empty() => {}
            Index::Headers(matcher) => {
                matcher.matches(headers()).for_each(|binding| each(std::slice::from_ref(binding)));
            }
        }
        matched
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
fn alternate_exchange(arguments: &FieldTable) -> Option<Arc<str>> {
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
    fn new(kind: ExchangeKind) -> Bindings {
        Bindings { all: HashSet::new(), index: Index::new(kind) }
    }

    fn remove(&mut self, binding: &Binding, kind: ExchangeKind) {
        assert!(self.all.remove(binding), "a binding is with its source");
        self.index.remove(binding);
        if self.all.is_empty() {
            // Gives back the memory of what may have been many.
            *self = Bindings::new(kind);
        }
    }
}

enum Index {
    Direct(Direct),
    Fanout(Fanout),
    Topic(Topic),
    Headers(Headers),
}

impl Index {
    fn new(kind: ExchangeKind) -> Index {
        match kind {
            ExchangeKind::Direct => Index::Direct(Direct::default()),
            ExchangeKind::Fanout => Index::Fanout(Fanout::default()),
            ExchangeKind::Topic => Index::Topic(Topic::default()),
            ExchangeKind::Headers => Index::Headers(Headers::default()),
        }
    }

    fn insert(&mut self, binding: Arc<Binding>) {
        match self {
            Index::Direct(direct) => direct.insert(binding),
            Index::Fanout(fanout) => fanout.insert(binding),
            Index::Topic(topic) => topic.insert(binding),
            Index::Headers(headers) => headers.insert(binding),
        }
    }

    fn remove(&mut self, binding: &Binding) {
        match self {
            Index::Direct(direct) => direct.remove(binding),
            Index::Fanout(fanout) => fanout.remove(binding),
            Index::Topic(topic) => topic.remove(binding),
            Index::Headers(headers) => headers.remove(binding),
        }
    }
}
