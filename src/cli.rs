//! The command line: what it takes, and the commands that are not the broker itself.

mod check;
mod ctl;
mod plugins;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::connection::{AMQPMethod, Start};
use amq_protocol::types::AMQPValue;
use clap::{Args, Parser, Subcommand};

pub use self::check::Check;
pub use self::ctl::Ctl;
pub use self::plugins::Plugins;
use crate::bench::Bench;
use crate::config::{Config, ConfigError, Flags};
use crate::limits::FRAME_OVERHEAD_BYTES;

/// An AMQP 0-9-1 message broker that existing clients use unchanged.
///
/// Without a command it runs the broker until SIGTERM or SIGINT. It needs no configuration: clients connect to port
/// 5672, from this machine as guest with password guest.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXAMPLES, after_long_help = MORE)]
pub struct Cli {
    #[command(flatten)]
    pub server: ServerArgs,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the configuration the broker would run with, or what is wrong with it
    ///
    /// Takes the same file, environment and flags. Passwords are hidden. Ends with 1 if something is wrong.
    CheckConfig(ServerArgs),

    /// Look through the data directory of a stopped broker: what waits in each queue, and what is damaged
    ///
    /// Changes nothing, unless told to repair. Ends with 0 if all is sound, with 1 if something is damaged, with 2 if the
    /// directory cannot be looked through at all. See docs/operations.md.
    Check(Check),

    /// Give commands to a running broker, as rabbitmqctl does
    ///
    /// Over a local socket in its data directory, which only the user that runs the broker can open.
    Ctl(Box<Ctl>),

    /// Tell what the broker has of RabbitMQ's plugins; enable and disable nothing, as rabbitmq-plugins
    Plugins(Plugins),

    /// Ask whether a broker answers, up to the first step of AMQP's handshake
    ///
    /// Does not log in. Ends with 1 if there is no answer in time: fit for a health check.
    Ping(Ping),

    /// Measure a broker: rates, latencies, processor time and memory
    ///
    /// Needs nothing else: without an address it starts a broker of its own. See docs/performance.md.
    Bench(Bench),
}

macro_rules! examples {
    () => {
        "\
Examples:
  leveret                                  port 5672; guest, from this machine only
  leveret --user alice:wonderland          one more user, who may come from anywhere
  leveret --listen 127.0.0.1:5672          this machine only
  leveret --vhost test                     the virtual hosts / and test
  leveret --config broker.toml             all other settings
  leveret check-config                     print all settings with their values
  leveret ping                             is it running?
  leveret ctl list_queues                  what is in its queues?
  leveret check leveret-data               what is in the directory of a stopped broker?
  leveret bench suite                      how fast is it on this machine?"
    };
}

const EXAMPLES: &str = examples!();

const MORE: &str = concat!(
    examples!(),
    "

Environment:
  Every key of the configuration file can be set by a variable, LEVERET_ and the
  key in capitals, with two underscores where the key has a dot, and commas
  between the items of a list. Flags win over variables, variables over the file.
    LEVERET_CONFIG=broker.toml
    LEVERET_LISTENERS=127.0.0.1:5672,[::1]:5672
    LEVERET_LIMITS__MAX_MESSAGE_BYTES=64MiB
    LEVERET_LOOPBACK_USERS=none            let guest in from anywhere
  NO_COLOR=1                               no colours, even on a terminal

All keys with their defaults: docs/configuration.md"
);

/// The names of RabbitMQ's tools, and the commands that they stand for where a link to this program has such a name.
const TOOLS: [(&str, Option<&str>); 4] = [
    ("rabbitmq-server", None),
    ("rabbitmqctl", Some("ctl")),
    ("rabbitmq-diagnostics", Some("ctl")),
    ("rabbitmq-plugins", Some("plugins")),
];

/// The command line with the command in it that the name of the program stands for.
pub fn with_tool(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().and_then(|program| Path::new(program).file_name()).and_then(OsStr::to_str);
    if let Some((_, command)) = TOOLS.into_iter().find(|(tool, _)| Some(*tool) == name) {
        arguments.splice(..1, ["leveret"].into_iter().chain(command).map(OsString::from));
    }
    arguments
}

/// What the broker takes.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// Address to listen on; may be repeated [default: [::]:5672, all addresses]
    ///
    /// IPv6 addresses in brackets. A port alone means all addresses; port 0 takes a free one, which the log names.
    #[arg(long = "listen", value_name = "HOST:PORT")]
    listeners: Vec<String>,

    /// Directory for what outlives the broker [default: leveret-data]
    ///
    /// Durable queues and exchanges, persistent messages, users and virtual hosts. Made if it is not there; one broker at
    /// a time can use it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Configuration file in TOML [default: the one that LEVERET_CONFIG names, or none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A user who may log in; may be repeated
    ///
    /// Added to guest and to the configured users; replaces the one of that name. Kept in the data directory, as are
    /// virtual hosts: without the flag, the next start has them too. The name ends at the first colon.
    /// Other users of this machine can see command lines: in production, better put users into the file.
    #[arg(long = "user", value_name = "NAME:PASSWORD")]
    users: Vec<String>,

    /// A virtual host; may be repeated
    ///
    /// Added to / and to the configured ones.
    #[arg(long = "vhost", value_name = "NAME")]
    vhosts: Vec<String>,

    /// How the log on standard output is written [default: plain]
    #[arg(long, value_name = "FORMAT", value_parser = ["plain", "json"])]
    log_format: Option<String>,

    /// The least that is logged [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = ["none", "error", "warning", "info", "debug", "trace"])]
    log_level: Option<String>,
}

impl ServerArgs {
    /// The configuration of file, environment and these flags.
    pub fn load(self) -> Result<Config, ConfigError> {
        let flags = Flags {
            listeners: self.listeners,
            data_dir: self.data_dir,
            log_format: self.log_format,
            log_level: self.log_level,
            users: self.users,
            vhosts: self.vhosts,
        };
        Config::load(self.config.as_deref(), flags)
    }
}

/// `leveret ping`.
#[derive(Args, Debug)]
pub struct Ping {
    /// [default: the first address that this machine's configuration has it listen on, or 127.0.0.1:5672]
    #[arg(value_name = "HOST:PORT")]
    address: Option<String>,

    /// How long it may take altogether, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

/// No broker says more than this before the client has logged in.
const START_MAX_BYTES: usize = 1024 * 1024;

impl Ping {
    /// What the broker says of itself, in a line; an error says what is wrong, in a line too.
    pub fn run(&self) -> Result<String, String> {
        let began = Instant::now();
        let address = match &self.address {
            Some(address) => address.clone(),
            None => configured_address()?,
        };
        let start = self.connection_start(&address, began).map_err(|error| format!("{address}: {error}"))?;
        let property = |name: &str| match start.server_properties.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            _ => "unknown".to_owned(),
        };
        let taken_ms = began.elapsed().as_secs_f64() * 1000.0;
        Ok(format!(
            "{}: {} {}, cluster {}, mechanisms {}, in {taken_ms:.1} ms",
            address,
            property("product"),
            property("version"),
            property("cluster_name"),
            start.mechanisms
        ))
    }

    /// Connects, sends the protocol header and reads `connection.start`.
    fn connection_start(&self, address: &str, began: Instant) -> io::Result<Start> {
        let left = || {
            let left = Duration::from_millis(self.timeout_ms).saturating_sub(began.elapsed());
            if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
        };
        let mut stream = Err(io::Error::other("the name has no address"));
        for address in address.to_socket_addrs()? {
            stream = TcpStream::connect_timeout(&address, left()?);
            if stream.is_ok() {
                break;
            }
        }
        let mut stream = stream?;
        stream.set_write_timeout(Some(left()?))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            stream.set_read_timeout(Some(left()?))?;
            let count = match stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
                count => count?,
            };
            answer.extend_from_slice(&piece[..count]);
            match start_of(&answer)? {
                Some(start) => return Ok(start),
                None if count == 0 => return Err(io::Error::other("it hung up")),
                None => {}
            }
        }
    }
}

/// Where a broker with the configuration of this machine can be reached from it.
fn configured_address() -> Result<String, String> {
    let config = Config::load(None, Flags::default()).map_err(|error| error.to_string())?;
    let first = config.listeners.into_iter().next().expect("there is at least one");
    Ok(match first.rsplit_once(':') {
        Some(("[::]" | "0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        _ => first,
    })
}

/// The `connection.start` that these bytes are; `None` if there have to be more of them.
fn start_of(answer: &[u8]) -> io::Result<Option<Start>> {
    if answer.starts_with(b"AMQP") && answer.len() >= 8 {
        return Err(io::Error::other(format!("it wants another protocol: AMQP {:?}", &answer[4..8])));
    }
    let Some(length) = answer.get(3..7) else { return Ok(None) };
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
    let is_method = answer[..3] == [1, 0, 0];
    if !answer.starts_with(b"AMQP") && (!is_method || length > START_MAX_BYTES) {
        return Err(io::Error::other("it does not speak AMQP 0-9-1"));
    }
    if answer.len() < length + FRAME_OVERHEAD_BYTES as usize {
        return Ok(None);
    }
    match parse_frame(answer) {
        Ok((_, AMQPFrame::Method(0, AMQPClass::Connection(AMQPMethod::Start(start))))) => Ok(Some(start)),
        _ => Err(io::Error::other("it does not begin with connection.start")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_broker_takes_flags_repeatedly_where_that_makes_sense() {
        let cli =
            Cli::parse_from(["leveret", "--listen", "a:1", "--listen", "b:2", "--user", "x:y", "--data-dir", "d"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.server.listeners, ["a:1", "b:2"]);
        assert_eq!(cli.server.data_dir, Some("d".into()));
    }

    #[test]
    fn check_config_takes_the_same_flags_after_its_name() {
        let cli = Cli::parse_from(["leveret", "check-config", "--config", "f.toml"]);
        assert!(matches!(cli.command, Some(Command::CheckConfig(args)) if args.config == Some("f.toml".into())));
        assert!(Cli::try_parse_from(["leveret", "--config", "f.toml", "check-config"]).is_err());
    }

    #[test]
    fn links_with_the_names_of_rabbitmqs_tools_stand_for_commands() {
        for (line, expected) in [
            (&["/usr/bin/rabbitmqctl", "-q", "list_queues"][..], &["leveret", "ctl", "-q", "list_queues"][..]),
            (&["rabbitmq-diagnostics", "ping"], &["leveret", "ctl", "ping"]),
            (&["rabbitmq-plugins", "list"], &["leveret", "plugins", "list"]),
            (&["rabbitmq-server"], &["leveret"]),
            (&["./leveret", "ping"], &["./leveret", "ping"]),
        ] {
            assert_eq!(with_tool(line.iter().map(OsString::from).collect()), expected);
        }
    }

    /// Pings a peer that answers like this and then hangs up.
    fn ping(answer: &'static [u8]) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut header = [0; 8];
            stream.read_exact(&mut header).unwrap();
            assert_eq!(&header, b"AMQP\x00\x00\x09\x01");
            for byte in answer {
                // Byte by byte; the other side may have seen enough before the last one.
                let _ = stream.write_all(&[*byte]);
            }
        });
        let result = Ping { address: Some(address), timeout_ms: 5000 }.run();
        peer.join().unwrap();
        result
    }

    #[test]
    fn ping_tells_product_and_version() {
        let answer = b"\x01\x00\x00\x00\x00\x00\x43\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x27\
            \x07productS\x00\x00\x00\x08RabbitMQ\x07versionS\x00\x00\x00\x05x.y.z\
            \x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US\xce";
        let line = ping(answer).unwrap();
        assert!(line.contains(": RabbitMQ x.y.z, cluster unknown, mechanisms PLAIN, in "), "{line}");
    }

    #[test]
    fn ping_tells_what_is_wrong() {
        for (answer, expected) in [
            (&b""[..], "it hung up"),
            (b"AMQP\x03\x01\x00\x00", "it wants another protocol: AMQP [3, 1, 0, 0]"),
            (b"HTTP/1.1 400 Bad Request\r\n", "it does not speak AMQP 0-9-1"),
            (b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0b\xce", "it does not begin with connection.start"),
        ] {
            let error = ping(answer).unwrap_err();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
