//! The exchange, queues and bindings that a load runs over.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use clap::ValueEnum;

use super::arguments::{self, Argument};
use super::client::{CHANNEL, Client};
use super::endpoint::Endpoint;
use super::error::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExchangeType {
    Direct,
    Fanout,
    Topic,
}

impl ExchangeType {
    fn name(self) -> &'static str {
        match self {
            ExchangeType::Direct => "direct",
            ExchangeType::Fanout => "fanout",
            ExchangeType::Topic => "topic",
        }
    }
}

/// Queues, and routes to them: route `n` leads to queue `n` modulo their number, whatever the exchange (but a fanout,
/// where each leads to all).
#[derive(Clone, Debug)]
pub struct Topology {
    /// The name of the exchange, and how those of the queues begin.
    pub name: &'static str,
    /// `None` is the default exchange, where the routes are the queues' names.
    pub exchange: Option<ExchangeType>,
    pub queues: u32,
    /// Bindings of the exchange, if they are to be more than one for each queue.
    pub bindings: Option<u32>,
    pub durable: bool,
    /// Of each queue.
    pub arguments: Vec<Argument>,
}

impl Topology {
    /// One transient queue, reached through the default exchange.
    pub fn one_queue(name: &'static str) -> Topology {
        Topology { name, exchange: None, queues: 1, bindings: None, durable: false, arguments: Vec::new() }
    }

    pub fn queue(&self, n: u32) -> String {
        format!("{}-{:05}", self.name, n % self.queues)
    }

    pub fn exchange(&self) -> &'static str {
        if self.exchange.is_some() { self.name } else { "" }
    }

    /// How many routing keys there are to choose from.
    pub fn routes(&self) -> u32 {
        if self.exchange.is_some() { self.queues.max(self.bindings.unwrap_or(0)) } else { self.queues }
    }

    /// The routing key of a route. Of the bindings of a topic exchange it matches one.
    pub fn key(&self, route: u32) -> String {
        match self.exchange {
            None => self.queue(route),
            Some(ExchangeType::Topic) => format!("b.{route:06}.eu"),
            Some(_) => format!("key-{route:06}"),
        }
    }

    fn binding_key(&self, route: u32) -> String {
        match self.exchange {
            Some(ExchangeType::Topic) => format!("b.{route:06}.*"),
            _ => self.key(route),
        }
    }

    /// Declares all anew. What a measurement that failed has left behind goes first.
    pub fn declare(&self, endpoint: &Endpoint) -> Result<()> {
        let mut client = Client::open(endpoint)?;
        self.delete_with(&mut client)?;
        if let Some(kind) = self.exchange {
            let declare = exchange::Declare {
                exchange: self.name.into(),
                kind: kind.name().into(),
                passive: false,
                durable: self.durable,
                auto_delete: false,
                internal: false,
                nowait: false,
                arguments: Default::default(),
            };
            client.call(CHANNEL, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)))?;
        }
        for n in 0..self.queues {
            client.call(CHANNEL, declare_queue_with(&self.queue(n), self.durable, &self.arguments))?;
        }
        if self.exchange.is_some() {
            self.bind(&mut client)?;
        }
        client.close()
    }

    /// Makes the bindings without an answer to each, and waits for that to the last.
    fn bind(&self, client: &mut Client) -> Result<()> {
        let mut out = Vec::new();
        let last = self.routes() - 1;
        for route in 0..last {
            let bind = bind_queue(&self.queue(route), self.name, &self.binding_key(route), true);
            crate::wire::method::encode(&mut out, CHANNEL, bind);
            if out.len() > 60_000 {
                client.send(&out)?;
                out.clear();
            }
        }
        client.send(&out)?;
        client.call(CHANNEL, bind_queue(&self.queue(last), self.name, &self.binding_key(last), false)).map(drop)
    }

    pub fn delete(&self, endpoint: &Endpoint) -> Result<()> {
        let mut client = Client::open(endpoint)?;
        self.delete_with(&mut client)?;
        client.close()
    }

    fn delete_with(&self, client: &mut Client) -> Result<()> {
        if self.exchange.is_some() {
            let delete = exchange::Delete { exchange: self.name.into(), if_unused: false, nowait: false };
            client.call(CHANNEL, AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)))?;
        }
        for n in 0..self.queues {
            client.call(CHANNEL, delete_queue(&self.queue(n)))?;
        }
        Ok(())
    }
}

pub fn declare_queue(name: &str, durable: bool) -> AMQPClass {
    declare_queue_with(name, durable, &[])
}

fn declare_queue_with(name: &str, durable: bool, arguments: &[Argument]) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: name.into(),
        passive: false,
        durable,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: arguments::table(arguments),
    }))
}

/// How many messages of a queue are ready.
pub fn ready_messages(client: &mut Client, name: &str) -> Result<u64> {
    let declare = queue::Declare { queue: name.into(), passive: true, ..Default::default() };
    let answer = client.call(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))?;
    let AMQPClass::Queue(queue::AMQPMethod::DeclareOk(declared)) = answer else { unreachable!("50,11 is declare-ok") };
    Ok(declared.message_count.into())
}

pub fn delete_queue(name: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
        queue: name.into(),
        if_unused: false,
        if_empty: false,
        nowait: false,
    }))
}

pub fn bind_queue(queue: &str, exchange: &str, routing_key: &str, nowait: bool) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        nowait,
        arguments: Default::default(),
    }))
}
