use std::time::Duration;

use amqprs::channel::{BasicAckArguments, BasicConsumeArguments, BasicGetArguments, Channel};
use amqprs::consumer::AsyncConsumer;
use amqprs::error::Error;
use amqprs::{BasicProperties, Deliver, GetOk};
use async_trait::async_trait;
use interop_harness::{Outcome, wrong};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const GATHER_INTERVAL: Duration = Duration::from_millis(5);

/// A message as a consumer or get received it.
#[derive(Debug)]
pub struct Message {
    pub consumer_tag: String,
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
    pub content: Vec<u8>,
}

impl Message {
    fn delivered(deliver: &Deliver, properties: BasicProperties, content: Vec<u8>) -> Self {
        Self {
            consumer_tag: deliver.consumer_tag().clone(),
            delivery_tag: deliver.delivery_tag(),
            redelivered: deliver.redelivered(),
            exchange: deliver.exchange().clone(),
            routing_key: deliver.routing_key().clone(),
            properties,
            content,
        }
    }

    fn got((get_ok, properties, content): (GetOk, BasicProperties, Vec<u8>)) -> Self {
        Self {
            consumer_tag: String::new(),
            delivery_tag: get_ok.delivery_tag(),
            redelivered: get_ok.redelivered(),
            exchange: get_ok.exchange().clone(),
            routing_key: get_ok.routing_key().clone(),
            properties,
            content,
        }
    }

    pub fn body(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

struct Collector(UnboundedSender<Message>);

#[async_trait]
impl AsyncConsumer for Collector {
    async fn consume(&mut self, _: &Channel, deliver: Deliver, properties: BasicProperties, content: Vec<u8>) {
        // Nobody takes it any more once a scenario is over.
        let _ = self.0.send(Message::delivered(&deliver, properties, content));
    }
}

/// A consumer that keeps what it has received.
pub struct Inbox {
    pub tag: String,
    pub messages: Vec<Message>,
    arriving: UnboundedReceiver<Message>,
}

impl Inbox {
    pub async fn open(channel: &Channel, queue: &str) -> Result<Self, Error> {
        Self::open_with(channel, BasicConsumeArguments::new(queue, "")).await
    }

    pub async fn open_no_ack(channel: &Channel, queue: &str) -> Result<Self, Error> {
        Self::open_with(channel, BasicConsumeArguments::new(queue, "").auto_ack(true).finish()).await
    }

    pub async fn open_with(channel: &Channel, arguments: BasicConsumeArguments) -> Result<Self, Error> {
        let (collector, arriving) = unbounded_channel();
        let tag = channel.basic_consume(Collector(collector), arguments).await?;
        Ok(Self { tag, messages: Vec::new(), arriving })
    }

    /// Awaits messages until it has had `count` of them.
    pub async fn wait(&mut self, count: usize) -> Outcome<&[Message]> {
        while self.messages.len() < count {
            match self.arriving.recv().await {
                Some(message) => self.messages.push(message),
                None => return wrong("the consumer was cancelled"),
            }
        }
        Ok(&self.messages[..count])
    }

    /// Takes what has arrived, without waiting for more.
    pub fn take_arrived(&mut self) {
        while let Ok(message) = self.arriving.try_recv() {
            self.messages.push(message);
        }
    }

    /// Takes what is still there of a consumer that ends.
    pub async fn take_rest(&mut self) {
        while let Some(message) = self.arriving.recv().await {
            self.messages.push(message);
        }
    }

    pub async fn wait_bodies(&mut self, count: usize) -> Outcome<Vec<String>> {
        self.wait(count).await?;
        Ok(self.bodies())
    }

    pub fn bodies(&self) -> Vec<String> {
        self.messages.iter().map(Message::body).collect()
    }

    pub fn flags(&self) -> Vec<bool> {
        self.messages.iter().map(|message| message.redelivered).collect()
    }

    pub fn tags(&self) -> Vec<u64> {
        self.messages.iter().map(|message| message.delivery_tag).collect()
    }
}

/// Awaits `total` messages in several inboxes together.
pub async fn gather(inboxes: &mut [&mut Inbox], total: usize) {
    loop {
        inboxes.iter_mut().for_each(|inbox| inbox.take_arrived());
        if inboxes.iter().map(|inbox| inbox.messages.len()).sum::<usize>() >= total {
            return;
        }
        tokio::time::sleep(GATHER_INTERVAL).await;
    }
}

pub async fn ack(channel: &Channel, delivery_tag: u64) -> Result<(), Error> {
    channel.basic_ack(BasicAckArguments::new(delivery_tag, false)).await
}

pub async fn ack_multiple(channel: &Channel, delivery_tag: u64) -> Result<(), Error> {
    channel.basic_ack(BasicAckArguments::new(delivery_tag, true)).await
}

/// Takes a message with get, acknowledged by taking it.
pub async fn take(channel: &Channel, queue: &str) -> Outcome<Message> {
    match channel.basic_get(BasicGetArguments::new(queue).no_ack(true).finish()).await? {
        Some(message) => Ok(Message::got(message)),
        None => wrong(format!("{queue} is empty")),
    }
}

/// Takes a message with get, not acknowledged yet.
pub async fn hold(channel: &Channel, queue: &str) -> Outcome<Message> {
    match channel.basic_get(BasicGetArguments::new(queue)).await? {
        Some(message) => Ok(Message::got(message)),
        None => wrong(format!("{queue} is empty")),
    }
}

/// Takes everything out of a queue with get, and returns the bodies.
pub async fn drain(channel: &Channel, queue: &str) -> Result<Vec<String>, Error> {
    Ok(drain_flagged(channel, queue).await?.into_iter().map(|(body, _)| body).collect())
}

/// The same, each body with its redelivered flag.
pub async fn drain_flagged(channel: &Channel, queue: &str) -> Result<Vec<(String, bool)>, Error> {
    let mut messages = Vec::new();
    let get = BasicGetArguments::new(queue).no_ack(true).finish();
    while let Some((get_ok, _, content)) = channel.basic_get(get.clone()).await? {
        messages.push((String::from_utf8_lossy(&content).into_owned(), get_ok.redelivered()));
    }
    Ok(messages)
}
