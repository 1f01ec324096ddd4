use std::time::{Duration, Instant};

use amqprs::channel::{
    BasicCancelArguments, BasicNackArguments, Channel, ExchangeDeleteArguments, ExchangeType, QueueBindArguments,
    QueueDeclareArguments, QueueDeleteArguments, QueuePurgeArguments,
};
use amqprs::connection::Connection;
use amqprs::{BasicProperties, FieldValue};
use interop_harness::{Outcome, Scenario, equal, eventually, scenarios, wrong};

use crate::events::{Event, Events};
use crate::inbox::{Inbox, Message, drain, take};
use crate::publishing::{
    await_ready, confirm, declare, declare_passively, publish, publish_with, send, send_mandatory,
};
use crate::refusal::{check_closed, locked, no_queue, refused};
use crate::session::{Session, field, int, table};

const TTL: Duration = Duration::from_millis(200);
const EXPIRES: Duration = Duration::from_millis(300);

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

fn milliseconds(duration: Duration) -> FieldValue {
    int(duration.as_millis() as i32)
}

async fn queue_declare(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let name = session.name("queue");
    let exclusive = QueueDeclareArguments::new(&name).exclusive(true).finish();
    for _ in 0..2 {
        let declared = declare(&channel, exclusive.clone()).await?;
        equal((&declared.name, declared.messages, declared.consumers), (&name, 0, 0), "declare-ok")?;
    }
    publish(&channel, &name, ["a", "b", "c"]).await?;
    await_ready(&channel, &name, 3).await?;
    let declared = declare_passively(&channel, &name).await?;
    equal((&declared.name, declared.messages, declared.consumers), (&name, 3, 0), "passive declare-ok")?;
    let mut inbox = Inbox::open(&channel, &name).await?;
    inbox.wait(3).await?;
    let declared = declare(&channel, exclusive).await?;
    equal((declared.messages, declared.consumers), (0, 1), "ready messages and consumers")
}

async fn queue_mismatch(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.open_channel(None).await?;
    let ttl = table([("x-message-ttl", int(60000))]);
    let plain = session.shared_queue(&owner, "plain").await?;
    let declare_limited = QueueDeclareArguments::new(&session.name("limited")).arguments(ttl.clone()).finish();
    let limited = session.shared_queue_with(&owner, declare_limited.clone()).await?;
    let again = || QueueDeclareArguments::new(&plain);
    let flag = "received 'true' but current is 'false'";
    mismatch(&connection, &plain, again().durable(true).finish(), "durable", flag).await?;
    mismatch(&connection, &plain, again().auto_delete(true).finish(), "auto_delete", flag).await?;
    let difference = "received the value '60000' of type 'signedint' but current is none";
    mismatch(&connection, &plain, again().arguments(ttl).finish(), "x-message-ttl", difference).await?;
    let difference = "received none but current is the value '60000' of type 'signedint'";
    mismatch(&connection, &limited, QueueDeclareArguments::new(&limited), "x-message-ttl", difference).await?;
    refused(&connection, 405, &locked(&plain), async |channel| {
        declare(channel, again().exclusive(true).finish()).await
    })
    .await?;
    equal(declare(&owner, declare_limited).await?.name, limited, "the same again")
}

async fn mismatch(
    connection: &Connection,
    queue: &str,
    arguments: QueueDeclareArguments,
    argument: &str,
    difference: &str,
) -> Outcome {
    let text =
        format!("PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': {difference}");
    refused(connection, 406, &text, async |channel| declare(channel, arguments).await).await
}

async fn server_named_queue(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let first = declare(&channel, QueueDeclareArguments::exclusive_server_named()).await?.name;
    equal(first.starts_with("amq.gen-"), true, format!("{first} starts with amq.gen-"))?;
    let second = declare(&channel, QueueDeclareArguments::exclusive_server_named()).await?.name;
    equal(second == first, false, "two server-named queues have one name")?;
    declare_passively(&channel, &first).await?;
    let key = session.name("key");
    channel.queue_bind(QueueBindArguments::new("", "amq.direct", &key)).await?;
    send(&channel, "amq.direct", &key, "to the last declared").await?;
    equal(drain(&channel, &first).await?, ["to the last declared"], "messages")
}

async fn queue_purge_and_delete(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    publish(&channel, &queue, ["a", "b", "c"]).await?;
    equal(channel.queue_purge(QueuePurgeArguments::new(&queue)).await?, Some(3), "purged")?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "empty after the purge")?;
    publish(&channel, &queue, ["d", "e"]).await?;
    for (count, what) in [(2, "messages deleted with the queue"), (0, "messages deleted with no queue")] {
        equal(channel.queue_delete(QueueDeleteArguments::new(&queue)).await?, Some(count), what)?;
    }
    channel.exchange_delete(ExchangeDeleteArguments::new(&session.name("never declared"))).await?;
    Ok(())
}

async fn exclusive_queue(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let queue = session.queue(&channel, "queue").await?;
    connection.close().await?;
    let other = session.connect().await?;
    refused(&other, 404, &no_queue(&queue), async |channel| declare_passively(channel, &queue).await).await
}

async fn auto_delete_queue(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let arguments = QueueDeclareArguments::transient_autodelete(&session.name("queue"));
    let queue = session.shared_queue_with(&channel, arguments).await?;
    publish(&channel, &queue, ["without a consumer"]).await?;
    let first = Inbox::open(&channel, &queue).await?;
    let last = Inbox::open(&channel, &queue).await?;
    channel.basic_cancel(BasicCancelArguments::new(&first.tag)).await?;
    equal(declare_passively(&channel, &queue).await?.consumers, 1, "consumers")?;
    channel.basic_cancel(BasicCancelArguments::new(&last.tag)).await?;
    eventually("the queue is gone", async || is_gone(&connection, &queue).await).await
}

async fn is_gone(connection: &Connection, queue: &str) -> Outcome<bool> {
    let channel = connection.open_channel(None).await?;
    let mut events = Events::of_channel(&channel).await?;
    if declare_passively(&channel, queue).await.is_ok() {
        return Ok(false);
    }
    check_closed(&mut events, 404, &no_queue(queue)).await?;
    Ok(true)
}

async fn message_ttl(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let mut confirms = confirm(&channel).await?;
    let limited = session.queue_with(&channel, "limited", table([("x-message-ttl", milliseconds(TTL))])).await?;
    let published = Instant::now();
    publish(&channel, &limited, ["old"]).await?;
    confirms.acked(1).await?;
    await_expiry(&channel, &limited, published, 0).await?;
    publish(&channel, &limited, ["young"]).await?;
    equal(drain(&channel, &limited).await?, ["young"], "messages of the queue with a TTL")?;
    confirms.acked(2).await?;

    let plain = session.queue(&channel, "plain").await?;
    let published = Instant::now();
    publish_with(&channel, &plain, "old", expiration(&TTL.as_millis().to_string())).await?;
    publish_with(&channel, &plain, "young", expiration("60000")).await?;
    confirms.confirms([3, 4].into()).await?;
    await_expiry(&channel, &plain, published, 1).await?;
    equal(drain(&channel, &plain).await?, ["young"], "messages with an expiration")?;

    let text = "PRECONDITION_FAILED - invalid expiration 'soon': no_integer";
    refused(&connection, 406, text, async |channel| publish_with(channel, &plain, "", expiration("soon")).await).await
}

fn expiration(milliseconds: &str) -> BasicProperties {
    BasicProperties::default().with_expiration(milliseconds).finish()
}

/// Awaits that no more than `left` messages are there, which must not be so before the TTL is over.
async fn await_expiry(channel: &Channel, queue: &str, published: Instant, left: u32) -> Outcome {
    await_ready(channel, queue, left).await?;
    equal(published.elapsed() >= TTL, true, "the message lived as long as it may")
}

async fn queue_expires(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let expires = table([("x-expires", milliseconds(EXPIRES))]);
    let used = session.queue_with(&channel, "used", expires.clone()).await?;
    let _consumer = Inbox::open(&channel, &used).await?;
    let declared = Instant::now();
    let unused = session.queue_with(&channel, "unused", expires).await?;
    let mut confirms = confirm(&channel).await?;
    // To ask for the queue would be to use it; to publish to it is not.
    eventually("the unused queue is gone", async || is_returned(&channel, &mut confirms, &unused).await).await?;
    equal(declared.elapsed() >= EXPIRES, true, "the queue lived as long as it may")?;
    refused(&connection, 404, &no_queue(&unused), async |channel| declare_passively(channel, &unused).await).await?;
    equal(declare_passively(&channel, &used).await?.consumers, 1, "consumers of the used queue")
}

async fn is_returned(channel: &Channel, events: &mut Events, queue: &str) -> Outcome<bool> {
    send_mandatory(channel, "", queue, "", BasicProperties::default()).await?;
    let is_return = matches!(events.next().await?, Event::Returned(_));
    if is_return {
        events.next().await?;
    }
    Ok(is_return)
}

async fn max_length(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let by_count = session.queue_with(&channel, "count", table([("x-max-length", int(3))])).await?;
    publish(&channel, &by_count, 1..=5).await?;
    equal(drain(&channel, &by_count).await?, ["3", "4", "5"], "messages left of five")?;
    let by_bytes = session.queue_with(&channel, "bytes", table([("x-max-length-bytes", int(10))])).await?;
    publish(&channel, &by_bytes, ["1234", "2345", "3456", "4567"]).await?;
    equal(drain(&channel, &by_bytes).await?, ["3456", "4567"], "messages left within ten bytes")
}

async fn priority_queue(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue_with(&channel, "queue", table([("x-max-priority", int(10))])).await?;
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
        let mut properties = BasicProperties::default();
        if let Some(priority) = priority {
            properties.with_priority(priority);
        }
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
    channel.basic_cancel(BasicCancelArguments::new(&active.tag)).await?;
    publish(&channel, &queue, 10..20).await?;
    equal(next.wait_bodies(10).await?, numbers(10..20), "messages of the next one")
}

async fn quorum_queue(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let dead = session.queue(&channel, "dead").await?;
    let arguments = table([
        ("x-queue-type", "quorum".into()),
        ("x-delivery-limit", int(2)),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", dead.as_str().into()),
    ]);
    let declare = QueueDeclareArguments::durable_client_named(&session.name("queue")).arguments(arguments).finish();
    let queue = session.shared_queue_with(&channel, declare).await?;
    publish(&channel, &queue, ["unlucky"]).await?;
    let mut inbox = Inbox::open(&channel, &queue).await?;
    for count in 0..=2 {
        let message = &inbox.wait(count as usize + 1).await?[count as usize];
        equal(delivery_count(message)?, count, "x-delivery-count")?;
        equal(message.redelivered, count > 0, "redelivered")?;
        channel.basic_nack(BasicNackArguments::new(message.delivery_tag, false, true)).await?;
    }
    let mut letters = Inbox::open(&channel, &dead).await?;
    let letter = &letters.wait(1).await?[0];
    equal(letter.body().as_str(), "unlucky", "body")?;
    let reason = letter.properties.headers().and_then(|headers| field(headers, "x-first-death-reason"));
    equal(reason, Some(&"delivery_limit".into()), "reason")?;
    equal(inbox.messages.len(), 3, "deliveries")
}

/// A message that was not delivered before has no count.
fn delivery_count(message: &Message) -> Outcome<i64> {
    match message.properties.headers().and_then(|headers| field(headers, "x-delivery-count")) {
        None => Ok(0),
        Some(FieldValue::l(count)) => Ok(*count),
        Some(other) => wrong(format!("x-delivery-count is {other:?}")),
    }
}

async fn long_and_unicode_names(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let long = format!("{:x<255}", session.name("long"));
    let declared = declare(&channel, QueueDeclareArguments::new(&long).exclusive(true).finish()).await?;
    equal((declared.name.len(), &declared.name), (255, &long), "long name")?;
    publish(&channel, &long, ["long"]).await?;
    equal(drain(&channel, &long).await?, ["long"], "messages of the long name")?;

    let queue = session.queue(&channel, "зайчонок-野兎-🐇").await?;
    equal(&declare_passively(&channel, &queue).await?.name, &queue, "name outside ASCII")?;
    let exchange = session.exchange(&channel, ExchangeType::Topic, "größe").await?;
    channel.queue_bind(QueueBindArguments::new(&queue, &exchange, "straße.*")).await?;
    send(&channel, &exchange, "straße.жук", "unicode").await?;
    let message = take(&channel, &queue).await?;
    equal((&message.exchange, message.routing_key.as_str()), (&exchange, "straße.жук"), "exchange and key")?;
    equal(message.body().as_str(), "unicode", "body")
}
