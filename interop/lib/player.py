"""Plays scenarios in one client against brokers of its own, and survives whatever the client does."""

import json
import os
import threading

from .paths import LOG, shown
from .process import Ended, LineProcess, Silent
from .report import FAILED, LACKING, PASSED, Result
from .scenarios import LAST

# Longer than a scenario may take by itself, so that the client's own message comes first.
SILENCE_TIMEOUT_S = 45

STATUS = {"passed": PASSED, "failed": FAILED, "lacking": LACKING}


def play_all(client, names, start_broker, report):
    """One result for each name. A client or broker that dies is started again for the rest."""
    remaining = list(names)
    while remaining:
        broker = start_broker(client.name)
        if not broker.can_stop and LAST in remaining:
            remaining.remove(LAST)
            continue
        player = Player(client, broker)
        try:
            for result in player.play(list(remaining)):
                report.add(result)
                remaining.remove(result.name)
        finally:
            player.stop_broker()


class Player:
    def __init__(self, client, broker):
        self._client = client
        self._broker = broker
        self._log_path = LOG / f"{client.name}.log"
        self._stopping = None
        self._stop_problem = None

    def play(self, names):
        """Yields results until all are in, or the client or the broker has failed."""
        environment = os.environ | self._client.environment() | {"AMQP_URL": self._broker.url}
        current = names[0]
        with LineProcess(self._client.command(names), environment, self._log_path) as process:
            for _ in names:
                try:
                    result = self._next_result(process)
                except (Silent, Ended) as problem:
                    message = f"the client {problem}; see {shown(self._log_path)}"
                    yield Result(self._client.name, current, FAILED, message=self._with_broker_problem(message))
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

    def _next_result(self, process):
        while True:
            line = process.next_line(SILENCE_TIMEOUT_S)
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                raise Ended(f"printed {line!r}, which is not JSON") from None
            if event["event"] == "ready":
                self._begin_stop()
            elif event["event"] != "started":
                return Result(
                    self._client.name,
                    event["scenario"],
                    STATUS[event["event"]],
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
