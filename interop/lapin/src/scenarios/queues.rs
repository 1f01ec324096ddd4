use std::time::{Duration, Instant};

use interop_harness::{Outcome, Scenario, equal, eventually, scenarios, wrong};
use lapin::message::Delivery;
use lapin::options::{
    BasicCancelOptions, BasicNackOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};

use crate::inbox::{Inbox, drain, take};
use crate::publishing::{MANDATORY, await_ready, declare_passively, publish, publish_with, send};
use crate::refusal::{locked, no_queue, refused, reply};
use crate::session::{Session, table, text};

const TTL: Duration = Duration::from_millis(200);
const EXPIRES_MS: i32 = 300;

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![
        queue_declare,
        queue_mismatch,
        server_named_queue,
        queue_purge_and_delete,
        exclusive_queue,
        auto_delete_queue,
        message_ttl,
        queue_expires,
        max_length,
        priority_queue,
        single_active_consumer,
        quorum_queue,
        long_and_unicode_names,
    ]
}

async fn queue_declare(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let name = session.name("queue");
    let declare =
        async || channel.queue_declare(name.clone(), QueueDeclareOptions::exclusive(), FieldTable::default()).await;
    for _ in 0..2 {
        let declared = declare().await?;
        equal(declared.name(), &name, "name")?;
        equal((declared.message_count(), declared.consumer_count()), (0, 0), "messages and consumers")?;
    }
    publish(&channel, &name, ["a", "b", "c"]).await?;
    await_ready(&channel, &name, 3).await?;
    let declared = declare_passively(&channel, &name).await?;
    equal(declared.name(), &name, "name")?;
    equal((declared.message_count(), declared.consumer_count()), (3, 0), "messages and consumers")?;
    let mut inbox = Inbox::open(&channel, &name).await?;
    inbox.wait(3).await?;
    let declared = declare().await?;
    equal((declared.message_count(), declared.consumer_count()), (0, 1), "ready messages and consumers")
}

async fn queue_mismatch(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.create_channel().await?;
    let ttl = table([("x-message-ttl", 60000.into())]);
    let plain = &session.shared_queue(&owner, "plain", Default::default(), FieldTable::default()).await?;
    let limited = &session.shared_queue(&owner, "limited", Default::default(), ttl.clone()).await?;
    let options = QueueDeclareOptions::default();
    let durable = QueueDeclareOptions::durable();
    let flag = "received 'true' but current is 'false'";
    mismatch(&connection, plain, durable, FieldTable::default(), "durable", flag).await?;
    mismatch(&connection, plain, options.auto_delete(), FieldTable::default(), "auto_delete", flag).await?;
    let difference = "received the value '60000' of type 'signedint' but current is none";
    mismatch(&connection, plain, options, ttl.clone(), "x-message-ttl", difference).await?;
    let difference = "received none but current is the value '60000' of type 'signedint'";
    mismatch(&connection, limited, options, FieldTable::default(), "x-message-ttl", difference).await?;
    refused(&connection, 405, &locked(plain), async |channel| {
        channel.queue_declare(plain.clone(), QueueDeclareOptions::exclusive(), FieldTable::default()).await
    })
    .await?;
    let again = owner.queue_declare(limited.clone(), options, ttl).await?;
    equal(again.name(), limited, "the same again")
}

async fn mismatch(
    connection: &Connection,
    queue: &ShortString,
    options: QueueDeclareOptions,
    arguments: FieldTable,
    argument: &str,
    difference: &str,
) -> Outcome {
    let text =
        format!("PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': {difference}");
    refused(connection, 406, &text, async |channel| channel.queue_declare(queue.clone(), options, arguments).await)
        .await
}

async fn server_named_queue(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let declare =
        async || channel.queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default()).await;
    let first = declare().await?.name().clone();
    equal(first.as_str().starts_with("amq.gen-"), true, format!("{first} starts with amq.gen-"))?;
    equal(declare().await?.name() == &first, false, "two server-named queues have one name")?;
    declare_passively(&channel, &first).await?;
    let key = session.name("key");
    channel
        .queue_bind("".into(), "amq.direct".into(), key.clone(), QueueBindOptions::default(), FieldTable::default())
        .await?;
    send(&channel, &"amq.direct".into(), key.as_str(), "to the last declared").await?;
    equal(drain(&channel, &first).await?, ["to the last declared"], "messages")
}

async fn queue_purge_and_delete(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    publish(&channel, &queue, ["a", "b", "c"]).await?;
    equal(channel.queue_purge(queue.clone(), QueuePurgeOptions::default()).await?, 3, "purged")?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "empty after the purge")?;
    publish(&channel, &queue, ["d", "e"]).await?;
    for (count, what) in [(2, "messages deleted with the queue"), (0, "messages deleted with no queue")] {
        equal(channel.queue_delete(queue.clone(), QueueDeleteOptions::default()).await?, count, what)?;
    }
    channel.exchange_delete(session.name("never declared"), ExchangeDeleteOptions::default()).await?;
    Ok(())
}

async fn exclusive_queue(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    connection.close(200, "OK".into()).await?;
    let other = session.connect().await?;
    refused(&other, 404, &no_queue(&queue), async |channel| declare_passively(channel, &queue).await).await
}

async fn auto_delete_queue(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions::default().auto_delete();
    let queue = session.shared_queue(&channel, "queue", options, FieldTable::default()).await?;
    publish(&channel, &queue, ["without a consumer"]).await?;
    let first = Inbox::open(&channel, &queue).await?;
    let last = Inbox::open(&channel, &queue).await?;
    channel.basic_cancel(first.consumer.tag(), BasicCancelOptions::default()).await?;
    equal(declare_passively(&channel, &queue).await?.consumer_count(), 1, "consumers")?;
    channel.basic_cancel(last.consumer.tag(), BasicCancelOptions::default()).await?;
    eventually("the queue is gone", async || is_gone(&connection, &queue).await).await
}

async fn is_gone(connection: &Connection, queue: &ShortString) -> Outcome<bool> {
    let channel = connection.create_channel().await?;
    match declare_passively(&channel, queue).await {
        Ok(_) => Ok(false),
        Err(error) => {
            equal(reply(&error), Some((404, no_queue(queue))), "error")?;
            Ok(true)
        }
    }
}

async fn message_ttl(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let ttl = table([("x-message-ttl", (TTL.as_millis() as i32).into())]);
    let limited = session.queue_with(&channel, "limited", ttl).await?;
    let published = Instant::now();
    publish_with(&channel, &limited, "old", BasicProperties::default()).await?.await?;
    await_expiry(&channel, &limited, published, 0).await?;
    publish(&channel, &limited, ["young"]).await?;
    equal(drain(&channel, &limited).await?, ["young"], "messages of the queue with a TTL")?;

    let plain = session.queue(&channel, "plain").await?;
    let published = Instant::now();
    publish_with(&channel, &plain, "old", expiration(&TTL.as_millis().to_string())).await?;
    publish_with(&channel, &plain, "young", expiration("60000")).await?.await?;
    await_expiry(&channel, &plain, published, 1).await?;
    equal(drain(&channel, &plain).await?, ["young"], "messages with an expiration")?;

    let text = "PRECONDITION_FAILED - invalid expiration 'soon': no_integer";
    refused(&connection, 406, text, async |channel| publish_with(channel, &plain, "", expiration("soon")).await).await
}

fn expiration(milliseconds: &str) -> BasicProperties {
    BasicProperties::default().with_expiration(milliseconds.into())
}

/// Awaits that no more than `left` messages are there, which must not be so before the TTL is over.
async fn await_expiry(channel: &Channel, queue: &ShortString, published: Instant, left: u32) -> Outcome {
    await_ready(channel, queue, left).await?;
    equal(published.elapsed() >= TTL, true, "the message lived as long as it may")
}

async fn queue_expires(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let expires = table([("x-expires", EXPIRES_MS.into())]);
    let used = session.queue_with(&channel, "used", expires.clone()).await?;
    let _consumer = Inbox::open(&channel, &used).await?;
    let declared = Instant::now();
    let unused = session.queue_with(&channel, "unused", expires).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    // To ask for the queue would be to use it; to publish to it is not.
    eventually("the unused queue is gone", async || Ok(is_returned(&channel, &unused).await?)).await?;
    equal(declared.elapsed().as_millis() >= EXPIRES_MS as u128, true, "the queue lived as long as it may")?;
    refused(&connection, 404, &no_queue(&unused), async |channel| declare_passively(channel, &unused).await).await?;
    equal(declare_passively(&channel, &used).await?.consumer_count(), 1, "consumers of the used queue")
}

async fn is_returned(channel: &Channel, queue: &ShortString) -> lapin::Result<bool> {
    let properties = BasicProperties::default();
    let confirm = channel.basic_publish("".into(), queue.clone(), MANDATORY, b"", properties).await?;
    Ok(matches!(confirm.await?, Confirmation::Ack(Some(_))))
}

async fn max_length(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let by_count = session.queue_with(&channel, "count", table([("x-max-length", 3.into())])).await?;
    publish(&channel, &by_count, 1..=5).await?;
    equal(drain(&channel, &by_count).await?, ["3", "4", "5"], "messages left of five")?;
    let by_bytes = session.queue_with(&channel, "bytes", table([("x-max-length-bytes", 10.into())])).await?;
    publish(&channel, &by_bytes, ["1234", "2345", "3456", "4567"]).await?;
    equal(drain(&channel, &by_bytes).await?, ["3456", "4567"], "messages left within ten bytes")
}

async fn priority_queue(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue_with(&channel, "queue", table([("x-max-priority", 10.into())])).await?;
    let messages: [(Option<u8>, &str); 9] = [
        (None, "none"),
        (Some(0), "0"),
        (Some(5), "5 first"),
        (Some(200), "200"),
        (Some(1), "1"),
        (Some(10), "10"),
        (Some(5), "5 second"),
        (Some(9), "9"),
        (None, "none second"),
    ];
    for (priority, body) in messages {
        let properties = BasicProperties::default();
        let properties = priority.map_or(properties.clone(), |priority| properties.with_priority(priority));
        publish_with(&channel, &queue, body, properties).await?;
    }
    await_ready(&channel, &queue, messages.len() as u32).await?;
    let expected = ["200", "10", "9", "5 first", "5 second", "1", "none", "0", "none second"];
    equal(drain(&channel, &queue).await?, expected, "order")
}

async fn single_active_consumer(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue_with(&channel, "queue", table([("x-single-active-consumer", true.into())])).await?;
    let mut active = Inbox::open_no_ack(&channel, &queue).await?;
    let mut next = Inbox::open_no_ack(&channel, &queue).await?;
    publish(&channel, &queue, 0..10).await?;
    let numbers = |range: std::ops::Range<u32>| range.map(|number| number.to_string()).collect::<Vec<_>>();
    equal(active.wait_bodies(10).await?, numbers(0..10), "messages of the active consumer")?;
    channel.basic_cancel(active.consumer.tag(), BasicCancelOptions::default()).await?;
    publish(&channel, &queue, 10..20).await?;
    equal(next.wait_bodies(10).await?, numbers(10..20), "messages of the next one")
}

async fn quorum_queue(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let dead = session.queue(&channel, "dead").await?;
    let arguments = table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", 2.into()),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&dead)),
    ]);
    let queue = session.shared_queue(&channel, "queue", QueueDeclareOptions::durable(), arguments).await?;
    publish(&channel, &queue, ["unlucky"]).await?;
    let mut inbox = Inbox::open(&channel, &queue).await?;
    for count in 0..=2 {
        let delivery = &inbox.wait(count as usize + 1).await?[count as usize];
        equal(delivery_count(delivery)?, count, "x-delivery-count")?;
        equal(delivery.redelivered, count > 0, "redelivered")?;
        delivery.nack(BasicNackOptions { multiple: false, requeue: true }).await?;
    }
    let mut letters = Inbox::open(&channel, &dead).await?;
    let letter = &letters.wait(1).await?[0];
    equal(letter.data.as_slice(), b"unlucky".as_slice(), "body")?;
    let headers = letter.properties.headers().clone().unwrap_or_default();
    equal(headers.inner().get("x-first-death-reason"), Some(&text("delivery_limit")), "reason")?;
    equal(inbox.deliveries.len(), 3, "deliveries")
}

/// A message that was not delivered before has no count.
fn delivery_count(delivery: &Delivery) -> Outcome<i64> {
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    match headers.inner().get("x-delivery-count") {
        None => Ok(0),
        Some(AMQPValue::LongLongInt(count)) => Ok(*count),
        Some(other) => wrong(format!("x-delivery-count is {other:?}")),
    }
}

async fn long_and_unicode_names(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let long = format!("{:x<255}", session.name("long").as_str());
    let long = ShortString::try_new(long)?;
    let exclusive = QueueDeclareOptions::exclusive();
    let declared = channel.queue_declare(long.clone(), exclusive, FieldTable::default()).await?;
    equal(declared.name(), &long, "long name")?;
    publish(&channel, &long, ["long"]).await?;
    equal(drain(&channel, &long).await?, ["long"], "messages of the long name")?;

    let queue = session.queue(&channel, "зайчонок-野兎-🐇").await?;
    equal(declare_passively(&channel, &queue).await?.name(), &queue, "name outside ASCII")?;
    let exchange = session.exchange(&channel, ExchangeKind::Topic, "größe").await?;
    let options = QueueBindOptions::default();
    let pattern = "straße.*".into();
    channel.queue_bind(queue.clone(), exchange.clone(), pattern, options, FieldTable::default()).await?;
    send(&channel, &exchange, "straße.жук", "unicode").await?;
    let message = take(&channel, &queue).await?;
    equal((message.exchange, message.routing_key), (exchange, "straße.жук".into()), "exchange and key")?;
    equal(message.data.as_slice(), b"unicode".as_slice(), "body")
}
