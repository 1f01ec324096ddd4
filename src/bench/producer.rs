//! Producers, which encode their messages once and write them over and over, in large blocks.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, confirm};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::client::{CHANNEL, Client};
use super::error::{BenchError, Result};
use super::load::{Load, Progress};
use super::message::Message;
use crate::wire::hot::{ACK, CLASS_BASIC, NACK, Settle};

/// About how many bytes are written at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// Blocks that are written in turn where not all messages are alike.
const BLOCKS: usize = 32;
/// How often a producer whose bytes are not taken looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// How long a producer that is to end waits for its last bytes to be taken.
const END_WAIT: Duration = Duration::from_secs(1);
/// How long one that is to hold still does before it looks again.
const PAUSE: Duration = Duration::from_micros(200);
/// Messages that a producer with a rate writes in turn where not all are alike.
const VARIANTS: usize = 256;
/// How often a producer with a rate writes what is due.
const TICK: Duration = Duration::from_millis(1);

/// Encoded publishes.
struct Block {
    bytes: Vec<u8>,
    messages: u64,
}

/// Encodes the messages of one producer.
struct Encoder<'a> {
    load: &'a Load,
    producer: u32,
    frame_max: usize,
    random: StdRng,
    encoded: u64,
    body: Vec<u8>,
}

impl<'a> Encoder<'a> {
    fn new(load: &'a Load, producer: u32, frame_max: usize) -> Encoder<'a> {
        let random = StdRng::seed_from_u64(producer.into());
        Encoder { load, producer, frame_max, random, encoded: 0, body: vec![b'x'; load.body_bytes] }
    }

    fn append(&mut self, out: &mut Vec<u8>) {
        let topology = self.load.topology();
        let route = if self.load.random_keys { self.random.random_range(0..topology.routes()) } else { self.producer };
        let mut properties = self.load.props.of(u64::from(self.producer) << 32 | self.encoded);
        if self.load.durable {
            properties = properties.with_delivery_mode(2);
        }
        if self.load.priorities > 0 {
            let highest = (self.load.priorities - 1).min(u8::MAX.into()) as u8;
            properties = properties.with_priority(self.random.random_range(0..=highest));
        }
        if self.load.expirations > 0 {
            let more_ms = u64::from(self.random.random_range(0..self.load.expirations));
            properties = properties.with_expiration((self.load.expiration_min_ms + more_ms).to_string().into());
        }
        let exchange = topology.exchange();
        let routing_key = &topology.key(route % topology.routes());
        Message { exchange, routing_key, properties, body: &self.body }.publish(out, self.frame_max);
        self.encoded += 1;
    }

    fn block(&mut self, messages_max: u64) -> Block {
        let mut block = Block { bytes: Vec::with_capacity(BLOCK_BYTES + self.body.len() + 512), messages: 0 };
        while block.messages == 0
            || (block.messages < messages_max
                && block.bytes.len() + block.bytes.len() / block.messages as usize <= BLOCK_BYTES)
        {
            self.append(&mut block.bytes);
            block.messages += 1;
        }
        block
    }

    /// What is written over and over: one block, or several if messages differ.
    fn blocks(&mut self, messages_max: u64) -> Vec<Block> {
        let blocks = if self.load.is_uniform() { 1 } else { BLOCKS };
        (0..blocks).map(|_| self.block(messages_max)).collect()
    }
}

/// Publishes so many messages, and waits until the broker has taken them all in.
pub fn fill(load: &Load, producer: u32, mut client: Client, messages: u64) -> Result<()> {
    let mut encoder = Encoder::new(load, producer, client.frame_max);
    let blocks = encoder.blocks(messages);
    let mut left = messages;
    for block in blocks.iter().cycle() {
        if block.messages > left {
            break;
        }
        client.send(&block.bytes)?;
        left -= block.messages;
    }
    if left > 0 {
        client.send(&encoder.block(left).bytes)?;
    }
    client.close()
}

/// Publishes as fast as it goes, or as confirms come.
pub fn flood(load: &Load, producer: u32, mut client: Client, progress: &Progress) -> Result<()> {
    let mut confirms = Confirms::select(load, &mut client)?;
    let mut encoder = Encoder::new(load, producer, client.frame_max);
    let messages_max = confirms.as_ref().map_or(u64::MAX, |confirms| confirms.window.div_ceil(2));
    let blocks = encoder.blocks(messages_max);
    client.set_write_wait(LOOK)?;
    for block in blocks.iter().cycle() {
        while progress.has_too_many() && !progress.no_more.load(Relaxed) {
            thread::sleep(PAUSE);
        }
        if progress.no_more.load(Relaxed) {
            break;
        }
        if let Some(confirms) = &mut confirms
            && !confirms.make_room(block.messages, &mut client, progress)?
        {
            break;
        }
        if !client.send_while(&block.bytes, end_in_time(progress))? {
            return Ok(());
        }
        progress.published.fetch_add(block.messages, Relaxed);
    }
    client.close()
}

/// Whether a producer that is held up should go on trying: until it has been told to end, and for a moment longer.
fn end_in_time(progress: &Progress) -> impl FnMut() -> bool {
    let mut told = None;
    move || !progress.no_more.load(Relaxed) || told.get_or_insert_with(Instant::now).elapsed() < END_WAIT
}

/// Publishes at the load's rate, one message a write, over all connections in turn. Whatever is due is written once in
/// a tick, so that the connections' messages come apart from each other but the generator need not wake for each.
pub fn pace(load: &Load, mut clients: Vec<Client>, progress: &Progress) -> Result<()> {
    if load.confirms > 0 {
        return Err(BenchError::new("a rate and confirms do not go together"));
    }
    let mut messages = Vec::new();
    for (n, client) in clients.iter_mut().enumerate() {
        let mut encoder = Encoder::new(load, n as u32, client.frame_max);
        let variants = if load.is_uniform() { 1 } else { VARIANTS };
        messages.push((0..variants).map(|_| encoder.block(1).bytes).collect::<Vec<_>>());
        client.set_write_wait(LOOK)?;
    }
    let began = Instant::now();
    let mut sent = 0;
    'running: while !progress.no_more.load(Relaxed) {
        let due = (began.elapsed().as_secs_f64() * load.rate_per_s as f64) as u64;
        for n in sent..due {
            let turn = (n % clients.len() as u64) as usize;
            let variants = &messages[turn];
            let message = &variants[(n / clients.len() as u64) as usize % variants.len()];
            if !clients[turn].send_while(message, end_in_time(progress))? {
                break 'running;
            }
        }
        progress.published.fetch_add(due - sent, Relaxed);
        sent = due;
        thread::sleep(TICK);
    }
    clients.into_iter().try_for_each(Client::close)
}

/// Publisher confirms of one producer.
struct Confirms {
    window: u64,
    sent: u64,
    /// All up to here are confirmed, or so many are, where confirms come one by one.
    settled: u64,
}

impl Confirms {
    fn select(load: &Load, client: &mut Client) -> Result<Option<Confirms>> {
        if load.confirms == 0 {
            return Ok(None);
        }
        let select = confirm::Select { nowait: false };
        client.call(CHANNEL, AMQPClass::Confirm(confirm::AMQPMethod::Select(select)))?;
        client.set_read_wait(LOOK)?;
        Ok(Some(Confirms { window: load.confirms, sent: 0, settled: 0 }))
    }

    /// Waits until so many more may be sent. Returns false if the load ends first.
    fn make_room(&mut self, messages: u64, client: &mut Client, progress: &Progress) -> Result<bool> {
        while self.sent + messages > self.settled + self.window || client.has_frame() {
            if progress.no_more.load(Relaxed) {
                return Ok(false);
            }
            let Some(frame) = client.poll_frame()? else { continue };
            let Some((CLASS_BASIC, id @ (ACK | NACK))) = frame.method() else { continue };
            let Some(settle) = Settle::read(id, frame.payload) else { continue };
            if id == NACK {
                return Err(BenchError::new("the broker refused a message (basic.nack)"));
            }
            self.settled = if settle.multiple { self.settled.max(settle.delivery_tag) } else { self.settled + 1 };
        }
        self.sent += messages;
        Ok(true)
    }
}
