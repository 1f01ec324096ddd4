//! Leveret: an AMQP 0-9-1 broker that existing clients use unchanged.

pub mod broker;
pub mod error;
