use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use interop_harness::{Outcome, Scenario, equal, scenarios};
use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, ExchangeUnbindOptions, QueueBindOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};

use crate::inbox::{Inbox, body, drain, gather, take};
use crate::publishing::{MANDATORY, await_ready, declare_passively, publish, send, send_with};
use crate::refusal::{no_exchange, refused};
use crate::session::{Session, table, text};

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

const PASSIVE: ExchangeDeclareOptions =
    ExchangeDeclareOptions { passive: true, durable: false, auto_delete: false, internal: false, nowait: false };
const DURABLE: ExchangeDeclareOptions =
    ExchangeDeclareOptions { passive: false, durable: true, auto_delete: false, internal: false, nowait: false };
const AUTO_DELETE: ExchangeDeclareOptions =
    ExchangeDeclareOptions { passive: false, durable: false, auto_delete: true, internal: false, nowait: false };
const INTERNAL: ExchangeDeclareOptions =
    ExchangeDeclareOptions { passive: false, durable: false, auto_delete: false, internal: true, nowait: false };

pub async fn bind(channel: &Channel, queue: &ShortString, exchange: &ShortString, key: &str) -> lapin::Result<()> {
    bind_with(channel, queue, exchange, key, FieldTable::default()).await
}

async fn bind_with(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &str,
    arguments: FieldTable,
) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.clone(), exchange.clone(), key.into(), options, arguments).await
}

async fn unbind_with(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &str,
    arguments: FieldTable,
) -> lapin::Result<()> {
    channel.queue_unbind(queue.clone(), exchange.clone(), key.into(), arguments).await
}

async fn bind_exchange(channel: &Channel, to: &ShortString, from: &ShortString, key: &str) -> lapin::Result<()> {
    let options = ExchangeBindOptions::default();
    channel.exchange_bind(to.clone(), from.clone(), key.into(), options, FieldTable::default()).await
}

async fn predeclared_exchanges(session: Session) -> Outcome {
    let channel = session.channel().await?;
    for (name, kind) in [
        ("amq.direct", ExchangeKind::Direct),
        ("amq.fanout", ExchangeKind::Fanout),
        ("amq.topic", ExchangeKind::Topic),
        ("amq.headers", ExchangeKind::Headers),
        ("amq.match", ExchangeKind::Headers),
    ] {
        channel.exchange_declare(name.into(), kind.clone(), PASSIVE, FieldTable::default()).await?;
        channel.exchange_declare(name.into(), kind, DURABLE, FieldTable::default()).await?;
    }
    Ok(())
}

async fn exchange_mismatch(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let exchange = &session.exchange(&channel, ExchangeKind::Direct, "exchange").await?;
    let (direct, options, none) = (ExchangeKind::Direct, ExchangeDeclareOptions::default(), FieldTable::default());
    let difference = "received 'fanout' but current is 'direct'";
    mismatch(&connection, exchange, ExchangeKind::Fanout, options, none.clone(), "type", difference).await?;
    let flag = "received 'true' but current is 'false'";
    mismatch(&connection, exchange, direct.clone(), DURABLE, none.clone(), "durable", flag).await?;
    mismatch(&connection, exchange, direct.clone(), AUTO_DELETE, none.clone(), "auto_delete", flag).await?;
    mismatch(&connection, exchange, direct.clone(), INTERNAL, none.clone(), "internal", flag).await?;
    let argument = "alternate-exchange";
    let arguments = table([(argument, text("amq.fanout"))]);
    let difference = "received the value 'amq.fanout' of type 'longstr' but current is none";
    mismatch(&connection, exchange, direct.clone(), options, arguments, argument, difference).await?;
    channel.exchange_declare(exchange.clone(), direct, options, none).await?;
    Ok(())
}

async fn mismatch(
    connection: &Connection,
    exchange: &ShortString,
    kind: ExchangeKind,
    options: ExchangeDeclareOptions,
    arguments: FieldTable,
    argument: &str,
    difference: &str,
) -> Outcome {
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange '{exchange}' in vhost '/': {difference}"
    );
    refused(connection, 406, &text, async |channel| {
        channel.exchange_declare(exchange.clone(), kind, options, arguments).await
    })
    .await
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
    let exchange = session.exchange(&channel, ExchangeKind::Direct, "exchange").await?;
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
    let exchange = session.exchange(&channel, ExchangeKind::Fanout, "exchange").await?;
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
    let exchange = session.exchange(&channel, ExchangeKind::Topic, "exchange").await?;
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
    let exchange = session.exchange(&channel, ExchangeKind::Headers, "exchange").await?;
    let wanted = || table([("format", text("pdf")), ("pages", 3.into()), ("draft", false.into())]);
    let tiered = || table([("format", text("pdf")), ("x-tier", text("gold"))]);
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
            arguments.insert("x-match".into(), text(x_match));
        }
        bind_with(&channel, &queue, &exchange, "", arguments).await?;
    }
    let mut everything = wanted();
    everything.insert("extra".into(), text("ignored"));
    for (label, headers) in [
        ("all", everything),
        ("format only", table([("format", text("pdf")), ("pages", 4.into())])),
        ("draft only", table([("draft", false.into())])),
        ("none", table([("format", text("zip")), ("pages", 4.into()), ("draft", true.into())])),
        ("tiered", tiered()),
        ("tier only", table([("x-tier", text("gold"))])),
    ] {
        send_with(&channel, &exchange, "", label, BasicProperties::default().with_headers(headers)).await?;
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
    let source = session.exchange(&channel, ExchangeKind::Topic, "source").await?;
    let middle = session.exchange(&channel, ExchangeKind::Fanout, "middle").await?;
    let queue = session.queue(&channel, "queue").await?;
    bind_exchange(&channel, &middle, &source, "orders.#").await?;
    bind_exchange(&channel, &source, &middle, "").await?;
    bind(&channel, &queue, &middle, "").await?;
    bind(&channel, &queue, &source, "#").await?;
    send(&channel, &source, "orders.new", "both ways").await?;
    send(&channel, &source, "other", "directly").await?;
    equal(drain(&channel, &queue).await?, ["both ways", "directly"], "messages, one copy each")?;
    let options = ExchangeUnbindOptions::default();
    channel.exchange_unbind(middle.clone(), source.clone(), "orders.#".into(), options, FieldTable::default()).await?;
    unbind_with(&channel, &queue, &source, "#", FieldTable::default()).await?;
    send(&channel, &source, "orders.new", "nowhere").await?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "no messages after unbind")
}

async fn alternate_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let fallback = session.exchange(&channel, ExchangeKind::Fanout, "fallback").await?;
    let arguments = table([("alternate-exchange", text(&fallback))]);
    let options = ExchangeDeclareOptions::default();
    let exchange = session.exchange_with(&channel, ExchangeKind::Direct, "main", options, arguments).await?;
    let known = session.queue(&channel, "known").await?;
    let unknown = session.queue(&channel, "unknown").await?;
    bind(&channel, &known, &exchange, "known").await?;
    bind(&channel, &unknown, &fallback, "").await?;
    for (key, body) in [("known", "matched"), ("stray", "not matched")] {
        let properties = BasicProperties::default();
        channel.basic_publish(exchange.clone(), key.into(), MANDATORY, body.as_bytes(), properties).await?;
    }
    equal(drain(&channel, &known).await?, ["matched"], "matched")?;
    let message = take(&channel, &unknown).await?;
    equal(body(&message).as_str(), "not matched", "not matched")?;
    equal((message.exchange, message.routing_key), (exchange, "stray".into()), "exchange and key")?;
    equal(channel.wait_for_confirms().await?.len(), 0, "returned")
}

async fn internal_exchange(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let front = session.exchange(&channel, ExchangeKind::Direct, "front").await?;
    let none = FieldTable::default();
    let internal = session.exchange_with(&channel, ExchangeKind::Fanout, "internal", INTERNAL, none).await?;
    let queue = session.queue(&channel, "queue").await?;
    bind_exchange(&channel, &internal, &front, "in").await?;
    bind(&channel, &queue, &internal, "").await?;
    send(&channel, &front, "in", "through the front").await?;
    equal(drain(&channel, &queue).await?, ["through the front"], "messages")?;
    let text = format!("ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'");
    refused(&connection, 403, &text, async |channel| send(channel, &internal, "", "directly").await).await?;
    equal(drain(&channel, &queue).await?.is_empty(), true, "no messages after the refused publish")
}

async fn auto_delete_exchange(session: Session) -> Outcome {
    let connection = session.connect().await?;
    let channel = connection.create_channel().await?;
    let none = FieldTable::default();
    let exchange = session.exchange_with(&channel, ExchangeKind::Fanout, "exchange", AUTO_DELETE, none).await?;
    let queue = session.queue(&channel, "queue").await?;
    let ask = async |channel: &Channel| {
        channel.exchange_declare(exchange.clone(), ExchangeKind::Fanout, PASSIVE, FieldTable::default()).await
    };
    for key in ["one", "two"] {
        bind(&channel, &queue, &exchange, key).await?;
    }
    unbind_with(&channel, &queue, &exchange, "one", FieldTable::default()).await?;
    ask(&channel).await?;
    unbind_with(&channel, &queue, &exchange, "two", FieldTable::default()).await?;
    refused(&connection, 404, &no_exchange(&exchange), ask).await
}

async fn unbind(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeKind::Headers, "exchange").await?;
    let queue = session.queue(&channel, "queue").await?;
    let coloured = |colour: &str| table([("x-match", text("all")), ("colour", text(colour))]);
    bind_with(&channel, &queue, &exchange, "", coloured("red")).await?;
    bind_with(&channel, &queue, &exchange, "", coloured("blue")).await?;
    unbind_with(&channel, &queue, &exchange, "", coloured("red")).await?;
    unbind_with(&channel, &queue, &exchange, "never bound", coloured("blue")).await?;
    for colour in ["red", "blue"] {
        let properties = BasicProperties::default().with_headers(table([("colour", text(colour))]));
        send_with(&channel, &exchange, "", colour, properties).await?;
    }
    equal(drain(&channel, &queue).await?, ["blue"], "messages")
}

const HASHED_MESSAGES: usize = 1000;

/// Declares a queue for each binding key, and a consumer for each.
async fn bound_inboxes(
    session: &Session,
    channel: &Channel,
    exchange: &ShortString,
    keys: [&str; 3],
) -> Outcome<Vec<Inbox>> {
    let mut inboxes = Vec::new();
    for (n, key) in keys.into_iter().enumerate() {
        let queue = session.queue(channel, &format!("{exchange}.{n}")).await?;
        bind(channel, &queue, exchange, key).await?;
        inboxes.push(Inbox::open_no_ack(channel, &queue).await?);
    }
    Ok(inboxes)
}

/// Awaits so many messages and takes them away, those of each inbox in a set of its own.
async fn take_shares(inboxes: &mut [Inbox], total: usize) -> Outcome<Vec<BTreeSet<String>>> {
    gather(&mut inboxes.iter_mut().collect::<Vec<_>>(), total).await?;
    Ok(inboxes.iter_mut().map(|inbox| inbox.deliveries.drain(..).map(|delivery| body(&delivery)).collect()).collect())
}

fn numbers(count: usize) -> BTreeSet<String> {
    (0..count).map(|n| n.to_string()).collect()
}

/// Each message once, and some for everybody.
fn check_shares(shares: &[BTreeSet<String>], total: usize) -> Outcome {
    equal(shares.iter().map(BTreeSet::len).sum::<usize>(), total, "messages")?;
    let arrived: BTreeSet<String> = shares.iter().flatten().cloned().collect();
    equal(arrived, numbers(total), "messages that arrived")?;
    equal(shares.iter().any(BTreeSet::is_empty), false, "a queue got nothing")
}

async fn consistent_hash_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let kind = ExchangeKind::Custom("x-consistent-hash".to_owned());
    let by_key = session.exchange(&channel, kind.clone(), "by-key").await?;
    let mut inboxes = bound_inboxes(&session, &channel, &by_key, ["1", "2", "3"]).await?;
    check_hashed_by_key(&channel, &by_key, &mut inboxes).await?;

    let arguments = table([("hash-header", text("customer"))]);
    let options = ExchangeDeclareOptions::default();
    let by_header = session.exchange_with(&channel, kind, "by-header", options, arguments).await?;
    let mut inboxes = bound_inboxes(&session, &channel, &by_header, ["1", "1", "1"]).await?;
    let mut rounds = Vec::new();
    for key in ["one key", "another key"] {
        for n in 0..HASHED_MESSAGES {
            let headers = table([("customer", text(format!("customer-{n}")))]);
            let properties = BasicProperties::default().with_headers(headers);
            send_with(&channel, &by_header, key, &n.to_string(), properties).await?;
        }
        rounds.push(take_shares(&mut inboxes, HASHED_MESSAGES).await?);
    }
    check_shares(&rounds[0], HASHED_MESSAGES)?;
    equal(&rounds[0], &rounds[1], "the same header goes to the same queue, whatever the key")
}

async fn modulus_hash_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let kind = ExchangeKind::Custom("x-modulus-hash".to_owned());
    let exchange = session.exchange(&channel, kind, "exchange").await?;
    let mut inboxes = bound_inboxes(&session, &channel, &exchange, ["", "", ""]).await?;
    check_hashed_by_key(&channel, &exchange, &mut inboxes).await
}

async fn check_hashed_by_key(channel: &Channel, exchange: &ShortString, inboxes: &mut [Inbox]) -> Outcome {
    let mut rounds = Vec::new();
    for _ in 0..2 {
        for n in 0..HASHED_MESSAGES {
            send(channel, exchange, &format!("key-{n}"), &n.to_string()).await?;
        }
        rounds.push(take_shares(inboxes, HASHED_MESSAGES).await?);
    }
    check_shares(&rounds[0], HASHED_MESSAGES)?;
    equal(&rounds[0], &rounds[1], "the same key goes to the same queue")
}

async fn random_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeKind::Custom("x-random".to_owned()), "exchange").await?;
    let mut inboxes = bound_inboxes(&session, &channel, &exchange, ["", "", ""]).await?;
    for n in 0..200 {
        send(&channel, &exchange, "", &n.to_string()).await?;
    }
    check_shares(&take_shares(&mut inboxes, 200).await?, 200)
}

async fn recent_history_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let kind = ExchangeKind::Custom("x-recent-history".to_owned());
    let arguments = table([("x-recent-history-length", 5.into())]);
    let options = ExchangeDeclareOptions::default();
    let exchange = session.exchange_with(&channel, kind, "exchange", options, arguments).await?;
    let early = session.queue(&channel, "early").await?;
    bind(&channel, &early, &exchange, "").await?;
    for n in 1..=8 {
        send(&channel, &exchange, "", &n.to_string()).await?;
    }
    equal(drain(&channel, &early).await?.len(), 8, "messages of the queue bound in time")?;
    let late = session.queue(&channel, "late").await?;
    bind(&channel, &late, &exchange, "").await?;
    await_ready(&channel, &late, 5).await?;
    equal(drain(&channel, &late).await?, ["4", "5", "6", "7", "8"], "messages of the queue bound late")
}

async fn delayed_exchange(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
    let arguments = table([("x-delayed-type", text("direct"))]);
    let options = ExchangeDeclareOptions::default();
    let exchange = session.exchange_with(&channel, kind, "exchange", options, arguments).await?;
    let queue = session.queue(&channel, "queue").await?;
    bind(&channel, &queue, &exchange, "key").await?;
    let mut inbox = Inbox::open_no_ack(&channel, &queue).await?;
    let published = Instant::now();
    for delay in [300, 100, 200] {
        let properties = BasicProperties::default().with_headers(table([("x-delay", delay.into())]));
        send_with(&channel, &exchange, "key", &delay.to_string(), properties).await?;
    }
    equal(declare_passively(&channel, &queue).await?.message_count(), 0, "messages before their time")?;
    for (n, delay) in [100, 200, 300].into_iter().enumerate() {
        let delivery = &inbox.wait(n + 1).await?[n];
        equal(body(delivery), delay.to_string(), "order")?;
        equal(published.elapsed() >= Duration::from_millis(delay), true, format!("{delay} came in its time"))?;
    }
    Ok(())
}

async fn sender_selected_keys(session: Session) -> Outcome {
    let channel = session.channel().await?;
    let exchange = session.exchange(&channel, ExchangeKind::Direct, "exchange").await?;
    for key in ["to", "cc", "bcc"] {
        let queue = session.queue(&channel, key).await?;
        bind(&channel, &queue, &exchange, key).await?;
    }
    let list = |keys: &[&str]| AMQPValue::FieldArray(keys.iter().map(text).collect::<Vec<_>>().into());
    let kept = table([("CC", list(&["cc", "to"])), ("kept", text("yes"))]);
    let mut headers = kept.clone();
    headers.insert("BCC".into(), list(&["bcc"]));
    let properties = BasicProperties::default().with_headers(headers);
    send_with(&channel, &exchange, "to", "letter", properties).await?;
    for key in ["to", "cc", "bcc"] {
        let queue = session.name(key);
        let message = take(&channel, &queue).await?;
        equal((message.routing_key.as_str(), body(&message).as_str()), ("to", "letter"), "key and body")?;
        equal(message.properties.headers(), &Some(kept.clone()), format!("headers to {key}"))?;
        equal(drain(&channel, &queue).await?.is_empty(), true, format!("no further copies to {key}"))?;
    }
    Ok(())
}
