//! A broker within the test's own process, with sockets and a data directory: for what is changed from its inside, users and
//! virtual hosts above all.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leveret::broker::Broker;
use leveret::config::Config;
use leveret::connection;
use leveret::storage::disk::StdDisk;
use leveret::storage::log::SyncPolicy;
use leveret::storage::open::{self, Options};
use leveret::storage::store::Store;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::peer::{Login, Peer};

pub struct Local {
    /// Another one after each restart.
    pub broker: Arc<Broker>,
    pub address: SocketAddr,
    runtime: Option<Runtime>,
    store: Arc<Store>,
    directory: TempDir,
}

impl Local {
    /// A broker as it is without configuration.
    #[track_caller]
    pub fn start() -> Local {
        Local::over(tempfile::tempdir().expect("a temporary directory"))
    }

    /// The same data directory, after all connections have been closed.
    #[track_caller]
    pub fn restart(mut self) -> Local {
        self.stop();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a temporary directory"));
        Local::over(directory)
    }

    fn over(directory: TempDir) -> Local {
        let (store, broker) = open(directory.path());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads can be started");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(accept(listener, broker.clone()));
        Local { broker, address, runtime: Some(runtime), store, directory }
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.broker.stop();
            runtime.shutdown_timeout(Duration::from_millis(200));
            self.store.close();
        }
    }

    /// Adds a user, whose password is its name, with these permissions in `/`: configure, write, read.
    #[track_caller]
    pub fn user(&self, name: &str, [configure, write, read]: [&str; 3]) {
        self.broker.add_user(name, name).expect("a new user");
        self.broker.set_permissions("/", name, configure, write, read).expect("good permissions");
    }

    /// What such a user logs in with.
    pub fn login(&self, name: &str) -> Login {
        Login::new().user(name, name)
    }

    /// Such a user's connection, with channel 1.
    #[track_caller]
    pub fn peer(&self, name: &str) -> Peer {
        self.login(name).connect(self.address)
    }

    /// The connection of one who may do everything.
    #[track_caller]
    pub fn guest(&self) -> Peer {
        self.peer("guest")
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
    }
}

fn open(directory: &Path) -> (Arc<Store>, Arc<Broker>) {
    let config = Config::default();
    let options = Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: 1 << 23,
        queue_resident_bytes: config.limits.queue_resident_bytes,
        journal_file_bytes: Options::JOURNAL_FILE_BYTES,
        reserve_bytes: Options::RESERVE_BYTES,
    };
    let disk = StdDisk::open(directory).expect("a directory of our own");
    let (store, recovered) = open::open(Arc::new(disk), options).expect("what was written can be read");
    let broker = Broker::open(config, store.clone(), recovered).expect("what was kept can be understood");
    (store, broker)
}

async fn accept(listener: TcpListener, broker: Arc<Broker>) {
    while let Ok((socket, peer)) = listener.accept().await {
        tokio::spawn(connection::serve(socket, peer, broker.clone()));
    }
}
