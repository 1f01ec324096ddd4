use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use interop_harness::{BlockedExecutor, Outcome, RESTART_TIMEOUT, Scenario, equal, eventually, scenarios, wrong};
use lapin::options::{
    BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind, ExchangeKind};

use super::connection::round_trip;
use super::exchanges::bind;
use crate::inbox::{Inbox, MULTIPLE, drain_flagged, hold};
use crate::publishing::{await_ready, declare_passively, publish, publish_with, send};
use crate::refusal::{error_event, reply};
use crate::session::Session;

const PUBLISHERS: usize = 8;
const MESSAGES_EACH: usize = 1000;
const SLOW_MESSAGES: u32 = 2000;
const FAST_MESSAGES: u32 = 5000;
const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![
        concurrent_publishing,
        slow_consumer,
        unread_consumer,
        survives_restart,
        automatic_recovery,
        graceful_shutdown,
    ]
}

fn numbers(count: u32) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// A channel for each task, on one connection.
async fn concurrent_publishing(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.shared_queue(&channel, "queue", Default::default(), FieldTable::default()).await?;
    let connection = session.connect().await?;
    let mut publishers = Vec::new();
    for publisher in 0..PUBLISHERS {
        let own = connection.create_channel().await?;
        own.confirm_select(ConfirmSelectOptions::default()).await?;
        publishers.push(tokio::spawn(publish_confirmed(own, queue.clone(), publisher)));
    }
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    let mut received = vec![Vec::new(); PUBLISHERS];
    for body in inbox.wait_bodies(PUBLISHERS * MESSAGES_EACH).await? {
        let Some((publisher, number)) = body.split_once(' ') else { return wrong(format!("body {body}")) };
        received[publisher.parse::<usize>()?].push(number.parse::<usize>()?);
    }
    for publisher in publishers {
        publisher.await??;
    }
    for (publisher, numbers) in received.into_iter().enumerate() {
        let in_order = numbers.into_iter().eq(0..MESSAGES_EACH);
        equal(in_order, true, format!("publisher {publisher} arrived in order, once each"))?;
    }
    Ok(())
}

async fn publish_confirmed(channel: Channel, queue: ShortString, publisher: usize) -> lapin::Result<()> {
    let mut confirms = Vec::new();
    for number in 0..MESSAGES_EACH {
        let body = format!("{publisher} {number}");
        confirms.push(publish_with(&channel, &queue, &body, BasicProperties::default()).await?);
    }
    for confirm in confirms {
        assert_eq!(confirm.await?, Confirmation::Ack(None));
    }
    Ok(())
}

/// Publishes numbers to a queue and expects them from a consumer that nothing else holds up.
async fn check_fast_consumer(session: &Session, publisher: &Channel) -> Outcome {
    let fast_queue = session.shared_queue(publisher, "fast", Default::default(), FieldTable::default()).await?;
    let channel = session.channel().await?;
    let mut fast = Inbox::open_no_ack(&channel, &fast_queue).await?;
    publish(publisher, &fast_queue, 0..FAST_MESSAGES).await?;
    equal(fast.wait_bodies(FAST_MESSAGES as usize).await?, numbers(FAST_MESSAGES), "the fast consumer's messages")
}

/// Numbers, each with so many bytes behind it.
fn padded(padding: usize) -> impl Iterator<Item = String> {
    let padding = ".".repeat(padding);
    (0..SLOW_MESSAGES).map(move |number| format!("{number} {padding}"))
}

fn without_padding(bodies: Vec<String>) -> Vec<String> {
    bodies.iter().filter_map(|body| body.split(' ').next()).map(str::to_owned).collect()
}

async fn slow_consumer(session: Session) -> Outcome {
    let slow = session.channel().await?;
    let queue = session.shared_queue(&slow, "slow", Default::default(), FieldTable::default()).await?;
    slow.basic_qos(20, BasicQosOptions::default()).await?;
    let mut inbox = Inbox::open(&slow, &queue).await?;
    let publisher = session.channel().await?;
    publish(&publisher, &queue, padded(4096)).await?;
    check_fast_consumer(&session, &publisher).await?;

    inbox.wait(20).await?;
    await_ready(&publisher, &queue, SLOW_MESSAGES - 20).await?;
    inbox.take_arrived().await?;
    equal(inbox.deliveries.len(), 20, "messages that the slow consumer holds")?;
    let mut settled = 0;
    while settled < SLOW_MESSAGES as usize {
        inbox.wait(settled + 1).await?;
        inbox.take_arrived().await?;
        settled = inbox.deliveries.len();
        inbox.deliveries[settled - 1].ack(MULTIPLE).await?;
    }
    equal(without_padding(inbox.bodies()), numbers(SLOW_MESSAGES), "the slow consumer's messages")
}

/// The messages wait in the broker and in the buffers of sockets: lapin itself would read them whether they are wanted or
/// not.
async fn unread_consumer(session: Session) -> Outcome {
    let publisher = session.channel().await?;
    let queue = session.shared_queue(&publisher, "unread", Default::default(), FieldTable::default()).await?;
    let executor = BlockedExecutor::new()?;
    let (uri, unread) = (session.uri(), queue.clone());
    let opening = executor.run(async move {
        let connection = Connection::connect_uri(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let inbox = Inbox::open_no_ack(&channel, &unread).await?;
        Outcome::Ok((connection, inbox))
    });
    let (connection, mut inbox) = opening.await?;
    publish(&publisher, &queue, padded(32768)).await?;
    check_fast_consumer(&session, &publisher).await?;

    let reading = executor.run(async move {
        let bodies = inbox.wait_bodies(SLOW_MESSAGES as usize).await?;
        connection.close(200, "OK".into()).await?;
        Outcome::Ok(bodies)
    });
    equal(without_padding(reading.await?), numbers(SLOW_MESSAGES), "the messages read at last")
}

async fn connect_again(session: &Session) -> Outcome<Rc<Connection>> {
    let started = Instant::now();
    loop {
        match session.connect().await {
            Ok(connection) => return Ok(connection),
            Err(failure) if started.elapsed() > RESTART_TIMEOUT => return Err(failure),
            Err(_) => tokio::time::sleep(RECONNECT_INTERVAL).await,
        }
    }
}

async fn survives_restart(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default();
    let exchange = session.exchange_with(&channel, ExchangeKind::Direct, "exchange", durable, none.clone()).await?;
    let queue = session.shared_queue(&channel, "queue", QueueDeclareOptions::durable(), none).await?;
    bind(&channel, &queue, &exchange, "key").await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for n in 1..=5 {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let confirm = publish_with(&channel, &queue, &n.to_string(), persistent).await?;
        equal(confirm.await?, Confirmation::Ack(None), "confirm")?;
    }
    hold(&channel, &queue).await?;
    hold(&channel, &queue).await?;
    let events = pin!(connection.events_listener());
    session.ask("restart");
    error_event(events).await?;

    let channel = connect_again(&session).await?.create_channel().await?;
    send(&channel, &exchange, "key", "through the binding").await?;
    await_ready(&channel, &queue, 6).await?;
    let expected = [("1", true), ("2", true), ("3", false), ("4", false), ("5", false), ("through the binding", false)];
    let expected = expected.map(|(body, redelivered)| (body.to_owned(), redelivered));
    equal(drain_flagged(&channel, &queue).await?, expected, "messages")
}

async fn automatic_recovery(session: Session) -> Outcome {
    let properties = ConnectionProperties::default().enable_auto_recover().configure_backoff(|backoff| {
        backoff.with_min_delay(RECONNECT_INTERVAL).with_max_delay(4 * RECONNECT_INTERVAL).with_max_times(200)
    });
    let connection = session.connect_with(session.uri(), properties).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(2, BasicQosOptions::default()).await?;
    let exchange = session.exchange(&channel, ExchangeKind::Direct, "exchange").await?;
    let queue = session.shared_queue(&channel, "queue", Default::default(), FieldTable::default()).await?;
    bind(&channel, &queue, &exchange, "key").await?;
    let mut inbox = Inbox::open(&channel, &queue).await?;
    send(&channel, &exchange, "key", "before").await?;
    equal(inbox.wait_bodies(1).await?, ["before"], "messages before the restart")?;

    session.ask("restart");
    let error = publish_until_error(&channel, &session.name("nobody")).await;
    channel.wait_for_recovery(error).await?;
    await_consumer(&session, &queue).await?;
    inbox.deliveries.clear();
    for n in 0..5 {
        let (key, body, options) = ("key".into(), n.to_string(), BasicPublishOptions::default());
        let properties = BasicProperties::default();
        let confirm = channel.basic_publish(exchange.clone(), key, options, body.as_bytes(), properties).await?;
        equal(confirm.await?, Confirmation::Ack(None), "confirm")?;
    }
    inbox.wait(2).await?;
    await_ready(&channel, &queue, 3).await?;
    inbox.take_arrived().await?;
    equal(inbox.deliveries.len(), 2, "messages up to the prefetch")?;
    inbox.deliveries[1].ack(MULTIPLE).await?;
    inbox.wait(4).await?[3].ack(MULTIPLE).await?;
    equal(inbox.wait_bodies(5).await?, numbers(5), "messages after the restart")?;
    equal(inbox.flags(), [false; 5], "redelivered")
}

async fn publish_until_error(channel: &Channel, queue: &ShortString) -> lapin::Error {
    loop {
        if let Err(error) = publish_with(channel, queue, "", BasicProperties::default()).await {
            return error;
        }
        tokio::time::sleep(RECONNECT_INTERVAL).await;
    }
}

/// A recovered channel can be used before lapin has declared again what it had; the consumer comes last.
async fn await_consumer(session: &Session, queue: &ShortString) -> Outcome {
    let observer = connect_again(session).await?;
    eventually("the consumer is back", async || {
        let channel = observer.create_channel().await?;
        Ok(declare_passively(&channel, queue).await.is_ok_and(|declared| declared.consumer_count() == 1))
    })
    .await
}

/// RabbitMQ resets the socket right behind its close. lapin takes in all there is before it looks at any of it, and so
/// may get to know of nothing but the reset.
async fn graceful_shutdown(session: Session) -> Outcome {
    let connection = session.connect().await?;
    round_trip(&session, &connection).await?;
    let events = pin!(connection.events_listener());
    session.ask("stop");
    let error = error_event(events).await?;
    if matches!(error.kind(), ErrorKind::IOError(io) if io.kind() == std::io::ErrorKind::ConnectionReset) {
        return Ok(());
    }
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    equal(reply(&error), Some((320, text.to_owned())), format!("what {error} says"))
}
