use std::cell::RefCell;
use std::rc::Rc;

use interop_harness::{Outcome, Run};
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

/// One scenario's view of the broker: its connections, and names that nothing else uses.
#[derive(Clone)]
pub struct Session {
    inner: Rc<Inner>,
}

struct Inner {
    run: Run,
    connections: RefCell<Vec<Rc<Connection>>>,
    leftovers: RefCell<Vec<Leftover>>,
}

enum Leftover {
    Queue(ShortString),
    Exchange(ShortString),
}

impl interop_harness::Session for Session {
    fn new(run: Run) -> Self {
        Self { inner: Rc::new(Inner { run, connections: RefCell::default(), leftovers: RefCell::default() }) }
    }

    async fn close(self) {
        let connections = self.inner.connections.take();
        for connection in connections.iter().filter(|connection| connection.status().connected()) {
            let _ = connection.close(200, "OK".into()).await;
        }
        let leftovers = self.inner.leftovers.take();
        if !leftovers.is_empty() {
            let _ = self.delete(leftovers).await;
        }
    }
}

impl Session {
    pub fn url(&self) -> &str {
        &self.inner.run.url
    }

    pub fn uri(&self) -> AMQPUri {
        self.url().parse().expect("AMQP_URL is a URI")
    }

    /// Asks the runner to do something to the broker: stop, restart, block or unblock.
    pub fn ask(&self, what: &str) {
        self.inner.run.ask(what);
    }

    pub fn name(&self, label: &str) -> ShortString {
        self.inner.run.name(label).into()
    }

    pub async fn connect(&self) -> Outcome<Rc<Connection>> {
        self.connect_with(self.uri(), ConnectionProperties::default()).await
    }

    pub async fn connect_with(&self, uri: AMQPUri, properties: ConnectionProperties) -> Outcome<Rc<Connection>> {
        let connection = Rc::new(Connection::connect_uri(uri, properties).await?);
        self.inner.connections.borrow_mut().push(connection.clone());
        Ok(connection)
    }

    /// A channel on a connection of its own.
    pub async fn channel(&self) -> Outcome<Channel> {
        Ok(self.connect().await?.create_channel().await?)
    }

    /// Declares a queue that goes with the channel's connection.
    pub async fn queue(&self, channel: &Channel, label: &str) -> Outcome<ShortString> {
        self.queue_with(channel, label, FieldTable::default()).await
    }

    pub async fn queue_with(&self, channel: &Channel, label: &str, arguments: FieldTable) -> Outcome<ShortString> {
        let name = self.name(label);
        channel.queue_declare(name.clone(), QueueDeclareOptions::exclusive(), arguments).await?;
        Ok(name)
    }

    /// Declares a queue that any connection may use, deleted after the scenario.
    pub async fn shared_queue(
        &self,
        channel: &Channel,
        label: &str,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Outcome<ShortString> {
        let name = self.name(label);
        self.inner.leftovers.borrow_mut().push(Leftover::Queue(name.clone()));
        channel.queue_declare(name.clone(), options, arguments).await?;
        Ok(name)
    }

    /// Declares an exchange, deleted after the scenario.
    pub async fn exchange(&self, channel: &Channel, kind: ExchangeKind, label: &str) -> Outcome<ShortString> {
        self.exchange_with(channel, kind, label, ExchangeDeclareOptions::default(), FieldTable::default()).await
    }

    pub async fn exchange_with(
        &self,
        channel: &Channel,
        kind: ExchangeKind,
        label: &str,
        options: ExchangeDeclareOptions,
        arguments: FieldTable,
    ) -> Outcome<ShortString> {
        let name = self.name(label);
        self.inner.leftovers.borrow_mut().push(Leftover::Exchange(name.clone()));
        channel.exchange_declare(name.clone(), kind, options, arguments).await?;
        Ok(name)
    }

    async fn delete(&self, leftovers: Vec<Leftover>) -> lapin::Result<()> {
        let connection = Connection::connect_uri(self.uri(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        for leftover in leftovers {
            match leftover {
                Leftover::Queue(name) => drop(channel.queue_delete(name, QueueDeleteOptions::default()).await?),
                Leftover::Exchange(name) => channel.exchange_delete(name, ExchangeDeleteOptions::default()).await?,
            }
        }
        connection.close(200, "OK".into()).await
    }
}

pub fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

pub fn text(value: impl ToString) -> AMQPValue {
    AMQPValue::LongString(value.to_string().into())
}
