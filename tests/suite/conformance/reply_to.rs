//! Section 1.5: direct reply-to.

use crate::support::peer::*;
use crate::support::props::{NONE, decode, props};
use crate::support::unique;
use crate::support::wire::*;

const NAME: &str = "amq.rabbitmq.reply-to";

/// A requester that consumes replies on channel 1, and a server with a queue of requests.
struct Rpc {
    requester: Peer,
    server: Peer,
    requests: String,
}

impl Rpc {
    fn new() -> Self {
        let mut requester = Peer::connect();
        requester.call(1, &consume_replies("replies"));
        let mut server = Peer::connect();
        let requests = unique("requests");
        server.call(1, &queue_declare(&requests).on("auto-delete"));
        server.consume(1, &requests, "t");
        Self { requester, server, requests }
    }

    /// Sends a request and gives the address that the server sees in it.
    #[track_caller]
    fn request(&mut self, body: &str) -> String {
        let properties = props().text("reply-to", NAME).text("correlation-id", body).bytes();
        self.requester.send_publish(1, &publish("", &self.requests), &properties, body.as_bytes());
        let request = self.server.expect_delivery(1);
        assert_eq!(request.body_text(), body);
        let mut properties = decode(&request.properties);
        let Some(Field::Text(address)) = properties.remove("reply-to") else { panic!("no reply-to") };
        assert_eq!(properties["correlation-id"], Field::Text(body.to_owned()), "the other properties stay");
        assert_eq!(properties.len(), 1);
        address
    }
}

fn consume_replies(tag: &str) -> Method {
    consume(NAME, tag).on("no-ack")
}

#[test]
fn a_request_and_its_reply() {
    let mut rpc = Rpc::new();
    for body in ["first", "second"] {
        let address = rpc.request(body);
        let opaque = address.strip_prefix("amq.rabbitmq.reply-to.").expect("the prefix of an address");
        assert!(!opaque.is_empty());
        let properties = props().text("correlation-id", body).bytes();
        rpc.server.send_publish(1, &publish("", &address), &properties, b"reply");
        let reply = rpc.requester.expect_delivery(1);
        assert_eq!(reply.consumer(), "replies");
        assert_eq!(reply.body, b"reply");
        assert_eq!(reply.properties, properties);
        assert!(!reply.redelivered());
        assert_eq!(reply.method.text("exchange"), "");
        assert_eq!(reply.method.text("routing-key"), address);
    }
    rpc.server.expect_nothing_before_sync(1);
}

#[test]
fn an_address_is_the_same_for_all_requests_of_a_channel() {
    let mut rpc = Rpc::new();
    let first = rpc.request("first");
    assert_eq!(rpc.request("second"), first);
}

#[test]
fn replies_come_in_their_order() {
    let mut rpc = Rpc::new();
    let address = rpc.request("many");
    for n in 0..100 {
        rpc.server.publish(1, "", &address, &n.to_string());
    }
    for n in 0..100 {
        assert_eq!(rpc.requester.expect_delivery(1).body_text(), n.to_string());
    }
}

#[test]
fn the_consumer_acknowledges_nothing_and_is_alone() {
    let mut peer = Peer::connect();
    peer.refused(1, &consume(NAME, "t"), 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge");
    peer.call(1, &consume_replies("t"));
    peer.refused(1, &consume_replies("other"), 406, "PRECONDITION_FAILED - reply consumer already set");
    peer.call(1, &consume_replies("t"));
    peer.open_channel(2);
    peer.call(2, &consume_replies("t"));
}

#[test]
fn an_empty_tag_is_filled_in_and_nowait_is_not_answered() {
    let mut peer = Peer::connect();
    let tag = peer.call(1, &consume_replies("")).text("consumer-tag").to_owned();
    assert!(tag.starts_with("amq.ctag-"), "{tag}");
    peer.call(1, &cancel(&tag));
    peer.send(1, &consume_replies("t").on("nowait"));
    peer.expect_nothing_before_sync(1);
}

#[test]
fn a_request_without_a_consumer_of_replies() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let properties = props().text("reply-to", NAME).bytes();
    peer.send_publish(1, &publish("", &queue), &properties, b"x");
    peer.expect_channel_close(1, 406, "PRECONDITION_FAILED - fast reply consumer does not exist", ids("basic.publish"));
    peer.open_channel(1);
    peer.open_channel(2);
    peer.call(2, &consume_replies("another channel"));
    peer.send_publish(1, &publish("", &queue), &properties, b"x");
    assert_eq!(peer.expect(1, "channel.close").number("reply-code"), 406);
}

#[test]
fn after_cancel_there_is_no_consumer_of_replies() {
    let mut rpc = Rpc::new();
    let address = rpc.request("first");
    assert_eq!(rpc.requester.call(1, &cancel("replies")).text("consumer-tag"), "replies");
    rpc.server.publish(1, "", &address, "too late");
    rpc.server.expect_nothing_before_sync(1);
    rpc.requester.expect_nothing_before_sync(1);
    let properties = props().text("reply-to", NAME).bytes();
    rpc.requester.send_publish(1, &publish("", &rpc.requests), &properties, b"x");
    assert_eq!(rpc.requester.expect(1, "channel.close").number("reply-code"), 406);
    rpc.requester.send(1, &method("channel.close-ok"));
    rpc.requester.open_channel(1);
    rpc.requester.call(1, &consume_replies("replies"));
}

#[test]
fn an_address_can_be_asked_about() {
    let mut rpc = Rpc::new();
    let address = rpc.request("first");
    let mut other = Peer::connect();
    for declare in [queue_declare(&address), queue_declare(&address).on("passive")] {
        let reply = other.call(1, &declare);
        assert_eq!(reply.text("queue"), address);
        assert_eq!((reply.number("message-count"), reply.number("consumer-count")), (0, 1));
    }
    rpc.requester.call(1, &cancel("replies"));
    for declare in [queue_declare(&address), queue_declare(&address).on("passive")] {
        other.refused(1, &declare, 404, &format!("NOT_FOUND - no queue '{address}' in vhost '/'"));
    }
}

#[test]
fn the_pseudo_queue_itself_can_be_declared() {
    let mut peer = Peer::connect();
    for declare in [queue_declare(NAME), queue_declare(NAME).on("passive")] {
        let reply = peer.call(1, &declare);
        assert_eq!(reply.text("queue"), NAME);
        assert_eq!((reply.number("message-count"), reply.number("consumer-count")), (0, 1));
    }
}

#[test]
fn a_reply_to_nobody() {
    let mut peer = Peer::connect();
    for address in ["amq.rabbitmq.reply-to.nonsense", "amq.rabbitmq.reply-to.", NAME] {
        peer.publish(1, "", address, "dropped");
        peer.expect_nothing_before_sync(1);
    }
}

#[test]
fn any_other_reply_to_is_left_as_it_is() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for name in ["somewhere", "", "amq.rabbitmq.reply-to.something", "AMQ.RABBITMQ.REPLY-TO"] {
        let properties = props().text("reply-to", name).bytes();
        peer.send_publish(1, &publish("", &queue), &properties, b"x");
        assert_eq!(peer.get_no_ack(1, &queue).expect("a message").properties, properties);
    }
}

#[test]
fn the_requester_may_be_gone() {
    let mut rpc = Rpc::new();
    let address = rpc.request("first");
    rpc.requester.close_channel(1);
    rpc.server.publish(1, "", &address, "too late");
    rpc.server.expect_nothing_before_sync(1);
    rpc.requester.open_channel(1);
    rpc.requester.call(1, &consume_replies("replies"));
    rpc.server.publish(1, "", &address, "to the old channel");
    rpc.server.expect_nothing_before_sync(1);
    rpc.requester.expect_nothing_before_sync(1);
    let new = rpc.request("second");
    rpc.server.publish(1, "", &new, "in time");
    assert_eq!(rpc.requester.expect_delivery(1).body, b"in time");
}

#[test]
fn a_reply_in_confirm_mode_is_confirmed() {
    let mut rpc = Rpc::new();
    let address = rpc.request("first");
    rpc.server.call(1, &method("confirm.select"));
    rpc.server.publish(1, "", &address, "reply");
    assert_eq!(rpc.server.expect(1, "basic.ack").number("delivery-tag"), 1);
    assert_eq!(rpc.requester.expect_delivery(1).body, b"reply");
}

#[test]
fn a_large_reply() {
    let mut rpc = Rpc::new();
    let address = rpc.request("first");
    let body = vec![b'x'; 1_000_000];
    rpc.server.send_publish(1, &publish("", &address), NONE, &body);
    assert!(rpc.requester.expect_delivery(1).body == body);
}

mod leveret_or_newer {
    use super::*;
    use crate::leveret_only;
    use crate::support::props::headers;

    #[test]
    fn binding_the_pseudo_queue() {
        leveret_only!("3.10.8 says that there is no such queue");
        let mut peer = Peer::connect();
        for method in [queue_bind(NAME, "amq.direct", "k"), queue_unbind(NAME, "amq.direct", "k")] {
            peer.refused(
                1,
                &method,
                403,
                "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue",
            );
        }
    }

    #[test]
    fn the_other_name() {
        leveret_only!("the name is LavinMQ's");
        let other = "amq.direct.reply-to";
        let mut peer = Peer::connect();
        peer.refused(1, &consume(other, "t"), 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge");
        peer.call(1, &consume(other, "t").on("no-ack"));
        let queue = peer.exclusive_queue(1);
        for name in [other, NAME] {
            peer.send_publish(1, &publish("", &queue), &props().text("reply-to", name).bytes(), b"x");
            let request = peer.get_no_ack(1, &queue).expect("the request");
            let Field::Text(address) = decode(&request.properties)["reply-to"].clone() else { panic!("no reply-to") };
            assert_ne!(address, name);
            peer.publish(1, "", &address, "reply");
            assert_eq!(peer.expect_delivery(1).body, b"reply");
        }
    }

    #[test]
    fn several_keys_that_reach_one_requester_deliver_once() {
        leveret_only!("3.10.8 does not look at CC for replies");
        let mut rpc = Rpc::new();
        let address = rpc.request("first");
        let copies = headers([("CC", Value::Array(vec![s(&address), s(&address)]))]);
        rpc.server.send_publish(1, &publish("", &address), &copies, b"once");
        assert_eq!(rpc.requester.expect_delivery(1).body, b"once");
        rpc.server.expect_nothing_before_sync(1);
        rpc.requester.expect_nothing_before_sync(1);
    }

    #[test]
    fn a_mandatory_reply_is_routed_while_the_requester_is_there() {
        leveret_only!("before 4.2 no reply counted as routed");
        let mut rpc = Rpc::new();
        let address = rpc.request("first");
        rpc.server.send_publish(1, &publish("", &address).on("mandatory"), NONE, b"reply");
        assert_eq!(rpc.requester.expect_delivery(1).body, b"reply");
        rpc.server.expect_nothing_before_sync(1);
    }

    #[test]
    fn a_mandatory_reply_to_nobody_comes_back() {
        leveret_only!("before 4.2 no reply counted as routed");
        let mut rpc = Rpc::new();
        let address = rpc.request("first");
        rpc.requester.close_channel(1);
        rpc.server.send_publish(1, &publish("", &address).on("mandatory"), NONE, b"x");
        assert_eq!(rpc.server.expect_message(1, "basic.return").method.number("reply-code"), 312);
    }
}
