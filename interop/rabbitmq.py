#!/usr/bin/env python3
"""A private RabbitMQ node on loopback, to compare Leveret with.

As a command it runs a node until SIGTERM or SIGINT:

    python3 interop/rabbitmq.py --port-file FILE

With `--control` it obeys lines on its standard input, and stops at their end: `restart` stops the node as an
operator would and starts it again on its data, `kill` does the same with SIGKILL. Each start ends with the line
`RabbitMQ is ready on HOST:PORT`.

From Python it is a context manager:

    with RabbitMQ() as node:
        connect(node.host, node.port)

The node shares nothing with a RabbitMQ installed as a service: it has its own
name, directories, cookie, AMQP port, distribution port and epmd.
"""

import argparse
import collections
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from rabbitmqctl import RabbitMQCtl

HOST = "127.0.0.1"
INSTALL_HINT = "rabbitmq-server is not installed; install it with: apt-get install rabbitmq-server"

START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 30
HANDSHAKE_TIMEOUT_S = 10

# Part of the package, and no more than a few modules each: exchange types that Leveret has too.
PLUGINS = (
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
)

# Debian's /usr/sbin/rabbitmq-server changes to the rabbitmq user and its home; the script
# of the package itself runs as whoever calls it.
SERVER_SCRIPTS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/usr/lib/rabbitmq/sbin/rabbitmq-server",
)


class NotInstalled(Exception):
    """No rabbitmq-server, erl or epmd on this machine."""


class ServerFailed(Exception):
    """A server process ended, or did not become ready in time."""


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class ServerProcess:
    """A child process in its own process group whose output is read as it comes.

    Readiness is a line of its output, so nothing has to be polled.
    """

    def __init__(self, name, command, environment=None):
        self.name = name
        self.last_lines = collections.deque(maxlen=40)
        self._changed = threading.Condition()
        self._lines = []
        self._ended = False
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()

    def wait_for_line(self, text, timeout_s):
        """The first line of output that contains `text`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._find(text), timeout_s)
            line = self._find(text)
        if line is None:
            reason = "ended" if self._ended else f"printed no '{text}' in {timeout_s} s"
            raise ServerFailed(f"{self.name} {reason}; its last lines:\n" + "\n".join(self.last_lines))
        return line

    @property
    def pid(self):
        return self._process.pid

    def stop(self, timeout_s=STOP_TIMEOUT_S):
        """SIGTERM to the process group, SIGKILL if that is not enough."""
        self._signal_group(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout_s)

    def kill(self):
        """SIGKILL to the process group."""
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._reader.join(STOP_TIMEOUT_S)

    def _signal_group(self, number):
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass

    def _read_output(self):
        for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip()
            with self._changed:
                self.last_lines.append(line)
                # Only the lines up to readiness are waited for; a log may be long.
                if len(self._lines) < 1000:
                    self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _find(self, text):
        return next((line for line in self._lines if text in line), None)


class RabbitMQ:
    """A private node; started by `start` or `with`, gone without trace after `stop`.

    `schedulers=1` makes Erlang run one process at a time, first come first served, which
    takes most races out of what clients can observe.
    """

    def __init__(self, schedulers=None, configuration=""):
        self.host = HOST
        self.port = None
        self._schedulers = schedulers
        self._configuration = configuration
        self._directory = None
        self._environment = None
        self._epmd = None
        self._server = None
        self._ctl = None

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()

    def start(self):
        script, epmd = find_installation()
        self._directory = tempfile.mkdtemp(prefix="leveret-rabbitmq-")
        self.port = free_port()
        try:
            self._environment = environment = self._prepare()
            self._epmd = ServerProcess(
                "epmd", [epmd, "-address", HOST, "-port", environment["ERL_EPMD_PORT"]], environment
            )
            self._start_server(script)
        except BaseException:
            self.stop()
            raise
        return self

    def _start_server(self, script):
        self._server = ServerProcess("rabbitmq-server", [script], self._environment)
        self._server.wait_for_line("completed with", START_TIMEOUT_S)
        shake_hands(self.host, self.port)

    def restart(self, kill=False):
        """The same node again on its data and port, after an orderly stop or after SIGKILL."""
        script, _ = find_installation()
        if kill:
            self._server.kill()
        else:
            self._server.stop()
        self._start_server(script)

    def ctl(self, *arguments):
        """Run `rabbitmqctl` with these arguments; its exit code and what it printed."""
        if self._ctl is None:
            self._ctl = RabbitMQCtl(self._environment, os.path.join(self._directory, "ctl"))
        return self._ctl.run(arguments)

    def stop(self):
        for process in (self._ctl, self._server, self._epmd):
            if process is not None:
                process.stop()
        self._ctl = self._server = self._epmd = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _prepare(self):
        """Write the node's files and return its environment."""
        at = lambda name: os.path.join(self._directory, name)
        with open(at("rabbitmq.conf"), "w") as file:
            file.write(
                f"listeners.tcp.1 = {HOST}:{self.port}\n"
                "disk_free_limit.absolute = 1MB\n"
                "log.console = false\n"
                "log.file.level = warning\n"
                f"{self._configuration}\n"
            )
        with open(at("enabled_plugins"), "w") as file:
            file.write(f"[{','.join(PLUGINS)}].\n")
        with open(at("environment"), "w"):
            pass
        with open(os.open(at(".erlang.cookie"), os.O_CREAT | os.O_WRONLY, 0o400), "w") as file:
            file.write(secrets.token_hex(16))

        erlang_arguments = "-kernel inet_dist_use_interface {127,0,0,1}"
        if self._schedulers is not None:
            erlang_arguments += f" +S {self._schedulers}:{self._schedulers}"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_"))
        }
        return inherited | {
            "HOME": self._directory,
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_NODENAME": f"leveret-{secrets.token_hex(4)}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_BASE": self._directory,
            "RABBITMQ_CONF_ENV_FILE": at("environment"),
            "RABBITMQ_CONFIG_FILE": at("rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": at("advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": at("enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": at("mnesia"),
            "RABBITMQ_MNESIA_DIR": at("mnesia/node"),
            "RABBITMQ_QUORUM_DIR": at("mnesia/quorum"),
            "RABBITMQ_STREAM_DIR": at("mnesia/stream"),
            "RABBITMQ_LOG_BASE": at("log"),
            "RABBITMQ_PID_FILE": at("pid"),
            "RABBITMQ_FEATURE_FLAGS_FILE": at("feature_flags"),
            "RABBITMQ_GENERATED_CONFIG_DIR": at("config"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang_arguments,
        }


def find_installation():
    """Paths of the server script and of epmd."""
    script = next((path for path in SERVER_SCRIPTS if os.path.exists(path)), None)
    epmd = shutil.which("epmd")
    if script is None or epmd is None or shutil.which("erl") is None:
        raise NotInstalled(INSTALL_HINT)
    return script, epmd


def shake_hands(host, port):
    """Log in as guest and log out, which proves that the node serves AMQP."""
    start_ok = bytes.fromhex("000a000b00000000") + b"\x05PLAIN" + b"\0\0\0\x0c\0guest\0guest" + b"\x05en_US"
    tune_ok = bytes.fromhex("000a001f07ff000200000000")
    open_root = bytes.fromhex("000a0028012f0000")
    close = bytes.fromhex("000a003200c80000000000")
    close_ok = bytes.fromhex("000a0033")
    frames = b"".join(method_frame(method) for method in (start_ok, tune_ok, open_root, close))
    with socket.create_connection((host, port), HANDSHAKE_TIMEOUT_S) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01" + frames)
        received = b""
        while method_frame(close_ok) not in received:
            chunk = connection.recv(4096)
            if not chunk:
                raise ServerFailed(f"no AMQP handshake on {host}:{port}: {received!r}")
            received += chunk


def method_frame(payload):
    return b"\x01\0\0" + len(payload).to_bytes(4, "big") + payload + b"\xce"


def main():
    parser = argparse.ArgumentParser(description="Run a private RabbitMQ node until SIGTERM.")
    parser.add_argument("--port-file", help="file to write the AMQP port to once it is ready")
    parser.add_argument("--schedulers", type=int, help="number of Erlang schedulers (default: one per core)")
    parser.add_argument("--control", action="store_true", help="obey `restart` and `kill` on standard input")
    options = parser.parse_args()

    # An exit unwinds the `with` below, which stops the node.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        with RabbitMQ(options.schedulers) as node:
            if options.port_file is not None:
                write_whole(options.port_file, f"{node.port}\n")
            say_ready(node)
            if options.control:
                obey(node, sys.stdin)
            else:
                signal.pause()
    except (NotInstalled, ServerFailed) as error:
        sys.exit(f"{error}")


def say_ready(node):
    print(f"RabbitMQ is ready on {node.address}", flush=True)


def obey(node, commands):
    for line in commands:
        command = line.strip()
        if command not in ("restart", "kill"):
            sys.exit(f"no command {command!r}; there are restart and kill")
        node.restart(kill=command == "kill")
        say_ready(node)


def write_whole(path, text):
    """Write so that a reader who sees the file sees all of it."""
    partial = f"{path}.partial"
    with open(partial, "w") as file:
        file.write(text)
    os.replace(partial, path)


if __name__ == "__main__":
    main()
