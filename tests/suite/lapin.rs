//! What a client library sees: `lapin`, unchanged.

use ::lapin::message::{BasicReturnMessage, Delivery};
use ::lapin::options::*;
use ::lapin::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
use ::lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, Error, ErrorKind, ExchangeKind,
};
use futures_lite::StreamExt;

use crate::support::broker;
use crate::support::unique;

/// Runs a test with a connection and a channel of its own.
fn run<F: Future<Output = ()>>(test: impl FnOnce(Connection, Channel) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let uri = format!("amqp://guest:guest@{}/%2f", broker::shared());
        let properties = ConnectionProperties::default().with_connection_name("lapin".into());
        let connection = Connection::connect(&uri, properties).await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        let limit = std::time::Duration::from_secs(30);
        tokio::time::timeout(limit, test(connection, channel)).await.expect("the test ends in time");
    });
}

fn name(text: &str) -> ShortString {
    text.into()
}

fn no_arguments() -> FieldTable {
    FieldTable::default()
}

async fn exclusive_queue(channel: &Channel) -> String {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare(name(""), options, no_arguments()).await.expect("a queue");
    queue.name().as_str().to_owned()
}

async fn consume(channel: &Channel, queue: &str, options: BasicConsumeOptions) -> Consumer {
    channel.basic_consume(name(queue), name(""), options, no_arguments()).await.expect("a consumer")
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str) -> Confirmation {
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    let sent = channel.basic_publish(name(exchange), name(key), options, body.as_bytes(), properties).await;
    sent.expect("a publish").await.expect("a confirm, or none wanted")
}

async fn next(consumer: &mut Consumer) -> Delivery {
    consumer.next().await.expect("an open stream").expect("a delivery")
}

async fn get(channel: &Channel, queue: &str) -> Option<Delivery> {
    let options = BasicGetOptions { no_ack: true };
    channel.basic_get(name(queue), options).await.expect("an answer").map(|message| message.delivery)
}

/// All that is ready in a queue.
async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(delivery) = get(channel, queue).await {
        bodies.push(text(&delivery));
    }
    bodies
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.data.clone()).expect("UTF-8")
}

/// The reply code of an error that the broker sent.
fn code(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_id(),
        other => panic!("no error of the protocol: {other:?}"),
    }
}

#[test]
fn publish_consume_and_acknowledge() {
    run(|connection, channel| async move {
        let queue = exclusive_queue(&channel).await;
        let mut consumer = consume(&channel, &queue, BasicConsumeOptions::default()).await;
        for n in 0..100 {
            assert_eq!(publish(&channel, "", &queue, &n.to_string()).await, Confirmation::NotRequested);
        }
        for n in 0..100 {
            let delivery = next(&mut consumer).await;
            assert_eq!((text(&delivery), delivery.redelivered), (n.to_string(), false));
            delivery.ack(BasicAckOptions::default()).await.expect("an acknowledgement");
        }
        channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.expect("cancel-ok");
        assert!(get(&channel, &queue).await.is_none());
        channel.close(200, name("bye")).await.expect("close-ok");
        connection.close(200, name("bye")).await.expect("close-ok");
    });
}

#[test]
fn publish_with_confirms() {
    run(|_connection, channel| async move {
        let queue = exclusive_queue(&channel).await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("select-ok");
        let mut confirms = Vec::new();
        for n in 0..200 {
            let properties = BasicProperties::default().with_delivery_mode(2);
            let body = n.to_string();
            let options = BasicPublishOptions::default();
            confirms.push(
                channel
                    .basic_publish(name(""), name(&queue), options, body.as_bytes(), properties)
                    .await
                    .expect("sent"),
            );
        }
        for confirm in confirms {
            assert!(confirm.await.expect("a confirm").is_ack());
        }
        assert_eq!(drain(&channel, &queue).await.len(), 200);
    });
}

#[test]
fn a_mandatory_message_comes_back() {
    run(|_connection, channel| async move {
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("select-ok");
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let key = unique("nowhere");
        let properties = BasicProperties::default().with_message_id(name("1"));
        let confirm =
            channel.basic_publish(name(""), name(&key), options, b"back", properties.clone()).await.expect("sent");
        let Confirmation::Ack(Some(BasicReturnMessage { delivery, reply_code, reply_text })) =
            confirm.await.expect("a confirm")
        else {
            panic!("no returned message");
        };
        assert_eq!((reply_code, reply_text.as_str()), (312, "NO_ROUTE"));
        assert_eq!((text(&delivery), delivery.routing_key.as_str()), ("back".to_owned(), key.as_str()));
        assert_eq!(delivery.properties, properties);
    });
}

#[test]
fn negative_acknowledgements_and_redelivery() {
    run(|_connection, channel| async move {
        let queue = exclusive_queue(&channel).await;
        let mut consumer = consume(&channel, &queue, BasicConsumeOptions::default()).await;
        publish(&channel, "", &queue, "one").await;
        let first = next(&mut consumer).await;
        assert!(!first.redelivered);
        first.nack(BasicNackOptions { requeue: true, ..Default::default() }).await.expect("a nack");
        let second = next(&mut consumer).await;
        assert!(second.redelivered);
        second.reject(BasicRejectOptions { requeue: true }).await.expect("a reject");
        let third = next(&mut consumer).await;
        assert_eq!(text(&third), "one");
        third.nack(BasicNackOptions::default()).await.expect("a nack");
        publish(&channel, "", &queue, "two").await;
        assert_eq!(text(&next(&mut consumer).await), "two");
    });
}

#[test]
fn prefetch() {
    run(|_connection, channel| async move {
        let queue = exclusive_queue(&channel).await;
        channel.basic_qos(1, BasicQosOptions::default()).await.expect("qos-ok");
        let mut one = consume(&channel, &queue, BasicConsumeOptions::default()).await;
        let mut other = consume(&channel, &queue, BasicConsumeOptions::default()).await;
        for body in ["a", "b", "c"] {
            publish(&channel, "", &queue, body).await;
        }
        let (a, b) = (next(&mut one).await, next(&mut other).await);
        assert_eq!((text(&a), text(&b)), ("a".to_owned(), "b".to_owned()));
        b.ack(BasicAckOptions::default()).await.expect("an acknowledgement");
        assert_eq!(text(&next(&mut other).await), "c");
    });
}

#[test]
fn recover() {
    run(|_connection, channel| async move {
        let queue = exclusive_queue(&channel).await;
        publish(&channel, "", &queue, "one").await;
        let message = channel.basic_get(name(&queue), BasicGetOptions::default()).await.expect("an answer");
        assert_eq!(message.expect("a message").message_count, 0);
        channel.basic_recover(BasicRecoverOptions { requeue: true }).await.expect("recover-ok");
        assert!(get(&channel, &queue).await.expect("the message").redelivered);
    });
}

#[test]
fn calls_over_direct_reply_to() {
    run(|connection, client| async move {
        let server = connection.create_channel().await.expect("a channel");
        let requests = exclusive_queue(&server).await;
        let mut incoming =
            consume(&server, &requests, BasicConsumeOptions { no_ack: true, ..Default::default() }).await;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let mut replies = consume(&client, "amq.rabbitmq.reply-to", options).await;
        for n in 0..20u32 {
            let properties = BasicProperties::default()
                .with_reply_to(name("amq.rabbitmq.reply-to"))
                .with_correlation_id(name(&n.to_string()));
            let options = BasicPublishOptions::default();
            client
                .basic_publish(name(""), name(&requests), options, n.to_string().as_bytes(), properties)
                .await
                .expect("sent");
            let request = next(&mut incoming).await;
            let number: u32 = text(&request).parse().expect("a number");
            let reply_to = request.properties.reply_to().clone().expect("a reply-to");
            let correlation = request.properties.correlation_id().clone().expect("a correlation-id");
            server
                .basic_publish(
                    name(""),
                    reply_to,
                    options,
                    (number * number).to_string().as_bytes(),
                    BasicProperties::default().with_correlation_id(correlation),
                )
                .await
                .expect("sent");
            let reply = next(&mut replies).await;
            assert_eq!(text(&reply), (n * n).to_string());
            assert_eq!(reply.properties.correlation_id(), &Some(name(&n.to_string())));
        }
    });
}

#[test]
fn exchanges_of_every_kind() {
    run(|_connection, channel| async move {
        let rows = [
            (ExchangeKind::Direct, "a.b", [("a.b", true), ("a.c", false)]),
            (ExchangeKind::Fanout, "", [("a.b", true), ("a.c", true)]),
            (ExchangeKind::Topic, "a.*", [("a.b", true), ("b.a", false)]),
        ];
        for (kind, binding, messages) in rows {
            let exchange = unique("lapin");
            let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
            channel.exchange_declare(name(&exchange), kind, options, no_arguments()).await.expect("declare-ok");
            let queue = exclusive_queue(&channel).await;
            let options = QueueBindOptions::default();
            channel
                .queue_bind(name(&queue), name(&exchange), name(binding), options, no_arguments())
                .await
                .expect("bind-ok");
            for (key, matches) in messages {
                publish(&channel, &exchange, key, key).await;
                let expected: Vec<String> = matches.then(|| key.to_owned()).into_iter().collect();
                assert_eq!(drain(&channel, &queue).await, expected, "{binding} against {key}");
            }
        }
    });
}

#[test]
fn a_headers_exchange_and_a_binding_between_exchanges() {
    run(|_connection, channel| async move {
        let (source, target) = (unique("source"), unique("target"));
        let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
        for (exchange, kind) in [(&source, ExchangeKind::Headers), (&target, ExchangeKind::Fanout)] {
            channel.exchange_declare(name(exchange), kind, options, no_arguments()).await.expect("declare-ok");
        }
        let mut arguments = FieldTable::default();
        arguments.insert(name("x-match"), AMQPValue::LongString("any".into()));
        arguments.insert(name("colour"), AMQPValue::LongString("brown".into()));
        channel
            .exchange_bind(name(&target), name(&source), name(""), ExchangeBindOptions::default(), arguments)
            .await
            .expect("bind-ok");
        let queue = exclusive_queue(&channel).await;
        channel
            .queue_bind(name(&queue), name(&target), name(""), QueueBindOptions::default(), no_arguments())
            .await
            .expect("bind-ok");
        for colour in ["brown", "grey"] {
            let mut headers = FieldTable::default();
            headers.insert(name("colour"), AMQPValue::LongString(colour.into()));
            let properties = BasicProperties::default().with_headers(headers);
            let options = BasicPublishOptions::default();
            channel.basic_publish(name(&source), name(""), options, colour.as_bytes(), properties).await.expect("sent");
        }
        assert_eq!(drain(&channel, &queue).await, ["brown"]);
    });
}

#[test]
fn properties_and_headers_come_back_equal() {
    run(|_connection, channel| async move {
        let queue = exclusive_queue(&channel).await;
        let mut inner = FieldTable::default();
        inner.insert(name("deep"), AMQPValue::Boolean(true));
        let mut array = FieldArray::default();
        array.push(AMQPValue::LongInt(-1));
        array.push(AMQPValue::LongString("two".into()));
        let mut headers = FieldTable::default();
        for (key, value) in [
            ("table", AMQPValue::FieldTable(inner)),
            ("array", AMQPValue::FieldArray(array)),
            ("double", AMQPValue::Double(1.5)),
            ("long", AMQPValue::LongLongInt(i64::MIN)),
            ("time", AMQPValue::Timestamp(1_700_000_000)),
            ("void", AMQPValue::Void),
            ("text", AMQPValue::LongString(LongString::from("text"))),
        ] {
            headers.insert(name(key), value);
        }
        let properties = BasicProperties::default()
            .with_content_type(name("text/plain"))
            .with_content_encoding(name("utf-8"))
            .with_headers(headers)
            .with_delivery_mode(2)
            .with_priority(7)
            .with_correlation_id(name("c"))
            .with_reply_to(name("r"))
            .with_expiration(name("60000"))
            .with_message_id(name("m"))
            .with_timestamp(1_700_000_000)
            .with_type(name("t"))
            .with_user_id(name("guest"))
            .with_app_id(name("a"));
        let body = vec![b'x'; 300_000];
        let options = BasicPublishOptions::default();
        channel.basic_publish(name(""), name(&queue), options, &body, properties.clone()).await.expect("sent");
        let delivery = get(&channel, &queue).await.expect("the message");
        assert_eq!(delivery.properties, properties);
        assert!(delivery.data == body);
    });
}

#[test]
fn transactions() {
    run(|connection, channel| async move {
        let queue = exclusive_queue(&channel).await;
        let other = connection.create_channel().await.expect("a channel");
        channel.tx_select().await.expect("select-ok");
        publish(&channel, "", &queue, "rolled back").await;
        channel.tx_rollback().await.expect("rollback-ok");
        publish(&channel, "", &queue, "committed").await;
        assert!(get(&other, &queue).await.is_none());
        channel.tx_commit().await.expect("commit-ok");
        assert_eq!(drain(&other, &queue).await, ["committed"]);
    });
}

#[test]
fn errors_close_the_channel_and_say_why() {
    run(|connection, channel| async move {
        let missing = unique("missing");
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let error = channel.queue_declare(name(&missing), passive, no_arguments()).await.expect_err("no such queue");
        assert_eq!(code(&error), 404);
        assert!(!channel.status().connected());

        let channel = connection.create_channel().await.expect("the connection is still good");
        let queue = exclusive_queue(&channel).await;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let error = channel.queue_declare(name(&queue), durable, no_arguments()).await.expect_err("reserved");
        assert_eq!(code(&error), 403);

        let channel = connection.create_channel().await.expect("the connection is still good");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("select-ok");
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let confirm = channel.basic_publish(name("no such exchange"), name(""), options, b"x", properties).await;
        let error = confirm.expect("sent").await.expect_err("no such exchange");
        assert_eq!(code(&error), 404);
        assert!(connection.status().connected());
    });
}

#[test]
fn a_consumer_learns_that_its_queue_was_deleted() {
    run(|connection, channel| async move {
        let queue = exclusive_queue(&channel).await;
        let mut consumer = consume(&channel, &queue, BasicConsumeOptions::default()).await;
        let other = connection.create_channel().await.expect("a channel");
        other.queue_delete(name(&queue), QueueDeleteOptions::default()).await.expect("delete-ok");
        assert!(consumer.next().await.is_none(), "the stream ends");
        assert!(channel.status().connected());
    });
}

#[test]
fn a_wrong_password_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let uri = format!("amqp://guest:wrong@{}/%2f", broker::shared());
        let error = Connection::connect(&uri, ConnectionProperties::default()).await.expect_err("a wrong password");
        assert_eq!(code(&error), 403);
        let uri = format!("amqp://guest:guest@{}/nowhere", broker::shared());
        let error = Connection::connect(&uri, ConnectionProperties::default()).await.expect_err("a wrong vhost");
        assert_eq!(code(&error), 530);
    });
}
