//! The scenarios of interop/README.md, a module for each of its tables.

use interop_harness::Scenario;

use crate::session::Session;

mod channels;
mod connection;
mod consuming;
mod dead_letters;
mod exchanges;
mod load;
mod messages;
mod publishing;
mod queues;
mod transactions_and_rpc;

pub fn all() -> Vec<Scenario<Session>> {
    let tables = [
        connection::scenarios(),
        channels::scenarios(),
        queues::scenarios(),
        exchanges::scenarios(),
        dead_letters::scenarios(),
        messages::scenarios(),
        publishing::scenarios(),
        consuming::scenarios(),
        transactions_and_rpc::scenarios(),
        load::scenarios(),
    ];
    tables.into_iter().flatten().collect()
}
