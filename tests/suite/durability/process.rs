//! Leveret on a data directory: start, stop, kill, start again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::durability::node::Stop;

/// Long enough for a loaded machine and a slow disk; only a failing test ever waits this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

const LISTENING: &str = "started TCP listener on ";
const READY: &str = "Server startup complete";

/// A data directory that outlives the processes that use it.
pub struct Directory {
    parent: TempDir,
}

impl Directory {
    pub fn new() -> Self {
        Self { parent: tempfile::tempdir().expect("a temporary directory") }
    }

    pub fn path(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    /// All files below, at any depth.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect_files(&self.path(), &mut files);
        files.sort();
        files
    }

    /// Blocks of the disk that the files take, in bytes: what `du` tells.
    pub fn used_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        // A file may go between the listing and the question.
        self.files().iter().filter_map(|path| path.metadata().ok()).map(|file| file.blocks() * 512).sum()
    }
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.map_while(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect_files(&entry.path(), files),
            Ok(_) => files.push(entry.path()),
            Err(_) => {}
        }
    }
}

/// One run of the binary. It is killed when it is dropped.
pub struct Process {
    /// Where it listens; port 0 if it never did.
    pub address: SocketAddr,
    child: Child,
    log: Arc<Log>,
    /// Ends the process when this one ends, however it ends: then its end of the pipe is closed.
    _watchdog: Watchdog,
}

impl Process {
    /// Starts the binary and waits until it is ready.
    #[track_caller]
    pub fn start(directory: &Directory) -> Self {
        let mut process = Self::spawn(directory);
        if !process.is_ready() {
            let _ = process.child.kill();
            panic!("the broker did not start:\n{}", process.output());
        }
        process
    }

    /// Starts the binary, which may fail.
    pub fn spawn(directory: &Directory) -> Self {
        Self::spawn_on(&directory.path())
    }

    /// As [`Self::spawn`], on any path.
    pub fn spawn_on(data_dir: &Path) -> Self {
        Self::spawn_by(&[], data_dir)
    }

    /// As [`Self::spawn_on`], by a command that runs the one behind it.
    pub fn spawn_by(wrapper: &[&str], data_dir: &Path) -> Self {
        let words = [wrapper, &[env!("CARGO_BIN_EXE_leveret")]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir).env_remove("RUST_LOG");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LEVERET_")) {
            command.env_remove(name);
        }
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the broker's binary can be started");
        let log = Arc::new(Log::default());
        log.follow(child.stdout.take().expect("piped"));
        log.follow(child.stderr.take().expect("piped"));
        let watchdog = Watchdog::over(child.id());
        Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), child, log, _watchdog: watchdog }
    }

    /// Waits until it is ready or has ended, and says whether it is ready.
    #[track_caller]
    pub fn is_ready(&mut self) -> bool {
        let is_ready = self.log.wait_for(READY);
        if is_ready {
            let line = self.log.line_with(LISTENING).expect("the line before it is ready");
            let address = line.split(LISTENING).nth(1).expect("found by it").split_whitespace().next();
            self.address = address.and_then(|text| text.parse().ok()).expect("an address with a port");
        }
        is_ready
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process in this way and waits until it is gone.
    #[track_caller]
    pub fn end(&mut self, stop: Stop) {
        match stop {
            Stop::Kill => {
                self.child.kill().expect("a child of ours");
                self.wait_for_exit();
            }
            Stop::Orderly => {
                let status = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
                assert!(status.expect("the command kill").success(), "it had ended:\n{}", self.output());
                let status = self.wait_for_exit();
                assert_eq!(status.code(), Some(0), "an orderly stop:\n{}", self.output());
            }
        }
        assert!(!self.output().contains("panicked"), "{}", self.output());
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
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// All that the process has written.
    pub fn output(&self) -> String {
        self.log.state.lock().expect("the log").lines.join("\n")
    }

    /// Memory that is no file's, in bytes.
    pub fn anonymous_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a living process");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
        let kilobytes: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        kilobytes * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            assert!(!self.output().contains("panicked"), "{}", self.output());
        }
    }
}

struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    fn over(pid: u32) -> Self {
        let script = format!("read _ || kill -KILL {pid} 2>/dev/null");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().expect("a shell");
        let pipe = shell.stdin.take();
        Self { shell, pipe }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // A line sends it home: by now the process id may be another's.
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.shell.wait();
    }
}

/// The lines that a process writes to stdout and stderr.
#[derive(Default)]
struct Log {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    streams_ended: u8,
}

impl Log {
    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                log.state.lock().expect("the log").lines.push(line);
                log.changed.notify_all();
            }
            log.state.lock().expect("the log").streams_ended += 1;
            log.changed.notify_all();
        });
    }

    fn line_with(&self, part: &str) -> Option<String> {
        self.state.lock().expect("the log").lines.iter().find(|line| line.contains(part)).cloned()
    }

    /// Whether a line with this part came before the process ended.
    fn wait_for(&self, part: &str) -> bool {
        let state = self.state.lock().expect("the log");
        let found = |state: &Lines| state.lines.iter().any(|line| line.contains(part));
        let goes_on = |state: &mut Lines| !found(state) && state.streams_ended < 2;
        let (state, _) = self.changed.wait_timeout_while(state, PATIENCE, goes_on).expect("the log");
        found(&state)
    }

    fn wait_for_end(&self) {
        let state = self.state.lock().expect("the log");
        let goes_on = |state: &mut Lines| state.streams_ended < 2;
        drop(self.changed.wait_timeout_while(state, PATIENCE, goes_on).expect("the log"));
    }
}
