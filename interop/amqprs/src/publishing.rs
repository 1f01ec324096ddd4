use amqprs::BasicProperties;
use amqprs::channel::{BasicPublishArguments, Channel, ConfirmSelectArguments, QueueDeclareArguments};
use amqprs::error::Error;
use interop_harness::{Outcome, eventually};

use crate::events::Events;

/// Publishes to a queue.
pub async fn publish(channel: &Channel, queue: &str, bodies: impl IntoIterator<Item: ToString>) -> Result<(), Error> {
    for body in bodies {
        send(channel, "", queue, body).await?;
    }
    Ok(())
}

pub async fn publish_with(
    channel: &Channel,
    queue: &str,
    body: impl ToString,
    properties: BasicProperties,
) -> Result<(), Error> {
    send_with(channel, "", queue, body, properties).await
}

/// Publishes to an exchange.
pub async fn send(channel: &Channel, exchange: &str, key: &str, body: impl ToString) -> Result<(), Error> {
    send_with(channel, exchange, key, body, BasicProperties::default()).await
}

pub async fn send_with(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: impl ToString,
    properties: BasicProperties,
) -> Result<(), Error> {
    let arguments = BasicPublishArguments::new(exchange, key);
    channel.basic_publish(properties, body.to_string().into_bytes(), arguments).await
}

pub async fn send_mandatory(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: impl ToString,
    properties: BasicProperties,
) -> Result<(), Error> {
    let arguments = BasicPublishArguments::new(exchange, key).mandatory(true).finish();
    channel.basic_publish(properties, body.to_string().into_bytes(), arguments).await
}

/// Puts a channel into confirm mode, and returns what will come of its confirms.
pub async fn confirm(channel: &Channel) -> Outcome<Events> {
    let events = Events::of_channel(channel).await?;
    channel.confirm_select(ConfirmSelectArguments::default()).await?;
    Ok(events)
}

pub struct Declared {
    pub name: String,
    pub messages: u32,
    pub consumers: u32,
}

pub async fn declare(channel: &Channel, arguments: QueueDeclareArguments) -> Result<Declared, Error> {
    let declared = channel.queue_declare(arguments).await?;
    let (name, messages, consumers) = declared.expect("a declare that waits for its answer has one");
    Ok(Declared { name, messages, consumers })
}

pub async fn declare_passively(channel: &Channel, queue: &str) -> Result<Declared, Error> {
    declare(channel, QueueDeclareArguments::new(queue).passive(true).finish()).await
}

/// RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue.
pub async fn await_ready(channel: &Channel, queue: &str, count: u32) -> Outcome {
    let ready = async || Ok(declare_passively(channel, queue).await?.messages == count);
    eventually(format!("{count} messages ready in {queue}"), ready).await
}
