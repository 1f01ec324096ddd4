use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode};

use clap::Parser;
use leveret::cli::{Cli, Command, ServerArgs, with_tool};
use leveret::{logging, server};

/// Gives memory back to the system soon after it is freed, so that what the process holds tells what it needs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the allocator keeps what was freed before it gives it back, in milliseconds. Its own default is a second, and
/// then somebody has to allocate: a broker that has become idle would keep what a burst took.
const PURGE_DELAY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "0");

fn main() -> ExitCode {
    let arguments = with_tool(std::env::args_os().collect());
    let cli = Cli::try_parse_from(&arguments).unwrap_or_else(|error| refuse(&error, &arguments));
    match cli.command {
        None => {
            set_purge_delay();
            serve(cli.server)
        }
        Some(Command::CheckConfig(args)) => check_config(args),
        Some(Command::Check(check)) => check.run(),
        Some(Command::Ctl(ctl)) => ctl.run(),
        Some(Command::Plugins(plugins)) => plugins.run(),
        Some(Command::Ping(ping)) => report(ping.run()),
        Some(Command::Bench(bench)) => match bench.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(Err(error)),
        },
    }
}

/// Says what is wrong with the command line, or the help or version that it asks for, and ends. Scripts that know RabbitMQ's
/// tools expect 64 for a command of theirs that is not written as it should be.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ! {
    const USAGE: i32 = 64;
    // Whoever closes the pipe early has read enough.
    let _ = error.print();
    let is_tool = arguments.get(1).is_some_and(|command| command == "ctl" || command == "plugins");
    process::exit(if is_tool && error.use_stderr() { USAGE } else { error.exit_code() })
}

/// The allocator reads its settings when the process begins, so it begins anew, with the same id. Whoever has set the
/// variable wants it so.
fn set_purge_delay() {
    let (name, value) = PURGE_DELAY;
    if std::env::var_os(name).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let Ok(program) = std::env::current_exe() else { return };
    let mut again = process::Command::new(program);
    again.arg0(arguments.next().unwrap_or_default()).args(arguments).env(name, value);
    // It returns only if it fails. Without the setting the broker works as well.
    let _ = again.exec();
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
