use amqprs::channel::{
    BasicCancelArguments, BasicConsumeArguments, BasicGetArguments, BasicNackArguments, BasicQosArguments,
    BasicRejectArguments, Channel, QueueDeleteArguments,
};
use amqprs::error::Error;
use interop_harness::{Outcome, Scenario, equal, scenarios, wrong};

use crate::events::{Event, Events};
use crate::inbox::{Inbox, ack, ack_multiple as ack_up_to, drain, drain_flagged, gather};
use crate::publishing::{await_ready, publish};
use crate::refusal::refused;
use crate::session::{Session, int, table};

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![
        consume_and_ack,
        no_ack,
        prefetch,
        prefetch_per_channel,
        ack_multiple,
        nack,
        reject,
        requeue_order,
        recover,
        unacked_requeued_on_close,
        consumer_cancel,
        cancel_notify,
        exclusive_consumer,
        round_robin,
        consumer_priority,
        get,
    ]
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn redelivered(bodies: &[&str]) -> Vec<(String, bool)> {
    bodies.iter().map(|body| (body.to_string(), true)).collect()
}

async fn nack_one(channel: &Channel, delivery_tag: u64, requeue: bool) -> Result<(), Error> {
    channel.basic_nack(BasicNackArguments::new(delivery_tag, false, requeue)).await
}

async fn nack_up_to(channel: &Channel, delivery_tag: u64, requeue: bool) -> Result<(), Error> {
    channel.basic_nack(BasicNackArguments::new(delivery_tag, true, requeue)).await
}

/// Publishes five messages and takes them without acknowledging.
async fn five(channel: &Channel, queue: &str) -> Outcome<Inbox> {
    publish(channel, queue, 1..=5).await?;
    let mut inbox = Inbox::open(channel, queue).await?;
    inbox.wait(5).await?;
    channel.basic_cancel(BasicCancelArguments::new(&inbox.tag)).await?;
    Ok(inbox)
}

async fn consume_and_ack(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let queue = session.queue(&channel, "queue").await?;
    publish(&channel, &queue, 0..100).await?;
    let mut inbox = Inbox::open(&channel, &queue).await?;
    for n in 0..100 {
        let message = &inbox.wait(n + 1).await?[n];
        equal((message.delivery_tag, message.redelivered), (n as u64 + 1, false), "delivery tag and redelivered")?;
        equal((message.exchange.as_str(), &message.routing_key), ("", &queue), "exchange and key")?;
        equal(message.body(), n.to_string(), "body")?;
        ack(&channel, message.delivery_tag).await?;
    }
    channel.close().await?;
    equal(drain(&connection.open_channel(None).await?, &queue).await?.is_empty(), true, "no messages left")
}

async fn no_ack(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let queue = session.queue(&channel, "queue").await?;
    channel.basic_qos(BasicQosArguments::new(0, 1, false)).await?;
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    publish(&channel, &queue, 0..50).await?;
    equal(inbox.wait_bodies(50).await?, numbers(0..50), "messages")?;
    channel.close().await?;
    equal(drain(&connection.open_channel(None).await?, &queue).await?.is_empty(), true, "no messages left")
}

async fn prefetch(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    channel.basic_qos(BasicQosArguments::new(0, 5, false)).await?;
    publish(&channel, &queue, 0..20).await?;
    let mut first = Inbox::open(&channel, &queue).await?;
    first.wait(5).await?;
    await_ready(&channel, &queue, 15).await?;
    let mut second = Inbox::open(&channel, &queue).await?;
    second.wait(5).await?;
    await_ready(&channel, &queue, 10).await?;
    ack(&channel, first.messages[0].delivery_tag).await?;
    first.wait(6).await?;
    await_ready(&channel, &queue, 9).await?;
    first.take_arrived();
    second.take_arrived();
    equal((first.messages.len(), second.messages.len()), (6, 5), "deliveries to each")
}

async fn prefetch_per_channel(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    channel.basic_qos(BasicQosArguments::new(0, 5, true)).await?;
    let mut first = Inbox::open(&channel, &queue).await?;
    let mut second = Inbox::open(&channel, &queue).await?;
    publish(&channel, &queue, 0..20).await?;
    gather(&mut [&mut first, &mut second], 5).await;
    await_ready(&channel, &queue, 15).await?;
    ack_up_to(&channel, 0).await?;
    gather(&mut [&mut first, &mut second], 10).await;
    await_ready(&channel, &queue, 10).await?;
    gather(&mut [&mut first, &mut second], 10).await;
    equal(first.messages.len() + second.messages.len(), 10, "deliveries to both")
}

async fn ack_multiple(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let queue = session.queue(&channel, "queue").await?;
    let inbox = five(&channel, &queue).await?;
    ack_up_to(&channel, inbox.tags()[2]).await?;
    channel.close().await?;
    let other = connection.open_channel(None).await?;
    equal(drain_flagged(&other, &queue).await?, redelivered(&["4", "5"]), "messages beyond the tag")?;
    five(&other, &queue).await?;
    ack_up_to(&other, 0).await?;
    other.close().await?;
    equal(drain(&connection.open_channel(None).await?, &queue).await?.is_empty(), true, "no messages left")
}

async fn nack(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let tags = five(&channel, &queue).await?.tags();
    nack_one(&channel, tags[0], false).await?;
    nack_one(&channel, tags[1], true).await?;
    equal(drain_flagged(&channel, &queue).await?, redelivered(&["2"]), "requeued one by one")?;
    nack_up_to(&channel, tags[3], true).await?;
    equal(drain_flagged(&channel, &queue).await?, redelivered(&["3", "4"]), "requeued up to the tag")?;
    nack_up_to(&channel, 0, false).await?;
    nack_up_to(&channel, 0, true).await?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "no messages left")
}

async fn reject(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let tags = five(&channel, &queue).await?.tags();
    channel.basic_reject(BasicRejectArguments::new(tags[0], false)).await?;
    channel.basic_reject(BasicRejectArguments::new(tags[1], true)).await?;
    equal(drain_flagged(&channel, &queue).await?, redelivered(&["2"]), "requeued")?;
    for tag in &tags[2..] {
        channel.basic_reject(BasicRejectArguments::new(*tag, false)).await?;
    }
    equal(drain(&channel, &queue).await?.is_empty(), true, "no messages left")
}

async fn requeue_order(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let tags = five(&channel, &queue).await?.tags();
    publish(&channel, &queue, ["6"]).await?;
    for position in [2, 0, 4, 1, 3] {
        nack_one(&channel, tags[position], true).await?;
    }
    let mut expected = redelivered(&["1", "2", "3", "4", "5"]);
    expected.push(("6".to_owned(), false));
    equal(drain_flagged(&channel, &queue).await?, expected, "order after requeue")
}

async fn recover(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    publish(&channel, &queue, 1..=3).await?;
    let mut inbox = Inbox::open(&channel, &queue).await?;
    inbox.wait(3).await?;
    ack(&channel, inbox.tags()[0]).await?;
    channel.basic_recover(true).await?;
    equal(inbox.wait_bodies(5).await?, ["1", "2", "3", "2", "3"], "messages")?;
    equal(inbox.flags(), [false, false, false, true, true], "redelivered")?;
    equal(inbox.tags(), [1, 2, 3, 4, 5], "delivery tags")
}

async fn unacked_requeued_on_close(session: Session) -> Outcome {
    let observer = session.channel().await?;
    let queue = session.shared_queue(&observer, "queue").await?;
    let holder = session.connect().await?;
    let channel = holder.open_channel(None).await?;
    publish(&channel, &queue, 1..=3).await?;
    let mut first = Inbox::open(&channel, &queue).await?;
    first.wait(3).await?;
    let other_channel = holder.open_channel(None).await?;
    let mut second = Inbox::open(&other_channel, &queue).await?;
    channel.close().await?;
    equal(second.wait_bodies(3).await?, ["1", "2", "3"], "after the channel closed")?;
    equal(second.flags(), [true; 3], "redelivered")?;
    let mut third = Inbox::open(&observer, &queue).await?;
    holder.close().await?;
    equal(third.wait_bodies(3).await?, ["1", "2", "3"], "after the connection closed")?;
    equal(third.flags(), [true; 3], "redelivered")
}

async fn consumer_cancel(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let mut inbox = Inbox::open_with(&channel, BasicConsumeArguments::new(&queue, "my-consumer")).await?;
    equal(inbox.tag.as_str(), "my-consumer", "consumer tag")?;
    publish(&channel, &queue, ["before"]).await?;
    equal(inbox.wait(1).await?[0].consumer_tag.as_str(), "my-consumer", "consumer tag of the delivery")?;
    equal(channel.basic_cancel(BasicCancelArguments::new("my-consumer")).await?, "my-consumer", "cancel-ok")?;
    publish(&channel, &queue, ["after"]).await?;
    await_ready(&channel, &queue, 1).await?;
    ack(&channel, inbox.tags()[0]).await?;
    equal(drain(&channel, &queue).await?, ["after"], "messages left")?;
    inbox.take_rest().await;
    equal(inbox.bodies(), ["before"], "delivered")
}

async fn cancel_notify(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let mut events = Events::of_channel(&channel).await?;
    let queue = session.queue(&channel, "queue").await?;
    let mut inboxes = [Inbox::open(&channel, &queue).await?, Inbox::open(&channel, &queue).await?];
    connection.open_channel(None).await?.queue_delete(QueueDeleteArguments::new(&queue)).await?;
    let mut cancelled = Vec::new();
    for inbox in &mut inboxes {
        match events.next().await? {
            Event::ConsumerCancelled(tag) => cancelled.push(tag),
            other => return wrong(format!("expected to be told of a cancelled consumer, got {other:?}")),
        }
        inbox.take_rest().await;
    }
    cancelled.sort();
    let mut tags = inboxes.map(|inbox| inbox.tag);
    tags.sort();
    equal(cancelled, tags, "cancelled consumers")?;
    equal(channel.is_open(), true, "channel open")
}

async fn exclusive_consumer(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.open_channel(None).await?;
    let queue = session.queue(&owner, "queue").await?;
    let in_use = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    let exclusive = BasicConsumeArguments::new(&queue, "").exclusive(true).finish();
    let inbox = Inbox::open_with(&owner, exclusive.clone()).await?;
    refused(&connection, 403, &in_use, async |channel| Inbox::open(channel, &queue).await).await?;
    owner.basic_cancel(BasicCancelArguments::new(&inbox.tag)).await?;
    let _usual = Inbox::open(&owner, &queue).await?;
    refused(&connection, 403, &in_use, async |channel| Inbox::open_with(channel, exclusive).await).await
}

async fn round_robin(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let mut inboxes = Vec::new();
    for _ in 0..3 {
        inboxes.push(Inbox::open_no_ack(&channel, &queue).await?);
    }
    publish(&channel, &queue, 0..30).await?;
    let mut shares = Vec::new();
    for inbox in &mut inboxes {
        shares.push(inbox.wait_bodies(10).await?);
    }
    shares.sort();
    let mut turns: Vec<Vec<String>> =
        (0..3).map(|turn| (turn..30).step_by(3).map(|number: u32| number.to_string()).collect()).collect();
    turns.sort();
    equal(shares, turns, "turns")
}

async fn consumer_priority(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let with_priority =
        |value: i32| BasicConsumeArguments::new(&queue, "").arguments(table([("x-priority", int(value))])).finish();
    let mut low = Inbox::open_with(&channel, with_priority(-5)).await?;
    let mut usual = Inbox::open(&channel, &queue).await?;
    channel.basic_qos(BasicQosArguments::new(0, 3, false)).await?;
    let mut high = Inbox::open_with(&channel, with_priority(10)).await?;
    publish(&channel, &queue, 0..10).await?;
    equal(high.wait_bodies(3).await?, numbers(0..3), "high priority, until its prefetch")?;
    equal(usual.wait_bodies(7).await?, numbers(3..10), "usual priority")?;
    low.take_arrived();
    equal(low.messages.len(), 0, "low priority")
}

async fn get(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let queue = session.queue(&channel, "queue").await?;
    let held = BasicGetArguments::new(&queue);
    equal(channel.basic_get(held.clone()).await?.is_none(), true, "nothing from an empty queue")?;
    publish(&channel, &queue, ["a", "b", "c"]).await?;
    let Some((first, _, body)) = channel.basic_get(held.clone()).await? else { return wrong("no first message") };
    equal((body.as_slice(), first.delivery_tag(), first.message_count()), (b"a".as_slice(), 1, 2), "first")?;
    equal((first.exchange().as_str(), first.routing_key()), ("", &queue), "exchange and key")?;
    equal(first.redelivered(), false, "redelivered")?;
    let taken = held.clone().no_ack(true).finish();
    let Some((second, _, body)) = channel.basic_get(taken).await? else { return wrong("no second message") };
    equal((body.as_slice(), second.delivery_tag(), second.message_count()), (b"b".as_slice(), 2, 1), "second")?;
    channel.close().await?;
    let channel = connection.open_channel(None).await?;
    let Some((again, _, body)) = channel.basic_get(held).await? else { return wrong("the first did not come back") };
    equal((body.as_slice(), again.delivery_tag(), again.message_count()), (b"a".as_slice(), 1, 1), "again")?;
    equal(again.redelivered(), true, "redelivered")?;
    ack(&channel, again.delivery_tag()).await?;
    equal(drain(&channel, &queue).await?, ["c"], "messages left")
}
