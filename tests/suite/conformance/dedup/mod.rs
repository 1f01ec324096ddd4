//! Messages that came before, and are dropped: FEATURES 2.1, the arguments of LavinMQ and of the deduplication plugin.

mod arguments;
mod confirms;
mod exchanges;
mod queues;
mod transactions;

use crate::support::peer::*;
use crate::support::props::{Props, props};
use crate::support::unique;
use crate::support::wire::*;

const HEADER: &str = "x-deduplication-header";

fn on() -> (&'static str, Value) {
    ("x-message-deduplication", Value::Bool(true))
}

fn keyed(key: Value) -> Props {
    props().headers([(HEADER, key)])
}

fn with_ttl(key: &str, ttl_ms: i32) -> Props {
    props().headers([(HEADER, s(key)), ("x-cache-ttl", i(ttl_ms))])
}

/// A client, and a queue that deduplicates.
#[track_caller]
fn queue<const N: usize>(arguments: [(&str, Value); N]) -> (Peer, String) {
    let mut peer = Peer::connect();
    let queue = unique("once");
    peer.call(1, &queue_declare(&queue).on("exclusive").args(arguments));
    (peer, queue)
}

/// A client, an exchange, and an exclusive queue that is bound to it.
#[track_caller]
fn exchange<const N: usize>(kind: &str, arguments: [(&str, Value); N]) -> (Peer, String, String) {
    let mut peer = Peer::connect();
    let exchange = unique("once");
    peer.call(1, &exchange_declare(&exchange, kind).on("auto-delete").args(arguments));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &exchange, "k"));
    (peer, exchange, queue)
}

/// Publishes messages, each with its key as its body, in one write.
fn publish_keys(peer: &mut Peer, exchange: &str, key: &str, keys: &[&str]) {
    let one = |name: &&str| publish_frames(1, &publish(exchange, key), &keyed(s(name)).bytes(), name.as_bytes());
    peer.send_raw(&keys.iter().flat_map(one).collect::<Vec<u8>>());
}
