use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use amqprs::channel::{
    Channel, ExchangeBindArguments, ExchangeDeclareArguments, ExchangeType, ExchangeUnbindArguments,
    QueueBindArguments, QueueUnbindArguments,
};
use amqprs::connection::Connection;
use amqprs::error::Error;
use amqprs::{BasicProperties, FieldTable, FieldValue};
use interop_harness::{Outcome, Scenario, equal, scenarios};

use crate::events::Events;
use crate::inbox::{Inbox, drain, gather, take};
use crate::publishing::{await_ready, declare_passively, publish, send, send_mandatory, send_with};
use crate::refusal::{no_exchange, refused};
use crate::session::{Session, array, insert, int, table};

pub fn scenarios() -> Vec<Scenario<Session>> {
    scenarios![
        predeclared_exchanges,
        exchange_mismatch,
        default_exchange,
        direct_exchange,
        fanout_exchange,
        topic_exchange,
        headers_exchange,
        exchange_to_exchange,
        alternate_exchange,
        internal_exchange,
        auto_delete_exchange,
        unbind,
        consistent_hash_exchange,
        modulus_hash_exchange,
        random_exchange,
        recent_history_exchange,
        delayed_exchange,
        sender_selected_keys,
    ]
}

pub async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), Error> {
    channel.queue_bind(QueueBindArguments::new(queue, exchange, key)).await
}

async fn bind_headers(channel: &Channel, queue: &str, exchange: &str, arguments: FieldTable) -> Result<(), Error> {
    channel.queue_bind(QueueBindArguments::new(queue, exchange, "").arguments(arguments).finish()).await
}

fn with_headers(headers: FieldTable) -> BasicProperties {
    BasicProperties::default().with_headers(headers).finish()
}

async fn predeclared_exchanges(session: Session) -> Outcome {
    let channel = session.channel().await?;
    for (name, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ] {
        let mut declare = ExchangeDeclareArguments::new(name, kind);
        channel.exchange_declare(declare.clone().passive(true).finish()).await?;
        channel.exchange_declare(declare.durable(true).finish()).await?;
    }
    Ok(())
}

async fn exchange_mismatch(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let exchange = session.exchange(&channel, ExchangeType::Direct, "exchange").await?;
    let again = || ExchangeDeclareArguments::of_type(&exchange, ExchangeType::Direct);
    let fanout = ExchangeDeclareArguments::of_type(&exchange, ExchangeType::Fanout);
    mismatch(&connection, fanout, "type", "received 'fanout' but current is 'direct'").await?;
    let flag = "received 'true' but current is 'false'";
    mismatch(&connection, again().durable(true).finish(), "durable", flag).await?;
    mismatch(&connection, again().auto_delete(true).finish(), "auto_delete", flag).await?;
    mismatch(&connection, again().internal(true).finish(), "internal", flag).await?;
    let argument = "alternate-exchange";
    let arguments = again().arguments(table([(argument, "amq.fanout".into())])).finish();
    let difference = "received the value 'amq.fanout' of type 'longstr' but current is none";
    mismatch(&connection, arguments, argument, difference).await?;
    channel.exchange_declare(again()).await?;
    Ok(())
}

async fn mismatch(
    connection: &Connection,
    declare: ExchangeDeclareArguments,
    argument: &str,
    difference: &str,
) -> Outcome {
    let exchange = &declare.exchange;
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange '{exchange}' in vhost '/': {difference}"
    );
    refused(connection, 406, &text, async |channel| channel.exchange_declare(declare.clone()).await).await
}

async fn default_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let first = session.queue(&channel, "first").await?;
    let second = session.queue(&channel, "second").await?;
    publish(&channel, &first, ["to first"]).await?;
    publish(&channel, &second, ["to second"]).await?;
    publish(&channel, &session.name("nobody"), ["to nobody"]).await?;
    equal(drain(&channel, &first).await?, ["to first"], "first")?;
    equal(drain(&channel, &second).await?, ["to second"], "second")
}

async fn direct_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeType::Direct, "exchange").await?;
    let errors = session.queue(&channel, "errors").await?;
    let everything = session.queue(&channel, "everything").await?;
    bind(&channel, &errors, &exchange, "error").await?;
    for severity in ["info", "warning", "error", "error"] {
        bind(&channel, &everything, &exchange, severity).await?;
    }
    for severity in ["info", "warning", "error", "debug"] {
        send(&channel, &exchange, severity, severity).await?;
    }
    equal(drain(&channel, &errors).await?, ["error"], "errors")?;
    equal(drain(&channel, &everything).await?, ["info", "warning", "error"], "everything")
}

async fn fanout_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeType::Fanout, "exchange").await?;
    let mut queues = Vec::new();
    for n in 0..5 {
        let queue = session.queue(&channel, &format!("queue-{n}")).await?;
        bind(&channel, &queue, &exchange, &format!("ignored-{n}")).await?;
        queues.push(queue);
    }
    send(&channel, &exchange, "", "one").await?;
    send(&channel, &exchange, "any.key", "two").await?;
    for queue in queues {
        equal(drain(&channel, &queue).await?, ["one", "two"], queue)?;
    }
    Ok(())
}

/// Keys, each with the patterns that match it.
const TOPIC_CASES: [(&str, &[&str]); 6] = [
    ("a.b.c", &["a.b.c", "a.*.c", "*.b.*", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "#.b.#"]),
    ("a.c", &["#", "a.#", "#.c", "a.#.c", "a.#.#", "*.*"]),
    ("a", &["#", "a.#", "*", "a.#.#"]),
    ("", &["#"]),
    ("a..c", &["a.*.c", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "a..c"]),
    ("b", &["#", "*", "#.b.#"]),
];

async fn topic_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeType::Topic, "exchange").await?;
    let once = session.queue(&channel, "one copy").await?;
    let patterns: BTreeSet<&str> = TOPIC_CASES.iter().flat_map(|(_, matching)| matching.iter().copied()).collect();
    for pattern in &patterns {
        let queue = session.queue(&channel, &format!("[{pattern}]")).await?;
        bind(&channel, &queue, &exchange, pattern).await?;
        bind(&channel, &once, &exchange, pattern).await?;
    }
    for (key, _) in TOPIC_CASES {
        send(&channel, &exchange, key, key).await?;
    }
    for pattern in patterns {
        let matched = TOPIC_CASES.iter().filter(|(_, matching)| matching.contains(&pattern));
        let expected: Vec<&str> = matched.map(|(key, _)| *key).collect();
        let queue = session.name(&format!("[{pattern}]"));
        equal(drain(&channel, &queue).await?, expected, format!("keys that {pattern} matches"))?;
    }
    equal(drain(&channel, &once).await?, TOPIC_CASES.map(|(key, _)| key), "one copy of each")
}

async fn headers_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeType::Headers, "exchange").await?;
    let wanted = || table([("format", "pdf".into()), ("pages", int(3)), ("draft", false.into())]);
    let tiered = || table([("format", "pdf".into()), ("x-tier", "gold".into())]);
    for (label, mut arguments, x_match) in [
        ("all", wanted(), Some("all")),
        ("any", wanted(), Some("any")),
        ("default", wanted(), None),
        ("tiered all", tiered(), Some("all")),
        ("tiered all-with-x", tiered(), Some("all-with-x")),
        ("tiered any-with-x", tiered(), Some("any-with-x")),
    ] {
        let queue = session.queue(&channel, label).await?;
        if let Some(x_match) = x_match {
            insert(&mut arguments, "x-match", x_match.into());
        }
        bind_headers(&channel, &queue, &exchange, arguments).await?;
    }
    let mut everything = wanted();
    insert(&mut everything, "extra", "ignored".into());
    for (label, headers) in [
        ("all", everything),
        ("format only", table([("format", "pdf".into()), ("pages", int(4))])),
        ("draft only", table([("draft", false.into())])),
        ("none", table([("format", "zip".into()), ("pages", int(4)), ("draft", true.into())])),
        ("tiered", tiered()),
        ("tier only", table([("x-tier", "gold".into())])),
    ] {
        send_with(&channel, &exchange, "", label, with_headers(headers)).await?;
    }
    send(&channel, &exchange, "", "no headers").await?;
    for (label, expected) in [
        ("all", ["all"].as_slice()),
        ("any", &["all", "format only", "draft only", "tiered"]),
        ("default", &["all"]),
        ("tiered all", &["all", "format only", "tiered"]),
        ("tiered all-with-x", &["tiered"]),
        ("tiered any-with-x", &["all", "format only", "tiered", "tier only"]),
    ] {
        equal(drain(&channel, &session.name(label)).await?, expected, format!("bound with {label}"))?;
    }
    Ok(())
}

async fn exchange_to_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let source = session.exchange(&channel, ExchangeType::Topic, "source").await?;
    let middle = session.exchange(&channel, ExchangeType::Fanout, "middle").await?;
    let queue = session.queue(&channel, "queue").await?;
    channel.exchange_bind(ExchangeBindArguments::new(&middle, &source, "orders.#")).await?;
    channel.exchange_bind(ExchangeBindArguments::new(&source, &middle, "")).await?;
    bind(&channel, &queue, &middle, "").await?;
    bind(&channel, &queue, &source, "#").await?;
    send(&channel, &source, "orders.new", "both ways").await?;
    send(&channel, &source, "other", "directly").await?;
    equal(drain(&channel, &queue).await?, ["both ways", "directly"], "messages, one copy each")?;
    channel.exchange_unbind(ExchangeUnbindArguments::new(&middle, &source, "orders.#")).await?;
    channel.queue_unbind(QueueUnbindArguments::new(&queue, &source, "#")).await?;
    send(&channel, &source, "orders.new", "nowhere").await?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "no messages after unbind")
}

async fn alternate_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let mut events = Events::of_channel(&channel).await?;
    let fallback = session.exchange(&channel, ExchangeType::Fanout, "fallback").await?;
    let declare = ExchangeDeclareArguments::of_type(&session.name("main"), ExchangeType::Direct)
        .arguments(table([("alternate-exchange", fallback.as_str().into())]))
        .finish();
    let exchange = session.exchange_with(&channel, declare).await?;
    let known = session.queue(&channel, "known").await?;
    let unknown = session.queue(&channel, "unknown").await?;
    bind(&channel, &known, &exchange, "known").await?;
    bind(&channel, &unknown, &fallback, "").await?;
    for (key, body) in [("known", "matched"), ("stray", "not matched")] {
        send_mandatory(&channel, &exchange, key, body, BasicProperties::default()).await?;
    }
    equal(drain(&channel, &known).await?, ["matched"], "matched")?;
    let message = take(&channel, &unknown).await?;
    equal((&message.exchange, message.routing_key.as_str()), (&exchange, "stray"), "exchange and key")?;
    equal(message.body().as_str(), "not matched", "not matched")?;
    equal(events.arrived().len(), 0, "returned")
}

async fn internal_exchange(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let front = session.exchange(&channel, ExchangeType::Direct, "front").await?;
    let name = session.name("internal");
    let declare = ExchangeDeclareArguments::of_type(&name, ExchangeType::Fanout).internal(true).finish();
    let internal = session.exchange_with(&channel, declare).await?;
    let queue = session.queue(&channel, "queue").await?;
    channel.exchange_bind(ExchangeBindArguments::new(&internal, &front, "in")).await?;
    bind(&channel, &queue, &internal, "").await?;
    send(&channel, &front, "in", "through the front").await?;
    equal(drain(&channel, &queue).await?, ["through the front"], "messages")?;
    let text = format!("ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'");
    refused(&connection, 403, &text, async |channel| send(channel, &internal, "", "directly").await).await?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "no messages after the refused publish")
}

async fn auto_delete_exchange(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.open_channel(None).await?;
    let name = session.name("exchange");
    let declare = ExchangeDeclareArguments::of_type(&name, ExchangeType::Fanout).auto_delete(true).finish();
    let exchange = session.exchange_with(&channel, declare).await?;
    let queue = session.queue(&channel, "queue").await?;
    let ask = ExchangeDeclareArguments::of_type(&exchange, ExchangeType::Fanout).passive(true).finish();
    for key in ["one", "two"] {
        bind(&channel, &queue, &exchange, key).await?;
    }
    channel.queue_unbind(QueueUnbindArguments::new(&queue, &exchange, "one")).await?;
    channel.exchange_declare(ask.clone()).await?;
    channel.queue_unbind(QueueUnbindArguments::new(&queue, &exchange, "two")).await?;
    refused(&connection, 404, &no_exchange(&exchange), async |channel| channel.exchange_declare(ask).await).await
}

async fn unbind(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeType::Headers, "exchange").await?;
    let queue = session.queue(&channel, "queue").await?;
    let coloured = |colour: &str| table([("x-match", "all".into()), ("colour", colour.into())]);
    bind_headers(&channel, &queue, &exchange, coloured("red")).await?;
    bind_headers(&channel, &queue, &exchange, coloured("blue")).await?;
    for (key, colour) in [("", "red"), ("never bound", "blue")] {
        let unbind = QueueUnbindArguments::new(&queue, &exchange, key).arguments(coloured(colour)).finish();
        channel.queue_unbind(unbind).await?;
    }
    for colour in ["red", "blue"] {
        let headers = table([("colour", colour.into())]);
        send_with(&channel, &exchange, "", colour, with_headers(headers)).await?;
    }
    equal(drain(&channel, &queue).await?, ["blue"], "messages")
}

const HASHED_MESSAGES: usize = 1000;

/// Declares a queue for each binding key, and a consumer for each.
async fn bound_inboxes(session: &Session, channel: &Channel, exchange: &str, keys: [&str; 3]) -> Outcome<Vec<Inbox>> {
    let mut inboxes = Vec::new();
    for (n, key) in keys.into_iter().enumerate() {
        let queue = session.queue(channel, &format!("{exchange}.{n}")).await?;
        bind(channel, &queue, exchange, key).await?;
        inboxes.push(Inbox::open_no_ack(channel, &queue).await?);
    }
    Ok(inboxes)
}

/// Awaits so many messages and takes them away, those of each inbox in a set of its own.
async fn take_shares(inboxes: &mut [Inbox], total: usize) -> Vec<BTreeSet<String>> {
    gather(&mut inboxes.iter_mut().collect::<Vec<_>>(), total).await;
    inboxes.iter_mut().map(|inbox| inbox.messages.drain(..).map(|message| message.body()).collect()).collect()
}

/// Each message once, and some for everybody.
fn check_shares(shares: &[BTreeSet<String>], total: usize) -> Outcome {
    equal(shares.iter().map(BTreeSet::len).sum::<usize>(), total, "messages")?;
    let arrived: BTreeSet<String> = shares.iter().flatten().cloned().collect();
    equal(arrived, (0..total).map(|n| n.to_string()).collect::<BTreeSet<_>>(), "messages that arrived")?;
    equal(shares.iter().any(BTreeSet::is_empty), false, "a queue got nothing")
}

async fn consistent_hash_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let by_key = session.exchange(&channel, ExchangeType::ConsistentHashing, "by-key").await?;
    let mut inboxes = bound_inboxes(&session, &channel, &by_key, ["1", "2", "3"]).await?;
    check_hashed_by_key(&channel, &by_key, &mut inboxes).await?;

    let declare = ExchangeDeclareArguments::of_type(&session.name("by-header"), ExchangeType::ConsistentHashing)
        .arguments(table([("hash-header", "customer".into())]))
        .finish();
    let by_header = session.exchange_with(&channel, declare).await?;
    let mut inboxes = bound_inboxes(&session, &channel, &by_header, ["1", "1", "1"]).await?;
    let mut rounds = Vec::new();
    for key in ["one key", "another key"] {
        for n in 0..HASHED_MESSAGES {
            let headers = table([("customer", format!("customer-{n}").into())]);
            send_with(&channel, &by_header, key, n, with_headers(headers)).await?;
        }
        rounds.push(take_shares(&mut inboxes, HASHED_MESSAGES).await);
    }
    check_shares(&rounds[0], HASHED_MESSAGES)?;
    equal(&rounds[0], &rounds[1], "the same header goes to the same queue, whatever the key")
}

async fn modulus_hash_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeType::ModulusHash, "exchange").await?;
    let mut inboxes = bound_inboxes(&session, &channel, &exchange, ["", "", ""]).await?;
    check_hashed_by_key(&channel, &exchange, &mut inboxes).await
}

async fn check_hashed_by_key(channel: &Channel, exchange: &str, inboxes: &mut [Inbox]) -> Outcome {
    let mut rounds = Vec::new();
    for _ in 0..2 {
        for n in 0..HASHED_MESSAGES {
            send(channel, exchange, &format!("key-{n}"), n).await?;
        }
        rounds.push(take_shares(inboxes, HASHED_MESSAGES).await);
    }
    check_shares(&rounds[0], HASHED_MESSAGES)?;
    equal(&rounds[0], &rounds[1], "the same key goes to the same queue")
}

async fn random_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeType::Random, "exchange").await?;
    let mut inboxes = bound_inboxes(&session, &channel, &exchange, ["", "", ""]).await?;
    for n in 0..200 {
        send(&channel, &exchange, "", n).await?;
    }
    check_shares(&take_shares(&mut inboxes, 200).await, 200)
}

async fn recent_history_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let declare = ExchangeDeclareArguments::of_type(&session.name("exchange"), ExchangeType::RecentHistory)
        .arguments(table([("x-recent-history-length", int(5))]))
        .finish();
    let exchange = session.exchange_with(&channel, declare).await?;
    let early = session.queue(&channel, "early").await?;
    bind(&channel, &early, &exchange, "").await?;
    for n in 1..=8 {
        send(&channel, &exchange, "", n).await?;
    }
    equal(drain(&channel, &early).await?.len(), 8, "messages of the queue bound in time")?;
    let late = session.queue(&channel, "late").await?;
    bind(&channel, &late, &exchange, "").await?;
    await_ready(&channel, &late, 5).await?;
    equal(drain(&channel, &late).await?, ["4", "5", "6", "7", "8"], "messages of the queue bound late")
}

async fn delayed_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let kind = ExchangeType::Plugin("x-delayed-message".to_owned());
    let declare = ExchangeDeclareArguments::of_type(&session.name("exchange"), kind)
        .arguments(table([("x-delayed-type", "direct".into())]))
        .finish();
    let exchange = session.exchange_with(&channel, declare).await?;
    let queue = session.queue(&channel, "queue").await?;
    bind(&channel, &queue, &exchange, "key").await?;
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    let published = Instant::now();
    for delay in [300, 100, 200] {
        send_with(&channel, &exchange, "key", delay, with_headers(table([("x-delay", int(delay))]))).await?;
    }
    equal(declare_passively(&channel, &queue).await?.messages, 0, "messages before their time")?;
    for (n, delay) in [100, 200, 300].into_iter().enumerate() {
        equal(inbox.wait(n + 1).await?[n].body(), delay.to_string(), "order")?;
        equal(published.elapsed() >= Duration::from_millis(delay), true, format!("{delay} came in its time"))?;
    }
    Ok(())
}

async fn sender_selected_keys(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeType::Direct, "exchange").await?;
    for key in ["to", "cc", "bcc"] {
        let queue = session.queue(&channel, key).await?;
        bind(&channel, &queue, &exchange, key).await?;
    }
    let list = |keys: &[&str]| array(keys.iter().map(|key| FieldValue::from(*key)).collect());
    let kept = table([("CC", list(&["cc", "to"])), ("kept", "yes".into())]);
    let mut headers = kept.clone();
    insert(&mut headers, "BCC", list(&["bcc"]));
    send_with(&channel, &exchange, "to", "letter", with_headers(headers)).await?;
    for key in ["to", "cc", "bcc"] {
        let queue = session.name(key);
        let message = take(&channel, &queue).await?;
        equal((message.routing_key.as_str(), message.body().as_str()), ("to", "letter"), "key and body")?;
        equal(message.properties.headers(), Some(&kept), format!("headers to {key}"))?;
        equal(drain(&channel, &queue).await?.is_empty(), true, format!("no further copies to {key}"))?;
    }
    Ok(())
}
