//! Plays the scenarios named as arguments with lapin.

mod inbox;
mod publishing;
mod refusal;
mod scenarios;
mod session;

fn main() {
    interop_harness::play_arguments(&scenarios::all());
}
