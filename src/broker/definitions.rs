//! Definitions as rows: virtual hosts, users, and the durable exchanges, queues and bindings, as the store keeps them.
//!
//! To the store a row is a key and a value, opaque but for one thing: dropping a queue drops the row under
//! [`queue_key`]. Numbers are big-endian; `str` is a `u16` of its length and so many bytes, text in UTF-8 but for
//! routing keys; a table is a field table in AMQP's wire form, its length first.
//!
//! ```text
//! key                                               value
//! 01 name: str                                      version  flags  description: str
//!                                                   queue type: str
//!                                                   tags: u16  tag: str ...        virtual host
//! 02 name: str                                      version  algorithm
//!                                                   salt: 4 bytes  digest
//!                                                   tags: u16  tag: str ...
//!                                                   limits  limit: i64 ...         user
//! 03 vhost: str  name: str                          version  type  flags
//!                                                   arguments: table               exchange
//! 04 id: u64                                        version  flags  vhost: str  name: str
//!                                                   arguments: table               queue
//! 05 vhost: str  destination  source: str           version
//!    routing key: str  digest                       arguments: table               binding
//! 06 vhost: str  user: str                          version  configure: str
//!                                                   write: str  read: str          permission
//! 07 vhost: str  user: str  exchange: str           version  write: str  read: str topic permission
//! 08 vhost: str  component: str  name: str          version  JSON: u32 of its length
//!                                                   and so many bytes              parameter
//! 09 name: str                                      version  JSON                  global parameter
//! 0A id: u64                                        version  level  owner          hidden queue of delayed messages
//! 0B id: u64                                        version  owner                 hidden queue of remembered keys
//!
//! version      02 of virtual hosts and users, else 01
//! type         01 direct   02 fanout   03 topic   04 headers   05 x-consistent-hash   06 x-modulus-hash
//!              07 x-random   08 x-local-random   09 x-recent-history   0A x-delayed-message
//!              0B x-message-deduplication
//! flags        bit 0 auto-delete, of virtual hosts: protected from deletion   bit 1 internal (exchanges only)
//! queue type   the default one of the virtual host, empty if there is none
//! algorithm    00 no password: no salt, no digest   01 SHA-256: 32 bytes   02 SHA-512: 64   03 MD5: 16
//! limits       bit 0 there is one of connections   bit 1 of channels
//! destination  04 id: u64 (a queue)   03 name: str (an exchange)
//! owner        04 id: u64 (a queue)   03 vhost: str  name: str (an exchange)
//! digest       in a key: of the arguments as the value has them: nothing if there are none, else their SHA-256
//! ```
//!
//! Version 01 of a virtual host had nothing after the version, that of a user no algorithm, which was SHA-256, and no
//! limits. Both are from before there were permissions.
//!
//! Keys sort so that whatever a row refers to comes before it. What is to be added later gets a new version of its
//! kind: bytes after the end, flags, types and versions that are not known here are refused, never dropped, so that
//! an older broker does not lose what a newer one wrote.

mod access;

use std::fmt;
use std::sync::Arc;

use amq_protocol::types::FieldTable;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::broker::binding::{Binding, Destination};
use crate::broker::delay::LEVELS as DELAY_LEVELS;
use crate::broker::exchange::{Exchange, ExchangeDefinition, ExchangeKind};
use crate::broker::parameter::Parameter;
use crate::broker::permission::{PermissionDefinition, TopicPermissionDefinition};
use crate::broker::queue::{Queue, QueueDefinition, QueueId};
use crate::broker::user::UserDefinition;
use crate::broker::vhost::VHostMetadata;
use crate::storage::log::Change;
pub use crate::storage::queue_key;
use crate::wire::table::{self, TableError};

/// The version of rows of virtual hosts and users that came with permissions.
const WITH_PERMISSIONS: u8 = 2;

const VHOST: u8 = 1;
const USER: u8 = 2;
const EXCHANGE: u8 = 3;
const QUEUE: u8 = 4;
const BINDING: u8 = 5;
const PERMISSION: u8 = 6;
const TOPIC_PERMISSION: u8 = 7;
const PARAMETER: u8 = 8;
const GLOBAL_PARAMETER: u8 = 9;
const DELAYS: u8 = 0x0A;

const WINDOW: u8 = 0x0B;

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;

const KINDS: [(ExchangeKind, u8); 11] = [
    (ExchangeKind::Direct, 1),
    (ExchangeKind::Fanout, 2),
    (ExchangeKind::Topic, 3),
    (ExchangeKind::Headers, 4),
    (ExchangeKind::ConsistentHash, 5),
    (ExchangeKind::ModulusHash, 6),
    (ExchangeKind::Random, 7),
    (ExchangeKind::LocalRandom, 8),
    (ExchangeKind::RecentHistory, 9),
    (ExchangeKind::Delayed, 10),
    (ExchangeKind::MessageDeduplication, 0x0B),
];

/// One row.
#[derive(Clone, Debug)]
pub enum Definition {
    VHost {
        name: Arc<str>,
        metadata: VHostMetadata,
    },
    User(UserDefinition),
    /// A durable one.
    Exchange {
        vhost: Arc<str>,
        definition: ExchangeDefinition,
    },
    /// A durable one, which no connection owns.
    Queue {
        id: QueueId,
        definition: QueueDefinition,
    },
    Binding(BindingDefinition),
    Permission(PermissionDefinition),
    TopicPermission(TopicPermissionDefinition),
    /// A runtime parameter, as policies and limits of virtual hosts are too.
    Parameter(Parameter),
    GlobalParameter {
        name: Arc<str>,
        value: Arc<Value>,
    },
    /// The hidden queue whose lanes hold delayed messages of one level of somebody's wheel.
    Delays {
        id: QueueId,
        level: u8,
        owner: HiddenOwner,
    },
    /// Where the keys are that a durable queue or exchange remembers, to tell duplicates.
    Window {
        id: QueueId,
        owner: HiddenOwner,
    },
}

/// Who has a hidden queue, as a row names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HiddenOwner {
    Queue(QueueId),
    Exchange { vhost: Arc<str>, name: Arc<str> },
}

/// A binding whose both ends are durable.
#[derive(Clone, Debug)]
pub struct BindingDefinition {
    pub vhost: Arc<str>,
    pub source: Arc<str>,
    pub destination: BoundTo,
    pub routing_key: Arc<[u8]>,
    pub arguments: FieldTable,
}

/// The destination of a binding, as a row names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundTo {
    Queue(QueueId),
    Exchange(Arc<str>),
}

/// A row that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the definition of {what} cannot be read: {flaw}")]
pub struct DefinitionError {
    /// What it defines, as far as its key tells.
    pub what: String,
    pub flaw: Flaw,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it is cut short")]
    CutShort,
    #[error("something follows its end")]
    TooLong,
    #[error("a name in it is not UTF-8")]
    NotText,
    #[error("it has version {version}, and this broker knows them up to {known} only")]
    UnknownVersion { version: u8, known: u8 },
    #[error("its {field} is {code:#04x}, which this broker does not know")]
    UnknownCode { field: &'static str, code: u8 },
    #[error("its default queue type is none that this broker knows")]
    UnknownQueueType,
    #[error("its arguments are damaged: {0}")]
    Arguments(#[from] TableError),
    #[error("its value is no JSON: {0}")]
    NotJson(String),
    #[error("its key is that of other arguments")]
    OtherArguments,
}

impl Definition {
    pub fn exchange(vhost: &Arc<str>, exchange: &Exchange) -> Definition {
        let definition = ExchangeDefinition {
            name: exchange.name.clone(),
            kind: exchange.kind,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: exchange.arguments.clone(),
        };
        Definition::Exchange { vhost: vhost.clone(), definition }
    }

    pub fn queue(queue: &Queue) -> Definition {
        Definition::Queue { id: queue.id, definition: queue.definition_now() }
    }

    pub fn binding(vhost: &Arc<str>, binding: &Binding) -> Definition {
        Definition::Binding(BindingDefinition {
            vhost: vhost.clone(),
            source: binding.source.clone(),
            destination: match &binding.destination {
                Destination::Queue(queue) => BoundTo::Queue(queue.id),
                Destination::Exchange(exchange) => BoundTo::Exchange(exchange.name.clone()),
            },
            routing_key: binding.routing_key.clone(),
            arguments: binding.arguments.clone(),
        })
    }

    pub fn key(&self) -> Vec<u8> {
        match self {
            Definition::VHost { name, .. } => key_of(VHOST, &[name]),
            Definition::User(user) => key_of(USER, &[&user.name]),
            Definition::Exchange { vhost, definition } => key_of(EXCHANGE, &[vhost, &definition.name]),
            Definition::Queue { id, .. } => queue_key(*id),
            Definition::Binding(binding) => binding.key(),
            Definition::Permission(permission) => key_of(PERMISSION, &[&permission.vhost, &permission.user]),
            Definition::TopicPermission(topic) => {
                key_of(TOPIC_PERMISSION, &[&topic.vhost, &topic.user, &topic.exchange])
            }
            Definition::Parameter(Parameter { vhost, component, name, .. }) => {
                key_of(PARAMETER, &[vhost, component, name])
            }
            Definition::GlobalParameter { name, .. } => key_of(GLOBAL_PARAMETER, &[name]),
            Definition::Delays { id, .. } => [&[DELAYS][..], &id.0.to_be_bytes()].concat(),
            Definition::Window { id, .. } => [&[WINDOW][..], &id.0.to_be_bytes()].concat(),
        }
    }

    pub fn value(&self) -> Vec<u8> {
        let mut out = vec![newest_version(self.key()[0])];
        match self {
            Definition::VHost { metadata, .. } => access::push_vhost(&mut out, metadata),
            Definition::User(user) => access::push_user(&mut out, user),
            Definition::Permission(permission) => access::push_permission(&mut out, permission),
            Definition::TopicPermission(topic) => access::push_topic_permission(&mut out, topic),
            Definition::Exchange { definition, .. } => {
                out.push(KINDS.iter().find(|(kind, _)| *kind == definition.kind).expect("every kind has a code").1);
                out.push(flag(definition.auto_delete, AUTO_DELETE) | flag(definition.internal, INTERNAL));
                table::encode(&mut out, &definition.arguments);
            }
            Definition::Queue { definition, .. } => {
                out.push(flag(definition.auto_delete, AUTO_DELETE));
                push(&mut out, definition.vhost.as_bytes());
                push(&mut out, definition.name.as_bytes());
                table::encode(&mut out, &definition.arguments);
            }
            Definition::Binding(binding) => table::encode(&mut out, &binding.arguments),
            Definition::Parameter(Parameter { value, .. }) | Definition::GlobalParameter { value, .. } => {
                let json = value.to_string();
                out.extend(u32::try_from(json.len()).expect("it has been checked").to_be_bytes());
                out.extend(json.into_bytes());
            }
            Definition::Delays { level, owner, .. } => {
                out.push(*level);
                push_owner(&mut out, owner);
            }
            Definition::Window { owner, .. } => push_owner(&mut out, owner),
        }
        out
    }

    /// The row comes to be, or replaces the one with its key.
    pub fn put(&self) -> Change {
        Change { key: self.key(), value: Some(self.value()) }
    }

    /// The row goes.
    pub fn delete(&self) -> Change {
        Change { key: self.key(), value: None }
    }

    /// Reads what [`key`](Definition::key) and [`value`](Definition::value) write.
    ///
    /// # Errors
    /// For anything else, whatever bytes they are; the error names what cannot be read.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Definition, DefinitionError> {
        read(key, value).map_err(|flaw| DefinitionError { what: described(key), flaw })
    }
}

impl BindingDefinition {
    fn key(&self) -> Vec<u8> {
        let mut out = key_of(BINDING, &[&self.vhost]);
        match &self.destination {
            BoundTo::Queue(id) => out.extend(queue_key(*id)),
            BoundTo::Exchange(name) => {
                out.push(EXCHANGE);
                push(&mut out, name.as_bytes());
            }
        }
        push(&mut out, self.source.as_bytes());
        push(&mut out, &self.routing_key);
        if !self.arguments.inner().is_empty() {
            let mut wire = Vec::new();
            table::encode(&mut wire, &self.arguments);
            out.extend(Sha256::digest(&wire));
        }
        out
    }
}

fn key_of(kind: u8, names: &[&str]) -> Vec<u8> {
    let mut key = vec![kind];
    names.iter().for_each(|name| push(&mut key, name.as_bytes()));
    key
}

fn push_owner(out: &mut Vec<u8>, owner: &HiddenOwner) {
    match owner {
        HiddenOwner::Queue(id) => out.extend(queue_key(*id)),
        HiddenOwner::Exchange { vhost, name } => out.extend(key_of(EXCHANGE, &[vhost, name])),
    }
}

/// Names and routing keys are short strings of AMQP, of at most 255 bytes.
fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(short(bytes.len()).to_be_bytes());
    out.extend(bytes);
}

fn short(length: usize) -> u16 {
    u16::try_from(length).expect("names, routing keys and tags have been checked")
}

fn flag(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}

/// Whether a row is of a user, and from before there were permissions: everyone had all of them.
pub fn is_user_without_permissions(key: &[u8], value: &[u8]) -> bool {
    key.first() == Some(&USER) && value.first().is_some_and(|version| *version < WITH_PERMISSIONS)
}

fn newest_version(kind: u8) -> u8 {
    match kind {
        VHOST | USER => WITH_PERMISSIONS,
        _ => 1,
    }
}

fn read(key: &[u8], value: &[u8]) -> Result<Definition, Flaw> {
    let (mut key, mut value) = (Reader(key), Reader(value));
    let kind = key.u8()?;
    let read: fn(&mut Reader<'_>, &mut Reader<'_>) -> Result<Definition, Flaw> = match kind {
        VHOST => access::read_vhost,
        USER => access::read_user,
        EXCHANGE => read_exchange,
        QUEUE => read_queue,
        BINDING => read_binding,
        PERMISSION => access::read_permission,
        TOPIC_PERMISSION => access::read_topic_permission,
        PARAMETER => read_parameter,
        GLOBAL_PARAMETER => |key, value| Ok(Definition::GlobalParameter { name: key.name()?, value: value.json()? }),
        DELAYS => read_delays,
        WINDOW => read_window,
        code => return Err(Flaw::UnknownCode { field: "kind", code }),
    };
    let read = match (kind, value.version(newest_version(kind))?) {
        (VHOST, 1) => access::read_first_vhost,
        (USER, 1) => access::read_first_user,
        _ => read,
    };
    let definition = read(&mut key, &mut value)?;
    key.end()?;
    value.end()?;
    Ok(definition)
}

fn read_exchange(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    let (vhost, name) = (key.name()?, key.name()?);
    let code = value.u8()?;
    let Some((kind, _)) = KINDS.iter().find(|(_, known)| *known == code) else {
        return Err(Flaw::UnknownCode { field: "exchange type", code });
    };
    let flags = value.flags(AUTO_DELETE | INTERNAL)?;
    let definition = ExchangeDefinition {
        name,
        kind: *kind,
        durable: true,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        arguments: value.table()?,
    };
    Ok(Definition::Exchange { vhost, definition })
}

fn read_queue(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    let id = key.queue_id()?;
    let flags = value.flags(AUTO_DELETE)?;
    let definition = QueueDefinition {
        vhost: value.name()?,
        name: value.name()?,
        durable: true,
        auto_delete: flags & AUTO_DELETE != 0,
        exclusive_owner: None,
        arguments: value.table()?,
    };
    Ok(Definition::Queue { id, definition })
}

fn read_binding(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    let whole = key.0;
    let vhost = key.name()?;
    let destination = key.bound_to()?;
    let binding = BindingDefinition {
        vhost,
        destination,
        source: key.name()?,
        routing_key: key.bytes()?.into(),
        arguments: value.table()?,
    };
    // One byte was the kind.
    if binding.key()[1..] != *whole {
        return Err(Flaw::OtherArguments);
    }
    key.0 = &[];
    Ok(Definition::Binding(binding))
}

fn read_delays(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    let id = key.queue_id()?;
    let level = match value.u8()? {
        level if usize::from(level) < DELAY_LEVELS => level,
        code => return Err(Flaw::UnknownCode { field: "level", code }),
    };
    Ok(Definition::Delays { id, level, owner: value.owner()? })
}

fn read_window(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    Ok(Definition::Window { id: key.queue_id()?, owner: value.owner()? })
}

fn read_parameter(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<Definition, Flaw> {
    let (vhost, component, name) = (key.name()?, key.name()?, key.name()?);
    Ok(Definition::Parameter(Parameter { vhost, component, name, value: value.json()? }))
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Flaw::CutShort)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, Flaw> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Flaw> {
        self.array().map(i64::from_be_bytes)
    }

    fn queue_id(&mut self) -> Result<QueueId, Flaw> {
        self.array().map(|bytes| QueueId(u64::from_be_bytes(bytes)))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.u16()?.into();
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Flaw::CutShort)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn name(&mut self) -> Result<Arc<str>, Flaw> {
        std::str::from_utf8(self.bytes()?).map(Arc::from).map_err(|_| Flaw::NotText)
    }

    fn bound_to(&mut self) -> Result<BoundTo, Flaw> {
        match self.u8()? {
            QUEUE => self.queue_id().map(BoundTo::Queue),
            EXCHANGE => self.name().map(BoundTo::Exchange),
            code => Err(Flaw::UnknownCode { field: "destination", code }),
        }
    }

    fn owner(&mut self) -> Result<HiddenOwner, Flaw> {
        match self.u8()? {
            QUEUE => self.queue_id().map(HiddenOwner::Queue),
            EXCHANGE => Ok(HiddenOwner::Exchange { vhost: self.name()?, name: self.name()? }),
            code => Err(Flaw::UnknownCode { field: "owner", code }),
        }
    }

    fn version(&mut self, known: u8) -> Result<u8, Flaw> {
        match self.u8()? {
            version if (1..=known).contains(&version) => Ok(version),
            version => Err(Flaw::UnknownVersion { version, known }),
        }
    }

    fn flags(&mut self, known: u8) -> Result<u8, Flaw> {
        match self.u8()? {
            flags if flags & !known == 0 => Ok(flags),
            code => Err(Flaw::UnknownCode { field: "flags", code }),
        }
    }

    /// However deep it is: it was accepted once.
    fn table(&mut self) -> Result<FieldTable, Flaw> {
        let (entries, rest) = table::split(self.0)?;
        self.0 = rest;
        Ok(table::decode_entries(entries, u8::MAX)?)
    }

    fn json(&mut self) -> Result<Arc<Value>, Flaw> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Flaw::CutShort)?;
        self.0 = rest;
        serde_json::from_slice(text).map(Arc::new).map_err(|error| Flaw::NotJson(error.to_string()))
    }

    fn end(&self) -> Result<(), Flaw> {
        if self.0.is_empty() { Ok(()) } else { Err(Flaw::TooLong) }
    }
}

/// What a key is the key of, as texts name it, as far as it can be read.
fn described(key: &[u8]) -> String {
    describe(&mut Reader(key)).unwrap_or_else(|_| format!("something with the key {}", Hex(key)))
}

fn describe(key: &mut Reader<'_>) -> Result<String, Flaw> {
    Ok(match key.u8()? {
        VHOST => format!("virtual host '{}'", key.name()?),
        USER => format!("user '{}'", key.name()?),
        EXCHANGE => {
            let vhost = key.name()?;
            format!("exchange '{}' in vhost '{vhost}'", key.name()?)
        }
        QUEUE => format!("the queue with id {}", key.queue_id()?.0),
        WINDOW => format!("the hidden queue with id {}", key.queue_id()?.0),
        BINDING => {
            let vhost = key.name()?;
            let destination = match key.bound_to()? {
                BoundTo::Queue(id) => format!("the queue with id {}", id.0),
                BoundTo::Exchange(name) => format!("exchange '{name}'"),
            };
            format!("a binding from exchange '{}' to {destination} in vhost '{vhost}'", key.name()?)
        }
        PERMISSION => {
            let vhost = key.name()?;
            format!("the permission of user '{}' in vhost '{vhost}'", key.name()?)
        }
        TOPIC_PERMISSION => {
            let (vhost, user) = (key.name()?, key.name()?);
            format!("the topic permission of user '{user}' on exchange '{}' in vhost '{vhost}'", key.name()?)
        }
        PARAMETER => {
            let (vhost, component, name) = (key.name()?, key.name()?, key.name()?);
            described_parameter(&vhost, &component, &name)
        }
        GLOBAL_PARAMETER => format!("global parameter '{}'", key.name()?),
        DELAYS => format!("the hidden queue of delayed messages with id {}", key.queue_id()?.0),
        code => return Err(Flaw::UnknownCode { field: "kind", code }),
    })
}

/// `policy 'p' in vhost '/'`, `parameter 'n' of component 'c' in vhost '/'`.
pub fn described_parameter(vhost: &str, component: &str, name: &str) -> String {
    match component {
        "policy" => format!("policy '{name}' in vhost '{vhost}'"),
        "operator_policy" => format!("operator policy '{name}' in vhost '{vhost}'"),
        _ => format!("parameter '{name}' of component '{component}' in vhost '{vhost}'"),
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests;
