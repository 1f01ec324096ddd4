use amqprs::channel::BasicPublishArguments;
use amqprs::{BasicProperties, DecimalValue, FieldArray, FieldTable, FieldValue};
use interop_harness::{Outcome, Scenario, equal, noise, scenarios};

use crate::inbox::{Inbox, take};
use crate::publishing::{confirm, publish_with};
use crate::session::{Session, array, field, insert, int, table};

const FRAME_OVERHEAD: usize = 8;

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![message_properties, header_field_types, body_sizes, body_16_mib]
}

async fn message_properties(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let every = BasicProperties::default()
        .with_content_type("application/json")
        .with_content_encoding("gzip")
        .with_headers(table([("key", "value".into())]))
        .with_persistence(true)
        .with_priority(7)
        .with_correlation_id("correlation")
        .with_reply_to("reply.queue")
        .with_expiration("3600000")
        .with_message_id("message-1")
        .with_timestamp(1_700_000_000)
        .with_message_type("order.created")
        .with_user_id(session.login().0)
        .with_app_id("interop")
        .with_cluster_id("cluster")
        .finish();
    let none = BasicProperties::default();
    let lowest = BasicProperties::default().with_priority(0).finish();
    let empty = BasicProperties::default().with_headers(FieldTable::new()).finish();
    for given in [every, none, lowest, empty] {
        publish_with(&channel, &queue, "body", given.clone()).await?;
        let received = take(&channel, &queue).await?.properties;
        equal(received.headers(), given.headers(), "headers")?;
        equal(numbers(&received), numbers(&given), "delivery mode, priority and timestamp")?;
        equal(texts(&received), texts(&given), "properties that are text")?;
    }
    Ok(())
}

fn numbers(properties: &BasicProperties) -> [Option<u64>; 3] {
    [properties.delivery_mode().map(u64::from), properties.priority().map(u64::from), properties.timestamp()]
}

fn texts(properties: &BasicProperties) -> [Option<&String>; 10] {
    [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.expiration(),
        properties.message_id(),
        properties.message_type(),
        properties.user_id(),
        properties.app_id(),
        properties.cluster_id(),
    ]
}

async fn header_field_types(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let scalars: [(&str, FieldValue); 18] = [
        ("longstr", "text äöü".into()),
        ("empty longstr", "".into()),
        ("bytes", FieldValue::x(vec![0, 0xff, 0xfe].try_into()?)),
        ("true", true.into()),
        ("false", false.into()),
        ("i8", FieldValue::b(i8::MIN)),
        ("u8", FieldValue::B(u8::MAX)),
        ("i16", FieldValue::s(i16::MIN)),
        ("u16", FieldValue::u(u16::MAX)),
        ("i32", FieldValue::I(i32::MIN)),
        ("u32", FieldValue::i(u32::MAX)),
        ("i64", FieldValue::l(i64::MIN)),
        ("i64 max", FieldValue::l(i64::MAX)),
        ("f32", FieldValue::f(-1.5)),
        ("f64", FieldValue::d(std::f64::consts::PI)),
        ("decimal", FieldValue::D(DecimalValue::new(3, -12345))),
        ("timestamp", FieldValue::T(1_709_209_815)),
        ("void", FieldValue::V),
    ];
    let four = table([("four", int(4))]);
    let mut nested = table(scalars.clone());
    insert(&mut nested, "deeper", table([("deepest", FieldTable::new().into())]).into());
    let mut headers = table(scalars);
    let inner = array(vec![true.into(), FieldValue::V]);
    insert(&mut headers, "array", array(vec![int(1), "two".into(), inner, four.into()]));
    insert(&mut headers, "empty array", FieldValue::A(FieldArray::new()));
    insert(&mut headers, "table", nested.into());
    insert(&mut headers, &"k".repeat(255), "long key".into());

    let properties = BasicProperties::default().with_headers(headers.clone()).finish();
    publish_with(&channel, &queue, "", properties).await?;
    let received = take(&channel, &queue).await?.properties;
    let received = received.headers().cloned().unwrap_or_default();
    for (key, value) in headers.as_ref() {
        equal(field(&received, key.as_ref()), Some(value), key)?;
    }
    equal(received.as_ref().len(), headers.as_ref().len(), "headers")
}

async fn body_sizes(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let queue = session.queue(&channel, "queue").await?;
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    let frame = connection.frame_max() as usize - FRAME_OVERHEAD;
    let sizes = [0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1];
    let bodies = sizes.map(|size| (0..251).cycle().take(size).collect::<Vec<u8>>());
    for body in &bodies {
        let arguments = BasicPublishArguments::new("", &queue);
        channel.basic_publish(BasicProperties::default(), body.clone(), arguments).await?;
    }
    for (message, body) in inbox.wait(bodies.len()).await?.iter().zip(&bodies) {
        equal(message.content.len(), body.len(), "body size")?;
        equal(&message.content == body, true, format!("body of {} bytes unchanged", body.len()))?;
    }
    Ok(())
}

async fn body_16_mib(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let body = noise(16 * 1024 * 1024);
    let mut confirms = confirm(&channel).await?;
    let arguments = BasicPublishArguments::new("", &queue);
    channel.basic_publish(BasicProperties::default(), body.clone(), arguments).await?;
    confirms.acked(1).await?;
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    let received = &inbox.wait(1).await?[0].content;
    equal(received.len(), body.len(), "body size")?;
    equal(received == &body, true, "body unchanged")
}
