//! The process: listeners, signals, the memory alarm, start and stop.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::broker::Broker;
use crate::config::{Config, memory};
use crate::connection;
use crate::storage::chunk;

/// Connections that the kernel keeps for us while we are busy.
const ACCEPT_BACKLOG: i32 = 1024;
/// How long accepting rests when the process has run out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often memory is looked at.
const MEMORY_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// What is assumed where the machine does not say how much memory it has.
const ASSUMED_MEMORY_BYTES: u64 = 4 << 30;

/// Runs the broker until it is told to stop (SIGTERM, SIGINT), or cannot start.
pub fn run(config: Config) -> ExitCode {
    stop_on_panic();
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

/// Bad input never panics. What does is a state that cannot be, in which nobody's messages are safe: to go on would make
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
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("cannot wait for SIGTERM: {e}"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| format!("cannot wait for SIGINT: {e}"))?;
    let listeners = config.listeners.iter().map(|address| listen(address)).collect::<Result<Vec<_>, _>>()?;
    tracing::info!("Starting Leveret {}", env!("CARGO_PKG_VERSION"));
    let broker = Broker::new(config);
    // Each connection holds a sender; when the last has gone, so have all connections.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let mut accepting = Vec::new();
    for listener in listeners {
        let address = listener.local_addr().map_err(|e| format!("cannot name a listener's address: {e}"))?;
        tracing::info!("started TCP listener on {address}");
        accepting.push(tokio::spawn(accept(listener, broker.clone(), open.clone())));
    }
    drop(open);
    tokio::spawn(watch_memory(broker.clone()));
    tracing::info!("Server startup complete");
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM received - shutting down"),
        _ = interrupt.recv() => tracing::info!("SIGINT received - shutting down"),
    }
    for task in accepting {
        task.abort();
        let _ = task.await;
    }
    broker.stop();
    if timeout(broker.config.limits.shutdown_timeout(), all_closed.recv()).await.is_err() {
        tracing::warn!("some clients did not close in time; their sockets are dropped");
    }
    tracing::info!("Leveret has stopped");
    Ok(())
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

/// Raises the memory alarm while messages hold more memory than the high watermark allows.
async fn watch_memory(broker: Arc<Broker>) {
    let total = memory::total_bytes().unwrap_or(ASSUMED_MEMORY_BYTES);
    let mark = broker.config.limits.memory_high_watermark.bytes_of(total);
    tracing::info!("memory high watermark set to {} MiB of {} MiB", mark >> 20, total >> 20);
    loop {
        sleep(MEMORY_CHECK_INTERVAL).await;
        let used = chunk::bytes_in_memory() as u64;
        if broker.alarm.set_memory(used >= mark) {
            if broker.alarm.is_on() {
                tracing::warn!(
                    "memory resource limit alarm set: messages hold {} MiB; publishers are blocked",
                    used >> 20
                );
            } else {
                tracing::warn!("memory resource limit alarm cleared");
            }
            broker.notify_all();
        }
    }
}
