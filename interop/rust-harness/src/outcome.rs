use std::error::Error;
use std::panic::Location;

pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a scenario did not pass.
#[derive(Debug)]
pub enum Failure {
    Failed(String),
    /// The client offers no way to do this.
    Lacking(String),
}

impl Failure {
    /// Ends with the place that raised it, as the last thing a reader looks for.
    pub(crate) fn failed(message: String, place: &Location<'_>) -> Self {
        let file = place.file().rsplit('/').next().unwrap_or_default();
        Failure::Failed(format!("{message} ({file}:{})", place.line()))
    }
}

impl<E: Error> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        Failure::failed(error.to_string(), Location::caller())
    }
}

/// What a scenario returns that cannot be played.
pub fn lacking(reason: &str) -> Outcome {
    Err(Failure::Lacking(reason.to_owned()))
}
