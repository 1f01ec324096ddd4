use std::time::Duration;

use interop_harness::{Outcome, wrong};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicGetOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio_stream::StreamExt;

pub const NO_ACK: BasicConsumeOptions =
    BasicConsumeOptions { no_local: false, no_ack: true, exclusive: false, nowait: false };
pub const MULTIPLE: BasicAckOptions = BasicAckOptions { multiple: true };

const GET_NO_ACK: BasicGetOptions = BasicGetOptions { no_ack: true };
const GATHER_INTERVAL: Duration = Duration::from_millis(5);

/// A consumer that keeps what it has received.
pub struct Inbox {
    pub consumer: Consumer,
    pub deliveries: Vec<Delivery>,
}

impl Inbox {
    pub async fn open(channel: &Channel, queue: &ShortString) -> lapin::Result<Self> {
        Self::open_with(channel, queue, BasicConsumeOptions::default(), FieldTable::default()).await
    }

    pub async fn open_no_ack(channel: &Channel, queue: &ShortString) -> lapin::Result<Self> {
        Self::open_with(channel, queue, NO_ACK, FieldTable::default()).await
    }

    pub async fn open_with(
        channel: &Channel,
        queue: &ShortString,
        options: BasicConsumeOptions,
        arguments: FieldTable,
    ) -> lapin::Result<Self> {
        let consumer = channel.basic_consume(queue.clone(), "".into(), options, arguments).await?;
        Ok(Self { consumer, deliveries: Vec::new() })
    }

    /// Awaits messages until it has had `count` of them.
    pub async fn wait(&mut self, count: usize) -> Outcome<&[Delivery]> {
        while self.deliveries.len() < count {
            match self.consumer.next().await {
                Some(delivery) => self.deliveries.push(delivery?),
                None => return wrong("the consumer was cancelled"),
            }
        }
        Ok(&self.deliveries[..count])
    }

    /// Takes what has arrived, without waiting for more.
    pub async fn take_arrived(&mut self) -> Outcome {
        while let Ok(Some(delivery)) = tokio::time::timeout(Duration::ZERO, self.consumer.next()).await {
            self.deliveries.push(delivery?);
        }
        Ok(())
    }

    /// Takes what is still there of a consumer that has ended.
    pub async fn take_rest(&mut self) -> Outcome {
        while let Some(delivery) = self.consumer.next().await {
            self.deliveries.push(delivery?);
        }
        Ok(())
    }

    pub async fn wait_bodies(&mut self, count: usize) -> Outcome<Vec<String>> {
        self.wait(count).await?;
        Ok(self.bodies())
    }

    pub fn bodies(&self) -> Vec<String> {
        self.deliveries.iter().map(body).collect()
    }

    pub fn flags(&self) -> Vec<bool> {
        self.deliveries.iter().map(|delivery| delivery.redelivered).collect()
    }

    pub fn tags(&self) -> Vec<u64> {
        self.deliveries.iter().map(|delivery| delivery.delivery_tag).collect()
    }
}

/// Awaits `total` messages in several inboxes together.
pub async fn gather(inboxes: &mut [&mut Inbox], total: usize) -> Outcome {
    loop {
        for inbox in inboxes.iter_mut() {
            inbox.take_arrived().await?;
        }
        if inboxes.iter().map(|inbox| inbox.deliveries.len()).sum::<usize>() >= total {
            return Ok(());
        }
        tokio::time::sleep(GATHER_INTERVAL).await;
    }
}

pub fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.data).into_owned()
}

/// Takes a message with get, acknowledged by taking it.
pub async fn take(channel: &Channel, queue: &ShortString) -> Outcome<Delivery> {
    match channel.basic_get(queue.clone(), GET_NO_ACK).await? {
        Some(message) => Ok(message.delivery),
        None => wrong(format!("{queue} is empty")),
    }
}

/// Takes a message with get, not acknowledged yet.
pub async fn hold(channel: &Channel, queue: &ShortString) -> Outcome<Delivery> {
    match channel.basic_get(queue.clone(), BasicGetOptions::default()).await? {
        Some(message) => Ok(message.delivery),
        None => wrong(format!("{queue} is empty")),
    }
}

/// Takes everything out of a queue with get, and returns the bodies.
pub async fn drain(channel: &Channel, queue: &ShortString) -> lapin::Result<Vec<String>> {
    Ok(drain_flagged(channel, queue).await?.into_iter().map(|(body, _)| body).collect())
}

/// The same, each body with its redelivered flag.
pub async fn drain_flagged(channel: &Channel, queue: &ShortString) -> lapin::Result<Vec<(String, bool)>> {
    let mut messages = Vec::new();
    while let Some(message) = channel.basic_get(queue.clone(), GET_NO_ACK).await? {
        messages.push((body(&message.delivery), message.redelivered));
    }
    Ok(messages)
}
