use interop_harness::{Outcome, Scenario, equal, scenarios, wrong};
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicQosOptions,
    BasicRecoverOptions, BasicRejectOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tokio_stream::StreamExt;

use crate::inbox::{Inbox, MULTIPLE, body, drain, drain_flagged, gather};
use crate::publishing::{await_ready, publish};
use crate::refusal::refused;
use crate::session::{Session, table};

const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };
const DISCARD: BasicNackOptions = BasicNackOptions { multiple: false, requeue: false };

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

/// Publishes five messages and takes them without acknowledging.
async fn five(channel: &Channel, queue: &ShortString) -> Outcome<Inbox> {
    publish(channel, queue, 1..=5).await?;
    let mut inbox = Inbox::open(channel, queue).await?;
    inbox.wait(5).await?;
    channel.basic_cancel(inbox.consumer.tag(), BasicCancelOptions::default()).await?;
    Ok(inbox)
}

async fn consume_and_ack(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    publish(&channel, &queue, 0..100).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await?;
    for n in 0..100 {
        let Some(delivery) = consumer.next().await else { return wrong("the consumer was cancelled") };
        let delivery = delivery?;
        equal((delivery.delivery_tag, delivery.redelivered), (n + 1, false), "delivery tag and redelivered")?;
        equal((delivery.exchange.as_str(), &delivery.routing_key), ("", &queue), "exchange and key")?;
        equal(body(&delivery), n.to_string(), "body")?;
        equal(delivery.ack(BasicAckOptions::default()).await?, true, "acknowledged")?;
    }
    channel.close(200, "OK".into()).await?;
    equal(drain(&connection.create_channel().await?, &queue).await?.is_empty(), true, "no messages left")
}

async fn no_ack(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    publish(&channel, &queue, 0..50).await?;
    equal(inbox.wait_bodies(50).await?, numbers(0..50), "messages")?;
    channel.close(200, "OK".into()).await?;
    equal(drain(&connection.create_channel().await?, &queue).await?.is_empty(), true, "no messages left")
}

async fn prefetch(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    channel.basic_qos(5, BasicQosOptions::default()).await?;
    publish(&channel, &queue, 0..20).await?;
    let mut first = Inbox::open(&channel, &queue).await?;
    first.wait(5).await?;
    await_ready(&channel, &queue, 15).await?;
    let mut second = Inbox::open(&channel, &queue).await?;
    second.wait(5).await?;
    await_ready(&channel, &queue, 10).await?;
    first.deliveries[0].ack(BasicAckOptions::default()).await?;
    first.wait(6).await?;
    await_ready(&channel, &queue, 9).await?;
    first.take_arrived().await?;
    second.take_arrived().await?;
    equal((first.deliveries.len(), second.deliveries.len()), (6, 5), "deliveries to each")
}

async fn prefetch_per_channel(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    channel.basic_qos(5, BasicQosOptions { global: true }).await?;
    let mut first = Inbox::open(&channel, &queue).await?;
    let mut second = Inbox::open(&channel, &queue).await?;
    publish(&channel, &queue, 0..20).await?;
    gather(&mut [&mut first, &mut second], 5).await?;
    await_ready(&channel, &queue, 15).await?;
    channel.basic_ack(0, MULTIPLE).await?;
    gather(&mut [&mut first, &mut second], 10).await?;
    await_ready(&channel, &queue, 10).await?;
    gather(&mut [&mut first, &mut second], 10).await?;
    equal(first.deliveries.len() + second.deliveries.len(), 10, "deliveries to both")
}

async fn ack_multiple(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let inbox = five(&channel, &queue).await?;
    inbox.deliveries[2].ack(MULTIPLE).await?;
    channel.close(200, "OK".into()).await?;
    let other = connection.create_channel().await?;
    equal(drain_flagged(&other, &queue).await?, redelivered(&["4", "5"]), "messages beyond the tag")?;
    five(&other, &queue).await?;
    other.basic_ack(0, MULTIPLE).await?;
    other.close(200, "OK".into()).await?;
    equal(drain(&connection.create_channel().await?, &queue).await?.is_empty(), true, "no messages left")
}

async fn nack(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let inbox = five(&channel, &queue).await?;
    inbox.deliveries[0].nack(DISCARD).await?;
    inbox.deliveries[1].nack(REQUEUE).await?;
    equal(drain_flagged(&channel, &queue).await?, redelivered(&["2"]), "requeued one by one")?;
    inbox.deliveries[3].nack(BasicNackOptions { multiple: true, requeue: true }).await?;
    equal(drain_flagged(&channel, &queue).await?, redelivered(&["3", "4"]), "requeued up to the tag")?;
    channel.basic_nack(0, BasicNackOptions { multiple: true, requeue: false }).await?;
    channel.basic_nack(0, BasicNackOptions { multiple: true, requeue: true }).await?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "no messages left")
}

async fn reject(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let inbox = five(&channel, &queue).await?;
    inbox.deliveries[0].reject(BasicRejectOptions { requeue: false }).await?;
    inbox.deliveries[1].reject(BasicRejectOptions { requeue: true }).await?;
    equal(drain_flagged(&channel, &queue).await?, redelivered(&["2"]), "requeued")?;
    for delivery in &inbox.deliveries[2..] {
        delivery.reject(BasicRejectOptions { requeue: false }).await?;
    }
    equal(drain(&channel, &queue).await?.is_empty(), true, "no messages left")
}

async fn requeue_order(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let inbox = five(&channel, &queue).await?;
    publish(&channel, &queue, ["6"]).await?;
    for position in [2, 0, 4, 1, 3] {
        inbox.deliveries[position].nack(REQUEUE).await?;
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
    inbox.wait(3).await?[0].ack(BasicAckOptions::default()).await?;
    channel.basic_recover(BasicRecoverOptions { requeue: true }).await?;
    equal(inbox.wait_bodies(5).await?, ["1", "2", "3", "2", "3"], "messages")?;
    equal(inbox.flags(), [false, false, false, true, true], "redelivered")?;
    equal(inbox.tags(), [1, 2, 3, 4, 5], "delivery tags")
}

async fn unacked_requeued_on_close(session: Session) -> Outcome {
    let observer = session.channel().await?;
    let queue = session.shared_queue(&observer, "queue", Default::default(), FieldTable::default()).await?;
    let holder = session.connect().await?;
    let channel = holder.create_channel().await?;
    publish(&channel, &queue, 1..=3).await?;
    let mut first = Inbox::open(&channel, &queue).await?;
    first.wait(3).await?;
    let other_channel = holder.create_channel().await?;
    let mut second = Inbox::open(&other_channel, &queue).await?;
    channel.close(200, "OK".into()).await?;
    equal(second.wait_bodies(3).await?, ["1", "2", "3"], "after the channel closed")?;
    equal(second.flags(), [true; 3], "redelivered")?;
    let mut third = Inbox::open(&observer, &queue).await?;
    holder.close(200, "OK".into()).await?;
    equal(third.wait_bodies(3).await?, ["1", "2", "3"], "after the connection closed")?;
    equal(third.flags(), [true; 3], "redelivered")
}

async fn consumer_cancel(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let tag = ShortString::from("my-consumer");
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(queue.clone(), tag.clone(), options, FieldTable::default()).await?;
    equal(consumer.tag(), tag.clone(), "consumer tag")?;
    let mut inbox = Inbox { consumer, deliveries: Vec::new() };
    publish(&channel, &queue, ["before"]).await?;
    inbox.wait(1).await?;
    channel.basic_cancel(tag, BasicCancelOptions::default()).await?;
    publish(&channel, &queue, ["after"]).await?;
    await_ready(&channel, &queue, 1).await?;
    equal(inbox.deliveries[0].ack(BasicAckOptions::default()).await?, true, "acknowledged after the cancel")?;
    equal(drain(&channel, &queue).await?, ["after"], "messages left")?;
    inbox.take_rest().await?;
    equal(inbox.bodies(), ["before"], "delivered")
}

async fn cancel_notify(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let mut inboxes = [Inbox::open(&channel, &queue).await?, Inbox::open(&channel, &queue).await?];
    connection.create_channel().await?.queue_delete(queue, QueueDeleteOptions::default()).await?;
    for inbox in &mut inboxes {
        equal(inbox.consumer.next().await, None, "the end of a consumer")?;
    }
    equal(channel.status().connected(), true, "channel open")
}

async fn exclusive_consumer(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let owner = connection.create_channel().await?;
    let queue = session.queue(&owner, "queue").await?;
    let in_use = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    let inbox = Inbox::open_with(&owner, &queue, exclusive, FieldTable::default()).await?;
    refused(&connection, 403, &in_use, async |channel| Inbox::open(channel, &queue).await).await?;
    owner.basic_cancel(inbox.consumer.tag(), BasicCancelOptions::default()).await?;
    let _usual = Inbox::open(&owner, &queue).await?;
    refused(&connection, 403, &in_use, async |channel| {
        Inbox::open_with(channel, &queue, exclusive, FieldTable::default()).await
    })
    .await
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
    let priority = |value: i32| table([("x-priority", AMQPValue::LongInt(value))]);
    let options = BasicConsumeOptions::default();
    let mut low = Inbox::open_with(&channel, &queue, options, priority(-5)).await?;
    let mut usual = Inbox::open(&channel, &queue).await?;
    channel.basic_qos(3, BasicQosOptions::default()).await?;
    let mut high = Inbox::open_with(&channel, &queue, options, priority(10)).await?;
    publish(&channel, &queue, 0..10).await?;
    equal(high.wait_bodies(3).await?, numbers(0..3), "high priority, until its prefetch")?;
    equal(usual.wait_bodies(7).await?, numbers(3..10), "usual priority")?;
    low.take_arrived().await?;
    equal(low.deliveries.len(), 0, "low priority")
}

async fn get(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let get = async |channel: &Channel, no_ack| channel.basic_get(queue.clone(), BasicGetOptions { no_ack }).await;
    equal(get(&channel, false).await?, None, "get from an empty queue")?;
    publish(&channel, &queue, ["a", "b", "c"]).await?;
    let Some(first) = get(&channel, false).await? else { return wrong("no first message") };
    equal((body(&first), first.delivery_tag, first.message_count), ("a".to_owned(), 1, 2), "first")?;
    equal((first.exchange.as_str(), &first.routing_key), ("", &queue), "exchange and key")?;
    equal(first.redelivered, false, "redelivered")?;
    let Some(second) = get(&channel, true).await? else { return wrong("no second message") };
    equal((body(&second), second.delivery_tag, second.message_count), ("b".to_owned(), 2, 1), "second")?;
    channel.close(200, "OK".into()).await?;
    let channel = connection.create_channel().await?;
    let Some(again) = get(&channel, false).await? else { return wrong("the first message did not come back") };
    equal((body(&again), again.delivery_tag, again.message_count), ("a".to_owned(), 1, 1), "again")?;
    equal(again.redelivered, true, "redelivered")?;
    again.ack(BasicAckOptions::default()).await?;
    equal(drain(&channel, &queue).await?, ["c"], "messages left")
}
