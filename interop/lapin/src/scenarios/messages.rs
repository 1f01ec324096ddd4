use std::collections::BTreeMap;

use interop_harness::{Outcome, Scenario, equal, noise, scenarios};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, DecimalValue, FieldTable, ShortString};
use lapin::{BasicProperties, Confirmation};

use crate::inbox::{Inbox, take};
use crate::publishing::publish_with;
use crate::session::{Session, table, text};

const FRAME_OVERHEAD: usize = 8;

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![message_properties, header_field_types, body_sizes, body_16_mib]
}

async fn message_properties(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let every = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("gzip".into())
        .with_headers(table([("key", text("value"))]))
        .with_delivery_mode(2)
        .with_priority(7)
        .with_correlation_id("correlation".into())
        .with_reply_to("reply.queue".into())
        .with_expiration("3600000".into())
        .with_message_id("message-1".into())
        .with_timestamp(1_700_000_000)
        .with_type("order.created".into())
        .with_user_id(session.uri().authority.userinfo.username.into())
        .with_app_id("interop".into())
        .with_cluster_id("cluster".into());
    let none = BasicProperties::default();
    let lowest = BasicProperties::default().with_priority(0);
    let empty = BasicProperties::default().with_headers(FieldTable::default());
    for given in [every, none, lowest, empty] {
        publish_with(&channel, &queue, "body", given.clone()).await?;
        equal(take(&channel, &queue).await?.properties, given, "properties")?;
    }
    Ok(())
}

async fn header_field_types(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let scalars: [(&str, AMQPValue); 20] = [
        ("longstr", text("text äöü")),
        ("empty longstr", text("")),
        ("longstr of bytes", AMQPValue::LongString(vec![0, 0xff, 0xfe].into())),
        ("bytes", AMQPValue::ByteArray(vec![0, 0xff, 0xfe].into())),
        ("true", true.into()),
        ("false", false.into()),
        ("i8", i8::MIN.into()),
        ("u8", u8::MAX.into()),
        ("i16", i16::MIN.into()),
        ("u16", u16::MAX.into()),
        ("i32", i32::MIN.into()),
        ("u32", u32::MAX.into()),
        ("i64", i64::MIN.into()),
        ("i64 max", i64::MAX.into()),
        ("f32", AMQPValue::Float(-1.5)),
        ("f64", AMQPValue::Double(std::f64::consts::PI)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 3, value: 12345 })),
        ("timestamp", AMQPValue::Timestamp(1_709_209_815)),
        ("void", AMQPValue::Void),
        ("zero", 0.into()),
    ];
    let deepest = table([("deepest", FieldTable::default().into())]);
    let inner = vec![true.into(), AMQPValue::Void];
    let array = vec![1.into(), text("two"), AMQPValue::FieldArray(inner.into()), table([("four", 4.into())]).into()];
    let mut nested = table(scalars.clone());
    nested.insert("deeper".into(), deepest.into());
    let mut headers = table(scalars);
    headers.insert("array".into(), AMQPValue::FieldArray(array.into()));
    headers.insert("empty array".into(), AMQPValue::FieldArray(vec![].into()));
    headers.insert("table".into(), nested.into());
    headers.insert("k".repeat(255).into(), text("long key"));

    let properties = BasicProperties::default().with_headers(headers.clone());
    publish_with(&channel, &queue, "", properties).await?;
    let received = take(&channel, &queue).await?.properties.headers().clone().unwrap_or_default();
    let received: &BTreeMap<ShortString, AMQPValue> = received.inner();
    for (key, value) in &headers {
        equal(received.get(key), Some(value), key)?;
    }
    equal(received.len(), headers.inner().len(), "headers")
}

async fn body_sizes(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    let frame = connection.configuration().frame_max() as usize - FRAME_OVERHEAD;
    let sizes = [0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1];
    let bodies = sizes.map(|size| (0..251).cycle().take(size).collect::<Vec<u8>>());
    for body in &bodies {
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), queue.clone(), options, body, BasicProperties::default()).await?;
    }
    for (delivery, body) in inbox.wait(bodies.len()).await?.iter().zip(&bodies) {
        equal(delivery.data.len(), body.len(), "body size")?;
        equal(&delivery.data == body, true, format!("body of {} bytes unchanged", body.len()))?;
    }
    Ok(())
}

async fn body_16_mib(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let queue = session.queue(&channel, "queue").await?;
    let body = noise(16 * 1024 * 1024);
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish("".into(), queue.clone(), options, &body, BasicProperties::default()).await?;
    equal(confirm.await?, Confirmation::Ack(None), "confirm")?;
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    let received = &inbox.wait(1).await?[0].data;
    equal(received.len(), body.len(), "body size")?;
    equal(received == &body, true, "body unchanged")
}
