//! Delayed messages, as the well-known plugin for RabbitMQ has them.

mod declare;
mod routing;
mod timing;

use std::time::{Duration, Instant};

use crate::support::peer::*;
use crate::support::props::headers;
use crate::support::unique;
use crate::support::wire::*;

/// So much later than it is due may a message come on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(5);

/// A delayed exchange of some type, and an exclusive queue that is bound to it and consumed from.
struct Delayed {
    peer: Peer,
    exchange: String,
    queue: String,
    started: Instant,
}

impl Delayed {
    #[track_caller]
    fn new(delayed_type: &str, key: &str) -> Delayed {
        let mut peer = Peer::connect();
        let exchange = unique("delayed");
        peer.call(1, &delayed(&exchange, delayed_type).on("auto-delete"));
        let queue = peer.exclusive_queue(1);
        peer.call(1, &queue_bind(&queue, &exchange, key));
        peer.send(1, &consume(&queue, "c").on("no-ack"));
        peer.expect(1, "basic.consume-ok");
        Delayed { peer, exchange, queue, started: Instant::now() }
    }

    #[track_caller]
    fn publish(&mut self, key: &str, delay: Value, body: &str) {
        self.peer.send_publish(1, &publish(&self.exchange, key), &headers([("x-delay", delay)]), body.as_bytes());
    }

    /// The next message, which comes when so many milliseconds have passed since the start, not earlier.
    #[track_caller]
    fn expect_at(&mut self, after_ms: u64, body: &str) -> Message {
        let message = self.peer.expect_delivery(1);
        let passed = self.started.elapsed();
        assert_eq!(message.body_text(), body);
        assert!(passed >= Duration::from_millis(after_ms), "{body} came after {passed:?}");
        assert!(passed < Duration::from_millis(after_ms) + PATIENCE, "{body} came after {passed:?}");
        message
    }
}

/// Declares a delayed exchange that routes as this type.
fn delayed(exchange: &str, delayed_type: &str) -> Method {
    exchange_declare(exchange, "x-delayed-message").args([("x-delayed-type", s(delayed_type))])
}
