//! Section 1.7: exchanges, their types, and bindings between them.

use crate::leveret_only;
use crate::support::broker;
use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::unique;
use crate::support::wire::*;

// ---- declare ----

#[test]
fn every_type_can_be_declared_and_declared_again() {
    let mut peer = Peer::connect();
    for kind in ["direct", "fanout", "topic", "headers"] {
        for flags in [&[][..], &["durable"], &["auto-delete"], &["internal"], &["durable", "auto-delete", "internal"]] {
            let exchange = unique(kind);
            let declare = flags.iter().fold(exchange_declare(&exchange, kind), |declare, flag| declare.on(flag));
            peer.call(1, &declare);
            peer.call(1, &declare);
            peer.call(1, &exchange_declare(&exchange, "").on("passive"));
            peer.call(1, &exchange_delete(&exchange));
        }
    }
}

#[test]
fn declared_from_the_start() {
    let mut peer = Peer::connect();
    for (exchange, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ] {
        peer.call(1, &exchange_declare(exchange, "").on("passive"));
        peer.call(1, &exchange_declare(exchange, kind).on("durable"));
    }
    peer.call(1, &exchange_declare("amq.rabbitmq.trace", "topic").on("durable").on("internal"));
}

#[test]
fn a_declare_that_differs() {
    let mut peer = Peer::connect();
    let exchange = unique("differs");
    peer.call(1, &exchange_declare(&exchange, "direct"));
    let plain = exchange_declare(&exchange, "direct");
    let rows = [
        (exchange_declare(&exchange, "fanout"), "type", "'fanout' but current is 'direct'"),
        (plain.clone().on("durable"), "durable", "'true' but current is 'false'"),
        (plain.clone().on("auto-delete"), "auto_delete", "'true' but current is 'false'"),
        (plain.clone().on("internal"), "internal", "'true' but current is 'false'"),
        (
            plain.args([("alternate-exchange", s("a"))]),
            "alternate-exchange",
            "the value 'a' of type 'longstr' but current is none",
        ),
        (
            exchange_declare(&exchange, "topic").on("durable").on("auto-delete"),
            "type",
            "'topic' but current is 'direct'",
        ),
    ];
    for (declare, what, values) in rows {
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{what}' for exchange '{exchange}' in vhost '/': received {values}"
        );
        peer.refused(1, &declare, 406, &text);
    }
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn a_declare_that_differs_in_its_alternate_exchange() {
    let mut peer = Peer::connect();
    let exchange = unique("alternate");
    let declare = exchange_declare(&exchange, "direct");
    peer.call(1, &declare.clone().args([("alternate-exchange", s("a"))]));
    peer.call(1, &declare.clone().args([("x-anything", i(1)), ("alternate-exchange", s("a"))]));
    let text = |values: &str| {
        format!(
            "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '{exchange}' in vhost '/': \
             received {values}"
        )
    };
    peer.refused(1, &declare.clone().args([("alternate-exchange", s("b"))]), 406, &text("'b' but current is 'a'"));
    peer.refused(1, &declare, 406, &text("none but current is the value 'a' of type 'longstr'"));
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn an_alternate_exchange_is_named_by_a_string() {
    let mut peer = Peer::connect();
    let exchange = unique("alternate");
    let declare = exchange_declare(&exchange, "direct").args([("alternate-exchange", i(1))]);
    peer.refused(
        1,
        &declare,
        406,
        &format!(
            "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange '{exchange}' in \
             vhost '/'"
        ),
    );
}

#[test]
fn the_reserved_prefix() {
    let mut peer = Peer::connect();
    peer.refused(
        1,
        &exchange_declare("amq.mine", "direct"),
        403,
        "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    );
    peer.refused(
        1,
        &exchange_declare("amq.direct", "fanout").on("durable"),
        406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received 'fanout' but \
         current is 'direct'",
    );
    peer.refused(
        1,
        &exchange_declare("amq.mine", "direct").on("passive"),
        404,
        "NOT_FOUND - no exchange 'amq.mine' in vhost '/'",
    );
}

#[test]
fn a_passive_declare_looks_at_the_name_only() {
    let mut peer = Peer::connect();
    let exchange = unique("passive");
    peer.refused(
        1,
        &exchange_declare(&exchange, "direct").on("passive"),
        404,
        &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"),
    );
    peer.call(1, &exchange_declare(&exchange, "direct"));
    peer.call(
        1,
        &exchange_declare(&exchange, "no such type")
            .on("passive")
            .on("durable")
            .on("internal")
            .args([("alternate-exchange", i(1))]),
    );
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn an_unknown_type_is_refused() {
    leveret_only!("before 4.0 it was a connection error 503");
    let mut peer = Peer::connect();
    peer.refused(
        1,
        &exchange_declare(&unique("unknown"), "x-nonsense"),
        406,
        "PRECONDITION_FAILED - unknown exchange type 'x-nonsense'",
    );
    peer.refused(
        1,
        &exchange_declare("amq.direct", "x-nonsense").on("durable"),
        406,
        "PRECONDITION_FAILED - unknown exchange type 'x-nonsense'",
    );
}

#[test]
fn carriage_returns_and_line_feeds_are_no_part_of_a_name() {
    let mut peer = Peer::connect();
    let exchange = unique("lines");
    peer.call(1, &exchange_declare(&format!("\r{exchange}\n"), "direct"));
    peer.call(1, &exchange_declare(&exchange, "direct").on("passive"));
    peer.call(1, &exchange_delete(&format!("{exchange}\r\n")));
    peer.call(1, &exchange_declare(&exchange, "fanout"));
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn the_default_exchange_is_left_alone() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for method in [
        exchange_declare("", "direct").on("durable"),
        exchange_declare("", "direct").on("passive"),
        exchange_delete(""),
        exchange_bind("", "amq.direct", "k"),
        exchange_bind("amq.direct", "", "k"),
        exchange_unbind("", "amq.direct", "k"),
        queue_bind(&queue, "", "k"),
        queue_unbind(&queue, "", &queue),
    ] {
        peer.refused(1, &method, 403, "ACCESS_REFUSED - operation not permitted on the default exchange");
    }
}

#[test]
fn nowait_leaves_out_the_answer_and_errors_still_come() {
    let mut peer = Peer::connect();
    let (source, destination) = (unique("source"), unique("destination"));
    peer.send(1, &exchange_declare(&source, "direct").on("nowait"));
    peer.send(1, &exchange_declare(&destination, "direct").on("nowait"));
    peer.send(1, &exchange_bind(&destination, &source, "k").on("nowait"));
    peer.send(1, &exchange_unbind(&destination, &source, "k").on("nowait"));
    peer.send(1, &exchange_delete(&destination).on("nowait"));
    peer.expect_nothing_before_sync(1);
    peer.call(1, &exchange_declare(&source, "direct").on("passive"));
    peer.send(1, &exchange_declare(&source, "fanout").on("nowait"));
    assert_eq!(peer.expect(1, "channel.close").number("reply-code"), 406);
    peer.send(1, &method("channel.close-ok"));
    peer.open_channel(1);
    peer.send(1, &exchange_delete(&source).on("nowait"));
    peer.refused(
        1,
        &exchange_declare(&source, "direct").on("passive"),
        404,
        &format!("NOT_FOUND - no exchange '{source}' in vhost '/'"),
    );
}

// ---- delete ----

#[test]
fn a_missing_exchange_is_deleted_already() {
    let mut peer = Peer::connect();
    peer.call(1, &exchange_delete(&unique("missing")));
    peer.call(1, &exchange_delete(&unique("missing")).on("if-unused"));
}

#[test]
fn the_exchanges_of_the_broker_stay() {
    let mut peer = Peer::connect();
    for exchange in ["amq.direct", "amq.rabbitmq.trace", "amq.missing"] {
        peer.refused(
            1,
            &exchange_delete(exchange),
            403,
            &format!("ACCESS_REFUSED - deletion of system exchange '{exchange}' in vhost '/' not allowed"),
        );
    }
}

#[test]
fn delete_if_unused_counts_bindings_from_it() {
    let mut peer = Peer::connect();
    let (used, target) = (unique("used"), unique("target"));
    peer.call(1, &exchange_declare(&used, "direct"));
    peer.call(1, &exchange_declare(&target, "direct"));
    peer.call(1, &exchange_bind(&target, &used, "k"));
    peer.refused(
        1,
        &exchange_delete(&used).on("if-unused"),
        406,
        &format!("PRECONDITION_FAILED - exchange '{used}' in vhost '/' in use"),
    );
    peer.call(1, &exchange_delete(&target).on("if-unused"));
    peer.call(1, &exchange_delete(&used).on("if-unused"));
}

#[test]
fn a_deleted_exchange_is_gone_with_its_bindings() {
    let mut peer = Peer::connect();
    let exchange = unique("deleted");
    let queue = peer.exclusive_queue(1);
    peer.call(1, &exchange_declare(&exchange, "fanout"));
    peer.call(1, &queue_bind(&queue, &exchange, ""));
    peer.call(1, &exchange_delete(&exchange));
    peer.send_publish(1, &publish(&exchange, ""), NONE, b"x");
    peer.expect_channel_close(
        1,
        404,
        &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"),
        ids("basic.publish"),
    );
    peer.open_channel(1);
    peer.call(1, &exchange_declare(&exchange, "fanout"));
    peer.publish(1, &exchange, "", "y");
    peer.expect_counts(1, &queue, (0, 0));
    peer.call(1, &exchange_delete(&exchange));
}

/// An auto-delete exchange that has a first binding, to be taken away by the method; then it must be gone.
fn check_auto_delete(last_binding: impl Fn(&mut Peer, &str)) {
    let mut peer = Peer::connect();
    let exchange = unique("auto-delete");
    peer.call(1, &exchange_declare(&exchange, "direct").on("auto-delete"));
    peer.call(1, &exchange_declare(&exchange, "").on("passive"));
    last_binding(&mut peer, &exchange);
    peer.refused(
        1,
        &exchange_declare(&exchange, "").on("passive"),
        404,
        &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"),
    );
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding() {
    check_auto_delete(|peer, exchange| {
        let queue = peer.exclusive_queue(1);
        peer.call(1, &queue_bind(&queue, exchange, "a"));
        peer.call(1, &queue_bind(&queue, exchange, "b"));
        peer.call(1, &queue_unbind(&queue, exchange, "a"));
        peer.call(1, &exchange_declare(exchange, "").on("passive"));
        peer.call(1, &queue_unbind(&queue, exchange, "b"));
    });
    check_auto_delete(|peer, exchange| {
        let queue = peer.exclusive_queue(1);
        peer.call(1, &queue_bind(&queue, exchange, "a"));
        peer.call(1, &queue_bind(&queue, exchange, "b"));
        peer.call(1, &queue_delete(&queue));
    });
    check_auto_delete(|peer, exchange| {
        peer.call(1, &exchange_bind("amq.fanout", exchange, "a"));
        peer.call(1, &exchange_unbind("amq.fanout", exchange, "a"));
    });
    check_auto_delete(|peer, exchange| {
        let target = unique("target");
        peer.call(1, &exchange_declare(&target, "fanout"));
        peer.call(1, &exchange_bind(&target, exchange, "a"));
        peer.call(1, &exchange_delete(&target));
    });
}

#[test]
fn an_auto_delete_exchange_takes_others_with_it() {
    let mut peer = Peer::connect();
    let (first, second) = (unique("first"), unique("second"));
    peer.call(1, &exchange_declare(&first, "fanout").on("auto-delete"));
    peer.call(1, &exchange_declare(&second, "fanout").on("auto-delete"));
    peer.call(1, &exchange_bind(&second, &first, ""));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &second, ""));
    peer.publish(1, &first, "", "through both");
    assert_eq!(peer.drain(1, &queue), ["through both"]);
    peer.call(1, &queue_delete(&queue));
    for exchange in [first, second] {
        peer.refused(
            1,
            &exchange_declare(&exchange, "").on("passive"),
            404,
            &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"),
        );
    }
}

#[test]
fn bindings_to_an_auto_delete_exchange_do_not_count() {
    let mut peer = Peer::connect();
    let exchange = unique("auto-delete");
    peer.call(1, &exchange_declare(&exchange, "direct").on("auto-delete"));
    peer.call(1, &exchange_bind(&exchange, "amq.direct", &exchange));
    peer.call(1, &exchange_unbind(&exchange, "amq.direct", &exchange));
    peer.call(1, &exchange_declare(&exchange, "").on("passive"));
    peer.call(1, &exchange_delete(&exchange));
}

// ---- exchange to exchange ----

#[test]
fn a_message_goes_through_exchanges_by_the_key_of_each() {
    let mut peer = Peer::connect();
    let (first, second) = (unique("first"), unique("second"));
    peer.call(1, &exchange_declare(&first, "topic").on("auto-delete"));
    peer.call(1, &exchange_declare(&second, "direct").on("internal").on("auto-delete"));
    peer.call(1, &exchange_bind(&second, &first, "a.*"));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &second, "a.b"));
    for key in ["a.b", "a.c", "b.b"] {
        peer.publish(1, &first, key, key);
    }
    let message = peer.get_no_ack(1, &queue).expect("the message");
    assert_eq!((message.method.text("exchange"), message.method.text("routing-key")), (first.as_str(), "a.b"));
    peer.expect_counts(1, &queue, (0, 0));
}

#[test]
fn a_queue_gets_a_message_once_by_however_many_ways() {
    let mut peer = Peer::connect();
    let exchanges: Vec<String> = (0..4).map(|_| unique("way")).collect();
    for exchange in &exchanges {
        peer.call(1, &exchange_declare(exchange, "fanout"));
    }
    let queue = peer.exclusive_queue(1);
    for (source, destination) in [(0, 1), (0, 2), (1, 3), (2, 3), (3, 0)] {
        peer.call(1, &exchange_bind(&exchanges[destination], &exchanges[source], ""));
    }
    for exchange in &exchanges {
        peer.call(1, &queue_bind(&queue, exchange, "a"));
        peer.call(1, &queue_bind(&queue, exchange, "b"));
    }
    for exchange in &exchanges {
        peer.publish(1, exchange, "", "once");
        assert_eq!(peer.drain(1, &queue), ["once"]);
    }
    for exchange in &exchanges {
        peer.call(1, &exchange_delete(exchange));
    }
}

#[test]
fn an_exchange_may_be_bound_to_itself() {
    let mut peer = Peer::connect();
    let exchange = unique("self");
    peer.call(1, &exchange_declare(&exchange, "fanout").on("auto-delete"));
    peer.call(1, &exchange_bind(&exchange, &exchange, ""));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &exchange, ""));
    peer.publish(1, &exchange, "", "once");
    assert_eq!(peer.drain(1, &queue), ["once"]);
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn unbind_between_exchanges_ends_the_way() {
    let mut peer = Peer::connect();
    let exchange = unique("unbound");
    peer.call(1, &exchange_declare(&exchange, "fanout"));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &exchange, ""));
    let key = unique("key");
    peer.call(1, &exchange_bind(&exchange, "amq.direct", &key));
    peer.call(1, &exchange_bind(&exchange, "amq.direct", &key));
    peer.publish(1, "amq.direct", &key, "bound");
    assert_eq!(peer.drain(1, &queue), ["bound"]);
    peer.call(1, &exchange_unbind(&exchange, "amq.direct", &key));
    peer.publish(1, "amq.direct", &key, "unbound");
    peer.expect_counts(1, &queue, (0, 0));
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn exchanges_that_are_not_there() {
    let mut peer = Peer::connect();
    let (one, other) = (unique("one"), unique("other"));
    let missing = |name: &str| format!("NOT_FOUND - no exchange '{name}' in vhost '/'");
    peer.refused(1, &exchange_bind(&one, "amq.direct", "k"), 404, &missing(&one));
    peer.refused(1, &exchange_bind("amq.direct", &one, "k"), 404, &missing(&one));
    peer.refused(1, &exchange_bind(&one, &other, "k"), 404, &missing(&other));
    peer.call(1, &exchange_unbind(&one, "amq.direct", "k"));
    peer.call(1, &exchange_unbind("amq.direct", &one, "k"));
    peer.call(1, &exchange_unbind("amq.direct", "amq.fanout", "no such binding"));
}

#[test]
fn nobody_publishes_to_an_internal_exchange() {
    let mut peer = Peer::connect();
    let exchange = unique("internal");
    peer.call(1, &exchange_declare(&exchange, "fanout").on("internal"));
    peer.send_publish(1, &publish(&exchange, ""), NONE, b"x");
    peer.expect_channel_close(
        1,
        403,
        &format!("ACCESS_REFUSED - cannot publish to internal exchange '{exchange}' in vhost '/'"),
        ids("basic.publish"),
    );
    peer.open_channel(1);
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn virtual_hosts_do_not_share_names() {
    leveret_only!("a second virtual host comes from configuration");
    let broker = broker::Broker::start(broker::Launch::new().config("vhosts = [\"/\", \"other\"]\n"));
    let mut one = Login::new().connect(broker.address);
    let mut other = Login::new().vhost("other").connect(broker.address);
    one.call(1, &exchange_declare("x", "fanout"));
    one.call(1, &queue_declare("q"));
    other.refused(
        1,
        &exchange_declare("x", "fanout").on("passive"),
        404,
        "NOT_FOUND - no exchange 'x' in vhost 'other'",
    );
    other.refused(1, &queue_declare("q").on("passive"), 404, "NOT_FOUND - no queue 'q' in vhost 'other'");
    other.call(1, &exchange_declare("amq.topic", "").on("passive"));
    other.call(1, &queue_declare("q"));
    other.publish(1, "", "q", "here only");
    other.expect_counts(1, "q", (1, 0));
    one.expect_counts(1, "q", (0, 0));
    assert_eq!(other.drain(1, "q"), ["here only"]);
}
