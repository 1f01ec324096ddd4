//! Nodes of RabbitMQ that many tests share, restarts included.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, OnceLock};

use crate::durability::node::{Stop, Way};

/// A test that uses a node.
pub struct Guest {
    house: &'static House,
}

/// A node, and the tests that use it.
struct House {
    way: Way,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    node: Option<Node>,
    guests: u32,
    /// Those of them who ask for a restart.
    waiting: u32,
    restarts: u64,
}

impl Guest {
    /// Waits for the node, which the first guest starts.
    pub fn enter(way: Way) -> Self {
        static HOUSES: OnceLock<Vec<House>> = OnceLock::new();
        let build = |way| House { way, state: Mutex::default(), changed: Condvar::new() };
        let houses = HOUSES.get_or_init(|| Way::ALL.map(build).into());
        let house = houses.iter().find(|house| house.way == way).expect("one for each way");
        let mut state = house.state.lock().expect("the node started");
        state.node.get_or_insert_with(Node::start);
        state.guests += 1;
        Self { house }
    }

    pub fn address(&self) -> SocketAddr {
        let state = self.house.state.lock().expect("the node started");
        state.node.as_ref().expect("started by the first guest").address
    }

    /// Returns when the node has been restarted in its way, as everyone in the house wants it.
    pub fn restart(&self) {
        let mut state = self.house.state.lock().expect("the node started");
        state.waiting += 1;
        let before = state.restarts;
        while state.restarts == before {
            if state.waiting < state.guests {
                state = self.house.changed.wait(state).expect("the node started");
                continue;
            }
            let node = state.node.as_mut().expect("started by the first guest");
            self.house.way.stops().iter().for_each(|&stop| node.restart(stop));
            state.restarts += 1;
            state.waiting = 0;
            self.house.changed.notify_all();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Ok(mut state) = self.house.state.lock() {
            state.guests -= 1;
        }
        self.house.changed.notify_all();
    }
}

/// The node's process, which ends when its standard input ends, and that is when this process ends.
struct Node {
    address: SocketAddr,
    _child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/rabbitmq.py");
        let mut command = Command::new("python3");
        command.args([script, "--control"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
        let commands = child.stdin.take().expect("piped");
        let mut answers = BufReader::new(child.stdout.take().expect("piped"));
        let address = read_address(&mut answers);
        Self { address, _child: child, commands, answers }
    }

    fn restart(&mut self, stop: Stop) {
        let command = if stop == Stop::Kill { "kill" } else { "restart" };
        writeln!(self.commands, "{command}").expect("the script reads");
        self.address = read_address(&mut self.answers);
    }
}

/// The address in the line that says that the node is ready.
fn read_address(answers: &mut impl BufRead) -> SocketAddr {
    let mut line = String::new();
    answers.read_line(&mut line).expect("a line from the script");
    let address = line.trim().rsplit(' ').next().and_then(|text| text.parse().ok());
    address.unwrap_or_else(|| panic!("no node of RabbitMQ: {line:?}"))
}
