//! The types of exchanges, and what each asks of its arguments and bindings.

use std::fmt;

use amq_protocol::types::FieldTable;

use super::{consistent_hash, dedup, delaying, headers, random, recent_history};
use crate::broker::arguments::Resource;
use crate::broker::binding::Destination;
use crate::error::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash,
    ModulusHash,
    Random,
    LocalRandom,
    RecentHistory,
    /// Holds messages back, then routes as another type.
    Delayed,
    MessageDeduplication,
}

impl ExchangeKind {
    const ALL: [ExchangeKind; 11] = [
        ExchangeKind::Direct,
        ExchangeKind::Fanout,
        ExchangeKind::Topic,
        ExchangeKind::Headers,
        ExchangeKind::ConsistentHash,
        ExchangeKind::ModulusHash,
        ExchangeKind::Random,
        ExchangeKind::LocalRandom,
        ExchangeKind::RecentHistory,
        ExchangeKind::Delayed,
        ExchangeKind::MessageDeduplication,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Headers => "headers",
            ExchangeKind::ConsistentHash => "x-consistent-hash",
            ExchangeKind::ModulusHash => "x-modulus-hash",
            ExchangeKind::Random => "x-random",
            ExchangeKind::LocalRandom => "x-local-random",
            ExchangeKind::RecentHistory => "x-recent-history",
            ExchangeKind::Delayed => "x-delayed-message",
            ExchangeKind::MessageDeduplication => "x-message-deduplication",
        }
    }

    /// # Errors
    /// 406 for any other type: a channel error, as in RabbitMQ 4 (before it was 503, a connection error).
    pub fn parse(name: &str) -> Result<ExchangeKind, Fault> {
        let found = ExchangeKind::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| Fault::precondition_failed(format!("unknown exchange type '{name}'")))
    }

    /// The type as which an exchange of this type routes that was declared with these arguments.
    pub fn routes_as(self, arguments: &FieldTable) -> ExchangeKind {
        match self {
            ExchangeKind::Delayed => delaying::delayed_type(arguments).unwrap_or(ExchangeKind::Direct),
            kind => kind,
        }
    }

    /// Checks the arguments with which an exchange of this type is declared.
    ///
    /// # Errors
    /// 406, see [`consistent_hash::HashOn::of`], [`recent_history::length`], [`dedup::validate`] and
    /// [`delaying::delayed_type`]; other types have no arguments.
    pub fn validate_arguments(self, exchange: Resource<'_>, arguments: &FieldTable) -> Result<(), Fault> {
        delaying::validate_delays(exchange, arguments)?;
        match self {
            ExchangeKind::Delayed => delaying::delayed_type(arguments)?.validate_arguments(exchange, arguments),
            ExchangeKind::ConsistentHash => consistent_hash::validate(exchange, arguments),
            ExchangeKind::RecentHistory => recent_history::length(arguments).map(|_| ()),
            ExchangeKind::MessageDeduplication => dedup::validate(arguments),
            _ => Ok(()),
        }
    }

    /// Checks what a binding means to its source.
    ///
    /// # Errors
    /// 406 if it is a headers exchange and `x-match` is none of the four forms; if it hashes consistently and the
    /// binding key is no weight; if it is a local random exchange and the binding key is not empty or the
    /// destination no classic queue.
    pub fn validate_binding(
        self,
        routing_key: &[u8],
        arguments: &FieldTable,
        destination: &Destination,
    ) -> Result<(), Fault> {
        match self {
            ExchangeKind::Headers => headers::validate(arguments),
            ExchangeKind::ConsistentHash => consistent_hash::weight(routing_key).map(|_| ()),
            ExchangeKind::LocalRandom => random::validate_local(routing_key, destination),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
