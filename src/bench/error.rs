//! What goes wrong while measuring: always something to tell the person at the terminal, never to handle.

use std::io;

use thiserror::Error;

/// A sentence that says what went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BenchError(pub String);

impl BenchError {
    pub fn new(text: impl Into<String>) -> BenchError {
        BenchError(text.into())
    }
}

impl From<io::Error> for BenchError {
    fn from(error: io::Error) -> BenchError {
        BenchError(error.to_string())
    }
}

pub type Result<T> = std::result::Result<T, BenchError>;
