//! Section 1.4: channels.

use crate::support::broker;
use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::unique;
use crate::support::wire::*;

#[test]
fn open_flow_close_and_the_number_again() {
    let mut peer = Login::new().connection(broker::shared());
    for _ in 0..3 {
        peer.open_channel(7);
        assert!(peer.call(7, &method("channel.flow").on("active")).bit("active"));
        peer.close_channel(7);
    }
    peer.open_channel(7);
    peer.close();
}

#[test]
fn a_number_may_be_used_again_right_behind_its_close() {
    let mut peer = Peer::connect();
    let mut bytes = Vec::new();
    for _ in 0..50 {
        bytes.extend(method_frame(1, &channel_close()));
        peer.send_raw(&bytes);
        peer.expect(1, "channel.close-ok");
        bytes = method_frame(1, &method("channel.open"));
        bytes.extend(method_frame(1, &method("channel.flow").on("active")));
        peer.send_raw(&bytes);
        peer.expect(1, "channel.open-ok");
        peer.expect(1, "channel.flow-ok");
        bytes.clear();
    }
}

#[test]
fn flow_cannot_be_stopped() {
    Peer::connect().fatal(1, &method("channel.flow"), 540, "NOT_IMPLEMENTED - active=false");
}

#[test]
fn a_channel_is_opened_once() {
    Peer::connect().fatal(1, &method("channel.open"), 504, "CHANNEL_ERROR - second 'channel.open' seen");
}

#[test]
fn the_first_method_of_a_channel_is_open() {
    for method in [
        method("channel.flow").on("active"),
        queue_declare("q"),
        channel_close(),
        method("channel.close-ok"),
        ack(1),
        method("tx.select"),
    ] {
        let peer = Login::new().connection(broker::shared());
        peer.fatal(3, &method, 504, "CHANNEL_ERROR - expected 'channel.open'");
    }
    let mut peer = Login::new().connection(broker::shared());
    peer.send_publish(3, &publish("", "q"), NONE, b"x");
    peer.expect_connection_close(504, "CHANNEL_ERROR - expected 'channel.open'", ids("basic.publish"));
}

#[test]
fn a_content_before_open() {
    let mut peer = Login::new().connection(broker::shared());
    peer.send_raw(&header_frame(1, 0, NONE));
    peer.expect_connection_close(505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead", (0, 0));
}

#[test]
fn a_closed_number_has_no_channel() {
    let mut peer = Peer::connect();
    peer.close_channel(1);
    peer.fatal(1, &queue_declare("q"), 504, "CHANNEL_ERROR - expected 'channel.open'");
}

#[test]
fn as_many_channels_as_agreed() {
    let mut peer = Login::new().channel_max(3).connection(broker::shared());
    for channel in 1..=3 {
        peer.open_channel(channel);
    }
    peer.close_channel(2);
    peer.open_channel(2);
    peer.send(4, &method("channel.open"));
    peer.expect_connection_close(
        530,
        "NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)",
        (0, 0),
    );
}

#[test]
fn all_channels_that_are_offered_can_be_open() {
    let mut peer = Login::new().connection(broker::shared());
    let mut bytes = Vec::new();
    for channel in 1..=2047 {
        bytes.extend(method_frame(channel, &method("channel.open")));
    }
    peer.send_raw(&bytes);
    for channel in 1..=2047 {
        peer.expect(channel, "channel.open-ok");
    }
    peer.close();
}

#[test]
fn after_a_close_from_the_broker_everything_is_ignored_until_close_ok() {
    let queue = unique("ignored");
    let mut peer = Peer::connect();
    peer.send(1, &queue_declare(&queue).on("passive"));
    assert_eq!(peer.expect(1, "channel.close").number("reply-code"), 404);
    peer.send(1, &queue_declare(&queue));
    peer.send_publish(1, &publish("no such exchange", "x"), NONE, b"x");
    peer.send(1, &method("channel.flow"));
    peer.send(1, &method("channel.close-ok"));
    peer.open_channel(1);
    peer.refused(1, &queue_declare(&queue).on("passive"), 404, &format!("NOT_FOUND - no queue '{queue}' in vhost '/'"));
    peer.expect_nothing_before_sync(1);
}

#[test]
fn a_closing_number_cannot_be_opened_before_close_ok() {
    let mut peer = Peer::connect();
    peer.send(1, &queue_declare(&unique("none")).on("passive"));
    peer.expect(1, "channel.close");
    peer.fatal(1, &method("channel.open"), 504, "CHANNEL_ERROR - second 'channel.open' seen");
}

#[test]
fn a_close_that_crosses_a_close() {
    let mut peer = Peer::connect();
    peer.send(1, &queue_declare(&unique("none")).on("passive"));
    peer.send(1, &channel_close());
    peer.expect(1, "channel.close");
    peer.expect(1, "channel.close-ok");
    peer.send(1, &method("channel.close-ok"));
    peer.open_channel(1);
}

#[test]
fn an_error_closes_its_channel_and_no_other() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(2);
    peer.consume(2, &queue, "t");
    peer.refused(1, &reject(1), 406, "PRECONDITION_FAILED - unknown delivery tag 1");
    peer.publish(2, "", &queue, "still here");
    assert_eq!(peer.expect_delivery(2).body, b"still here");
}

#[test]
fn what_was_sent_before_close_is_done_and_what_comes_behind_is_not() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(2);
    let mut bytes = publish_frames(1, &publish("", &queue), NONE, b"before");
    bytes.extend(method_frame(1, &channel_close()));
    peer.send_raw(&bytes);
    peer.expect(1, "channel.close-ok");
    assert_eq!(peer.drain(2, &queue), ["before"]);
}

#[test]
fn nothing_is_delivered_behind_close_ok() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(1);
    for _ in 0..10 {
        let publishes = publish_frames(1, &publish("", &queue), NONE, b"x").repeat(200);
        peer.consume(2, &queue, "t");
        peer.send_raw(&publishes);
        peer.send(2, &channel_close());
        loop {
            let reply = peer.next_method(2);
            if reply.name == "channel.close-ok" {
                break;
            }
            assert_eq!(reply.name, "basic.deliver");
            peer.expect_content(2, reply);
        }
        peer.open_channel(2);
        peer.expect_nothing_from(2, &queue);
        peer.call(1, &queue_purge(&queue));
    }
}

#[test]
fn numbers_need_not_be_low_as_long_as_there_are_few() {
    let mut peer = Login::new().channel_max(2).connection(broker::shared());
    peer.open_channel(65_535);
    peer.open_channel(300);
    peer.send(1, &method("channel.open"));
    peer.expect_connection_close(
        530,
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)",
        (0, 0),
    );
}

#[test]
fn a_channel_gives_back_what_it_had() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(2);
    for body in ["one", "two", "three", "four"] {
        peer.publish(2, "", &queue, body);
    }
    peer.expect_counts(2, &queue, (4, 0));
    peer.call(1, &qos(2));
    peer.consume(1, &queue, "t");
    peer.expect_bodies(1, &["one", "two"]);
    assert_eq!(peer.get(1, &queue).expect("a message").body, b"three");
    peer.close_channel(1);
    let mut got = Vec::new();
    while let Some(message) = peer.get_no_ack(2, &queue) {
        got.push((message.body_text().to_owned(), message.redelivered()));
    }
    let expected = [("one", true), ("two", true), ("three", true), ("four", false)];
    assert_eq!(got, expected.map(|(body, redelivered)| (body.to_owned(), redelivered)));
}

#[test]
fn every_channel_counts_its_own_delivery_tags() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.exclusive_queue(1);
    for _ in 0..4 {
        peer.publish(1, "", &queue, "x");
    }
    peer.expect_counts(1, &queue, (4, 0));
    assert_eq!(peer.get(1, &queue).expect("a message").tag(), 1);
    assert_eq!(peer.get(2, &queue).expect("a message").tag(), 1);
    assert_eq!(peer.get(2, &queue).expect("a message").tag(), 2);
    peer.close_channel(2);
    peer.open_channel(2);
    assert_eq!(peer.get(2, &queue).expect("a message").tag(), 1);
}
