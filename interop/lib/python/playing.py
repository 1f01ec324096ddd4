"""What the clients in Python share: the registry of scenarios, what is told of them, a deadline, exact comparison.

Each client's `run.py` calls `main`; the scenarios are in its package `scenarios`.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import sys
import time

SCENARIO_TIMEOUT_S = 45

_registry = {}


def scenario(function):
    """Registers a function of one argument, the client's `Session`, under its name."""
    _registry[function.__name__] = function
    return function


class Lacking(Exception):
    """The client offers no way to do this; the message says what is missing."""


def lacking(name, reason):
    def refuse(_session):
        raise Lacking(reason)

    _registry[name] = refuse


def main(run):
    """Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event.

    `run` is called with a scenario's function, its name and the URL, and does the rest.
    """
    scenarios = importlib.import_module("scenarios")
    for module in pkgutil.iter_modules(scenarios.__path__):
        importlib.import_module(f"scenarios.{module.name}")
    for name in sys.argv[1:]:
        play(name, run)


def play(name, run):
    report(name, "started")
    started = time.monotonic()
    try:
        if name not in _registry:
            raise AssertionError("the client has no such scenario")
        run(_registry[name], name, os.environ["AMQP_URL"])
    except Lacking as lack:
        report(name, "lacking", message=str(lack))
    except Exception as error:  # whatever a scenario raises is its result
        message = str(error) if isinstance(error, AssertionError) else repr(error)
        report(name, "failed", seconds=time.monotonic() - started, message=message + where(error))
    else:
        report(name, "passed", seconds=time.monotonic() - started)


def report(name, event, **details):
    print(json.dumps({"scenario": name, "event": event, **details}), flush=True)


def where(error):
    """The scenario's own line that raised, the innermost one."""
    place = ""
    traceback = error.__traceback__ if error else None
    while traceback:
        path = traceback.tb_frame.f_code.co_filename
        if "/scenarios/" in path:
            place = f" ({path.rsplit('/', 1)[1]}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    return place


@contextlib.contextmanager
def deadline(seconds=SCENARIO_TIMEOUT_S):
    def expire(_signal, _frame):
        raise AssertionError(f"not done after {seconds} s")

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def equal(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {actual!r}")
