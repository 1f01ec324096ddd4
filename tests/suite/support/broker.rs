//! The broker under test: the real binary on a free port of the loopback interface.
//!
//! Most tests share one, with names of their own; a test that needs settings of its own, or ends the
//! process, starts its own, and may start it again on the same data directory. `LEVERET_TEST_BROKER=127.0.0.1:PORT`
//! puts a running broker in the place of the shared one: this is how the assertions are checked against RabbitMQ itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Long enough for a loaded machine; only a failing test ever waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The shared broker is not Leveret.
pub fn under_test_is_foreign() -> bool {
    std::env::var_os("LEVERET_TEST_BROKER").is_some()
}

/// The address of the broker that the tests share.
pub fn shared() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| match std::env::var("LEVERET_TEST_BROKER") {
        Ok(address) => address.parse().expect("LEVERET_TEST_BROKER is an address with a port"),
        Err(_) => shared_broker().address,
    })
}

/// The broker that the tests share, if it is ours.
pub fn shared_broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Launch::new()))
}

/// The shared broker, if it is ours, has not panicked.
#[track_caller]
pub fn assert_shared_is_healthy() {
    if !under_test_is_foreign() {
        shared_broker().assert_no_panic();
    }
}

/// How a broker is to be started.
#[derive(Clone)]
pub struct Launch {
    args: Vec<String>,
    env: Vec<(String, String)>,
    config: Option<String>,
    listen: String,
}

impl Launch {
    pub fn new() -> Self {
        Self { args: Vec::new(), env: Vec::new(), config: None, listen: "127.0.0.1:0".to_owned() }
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One of the `limits` of the configuration.
    pub fn limit(self, name: &str, value: impl ToString) -> Self {
        let variable = format!("LEVERET_LIMITS__{}", name.to_uppercase());
        self.env(&variable, &value.to_string())
    }

    /// The text of the configuration file.
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }

    pub fn listen(mut self, address: &str) -> Self {
        self.listen = address.to_owned();
        self
    }
}

/// A started process, with all that it has written so far. Its data directory lives as long as this does, also while
/// the process is stopped or started again.
pub struct Broker {
    /// Another one after each start.
    pub address: SocketAddr,
    process: Process,
    launch: Launch,
}

impl Broker {
    /// Starts the binary and waits until it is ready.
    #[track_caller]
    pub fn start(launch: Launch) -> Self {
        let process = Process::spawn(launch.clone());
        Self { address: Self::ready(&process), process, launch }
    }

    /// Waits until the process is ready, and tells its address.
    #[track_caller]
    fn ready(process: &Process) -> SocketAddr {
        let started = process.wait_for_line("started TCP listener on 127.0.0.1:");
        let port = started.split("started TCP listener on 127.0.0.1:").nth(1).and_then(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("a port in the log line")));
        process.wait_for_line("Server startup complete");
        address
    }

    /// Stops it as an operator does, by SIGTERM, and waits until it has ended.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.wait_for_exit().code(), Some(0), "{}", self.process.output());
    }

    /// Ends it by SIGKILL, in the middle of whatever it does.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it on the same data directory, after [`stop`](Broker::stop) or [`kill`](Broker::kill).
    #[track_caller]
    pub fn start_again(&mut self) {
        self.assert_no_panic();
        self.process.respawn(&self.launch);
        self.address = Self::ready(&self.process);
    }

    /// Stops and starts it.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Kills and starts it.
    #[track_caller]
    pub fn crash(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        self.process.data_dir()
    }

    /// What the next starts are to be like.
    pub fn relaunch(&mut self, change: impl FnOnce(Launch) -> Launch) {
        self.launch = change(self.launch.clone());
    }

    /// Waits for a line of the log that contains all parts.
    #[track_caller]
    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        self.process.log.wait_for(|line| parts.iter().all(|part| line.contains(part))).unwrap_or_else(|log| {
            panic!("no log line with {parts:?} in:\n{}", log.join("\n"));
        })
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Sends `TERM`, `INT`, ...
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status()
            .expect("a shell that can send signals");
        assert!(status.success());
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        self.process.wait_for_exit()
    }

    /// All lines of the log up to now.
    pub fn log(&self) -> Vec<String> {
        self.process.log.lines.lock().expect("the log").clone()
    }

    /// Resident memory of the process, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a living process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kilobytes: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        kilobytes * 1024
    }

    /// Nothing went wrong in it that it survived only by luck.
    #[track_caller]
    pub fn assert_no_panic(&self) {
        let log = self.log();
        let panics: Vec<_> = log.iter().filter(|line| line.contains("panicked")).collect();
        assert!(panics.is_empty(), "{panics:?}");
    }

    /// A client of this broker that has a channel can still be served.
    #[track_caller]
    pub fn assert_serves(&self) {
        super::peer::Login::new().connect(self.address).close();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_panic();
        }
    }
}

/// The process of one run of the binary.
pub struct Process {
    child: Child,
    watchdog: Child,
    log: Arc<Log>,
    directory: TempDir,
}

impl Process {
    /// Starts the binary with a data directory of its own.
    pub fn spawn(launch: Launch) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (child, log) = spawn_in(directory.path(), &launch);
        Self { watchdog: watchdog(child.id()), child, log, directory }
    }

    /// Starts it again, on the same data directory. Its log begins anew.
    pub fn respawn(&mut self, launch: &Launch) {
        self.kill();
        (self.child, self.log) = spawn_in(self.directory.path(), launch);
        self.watchdog = watchdog(self.child.id());
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join(DATA_DIR)
    }

    /// Ends the process, if it has not ended, and its watchdog before it: its number may then be another's.
    fn kill(&mut self) {
        for child in [&mut self.watchdog, &mut self.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    #[track_caller]
    fn wait_for_line(&self, part: &str) -> String {
        self.log
            .wait_for(|line| line.contains(part))
            .unwrap_or_else(|log| panic!("no log line with {part:?} in:\n{}", log.join("\n")))
    }

    /// Waits until the process has ended, and its output with it.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                self.log.wait_for_end();
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end; its log:\n{}", self.output());
            // The end of another process is no event that the standard library can wait for with a limit.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that the process has written.
    pub fn output(&self) -> String {
        self.log.lines.lock().expect("the log").join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Its name within the directory that each test has.
const DATA_DIR: &str = "data";

fn spawn_in(directory: &Path, launch: &Launch) -> (Child, Arc<Log>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(["--listen", &launch.listen, "--data-dir"]).arg(directory.join(DATA_DIR));
    if let Some(toml) = &launch.config {
        let path = directory.join("leveret.toml");
        std::fs::write(&path, toml).expect("the configuration file can be written");
        command.arg("--config").arg(path);
    }
    command.args(&launch.args).env_remove("RUST_LOG");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LEVERET_")) {
        command.env_remove(name);
    }
    command.envs(launch.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the broker's binary can be started");
    let log = Arc::new(Log::default());
    log.follow(child.stdout.take().expect("piped"));
    log.follow(child.stderr.take().expect("piped"));
    (child, log)
}

/// Ends the broker when this process ends, however it ends: then its end of the pipe is closed.
fn watchdog(pid: u32) -> Child {
    Command::new("sh")
        .args(["-c", &format!("read _; kill -KILL {pid} 2>/dev/null")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

/// The lines that a process writes to stdout and stderr.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
    ended: Mutex<u8>,
}

impl Log {
    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                log.lines.lock().expect("the log").push(line);
                log.changed.notify_all();
            }
            *log.ended.lock().expect("the log") += 1;
            log.changed.notify_all();
        });
    }

    /// The first line that fits, or all lines if none came.
    fn wait_for(&self, fits: impl Fn(&str) -> bool) -> Result<String, Vec<String>> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().expect("the log");
        loop {
            if let Some(line) = lines.iter().find(|line| fits(line)) {
                return Ok(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = *self.ended.lock().expect("the log") == 2;
            if left.is_zero() || ended {
                return Err(lines.clone());
            }
            lines = self.changed.wait_timeout(lines, left.min(Duration::from_millis(200))).expect("the log").0;
        }
    }

    fn wait_for_end(&self) {
        let _ = self.wait_for(|_| false);
    }
}

/// Bytes that go out in one write and whatever comes back until the broker closes.
pub fn exchange_bytes(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the broker accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(bytes).expect("the broker reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}
