"""The command line: which scripts run against which brokers, and what is reported."""

import argparse
import concurrent.futures
import contextlib
import difflib
import functools
import itertools
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from differences import PENDING, differences_of  # noqa: E402
from leveret import Leveret  # noqa: E402
from rabbitmq import NotInstalled, RabbitMQ, ServerFailed  # noqa: E402
from random_sequences import run_sequence  # noqa: E402
from scripts import CTL_SCRIPTS, SCRIPTS, WAITING_SCRIPTS  # noqa: E402
from session import Session  # noqa: E402
from transcript import Step  # noqa: E402

RANDOM_COUNT = 100
RANDOM_SEED = 1
SHOWN_MISMATCHES = 4
SHOWN_COLUMNS = 400
SHOWN_BEFORE_DIFFERENCE = 100


class RunningBroker:
    """A broker somebody else started, and how to run its rabbitmqctl."""

    def __init__(self, address, ctl_command):
        self.address = address
        self.ctl = functools.partial(self._run, shlex.split(ctl_command)) if ctl_command else None

    @staticmethod
    def _run(command, *arguments):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).strip()


@dataclass
class Comparison:
    script: str
    mismatches: list = field(default_factory=list)  # of (step label, RabbitMQ's text, Leveret's text)
    complaints: list = field(default_factory=list)  # about the lists in differences.py
    pending: str = None  # the feature that the script waits for

    @property
    def passed(self):
        return not self.mismatches and not self.complaints


def main():
    options = parse_options()
    if options.list:
        for name, function in SCRIPTS.items():
            print(f"{name:50} {(function.__doc__ or '').splitlines()[0] if function.__doc__ else ''}".rstrip())
        return 0
    # An exit unwinds the stack below, which stops the brokers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with contextlib.ExitStack() as stack:
            return run(options, stack)
    except (NotInstalled, ServerFailed, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 2


def run(options, stack):
    scripts = chosen_scripts(options)
    # One scheduler takes most of the chance out of RabbitMQ's order of events.
    oracle = RunningBroker(options.oracle, options.oracle_ctl) if options.oracle else stack.enter_context(RabbitMQ(schedulers=1))
    scripts = those_possible(scripts, oracle)
    if options.transcript:
        for name, function in scripts.items():
            print_transcript(name, transcribe(function, oracle))
        return 0
    broker = RunningBroker(options.broker, options.broker_ctl) if options.broker else stack.enter_context(Leveret())
    scripts = those_possible(scripts, broker)

    compare_one = functools.partial(compare_brokers, oracle=oracle, broker=broker, identical=options.identical)
    passed = failed = 0
    for comparison in compare_all(scripts, compare_one):
        report(comparison)
        passed += comparison.passed
        failed += not comparison.passed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def chosen_scripts(options):
    """Name to function, in order; random sequences last."""
    scripts = {}
    if options.script:
        for pattern in options.script:
            found = {name: function for name, function in SCRIPTS.items() if name.startswith(pattern)}
            if not found:
                raise SystemExit(f"no script is called {pattern}; see --list")
            scripts |= found
    elif options.seed is None:
        scripts |= SCRIPTS
    count = options.random
    if count is None:
        count = 0 if options.script else RANDOM_COUNT
    first = RANDOM_SEED if options.seed is None else options.seed
    scripts |= {f"random_{seed}": functools.partial(run_sequence, seed) for seed in range(first, first + count)}
    return scripts


def those_possible(scripts, broker):
    """The scripts without those that need rabbitmqctl, if the broker was given without."""
    left_out = [name for name in scripts if name in CTL_SCRIPTS] if broker.ctl is None else []
    if left_out:
        print(f"left out for want of --oracle-ctl or --broker-ctl: {' '.join(left_out)}", file=sys.stderr)
    return {name: function for name, function in scripts.items() if name not in left_out}


def compare_all(scripts, compare_one):
    """Comparisons as they come; scripts that only wait do so side by side."""
    waiting = {name: function for name, function in scripts.items() if name in WAITING_SCRIPTS}
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(waiting))) as pool:
        yield from pool.map(compare_one, waiting.keys(), waiting.values())
    for name, function in scripts.items():
        if name not in waiting:
            yield compare_one(name, function)


def compare_brokers(name, function, oracle, broker, identical):
    expected = transcribe(function, oracle)
    actual = transcribe(function, broker, guide=expected)
    comparison = compare(name, expected, actual, [] if identical else differences_of(name))
    if name in PENDING and not identical:
        comparison.pending = PENDING[name]
        comparison.complaints = [] if comparison.mismatches else ["listed as pending in differences.py, but it passes"]
        comparison.mismatches = []
    return comparison


def transcribe(function, broker, guide=None):
    """The steps of one script on one broker; a script that breaks off says so in its last step."""
    session = Session(broker, guide)
    try:
        function(session)
        session.close()
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        with contextlib.suppress(Exception):
            session.abandon()
        session.add_note(f"broke off: {type(error).__name__}: {error} ({pathlib.Path(place.filename).name}:{place.lineno})")
    return session.steps


def compare(name, expected, actual, differences):
    comparison = Comparison(name)
    used = set()
    for theirs, ours in itertools.zip_longest(expected, actual, fillvalue=Step("(the script ended)")):
        if theirs.label != ours.label:
            comparison.mismatches.append(("the scripts part here", theirs.label, ours.label))
            break
        theirs_text, ours_text = "\n".join(theirs.lines()), "\n".join(ours.lines())
        if theirs_text == ours_text:
            continue
        for difference in differences:
            rests = difference.take_out(theirs_text, ours_text)
            if rests != (theirs_text, ours_text):
                used.add(difference)
                theirs_text, ours_text = rests
        if theirs_text != ours_text:
            comparison.mismatches.append((theirs.label, theirs_text, ours_text))
    failures = [line for step in expected for line in step.lines() if line.startswith("-.0 ")]
    if failures:
        comparison.mismatches.append(("RabbitMQ did not do what the script is built on", "\n".join(failures), ""))
    comparison.complaints = [
        f"listed in differences.py, but does not occur: {difference.reason}" for difference in differences if difference not in used
    ]
    return comparison


def report(comparison):
    note = f" (pending: {comparison.pending})" if comparison.pending else ""
    print(("ok   " if comparison.passed else "FAIL ") + comparison.script + note, flush=True)
    for label, theirs, ours in comparison.mismatches[:SHOWN_MISMATCHES]:
        print(f"  step: {label[:SHOWN_COLUMNS]}")
        for name, line in side_by_side(theirs.splitlines(), ours.splitlines()):
            print(f"    {name} {line}")
    if len(comparison.mismatches) > SHOWN_MISMATCHES:
        print(f"  and {len(comparison.mismatches) - SHOWN_MISMATCHES} more")
    for complaint in comparison.complaints:
        print(f"  {complaint}")
    if not comparison.passed:
        print(f"  replay: {replay_command(comparison.script)}")


def side_by_side(theirs, ours):
    """Lines marked with who sent them; of long lines that differ, the part where they do."""
    for kind, a, b, c, d in difflib.SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (("both    ", line[:SHOWN_COLUMNS]) for line in theirs[a:b])
            continue
        skipped = 0
        if b - a == d - c == 1:
            skipped = max(0, len(os.path.commonprefix([theirs[a], ours[c]])) - SHOWN_BEFORE_DIFFERENCE)
        for name, lines in (("RabbitMQ", theirs[a:b]), ("Leveret ", ours[c:d])):
            for line in lines:
                long = len(line) > SHOWN_COLUMNS and skipped
                yield name, (f"...{line[skipped:]}" if long else line)[:SHOWN_COLUMNS]


def replay_command(script):
    if script.startswith("random_"):
        return f"interop/differential/run --random 1 --seed {script.removeprefix('random_')}"
    return f"interop/differential/run --script {script}"


def print_transcript(name, steps):
    print(f"## {name}")
    for step in steps:
        print(f"  > {step.label[:SHOWN_COLUMNS]}")
        for line in step.lines():
            print(f"      {line}")


def parse_options():
    parser = argparse.ArgumentParser(
        prog="interop/differential/run",
        description="Send the same frames to RabbitMQ and to Leveret and compare the replies.",
    )
    parser.add_argument("--broker", metavar="ADDRESS", help="host:port of the broker to examine (default: build and start Leveret)")
    parser.add_argument("--oracle", metavar="ADDRESS", help="host:port of a RabbitMQ (default: start a private one)")
    parser.add_argument("--broker-ctl", metavar="COMMAND", help="with --broker: what to run as rabbitmqctl, say `leveret ctl --data-dir DIRECTORY`")
    parser.add_argument("--oracle-ctl", metavar="COMMAND", help="with --oracle: what to run as rabbitmqctl")
    parser.add_argument("--script", metavar="NAME", nargs="+", help="only scripts whose names start so")
    parser.add_argument("--random", metavar="COUNT", type=int, help=f"how many random sequences (default {RANDOM_COUNT}, with --script 0)")
    parser.add_argument("--seed", metavar="N", type=int, help=f"seed of the first random sequence (default {RANDOM_SEED}); without --script only random sequences run")
    parser.add_argument("--identical", action="store_true", help="leave out the list of differences; to compare a RabbitMQ with a RabbitMQ")
    parser.add_argument("--transcript", action="store_true", help="print what RabbitMQ answers and compare nothing")
    parser.add_argument("--list", action="store_true", help="print the names of the scripts")
    return parser.parse_args()
