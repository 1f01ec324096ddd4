//! Leveret: an AMQP 0-9-1 broker that existing clients use unchanged.

pub mod bench;
pub mod broker;
pub mod channel;
pub mod cli;
pub mod config;
pub mod connection;
pub mod ctl;
pub mod definitions;
pub mod error;
pub mod limits;
pub mod logging;
#[cfg(test)]
mod model_testing;
pub mod server;
pub mod storage;
pub mod time;
pub mod wire;
