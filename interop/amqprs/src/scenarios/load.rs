use std::time::{Duration, Instant};

use amqprs::BasicProperties;
use amqprs::channel::{BasicQosArguments, Channel, ExchangeDeclareArguments, ExchangeType, QueueDeclareArguments};
use amqprs::connection::Connection;
use interop_harness::{BlockedExecutor, Outcome, RESTART_TIMEOUT, Scenario, equal, lacking, scenarios, wrong};

use super::connection::round_trip;
use super::exchanges::bind;
use crate::events::Events;
use crate::inbox::{Inbox, ack_multiple, drain_flagged, hold};
use crate::publishing::{await_ready, confirm, publish, publish_with, send};
use crate::refusal::check_closed;
use crate::session::Session;

const PUBLISHERS: usize = 8;
const MESSAGES_EACH: u64 = 1000;
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
    let queue = session.shared_queue(&channel, "queue").await?;
    let connection = session.connect().await?;
    let mut publishers = Vec::new();
    for publisher in 0..PUBLISHERS {
        let own = connection.open_channel(None).await?;
        publishers.push(tokio::spawn(publish_confirmed(own, queue.clone(), publisher)));
    }
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    let mut received = vec![Vec::new(); PUBLISHERS];
    for body in inbox.wait_bodies(PUBLISHERS * MESSAGES_EACH as usize).await? {
        let Some((publisher, number)) = body.split_once(' ') else { return wrong(format!("body {body}")) };
        received[publisher.parse::<usize>()?].push(number.parse::<u64>()?);
    }
    for publisher in publishers {
        publisher.await??;
    }
    for (publisher, numbers) in received.into_iter().enumerate() {
        let in_order = numbers.into_iter().eq(1..=MESSAGES_EACH);
        equal(in_order, true, format!("publisher {publisher} arrived in order, once each"))?;
    }
    Ok(())
}

async fn publish_confirmed(channel: Channel, queue: String, publisher: usize) -> Outcome {
    let mut confirms = confirm(&channel).await?;
    for number in 1..=MESSAGES_EACH {
        publish(&channel, &queue, [format!("{publisher} {number}")]).await?;
    }
    equal(confirms.confirms((1..=MESSAGES_EACH).collect()).await?.len(), 0, "nacked publishes")
}

/// Publishes numbers to a queue and expects them from a consumer that nothing else holds up.
async fn check_fast_consumer(session: &Session, publisher: &Channel) -> Outcome {
    let fast_queue = session.shared_queue(publisher, "fast").await?;
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
    let queue = session.shared_queue(&slow, "slow").await?;
    slow.basic_qos(BasicQosArguments::new(0, 20, false)).await?;
    let mut inbox = Inbox::open(&slow, &queue).await?;
    let publisher = session.channel().await?;
    publish(&publisher, &queue, padded(4096)).await?;
    check_fast_consumer(&session, &publisher).await?;

    inbox.wait(20).await?;
    await_ready(&publisher, &queue, SLOW_MESSAGES - 20).await?;
    inbox.take_arrived();
    equal(inbox.messages.len(), 20, "messages that the slow consumer holds")?;
    let mut settled = 0;
    while settled < SLOW_MESSAGES as usize {
        inbox.wait(settled + 1).await?;
        inbox.take_arrived();
        settled = inbox.messages.len();
        ack_multiple(&slow, inbox.messages[settled - 1].delivery_tag).await?;
    }
    equal(without_padding(inbox.bodies()), numbers(SLOW_MESSAGES), "the slow consumer's messages")
}

/// The messages wait in the broker and in the buffers of sockets: amqprs itself would read them whether they are wanted or
/// not.
async fn unread_consumer(session: Session) -> Outcome {
    let publisher = session.channel().await?;
    let queue = session.shared_queue(&publisher, "unread").await?;
    let executor = BlockedExecutor::new()?;
    let (arguments, unread) = (session.arguments(), queue.clone());
    let opening = executor.run(async move {
        let connection = Connection::open(&arguments).await?;
        let channel = connection.open_channel(None).await?;
        let inbox = Inbox::open_no_ack(&channel, &unread).await?;
        Outcome::Ok((connection, channel, inbox))
    });
    let (connection, channel, mut inbox) = opening.await?;
    publish(&publisher, &queue, padded(32768)).await?;
    check_fast_consumer(&session, &publisher).await?;

    let reading = executor.run(async move {
        let bodies = inbox.wait_bodies(SLOW_MESSAGES as usize).await?;
        channel.close().await?;
        connection.close().await?;
        Outcome::Ok(bodies)
    });
    equal(without_padding(reading.await?), numbers(SLOW_MESSAGES), "the messages read at last")
}

async fn connect_again(session: &Session) -> Outcome<Connection> {
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
    let mut events = Events::of_connection(&connection).await?;
    let channel = connection.open_channel(None).await?;
    let name = session.name("exchange");
    let declare = ExchangeDeclareArguments::of_type(&name, ExchangeType::Direct).durable(true).finish();
    let exchange = session.exchange_with(&channel, declare).await?;
    let declare = QueueDeclareArguments::durable_client_named(&session.name("queue"));
    let queue = session.shared_queue_with(&channel, declare).await?;
    bind(&channel, &queue, &exchange, "key").await?;
    let mut confirms = confirm(&channel).await?;
    for tag in 1..=5 {
        let persistent = BasicProperties::default().with_persistence(true).finish();
        publish_with(&channel, &queue, tag, persistent).await?;
        confirms.acked(tag).await?;
    }
    hold(&channel, &queue).await?;
    hold(&channel, &queue).await?;
    session.ask("restart");
    events.end().await;

    let connection = connect_again(&session).await?;
    let channel = connection.open_channel(None).await?;
    send(&channel, &exchange, "key", "through the binding").await?;
    await_ready(&channel, &queue, 6).await?;
    let expected = [("1", true), ("2", true), ("3", false), ("4", false), ("5", false), ("through the binding", false)];
    let expected = expected.map(|(body, redelivered)| (body.to_owned(), redelivered));
    equal(drain_flagged(&channel, &queue).await?, expected, "messages")
}

async fn automatic_recovery(_: Session) -> Outcome {
    lacking("amqprs does not connect again by itself")
}

async fn graceful_shutdown(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let mut events = Events::of_connection(&connection).await?;
    round_trip(&session, &connection).await?;
    session.ask("stop");
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    check_closed(&mut events, 320, text).await
}
