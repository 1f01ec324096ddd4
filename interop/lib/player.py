"""Plays scenarios in one client against brokers of its own, and survives whatever the client does."""

import json
import os
import threading

from .brokers import BLOCK, UNBLOCK, Unavailable
from .paths import LOG, shown
from .process import Ended, LineProcess, Silent
from .report import FAILED, LACKING, NOT_IN_BROKER, PASSED, Result
from .scenarios import LAST, NEED_CONTROL

# Longer than a scenario may take by itself, so that the client's own message comes first.
SILENCE_TIMEOUT_S = 60

STATUS = {"passed": PASSED, "failed": FAILED, "lacking": LACKING}


def play_all(client, names, lacks, start_broker, report):
    """One result for each name. A client or broker that dies is started again for the rest.

    `lacks` tells why the broker cannot be asked some of the scenarios.
    """
    for name in names:
        if name in lacks:
            report.add(Result(client.name, name, NOT_IN_BROKER, message=lacks[name]))
    remaining = [name for name in names if name not in lacks]
    while remaining and not report.interrupted.is_set():
        broker = start_broker(client.name)
        player = Player(client, broker)
        if not broker.is_ours:
            remaining = [name for name in remaining if name not in NEED_CONTROL]
        try:
            for result in player.play(list(remaining)) if remaining else ():
                report.add(result)
                remaining.remove(result.name)
                if report.interrupted.is_set():
                    break
        finally:
            player.stop_broker()


class Player:
    def __init__(self, client, broker):
        self._client = client
        self._broker = broker
        self._log_path = LOG / f"{client.name}.log"
        self._stopping = None
        self._stop_problem = None
        self._blocked = False
        self._asked = {
            "stop": self._begin_stop,
            "restart": self._restart,
            "block": lambda: self._block(True),
            "unblock": lambda: self._block(False),
        }

    def play(self, names):
        """Yields results until all are in, or the client or the broker has failed."""
        environment = os.environ | self._client.environment() | {"AMQP_URL": self._broker.url}
        current = names[0]
        with LineProcess(self._client.command(names), environment, self._log_path) as process:
            for _ in names:
                try:
                    result = self._next_result(process)
                    if self._blocked:
                        self._block(False)
                except (Silent, Ended) as problem:
                    message = f"the client {problem}; see {shown(self._log_path)}"
                    yield Result(self._client.name, current, FAILED, message=self._with_broker_problem(message))
                    return
                except Unavailable as problem:
                    yield Result(self._client.name, current, FAILED, message=str(problem))
                    return
                if result.name == LAST and result.status != LACKING:
                    result = self._judge_stop(result)
                elif result.status == FAILED and self._broker.problem():
                    result.message = self._with_broker_problem(result.message)
                    yield result
                    return
                yield result
                current = names[min(names.index(result.name) + 1, len(names) - 1)]

    def stop_broker(self):
        """Stops the broker once; returns what was wrong with how it ended."""
        if self._stopping is None:
            self._begin_stop()
        self._stopping.join()
        return self._stop_problem

    def _begin_stop(self):
        def stop():
            self._stop_problem = self._broker.stop()

        self._stopping = threading.Thread(target=stop)
        self._stopping.start()

    def _restart(self):
        problem = self._broker.restart()
        if problem:
            raise Unavailable(problem)

    def _block(self, blocked):
        problem = self._broker.ctl(*(BLOCK if blocked else UNBLOCK))
        if problem:
            raise Unavailable(problem)
        self._blocked = blocked

    def _next_result(self, process):
        while True:
            line = process.next_line(SILENCE_TIMEOUT_S)
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                raise Ended(f"printed {line!r}, which is not JSON") from None
            what = event["event"]
            if what in self._asked:
                self._asked[what]()
            elif what != "started":
                return Result(
                    self._client.name,
                    event["scenario"],
                    STATUS[what],
                    event.get("seconds", 0.0),
                    event.get("message", ""),
                )

    def _judge_stop(self, result):
        problem = self.stop_broker()
        if problem and result.status == PASSED:
            result.status = FAILED
            result.message = problem
        return result

    def _with_broker_problem(self, message):
        problem = self._broker.problem() if self._stopping is None else None
        return f"{message}; {problem}" if problem else message
