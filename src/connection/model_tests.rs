//! Connections without their sockets: bytes in, bytes out, against models with one entry a message.

mod batch;
mod clients;
mod peer;
mod traps;
