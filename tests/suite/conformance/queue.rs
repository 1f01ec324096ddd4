//! Section 1.6: queues and their bindings.

use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

fn not_found(queue: &str) -> String {
    format!("NOT_FOUND - no queue '{queue}' in vhost '/'")
}

fn locked(queue: &str) -> String {
    format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be \
         originally declared on another connection or the exclusive property value does not match that of the \
         original declaration."
    )
}

// ---- declare ----

#[test]
fn declare_answers_name_ready_messages_and_consumers() {
    let mut peer = Peer::connect();
    let queue = unique("counted");
    let declare = queue_declare(&queue).on("exclusive");
    let reply = peer.call(1, &declare);
    assert_eq!(reply.text("queue"), queue);
    assert_eq!((reply.number("message-count"), reply.number("consumer-count")), (0, 0));
    for body in ["one", "two", "three"] {
        peer.publish(1, "", &queue, body);
    }
    peer.expect_counts(1, &queue, (3, 0));
    peer.get(1, &queue).expect("a message");
    peer.expect_counts(1, &queue, (2, 0));
    peer.call(1, &qos(1));
    peer.consume(1, &queue, "t");
    peer.expect_delivery(1);
    peer.expect_counts(1, &queue, (1, 1));
    let reply = peer.call(1, &declare);
    assert_eq!((reply.number("message-count"), reply.number("consumer-count")), (1, 1));
}

#[test]
fn an_empty_name_is_filled_in_by_the_broker() {
    let mut peer = Peer::connect();
    let names: Vec<String> = (0..2).map(|_| peer.exclusive_queue(1)).collect();
    assert_ne!(names[0], names[1]);
    for name in names {
        let random = name.strip_prefix("amq.gen-").expect("the prefix of generated names");
        assert_eq!(random.len(), 22, "{name}");
        assert!(random.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{name}");
        peer.counts(1, &name);
    }
}

#[test]
fn the_reserved_prefix() {
    let mut peer = Peer::connect();
    let generated = peer.exclusive_queue(1);
    let refused = |name: &str| format!("ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*'");
    for name in ["amq.mine", "amq.gen-mine", &generated] {
        peer.refused(1, &queue_declare(name).on("exclusive"), 403, &refused(name));
    }
    peer.refused(1, &queue_declare("amq.mine").on("passive"), 404, &not_found("amq.mine"));
    peer.counts(1, &generated);
}

/// They are taken out of names that something is declared, bound or deleted under, and of no others.
#[test]
fn carriage_returns_and_line_feeds_are_no_part_of_a_name() {
    let mut peer = Peer::connect();
    let queue = unique("lines");
    let broken = format!("{}\r\n{}", &queue[..2], &queue[2..]);
    let reply = peer.call(1, &queue_declare(&broken).on("exclusive"));
    assert_eq!(reply.text("queue"), queue);
    assert_eq!(peer.call(1, &queue_declare(&broken).on("passive")).text("queue"), queue);
    peer.call(1, &queue_bind(&broken, "amq.\ndirect", &queue));
    peer.publish(1, "amq.direct", &queue, "bound");
    assert_eq!(peer.drain(1, &queue), ["bound"]);
    peer.call(1, &queue_unbind(&broken, "amq.\rdirect", &queue));
    peer.publish(1, "amq.direct", &queue, "unbound");
    peer.expect_counts(1, &queue, (0, 0));
    for method in [queue_purge(&broken), get(&broken), consume(&broken, "t")] {
        peer.refused(1, &method, 404, &not_found(&broken));
    }
    peer.call(1, &queue_delete(&broken));
    peer.refused(1, &queue_declare(&queue).on("passive"), 404, &not_found(&queue));
    let generated = peer.call(1, &queue_declare("\r\n").on("exclusive"));
    assert!(generated.text("queue").starts_with("amq.gen-"));
}

#[test]
fn a_passive_declare_looks_at_the_name_only() {
    let mut peer = Peer::connect();
    let queue = unique("passive");
    peer.refused(1, &queue_declare(&queue).on("passive").on("durable"), 404, &not_found(&queue));
    peer.refused(1, &queue_declare("").on("passive"), 404, &not_found(""));
    peer.call(1, &queue_declare(&queue).on("exclusive"));
    let declare = queue_declare(&queue).on("passive").on("durable").on("auto-delete");
    peer.call(1, &declare.args([("x-message-ttl", s("nonsense"))]));
    peer.refused(1, &queue_declare("").on("passive"), 404, &not_found(""));
}

#[test]
fn a_declare_that_differs() {
    let mut peer = Peer::connect();
    let queue = unique("differs");
    peer.call(1, &queue_declare(&queue).on("durable"));
    let text = |what: &str, values: &str| {
        format!("PRECONDITION_FAILED - inequivalent arg '{what}' for queue '{queue}' in vhost '/': received {values}")
    };
    let rows = [
        (queue_declare(&queue), text("durable", "'false' but current is 'true'")),
        (queue_declare(&queue).on("durable").on("auto-delete"), text("auto_delete", "'true' but current is 'false'")),
        (queue_declare(&queue).on("auto-delete"), text("durable", "'false' but current is 'true'")),
        (
            queue_declare(&queue).on("auto-delete").args([("x-message-ttl", i(1))]),
            text("durable", "'false' but current is 'true'"),
        ),
        (
            queue_declare(&queue).on("durable").args([("x-message-ttl", i(60000))]),
            text("x-message-ttl", "the value '60000' of type 'signedint' but current is none"),
        ),
        (
            queue_declare(&queue).on("durable").args([("x-max-length", Value::I64(5))]),
            text("x-max-length", "the value '5' of type 'long' but current is none"),
        ),
    ];
    for (declare, text) in rows {
        peer.refused(1, &declare, 406, &text);
    }
    for declare in [
        queue_declare(&queue).on("exclusive"),
        queue_declare(&queue).on("durable").on("exclusive"),
        queue_declare(&queue).on("exclusive").on("auto-delete"),
    ] {
        peer.refused(1, &declare, 405, &locked(&queue));
    }
    peer.call(1, &queue_declare(&queue).on("durable").args([("x-unknown", s("anything")), ("other", i(1))]));
    peer.call(1, &queue_declare(&queue).on("durable").args([("x-queue-type", s("classic"))]));
    peer.call(1, &queue_delete(&queue));
}

#[test]
fn a_declare_that_differs_in_its_arguments() {
    let mut peer = Peer::connect();
    let queue = unique("arguments");
    let declare = queue_declare(&queue).on("exclusive");
    peer.call(
        1,
        &declare.clone().args([("x-message-ttl", i(60000)), ("x-dead-letter-exchange", s("a")), ("x-other", i(1))]),
    );
    let text = |what: &str, values: &str| {
        format!("PRECONDITION_FAILED - inequivalent arg '{what}' for queue '{queue}' in vhost '/': received {values}")
    };
    let dlx = ("x-dead-letter-exchange", s("a"));
    for ttl in [Value::I64(60000), Value::U16(60000), Value::U32(60000), i(60000)] {
        peer.call(1, &declare.clone().args([dlx.clone(), ("x-message-ttl", ttl)]));
    }
    peer.refused(
        1,
        &declare.clone().args([dlx.clone(), ("x-message-ttl", i(60001))]),
        406,
        &text("x-message-ttl", "'60001' but current is '60000'"),
    );
    peer.refused(
        1,
        &declare.clone().args([dlx]),
        406,
        &text("x-message-ttl", "none but current is the value '60000' of type 'signedint'"),
    );
    peer.refused(
        1,
        &declare.clone().args([("x-message-ttl", i(60000)), ("x-dead-letter-exchange", s("b"))]),
        406,
        &text("x-dead-letter-exchange", "'b' but current is 'a'"),
    );
    peer.refused(
        1,
        &declare.args([("x-message-ttl", i(60000))]),
        406,
        &text("x-dead-letter-exchange", "none but current is the value 'a' of type 'longstr'"),
    );
}

#[test]
fn every_known_argument_is_compared() {
    let rows: [(&str, Value, &str); 9] = [
        ("x-message-ttl", i(1000), "the value '1000' of type 'signedint'"),
        ("x-expires", i(100_000), "the value '100000' of type 'signedint'"),
        ("x-max-length", Value::I64(5), "the value '5' of type 'long'"),
        ("x-max-length-bytes", Value::I16(5), "the value '5' of type 'short'"),
        ("x-max-priority", Value::U8(5), "the value '5' of type 'unsignedbyte'"),
        ("x-overflow", s("reject-publish"), "the value 'reject-publish' of type 'longstr'"),
        ("x-dead-letter-exchange", s("dlx"), "the value 'dlx' of type 'longstr'"),
        ("x-single-active-consumer", Value::Bool(true), "the value 'true' of type 'bool'"),
        ("x-queue-mode", s("lazy"), "the value 'lazy' of type 'longstr'"),
    ];
    let mut peer = Peer::connect();
    for (name, value, shown) in rows {
        let queue = unique("compared");
        let declare = queue_declare(&queue).on("exclusive");
        peer.call(1, &declare.clone().args([(name, value.clone())]));
        peer.call(1, &declare.clone().args([(name, value)]));
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{name}' for queue '{queue}' in vhost '/': received none but \
             current is {shown}"
        );
        peer.refused(1, &declare, 406, &text);
    }
}

#[test]
fn arguments_out_of_their_range() {
    let mut peer = Peer::connect();
    let big = Value::I64(1 << 62);
    let rows = [
        ("x-message-ttl", s("a"), r#""expected integer, got longstr""#),
        ("x-message-ttl", Value::F64(1.5), r#""expected integer, got double""#),
        ("x-message-ttl", Value::Bool(true), r#""expected integer, got bool""#),
        ("x-message-ttl", i(-1), "{value_negative,-1}"),
        ("x-message-ttl", Value::I64(315_360_000_001), "{value_too_large,315360000001}"),
        ("x-expires", s("a"), r#""expected integer, got longstr""#),
        ("x-expires", i(0), "{value_zero,0}"),
        ("x-expires", i(-5), "{value_negative,-5}"),
        ("x-expires", big.clone(), "{value_too_large,4611686018427387904}"),
        ("x-max-length", i(-1), "{value_negative,-1}"),
        ("x-max-length", s("1"), r#""expected integer, got longstr""#),
        ("x-max-length-bytes", i(-1), "{value_negative,-1}"),
        ("x-max-length-bytes", Value::Void, r#""expected integer, got void""#),
        ("x-max-priority", i(256), "{max_value_exceeded,256}"),
        ("x-max-priority", i(-1), "{value_negative,-1}"),
        ("x-max-priority", s("a"), r#""expected integer, got longstr""#),
        ("x-overflow", s("foo"), "invalid_overflow"),
        ("x-overflow", i(1), "{unacceptable_type,signedint}"),
        ("x-dead-letter-routing-key", s("k"), "routing_key_but_no_dlx_defined"),
        ("x-dead-letter-routing-key", i(1), "{unacceptable_type,signedint}"),
        ("x-single-active-consumer", s("true"), "{unacceptable_type,longstr}"),
        ("x-queue-type", s("foo"), r#""unsupported queue type 'foo'""#),
        ("x-queue-type", i(1), "{unacceptable_type,signedint}"),
    ];
    for (name, value, reason) in rows {
        let queue = unique("range");
        let text = format!("PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/': {reason}");
        peer.refused(1, &queue_declare(&queue).on("exclusive").args([(name, value)]), 406, &text);
    }
    for (name, value) in [
        ("x-message-ttl", i(0)),
        ("x-message-ttl", Value::I64(315_360_000_000)),
        ("x-message-ttl", Value::I8(5)),
        ("x-max-length", i(0)),
        ("x-max-length", big),
        ("x-max-priority", i(255)),
        ("x-max-priority", i(0)),
        ("x-anything", Value::Void),
    ] {
        peer.call(1, &queue_declare(&unique("range")).on("exclusive").args([(name, value)]));
    }
}

#[test]
fn a_dead_letter_exchange_is_named_by_a_string() {
    let mut peer = Peer::connect();
    let queue = unique("dlx");
    peer.refused(
        1,
        &queue_declare(&queue).args([("x-dead-letter-exchange", i(1))]),
        406,
        &format!(
            "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue '{queue}' in \
             vhost '/'"
        ),
    );
}

#[test]
fn arguments_of_other_kinds_of_queue_are_refused() {
    let mut peer = Peer::connect();
    for (name, value) in
        [("x-quorum-initial-group-size", i(3)), ("x-max-age", s("1D")), ("x-max-in-memory-length", i(1))]
    {
        let queue = unique("kind");
        let text = format!(
            "PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/' of queue type \
             rabbit_classic_queue"
        );
        peer.refused(1, &queue_declare(&queue).args([(name, value)]), 406, &text);
    }
}

// ---- the last declared queue ----

#[test]
fn without_a_declared_queue_an_empty_name_is_an_error() {
    let mut peer = Peer::connect();
    for method in [
        queue_bind("", "amq.direct", "k"),
        queue_unbind("", "amq.direct", "k"),
        queue_purge(""),
        queue_delete(""),
        get(""),
        consume("", "t"),
    ] {
        peer.refused(1, &method, 404, "NOT_FOUND - no previously declared queue");
    }
}

#[test]
fn an_empty_name_is_the_queue_that_the_channel_declared_last() {
    let mut peer = Peer::connect();
    let (one, two) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    peer.publish(1, "", &two, "two");
    assert_eq!(peer.get_no_ack(1, "").expect("the message of the second").body, b"two");
    peer.counts(1, &one);
    peer.publish(1, "", &one, "one");
    assert_eq!(peer.get_no_ack(1, "").expect("a passive declare counts too").body, b"one");

    let key = unique("key");
    peer.call(1, &queue_bind("", "amq.direct", &key));
    peer.publish(1, "amq.direct", &key, "bound");
    assert_eq!(peer.drain(1, &one), ["bound"]);
    peer.call(1, &queue_unbind("", "amq.direct", &key));
    peer.publish(1, "amq.direct", &key, "unbound");
    peer.expect_counts(1, &one, (0, 0));

    peer.publish(1, "", &one, "purged");
    assert_eq!(peer.call(1, &queue_purge("")).number("message-count"), 1);
    peer.call(1, &consume("", "t"));
    peer.publish(1, "", &one, "consumed");
    assert_eq!(peer.expect_delivery(1).body, b"consumed");
    peer.call(1, &cancel("t"));
    peer.call(1, &queue_delete(""));
    peer.refused(1, &queue_declare(&one).on("passive"), 404, &not_found(&one));
}

#[test]
fn an_empty_name_and_key_bind_the_name_as_key() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind("", "amq.direct", ""));
    peer.publish(1, "amq.direct", &queue, "by name");
    peer.publish(1, "amq.direct", "", "by nothing");
    assert_eq!(peer.drain(1, &queue), ["by name"]);
    peer.call(1, &queue_unbind("", "amq.direct", ""));
    peer.publish(1, "amq.direct", &queue, "unbound");
    peer.expect_counts(1, &queue, (0, 0));
    let key = unique("key");
    peer.call(1, &queue_bind("", "amq.direct", &key));
    peer.publish(1, "amq.direct", &key, "by key");
    assert_eq!(peer.drain(1, &queue), ["by key"]);
}

#[test]
fn each_channel_has_its_own_last_queue() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    peer.exclusive_queue(1);
    peer.refused(2, &get(""), 404, "NOT_FOUND - no previously declared queue");
    peer.close_channel(1);
    peer.open_channel(1);
    peer.refused(1, &get(""), 404, "NOT_FOUND - no previously declared queue");
}

#[test]
fn a_last_queue_that_is_deleted_stays_the_last_queue() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_delete(&queue));
    peer.refused(1, &get(""), 404, &not_found(&queue));
}

// ---- exclusive, auto-delete, nowait ----

#[test]
fn an_exclusive_queue_is_locked_for_other_connections() {
    let mut owner = Peer::connect();
    let mut other = Peer::connect();
    let queue = unique("exclusive");
    owner.call(1, &queue_declare(&queue).on("exclusive"));
    owner.call(1, &queue_bind(&queue, "amq.direct", &queue));
    for method in [
        queue_declare(&queue).on("exclusive"),
        queue_declare(&queue),
        queue_declare(&queue).on("passive"),
        queue_bind(&queue, "amq.direct", "k"),
        queue_unbind(&queue, "amq.direct", &queue),
        queue_purge(&queue),
        queue_delete(&queue),
        consume(&queue, "t"),
        get(&queue),
    ] {
        other.refused(1, &method, 405, &locked(&queue));
    }
    other.call(1, &queue_unbind(&queue, "amq.direct", "no such binding"));
    other.publish(1, "", &queue, "anyone may publish");
    other.expect_nothing_before_sync(1);
    owner.consume(1, &queue, "t");
    assert_eq!(owner.expect_delivery(1).body, b"anyone may publish");
    owner.open_channel(2);
    owner.counts(2, &queue);
    owner.refused(2, &queue_declare(&queue), 405, &locked(&queue));
}

#[test]
fn an_exclusive_queue_is_not_durable_whatever_was_asked_for() {
    let mut peer = Peer::connect();
    let queue = unique("exclusive");
    peer.call(1, &queue_declare(&queue).on("exclusive").on("durable"));
    peer.call(1, &queue_declare(&queue).on("exclusive").on("durable"));
}

#[test]
fn an_exclusive_queue_outlives_its_channel() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.publish(1, "", &queue, "x");
    peer.close_channel(1);
    peer.open_channel(1);
    peer.expect_counts(1, &queue, (1, 0));
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = unique("auto-delete");
    peer.call(1, &queue_declare(&queue).on("auto-delete"));
    peer.counts(1, &queue);
    peer.consume(1, &queue, "one");
    peer.consume(2, &queue, "two");
    peer.call(1, &cancel("one"));
    peer.counts(1, &queue);
    peer.call(2, &cancel("two"));
    peer.refused(1, &queue_declare(&queue).on("passive"), 404, &not_found(&queue));

    peer.call(1, &queue_declare(&queue).on("auto-delete"));
    peer.consume(2, &queue, "three");
    peer.close_channel(2);
    peer.refused(1, &queue_declare(&queue).on("passive"), 404, &not_found(&queue));
}

#[test]
fn an_auto_delete_queue_that_never_had_a_consumer_stays() {
    let queue = unique("auto-delete");
    let mut peer = Peer::connect();
    peer.call(1, &queue_declare(&queue).on("auto-delete"));
    peer.publish(1, "", &queue, "x");
    peer.get(1, &queue).expect("a message");
    peer.close();
    let mut peer = Peer::connect();
    peer.consume(1, &queue, "t");
    peer.expect_delivery(1);
    peer.call(1, &cancel("t"));
    peer.refused(1, &queue_declare(&queue).on("passive"), 404, &not_found(&queue));
}

#[test]
fn nowait_leaves_out_the_answer_and_errors_still_come() {
    let mut peer = Peer::connect();
    let queue = unique("nowait");
    peer.send(1, &queue_declare(&queue).on("exclusive").on("nowait"));
    peer.send(1, &queue_bind("", "amq.direct", &queue).on("nowait"));
    peer.publish(1, "amq.direct", &queue, "x");
    peer.expect_nothing_before_sync(1);
    peer.expect_counts(1, &queue, (1, 0));
    peer.send(1, &queue_purge(&queue).on("nowait"));
    peer.expect_counts(1, &queue, (0, 0));
    peer.send(1, &queue_declare(&queue).on("durable").on("nowait"));
    peer.expect_channel_close(1, 405, &locked(&queue), ids("queue.declare"));
    peer.open_channel(1);
    peer.send(1, &queue_delete(&queue).on("nowait"));
    peer.refused(1, &queue_declare(&queue).on("passive"), 404, &not_found(&queue));
}

// ---- purge and delete ----

#[test]
fn purge_takes_what_is_ready_and_says_how_much() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for body in ["one", "two", "three"] {
        peer.publish(1, "", &queue, body);
    }
    let first = peer.get(1, &queue).expect("a message");
    assert_eq!(peer.call(1, &queue_purge(&queue)).number("message-count"), 2);
    assert_eq!(peer.call(1, &queue_purge(&queue)).number("message-count"), 0);
    peer.send(1, &nack(first.tag()).on("requeue"));
    assert_eq!(peer.drain(1, &queue), ["one"], "what was not ready is still there");
    let missing = unique("missing");
    peer.refused(1, &queue_purge(&missing), 404, &not_found(&missing));
}

#[test]
fn delete_says_how_much_was_ready_and_a_missing_queue_is_deleted_already() {
    let mut peer = Peer::connect();
    let queue = unique("deleted");
    peer.call(1, &queue_declare(&queue));
    for body in ["one", "two", "three"] {
        peer.publish(1, "", &queue, body);
    }
    peer.get(1, &queue).expect("a message");
    assert_eq!(peer.call(1, &queue_delete(&queue)).number("message-count"), 2);
    assert_eq!(peer.call(1, &queue_delete(&queue)).number("message-count"), 0);
    assert_eq!(peer.call(1, &queue_delete(&queue).on("if-empty").on("if-unused")).number("message-count"), 0);
    peer.refused(1, &queue_declare(&queue).on("passive"), 404, &not_found(&queue));
}

#[test]
fn delete_with_conditions() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(1);
    let not_empty = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty");
    let in_use = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use");
    let both = queue_delete(&queue).on("if-empty").on("if-unused");
    peer.publish(1, "", &queue, "one");
    peer.publish(1, "", &queue, "two");
    peer.refused(1, &queue_delete(&queue).on("if-empty"), 406, &not_empty);
    peer.refused(1, &both, 406, &not_empty);
    peer.call(2, &qos(1));
    peer.consume(2, &queue, "t");
    peer.expect_delivery(2);
    peer.refused(1, &queue_delete(&queue).on("if-unused"), 406, &in_use);
    peer.refused(1, &both, 406, &not_empty);
    peer.get(2, &queue).expect("the second message");
    peer.refused(1, &both, 406, &in_use);
    peer.call(1, &queue_delete(&queue).on("if-empty"));
    peer.expect(2, "basic.cancel");
}

#[test]
fn delete_if_empty_does_not_count_what_is_unacknowledged() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.publish(1, "", &queue, "x");
    let tag = peer.get(1, &queue).expect("a message").tag();
    peer.call(1, &queue_delete(&queue).on("if-empty"));
    peer.send(1, &ack(tag));
    peer.expect_nothing_before_sync(1);
}

#[test]
fn a_queue_declared_again_is_another_queue() {
    let mut peer = Peer::connect();
    let queue = unique("again");
    peer.call(1, &queue_declare(&queue));
    peer.call(1, &queue_bind(&queue, "amq.direct", &queue));
    peer.publish(1, "", &queue, "old");
    peer.publish(1, "", &queue, "old too");
    let tag = peer.get(1, &queue).expect("a message").tag();
    peer.call(1, &queue_delete(&queue));
    peer.call(1, &queue_declare(&queue).on("exclusive"));
    peer.publish(1, "amq.direct", &queue, "the binding went with the old queue");
    peer.send(1, &nack(tag).on("requeue"));
    peer.expect_counts(1, &queue, (0, 0));
    peer.publish(1, "", &queue, "new");
    assert_eq!(peer.drain(1, &queue), ["new"]);
}

// ---- bind ----

#[test]
fn bindings_that_lack_an_end() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let missing = unique("missing");
    let no_exchange = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
    peer.refused(1, &queue_bind(&missing, "amq.direct", "k"), 404, &not_found(&missing));
    peer.refused(1, &queue_bind(&queue, &missing, "k"), 404, &no_exchange);
    peer.refused(1, &queue_bind(&missing, &missing, "k"), 404, &no_exchange);
    peer.call(1, &queue_unbind(&missing, "amq.direct", "k"));
    peer.call(1, &queue_unbind(&queue, &missing, "k"));
    peer.call(1, &queue_unbind(&queue, "amq.direct", "no such binding"));
}

#[test]
fn a_binding_is_its_ends_its_key_and_its_arguments() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let key = unique("key");
    let bind = queue_bind(&queue, "amq.direct", &key);
    let unbind = queue_unbind(&queue, "amq.direct", &key);
    peer.call(1, &bind);
    peer.call(1, &bind);
    peer.call(1, &bind.clone().args([("a", i(1)), ("b", s("2"))]));
    peer.publish(1, "amq.direct", &key, "once");
    assert_eq!(peer.drain(1, &queue), ["once"]);
    peer.call(1, &unbind);
    peer.publish(1, "amq.direct", &key, "the other binding");
    assert_eq!(peer.drain(1, &queue), ["the other binding"]);
    peer.call(1, &unbind.clone().args([("a", i(1))]));
    peer.publish(1, "amq.direct", &key, "still");
    assert_eq!(peer.drain(1, &queue), ["still"]);
    peer.call(1, &unbind.args([("b", s("2")), ("a", i(1))]));
    peer.publish(1, "amq.direct", &key, "gone");
    peer.expect_counts(1, &queue, (0, 0));
}

#[test]
fn every_queue_is_bound_to_the_default_exchange() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.publish(1, "", &queue, "by name");
    peer.publish(1, "", "no such queue", "dropped");
    assert_eq!(peer.drain(1, &queue), ["by name"]);
}

#[test]
fn consumers_of_a_deleted_queue_are_cancelled() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(1);
    peer.consume(1, &queue, "own");
    peer.consume(2, &queue, "one");
    peer.consume(2, &queue, "two");
    peer.call(1, &queue_delete(&queue));
    let cancelled = peer.expect(1, "basic.cancel");
    assert_eq!((cancelled.text("consumer-tag"), cancelled.bit("nowait")), ("own", true));
    let mut tags: Vec<String> =
        (0..2).map(|_| peer.expect(2, "basic.cancel").text("consumer-tag").to_owned()).collect();
    tags.sort();
    assert_eq!(tags, ["one", "two"]);
}
