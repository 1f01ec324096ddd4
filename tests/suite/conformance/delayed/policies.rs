//! What policies have queues and exchanges hold back, and retries.

use std::time::{Duration, Instant};

use crate::leveret_only;
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::props::{headers, props};
use crate::support::wire::*;

const DEFINITIONS: &str = r#"{
  "policies": [
    {"vhost": "/", "name": "d", "pattern": "^delaying", "apply-to": "all", "definition": {"delayed-message": true}},
    {"vhost": "/", "name": "r", "pattern": "^retrying", "apply-to": "queues",
     "definition": {"retry": {"attempts": 2, "backoff": [200, 400]}, "dead-letter-exchange": "",
                    "dead-letter-routing-key": "dead"}}
  ]
}"#;

#[track_caller]
fn start() -> (Broker, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("definitions.json");
    std::fs::write(&path, DEFINITIONS).expect("a file");
    let config = format!("load_definitions = \"{}\"\n", path.display());
    (Broker::start(Launch::new().config(&config)), directory)
}

fn persistent_for(delay_ms: i32) -> Vec<u8> {
    props().octet("delivery-mode", 2).headers([("x-delay", i(delay_ms))]).bytes()
}

#[test]
fn a_queue_holds_back_what_has_a_delay() {
    leveret_only!("it has no such policy");
    let (broker, _directory) = start();
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("delaying").on("durable"));
    let started = Instant::now();
    for (delay_ms, body) in [(600, "c"), (0, "a"), (300, "b")] {
        peer.send_publish(1, &publish("", "delaying"), &persistent_for(delay_ms), body.as_bytes());
    }
    assert_eq!(peer.drain(1, "delaying"), ["a"]);
    peer.consume(1, "delaying", "c");
    for (after_ms, body) in [(300, "b"), (600, "c")] {
        let message = peer.expect_delivery(1);
        assert!(started.elapsed() >= Duration::from_millis(after_ms));
        assert_eq!((message.body_text(), lookup(&message.headers(), "x-delay")), (body, &i(-(after_ms as i32))));
    }
}

#[test]
fn an_exchange_holds_back_what_has_a_delay() {
    leveret_only!("it has no such policy");
    let (broker, _directory) = start();
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &exchange_declare("delaying", "topic"));
    let queue = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&queue, "delaying", "#"));
    for (delay_ms, body) in [(400, "b"), (0, "a")] {
        peer.send_publish(1, &publish("delaying", "k"), &headers([("x-delay", i(delay_ms))]), body.as_bytes());
    }
    assert_eq!(peer.drain(1, &queue), ["a"]);
    peer.wait_for_counts(1, &queue, (1, 0));
    assert_eq!(peer.drain(1, &queue), ["b"]);
}

#[test]
fn a_rejected_message_is_tried_again_and_then_dead_lettered() {
    leveret_only!("it has no such policy");
    let (mut broker, _directory) = start();
    let mut peer = Login::new().connect(broker.address);
    for queue in ["retrying", "dead"] {
        peer.call(1, &queue_declare(queue).on("durable"));
    }
    peer.call(1, &method("confirm.select"));
    peer.send_publish(1, &publish("", "retrying"), &persistent_for(0), b"x");
    peer.expect(1, "basic.ack");
    for (count, backoff_ms) in [(0, 200), (1, 400), (2, 0)] {
        peer.wait_for_counts(1, "retrying", (1, 0));
        let message = peer.get(1, "retrying").expect("it is there");
        let counted = message.headers().into_iter().find(|(name, _)| name == "x-retry-count");
        assert_eq!(counted.map(|(_, value)| value), (count > 0).then_some(i(count)));
        assert!(!message.redelivered());
        let rejected = Instant::now();
        peer.send(1, &reject(message.tag()));
        if count == 1 {
            // A message behind it is confirmed, so that the rejection is kept.
            peer.send_publish(1, &publish("", "dead"), &persistent_for(0), b"fence");
            peer.expect(1, "basic.ack");
            assert_eq!(peer.drain(1, "dead"), ["fence"]);
            broker.crash();
            peer = Login::new().connect(broker.address);
            peer.call(1, &method("confirm.select"));
            // What was got may be there again.
            peer.drain(1, "dead");
            // It may not have been moved yet when the broker was killed; then it is back, and rejected once more.
            let is_back = peer.get(1, "retrying").filter(|message| message.redelivered());
            is_back.into_iter().for_each(|message| peer.send(1, &reject(message.tag())));
        }
        if backoff_ms > 0 {
            peer.wait_for_counts(1, "retrying", (1, 0));
            assert!(rejected.elapsed() >= Duration::from_millis(backoff_ms));
        }
    }
    peer.wait_for_counts(1, "dead", (1, 0));
    let dead = peer.get_no_ack(1, "dead").expect("it is there");
    assert_eq!(lookup(&dead.headers(), "x-first-death-reason"), &s("rejected"));
    peer.expect_counts(1, "retrying", (0, 0));
}
