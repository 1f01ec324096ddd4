"""What every scenario needs: a registry, a deadline, workers that end with it, and exact comparisons."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

from kombu import Connection, Queue
from playing import deadline, equal
from tasks import SETTINGS, application

BACKGROUND_TIMEOUT_S = 10

# Workers that do not look for each other when they start, which takes them a second.
ALONE = ("--without-mingle", "--without-gossip")


def run(function, name, url):
    with deadline(), Session(name, url) as session:
        function(session)


class Session:
    """One scenario's application, workers, gates and names, all gone after it."""

    def __init__(self, scenario_name, url):
        self.scenario_name = scenario_name
        self.url = url
        self.app = None
        self._settings = {}
        self._token = uuid.uuid4().hex[:8]
        self._cleanup = contextlib.ExitStack()
        self._directory = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="interop-celery-")))
        self._connection = None
        self._workers = []

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.await_end()
        self._cleanup.close()

    def name(self, label):
        return f"interop.{self.scenario_name}.{label}.{self._token}"

    def configure(self, **settings):
        """The application of this process and of the workers to come."""
        self._settings = settings
        self.app = application(settings)
        self._cleanup.callback(self.app.close)

    def worker(self, *queues, **options):
        """Starts a worker and awaits that it is ready."""
        [worker] = self.workers(1, *queues, **options)
        return worker

    def workers(self, count, *queues, concurrency=1, prefetch_multiplier=1, options=ALONE):
        arguments = ["-Q", ",".join(queues), "-c", str(concurrency), *options]
        arguments += ["--prefetch-multiplier", str(prefetch_multiplier)]
        names = [f"worker-{n}-{self._token}@interop" for n in range(1, count + 1)]
        workers = [Worker(name, ["-n", name, *arguments], self._settings) for name in names]
        self._workers += workers
        for worker in workers:
            worker.await_ready()
        return workers

    def inspect(self, *workers):
        return self.app.control.inspect(destination=[worker.name for worker in workers], timeout=5)

    def queue(self, label="queue"):
        """The name of a queue, which is deleted after the scenario."""
        name = self.name(label)
        self._cleanup.callback(self._delete, name)
        return name

    def ready(self, queue):
        """How many messages wait in the queue, as the broker sees it."""
        if self._connection is None:
            self._connection = self._cleanup.enter_context(Connection(self.url))
        channel = self._connection.default_channel
        return Queue(queue)(channel).queue_declare(passive=True).message_count

    def gate(self, label):
        """A file that is not there yet."""
        return self._directory / label

    def results_in_files(self):
        """The URL of a result backend that knows chords and needs no other server."""
        directory = self._directory / "results"
        directory.mkdir()
        return directory.as_uri()

    def _delete(self, queue):
        with Connection(self.url) as connection:
            Queue(queue)(connection.channel()).delete()


class Worker:
    """A `celery worker` in a process group of its own."""

    START_TIMEOUT_S = 20
    STOP_TIMEOUT_S = 2

    def __init__(self, name, arguments, settings):
        self.name = name
        self._ready = threading.Event()
        command = [sys.executable, "-m", "celery", "--app", "tasks", "worker", "--loglevel", "INFO", *arguments]
        self._process = subprocess.Popen(
            command,
            cwd=Path(__file__).parent,
            env=os.environ | {SETTINGS: json.dumps(settings)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._log = threading.Thread(target=self._copy_log, daemon=True)
        self._log.start()

    def await_ready(self):
        if not self._ready.wait(self.START_TIMEOUT_S):
            raise AssertionError(f"{self.name} was not ready after {self.START_TIMEOUT_S} s")
        equal(self._process.poll(), None, f"status of {self.name}, which should be running")

    def kill(self):
        """SIGKILL to the worker and its pool."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self):
        """Ends it as its user would; it finishes what it is at."""
        self._process.terminate()

    def await_end(self):
        try:
            self._process.wait(self.STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.join(1)

    def _copy_log(self):
        for line in self._process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            if f"{self.name} ready." in line:
                self._ready.set()
        self._ready.set()


def eventually(question, expected, what):
    """For what worker or broker finish in the background without telling anybody."""
    until = time.monotonic() + BACKGROUND_TIMEOUT_S
    while (actual := question()) != expected:
        if time.monotonic() > until:
            raise AssertionError(f"{what}: expected {expected!r}, still {actual!r} after {BACKGROUND_TIMEOUT_S} s")
        time.sleep(0.02)
