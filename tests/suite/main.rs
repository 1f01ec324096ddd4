//! Tests of the whole broker from outside: the binary is started and spoken to over TCP.
//!
//! `conformance` has a test for each rule of the protocol and of RabbitMQ's reading of it; `bad_input` and
//! `memory` try what hostile, broken and absent clients do; `process` is the life of the process, `restart` and
//! `durability` what outlives it, and `kill` what is left when it is killed under load; `lapin` is what an ordinary
//! client library sees.

mod bad_input;
mod check;
mod conformance;
mod ctl;
mod durability;
mod kill;
mod lapin;
mod memory;
mod process;
mod restart;
mod support;
