use amqprs::BasicProperties;
use amqprs::channel::QueueDeclareArguments;
use interop_harness::{Outcome, Scenario, equal, lacking, scenarios, wrong};

use crate::events::{Event, Events};
use crate::inbox::drain;
use crate::publishing::{await_ready, confirm, publish, publish_with, send, send_mandatory};
use crate::refusal::refused;
use crate::session::{Session, int, table};

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

/// Every other one persistent.
fn persistence(tag: u64) -> BasicProperties {
    BasicProperties::default().with_persistence(tag.is_multiple_of(2)).finish()
}

async fn publisher_confirms(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let declare = QueueDeclareArguments::durable_client_named(&session.name("queue"));
    let queue = session.shared_queue_with(&channel, declare).await?;
    let mut confirms = confirm(&channel).await?;
    for tag in 1..=100 {
        publish_with(&channel, &queue, tag, persistence(tag)).await?;
        confirms.acked(tag).await?;
    }
    await_ready(&channel, &queue, 100).await?;
    for tag in 101..=1000 {
        publish_with(&channel, &queue, tag, persistence(tag)).await?;
    }
    equal(confirms.confirms((101..=1000).collect()).await?.len(), 0, "nacked publishes")?;
    await_ready(&channel, &queue, 1000).await?;
    equal(confirms.arrived().len(), 0, "further confirms")
}

async fn confirm_unroutable(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let mut confirms = confirm(&channel).await?;
    for (tag, exchange) in [(1, ""), (2, "amq.fanout")] {
        send(&channel, exchange, &session.name("nobody"), "nowhere to go").await?;
        confirms.acked(tag).await?;
    }
    Ok(())
}

async fn mandatory_return(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let mut events = Events::of_channel(&channel).await?;
    let queue = session.queue(&channel, "queue").await?;
    let nobody = session.name("nobody");
    let headers = table([("kept", int(1))]);
    let properties = BasicProperties::default().with_message_id("lost").with_headers(headers.clone()).finish();
    send_mandatory(&channel, "", &queue, "routed", BasicProperties::default()).await?;
    send(&channel, "amq.direct", &nobody, "not mandatory").await?;
    send_mandatory(&channel, "amq.direct", &nobody, "lost", properties).await?;
    let returned = match events.next().await? {
        Event::Returned(returned) => returned,
        other => return wrong(format!("expected a message to be returned, got {other:?}")),
    };
    equal(returned.reply, (312, "NO_ROUTE".to_owned()), "return")?;
    equal((returned.exchange.as_str(), &returned.routing_key), ("amq.direct", &nobody), "exchange and key")?;
    equal(returned.properties.message_id().map(String::as_str), Some("lost"), "message id")?;
    equal(returned.properties.headers(), Some(&headers), "headers")?;
    equal(returned.content.as_slice(), b"lost".as_slice(), "body")?;
    equal(drain(&channel, &queue).await?, ["routed"], "routed")?;
    equal(events.arrived().len(), 0, "further events")
}

async fn return_before_confirm(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let mut events = confirm(&channel).await?;
    for n in 0..20 {
        send_mandatory(&channel, "", &session.name("nobody"), n, BasicProperties::default()).await?;
        let returned = match events.next().await? {
            Event::Returned(returned) => returned,
            other => return wrong(format!("expected message {n} to be returned first, got {other:?}")),
        };
        equal((returned.reply.0, returned.content), (312, n.to_string().into_bytes()), "return")?;
        events.acked(2 * n + 1).await?;
        send_mandatory(&channel, "", &queue, n, BasicProperties::default()).await?;
        events.acked(2 * n + 2).await?;
    }
    equal(drain(&channel, &queue).await?.len(), 20, "routed messages")
}

async fn nacked_publish(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let arguments = table([("x-max-length", int(3)), ("x-overflow", "reject-publish".into())]);
    let queue = session.queue_with(&channel, "queue", arguments).await?;
    let mut confirms = confirm(&channel).await?;
    publish(&channel, &queue, 1..=5).await?;
    equal(confirms.confirms((1..=5).collect()).await?, [4, 5].into(), "nacked publishes")?;
    equal(drain(&channel, &queue).await?, ["1", "2", "3"], "messages that fitted")
}

async fn connection_blocked(_: Session) -> Outcome {
    lacking("amqprs has a callback for it, but does not announce connection.blocked, so the broker never tells it")
}

async fn user_id(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let queue = session.queue(&channel, "queue").await?;
    let (user, _) = session.login();
    let signed = |name: &str| BasicProperties::default().with_user_id(name).finish();
    publish(&channel, &queue, ["anonymous"]).await?;
    publish_with(&channel, &queue, "signed", signed(user)).await?;
    equal(drain(&channel, &queue).await?, ["anonymous", "signed"], "messages")?;
    let text = format!("PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '{user}'");
    refused(&connection, 406, &text, async |forger| publish_with(forger, &queue, "forged", signed("somebody")).await)
        .await?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "no forged messages")
}
