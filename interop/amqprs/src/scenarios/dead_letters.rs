use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amqprs::channel::{BasicRejectArguments, Channel, ExchangeType};
use amqprs::{BasicProperties, FieldTable, FieldValue};
use interop_harness::{Outcome, Scenario, equal, scenarios, wrong};

use super::exchanges::bind;
use crate::inbox::{Inbox, Message, hold};
use crate::publishing::{publish, publish_with};
use crate::session::{Session, array, field, insert, int, table};

/// What may lie between the clocks of the client and the broker, and between the death and the look at it.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![dead_letter_rejected, dead_letter_expired, dead_letter_maxlen, dead_letter_retry]
}

/// A queue whose dead letters go through an exchange to another queue, which a consumer reads.
struct Cemetery {
    exchange: String,
    queue: String,
    letters: Inbox,
}

impl Cemetery {
    async fn open(session: &Session, channel: &Channel, mut arguments: FieldTable) -> Outcome<Self> {
        let exchange = session.exchange(channel, ExchangeType::Direct, "dead-letters").await?;
        let dead = session.queue(channel, "dead").await?;
        bind(channel, &dead, &exchange, "buried").await?;
        insert(&mut arguments, "x-dead-letter-exchange", exchange.as_str().into());
        insert(&mut arguments, "x-dead-letter-routing-key", "buried".into());
        let queue = session.queue_with(channel, "queue", arguments).await?;
        let letters = Inbox::open_no_ack(channel, &dead).await?;
        Ok(Self { exchange, queue, letters })
    }

    /// The letter that comes next, which must have died once, of `reason` in the queue.
    async fn letter(&mut self, expected_body: &str, reason: &str) -> Outcome<&Message> {
        self.letters.messages.clear();
        let letter = &self.letters.wait(1).await?[0];
        equal(letter.body().as_str(), expected_body, "body")?;
        equal((&letter.exchange, letter.routing_key.as_str()), (&self.exchange, "buried"), "exchange and key")?;
        let deaths = deaths(letter)?;
        equal(deaths.len(), 1, "deaths")?;
        check_death(&deaths[0], &self.queue, reason, 1)?;
        for (key, value) in [("reason", reason), ("queue", self.queue.as_str()), ("exchange", "")] {
            let key = format!("x-first-death-{key}");
            equal(field(headers(letter)?, &key), Some(&value.into()), key)?;
        }
        Ok(letter)
    }
}

fn headers(message: &Message) -> Outcome<&FieldTable> {
    match message.properties.headers() {
        Some(headers) => Ok(headers),
        None => wrong("the message has no headers"),
    }
}

fn deaths(message: &Message) -> Outcome<Vec<FieldTable>> {
    let Some(FieldValue::A(deaths)) = field(headers(message)?, "x-death") else {
        return wrong(format!("x-death is not an array: {:?}", headers(message)?));
    };
    let deaths: Vec<FieldValue> = deaths.clone().into();
    Ok(deaths.into_iter().map(FieldTable::try_from).collect::<Result<_, _>>()?)
}

fn check_death(death: &FieldTable, queue: &str, reason: &str, count: i64) -> Outcome {
    for (key, value) in [
        ("queue", queue.into()),
        ("reason", reason.into()),
        ("exchange", "".into()),
        ("routing-keys", array(vec![queue.into()])),
        ("count", FieldValue::l(count)),
    ] {
        equal(field(death, key), Some(&value), format!("{key} of the death in {queue}"))?;
    }
    let Some(FieldValue::T(time)) = field(death, "time") else {
        return wrong(format!("time is no timestamp: {death:?}"));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    equal(now.abs_diff(Duration::from_secs(*time)) < CLOCK_TOLERANCE, true, format!("died at {time}, now is {now:?}"))
}

async fn reject(channel: &Channel, message: &Message) -> Outcome {
    Ok(channel.basic_reject(BasicRejectArguments::new(message.delivery_tag, false)).await?)
}

async fn dead_letter_rejected(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let mut cemetery = Cemetery::open(&session, &channel, FieldTable::new()).await?;
    let properties = BasicProperties::default().with_message_id("id").finish();
    publish_with(&channel, &cemetery.queue, "rejected", properties).await?;
    reject(&channel, &hold(&channel, &cemetery.queue).await?).await?;
    let letter = cemetery.letter("rejected", "rejected").await?;
    equal(letter.properties.message_id().map(String::as_str), Some("id"), "message id")
}

async fn dead_letter_expired(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let mut cemetery = Cemetery::open(&session, &channel, FieldTable::new()).await?;
    let properties = BasicProperties::default().with_expiration("100").finish();
    publish_with(&channel, &cemetery.queue, "expired", properties).await?;
    let letter = cemetery.letter("expired", "expired").await?;
    equal(field(&deaths(letter)?[0], "original-expiration"), Some(&"100".into()), "original-expiration")?;
    equal(letter.properties.expiration(), None, "expiration")
}

async fn dead_letter_maxlen(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let mut cemetery = Cemetery::open(&session, &channel, table([("x-max-length", int(2))])).await?;
    publish(&channel, &cemetery.queue, ["first", "second", "third", "fourth"]).await?;
    cemetery.letter("first", "maxlen").await?;
    cemetery.letter("second", "maxlen").await?;
    let third = hold(&channel, &cemetery.queue).await?;
    equal(third.body().as_str(), "third", "the oldest that is left")
}

async fn dead_letter_retry(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let (work, retry) = (session.name("work"), session.name("retry"));
    let to = |queue: &str| table([("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", queue.into())]);
    session.queue_with(&channel, "work", to(&retry)).await?;
    let mut arguments = to(&work);
    insert(&mut arguments, "x-message-ttl", int(100));
    session.queue_with(&channel, "retry", arguments).await?;
    publish(&channel, &work, ["stubborn"]).await?;
    let mut inbox = Inbox::open(&channel, &work).await?;
    for attempt in 1..=3 {
        reject(&channel, &inbox.wait(attempt).await?[attempt - 1]).await?;
    }
    let stubborn = &inbox.wait(4).await?[3];
    equal(stubborn.body().as_str(), "stubborn", "body")?;
    let deaths = deaths(stubborn)?;
    equal(deaths.len(), 2, "entries in x-death")?;
    check_death(&deaths[0], &retry, "expired", 3)?;
    check_death(&deaths[1], &work, "rejected", 3)
}
