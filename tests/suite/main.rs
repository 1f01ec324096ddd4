//! Tests of the whole broker from outside: the binary is started and spoken to over TCP.
//!
//! `conformance` has a test for each rule of the protocol and of RabbitMQ's reading of it, `bad_input` what
//! hostile and broken clients do, `process` the life of the process, `lapin` what an ordinary client library
//! sees.

mod bad_input;
mod conformance;
mod lapin;
mod process;
mod support;
