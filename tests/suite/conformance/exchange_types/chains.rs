//! The types among other exchanges: behind them, before them, as alternates, internal, auto-delete.

use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::unique;
use crate::support::wire::*;

const TYPES: [&str; 4] = ["x-consistent-hash", "x-modulus-hash", "x-random", "x-recent-history"];

#[test]
fn a_message_that_no_binding_takes_goes_to_the_alternate() {
    let mut peer = Peer::connect();
    for kind in TYPES {
        let exchange = unique(kind);
        peer.call(1, &exchange_declare(&exchange, kind).args([("alternate-exchange", s("amq.fanout"))]));
        let (own, alternate) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
        peer.call(1, &queue_bind(&alternate, "amq.fanout", ""));
        peer.publish(1, &exchange, "k", "nobody's");
        assert_eq!(peer.get_no_ack(1, &alternate).expect("the message").body_text(), "nobody's");
        peer.call(1, &queue_bind(&own, &exchange, "1"));
        peer.call(1, &queue_purge(&own));
        peer.publish(1, &exchange, "k", kind);
        assert_eq!(peer.drain(1, &own), [kind]);
        peer.expect_counts(1, &alternate, (0, 0));
        peer.call(1, &exchange_delete(&exchange));
        peer.call(1, &queue_delete(&alternate));
    }
}

#[test]
fn without_bindings_a_mandatory_message_is_returned() {
    let mut peer = Peer::connect();
    for kind in TYPES {
        let exchange = unique(kind);
        peer.call(1, &exchange_declare(&exchange, kind));
        peer.send_publish(1, &publish(&exchange, "k").on("mandatory"), NONE, b"x");
        assert_eq!(peer.expect_message(1, "basic.return").method.number("reply-code"), 312);
        peer.call(1, &exchange_delete(&exchange));
    }
}

#[test]
fn exchanges_are_bound_to_them_and_they_to_exchanges() {
    let mut peer = Peer::connect();
    for kind in TYPES {
        let [front, middle, back, other] = ["front", "middle", "back", "other"].map(unique);
        peer.call(1, &exchange_declare(&front, "direct"));
        peer.call(1, &exchange_declare(&middle, kind).on("internal"));
        let queue = peer.exclusive_queue(1);
        for name in [&back, &other] {
            peer.call(1, &exchange_declare(name, "topic"));
            peer.call(1, &queue_bind(&queue, name, "#"));
            peer.call(1, &exchange_bind(name, &middle, "1"));
        }
        peer.call(1, &exchange_bind(&middle, &front, "k"));
        for n in 0..10 {
            peer.publish(1, &front, "k", &n.to_string());
            peer.publish(1, &front, "other", "lost");
        }
        assert_eq!(peer.drain(1, &queue), (0..10).map(|n| n.to_string()).collect::<Vec<_>>(), "{kind}");
        for name in [front, middle, back, other] {
            peer.call(1, &exchange_delete(&name));
        }
    }
}

#[test]
fn an_internal_one_is_not_published_to() {
    let mut peer = Peer::connect();
    for kind in TYPES {
        let exchange = unique(kind);
        peer.call(1, &exchange_declare(&exchange, kind).on("internal"));
        let text = format!("ACCESS_REFUSED - cannot publish to internal exchange '{exchange}' in vhost '/'");
        peer.send_publish(1, &publish(&exchange, "k"), NONE, b"x");
        peer.expect_channel_close(1, 403, &text, (60, 40));
        peer.open_channel(1);
        peer.call(1, &exchange_delete(&exchange));
    }
}

#[test]
fn auto_delete_goes_with_the_last_binding() {
    let mut peer = Peer::connect();
    for kind in TYPES {
        let exchange = unique(kind);
        peer.call(1, &exchange_declare(&exchange, kind).on("auto-delete"));
        let (one, other) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
        peer.call(1, &queue_bind(&one, &exchange, "1"));
        peer.call(1, &queue_bind(&other, &exchange, "1"));
        peer.publish(1, &exchange, "k", "x");
        peer.call(1, &queue_delete(&one));
        peer.call(1, &exchange_declare(&exchange, kind).on("passive"));
        peer.call(1, &queue_unbind(&other, &exchange, "1"));
        let text = format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'");
        peer.refused(1, &exchange_declare(&exchange, kind).on("passive"), 404, &text);
    }
}
