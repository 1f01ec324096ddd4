use amqprs::channel::{BasicConsumeArguments, Channel, ConfirmSelectArguments, QueueDeclareArguments};
use amqprs::connection::Connection;
use amqprs::consumer::AsyncConsumer;
use amqprs::{BasicProperties, Deliver};
use async_trait::async_trait;
use interop_harness::{Outcome, Scenario, equal, scenarios, wrong};

use crate::inbox::{Inbox, ack, drain, drain_flagged, hold, take};
use crate::publishing::{declare, declare_passively, publish, publish_with};
use crate::refusal::{no_queue, refused};
use crate::session::Session;

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![tx_commit, tx_rollback, rpc_reply_queue, direct_reply_to, direct_reply_to_errors]
}

async fn tx_commit(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let observer = connection.open_channel(None).await?;
    let (queue, done) = (session.queue(&observer, "queue").await?, session.queue(&observer, "done").await?);
    let channel = connection.open_channel(None).await?;
    publish(&channel, &queue, ["job"]).await?;
    channel.tx_select().await?;
    let job = hold(&channel, &queue).await?;
    publish(&channel, &done, ["one", "two"]).await?;
    ack(&channel, job.delivery_tag).await?;
    equal(drain(&channel, &done).await?.is_empty(), true, "no messages before the commit")?;
    channel.tx_commit().await?;
    equal(drain(&observer, &done).await?, ["one", "two"], "messages after the commit")?;
    channel.close().await?;
    equal(drain(&observer, &queue).await?.is_empty(), true, "no jobs left")?;
    let text = "PRECONDITION_FAILED - channel is not transactional";
    refused(&connection, 406, text, async |channel| channel.tx_commit().await).await?;
    let text = "PRECONDITION_FAILED - cannot switch from tx to confirm mode";
    refused(&connection, 406, text, async |channel| {
        channel.tx_select().await?;
        channel.confirm_select(ConfirmSelectArguments::default()).await
    })
    .await
}

async fn tx_rollback(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let observer = connection.open_channel(None).await?;
    let (queue, done) = (session.queue(&observer, "queue").await?, session.queue(&observer, "done").await?);
    let channel = connection.open_channel(None).await?;
    publish(&channel, &queue, ["job"]).await?;
    channel.tx_select().await?;
    let job = hold(&channel, &queue).await?;
    publish(&channel, &done, ["dropped"]).await?;
    ack(&channel, job.delivery_tag).await?;
    channel.tx_rollback().await?;
    equal(drain(&observer, &done).await?.is_empty(), true, "no messages after the rollback")?;
    equal(drain(&observer, &queue).await?.is_empty(), true, "the job is still held")?;
    publish(&channel, &done, ["kept"]).await?;
    channel.tx_commit().await?;
    channel.close().await?;
    equal(drain(&observer, &done).await?, ["kept"], "messages of the next transaction")?;
    equal(drain_flagged(&observer, &queue).await?, [("job".to_owned(), true)], "the job comes back")
}

/// Answers each request with twice its number, wherever it wants the answer.
struct Doubler;

impl Doubler {
    async fn answer(channel: &Channel, deliver: Deliver, request: BasicProperties, content: Vec<u8>) -> Outcome {
        let number: u32 = String::from_utf8(content)?.parse()?;
        let (Some(reply_to), Some(id)) = (request.reply_to(), request.correlation_id()) else {
            return wrong("a request without reply_to or correlation_id");
        };
        let properties = BasicProperties::default().with_correlation_id(id).finish();
        publish_with(channel, reply_to, 2 * number, properties).await?;
        Ok(ack(channel, deliver.delivery_tag()).await?)
    }
}

#[async_trait]
impl AsyncConsumer for Doubler {
    async fn consume(&mut self, channel: &Channel, deliver: Deliver, request: BasicProperties, content: Vec<u8>) {
        if let Err(failure) = Self::answer(channel, deliver, request, content).await {
            eprintln!("a request was not answered: {failure:?}");
        }
    }
}

/// The server's channel, which has to live as long as it serves.
async fn serve_doubles(connection: &Connection, requests: &str) -> Outcome<Channel> {
    let channel = connection.open_channel(None).await?;
    channel.basic_consume(Doubler, BasicConsumeArguments::new(requests, "")).await?;
    Ok(channel)
}

async fn call_hundred_times(caller: &Channel, replies: &mut Inbox, reply_to: &str, requests: &str) -> Outcome {
    for n in 0..100 {
        let id = format!("call-{n}");
        let properties = BasicProperties::default().with_reply_to(reply_to).with_correlation_id(&id).finish();
        publish_with(caller, requests, n, properties).await?;
        let reply = &replies.wait(n + 1).await?[n];
        equal(reply.properties.correlation_id(), Some(&id), "correlation id")?;
        equal(reply.body(), (2 * n).to_string(), "answer")?;
    }
    Ok(())
}

async fn rpc_reply_queue(session: Session) -> Outcome {
    let server = session.connect().await?;
    let caller = session.channel().await?;
    let requests = session.shared_queue(&caller, "requests").await?;
    let _serving = serve_doubles(&server, &requests).await?;
    let replies = declare(&caller, QueueDeclareArguments::exclusive_server_named()).await?.name;
    let mut inbox = Inbox::open_no_ack(&caller, &replies).await?;
    call_hundred_times(&caller, &mut inbox, &replies, &requests).await
}

async fn direct_reply_to(session: Session) -> Outcome {
    let server = session.connect().await?;
    let connection = session.connect().await?;
    let caller = connection.open_channel(None).await?;
    let requests = session.shared_queue(&caller, "requests").await?;
    let mut replies = Inbox::open_no_ack(&caller, REPLY_TO).await?;
    publish_with(&caller, &requests, "", BasicProperties::default().with_reply_to(REPLY_TO).finish()).await?;
    let observer = server.open_channel(None).await?;
    let request = take(&observer, &requests).await?;
    let Some(address) = request.properties.reply_to() else { return wrong("the request has no reply_to") };
    equal(address.starts_with("amq.rabbitmq.reply-to."), true, format!("reply_to for the server: {address}"))?;
    let declared = declare_passively(&observer, address).await?;
    equal((declared.messages, declared.consumers), (0, 1), "the caller is there")?;
    let _serving = serve_doubles(&server, &requests).await?;
    call_hundred_times(&caller, &mut replies, REPLY_TO, &requests).await?;
    equal(replies.messages.iter().all(|reply| reply.exchange.is_empty()), true, "the default exchange")?;
    connection.close().await?;
    refused(&server, 404, &no_queue(address), async |observer| declare_passively(observer, address).await).await
}

async fn direct_reply_to_errors(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let text = "PRECONDITION_FAILED - reply consumer cannot acknowledge";
    refused(&connection, 406, text, async |channel| Inbox::open(channel, REPLY_TO).await).await?;
    let text = "PRECONDITION_FAILED - reply consumer already set";
    refused(&connection, 406, text, async |channel| {
        let _first = Inbox::open_no_ack(channel, REPLY_TO).await?;
        Inbox::open_no_ack(channel, REPLY_TO).await
    })
    .await?;
    let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
    refused(&connection, 406, text, async |channel| {
        publish_with(channel, "nobody", "", BasicProperties::default().with_reply_to(REPLY_TO).finish()).await
    })
    .await
}
