"""Runs the small systems of interop/examples, and checks what came of them."""

import json
import os
import time
from collections import Counter

from .clients import CLIENTS
from .clients.base import run_tool
from .paths import CACHE, INTEROP, LOG
from .process import Ended, LineProcess, Silent
from .report import FAILED, PASSED, Result

SUITE = "examples"
FOLDER = INTEROP / "examples"
BUILT = CACHE / "examples"
LINE_TIMEOUT_S = 20
# The clients whose libraries the programs use, by the ending of their sources.
CLIENT_OF = {".py": "pika", ".js": "amqplib", ".rb": "bunny", ".php": "php-amqplib", "": "go"}
EXAMPLES = {}


def clients():
    return [CLIENTS[name] for name in CLIENT_OF.values()]


def run_examples(start_broker, report):
    """Each against a broker of its own, one after the other: one of them measures."""
    run_tool(SUITE, ["go", "build", "-buildvcs=false", "-o", f"{BUILT}{os.sep}", "./..."], cwd=FOLDER)
    for name, example in EXAMPLES.items():
        if not report.interrupted.is_set():
            broker = start_broker(f"example-{name}")
            try:
                report.add(run_example(name, example, broker))
            finally:
                broker.stop()


def run_example(name, example, broker):
    began = time.monotonic()
    system = System(name, broker.url)
    try:
        said = example(system)
    except (AssertionError, Silent, Ended) as problem:
        return Result(SUITE, name, FAILED, time.monotonic() - began, broker.problem() or str(problem))
    finally:
        system.kill()
    return Result(SUITE, name, PASSED, time.monotonic() - began, said or "")


class System:
    """The programs of an example, and what they print."""

    def __init__(self, name, url):
        self.name = name
        self._url = url
        self._running = []

    def start(self, program, *arguments):
        program = Program(self, program, arguments, self._url)
        self._running.append(program)
        return program

    def serve(self, program, *arguments):
        """Starts a program that says when it is ready, and awaits that."""
        program = self.start(program, *arguments)
        program.expect("ready")
        return program

    def kill(self):
        for program in self._running:
            program.kill()


class Program:
    def __init__(self, system, source, arguments, url):
        self.name = " ".join([source, *arguments])
        path = FOLDER / system.name / source
        client = CLIENTS[CLIENT_OF[path.suffix]]
        command = client.run_file(path) if path.suffix else [BUILT / source]
        environment = os.environ | client.environment() | {"AMQP_URL": url}
        self._process = LineProcess([*command, *arguments], environment, LOG / f"example-{system.name}.log")

    def line(self):
        try:
            return self._process.next_line(LINE_TIMEOUT_S)
        except (Silent, Ended) as problem:
            raise AssertionError(f"{self.name} {problem}") from problem

    def expect(self, text):
        found = self.line()
        equal(found, text, f"what {self.name} prints")

    def lines(self, count):
        return [self.line() for _ in range(count)]

    def lines_until(self, last):
        """The lines before one that is `last`."""
        found = []
        while (line := self.line()) != last:
            found.append(line)
        return found

    def end(self):
        """Its lines to its end, which has to be a good one."""
        found = []
        while True:
            try:
                found.append(self._process.next_line(LINE_TIMEOUT_S))
            except Ended:
                break
        equal(self._process.wait(), 0, f"exit status of {self.name}")
        return found

    def interrupt(self):
        equal(self._process.interrupt(), 0, f"exit status of {self.name}")

    def write(self, text):
        self._process.write(text)

    def kill(self):
        self._process.kill()


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: expected {shortened(expected)}, found {shortened(found)}")


def shortened(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def example(function):
    EXAMPLES[function.__name__] = function
    return function


@example
def orders(system):
    """Every order ends once, although payment is killed with orders in its hands."""
    count = 200
    ledger = system.serve("ledger.py", str(count))
    system.serve("shipping.rb")
    payment = system.serve("payment.js")
    shop = system.start("shop.py", str(count))
    settled = payment.lines(40)
    payment.kill()
    system.serve("payment.js")
    shop.expect(f"placed {count} orders")
    ends = ledger.lines_until("complete")
    equal(len(settled), 40, "orders that the first payment service settled")
    # Of ten orders one is refused three times, and one succeeds the second time; killed in between, a count may be short.
    equal(ends, ["failed after 3 attempts: 20", "shipped after 1 attempts: 160", "shipped after 2 attempts: 20"], "ends")


@example
def notifications(system):
    """Every listener hears what it asked for, in order, and what was said while it was away."""
    listeners = {
        "push.js": ("eu.#", "*.payment.urgent"),
        "sms.php": ("*.*.urgent",),
        "audit.rb": ("#",),
    }
    wants = {
        "push.js": lambda key: key[0] == "eu" or key[1:] == ["payment", "urgent"],
        "sms.php": lambda key: key[2] == "urgent",
        "audit.rb": lambda key: True,
    }
    running = {name: system.serve(name, *patterns) for name, patterns in listeners.items()}
    for round_number in range(2):
        announced = system.start("announce", "120").end()
        equal(len(announced), 120, "announcements")
        if round_number == 1:
            running["audit.rb"] = system.serve("audit.rb", "#")
        for name, listener in running.items():
            wanted = [line for line in announced if wants[name](line.split()[0].split("."))]
            equal(listener.lines(len(wanted)), wanted, f"what {name} heard")
        if round_number == 0:
            running["audit.rb"].interrupt()


@example
def logs(system):
    """A slow collector gets every error of each program in order, and the newest of the rest; nobody waits for it."""
    names, count = ("web", "billing", "search"), 5000
    errors = [f"{name} {number}" for name in names for number in range(99, count, 100)]
    collector = system.serve("collector.py", str(len(errors)))
    emitting = [system.start("emit", name, str(count)) for name in names]
    took = [emitter.end()[0] for emitter in emitting]
    collector.write("collect\n")
    collected = collector.lines_until("complete")
    found = [line.removeprefix("logs.error ") for line in collected if line.startswith("logs.error ")]
    by_name = lambda lines: {name: [line for line in lines if line.startswith(f"{name} ")] for name in names}
    equal(by_name(found), by_name(errors), "errors")
    rest = [line.removeprefix("logs.info ") for line in collected if line.startswith("logs.info ")]
    equal(len(rest), 1000, "lines that are kept")
    for name, lines in by_name(rest).items():
        numbers = [int(line.split()[1]) for line in lines]
        # Without a gap up to its end: what is dropped is the oldest.
        newest = [number for number in range(count) if number % 100 != 99][-len(numbers) :] if numbers else []
        equal(numbers, newest, f"what is kept of {name}")
    return "; ".join(took)


@example
def rpc_workers(system):
    """Throughput grows with the workers, at least up to the processors, and each has its share."""
    milliseconds, outstanding = 2000, 20
    workers, rates = [], {}
    for number in (1, 2, 4, 8):
        while len(workers) < number:
            workers.append(system.serve("worker", f"worker-{len(workers) + 1}"))
        caller = system.start("caller.js", str(outstanding * number), str(milliseconds))
        result = json.loads(caller.end()[0])
        rates[number] = result["rate"]
        shares = Counter(result["answered"])
        fair = sum(shares.values()) / number
        equal(len(shares), number, "workers that answered")
        for worker, answered in shares.items():
            if abs(answered - fair) > 0.05 * fair:
                raise AssertionError(f"{worker} of {number} answered {answered} calls, its share is {fair:.0f}")
    growth = {number: rate / rates[1] / number for number, rate in rates.items()}
    for number in (number for number in rates if number <= (os.cpu_count() or 1)):
        if growth[number] < 0.95:
            raise AssertionError(f"{number} workers answer {rates[number]:.0f} calls a second, one {rates[1]:.0f}")
    return ", ".join(f"{number}: {rate:.0f}/s ({growth[number]:.2f})" for number, rate in rates.items())
