use std::collections::BTreeSet;

use interop_harness::{Outcome, Scenario, equal, scenarios};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions, BasicRecoverOptions, ChannelFlowOptions,
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ConnectionProperties, Consumer, ExchangeKind};

use crate::inbox::{Inbox, drain, drain_flagged};
use crate::publishing::{await_ready, declare_passively, publish, send};
use crate::refusal::{locked, no_exchange, no_queue, refused};
use crate::session::Session;

const CHANNELS: usize = 1000;

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![
        channel_open_close,
        thousand_channels,
        error_closes_only_the_channel,
        not_found,
        access_refused,
        resource_locked,
        precondition_failed,
        duplicate_consumer_tag,
        not_implemented,
    ]
}

/// lapin counts up to channel_max before it uses a number again.
async fn channel_open_close(session: Session) -> Outcome {
    let mut uri = session.uri();
    uri.query.channel_max = Some(10);
    let connection = session.connect_with(uri, ConnectionProperties::default()).await?;
    let mut numbers = BTreeSet::new();
    for _ in 0..200 {
        let channel = connection.create_channel().await?;
        numbers.insert(channel.id());
        channel.close(200, "OK".into()).await?;
    }
    equal(numbers, BTreeSet::from_iter(1..=10), "channel numbers")
}

async fn thousand_channels(session: Session) -> Outcome {
    let publisher = session.channel().await?;
    let queue = session.shared_queue(&publisher, "queue", Default::default(), FieldTable::default()).await?;
    let connection = session.connect().await?;
    let mut channels = Vec::new();
    for _ in 0..CHANNELS {
        let channel = connection.create_channel().await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let inbox = Inbox::open(&channel, &queue).await?;
        channels.push((channel, inbox));
    }
    publish(&publisher, &queue, 0..CHANNELS).await?;
    let mut received = Vec::new();
    for (_, inbox) in &mut channels {
        let [delivery] = inbox.wait(1).await? else { unreachable!("one was awaited") };
        received.push(String::from_utf8_lossy(&delivery.data).parse::<usize>()?);
    }
    received.sort_unstable();
    equal(received, Vec::from_iter(0..CHANNELS), "messages over all channels, one each")?;
    for (channel, inbox) in channels {
        inbox.deliveries[0].ack(BasicAckOptions::default()).await?;
        channel.close(200, "OK".into()).await?;
    }
    equal(drain(&publisher, &queue).await?.is_empty(), true, "no messages left")
}

async fn error_closes_only_the_channel(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let healthy = connection.create_channel().await?;
    let queue = session.queue(&healthy, "healthy").await?;
    let mut inbox = Inbox::open(&healthy, &queue).await?;
    let held = session.queue(&healthy, "held").await?;
    publish(&healthy, &held, ["unsettled"]).await?;
    refused(&connection, 404, &no_queue("nothing"), async |faulty| {
        faulty.basic_get(held.clone(), BasicGetOptions::default()).await?;
        declare_passively(faulty, &"nothing".into()).await
    })
    .await?;
    publish(&healthy, &queue, ["still here"]).await?;
    equal(inbox.wait_bodies(1).await?, ["still here"], "messages of the other channel")?;
    connection.create_channel().await?;
    let messages = drain_flagged(&healthy, &held).await?;
    equal(messages, [("unsettled".to_owned(), true)], "message of the closed channel")
}

async fn not_found(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.create_channel().await?;
    let queue = &session.queue(&owner, "queue").await?;
    let exchange = &session.exchange(&owner, ExchangeKind::Direct, "exchange").await?;
    let nothing = &ShortString::from("nothing");
    let text = &no_queue("nothing");
    refused(&connection, 404, text, async |channel| declare_passively(channel, nothing).await).await?;
    refused(&connection, 404, text, async |channel| get(channel, nothing).await).await?;
    refused(&connection, 404, text, async |channel| consume(channel, nothing, "").await).await?;
    refused(&connection, 404, text, async |channel| purge(channel, nothing).await).await?;
    refused(&connection, 404, text, async |channel| bind(channel, nothing, exchange).await).await?;
    let text = &no_exchange("nothing");
    refused(&connection, 404, text, async |channel| bind(channel, queue, nothing).await).await?;
    refused(&connection, 404, text, async |channel| {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(nothing.clone(), ExchangeKind::Direct, options, FieldTable::default()).await
    })
    .await?;
    refused(&connection, 404, text, async |channel| {
        let options = ExchangeBindOptions::default();
        channel.exchange_bind(exchange.clone(), nothing.clone(), "key".into(), options, FieldTable::default()).await
    })
    .await?;
    refused(&connection, 404, text, async |channel| send(channel, nothing, "key", "lost").await).await?;
    let text = "NOT_FOUND - no previously declared queue";
    refused(&connection, 404, text, async |channel| consume(channel, &"".into(), "").await).await?;
    equal(connection.status().connected(), true, "connection open")
}

async fn get(channel: &Channel, queue: &ShortString) -> lapin::Result<()> {
    channel.basic_get(queue.clone(), BasicGetOptions::default()).await.map(drop)
}

async fn consume(channel: &Channel, queue: &ShortString, tag: &str) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.clone(), tag.into(), options, FieldTable::default()).await
}

async fn purge(channel: &Channel, queue: &ShortString) -> lapin::Result<u32> {
    channel.queue_purge(queue.clone(), QueuePurgeOptions::default()).await
}

async fn bind(channel: &Channel, queue: &ShortString, exchange: &ShortString) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.clone(), exchange.clone(), "key".into(), options, FieldTable::default()).await
}

async fn access_refused(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.create_channel().await?;
    let queue = &session.queue(&owner, "queue").await?;
    let options = ExchangeDeclareOptions { internal: true, ..ExchangeDeclareOptions::default() };
    let internal =
        session.exchange_with(&owner, ExchangeKind::Fanout, "internal", options, FieldTable::default()).await?;
    let reserved = &ShortString::from("amq.interop");
    let text = "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'";
    refused(&connection, 403, text, async |channel| {
        channel.queue_declare(reserved.clone(), QueueDeclareOptions::default(), FieldTable::default()).await
    })
    .await?;
    let text = "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'";
    refused(&connection, 403, text, async |channel| {
        let options = ExchangeDeclareOptions::default();
        channel.exchange_declare(reserved.clone(), ExchangeKind::Direct, options, FieldTable::default()).await
    })
    .await?;
    let default_exchange = &ShortString::default();
    let text = "ACCESS_REFUSED - operation not permitted on the default exchange";
    refused(&connection, 403, text, async |channel| bind(channel, queue, default_exchange).await).await?;
    refused(&connection, 403, text, async |channel| {
        channel.queue_unbind(queue.clone(), default_exchange.clone(), "key".into(), FieldTable::default()).await
    })
    .await?;
    refused(&connection, 403, text, async |channel| {
        channel.exchange_delete(default_exchange.clone(), ExchangeDeleteOptions::default()).await
    })
    .await?;
    let text = format!("ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'");
    refused(&connection, 403, &text, async |channel| send(channel, &internal, "key", "refused").await).await
}

async fn resource_locked(session: Session) -> Outcome {
    let owner = session.channel().await?;
    let queue = &session.queue(&owner, "queue").await?;
    let intruder = session.connect().await?;
    let text = &locked(queue);
    refused(&intruder, 405, text, async |channel| {
        channel.queue_declare(queue.clone(), QueueDeclareOptions::exclusive(), FieldTable::default()).await
    })
    .await?;
    refused(&intruder, 405, text, async |channel| declare_passively(channel, queue).await).await?;
    refused(&intruder, 405, text, async |channel| get(channel, queue).await).await?;
    refused(&intruder, 405, text, async |channel| consume(channel, queue, "").await).await?;
    refused(&intruder, 405, text, async |channel| purge(channel, queue).await).await?;
    refused(&intruder, 405, text, async |channel| {
        channel.queue_delete(queue.clone(), QueueDeleteOptions::default()).await
    })
    .await?;
    refused(&intruder, 405, text, async |channel| bind(channel, queue, &"amq.fanout".into()).await).await?;
    publish(&owner, queue, ["mine"]).await?;
    equal(drain(&owner, queue).await?, ["mine"], "messages of the owner")
}

async fn precondition_failed(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.create_channel().await?;
    let queue = &session.queue(&owner, "queue").await?;
    let exchange = &session.exchange(&owner, ExchangeKind::Fanout, "exchange").await?;
    bind(&owner, queue, exchange).await?;
    refused(&connection, 406, "PRECONDITION_FAILED - unknown delivery tag 99", async |channel| {
        channel.basic_ack(99, BasicAckOptions::default()).await
    })
    .await?;
    publish(&owner, queue, ["once"]).await?;
    await_ready(&owner, queue, 1).await?;
    refused(&connection, 406, "PRECONDITION_FAILED - unknown delivery tag 1", async |channel| {
        channel.basic_get(queue.clone(), BasicGetOptions::default()).await?;
        channel.basic_ack(1, BasicAckOptions::default()).await?;
        channel.basic_ack(1, BasicAckOptions::default()).await
    })
    .await?;
    publish(&owner, queue, ["kept"]).await?;
    await_ready(&owner, queue, 1).await?;
    let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty");
    refused(&connection, 406, &text, async |channel| {
        let options = QueueDeleteOptions { if_empty: true, ..QueueDeleteOptions::default() };
        channel.queue_delete(queue.clone(), options).await
    })
    .await?;
    let _consumer = consume(&owner, queue, "").await?;
    let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use");
    refused(&connection, 406, &text, async |channel| {
        let options = QueueDeleteOptions { if_unused: true, ..QueueDeleteOptions::default() };
        channel.queue_delete(queue.clone(), options).await
    })
    .await?;
    let text = format!("PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use");
    refused(&connection, 406, &text, async |channel| {
        let options = ExchangeDeleteOptions { if_unused: true, ..ExchangeDeleteOptions::default() };
        channel.exchange_delete(exchange.clone(), options).await
    })
    .await
}

async fn duplicate_consumer_tag(session: Session) -> Outcome {
    let bystander = session.channel().await?;
    let queue = &session.shared_queue(&bystander, "queue", Default::default(), FieldTable::default()).await?;
    let connection = session.connect().await?;
    refused(&connection, 530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'", async |channel| {
        let _first = consume(channel, queue, "twice").await?;
        consume(channel, queue, "twice").await.map(drop)
    })
    .await?;
    equal(connection.status().connected(), false, "connection open")?;
    publish(&bystander, queue, ["untouched"]).await?;
    equal(drain(&bystander, queue).await?, ["untouched"], "messages of another connection")
}

/// lapin sends a prefetch size of zero always.
async fn not_implemented(session: Session) -> Outcome {
    let bystander = session.channel().await?;
    let queue = session.queue(&bystander, "queue").await?;
    let connection = session.connect().await?;
    refused(&connection, 540, "NOT_IMPLEMENTED - requeue=false", async |channel| {
        channel.basic_recover(BasicRecoverOptions { requeue: false }).await
    })
    .await?;
    equal(connection.status().connected(), false, "connection open")?;
    let connection = session.connect().await?;
    refused(&connection, 540, "NOT_IMPLEMENTED - active=false", async |channel| {
        channel.channel_flow(ChannelFlowOptions { active: false }).await
    })
    .await?;
    equal(connection.status().connected(), false, "connection open")?;
    publish(&bystander, &queue, ["untouched"]).await?;
    equal(drain(&bystander, &queue).await?, ["untouched"], "messages of another connection")
}
