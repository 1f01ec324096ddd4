//! Section 2: what queues do by their arguments: limits, expiry, priorities, dead letters, single active consumers.

mod dead_letters;
mod expiry;
mod limits;
mod priorities;
mod returns;
mod single_active;

use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

/// Declares a queue of this connection with these arguments, on channel 1.
fn declare<const N: usize>(peer: &mut Peer, name: &str, arguments: [(&str, Value); N]) -> String {
    let queue = unique(name);
    peer.call(1, &queue_declare(&queue).on("exclusive").args(arguments));
    queue
}

/// Declares a queue whose dead letters go to another: returns both.
fn declare_with_dead_letters<const N: usize>(
    peer: &mut Peer,
    name: &str,
    arguments: [(&str, Value); N],
) -> (String, String) {
    let dead = declare(peer, "dead", []);
    let queue = unique(name);
    let mut all = table(arguments);
    all.extend(table([("x-dead-letter-exchange", s("")), ("x-dead-letter-routing-key", s(&dead))]));
    let entries = table_entries(&all);
    peer.call(1, &queue_declare(&queue).on("exclusive").raw_table("arguments", &entries));
    (queue, dead)
}

/// Publishes through the default exchange with these properties.
fn publish_with(peer: &mut Peer, queue: &str, properties: &[u8], body: &str) {
    peer.send_publish(1, &publish("", queue), properties, body.as_bytes());
}

/// Takes what has come to a queue of dead letters, once so many are there.
fn dead_letters(peer: &mut Peer, dead: &str, count: u64) -> Vec<Message> {
    peer.wait_for_counts(1, dead, (count, 0));
    (0..count).map(|_| peer.get_no_ack(1, dead).expect("a dead letter")).collect()
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(Message::body_text).collect()
}

/// The tables of `x-death`, the latest first.
fn deaths(message: &Message) -> Vec<Table> {
    let headers = message.headers();
    let Value::Array(deaths) = lookup(&headers, "x-death") else { panic!("no x-death in {headers:?}") };
    deaths
        .iter()
        .map(|death| match death {
            Value::Table(death) => death.clone(),
            other => panic!("{other:?} in x-death"),
        })
        .collect()
}

fn death_field<'a>(death: &'a Table, name: &str) -> &'a Value {
    lookup(death, name)
}
