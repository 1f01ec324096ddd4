//! Connections without their sockets: bytes in, bytes out, against models with one entry a message.

mod batch;
mod clients;
pub(super) mod disk;
mod durability;
pub(super) mod peer;
mod slow_disk;
mod traps;
