use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use interop_harness::{Outcome, Scenario, equal, scenarios, wrong};
use lapin::message::Delivery;
use lapin::options::BasicRejectOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, ExchangeKind};

use super::exchanges::bind;
use crate::inbox::{Inbox, body, hold};
use crate::publishing::{publish, publish_with};
use crate::session::{Session, table, text};

const REJECT: BasicRejectOptions = BasicRejectOptions { requeue: false };
/// What may lie between the clocks of the client and the broker, and between the death and the look at it.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![dead_letter_rejected, dead_letter_expired, dead_letter_maxlen, dead_letter_retry]
}

/// A queue whose dead letters go through an exchange to another queue, which a consumer reads.
struct Cemetery {
    exchange: ShortString,
    queue: ShortString,
    letters: Inbox,
}

impl Cemetery {
    async fn open(session: &Session, channel: &Channel, arguments: FieldTable) -> Outcome<Self> {
        let exchange = session.exchange(channel, ExchangeKind::Direct, "dead-letters").await?;
        let dead = session.queue(channel, "dead").await?;
        bind(channel, &dead, &exchange, "buried").await?;
        let mut arguments = arguments;
        arguments.insert("x-dead-letter-exchange".into(), text(&exchange));
        arguments.insert("x-dead-letter-routing-key".into(), text("buried"));
        let queue = session.queue_with(channel, "queue", arguments).await?;
        let letters = Inbox::open_no_ack(channel, &dead).await?;
        Ok(Self { exchange, queue, letters })
    }

    /// The letter that comes next, which must have died once, of `reason` in the queue.
    async fn letter(&mut self, expected_body: &str, reason: &str) -> Outcome<&Delivery> {
        self.letters.deliveries.clear();
        let letter = &self.letters.wait(1).await?[0];
        equal(body(letter).as_str(), expected_body, "body")?;
        equal((&letter.exchange, letter.routing_key.as_str()), (&self.exchange, "buried"), "exchange and key")?;
        let deaths = deaths(letter)?;
        equal(deaths.len(), 1, "deaths")?;
        check_death(deaths[0], &self.queue, reason, 1)?;
        for (key, value) in [("reason", reason), ("queue", self.queue.as_str()), ("exchange", "")] {
            let key = format!("x-first-death-{key}");
            equal(headers(letter)?.get(key.as_str()), Some(&text(value)), key)?;
        }
        Ok(letter)
    }
}

type Table = BTreeMap<ShortString, AMQPValue>;

fn headers(message: &Delivery) -> Outcome<&Table> {
    match message.properties.headers() {
        Some(headers) => Ok(headers.inner()),
        None => wrong("the message has no headers"),
    }
}

fn deaths(message: &Delivery) -> Outcome<Vec<&Table>> {
    let Some(AMQPValue::FieldArray(deaths)) = headers(message)?.get("x-death") else {
        return wrong(format!("x-death is not an array: {:?}", headers(message)?));
    };
    Ok(deaths.as_slice().iter().filter_map(|death| death.as_field_table()).map(FieldTable::inner).collect())
}

fn check_death(death: &Table, queue: &ShortString, reason: &str, count: i64) -> Outcome {
    let keys = AMQPValue::FieldArray(vec![text(queue)].into());
    for (key, value) in [
        ("queue", text(queue)),
        ("reason", text(reason)),
        ("exchange", text("")),
        ("routing-keys", keys),
        ("count", count.into()),
    ] {
        equal(death.get(key), Some(&value), format!("{key} of the death in {queue}"))?;
    }
    let Some(AMQPValue::Timestamp(time)) = death.get("time") else {
        return wrong(format!("time is no timestamp: {death:?}"));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    equal(now.abs_diff(Duration::from_secs(*time)) < CLOCK_TOLERANCE, true, format!("died at {time}, now is {now:?}"))
}

async fn dead_letter_rejected(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let mut cemetery = Cemetery::open(&session, &channel, FieldTable::default()).await?;
    let properties = BasicProperties::default().with_message_id("id".into());
    publish_with(&channel, &cemetery.queue, "rejected", properties).await?;
    hold(&channel, &cemetery.queue).await?.reject(REJECT).await?;
    let letter = cemetery.letter("rejected", "rejected").await?;
    equal(letter.properties.message_id(), &Some("id".into()), "message id")
}

async fn dead_letter_expired(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let mut cemetery = Cemetery::open(&session, &channel, FieldTable::default()).await?;
    let properties = BasicProperties::default().with_expiration("100".into());
    publish_with(&channel, &cemetery.queue, "expired", properties).await?;
    let letter = cemetery.letter("expired", "expired").await?;
    equal(deaths(letter)?[0].get("original-expiration"), Some(&text("100")), "original-expiration")?;
    equal(letter.properties.expiration(), &None, "expiration")
}

async fn dead_letter_maxlen(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let mut cemetery = Cemetery::open(&session, &channel, table([("x-max-length", 2.into())])).await?;
    publish(&channel, &cemetery.queue, ["first", "second", "third", "fourth"]).await?;
    cemetery.letter("first", "maxlen").await?;
    cemetery.letter("second", "maxlen").await?;
    let third = hold(&channel, &cemetery.queue).await?;
    equal(body(&third).as_str(), "third", "the oldest that is left")
}

async fn dead_letter_retry(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let (work, retry) = (session.name("work"), session.name("retry"));
    let to =
        |queue: &ShortString| table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(queue))]);
    session.queue_with(&channel, "work", to(&retry)).await?;
    let mut arguments = to(&work);
    arguments.insert("x-message-ttl".into(), 100.into());
    session.queue_with(&channel, "retry", arguments).await?;
    publish(&channel, &work, ["stubborn"]).await?;
    let mut inbox = Inbox::open(&channel, &work).await?;
    for attempt in 1..=3 {
        inbox.wait(attempt).await?[attempt - 1].reject(REJECT).await?;
    }
    let stubborn = &inbox.wait(4).await?[3];
    equal(body(stubborn).as_str(), "stubborn", "body")?;
    let deaths = deaths(stubborn)?;
    equal(deaths.len(), 2, "entries in x-death")?;
    check_death(deaths[0], &retry, "expired", 3)?;
    check_death(deaths[1], &work, "rejected", 3)
}
