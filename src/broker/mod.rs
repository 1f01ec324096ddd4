//! The model: virtual hosts, exchanges, bindings, queues and users. Synchronous, without I/O.

pub mod queue;

/// Identifies a client connection for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);
