//! One client connection: its socket, handshake, heartbeats and run loop. One task, which owns all of it.

#[doc(hidden)]
pub mod dispatch;
mod flow;
pub mod handshake;
#[cfg(test)]
mod model_tests;
mod room;
mod run;
pub mod sasl;
pub mod scratch;
pub mod session;
pub mod waits;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::dispatch::Dispatcher;
use self::handshake::{Handshake, Login, Refusal};
use self::run::{Ended, Runner};
use self::session::Session;
use crate::broker::Broker;
use crate::broker::connections::Client;
use crate::error::Close;

/// How long a socket is read on after the last word, so that the peer gets to read that word: closing a socket with
/// unread input resets it, and a reset may overtake what was written before.
const LINGER: Duration = Duration::from_secs(1);

/// Serves a client from its first byte to its last.
pub async fn serve(mut socket: TcpStream, peer: SocketAddr, broker: Arc<Broker>) {
    let Ok(local) = socket.local_addr() else { return };
    let name: Arc<str> = format!("{} -> {}", unmapped(peer), unmapped(local)).into();
    tracing::info!("accepting AMQP connection {name}");
    if let Err(error) = socket.set_nodelay(true) {
        tracing::warn!("connection {name}: cannot set TCP_NODELAY: {error}");
    }
    // What is large and short-lived is boxed, so that the task does not keep its room.
    let addresses = (unmapped(peer), unmapped(local));
    let let_in = Box::pin(shake_hands(&mut socket, &broker, name, addresses)).await;
    let Some((login, client)) = let_in else { return };
    Box::pin(run(socket, Box::new(login), Box::new(client), broker)).await;
}

/// A client that came over IPv4 to a socket of both families is shown with its IPv4 address.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn shake_hands(
    socket: &mut TcpStream,
    broker: &Arc<Broker>,
    name: Arc<str>,
    (peer, local): (SocketAddr, SocketAddr),
) -> Option<(Login, Client)> {
    let limits = &broker.config.limits;
    let mut handshake = Handshake::new(socket, broker.clone(), name.clone(), (peer, local));
    match timeout(limits.handshake_timeout(), handshake.run()).await {
        Ok(Ok(let_in)) => return Some(let_in),
        Ok(Err(Refusal::Gone)) => {
            tracing::warn!("closing AMQP connection {name}: client closed the connection during the handshake");
        }
        Ok(Err(Refusal::Drop)) => {
            let _ = timeout(LINGER, drain(socket)).await;
        }
        Ok(Err(Refusal::Silent(why))) => {
            tracing::error!("closing AMQP connection {name}: {why}");
            let _ = timeout(limits.silent_close_delay(), drain_to_end(socket)).await;
        }
        Ok(Err(Refusal::Close(close))) => {
            tracing::error!("closing AMQP connection {name}: {}", close.fault);
            let sent = handshake.send(close_method(&close)).await;
            if sent.is_ok() {
                let _ = timeout(limits.silent_close_delay(), answer_close(socket)).await;
            }
        }
        Err(_) => tracing::error!("closing AMQP connection {name}: {{handshake_timeout}}"),
    }
    None
}

fn close_method(close: &Close) -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close {
        reply_code: close.fault.code as u16,
        reply_text: close.fault.reply_text().into(),
        class_id: close.class_id,
        method_id: close.method_id,
    }))
}

/// Waits for the peer's `close-ok`, or its end.
async fn answer_close(socket: &mut TcpStream) {
    const CLOSE_OK: [u8; 4] = [0, 10, 0, 51];
    const CLOSE: [u8; 4] = [0, 10, 0, 50];
    let mut seen = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(n @ 1..) = socket.read(&mut buffer).await {
        seen.extend_from_slice(&buffer[..n]);
        if seen.windows(4).any(|w| w == CLOSE) {
            let mut out = Vec::new();
            let ok = AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
            crate::wire::method::encode(&mut out, 0, ok);
            let _ = socket.write_all(&out).await;
            return;
        }
        if seen.windows(4).any(|w| w == CLOSE_OK) || seen.len() > 64 * 1024 {
            return;
        }
    }
}

/// Says that nothing more comes and reads on until the peer has closed too.
async fn drain(socket: &mut TcpStream) {
    let _ = socket.shutdown().await;
    drain_to_end(socket).await;
}

async fn drain_to_end(socket: &mut TcpStream) {
    let mut buffer = [0; 512];
    while let Ok(1..) = socket.read(&mut buffer).await {}
}

/// What it is given is boxed: the task keeps the room of its arguments until it ends.
async fn run(socket: TcpStream, login: Box<Login>, client: Box<Client>, broker: Arc<Broker>) {
    let id = broker.new_connection_id();
    let (heartbeat_s, pipelined) = (login.heartbeat_s, login.pipelined.clone());
    let session = Session::new(*login, id);
    let described = session.described();
    let opened = session.opened(*client, heartbeat_s);
    broker.register(opened, session.slot.as_ref().expect("a session begins with one"));
    let mut runner = Runner::new(socket, Dispatcher::new(session), pipelined, heartbeat_s);
    let ended = runner.run().await;
    broker.unregister(id);
    match ended {
        Ended::ByClient => tracing::info!("closing AMQP connection ({described})"),
        Ended::ByServer => tracing::info!("closing AMQP connection ({described}): closed by the broker"),
        Ended::Lost => {
            tracing::warn!("closing AMQP connection ({described}): client unexpectedly closed TCP connection");
        }
        Ended::MissedHeartbeats => tracing::error!(
            "closing AMQP connection ({described}): missed heartbeats from client, timeout: {heartbeat_s}s"
        ),
        Ended::NoCloseOk => {
            tracing::warn!("closing AMQP connection ({described}): no connection.close-ok from client");
        }
    }
    // A client that sees the end before it has looked at our close-ok takes the connection for lost.
    if ended == Ended::ByClient {
        let _ = timeout(LINGER, drain_to_end(runner.socket())).await;
    }
    let _ = timeout(LINGER, drain(runner.socket())).await;
}
