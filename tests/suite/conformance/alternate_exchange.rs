//! Sections 1.7 and 0: what no binding matched goes to the alternate exchange.

use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::unique;
use crate::support::wire::*;

/// An exchange with an alternate, in this order.
#[track_caller]
fn declare_with_alternate(peer: &mut Peer, kind: &str, exchange: &str, alternate: &str) {
    peer.call(1, &exchange_declare(exchange, kind).args([("alternate-exchange", s(alternate))]));
}

#[test]
fn what_no_binding_matches_goes_to_the_alternate() {
    let mut peer = Peer::connect();
    let (main, alternate) = (unique("main"), unique("alternate"));
    declare_with_alternate(&mut peer, "direct", &main, &alternate);
    peer.call(1, &exchange_declare(&alternate, "fanout"));
    let (matched, other) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    peer.call(1, &queue_bind(&matched, &main, "k"));
    peer.call(1, &queue_bind(&other, &alternate, ""));
    peer.send_publish(1, &publish(&main, "k").on("mandatory"), NONE, b"matched");
    peer.send_publish(1, &publish(&main, "unmatched").on("mandatory"), NONE, b"unmatched");
    assert_eq!(peer.drain(1, &matched), ["matched"]);
    let message = peer.get_no_ack(1, &other).expect("the unmatched message");
    assert_eq!(message.body, b"unmatched");
    assert_eq!(message.method.text("exchange"), main, "the exchange it was published to");
    assert_eq!(message.method.text("routing-key"), "unmatched");
    peer.expect_nothing_before_sync(1);
    peer.call(1, &exchange_delete(&main));
    peer.call(1, &exchange_delete(&alternate));
}

#[test]
fn an_alternate_that_routes_nowhere_is_no_route() {
    let mut peer = Peer::connect();
    let (main, alternate) = (unique("main"), unique("alternate"));
    declare_with_alternate(&mut peer, "direct", &main, &alternate);
    let check_returned = |peer: &mut Peer| {
        peer.send_publish(1, &publish(&main, "k").on("mandatory"), NONE, b"x");
        let returned = peer.expect_message(1, "basic.return");
        assert_eq!(returned.method.text("exchange"), main);
    };
    check_returned(&mut peer); // the alternate does not exist
    peer.call(1, &exchange_declare(&alternate, "fanout"));
    check_returned(&mut peer);
    peer.call(1, &exchange_delete(&main));
    peer.call(1, &exchange_delete(&alternate));
}

#[test]
fn alternates_form_chains_and_circles() {
    let mut peer = Peer::connect();
    let names: Vec<String> = (0..3).map(|_| unique("circle")).collect();
    for at in 0..3 {
        declare_with_alternate(&mut peer, "direct", &names[at], &names[(at + 1) % 3]);
    }
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &names[2], "k"));
    for name in &names {
        peer.publish(1, name, "k", name);
    }
    assert_eq!(peer.drain(1, &queue), names);
    peer.send_publish(1, &publish(&names[0], "nowhere").on("mandatory"), NONE, b"x");
    peer.expect_message(1, "basic.return");
    for name in &names {
        peer.call(1, &exchange_delete(name));
    }
}

#[test]
fn every_exchange_on_the_way_has_its_alternate() {
    let mut peer = Peer::connect();
    let (first, second, alternate) = (unique("first"), unique("second"), unique("alternate"));
    peer.call(1, &exchange_declare(&first, "fanout"));
    declare_with_alternate(&mut peer, "direct", &second, &alternate);
    peer.call(1, &exchange_declare(&alternate, "fanout").on("internal"));
    peer.call(1, &exchange_bind(&second, &first, ""));
    let (direct, fallen) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    peer.call(1, &queue_bind(&direct, &first, ""));
    peer.call(1, &queue_bind(&fallen, &alternate, ""));
    peer.publish(1, &first, "nothing of the second", "both");
    assert_eq!(peer.drain(1, &direct), ["both"]);
    assert_eq!(peer.drain(1, &fallen), ["both"]);
    for name in [first, second, alternate] {
        peer.call(1, &exchange_delete(&name));
    }
}

#[test]
fn a_binding_to_an_exchange_that_leads_nowhere_is_still_a_match() {
    let mut peer = Peer::connect();
    let (main, dead_end, alternate) = (unique("main"), unique("dead-end"), unique("alternate"));
    declare_with_alternate(&mut peer, "fanout", &main, &alternate);
    peer.call(1, &exchange_declare(&dead_end, "fanout"));
    peer.call(1, &exchange_declare(&alternate, "fanout"));
    peer.call(1, &exchange_bind(&dead_end, &main, ""));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, &alternate, ""));
    peer.publish(1, &main, "", "x");
    peer.expect_counts(1, &queue, (0, 0));
    peer.call(1, &exchange_unbind(&dead_end, &main, ""));
    peer.publish(1, &main, "", "y");
    assert_eq!(peer.drain(1, &queue), ["y"]);
    for name in [main, dead_end, alternate] {
        peer.call(1, &exchange_delete(&name));
    }
}

#[test]
fn the_default_exchange_is_no_alternate() {
    let mut peer = Peer::connect();
    let main = unique("main");
    declare_with_alternate(&mut peer, "direct", &main, "");
    let queue = peer.exclusive_queue(1);
    peer.send_publish(1, &publish(&main, &queue).on("mandatory"), NONE, b"x");
    peer.expect_message(1, "basic.return");
    peer.expect_counts(1, &queue, (0, 0));
    peer.call(1, &exchange_delete(&main));
}
