//! Commands of `leveret ctl` that need no broker.

use std::io::{self, BufRead, IsTerminal};

use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{Options, print};
use crate::broker::password::PasswordHash;
use crate::ctl::commands::{Command, Titled, list};
use crate::ctl::request::Refusal;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub enum Local {
    /// Print the version of this program
    Version,
    /// Print the hash of a password, for definitions
    HashPassword {
        /// Better on standard input: other users of this machine can see command lines
        #[arg(value_name = "PASSWORD")]
        password: Option<String>,
    },
}

impl Local {
    pub(super) fn run(self, options: &Options) -> Result<(), Refusal> {
        match self {
            Local::Version => print(env!("CARGO_PKG_VERSION")),
            Local::HashPassword { password } => {
                let password = match password {
                    Some(password) => password,
                    None => read_password()?,
                };
                if !options.is_quiet() {
                    print("Will hash password ...");
                }
                print(&PasswordHash::of(password.as_bytes()).encoded());
            }
        }
        Ok(())
    }
}

/// A password from standard input: its first line. A person is asked for it, and does not see it.
pub fn read_password() -> Result<String, Refusal> {
    let _hidden = io::stdin().is_terminal().then(|| {
        eprint!("Password: ");
        HiddenInput::new()
    });
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| Refusal::data(format!("standard input: {error}")))?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(Refusal::usage("a password is needed, as an argument or on standard input"));
    }
    Ok(password.to_owned())
}

/// What is typed is not shown, until this is dropped.
struct HiddenInput(Option<Termios>);

impl HiddenInput {
    fn new() -> HiddenInput {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut hidden) = before.clone() {
            hidden.local_modes.remove(LocalModes::ECHO);
            // A terminal that cannot hide it shows it.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &hidden);
        }
        HiddenInput(before)
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        eprintln!();
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// All commands, by groups.
pub fn overview() -> String {
    let local: [Titled; 1] = [("Without a broker", Local::augment_subcommands)];
    format!("{}\n\n{}", Command::overview(), list(&local))
}
