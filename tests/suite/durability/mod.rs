//! What is there after the broker has ended and has been started again: nothing less than what was promised, and
//! nothing else. Every rule holds after an orderly stop, after a kill, and after several ends in a row.

mod bindings;
pub mod client;
mod dedup;
mod definitions;
mod delayed;
mod deleted;
mod directory;
mod exchange_types;
mod messages;
pub mod node;
pub mod process;
pub mod publisher;
mod rabbitmq;
mod redelivered;
mod settled;
mod space;
