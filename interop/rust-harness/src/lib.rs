//! What the Rust clients need beyond their library: the conversation with the runner, a deadline, exact comparisons.

mod blocked_executor;
mod compare;
mod noise;
mod outcome;
mod play;

pub use blocked_executor::BlockedExecutor;
pub use compare::{RESTART_TIMEOUT, equal, eventually, wrong};
pub use noise::noise;
pub use outcome::{Failure, Outcome, lacking};
pub use play::{Run, Scenario, Session, play_arguments};

/// The scenarios of these names, each an async function of a session.
#[macro_export]
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        vec![$($crate::Scenario::new(stringify!($name), $name)),+]
    };
}
