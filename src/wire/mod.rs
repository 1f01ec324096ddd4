//! Bytes and frames. No I/O, and nothing of the broker.

pub mod deliver;
pub mod frame;
pub mod hot;
pub mod method;
pub mod properties;
pub mod table;
