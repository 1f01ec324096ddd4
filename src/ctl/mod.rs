//! `leveret ctl`: commands to a running broker, over a local socket.
//!
//! The socket is a file that only the broker's own user can open: who can, may do everything. A connection carries one
//! request and its answer, each line a JSON value:
//!
//! ```text
//!   {"vhost":"/","command":{"listing":{"list_queues":{"columns":["name","messages"]}}}}
//!   ◀─ {"columns":["name","messages"]}
//!   ◀─ {"row":["q",3]}
//!   ◀─ {"done":{"message":null}}                 or {"refused":{"status":"no_user","text":"…"}}
//! ```
//!
//! [`commands`] says what there is to ask; each command is at the same time what the command line takes, what the request
//! carries, and what is done. [`server`] is the broker's end, [`client`] the other, [`table`] prints answers.

pub mod client;
pub mod commands;
mod json;
pub mod request;
pub mod server;
pub mod socket;
pub mod table;
