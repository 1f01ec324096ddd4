//! A client that knows which of its messages are confirmed.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use crate::support::peer::*;
use crate::support::props::props;
use crate::support::wire::*;

/// Channel 1 is in confirm mode, channel 2 is not.
pub struct Publisher {
    peer: Peer,
    published: u64,
    unconfirmed: BTreeSet<u64>,
}

impl Publisher {
    #[track_caller]
    pub fn on(mut peer: Peer) -> Self {
        peer.call(1, &method("confirm.select"));
        peer.open_channel(2);
        Self { peer, published: 0, unconfirmed: BTreeSet::new() }
    }

    #[track_caller]
    pub fn publish_with(&mut self, exchange: &str, key: &str, properties: &[u8], body: &[u8]) {
        self.published += 1;
        self.unconfirmed.insert(self.published);
        self.peer.send_publish(1, &publish(exchange, key), properties, body);
    }

    /// Publishes to a queue and does not wait for the confirm.
    #[track_caller]
    pub fn persistent(&mut self, queue: &str, body: &str) {
        self.publish_with("", queue, &persistent(), body.as_bytes());
    }

    #[track_caller]
    pub fn transient(&mut self, queue: &str, body: &str) {
        self.publish_with("", queue, &props().octet("delivery-mode", 1).bytes(), body.as_bytes());
    }

    /// Persistent messages to a queue, all of them confirmed.
    #[track_caller]
    pub fn keep(&mut self, queue: &str, bodies: &[&str]) {
        bodies.iter().for_each(|body| self.persistent(queue, body));
        self.wait();
    }

    /// Waits until everything is confirmed.
    #[track_caller]
    pub fn wait(&mut self) {
        while !self.unconfirmed.is_empty() {
            let confirm = self.peer.expect(1, "basic.ack");
            let tag = confirm.number("delivery-tag");
            if confirm.bit("multiple") {
                self.unconfirmed = self.unconfirmed.split_off(&(tag + 1));
            } else {
                assert!(self.unconfirmed.remove(&tag), "{tag} is confirmed twice or was never published");
            }
        }
    }

    /// What happened to the queue before, acknowledgements too, will be there after a kill: a message behind it is
    /// confirmed. It is taken away again, which may or may not be kept.
    #[track_caller]
    pub fn settle(&mut self, queue: &str) {
        self.keep(queue, &["fence"]);
    }
}

impl Deref for Publisher {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl DerefMut for Publisher {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

/// The properties of a persistent message and nothing else.
pub fn persistent() -> Vec<u8> {
    props().octet("delivery-mode", 2).bytes()
}

pub fn durable_queue(queue: &str) -> Method {
    queue_declare(queue).on("durable")
}

pub fn durable_exchange(exchange: &str, kind: &str) -> Method {
    exchange_declare(exchange, kind).on("durable")
}
