"""The application: tasks, and the settings that a scenario has for them. `celery -A tasks worker` runs it."""

import itertools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from celery import Celery, shared_task
from celery.signals import worker_init

POLL_S = 0.02
RETRY_COUNTDOWN_S = 0.3
SETTINGS = "INTEROP_CELERY_SETTINGS"

_runs = itertools.count(1)


def application(settings):
    app = Celery("interop")
    app.conf.update(
        broker_url=os.environ["AMQP_URL"],
        result_backend="rpc://",
        broker_connection_retry_on_startup=True,
        worker_proc_alive_timeout=30,
    )
    app.conf.update(settings)
    return app


@worker_init.connect
def end_with_the_scenarios(**_context):
    """Standard input ends when the process ends that started the worker, whatever the reason."""

    def await_end():
        os.read(sys.stdin.fileno(), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=await_end, daemon=True).start()


@shared_task
def add(left, right):
    return left + right


@shared_task(bind=True)
def shout(self, text):
    """The text in capitals, the queue it came from and the worker that did it."""
    return text.upper(), self.request.delivery_info["routing_key"], self.request.hostname


@shared_task
def fail(text):
    raise ValueError(text)


@shared_task
def total(numbers):
    return sum(numbers)


@shared_task(bind=True)
def flaky(self, failures, starts=(), max_retries=3):
    """Fails as often as told; the times at which it was tried, and how often Celery says it was."""
    starts = [*starts, time.time()]
    if len(starts) <= failures:
        raise self.retry(
            args=(failures, starts),
            exc=ValueError(f"failure {len(starts)}"),
            countdown=RETRY_COUNTDOWN_S,
            max_retries=max_retries,
        )
    return starts, self.request.retries


@shared_task
def clock():
    return time.time()


@shared_task
def run_number():
    """How many of these the process has run, this one included."""
    return next(_runs)


@shared_task(bind=True, acks_late=True)
def pass_gate(self, gate):
    """Waits until the file is there; the worker, and whether the broker says that the message was delivered before."""
    while not Path(gate).exists():
        time.sleep(POLL_S)
    return self.request.hostname, self.request.delivery_info["redelivered"]


app = application(json.loads(os.environ.get(SETTINGS, "{}")))
