//! In a transaction it is the commit that looks for duplicates.

use super::*;
use crate::leveret_only;

/// Channel 1 is transactional, channel 2 is not.
#[track_caller]
fn transactional(mut peer: Peer) -> Peer {
    peer.open_channel(2);
    peer.call(1, &method("tx.select"));
    peer
}

#[track_caller]
fn commit_looks(peer: Peer, exchange: &str, key: &str, queue: &str) {
    let mut peer = transactional(peer);
    publish_keys(&mut peer, exchange, key, &["a", "b", "a"]);
    peer.call(1, &method("tx.rollback"));
    publish_keys(&mut peer, exchange, key, &["a", "c", "a"]);
    // Comes before the commit.
    peer.send_publish(2, &publish(exchange, key), &keyed(s("c")).bytes(), b"c before");
    peer.expect_counts(2, queue, (1, 0));
    peer.call(1, &method("tx.commit"));
    assert_eq!(peer.drain(2, queue), ["c before", "a"]);
    publish_keys(&mut peer, exchange, key, &["a", "b"]);
    peer.call(1, &method("tx.commit"));
    assert_eq!(peer.drain(2, queue), ["b"]);
}

#[test]
fn a_queue_looks_at_commit() {
    leveret_only!("it is a plugin there");
    let (peer, queue) = queue([on()]);
    commit_looks(peer, "", &queue, &queue);
}

#[test]
fn an_exchange_looks_at_commit() {
    leveret_only!("it is a plugin there");
    let (peer, exchange, queue) = exchange("direct", [on()]);
    commit_looks(peer, &exchange, "k", &queue);
}

#[test]
fn an_exchange_that_keeps_a_history_keeps_it_once() {
    leveret_only!("it is a plugin there");
    let (peer, exchange, queue) = exchange("x-recent-history", [on()]);
    let mut peer = transactional(peer);
    publish_keys(&mut peer, &exchange, "k", &["a", "b"]);
    peer.call(1, &method("tx.commit"));
    assert_eq!(peer.drain(2, &queue), ["a", "b"]);
    let late = peer.exclusive_queue(2);
    peer.call(2, &queue_bind(&late, &exchange, "k"));
    assert_eq!(peer.drain(2, &late), ["a", "b"]);
}

#[test]
fn keys_of_cc_and_bcc_count_at_commit() {
    leveret_only!("it is a plugin there");
    let (peer, exchange, queue) = exchange("direct", [on()]);
    let mut peer = transactional(peer);
    let copies = |name: &str| Value::Array(vec![s(name)]);
    for header in ["CC", "BCC"] {
        let properties = props().headers([(HEADER, s(header)), (header, copies("k"))]).bytes();
        peer.send_publish(1, &publish(&exchange, "nowhere"), &properties, header.as_bytes());
    }
    peer.call(1, &method("tx.commit"));
    assert_eq!(peer.drain(2, &queue), ["CC", "BCC"]);
}
