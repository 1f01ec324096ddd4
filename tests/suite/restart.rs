//! What is there after the broker was stopped, or killed, and started again on the same data directory.

use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::wire::*;

/// Both ends of a process that its data must outlive.
const ENDS: [fn(&mut Broker); 2] = [Broker::restart, Broker::crash];

fn durable_exchange(name: &str, kind: &str) -> Method {
    exchange_declare(name, kind).on("durable")
}

fn durable_queue(name: &str) -> Method {
    queue_declare(name).on("durable")
}

#[track_caller]
fn expect_no_exchange(broker: &Broker, name: &str) {
    let mut peer = Login::new().connect(broker.address);
    let text = format!("NOT_FOUND - no exchange '{name}' in vhost '/'");
    peer.refused(1, &exchange_declare(name, "").on("passive"), 404, &text);
}

#[track_caller]
fn expect_no_queue(broker: &Broker, name: &str) {
    let mut peer = Login::new().connect(broker.address);
    let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
    peer.refused(1, &queue_declare(name).on("passive"), 404, &text);
}

#[test]
fn durable_queues_and_exchanges_are_there_with_all_that_they_were_declared_with() {
    for end in ENDS {
        let mut broker = Broker::start(Launch::new());
        let exchange = || durable_exchange("x", "topic").on("internal").args([("alternate-exchange", s("amq.fanout"))]);
        let queue = || durable_queue("q").args([("x-max-length", i(5))]);
        let mut peer = Login::new().connect(broker.address);
        peer.call(1, &exchange());
        peer.call(1, &queue());
        peer.call(1, &exchange_declare("transient", "fanout"));
        peer.call(1, &queue_declare("transient"));
        peer.call(1, &durable_queue("mine").on("exclusive"));
        end(&mut broker);

        let mut peer = Login::new().connect(broker.address);
        peer.call(1, &exchange());
        assert_eq!(peer.call(1, &queue()).number("message-count"), 0);
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but \
                    current is the value '5' of type 'signedint'";
        peer.refused(1, &durable_queue("q"), 406, text);
        expect_no_exchange(&broker, "transient");
        expect_no_queue(&broker, "transient");
        expect_no_queue(&broker, "mine");
    }
}

#[test]
fn messages_take_the_way_that_they_took_before() {
    for end in ENDS {
        let mut broker = Broker::start(Launch::new());
        let mut peer = Login::new().connect(broker.address);
        for (name, kind) in [("first", "topic"), ("second", "direct"), ("h", "headers")] {
            let alternate = [("alternate-exchange", s("amq.fanout"))];
            peer.call(1, &durable_exchange(name, kind).args(alternate));
        }
        for name in ["by-key", "by-header", "alternate"] {
            peer.call(1, &durable_queue(name));
        }
        peer.call(1, &exchange_bind("second", "first", "a.#"));
        peer.call(1, &queue_bind("by-key", "second", "a.b"));
        peer.call(1, &queue_bind("by-header", "h", "").args([("x-match", s("all")), ("n", i(1))]));
        peer.call(1, &queue_bind("by-header", "h", "").args([("x-match", s("all")), ("n", i(2))]));
        peer.call(1, &queue_unbind("by-header", "h", "").args([("x-match", s("all")), ("n", i(2))]));
        peer.call(1, &queue_bind("alternate", "amq.fanout", ""));
        end(&mut broker);

        let mut peer = Login::new().connect(broker.address);
        let headers = |n| crate::support::props::headers([("n", i(n))]);
        peer.publish(1, "first", "a.b", "through two");
        peer.publish(1, "first", "b.b", "unmatched");
        peer.send_publish(1, &publish("h", ""), &headers(1), b"bound");
        peer.send_publish(1, &publish("h", ""), &headers(2), b"unbound");
        assert_eq!(peer.drain(1, "by-key"), ["through two"]);
        assert_eq!(peer.drain(1, "by-header"), ["bound"]);
        assert_eq!(peer.drain(1, "alternate"), ["unmatched", "unbound"]);
    }
}

#[test]
fn what_was_deleted_stays_away() {
    for end in ENDS {
        let mut broker = Broker::start(Launch::new());
        let mut peer = Login::new().connect(broker.address);
        peer.call(1, &durable_exchange("gone", "fanout"));
        peer.call(1, &durable_exchange("auto", "fanout").on("auto-delete"));
        for name in ["gone", "auto", "again"] {
            peer.call(1, &durable_queue(name).bit("auto-delete", name == "auto"));
            peer.call(1, &queue_bind(name, "amq.fanout", ""));
        }
        peer.call(1, &queue_bind("gone", "auto", ""));
        peer.call(1, &exchange_delete("gone"));
        peer.call(1, &queue_delete("gone"));
        peer.consume(1, "auto", "t");
        peer.call(1, &cancel("t"));
        peer.call(1, &queue_delete("again"));
        peer.call(1, &durable_queue("again"));
        end(&mut broker);

        for name in ["gone", "auto"] {
            expect_no_exchange(&broker, name);
            expect_no_queue(&broker, name);
        }
        let mut peer = Login::new().connect(broker.address);
        peer.publish(1, "amq.fanout", "", "not bound any more");
        peer.expect_counts(1, "again", (0, 0));
    }
}

#[test]
fn users_and_virtual_hosts_stay_without_their_flags() {
    for end in ENDS {
        let flags = Launch::new().arg("--user").arg("alice:first").arg("--vhost").arg("test");
        let mut broker = Broker::start(flags);
        Login::new().user("alice", "first").vhost("test").connect(broker.address).close();
        broker.relaunch(|_| Launch::new());
        end(&mut broker);
        Login::new().user("alice", "first").vhost("test").connect(broker.address).close();
        Login::new().connect(broker.address).close();

        broker.relaunch(|_| Launch::new().arg("--user").arg("alice:second"));
        end(&mut broker);
        Login::new().user("alice", "second").vhost("test").connect(broker.address).close();
    }
}

/// As with RabbitMQ: who has changed or removed it does not find it made anew.
#[test]
fn the_default_user_is_made_once() {
    let mut broker = Broker::start(Launch::new().config("default_user = \"root\"\ndefault_pass = \"first\"\n"));
    broker.relaunch(|_| Launch::new().config("default_user = \"guest\"\n"));
    broker.restart();
    Login::new().user("root", "first").connect(broker.address).close();
    let login = Login::new();
    let mut peer = login.started(broker.address);
    peer.send(0, &login.start_ok());
    assert_eq!(peer.expect(0, "connection.close").number("reply-code"), 403);
}

/// A queue that is declared again is another queue: nothing of the old one comes back with it.
#[test]
fn a_name_can_be_used_again_and_again() {
    let mut broker = Broker::start(Launch::new());
    for round in 1..5 {
        let mut peer = Login::new().connect(broker.address);
        peer.call(1, &durable_queue("q").args([("x-max-length", i(round))]));
        peer.call(1, &queue_bind("q", "amq.topic", &format!("round.{round}")));
        ENDS[round as usize % 2](&mut broker);
        let mut peer = Login::new().connect(broker.address);
        peer.call(1, &durable_queue("q").args([("x-max-length", i(round))]));
        peer.publish(1, "amq.topic", &format!("round.{}", round - 1), "not bound any more");
        peer.publish(1, "amq.topic", &format!("round.{round}"), "bound");
        assert_eq!(peer.drain(1, "q"), ["bound"]);
        peer.call(1, &queue_delete("q"));
    }
}

#[test]
fn the_data_directory_is_made_at_start() {
    let mut broker = Broker::start(Launch::new());
    assert!(broker.data_dir().is_dir());
    broker.stop();
    assert!(broker.data_dir().is_dir());
}

#[test]
fn a_broker_that_was_killed_again_and_again_still_starts() {
    let mut broker = Broker::start(Launch::new());
    for round in 0..5 {
        let mut peer = Login::new().connect(broker.address);
        peer.call(1, &durable_queue(&format!("q{round}")));
        broker.crash();
    }
    let mut peer = Login::new().connect(broker.address);
    for round in 0..5 {
        peer.call(1, &queue_declare(&format!("q{round}")).on("passive"));
    }
}
