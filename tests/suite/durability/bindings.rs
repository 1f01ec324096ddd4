//! Bindings, and what they reach.

use crate::durability::node::in_every_way;
use crate::durability::publisher::*;
use crate::support::peer::*;
use crate::support::props::headers;
use crate::support::unique;
use crate::support::wire::*;

/// Whether a message published there reaches the queue, which is empty before and after.
#[track_caller]
pub fn reaches(peer: &mut Peer, exchange: &str, key: &str, properties: &[u8], queue: &str) -> bool {
    peer.send_publish(1, &publish(exchange, key).on("mandatory"), properties, b"probe");
    peer.send(1, &get(queue).on("no-ack"));
    loop {
        let reply = peer.next_method(1);
        match reply.name {
            "basic.return" => drop(peer.expect_content(1, reply)),
            "basic.get-ok" => {
                peer.expect_content(1, reply);
                return true;
            }
            name => {
                assert_eq!(name, "basic.get-empty");
                return false;
            }
        }
    }
}

/// Declares an exchange and a queue, or two exchanges.
#[track_caller]
fn declare_ends(peer: &mut Peer, source: &Method, destination: &Method) {
    peer.call(1, source);
    peer.call(1, destination);
}

#[test]
fn a_binding_is_as_durable_as_both_its_ends() {
    in_every_way(|node| {
        let durabilities = [(true, true), (true, false), (false, true), (false, false)];
        let ends = durabilities.map(|(source, destination)| {
            let (exchange, queue) = (unique("x"), unique("q"));
            let declare_exchange = exchange_declare(&exchange, "direct").bit("durable", source);
            let declare_queue = queue_declare(&queue).bit("durable", destination);
            (declare_exchange, declare_queue, exchange, queue)
        });
        let mut peer = node.peer();
        for (declare_exchange, declare_queue, exchange, queue) in &ends {
            declare_ends(&mut peer, declare_exchange, declare_queue);
            peer.call(1, &queue_bind(queue, exchange, "k"));
            assert!(reaches(&mut peer, exchange, "k", &persistent(), queue));
        }
        node.restart();
        let mut peer = node.peer();
        for (number, (declare_exchange, declare_queue, exchange, queue)) in ends.iter().enumerate() {
            declare_ends(&mut peer, declare_exchange, declare_queue);
            let bound = reaches(&mut peer, exchange, "k", &persistent(), queue);
            assert_eq!(bound, number == 0, "durable: {:?}", durabilities[number]);
        }
    });
}

#[test]
fn a_binding_between_exchanges_is_as_durable_as_both_its_ends() {
    in_every_way(|node| {
        let durabilities = [(true, true), (true, false), (false, true), (false, false)];
        let ends = durabilities.map(|(source, destination)| {
            let (from, to) = (unique("from"), unique("to"));
            let declare_from = exchange_declare(&from, "topic").bit("durable", source);
            let declare_to = exchange_declare(&to, "fanout").bit("durable", destination);
            (declare_from, declare_to, from, to)
        });
        let mut peer = node.peer();
        let queue = unique("q");
        peer.call(1, &durable_queue(&queue));
        for (declare_from, declare_to, from, to) in &ends {
            declare_ends(&mut peer, declare_from, declare_to);
            peer.call(1, &exchange_bind(to, from, "*.k"));
        }
        node.restart();
        let mut peer = node.peer();
        for (number, (declare_from, declare_to, from, to)) in ends.iter().enumerate() {
            declare_ends(&mut peer, declare_from, declare_to);
            peer.call(1, &queue_bind(&queue, to, ""));
            let bound = reaches(&mut peer, from, "a.k", &persistent(), &queue);
            assert_eq!(bound, number == 0, "durable: {:?}", durabilities[number]);
        }
    });
}

#[test]
fn every_binding_of_a_pair_comes_back_with_its_key_and_arguments() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (topic, matching, queue) = (unique("topic"), unique("headers"), unique("q"));
        peer.call(1, &durable_exchange(&topic, "topic"));
        peer.call(1, &durable_exchange(&matching, "headers"));
        peer.call(1, &durable_queue(&queue));
        for key in ["a.*", "b.#", "", "c"] {
            peer.call(1, &queue_bind(&queue, &topic, key));
        }
        peer.call(1, &queue_unbind(&queue, &topic, "c"));
        let all = [("x-match", s("all")), ("a", i(1)), ("b", s("two"))];
        let any = [("x-match", s("any")), ("c", Value::Bool(true)), ("d", Value::Void)];
        peer.call(1, &queue_bind(&queue, &matching, "").args(all.clone()));
        peer.call(1, &queue_bind(&queue, &matching, "").args(any));
        node.restart();
        let mut peer = node.peer();
        for (key, bound) in [("a.x", true), ("b.x.y", true), ("", true), ("c", false), ("a.x.y", false)] {
            assert_eq!(reaches(&mut peer, &topic, key, &persistent(), &queue), bound, "key {key:?}");
        }
        let both = headers([("a", i(1)), ("b", s("two"))]);
        for (properties, bound) in
            [(both.clone(), true), (headers([("a", i(1))]), false), (headers([("c", Value::Bool(true))]), true)]
        {
            assert_eq!(reaches(&mut peer, &matching, "", &properties, &queue), bound, "{properties:?}");
        }
        peer.call(1, &queue_unbind(&queue, &matching, "").args(all));
        assert!(!reaches(&mut peer, &matching, "", &both, &queue), "what came back can be unbound");
    });
}

#[test]
fn exchanges_bound_in_a_cycle_come_back() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let names = [unique("a"), unique("b"), unique("c")];
        let queue = unique("q");
        peer.call(1, &durable_queue(&queue));
        names.iter().for_each(|name| drop(peer.call(1, &durable_exchange(name, "fanout"))));
        for at in 0..3 {
            peer.call(1, &exchange_bind(&names[(at + 1) % 3], &names[at], ""));
        }
        peer.call(1, &queue_bind(&queue, &names[2], ""));
        node.restart();
        let mut peer = node.peer();
        for name in &names {
            assert!(reaches(&mut peer, name, "", &persistent(), &queue));
            assert_eq!(peer.get_no_ack(1, &queue), None, "one copy");
        }
    });
}

#[test]
fn an_alternate_exchange_does_its_work_after_a_restart() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (exchange, alternate, queue) = (unique("x"), unique("alternate"), unique("q"));
        peer.call(1, &durable_exchange(&alternate, "fanout"));
        peer.call(1, &durable_exchange(&exchange, "direct").args([("alternate-exchange", s(&alternate))]));
        peer.call(1, &durable_queue(&queue));
        peer.call(1, &queue_bind(&queue, &alternate, ""));
        node.restart();
        assert!(reaches(&mut node.peer(), &exchange, "nobody", &persistent(), &queue));
    });
}

#[test]
fn an_alternate_exchange_that_was_transient_is_gone_until_it_is_declared_again() {
    in_every_way(|node| {
        let mut peer = node.peer();
        let (exchange, alternate, queue) = (unique("x"), unique("alternate"), unique("q"));
        peer.call(1, &exchange_declare(&alternate, "fanout"));
        peer.call(1, &durable_exchange(&exchange, "direct").args([("alternate-exchange", s(&alternate))]));
        peer.call(1, &durable_queue(&queue));
        peer.call(1, &queue_bind(&queue, &alternate, ""));
        node.restart();
        let mut peer = node.peer();
        assert!(!reaches(&mut peer, &exchange, "nobody", &persistent(), &queue));
        peer.call(1, &exchange_declare(&alternate, "fanout"));
        peer.call(1, &queue_bind(&queue, &alternate, ""));
        assert!(reaches(&mut peer, &exchange, "nobody", &persistent(), &queue));
    });
}
