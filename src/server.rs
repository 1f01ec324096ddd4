//! The process: start and stop, listeners and signals.
//!
//! The data directory is opened, and locked, before anybody can connect. On the way out connections are closed first,
//! then the store, which writes what they left; then the process ends.

mod data;
mod watch;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use self::data::DataDirectory;
use crate::broker::Broker;
use crate::config::Config;
use crate::connection;
use crate::ctl;
use crate::ctl::commands::Context;
use crate::ctl::request::default_vhost;
use crate::ctl::server::CtlServer;
use crate::definitions::boot::ToLoad;
use crate::storage::log::Waiter;
use crate::storage::store::{Recovered, Store};

/// Connections that the kernel keeps for us while we are busy.
const ACCEPT_BACKLOG: i32 = 1024;
/// How long accepting rests when the process has run out of file descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs the broker until it is told to stop (SIGTERM, SIGINT), or cannot start.
pub fn run(config: Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    };
    runtime.shutdown_background();
    code
}

/// Bad input never panics, but for damaged files inside the embedded database, which are looked at before this. What does is a state that cannot be, in which nobody's messages are safe: to go on would make
/// it worse.
fn stop_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("the broker is in an impossible state and stops: {panic}");
        report(panic);
        std::process::abort();
    }));
}

async fn serve(config: Config) -> Result<(), String> {
    let stop = Signals::new()?;
    tracing::info!("Starting Leveret {}", env!("CARGO_PKG_VERSION"));
    let (data, recovered) = DataDirectory::open(&config)?;
    stop_on_panic();
    let served = serve_clients(config, &data.store, recovered, stop).await;
    // Only when nobody is connected any more: until then, confirms and replies may wait for the disk.
    blocking(move || data.store.close()).await;
    if served.is_ok() {
        tracing::info!("Leveret has stopped");
    }
    served
}

/// Returns once all connections are closed.
async fn serve_clients(
    config: Config,
    store: &Arc<Store>,
    recovered: Recovered,
    mut stop: Signals,
) -> Result<(), String> {
    let broker = open(config, store, recovered)?;
    definitions_kept(store).await;
    let stop_asked = Arc::new(Notify::new());
    let listeners = broker.config.listeners.iter().map(|address| listen(address)).collect::<Result<Vec<_>, _>>()?;
    // Each connection holds a sender; when the last has gone, so have all connections.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let (mut accepting, mut listening) = (Vec::new(), Vec::new());
    for listener in listeners {
        let address = listener.local_addr().map_err(|e| format!("cannot name a listener's address: {e}"))?;
        tracing::info!("started TCP listener on {address}");
        listening.push(address);
        accepting.push(tokio::spawn(accept(listener, broker.clone(), open.clone())));
    }
    drop(open);
    let worker = spawn_worker(&broker)?;
    let _ctl = start_ctl(Context {
        broker: broker.clone(),
        listening: listening.into(),
        stop: stop_asked.clone(),
        vhost: default_vhost(),
    })?;
    tokio::spawn(watch::memory(broker.clone()));
    tokio::spawn(watch::disk(broker.clone(), store.clone()));
    tracing::info!("Server startup complete");
    tokio::select! {
        () = stop.received() => {}
        () = stop_asked.notified() => tracing::info!("asked by ctl to stop - shutting down"),
    }
    for task in accepting {
        task.abort();
        let _ = task.await;
    }
    broker.stop();
    if timeout(broker.config.limits.shutdown_timeout(), all_closed.recv()).await.is_err() {
        tracing::warn!("some clients did not close in time; their sockets are dropped");
    }
    broker.worker.stop();
    blocking(move || worker.join().expect("a panic ends the process")).await;
    Ok(())
}

/// Starts the thread that attends to queues.
fn spawn_worker(broker: &Broker) -> Result<JoinHandle<()>, String> {
    let worker = broker.worker.clone();
    let spawned = std::thread::Builder::new().name("worker".to_owned()).spawn(move || worker.run());
    spawned.map_err(|e| format!("cannot start a thread: {e}"))
}

/// Opens the local socket. Where its path is the default one and cannot be used, the broker runs without.
///
/// # Errors
/// If the configured path cannot be used.
fn start_ctl(context: Context) -> Result<Option<CtlServer>, String> {
    let path = ctl::socket::path_of(&context.broker.config);
    let is_configured = context.broker.config.ctl_socket.is_some();
    match CtlServer::start(&path, context) {
        Ok(server) => Ok(Some(server)),
        Err(error) if is_configured => Err(format!("cannot use the ctl socket {}: {error}", path.display())),
        Err(error) => {
            tracing::error!("no ctl socket, so `leveret ctl` cannot reach this broker: {}: {error}", path.display());
            Ok(None)
        }
    }
}

/// The broker over what is stored, with the definitions that the configuration has it load. Where these define users,
/// there is no default user.
fn open(mut config: Config, store: &Arc<Store>, recovered: Recovered) -> Result<Arc<Broker>, String> {
    let to_load = ToLoad::read(&config)?;
    if to_load.defines_users() {
        config.default_user = None;
    }
    let directory = config.data_dir.display().to_string();
    let broker = Broker::open(config, store.clone(), recovered).map_err(|e| format!("{directory}: {e}"))?;
    to_load.import(&broker)?;
    Ok(broker)
}

/// The signals that end the process gracefully.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Signals, String> {
        let terminate = signal(SignalKind::terminate()).map_err(|e| format!("cannot wait for SIGTERM: {e}"))?;
        let interrupt = signal(SignalKind::interrupt()).map_err(|e| format!("cannot wait for SIGINT: {e}"))?;
        Ok(Signals { terminate, interrupt })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM received - shutting down"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT received - shutting down"),
        }
    }
}

/// Waits until what the start has defined is kept, or cannot be: whoever is told that the broker is ready finds its users
/// and virtual hosts again.
async fn definitions_kept(store: &Store) {
    let notice = Arc::new(Notice::default());
    store.log.wait_until_settled(store.log.defined(), notice.clone());
    notice.0.notified().await;
}

/// Wakes a task that waits for the log.
#[derive(Default)]
struct Notice(Notify);

impl Waiter for Notice {
    fn notify(self: Arc<Notice>) {
        self.0.notify_one();
    }
}

/// Does what waits for the disk on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("a panic ends the process")
}

/// Listens on `HOST:PORT`. Where `[::]` is not to be had because the machine has no IPv6, `0.0.0.0` takes its place.
fn listen(address: &str) -> Result<TcpListener, String> {
    let bound = bind_any(address).or_else(|error| match address.strip_prefix("[::]:") {
        Some(port) if error.kind() != io::ErrorKind::AddrInUse => bind_any(&format!("0.0.0.0:{port}")),
        _ => Err(error),
    });
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot listen on {address}: the address is in use; is another broker running?")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

fn bind_any(address: &str) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, broker: Arc<Broker>, open: mpsc::Sender<()>) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                let (broker, open) = (broker.clone(), open.clone());
                tokio::spawn(async move {
                    connection::serve(socket, peer, broker).await;
                    drop(open);
                });
            }
            Err(error) => {
                tracing::error!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
