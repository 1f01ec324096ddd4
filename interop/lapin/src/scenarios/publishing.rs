use std::pin::pin;
use std::time::Duration;

use interop_harness::{Outcome, Scenario, equal, eventually, scenarios, wrong};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Event, PublisherConfirm};
use tokio_stream::{Stream, StreamExt};

use crate::inbox::{body, drain};
use crate::publishing::{MANDATORY, await_ready, declare_passively, publish, publish_with};
use crate::refusal::refused;
use crate::session::{Session, table, text};

const BLOCKED_INTERVAL: Duration = Duration::from_millis(50);
/// Long enough for a message that is not held back to arrive.
const WAITING: Duration = Duration::from_millis(300);

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![
        publisher_confirms,
        confirm_unroutable,
        mandatory_return,
        return_before_confirm,
        nacked_publish,
        connection_blocked,
        user_id,
    ]
}

async fn confirming(session: &Session) -> Outcome<Channel> {
    let channel = session.channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Every other one persistent.
async fn publish_number(channel: &Channel, queue: &ShortString, number: u8) -> lapin::Result<PublisherConfirm> {
    let properties = BasicProperties::default().with_delivery_mode(1 + number % 2);
    publish_with(channel, queue, &number.to_string(), properties).await
}

async fn publisher_confirms(session: Session) -> Outcome {
    let channel = confirming(&session).await?;
    let none = FieldTable::default();
    let queue = session.shared_queue(&channel, "queue", QueueDeclareOptions::durable(), none).await?;
    for number in 0..100 {
        let confirm = publish_number(&channel, &queue, number).await?;
        equal(confirm.await?, Confirmation::Ack(None), "confirm waited for by itself")?;
    }
    await_ready(&channel, &queue, 100).await?;
    let mut confirms = Vec::new();
    for number in (0..100).cycle().take(450) {
        confirms.push(publish_number(&channel, &queue, number).await?);
    }
    for confirm in confirms {
        equal(confirm.await?, Confirmation::Ack(None), "one of many confirms")?;
    }
    await_ready(&channel, &queue, 550).await?;
    for number in (0..100).cycle().take(450) {
        drop(publish_number(&channel, &queue, number).await?);
    }
    equal(channel.wait_for_confirms().await?.len(), 0, "returned messages")?;
    await_ready(&channel, &queue, 1000).await
}

async fn confirm_unroutable(session: Session) -> Outcome {
    let channel = confirming(&session).await?;
    for exchange in ["", "amq.fanout"] {
        let options = BasicPublishOptions::default();
        let nobody = session.name("nobody");
        let confirm = channel
            .basic_publish(exchange.into(), nobody, options, b"nowhere to go", BasicProperties::default())
            .await?;
        equal(confirm.await?, Confirmation::Ack(None), "confirm")?;
    }
    Ok(())
}

async fn mandatory_return(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let nobody = session.name("nobody");
    let properties =
        BasicProperties::default().with_message_id("lost".into()).with_headers(table([("kept", 1.into())]));
    let none = BasicProperties::default();
    let not_mandatory = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.clone(), MANDATORY, b"routed", none.clone()).await?;
    channel.basic_publish("amq.direct".into(), nobody.clone(), not_mandatory, b"not mandatory", none).await?;
    channel.basic_publish("amq.direct".into(), nobody.clone(), MANDATORY, b"lost", properties.clone()).await?;
    let mut returned = Vec::new();
    eventually("a message is returned", async || {
        returned.extend(channel.wait_for_confirms().await?);
        Ok(!returned.is_empty())
    })
    .await?;
    let [message] = returned.as_slice() else { return wrong(format!("returned messages: {returned:?}")) };
    equal((message.reply_code, message.reply_text.as_str()), (312, "NO_ROUTE"), "return")?;
    equal((&message.exchange, &message.routing_key), (&"amq.direct".into(), &nobody), "exchange and key")?;
    equal(&message.properties, &properties, "properties")?;
    equal(body(message).as_str(), "lost", "body")?;
    equal(drain(&channel, &queue).await?, ["routed"], "routed")?;
    equal(channel.wait_for_confirms().await?.len(), 0, "further returned messages")
}

/// lapin gives a confirmation the message that was returned before it came.
async fn return_before_confirm(session: Session) -> Outcome {
    let channel = confirming(&session).await?;
    let queue = session.queue(&channel, "queue").await?;
    let publish = async |key: &ShortString, n: i32| {
        let payload = n.to_string();
        let properties = BasicProperties::default();
        channel.basic_publish("".into(), key.clone(), MANDATORY, payload.as_bytes(), properties).await
    };
    for n in 0..20 {
        let confirm = publish(&session.name("nobody"), n).await?;
        let Confirmation::Ack(Some(returned)) = confirm.await? else {
            return wrong(format!("message {n} was confirmed before its return, or not returned"));
        };
        equal((returned.reply_code, body(&returned)), (312, n.to_string()), "return")?;
        equal(publish(&queue, n).await?.await?, Confirmation::Ack(None), "confirm of a routed message")?;
    }
    equal(drain(&channel, &queue).await?.len(), 20, "routed messages")
}

async fn nacked_publish(session: Session) -> Outcome {
    let channel = confirming(&session).await?;
    let arguments = table([("x-max-length", 3.into()), ("x-overflow", text("reject-publish"))]);
    let queue = session.queue_with(&channel, "queue", arguments).await?;
    let mut confirms = Vec::new();
    for n in 1..=5 {
        confirms.push(publish_with(&channel, &queue, &n.to_string(), BasicProperties::default()).await?);
    }
    for (n, confirm) in (1..=5).zip(confirms) {
        let expected = if n <= 3 { Confirmation::Ack(None) } else { Confirmation::Nack(None) };
        equal(confirm.await?, expected, format!("message {n}"))?;
    }
    equal(drain(&channel, &queue).await?, ["1", "2", "3"], "messages that fitted")
}

/// The broker blocks a connection when it publishes during an alarm.
async fn connection_blocked(session: Session) -> Outcome {
    let observer = session.channel().await?;
    let queue = session.shared_queue(&observer, "queue", Default::default(), FieldTable::default()).await?;
    let connection = session.connect().await?;
    let mut events = pin!(connection.events_listener());
    let channel = connection.create_channel().await?;
    session.ask("block");
    let (published, reason) = publish_until_blocked(&channel, &queue, &mut events).await?;
    equal(reason.as_str(), "low on memory", "reason")?;
    equal(connection.status().blocked(), true, "blocked")?;
    let held_back = tokio::spawn({
        let (channel, queue) = (channel.clone(), queue.clone());
        async move { publish(&channel, &queue, [published]).await }
    });
    tokio::time::sleep(WAITING).await;
    let arrived = declare_passively(&observer, &queue).await?.message_count();
    equal(arrived <= published, true, "what was published while blocked waits")?;
    session.ask("unblock");
    match events.next().await {
        Some(Event::ConnectionUnblocked) => {}
        other => return wrong(format!("expected to be unblocked, got {other:?}")),
    }
    held_back.await??;
    await_ready(&observer, &queue, published + 1).await?;
    let expected: Vec<String> = (0..=published).map(|n| n.to_string()).collect();
    equal(drain(&observer, &queue).await?, expected, "messages")
}

/// The alarm may take a moment to be set: what is published before arrives.
async fn publish_until_blocked(
    channel: &Channel,
    queue: &ShortString,
    events: &mut (impl Stream<Item = Event> + Unpin),
) -> Outcome<(u32, String)> {
    let mut published = 0;
    loop {
        publish(channel, queue, [published]).await?;
        published += 1;
        match tokio::time::timeout(BLOCKED_INTERVAL, events.next()).await {
            Ok(Some(Event::ConnectionBlocked(reason))) => return Ok((published, reason)),
            Ok(Some(Event::Connected)) => {}
            Ok(other) => return wrong(format!("expected to be blocked, got {other:?}")),
            Err(_) => {}
        }
    }
}

async fn user_id(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let user = session.uri().authority.userinfo.username;
    let signed = |name: &str| BasicProperties::default().with_user_id(name.into());
    publish(&channel, &queue, ["anonymous"]).await?;
    publish_with(&channel, &queue, "signed", signed(&user)).await?;
    equal(drain(&channel, &queue).await?, ["anonymous", "signed"], "messages")?;
    let text = format!("PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '{user}'");
    refused(&connection, 406, &text, async |forger| publish_with(forger, &queue, "forged", signed("somebody")).await)
        .await?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "no forged messages")
}
