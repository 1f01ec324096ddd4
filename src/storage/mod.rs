//! Messages as bytes: one layout in memory, on disk and in a replication log.

pub mod chunk;
pub mod record;
