use interop_harness::{Outcome, Scenario, equal, scenarios, wrong};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection};
use tokio_stream::StreamExt;

use crate::inbox::{Inbox, body, drain, drain_flagged, hold, take};
use crate::publishing::{declare_passively, publish, publish_with};
use crate::refusal::{no_queue, refused};
use crate::session::Session;

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![tx_commit, tx_rollback, rpc_reply_queue, direct_reply_to, direct_reply_to_errors]
}

async fn tx_commit(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let observer = connection.create_channel().await?;
    let (queue, done) = (session.queue(&observer, "queue").await?, session.queue(&observer, "done").await?);
    let channel = connection.create_channel().await?;
    publish(&channel, &queue, ["job"]).await?;
    channel.tx_select().await?;
    let job = hold(&channel, &queue).await?;
    publish(&channel, &done, ["one", "two"]).await?;
    job.ack(BasicAckOptions::default()).await?;
    equal(drain(&channel, &done).await?.is_empty(), true, "no messages before the commit")?;
    channel.tx_commit().await?;
    equal(drain(&observer, &done).await?, ["one", "two"], "messages after the commit")?;
    channel.close(200, "OK".into()).await?;
    equal(drain(&observer, &queue).await?.is_empty(), true, "no jobs left")?;
    let text = "PRECONDITION_FAILED - channel is not transactional";
    refused(&connection, 406, text, async |channel| channel.tx_commit().await).await?;
    let text = "PRECONDITION_FAILED - cannot switch from tx to confirm mode";
    refused(&connection, 406, text, async |channel| {
        channel.tx_select().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await
    })
    .await
}

async fn tx_rollback(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let observer = connection.create_channel().await?;
    let (queue, done) = (session.queue(&observer, "queue").await?, session.queue(&observer, "done").await?);
    let channel = connection.create_channel().await?;
    publish(&channel, &queue, ["job"]).await?;
    channel.tx_select().await?;
    let job = hold(&channel, &queue).await?;
    publish(&channel, &done, ["dropped"]).await?;
    job.ack(BasicAckOptions::default()).await?;
    channel.tx_rollback().await?;
    equal(drain(&observer, &done).await?.is_empty(), true, "no messages after the rollback")?;
    equal(drain(&observer, &queue).await?.is_empty(), true, "the job is still held")?;
    publish(&channel, &done, ["kept"]).await?;
    channel.tx_commit().await?;
    channel.close(200, "OK".into()).await?;
    equal(drain(&observer, &done).await?, ["kept"], "messages of the next transaction")?;
    equal(drain_flagged(&observer, &queue).await?, [("job".to_owned(), true)], "the job comes back")
}

/// Answers each request with twice its number, wherever it wants the answer.
async fn serve_doubles(connection: &Connection, requests: &ShortString) -> Outcome {
    let channel = connection.create_channel().await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(requests.clone(), "".into(), options, FieldTable::default()).await?;
    tokio::spawn(async move {
        while let Some(Ok(request)) = consumer.next().await {
            if let Err(failure) = answer(&channel, request).await {
                eprintln!("a request was not answered: {failure:?}");
            }
        }
    });
    Ok(())
}

async fn answer(channel: &Channel, request: lapin::message::Delivery) -> Outcome {
    let number: u32 = body(&request).parse()?;
    let Some(reply_to) = request.properties.reply_to() else { return wrong("a request without reply_to") };
    let Some(correlation_id) = request.properties.correlation_id() else { return wrong("without correlation_id") };
    let properties = BasicProperties::default().with_correlation_id(correlation_id.clone());
    publish_with(channel, reply_to, &(2 * number).to_string(), properties).await?;
    request.ack(BasicAckOptions::default()).await?;
    Ok(())
}

async fn call_hundred_times(
    caller: &Channel,
    replies: &mut Inbox,
    reply_to: &ShortString,
    requests: &ShortString,
) -> Outcome {
    for n in 0..100 {
        let id = ShortString::from(format!("call-{n}"));
        let properties = BasicProperties::default().with_reply_to(reply_to.clone()).with_correlation_id(id.clone());
        publish_with(caller, requests, &n.to_string(), properties).await?;
        let reply = &replies.wait(n + 1).await?[n];
        equal(reply.properties.correlation_id(), &Some(id), "correlation id")?;
        equal(body(reply), (2 * n).to_string(), "answer")?;
    }
    Ok(())
}

async fn rpc_reply_queue(session: Session) -> Outcome {
    let server = session.connect().await?;
    let caller = session.channel().await?;
    let requests = session.shared_queue(&caller, "requests", Default::default(), FieldTable::default()).await?;
    serve_doubles(&server, &requests).await?;
    let replies = caller.queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default()).await?;
    let mut inbox = Inbox::open_no_ack(&caller, replies.name()).await?;
    call_hundred_times(&caller, &mut inbox, replies.name(), &requests).await
}

async fn direct_reply_to(session: Session) -> Outcome {
    let server = session.connect().await?;
    let connection = session.connect().await?;
    let caller = connection.create_channel().await?;
    let requests = session.shared_queue(&caller, "requests", Default::default(), FieldTable::default()).await?;
    let reply_to = ShortString::from(REPLY_TO);
    let mut replies = Inbox::open_no_ack(&caller, &reply_to).await?;
    publish_with(&caller, &requests, "", BasicProperties::default().with_reply_to(reply_to.clone())).await?;
    let observer = server.create_channel().await?;
    let address = take(&observer, &requests).await?.properties.reply_to().clone().unwrap_or_default();
    equal(address.as_str().starts_with("amq.rabbitmq.reply-to."), true, format!("reply_to for the server: {address}"))?;
    let declared = declare_passively(&observer, &address).await?;
    equal((declared.message_count(), declared.consumer_count()), (0, 1), "the caller is there")?;
    serve_doubles(&server, &requests).await?;
    call_hundred_times(&caller, &mut replies, &reply_to, &requests).await?;
    equal(replies.deliveries.iter().all(|reply| reply.exchange.as_str().is_empty()), true, "the default exchange")?;
    connection.close(200, "OK".into()).await?;
    refused(&server, 404, &no_queue(&address), async |observer| declare_passively(observer, &address).await).await
}

async fn direct_reply_to_errors(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let reply_to = ShortString::from(REPLY_TO);
    let text = "PRECONDITION_FAILED - reply consumer cannot acknowledge";
    refused(&connection, 406, text, async |channel| Inbox::open(channel, &reply_to).await).await?;
    let text = "PRECONDITION_FAILED - reply consumer already set";
    refused(&connection, 406, text, async |channel| {
        let _first = Inbox::open_no_ack(channel, &reply_to).await?;
        Inbox::open_no_ack(channel, &reply_to).await
    })
    .await?;
    let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
    refused(&connection, 406, text, async |channel| {
        let properties = BasicProperties::default().with_reply_to(reply_to.clone());
        channel.basic_publish("".into(), "nobody".into(), BasicPublishOptions::default(), b"", properties).await
    })
    .await
}
