//! What the queues are declared with: numbers from a seed.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::model_testing::Random;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    #[default]
    DropHead,
    RejectPublish,
    RejectPublishDlx,
}

#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub name: String,
    pub is_quorum: bool,
    pub ttl_ms: Option<u64>,
    pub max_length: Option<u64>,
    pub max_bytes: Option<u64>,
    pub overflow: Overflow,
    pub max_priority: u8,
    pub delivery_limit: Option<u32>,
    /// The queue that dead letters go to, by its number.
    pub dead_letters: Option<usize>,
    pub at_least_once: bool,
}

/// The queue that most dead letters go to.
pub const SINK: usize = 3;

/// Three queues with settings of all kinds, and one that more often than not has none.
pub fn all(random: &mut Random) -> Vec<Settings> {
    let sources = (0..SINK).map(|number| source(random, number));
    let mut all: Vec<Settings> = sources.collect();
    let mut sink = if random.one_in(4) { source(random, SINK) } else { Settings::default() };
    if sink.dead_letters == Some(SINK) {
        sink.dead_letters = None;
    }
    all.push(Settings { name: "q3".into(), ..sink });
    let sure: Vec<usize> = all.iter().filter(|of| of.at_least_once).filter_map(|of| of.dead_letters).collect();
    for to in sure {
        let target = &mut all[to];
        if target.overflow == Overflow::RejectPublishDlx {
            // It would send on what it refuses, again and again, as RabbitMQ does.
            target.overflow = Overflow::RejectPublish;
        }
    }
    all
}

fn source(random: &mut Random, number: usize) -> Settings {
    let is_quorum = random.one_in(3);
    let mut maybe = |values: &[u64]| if random.one_in(2) { None } else { Some(random.pick(values)) };
    let (ttl_ms, max_length) = (maybe(&[0, 5, 50, 1000]), maybe(&[0, 2, 6, 20]));
    let (max_bytes, max_priority, delivery_limit) = (maybe(&[100, 3000]), maybe(&[1, 3, 9]), maybe(&[0, 1, 3]));
    let dead_letters = (!random.one_in(5)).then(|| random.pick(&[0, 1, 2, SINK, SINK, SINK, SINK]));
    let at_least_once = is_quorum && dead_letters.is_some() && random.one_in(2);
    let overflow = match random.below(3) {
        _ if at_least_once => Overflow::RejectPublish,
        0 => Overflow::RejectPublish,
        1 if !is_quorum => Overflow::RejectPublishDlx,
        _ => Overflow::DropHead,
    };
    Settings {
        name: format!("q{number}"),
        is_quorum,
        ttl_ms,
        max_length,
        max_bytes,
        overflow,
        max_priority: if is_quorum { 0 } else { max_priority.unwrap_or(0) as u8 },
        delivery_limit: if is_quorum { Some(delivery_limit.unwrap_or(20) as u32) } else { None },
        dead_letters,
        at_least_once,
    }
}

impl Settings {
    pub fn is_limited(&self) -> bool {
        self.max_length.is_some() || self.max_bytes.is_some()
    }

    pub fn drops_head(&self) -> bool {
        self.is_limited() && self.overflow == Overflow::DropHead
    }

    pub fn refuses(&self) -> bool {
        self.is_limited() && self.overflow != Overflow::DropHead
    }

    pub fn dead_letters_refused(&self) -> bool {
        self.is_limited() && self.overflow == Overflow::RejectPublishDlx && self.dead_letters.is_some()
    }

    pub fn counts_returns(&self) -> bool {
        self.is_quorum
    }

    pub fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        let mut number = |name: &str, value: Option<u64>| {
            if let Some(value) = value {
                arguments.insert(name.into(), AMQPValue::LongLongInt(value as i64));
            }
        };
        number("x-message-ttl", self.ttl_ms);
        number("x-max-length", self.max_length);
        number("x-max-length-bytes", self.max_bytes);
        number("x-max-priority", (self.max_priority > 0).then_some(u64::from(self.max_priority)));
        number("x-delivery-limit", self.delivery_limit.map(u64::from));
        let mut text = |name: &str, value: &str| {
            arguments.insert(name.into(), AMQPValue::LongString(value.into()));
        };
        text("x-queue-type", if self.is_quorum { "quorum" } else { "classic" });
        match self.overflow {
            Overflow::DropHead => {}
            Overflow::RejectPublish => text("x-overflow", "reject-publish"),
            Overflow::RejectPublishDlx => text("x-overflow", "reject-publish-dlx"),
        }
        if let Some(to) = self.dead_letters {
            text("x-dead-letter-exchange", "");
            text("x-dead-letter-routing-key", &format!("q{to}"));
        }
        if self.at_least_once {
            text("x-dead-letter-strategy", "at-least-once");
        }
        arguments
    }
}
