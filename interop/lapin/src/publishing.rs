use interop_harness::{Outcome, eventually};
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, PublisherConfirm, Queue};

pub const MANDATORY: BasicPublishOptions = BasicPublishOptions { mandatory: true, immediate: false };

/// Publishes to a queue.
pub async fn publish(
    channel: &Channel,
    queue: &ShortString,
    bodies: impl IntoIterator<Item: ToString>,
) -> lapin::Result<()> {
    for body in bodies {
        publish_with(channel, queue, &body.to_string(), BasicProperties::default()).await?;
    }
    Ok(())
}

pub async fn publish_with(
    channel: &Channel,
    queue: &ShortString,
    body: &str,
    properties: BasicProperties,
) -> lapin::Result<PublisherConfirm> {
    channel.basic_publish("".into(), queue.clone(), BasicPublishOptions::default(), body.as_bytes(), properties).await
}

/// Publishes to an exchange.
pub async fn send(channel: &Channel, exchange: &ShortString, key: &str, body: &str) -> lapin::Result<()> {
    send_with(channel, exchange, key, body, BasicProperties::default()).await
}

pub async fn send_with(
    channel: &Channel,
    exchange: &ShortString,
    key: &str,
    body: &str,
    properties: BasicProperties,
) -> lapin::Result<()> {
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange.clone(), key.into(), options, body.as_bytes(), properties).await.map(drop)
}

pub async fn declare_passively(channel: &Channel, queue: &ShortString) -> lapin::Result<Queue> {
    let options = QueueDeclareOptions::default().passive();
    channel.queue_declare(queue.clone(), options, FieldTable::default()).await
}

/// RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue.
pub async fn await_ready(channel: &Channel, queue: &ShortString, count: u32) -> Outcome {
    let ready = async || Ok(declare_passively(channel, queue).await?.message_count() == count);
    eventually(format!("{count} messages ready in {queue}"), ready).await
}
