//! Servers that are started for a measurement: the broker, or the limit, as a child process of this program.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::endpoint::{BrokerArgs, Endpoint, Login};
use super::error::{BenchError, Result};

/// How long a server may take to listen.
const START_WAIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);
/// What a server logs with its address, once it listens.
pub const LISTENS: &str = "started TCP listener on ";

/// A server to measure. If it was started for that, it is stopped when this is dropped.
pub struct Server {
    pub endpoint: Endpoint,
    _child: Option<ServerProcess>,
}

impl Server {
    /// The broker that the arguments name, or one with its default settings.
    pub fn of(args: &BrokerArgs) -> Result<Server> {
        match &args.address {
            None => Server::broker(),
            Some(address) => {
                let endpoint = Endpoint { address: address.clone(), login: args.login.clone(), pid: args.pid };
                Ok(Server { endpoint, _child: None })
            }
        }
    }

    pub fn broker() -> Result<Server> {
        Server::broker_of(&std::env::current_exe()?)
    }

    /// The broker of a build of this program.
    pub fn broker_of(program: &Path) -> Result<Server> {
        let flags = ["--listen", "127.0.0.1:0", "--log-format", "plain", "--log-level", "info", "--data-dir"];
        Server::start("the broker", program, |command, directory| {
            command.args(flags).arg(directory);
        })
    }

    /// The limit; see [`limit`](super::limit).
    pub fn limit() -> Result<Server> {
        Server::start("the limit", &std::env::current_exe()?, |command, _| {
            command.args(["bench", "limit", "--listen", "127.0.0.1:0"]);
        })
    }

    fn start(what: &'static str, program: &Path, arguments: impl FnOnce(&mut Command, &PathBuf)) -> Result<Server> {
        let process = ServerProcess::start(what, program, arguments)?;
        let address = process.address()?;
        let endpoint = Endpoint { address, login: Login::default(), pid: Some(process.pid) };
        Ok(Server { endpoint, _child: Some(process) })
    }
}

struct ServerProcess {
    what: &'static str,
    pid: u32,
    process: Arc<Process>,
}

struct Process {
    child: Mutex<Child>,
    /// Holds the log, and what the broker keeps.
    directory: PathBuf,
}

impl ServerProcess {
    fn start(
        what: &'static str,
        program: &Path,
        arguments: impl FnOnce(&mut Command, &PathBuf),
    ) -> Result<ServerProcess> {
        let directory = new_directory()?;
        let spawned = spawn(program, &directory, arguments);
        if spawned.is_err() {
            let _ = fs::remove_dir_all(&directory);
        }
        let child = spawned.map_err(|error| BenchError::new(format!("cannot start {what}: {error}")))?;
        let pid = child.id();
        let process = Arc::new(Process { child: Mutex::new(child), directory });
        running().push(process.clone());
        Ok(ServerProcess { what, pid, process })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.process.directory.join("log")).unwrap_or_default()
    }

    /// Waits until the server listens, and takes its address from the log.
    fn address(&self) -> Result<String> {
        let began = Instant::now();
        loop {
            let log = self.log();
            let line = log.split_inclusive('\n').find_map(|line| line.split_once(LISTENS)?.1.strip_suffix('\n'));
            if let Some(address) = line {
                return Ok(address.trim_end().to_owned());
            }
            let ended = self.process.child.lock().expect("nothing panics here").try_wait()?;
            if ended.is_some() || began.elapsed() > START_WAIT {
                let last = log.lines().last().unwrap_or("it says nothing");
                return Err(BenchError::new(format!("{} does not start: {last}", self.what)));
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        running().retain(|process| !Arc::ptr_eq(process, &self.process));
        self.process.end();
    }
}

fn spawn(
    program: &Path,
    directory: &PathBuf,
    arguments: impl FnOnce(&mut Command, &PathBuf),
) -> std::io::Result<Child> {
    let log = File::create(directory.join("log"))?;
    let mut command = Command::new(program);
    arguments(&mut command, directory);
    command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log).spawn()
}

impl Process {
    fn end(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn new_directory() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("leveret-bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory)
        .map_err(|error| BenchError::new(format!("cannot make {}: {error}", directory.display())))?;
    Ok(directory)
}

/// The servers that run, so that a signal does not leave them behind.
fn running() -> MutexGuard<'static, Vec<Arc<Process>>> {
    static RUNNING: Mutex<Vec<Arc<Process>>> = Mutex::new(Vec::new());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGINT and SIGTERM stop the servers before they end this program.
pub fn stop_all_on_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        running().iter().for_each(|process| process.end());
        std::process::exit(130);
    });
    Ok(())
}
