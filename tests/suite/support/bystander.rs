//! Another client, by whom to see that nobody but the offender notices.

use std::net::SocketAddr;

use super::broker;
use super::peer::{Login, Peer, consume};

/// Another client of the same broker, at work all the time.
pub struct Bystander {
    pub peer: Peer,
    pub queue: String,
    address: SocketAddr,
    count: u64,
}

impl Bystander {
    pub fn of(address: SocketAddr) -> Self {
        let mut peer = Login::new().connect(address);
        let queue = peer.exclusive_queue(1);
        peer.call(1, &consume(&queue, "bystander").on("no-ack"));
        Self { peer, queue, address, count: 0 }
    }

    pub fn of_shared() -> Self {
        Self::of(broker::shared())
    }

    /// Its connection still works.
    #[track_caller]
    pub fn works(&mut self) {
        self.count += 1;
        let body = self.count.to_string();
        self.peer.publish(1, "", &self.queue, &body);
        assert_eq!(self.peer.expect_delivery(1).body_text(), body);
    }

    /// Its connection still works, and so does a new one.
    #[track_caller]
    pub fn and_newcomers_work(&mut self) {
        self.works();
        Login::new().connect(self.address).close();
        broker::assert_shared_is_healthy();
    }
}
