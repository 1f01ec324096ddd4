//! `leveret ctl`: one command to a running broker, and its answer on standard output.

mod files;
mod local;
mod status;

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::local::Local;
use crate::config::{Config, Flags};
use crate::ctl::client::{Answer, Timing};
use crate::ctl::commands::{Command, Node, Target};
use crate::ctl::request::{Line, Refusal, Request, Status};
use crate::ctl::socket;
use crate::ctl::table::{Format, TablePrinter};

/// How long commands may take that are not told otherwise, as in RabbitMQ's tools.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The same for `await_startup`.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(300);
/// How often `await_startup` tries to reach the broker.
const STARTUP_INTERVAL: Duration = Duration::from_millis(100);

/// `leveret ctl`.
#[derive(Args, Debug)]
#[command(
    subcommand_value_name = "COMMAND",
    disable_help_subcommand = true,
    help_template = "{about}\n\n{usage-heading} {usage}\n\n{after-help}\n\nOptions:\n{options}",
    after_help = local::overview(),
    after_long_help = local::overview()
)]
pub struct Ctl {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    #[command(flatten)]
    Local(Local),
    #[command(flatten)]
    Remote(Command),
}

/// What all commands take, before or after their name.
#[derive(Args, Debug)]
struct Options {
    /// The virtual host, for commands that are about one
    #[arg(short = 'p', long, value_name = "NAME", default_value = "/", global = true)]
    vhost: String,

    /// Say nothing but the answer
    #[arg(short, long, global = true)]
    quiet: bool,

    /// Say nothing but the answer, without the header of a table
    #[arg(short, long, global = true)]
    silent: bool,

    /// How the answer is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, global = true)]
    formatter: Format,

    /// Leave out the header of a table
    #[arg(long, global = true)]
    no_table_headers: bool,

    /// How long it may take, in seconds, or `infinity` [default: 60]
    #[arg(short, long, value_name = "SECONDS", value_parser = Timeout::parse, global = true)]
    timeout: Option<Timeout>,

    /// Taken for the sake of scripts, and not looked at: the socket says which broker is meant
    #[arg(short, long, value_name = "NODE", global = true)]
    node: Option<String>,

    /// The data directory of the broker [default: the configured one, or leveret-data]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,

    /// The broker's socket [default: ctl.sock in its data directory]
    #[arg(long, value_name = "FILE", global = true)]
    socket: Option<PathBuf>,

    /// The broker's configuration file, for where its socket is [default: the one that LEVERET_CONFIG names, or none]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
enum Timeout {
    After(Duration),
    Never,
}

impl Timeout {
    fn parse(text: &str) -> Result<Timeout, String> {
        if text == "infinity" {
            return Ok(Timeout::Never);
        }
        let seconds = text.parse().ok().and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
        seconds.map(Timeout::After).ok_or_else(|| "expected seconds, or infinity".to_owned())
    }
}

impl Options {
    fn socket(&self) -> Result<PathBuf, Refusal> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let flags = Flags { data_dir: self.data_dir.clone(), ..Flags::default() };
        let config = Config::load(self.config.as_deref(), flags);
        let config = config.map_err(|error| Refusal::new(Status::Configuration, error))?;
        Ok(match &self.data_dir {
            // Whoever names a directory means the socket in it.
            Some(directory) => directory.join(socket::FILE_NAME),
            None => socket::path_of(&config),
        })
    }

    fn timeout(&self, command: &Command) -> Option<Duration> {
        match (self.timeout, command) {
            (Some(Timeout::After(timeout)), _) => Some(timeout),
            (Some(Timeout::Never), _) | (None, Command::Node(Node::Stop)) => None,
            (None, Command::Node(node)) if node.awaits_startup() => Some(STARTUP_TIMEOUT),
            (None, _) => Some(TIMEOUT),
        }
    }

    fn is_quiet(&self) -> bool {
        self.quiet || self.silent || self.formatter.is_for_machines()
    }

    fn with_header(&self) -> bool {
        !self.silent && !self.no_table_headers
    }
}

impl Ctl {
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            CtlCommand::Local(local) => local.run(&self.options),
            CtlCommand::Remote(command) => Call::new(&self.options, &command).and_then(|call| call.make(command)),
        };
        let Err(refusal) = done else { return ExitCode::SUCCESS };
        match refusal.status {
            Status::Usage => eprintln!("Error (argument validation): {}", refusal.text),
            _ => eprintln!("Error:\n{}", refusal.text),
        }
        ExitCode::from(refusal.status.exit_code())
    }
}

/// A command on its way to the broker.
struct Call<'a> {
    options: &'a Options,
    socket: PathBuf,
    timeout: Option<Duration>,
    timing: Timing,
}

impl<'a> Call<'a> {
    fn new(options: &'a Options, command: &Command) -> Result<Call<'a>, Refusal> {
        command.check()?;
        let timeout = options.timeout(command);
        Ok(Call { options, socket: options.socket()?, timeout, timing: Timing::new(timeout) })
    }

    fn make(&self, mut command: Command) -> Result<(), Refusal> {
        let target =
            Target { vhost: &self.options.vhost, socket: self.socket.display().to_string(), timeout: self.timeout };
        if !self.options.is_quiet()
            && let Some(banner) = command.banner(&target)
        {
            print(&banner);
        }
        command.complete(local::read_password)?;
        if let Command::Definitions(definitions) = &mut command
            && let Some((path, document)) = definitions.to_read()
        {
            *document = Some(files::read_json(path.map(PathBuf::as_path))?);
        }
        let request = Request { vhost: self.options.vhost.clone(), command };
        let mut answer = self.reach(&request)?;
        self.print_answer(&mut answer, &request.command)?;
        match request.command {
            Command::Node(Node::Stop) => answer.wait_for_end(),
            _ => Ok(()),
        }
    }

    fn reach(&self, request: &Request) -> Result<Answer, Refusal> {
        loop {
            match Answer::to(&self.socket, request, self.timing) {
                Err(Refusal { status: Status::Unavailable, .. }) if matches!(&request.command, Command::Node(node) if node.awaits_startup()) =>
                {
                    self.timing.left()?;
                    sleep(STARTUP_INTERVAL);
                }
                reached => return reached,
            }
        }
    }

    fn print_answer(&self, answer: &mut Answer, command: &Command) -> Result<(), Refusal> {
        // Whoever closes the pipe early, as `head` does, has read enough.
        let mut table: Option<TablePrinter<BufWriter<StdoutLock<'_>>>> = None;
        loop {
            match answer.line()? {
                Line::Columns(columns) => {
                    let out = BufWriter::new(io::stdout().lock());
                    let printer = TablePrinter::new(out, self.options.formatter, self.options.with_header(), columns);
                    table = Some(printer);
                }
                Line::Row(row) => {
                    if table.as_mut().is_some_and(|table| table.row(&row).is_err()) {
                        return Ok(());
                    }
                }
                Line::Value(value) => self.put_value(&value, command)?,
                Line::Done { message, remark } => {
                    if let Some(mut table) = table {
                        let _ = table.end();
                    }
                    self.print_words(message, remark);
                    return Ok(());
                }
                Line::Refused(refusal) => return Err(refusal),
            }
        }
    }

    fn put_value(&self, value: &Value, command: &Command) -> Result<(), Refusal> {
        if let Command::Definitions(definitions) = command
            && let Some(path) = definitions.to_write()
        {
            return files::write_json(path, value);
        }
        match command {
            Command::Node(Node::Status) if self.options.formatter != Format::Json => print(&status::as_text(value)),
            _ => print(&value.to_string()),
        }
        Ok(())
    }

    fn print_words(&self, message: Option<String>, remark: Option<String>) {
        let is_quiet = self.options.quiet || self.options.silent;
        match (self.options.formatter, message, remark) {
            (_, None, None) => {}
            (Format::Json, Some(text), _) | (Format::Json, None, Some(text)) => {
                print(&json!({ "message": text }).to_string());
            }
            (_, Some(message), _) => print(&message),
            (_, None, Some(_)) if is_quiet => {}
            (_, None, Some(remark)) => print(&remark),
        }
    }
}

pub(super) fn print(text: &str) {
    // Whoever closes the pipe early has read enough.
    let _ = writeln!(io::stdout(), "{text}");
}
