use std::cell::RefCell;
use std::rc::Rc;

use amqprs::channel::{
    Channel, ExchangeDeclareArguments, ExchangeDeleteArguments, ExchangeType, QueueDeclareArguments,
    QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::{FieldTable, FieldValue};
use interop_harness::{Outcome, Run};

/// One scenario's view of the broker: its connections, and names that nothing else uses.
#[derive(Clone)]
pub struct Session {
    inner: Rc<Inner>,
}

struct Inner {
    run: Run,
    connections: RefCell<Vec<Connection>>,
    leftovers: RefCell<Vec<Leftover>>,
}

enum Leftover {
    Queue(String),
    Exchange(String),
}

impl interop_harness::Session for Session {
    fn new(run: Run) -> Self {
        Self { inner: Rc::new(Inner { run, connections: RefCell::default(), leftovers: RefCell::default() }) }
    }

    async fn close(self) {
        for connection in self.inner.connections.take() {
            let _ = connection.close().await;
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

    pub fn arguments(&self) -> OpenConnectionArguments {
        OpenConnectionArguments::try_from(self.url()).expect("AMQP_URL is a URI")
    }

    /// Name and password as AMQP_URL has them, which amqprs does not give back.
    pub fn login(&self) -> (&str, &str) {
        let authority = self.url().trim_start_matches("amqp://");
        let login = authority.rsplit_once('@').and_then(|(login, _)| login.split_once(':'));
        login.expect("AMQP_URL has a name and a password")
    }

    /// Asks the runner to do something to the broker: stop, restart, block or unblock.
    pub fn ask(&self, what: &str) {
        self.inner.run.ask(what);
    }

    pub fn name(&self, label: &str) -> String {
        self.inner.run.name(label)
    }

    pub async fn connect(&self) -> Outcome<Connection> {
        self.connect_with(&self.arguments()).await
    }

    pub async fn connect_with(&self, arguments: &OpenConnectionArguments) -> Outcome<Connection> {
        let connection = Connection::open(arguments).await?;
        self.inner.connections.borrow_mut().push(connection.clone());
        Ok(connection)
    }

    /// A channel on a connection of its own.
    pub async fn channel(&self) -> Outcome<Channel> {
        Ok(self.connect().await?.open_channel(None).await?)
    }

    /// Declares a queue that goes with the channel's connection.
    pub async fn queue(&self, channel: &Channel, label: &str) -> Outcome<String> {
        self.queue_with(channel, label, FieldTable::new()).await
    }

    pub async fn queue_with(&self, channel: &Channel, label: &str, arguments: FieldTable) -> Outcome<String> {
        let name = self.name(label);
        let declare = QueueDeclareArguments::new(&name).exclusive(true).arguments(arguments).finish();
        channel.queue_declare(declare).await?;
        Ok(name)
    }

    /// Declares a queue that any connection may use, deleted after the scenario.
    pub async fn shared_queue(&self, channel: &Channel, label: &str) -> Outcome<String> {
        self.shared_queue_with(channel, QueueDeclareArguments::new(&self.name(label))).await
    }

    pub async fn shared_queue_with(&self, channel: &Channel, declare: QueueDeclareArguments) -> Outcome<String> {
        let Some((name, ..)) = channel.queue_declare(declare).await? else { unreachable!("it waits for an answer") };
        self.inner.leftovers.borrow_mut().push(Leftover::Queue(name.clone()));
        Ok(name)
    }

    /// Declares an exchange, deleted after the scenario.
    pub async fn exchange(&self, channel: &Channel, kind: ExchangeType, label: &str) -> Outcome<String> {
        self.exchange_with(channel, ExchangeDeclareArguments::of_type(&self.name(label), kind)).await
    }

    pub async fn exchange_with(&self, channel: &Channel, declare: ExchangeDeclareArguments) -> Outcome<String> {
        let name = declare.exchange.clone();
        self.inner.leftovers.borrow_mut().push(Leftover::Exchange(name.clone()));
        channel.exchange_declare(declare).await?;
        Ok(name)
    }

    async fn delete(&self, leftovers: Vec<Leftover>) -> Result<(), Error> {
        let connection = Connection::open(&self.arguments()).await?;
        let channel = connection.open_channel(None).await?;
        for leftover in leftovers {
            match leftover {
                Leftover::Queue(name) => drop(channel.queue_delete(QueueDeleteArguments::new(&name)).await?),
                Leftover::Exchange(name) => channel.exchange_delete(ExchangeDeleteArguments::new(&name)).await?,
            }
        }
        channel.close().await?;
        connection.close().await
    }
}

pub fn table<const N: usize>(entries: [(&str, FieldValue); N]) -> FieldTable {
    let mut table = FieldTable::new();
    for (key, value) in entries {
        insert(&mut table, key, value);
    }
    table
}

pub fn insert(table: &mut FieldTable, key: &str, value: FieldValue) {
    table.insert(key.try_into().expect("a key of 255 bytes at most"), value);
}

pub fn field<'a>(table: &'a FieldTable, key: &str) -> Option<&'a FieldValue> {
    table.get(&key.try_into().expect("a key of 255 bytes at most"))
}

pub fn array(values: Vec<FieldValue>) -> FieldValue {
    FieldValue::A(values.try_into().expect("an array of 4 GiB at most"))
}

pub fn int(value: i32) -> FieldValue {
    FieldValue::I(value)
}
