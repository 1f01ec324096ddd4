use amqprs::channel::{
    BasicConsumeArguments, BasicGetArguments, BasicQosArguments, Channel, ExchangeBindArguments,
    ExchangeDeclareArguments, ExchangeDeleteArguments, ExchangeType, QueueBindArguments, QueueDeclareArguments,
    QueueDeleteArguments, QueuePurgeArguments, QueueUnbindArguments,
};
use amqprs::error::Error;
use interop_harness::{Outcome, Scenario, equal, scenarios};

use crate::inbox::{Inbox, ack, drain, drain_flagged};
use crate::publishing::{await_ready, declare, declare_passively, publish, send};
use crate::refusal::{connection_refused, locked, no_exchange, no_queue, refused};
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

async fn channel_open_close(session: Session) -> Outcome {
    let connection = session.connect().await?;
    for _ in 0..200 {
        let channel = connection.open_channel(None).await?;
        equal(channel.channel_id(), 1, "channel number")?;
        channel.close().await?;
    }
    Ok(())
}

async fn thousand_channels(session: Session) -> Outcome {
    let publisher = session.channel().await?;
    let queue = session.shared_queue(&publisher, "queue").await?;
    let connection = session.connect().await?;
    let mut channels = Vec::new();
    for _ in 0..CHANNELS {
        let channel = connection.open_channel(None).await?;
        channel.basic_qos(BasicQosArguments::default().prefetch_count(1).finish()).await?;
        let inbox = Inbox::open(&channel, &queue).await?;
        channels.push((channel, inbox));
    }
    publish(&publisher, &queue, 0..CHANNELS).await?;
    let mut received = Vec::new();
    for (_, inbox) in &mut channels {
        received.push(inbox.wait(1).await?[0].body().parse::<usize>()?);
    }
    received.sort_unstable();
    equal(received, Vec::from_iter(0..CHANNELS), "messages over all channels, one each")?;
    for (channel, inbox) in channels {
        ack(&channel, inbox.messages[0].delivery_tag).await?;
        channel.close().await?;
    }
    equal(drain(&publisher, &queue).await?.is_empty(), true, "no messages left")
}

async fn error_closes_only_the_channel(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let healthy = connection.open_channel(None).await?;
    let queue = session.queue(&healthy, "healthy").await?;
    let mut inbox = Inbox::open(&healthy, &queue).await?;
    let held = session.queue(&healthy, "held").await?;
    publish(&healthy, &held, ["unsettled"]).await?;
    refused(&connection, 404, &no_queue("nothing"), async |faulty| {
        faulty.basic_get(BasicGetArguments::new(&held)).await?;
        declare_passively(faulty, "nothing").await
    })
    .await?;
    publish(&healthy, &queue, ["still here"]).await?;
    equal(inbox.wait_bodies(1).await?, ["still here"], "messages of the other channel")?;
    connection.open_channel(None).await?;
    let messages = drain_flagged(&healthy, &held).await?;
    equal(messages, [("unsettled".to_owned(), true)], "message of the closed channel")
}

async fn not_found(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.open_channel(None).await?;
    let queue = &session.queue(&owner, "queue").await?;
    let exchange = &session.exchange(&owner, ExchangeType::Direct, "exchange").await?;
    let nothing = "nothing";
    let text = &no_queue(nothing);
    refused(&connection, 404, text, async |channel| declare_passively(channel, nothing).await).await?;
    refused(&connection, 404, text, async |channel| get(channel, nothing).await).await?;
    refused(&connection, 404, text, async |channel| Inbox::open(channel, nothing).await).await?;
    refused(&connection, 404, text, async |channel| purge(channel, nothing).await).await?;
    refused(&connection, 404, text, async |channel| bind(channel, nothing, exchange).await).await?;
    let text = &no_exchange(nothing);
    refused(&connection, 404, text, async |channel| bind(channel, queue, nothing).await).await?;
    refused(&connection, 404, text, async |channel| {
        channel.exchange_declare(ExchangeDeclareArguments::new(nothing, "direct").passive(true).finish()).await
    })
    .await?;
    refused(&connection, 404, text, async |channel| {
        channel.exchange_bind(ExchangeBindArguments::new(exchange, nothing, "key")).await
    })
    .await?;
    refused(&connection, 404, text, async |channel| send(channel, nothing, "key", "lost").await).await?;
    let text = "NOT_FOUND - no previously declared queue";
    refused(&connection, 404, text, async |channel| Inbox::open(channel, "").await).await?;
    equal(connection.is_open(), true, "connection open")
}

async fn get(channel: &Channel, queue: &str) -> Result<(), Error> {
    channel.basic_get(BasicGetArguments::new(queue)).await.map(drop)
}

async fn purge(channel: &Channel, queue: &str) -> Result<Option<u32>, Error> {
    channel.queue_purge(QueuePurgeArguments::new(queue)).await
}

async fn bind(channel: &Channel, queue: &str, exchange: &str) -> Result<(), Error> {
    channel.queue_bind(QueueBindArguments::new(queue, exchange, "key")).await
}

async fn access_refused(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.open_channel(None).await?;
    let queue = &session.queue(&owner, "queue").await?;
    let name = session.name("internal");
    let declare_internal = ExchangeDeclareArguments::of_type(&name, ExchangeType::Fanout).internal(true).finish();
    let internal = session.exchange_with(&owner, declare_internal).await?;
    let reserved = "amq.interop";
    let text = "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'";
    refused(&connection, 403, text, async |channel| declare(channel, QueueDeclareArguments::new(reserved)).await)
        .await?;
    let text = "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'";
    refused(&connection, 403, text, async |channel| {
        channel.exchange_declare(ExchangeDeclareArguments::new(reserved, "direct")).await
    })
    .await?;
    let text = "ACCESS_REFUSED - operation not permitted on the default exchange";
    refused(&connection, 403, text, async |channel| bind(channel, queue, "").await).await?;
    refused(&connection, 403, text, async |channel| {
        channel.queue_unbind(QueueUnbindArguments::new(queue, "", "key")).await
    })
    .await?;
    refused(&connection, 403, text, async |channel| channel.exchange_delete(ExchangeDeleteArguments::new("")).await)
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
        declare(channel, QueueDeclareArguments::new(queue).exclusive(true).finish()).await
    })
    .await?;
    refused(&intruder, 405, text, async |channel| declare_passively(channel, queue).await).await?;
    refused(&intruder, 405, text, async |channel| get(channel, queue).await).await?;
    refused(&intruder, 405, text, async |channel| Inbox::open(channel, queue).await).await?;
    refused(&intruder, 405, text, async |channel| purge(channel, queue).await).await?;
    refused(&intruder, 405, text, async |channel| channel.queue_delete(QueueDeleteArguments::new(queue)).await).await?;
    refused(&intruder, 405, text, async |channel| bind(channel, queue, "amq.fanout").await).await?;
    publish(&owner, queue, ["mine"]).await?;
    equal(drain(&owner, queue).await?, ["mine"], "messages of the owner")
}

async fn precondition_failed(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.open_channel(None).await?;
    let queue = &session.queue(&owner, "queue").await?;
    let exchange = &session.exchange(&owner, ExchangeType::Fanout, "exchange").await?;
    bind(&owner, queue, exchange).await?;
    let text = "PRECONDITION_FAILED - unknown delivery tag 99";
    refused(&connection, 406, text, async |channel| ack(channel, 99).await).await?;
    publish(&owner, queue, ["once"]).await?;
    await_ready(&owner, queue, 1).await?;
    refused(&connection, 406, "PRECONDITION_FAILED - unknown delivery tag 1", async |channel| {
        get(channel, queue).await?;
        ack(channel, 1).await?;
        ack(channel, 1).await
    })
    .await?;
    publish(&owner, queue, ["kept"]).await?;
    await_ready(&owner, queue, 1).await?;
    let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty");
    refused(&connection, 406, &text, async |channel| {
        channel.queue_delete(QueueDeleteArguments::new(queue).if_empty(true).finish()).await
    })
    .await?;
    let _consumer = Inbox::open(&owner, queue).await?;
    let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use");
    refused(&connection, 406, &text, async |channel| {
        channel.queue_delete(QueueDeleteArguments::new(queue).if_unused(true).finish()).await
    })
    .await?;
    let text = format!("PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use");
    refused(&connection, 406, &text, async |channel| {
        channel.exchange_delete(ExchangeDeleteArguments::new(exchange).if_unused(true).finish()).await
    })
    .await
}

async fn duplicate_consumer_tag(session: Session) -> Outcome {
    let bystander = session.channel().await?;
    let queue = &session.shared_queue(&bystander, "queue").await?;
    let connection = session.connect().await?;
    let text = "NOT_ALLOWED - attempt to reuse consumer tag 'twice'";
    connection_refused(&connection, 530, text, async |channel| {
        let _first = Inbox::open_with(channel, BasicConsumeArguments::new(queue, "twice")).await?;
        Inbox::open_with(channel, BasicConsumeArguments::new(queue, "twice")).await
    })
    .await?;
    publish(&bystander, queue, ["untouched"]).await?;
    equal(drain(&bystander, queue).await?, ["untouched"], "messages of another connection")
}

async fn not_implemented(session: Session) -> Outcome {
    let bystander = session.channel().await?;
    let queue = session.queue(&bystander, "queue").await?;
    let text = "NOT_IMPLEMENTED - prefetch_size!=0 (1024)";
    connection_refused(&session.connect().await?, 540, text, async |channel| {
        channel.basic_qos(BasicQosArguments::new(1024, 0, false)).await
    })
    .await?;
    let text = "NOT_IMPLEMENTED - requeue=false";
    connection_refused(&session.connect().await?, 540, text, async |channel| channel.basic_recover(false).await)
        .await?;
    let text = "NOT_IMPLEMENTED - active=false";
    connection_refused(&session.connect().await?, 540, text, async |channel| channel.flow(false).await).await?;
    publish(&bystander, &queue, ["untouched"]).await?;
    equal(drain(&bystander, &queue).await?, ["untouched"], "messages of another connection")
}
