//! The files that commands read and write.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::Value;

use crate::ctl::request::Refusal;
use crate::limits::CTL_LINE_MAX_BYTES;

/// The JSON in a file, or on standard input.
pub fn read_json(path: Option<&Path>) -> Result<Value, Refusal> {
    let text = match path {
        Some(path) => std::fs::read(path).map_err(|error| Refusal::data(format!("{}: {error}", path.display())))?,
        None => {
            let mut text = Vec::new();
            let read = io::stdin().lock().take(CTL_LINE_MAX_BYTES as u64).read_to_end(&mut text);
            read.map_err(|error| Refusal::data(format!("standard input: {error}")))?;
            text
        }
    };
    serde_json::from_slice(&text).map_err(|error| Refusal::data(format!("Failed to deserialise input: {error}")))
}

/// Writes JSON that has hashes of passwords: only its owner can read the file.
pub fn write_json(path: &Path, value: &Value) -> Result<(), Refusal> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
    written.map_err(|error| Refusal::data(format!("{}: {error}", path.display())))
}
