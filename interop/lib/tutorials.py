"""Runs the tutorial programs as a reader of a tutorial would, and checks what they print."""

import os
import time

from .paths import LOG
from .process import Ended, LineProcess, Silent
from .report import FAILED, PASSED, Result

LINE_TIMEOUT_S = 10
SECONDS_PER_DOT = "0.1"
TUTORIALS = {}


def run_tutorials(client, start_broker, report):
    broker = start_broker(f"tutorials-{client.name}")
    try:
        for name, tutorial in TUTORIALS.items():
            if report.interrupted.is_set():
                break
            report.add(run_tutorial(client, broker, name, tutorial))
    finally:
        broker.stop()


def run_tutorial(client, broker, name, tutorial):
    suite = f"tutorials {client.name}"
    started = time.monotonic()
    programs = Programs(client, broker.url)
    try:
        tutorial(programs)
    except (AssertionError, Silent, Ended) as problem:
        message = broker.problem() or str(problem)
        return Result(suite, name, FAILED, time.monotonic() - started, message)
    finally:
        programs.kill()
    return Result(suite, name, PASSED, time.monotonic() - started)


class Programs:
    """Starts a client's tutorial programs and keeps them until the tutorial is over."""

    def __init__(self, client, url):
        self._client = client
        self._environment = os.environ | client.environment() | {"AMQP_URL": url}
        self._running = []

    def start(self, program, *arguments):
        running = Program(self._client, program, arguments, self._environment)
        self._running.append(running)
        return running

    def listen(self, program, *arguments):
        """Starts a program that waits for messages, and awaits that it does."""
        running = self.start(program, *arguments)
        running.expect("Waiting for")
        return running

    def run(self, program, *arguments):
        """Runs a program to its end and returns its output."""
        running = self.start(program, *arguments)
        running.finish()
        return running

    def kill(self):
        for program in self._running:
            program.kill()


class Program:
    def __init__(self, client, program, arguments, environment):
        self._name = " ".join([program, *arguments])
        self._printed = []
        command = [*client.tutorial_command(program), *arguments]
        self._process = LineProcess(command, environment, LOG / f"tutorials-{client.name}.log")

    def expect(self, text):
        """Reads until a line contains the text."""
        while True:
            line = self._next_line(f"waiting for {text!r}")
            self._printed.append(line)
            if text in line:
                return line

    def expect_exactly(self, *lines):
        """The next lines, each containing its text, and no others between them."""
        for text in lines:
            line = self._next_line(f"waiting for {text!r}")
            self._printed.append(line)
            if text not in line:
                raise AssertionError(f"{self._name} printed {line!r} instead of {text!r}")

    def finish(self):
        while True:
            try:
                self._printed.append(self._process.next_line(LINE_TIMEOUT_S))
            except Ended:
                break
        self._expect_success(self._process.wait())

    def interrupt(self):
        """Ctrl-C, which must end the program in good order."""
        self._expect_success(self._process.interrupt())

    def printed(self, text):
        if not any(text in line for line in self._printed):
            raise AssertionError(f"{self._name} did not print {text!r} but {self._printed}")

    def kill(self):
        self._process.kill()

    def _next_line(self, purpose):
        try:
            return self._process.next_line(LINE_TIMEOUT_S)
        except (Silent, Ended) as problem:
            raise AssertionError(f"{self._name}, {purpose}, {problem}; it printed {self._printed}") from problem

    def _expect_success(self, status):
        if status != 0:
            raise AssertionError(f"{self._name} ended with status {status}; it printed {self._printed}")


def tutorial(function):
    TUTORIALS[function.__name__] = function
    return function


@tutorial
def hello_world(programs):
    receiver = programs.listen("receive")
    programs.run("send").printed("Sent 'Hello World!'")
    receiver.expect_exactly("Received 'Hello World!'")
    receiver.interrupt()


@tutorial
def work_queues(programs):
    tasks = ["First task.", "Second task.", "Third task."]
    for task in tasks:
        programs.run("new_task", task).printed(f"Sent '{task}'")
    first = programs.listen("worker", SECONDS_PER_DOT)
    for task in tasks:
        first.expect_exactly(f"Received '{task}'", "Done")

    # A busy worker gets nothing more, and what it leaves unfinished goes to the other.
    programs.run("new_task", "Long task" + 300 * ".")
    first.expect_exactly("Received 'Long task")
    second = programs.listen("worker", SECONDS_PER_DOT)
    for task in tasks:
        programs.run("new_task", task)
        second.expect_exactly(f"Received '{task}'", "Done")
    first.interrupt()
    second.expect_exactly("Received 'Long task")
    second.interrupt()
    third = programs.listen("worker", "0")
    third.expect_exactly("Received 'Long task", "Done")
    third.interrupt()


@tutorial
def publish_subscribe(programs):
    listeners = [programs.listen("receive_logs") for _ in range(2)]
    for message in ("info: Hello World!", "everyone gets this"):
        programs.run("emit_log", message).printed(f"Sent '{message}'")
    for listener in listeners:
        listener.expect_exactly("'info: Hello World!'", "'everyone gets this'")
        listener.interrupt()


@tutorial
def routing(programs):
    errors = programs.listen("receive_logs_direct", "error")
    all_severities = programs.listen("receive_logs_direct", "info", "warning", "error")
    for severity in ("info", "error", "debug", "warning", "error"):
        programs.run("emit_log_direct", severity, f"This is {severity}.").printed(f"Sent {severity}:'This is")
    errors.expect_exactly("error:'This is error.'", "error:'This is error.'")
    all_severities.expect_exactly(
        "info:'This is info.'", "error:'This is error.'", "warning:'This is warning.'", "error:'This is error.'"
    )
    errors.interrupt()
    all_severities.interrupt()


@tutorial
def topics(programs):
    everything = programs.listen("receive_logs_topic", "#")
    kernel = programs.listen("receive_logs_topic", "kern.*")
    critical = programs.listen("receive_logs_topic", "*.critical", "kern.#")
    for key in ("kern.critical", "cron.info", "cron.critical", "kern.disk.full"):
        programs.run("emit_log_topic", key, f"about {key}").printed(f"Sent {key}:'about {key}'")
    line = lambda key: f"{key}:'about {key}'"
    everything.expect_exactly(*map(line, ("kern.critical", "cron.info", "cron.critical", "kern.disk.full")))
    kernel.expect_exactly(line("kern.critical"))
    critical.expect_exactly(*map(line, ("kern.critical", "cron.critical", "kern.disk.full")))
    for listener in (everything, kernel, critical):
        listener.interrupt()


@tutorial
def rpc(programs):
    server = programs.listen("rpc_server")
    for number, answer in (("0", "0"), ("10", "55"), ("20", "6765")):
        client = programs.run("rpc_client", number)
        client.printed(f"Requesting fib({number})")
        client.printed(f"Got {answer}")
        server.expect_exactly(f"fib({number})")
    server.interrupt()


@tutorial
def publisher_confirms(programs):
    program = programs.run("publisher_confirms", "1000")
    for manner in ("individually", "in batches", "asynchronously"):
        program.printed(f"Published 1000 messages and handled confirms {manner}")
