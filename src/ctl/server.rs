//! The broker's end of the local socket: a thread for each connection, a few at most, each for one request.

use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::commands::{Context, Reply};
use super::request::{Line, Refusal, Request};
use super::socket::SocketFile;
use crate::limits::{CTL_CONNECTIONS_MAX, CTL_LINE_MAX_BYTES, CTL_REQUEST_TIMEOUT, CTL_WRITE_TIMEOUT};
use crate::server::ACCEPT_PAUSE;
use crate::storage::log::{Log, Outcome, Waiter};

/// The socket, as long as it is served.
pub struct CtlServer {
    accepting: JoinHandle<()>,
    _file: SocketFile,
}

impl CtlServer {
    /// Serves the socket of this path until dropped, each command in the context given, but for its virtual host.
    pub fn start(path: &Path, context: Context) -> io::Result<CtlServer> {
        let (listener, file) = SocketFile::listen(path)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(CtlServer { accepting: tokio::spawn(accept(listener, context)), _file: file })
    }
}

impl Drop for CtlServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: UnixListener, context: Context) {
    let places = Arc::new(Semaphore::new(CTL_CONNECTIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        let stream = match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::error!("cannot accept a connection to the ctl socket: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let context = context.clone();
        tokio::task::spawn_blocking(move || {
            // Who asks and does not wait for the answer is none of ours.
            if let Err(error) = serve(stream, context) {
                tracing::debug!("ctl: {error}");
            }
            drop(place);
        });
    }
}

fn serve(mut stream: UnixStream, context: Context) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(CTL_WRITE_TIMEOUT))?;
    let line = read_line(&mut stream)?;
    let stop = context.stop.clone();
    let reply = answer(&line, context);
    let is_stopping = matches!(reply, Ok(Reply::Stopping));
    let mut out = BufWriter::with_capacity(64 * 1024, &stream);
    write_reply(&mut out, reply)?;
    out.flush()?;
    drop(out);
    if is_stopping {
        stop.notify_one();
        // The client sees the end of the process by the end of the connection.
        stream.set_read_timeout(None)?;
        while stream.read(&mut [0; 64])? > 0 {}
    }
    Ok(())
}

/// The one line of a request, which has to come within its time.
fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + CTL_REQUEST_TIMEOUT;
    let mut line = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut piece)?;
        let end = piece[..count].iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&piece[..end.unwrap_or(count)]);
        if line.len() > CTL_LINE_MAX_BYTES {
            return Err(io::Error::other("the request is too long"));
        }
        if end.is_some() || count == 0 {
            return Ok(line);
        }
    }
}

fn answer(line: &[u8], context: Context) -> Result<Reply, Refusal> {
    let request: Request =
        serde_json::from_slice(line).map_err(|error| Refusal::usage(format!("not a request: {error}")))?;
    let Request { vhost, command, .. } = request;
    let context = Context { vhost, ..context };
    let reply = command.carry_out(&context)?;
    if let (Reply::Done | Reply::Message(_) | Reply::Remark(_), Some(store)) = (&reply, &context.broker.store) {
        kept(&store.log)?;
    }
    Ok(reply)
}

fn write_reply(out: &mut impl Write, reply: Result<Reply, Refusal>) -> io::Result<()> {
    let (mut message, mut remark) = (None, None);
    match reply {
        Err(refusal) => return write_line(out, &Line::Refused(refusal)),
        Ok(Reply::Done | Reply::Stopping) => {}
        Ok(Reply::Message(text)) => message = Some(text),
        Ok(Reply::Remark(text)) => remark = Some(text),
        Ok(Reply::Value(value)) => write_line(out, &Line::Value(value))?,
        Ok(Reply::Table(table)) => {
            write_line(out, &Line::Columns(table.columns.iter().map(|name| (*name).to_owned()).collect()))?;
            for row in table.rows {
                write_line(out, &Line::Row(row))?;
            }
        }
    }
    write_line(out, &Line::Done { message, remark })
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Waits until all that has been defined is kept, as who declares something waits for its `declare-ok`.
fn kept(log: &Log) -> Result<(), Refusal> {
    let epoch = log.defined();
    let signal = Arc::new(Signal::default());
    log.wait_until_settled(epoch, signal.clone());
    signal.wait();
    match log.outcome(epoch) {
        Outcome::Refused => Err(Refusal::software("done, but there is no room on the disk to keep it")),
        Outcome::Kept | Outcome::Pending => Ok(()),
    }
}

/// Wakes a thread that waits for the log.
#[derive(Default)]
struct Signal {
    came: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn wait(&self) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        while !*came {
            came = self.changed.wait(came).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Waiter for Signal {
    fn notify(self: Arc<Signal>) {
        *self.came.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}
