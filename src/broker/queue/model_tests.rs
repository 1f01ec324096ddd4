//! Queues, consumers and channel limits against a model with one entry a message.
//!
//! [`World`](world::World) does to queues what connections do to them; [`model`] holds what must come of it and says
//! what is wrong. [`traps`] are the single cases that have names, [`threads`] the same under contention.

mod commands;
mod disk_traps;
mod model;
mod rules;
mod threads;
mod traps;
mod world;

use std::sync::Arc;

use self::commands::Command;
use self::world::World;
use super::{Queue, QueueDefinition};
use crate::model_testing::check_seeds;
use crate::storage::chunk::{Chunk, OpenChunk};
use crate::storage::record::{append_prefix, flags};

fn new_queue(name: &str, auto_delete: bool) -> Arc<Queue> {
    Queue::new(definition(name, false, auto_delete))
}

fn definition(name: &str, durable: bool, auto_delete: bool) -> QueueDefinition {
    QueueDefinition {
        vhost: "/".into(),
        name: name.into(),
        durable,
        auto_delete,
        exclusive_owner: None,
        arguments: Default::default(),
    }
}

/// A chunk of messages whose bodies begin with their ids and have these lengths, at least 4.
fn chunk_of(messages: impl IntoIterator<Item = (u32, usize)>) -> Arc<Chunk> {
    chunk_with(messages, |_| false)
}

fn chunk_with(messages: impl IntoIterator<Item = (u32, usize)>, is_persistent: impl Fn(u32) -> bool) -> Arc<Chunk> {
    let mut open = OpenChunk::default();
    for (id, length) in messages {
        let flags = if is_persistent(id) { flags::PERSISTENT } else { 0 };
        let mut body = vec![0; length];
        body[..4].copy_from_slice(&id.to_le_bytes());
        let mut prefix = Vec::new();
        append_prefix(&mut prefix, flags, b"", b"q", &[0, 0], length as u32);
        open.push(&prefix, &body);
    }
    open.close()
}

fn id_of(body: &[u8]) -> u32 {
    u32::from_le_bytes(*body.first_chunk().expect("a body begins with the message's id"))
}

fn run(commands: &[Command]) -> Result<(), String> {
    run_in(World::new(), commands)
}

fn run_in(mut world: World, commands: &[Command]) -> Result<(), String> {
    for command in commands {
        world.carry_out(command)?;
        world.check()?;
    }
    world.check_end()
}

#[test]
fn messages_are_where_a_plain_list_says() {
    check_seeds(0..600, commands::of_all_kinds, run);
}

#[test]
fn messages_on_disk_are_where_a_plain_list_says() {
    for resident_bytes in [0, 200, 2000] {
        check_seeds(30_000..30_300, commands::with_a_disk, |commands| {
            run_in(World::on_disk(resident_bytes, 3), commands)
        });
    }
}

#[test]
fn long_backlogs_on_disk_are_dealt_in_fair_blocks() {
    check_seeds(40_000..40_010, commands::with_a_long_backlog, |commands| run_in(World::on_disk(500, 20), commands));
}

#[test]
fn a_channel_limit_spans_queues_and_leaks_nothing() {
    check_seeds(10_000..10_300, commands::under_a_shared_limit, run);
}

#[test]
fn long_backlogs_are_dealt_in_fair_blocks() {
    check_seeds(20_000..20_020, commands::with_a_long_backlog, run);
}
