use std::collections::BTreeSet;
use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::Channel;
use amqprs::connection::Connection;
use amqprs::error::Error;
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return};
use async_trait::async_trait;
use interop_harness::{Outcome, wrong};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a broker tells about a connection or a channel of its own accord.
#[derive(Debug)]
pub enum Event {
    Closed(u16, String),
    ConsumerCancelled(String),
    Confirmed(Confirm),
    Returned(Box<Returned>),
}

#[derive(Clone, Copy, Debug)]
pub struct Confirm {
    pub tag: u64,
    pub multiple: bool,
    pub acked: bool,
}

#[derive(Debug)]
pub struct Returned {
    pub reply: (u16, String),
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
    pub content: Vec<u8>,
}

/// The events of a connection or channel, in their order.
pub struct Events(UnboundedReceiver<Event>);

impl Events {
    pub async fn of_connection(connection: &Connection) -> Outcome<Self> {
        let (teller, events) = unbounded_channel();
        connection.register_callback(Teller(teller)).await?;
        Ok(Self(events))
    }

    pub async fn of_channel(channel: &Channel) -> Outcome<Self> {
        let (teller, events) = unbounded_channel();
        channel.register_callback(Teller(teller)).await?;
        Ok(Self(events))
    }

    pub async fn next(&mut self) -> Outcome<Event> {
        match tokio::time::timeout(EVENT_TIMEOUT, self.0.recv()).await {
            Ok(Some(event)) => Ok(event),
            Ok(None) => wrong("the events ended"),
            Err(_) => wrong(format!("no event within {EVENT_TIMEOUT:?}")),
        }
    }

    /// What has come, without waiting for more.
    pub fn arrived(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    /// Awaits the end of the connection, whether or not the broker tells why.
    pub async fn end(&mut self) {
        while self.0.recv().await.is_some_and(|event| !matches!(event, Event::Closed(..))) {}
    }

    /// Awaits the confirms of all these publishes, each once, and returns which were nacked.
    pub async fn confirms(&mut self, mut outstanding: BTreeSet<u64>) -> Outcome<BTreeSet<u64>> {
        let mut nacked = BTreeSet::new();
        while !outstanding.is_empty() {
            let confirm = match self.next().await? {
                Event::Confirmed(confirm) => confirm,
                other => return wrong(format!("expected a confirm, got {other:?}")),
            };
            if !outstanding.remove(&confirm.tag) {
                return wrong(format!("{confirm:?} confirms what was not published, or was confirmed before"));
            }
            let mut confirmed = BTreeSet::from([confirm.tag]);
            if confirm.multiple {
                let later = outstanding.split_off(&confirm.tag);
                confirmed.append(&mut outstanding);
                outstanding = later;
            }
            if !confirm.acked {
                nacked.append(&mut confirmed);
            }
        }
        Ok(nacked)
    }

    /// Awaits the confirm of one publish, before which nothing else may come.
    pub async fn acked(&mut self, tag: u64) -> Outcome {
        match self.confirms(BTreeSet::from([tag])).await?.first() {
            None => Ok(()),
            Some(_) => wrong(format!("publish {tag} was nacked")),
        }
    }
}

/// The callbacks of a user who wants to be told of everything.
struct Teller(UnboundedSender<Event>);

impl Teller {
    fn tell(&self, event: Event) {
        // Nobody listens any more once a scenario has heard what it wanted.
        let _ = self.0.send(event);
    }
}

#[async_trait]
impl ConnectionCallback for Teller {
    async fn close(&mut self, _connection: &Connection, close: Close) -> Result<(), Error> {
        self.tell(Event::Closed(close.reply_code(), close.reply_text().clone()));
        Ok(())
    }

    async fn blocked(&mut self, _connection: &Connection, _reason: String) {}

    async fn unblocked(&mut self, _connection: &Connection) {}

    async fn secret_updated(&mut self, _connection: &Connection) {}
}

#[async_trait]
impl ChannelCallback for Teller {
    async fn close(&mut self, _channel: &Channel, close: CloseChannel) -> Result<(), Error> {
        self.tell(Event::Closed(close.reply_code(), close.reply_text().clone()));
        Ok(())
    }

    async fn cancel(&mut self, _channel: &Channel, cancel: Cancel) -> Result<(), Error> {
        self.tell(Event::ConsumerCancelled(cancel.consumer_tag().clone()));
        Ok(())
    }

    async fn flow(&mut self, _channel: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _channel: &Channel, ack: Ack) {
        self.tell(Event::Confirmed(Confirm { tag: ack.delivery_tag(), multiple: ack.mutiple(), acked: true }));
    }

    async fn publish_nack(&mut self, _channel: &Channel, nack: Nack) {
        self.tell(Event::Confirmed(Confirm { tag: nack.delivery_tag(), multiple: nack.multiple(), acked: false }));
    }

    async fn publish_return(
        &mut self,
        _channel: &Channel,
        returned: Return,
        properties: BasicProperties,
        content: Vec<u8>,
    ) {
        self.tell(Event::Returned(Box::new(Returned {
            reply: (returned.reply_code(), returned.reply_text().clone()),
            exchange: returned.exchange().clone(),
            routing_key: returned.routing_key().clone(),
            properties,
            content,
        })));
    }
}
