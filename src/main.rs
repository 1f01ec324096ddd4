use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use leveret::cli::{Cli, Command, ServerArgs};
use leveret::{logging, server};

/// Gives memory back to the system soon after it is freed, so that what the process holds tells what it needs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => serve(cli.server),
        Some(Command::CheckConfig(args)) => check_config(args),
        Some(Command::Check(check)) => check.run(),
        Some(Command::Ping(ping)) => report(ping.run()),
        Some(Command::Bench(bench)) => match bench.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(Err(error)),
        },
    }
}

fn serve(args: ServerArgs) -> ExitCode {
    match args.load() {
        Ok(config) => {
            logging::init(&config.log);
            server::run(config)
        }
        Err(error) => report(Err(error.to_string())),
    }
}

fn check_config(args: ServerArgs) -> ExitCode {
    report(args.load().map(|config| config.to_toml().trim_end().to_owned()).map_err(|error| error.to_string()))
}

/// A result goes to standard output; each line of an error to standard error, with the program's name.
fn report(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        Ok(text) => {
            // Whoever closes the pipe early, as `head` does, has read enough.
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            for line in text.lines() {
                eprintln!("leveret: {line}");
            }
            ExitCode::FAILURE
        }
    }
}
