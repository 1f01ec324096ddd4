//! Definitions as JSON, in RabbitMQ's format: everything but messages goes out into one document, and comes in again,
//! here or in another broker.
//!
//! A document is read as a whole before anything is changed; one that is not understood changes nothing. Of one that is,
//! what this broker does not have, or has otherwise, is left out and reported.

mod arguments;
pub mod boot;
mod document;
mod export;
mod fields;
mod import;
mod report;
#[cfg(test)]
mod tests;

pub use self::arguments::{argument_values, arguments_of};
pub use self::fields::DefinitionsError;
pub use self::report::{Counts, Note, Report};

/// What a name in a vhost may begin with that only brokers give.
const RESERVED_PREFIX: &str = "amq.";
