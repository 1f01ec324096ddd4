use std::fmt::{Debug, Display};
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::outcome::{Failure, Outcome};

const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long a broker may take until it can be connected to again.
pub const RESTART_TIMEOUT: Duration = Duration::from_secs(40);

#[track_caller]
pub fn equal<A: PartialEq<B> + Debug, B: Debug>(actual: A, expected: B, what: impl Display) -> Outcome {
    if actual == expected { Ok(()) } else { wrong(format!("{what}: expected {expected:?}, got {actual:?}")) }
}

#[track_caller]
pub fn wrong<T>(message: impl Display) -> Outcome<T> {
    Err(Failure::failed(message.to_string(), Location::caller()))
}

/// For what the broker finishes in the background without telling anybody.
pub async fn eventually(what: impl Display, mut condition: impl AsyncFnMut() -> Outcome<bool>) -> Outcome {
    let started = Instant::now();
    while !condition().await? {
        if started.elapsed() > BACKGROUND_TIMEOUT {
            return wrong(format!("{what}: not so after {BACKGROUND_TIMEOUT:?}"));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}
