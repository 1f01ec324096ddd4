//! Connections on real sockets while the disk takes its time: nothing is read that should wait, nothing spins.

use std::cell::Cell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::time::timeout;

use super::*;
use crate::connection::model_tests::disk::Disk;
use crate::connection::model_tests::peer::{Frames, Peer, login, new_broker_with};
use crate::connection::session::Session;

/// How long is waited to see that nothing happens.
const NOTHING: Duration = Duration::from_millis(50);

const DECLARE_OK: (u16, u16) = (50, 11);
const GET_OK: (u16, u16) = (60, 71);
const GET_EMPTY: (u16, u16) = (60, 72);

struct Client {
    socket: TcpStream,
    read: Vec<u8>,
    /// How often the broker's side has run.
    polls: Rc<Cell<u32>>,
}

impl Client {
    async fn send(&mut self, frames: Frames) {
        self.socket.write_all(&frames.bytes).await.unwrap();
    }

    /// Class and method of the next method that comes.
    async fn receive(&mut self) -> (u16, u16) {
        loop {
            if let Some(head) = FrameHead::read(&self.read).filter(|head| self.read.len() >= head.frame_bytes()) {
                let frame: Vec<u8> = self.read.drain(..head.frame_bytes()).collect();
                if let [1, _, _, _, _, _, _, c1, c0, m1, m0, ..] = frame[..] {
                    return (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0]));
                }
                continue;
            }
            assert!(self.socket.read_buf(&mut self.read).await.unwrap() > 0, "the broker has hung up");
        }
    }

    async fn expect_nothing(&mut self) {
        let polls = self.polls.get();
        assert!(timeout(NOTHING, self.receive()).await.is_err());
        assert!(self.polls.get() <= polls + 4, "{} polls to do nothing", self.polls.get() - polls);
    }
}

/// Runs a client, on channel 1 and with the durable queue `d` declared, against a connection of the broker.
fn run(disk: &Disk, script: impl AsyncFnOnce(&mut Client)) {
    let broker = new_broker_with(&disk.0);
    Peer::new(&broker).send(&Frames::on(1).open().declare_durable("d").bytes);
    disk.keep_all();
    let connect = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let session = Session::new(login(&broker), broker.new_connection_id());
        let mut runner = Runner::new(listener.accept().await.unwrap().0, Dispatcher::new(session), Vec::new(), 0);
        let polls = Rc::new(Cell::new(0));
        let mut client = Client { socket, read: Vec::new(), polls: polls.clone() };
        let mut running = pin!(runner.run());
        let counted = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            running.as_mut().poll(cx)
        });
        let script = async move {
            client.send(Frames::on(1).open()).await;
            assert_eq!((client.receive().await, client.receive().await), ((10, 41), (20, 11)));
            script(&mut client).await;
        };
        assert_eq!(tokio::join!(counted, script).0, Ended::Lost);
    };
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(connect);
}

#[test]
fn a_publisher_is_not_read_while_the_log_is_behind() {
    let disk = Disk::new(1000);
    run(&disk, async |client| {
        client.send(Frames::on(1).publish_persistent(("", "d"), &[b'x'; 2000]).get("d", true)).await;
        assert_eq!(client.receive().await, GET_OK);
        client.send(Frames::on(1).get("d", true)).await;
        client.expect_nothing().await;
        disk.keep(&disk.take());
        assert_eq!(client.receive().await, GET_EMPTY);
    });
}

#[test]
fn others_are_read_while_the_log_is_behind() {
    let disk = Disk::new(1000);
    run(&disk, async |client| {
        let log = &disk.0.log;
        let (chunk, queue) = (crate::storage::chunk::Chunk::of_one(vec![0; 2000]), crate::storage::QueueId(0));
        log.enqueue(queue, 0, None, &chunk);
        assert!(log.is_behind());
        client.send(Frames::on(1).publish(("", "d"), false, b"transient", 1).get("d", true).get("d", true)).await;
        assert_eq!((client.receive().await, client.receive().await), (GET_OK, GET_EMPTY));
    });
}

#[test]
fn a_suspended_connection_sleeps_until_the_disk_has_got_on() {
    let disk = Disk::new(usize::MAX);
    run(&disk, async |client| {
        client.send(Frames::on(1).declare_durable("new").get("new", true)).await;
        client.expect_nothing().await;
        disk.keep_all();
        assert_eq!((client.receive().await, client.receive().await), (DECLARE_OK, GET_EMPTY));
        // It goes while it waits.
        client.send(Frames::on(1).declare_durable("newer")).await;
        client.expect_nothing().await;
    });
}
