"""The broker under test: Leveret from this repository, a private RabbitMQ, or one that already runs."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from urllib.parse import urlsplit

import rabbitmq

from .paths import LOG, REPOSITORY, TARGET, shown

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10
CONTROL_TIMEOUT_S = 20
LOGIN = "guest:guest"

# `rabbitmqctl` and `leveret ctl` take the same: no memory at all sets the alarm that blocks publishers.
BLOCK = ("set_vm_memory_high_watermark", "0")
UNBLOCK = ("set_vm_memory_high_watermark", "0.6")


class Unavailable(Exception):
    """The broker asked for cannot be had; the message says why and what to do."""


def broker_factory(choice):
    """Prepares what `choice` needs and returns a function that starts such a broker."""
    if choice == "leveret":
        binary = build_leveret()
        return lambda name: Leveret(binary, name)
    if choice == "rabbitmq":
        try:
            rabbitmq.find_installation()
        except rabbitmq.NotInstalled as missing:
            raise Unavailable(str(missing)) from missing
        return lambda _name: PrivateRabbitMQ()
    if os.path.isfile(choice) and os.access(choice, os.X_OK):
        return lambda name: Leveret(os.path.abspath(choice), name)
    url = running_url(choice)
    return lambda _name: RunningBroker(url)


def running_url(address):
    """HOST:PORT or an amqp:// URI, as a URI with login and port and nothing after them."""
    parts = urlsplit(address if "://" in address else f"amqp://{address}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "amqp" or port is None or parts.path not in ("", "/", "/%2F", "/%2f"):
        raise Unavailable(
            f"{address}: not leveret, rabbitmq, a program, HOST:PORT or amqp://USER:PASSWORD@HOST:PORT"
        )
    login = parts.netloc.rpartition("@")[0] or LOGIN
    return f"amqp://{login}@{parts.hostname}:{port}"


def build_leveret():
    if shutil.which("cargo") is None:
        raise Unavailable("cargo is not installed; install Rust as https://rustup.rs says")
    print("building Leveret: cargo build --release", flush=True)
    if subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=REPOSITORY).returncode != 0:
        raise Unavailable("Leveret does not build")
    return REPOSITORY / TARGET / "release" / "leveret"


class Leveret:
    """Started on a free port with a data directory of its own; its output goes to a log file."""

    is_ours = True

    def __init__(self, binary, name):
        self._binary = binary
        self._directory = tempfile.mkdtemp(prefix="leveret-interop-")
        self._log_path = LOG / f"leveret-{name}.log"
        self._port = 0
        self._start()
        self.url = f"amqp://{LOGIN}@127.0.0.1:{self._port}"

    def _start(self):
        self._started = threading.Event()
        self._ready = False
        self._process = subprocess.Popen(
            [self._binary, "--listen", f"127.0.0.1:{self._port}", "--data-dir", self._directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self._started.wait(START_TIMEOUT_S)
        if not self._ready:
            problem = self.problem() or f"Leveret was not ready after {START_TIMEOUT_S} s"
            self.stop()
            raise Unavailable(f"{problem}; see {shown(self._log_path)}")

    def _read_log(self):
        with open(self._log_path, "ab") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                listening = re.search(rb"started TCP listener on \S+?:(\d+)", line)
                if listening:
                    self._port = int(listening[1])
                if b"Server startup complete" in line:
                    self._ready = True
                    self._started.set()
        self._started.set()

    def problem(self):
        """What is wrong with the broker while it should be running."""
        status = self._process.poll()
        if status is not None:
            return f"Leveret ended with status {status}; see {shown(self._log_path)}"
        return None

    def restart(self):
        """Stops it in good order and starts it again on its port and data; returns what was wrong."""
        problem = self._end()
        self._start()
        return problem

    def ctl(self, *arguments):
        """Runs `leveret ctl`; returns what was wrong."""
        return run_ctl([self._binary, "ctl", "--data-dir", self._directory, *arguments])

    def stop(self):
        """SIGTERM; returns what was wrong with how it ended."""
        problem = self._end()
        shutil.rmtree(self._directory, ignore_errors=True)
        return problem

    def _end(self):
        problem = self.problem()
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_TIMEOUT_S)
            if status != 0 and not problem:
                problem = f"Leveret ended with status {status} after SIGTERM"
        except subprocess.TimeoutExpired:
            problem = f"Leveret still ran {STOP_TIMEOUT_S} s after SIGTERM"
            self._process.kill()
            self._process.wait()
        self._reader.join()
        return problem


def run_ctl(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CONTROL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"{' '.join(map(str, command))} took more than {CONTROL_TIMEOUT_S} s"
    return None if done.returncode == 0 else (done.stdout + done.stderr).strip()


class PrivateRabbitMQ:
    is_ours = True

    def __init__(self):
        self._node = rabbitmq.RabbitMQ()
        try:
            self._node.start()
        except rabbitmq.ServerFailed as failure:
            raise Unavailable(str(failure)) from failure
        self.url = f"amqp://{LOGIN}@{self._node.address}"

    def problem(self):
        return None

    def restart(self):
        try:
            self._node.restart()
        except rabbitmq.ServerFailed as failure:
            raise Unavailable(str(failure)) from failure

    def ctl(self, *arguments):
        code, output = self._node.ctl(*arguments)
        return None if code == 0 else output

    def stop(self):
        self._node.stop()


class RunningBroker:
    """Not ours: it is used, never stopped, restarted or blocked. The scenarios know the vhost / only."""

    is_ours = False

    def __init__(self, url):
        self.url = url

    def problem(self):
        return None

    def stop(self):
        return None
