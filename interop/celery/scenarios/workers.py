"""Each scenario has workers of its own."""

import time
from datetime import datetime, timezone

from celery import chord
from celery.exceptions import TaskRevokedError
from harness import eventually
from playing import equal, scenario
from tasks import RETRY_COUNTDOWN_S, add, clock, fail, flaky, pass_gate, run_number, shout, total

RESULT_TIMEOUT_S = 20
LONG_S = 600


def result(pending):
    return pending.get(timeout=RESULT_TIMEOUT_S, interval=0.02)


@scenario
def celery_tasks(session):
    session.configure()
    first, second = session.queue("first"), session.queue("second")
    worker = session.worker(first, second, concurrency=2, prefetch_multiplier=4)
    sums = [add.apply_async((n, 1), queue=first) for n in range(50)]
    shouts = [shout.apply_async((f"word {n}",), queue=second) for n in range(50)]
    failure = fail.apply_async(("as asked",), queue=first)
    equal([result(pending) for pending in sums], [n + 1 for n in range(50)], "results of the first queue")
    expected = [[f"WORD {n}", second, worker.name] for n in range(50)]
    equal([result(pending) for pending in shouts], expected, "results of the second queue")
    try:
        result(failure)
    except ValueError as error:
        equal(error.args, ("as asked",), "what the failed task raised")
    else:
        raise AssertionError("a task that fails has a result")
    equal((failure.state, session.ready(first), session.ready(second)), ("FAILURE", 0, 0), "state and messages left")


@scenario
def celery_retry(session):
    session.configure()
    queue = session.queue()
    session.worker(queue)
    starts, retries = result(flaky.apply_async((2,), queue=queue))
    equal((len(starts), retries), (3, 2), "starts and retries")
    waits = [later - earlier for earlier, later in zip(starts, starts[1:])]
    equal([wait >= RETRY_COUNTDOWN_S for wait in waits], [True, True], f"waited for the countdown, {waits} s")
    try:
        result(flaky.apply_async((9,), {"max_retries": 1}, queue=queue))
    except ValueError as error:
        equal(error.args, ("failure 2",), "what it raised when it had no retries left")
    else:
        raise AssertionError("a task that only fails has a result")


@scenario
def celery_eta(session):
    """More tasks that wait than the worker's prefetch: Celery raises it for each, so that others still arrive."""
    session.configure()
    queue = session.queue()
    worker = session.worker(queue)
    for _ in range(5):
        clock.apply_async(countdown=LONG_S, queue=queue)
    waiting = lambda: len(session.inspect(worker).scheduled()[worker.name])
    eventually(waiting, 5, "tasks that the worker holds until their time")
    due = time.time() + 1
    punctual = clock.apply_async(eta=datetime.fromtimestamp(due, timezone.utc), queue=queue)
    others = [clock.apply_async(queue=queue) for _ in range(5)]
    for pending in others:
        result(pending)
    finished = result(punctual)
    equal(finished >= due, True, f"no earlier than its ETA, by {finished - due} s")
    equal(waiting(), 5, "tasks that the worker still holds")


@scenario
def celery_chord(session):
    """Results are in files, since Celery's rpc:// backend has no chords; a task looks until all of them are there."""
    queue = session.queue()
    session.configure(
        result_backend=session.results_in_files(), task_default_queue=queue, result_chord_retry_interval=0.1
    )
    session.workers(2, queue, prefetch_multiplier=4)
    equal(result(chord(add.s(n, n) for n in range(20))(total.s())), sum(2 * n for n in range(20)), "total")
    nested = chord([chord([add.s(1, 2), add.s(3, 4)], total.s()), add.s(5, 6)], total.s())
    equal(result(nested.delay()), 21, "total of a chord in a chord")


@scenario
def celery_prefetch(session):
    """The worker acknowledges late, so that what is not ready is what it holds."""
    session.configure()
    queue = session.queue()
    worker = session.worker(queue, concurrency=1, prefetch_multiplier=2)
    inspect = session.inspect(worker)
    command = {"destination": [worker.name], "reply": True, "timeout": 5}

    def check_held(label, prefetch, ready):
        eventually(lambda: inspect.stats()[worker.name]["prefetch_count"], prefetch, f"prefetch {label}")
        eventually(lambda: session.ready(queue), ready, f"messages ready {label}")
        # By the time that the worker has answered once more, it would have got what it must not have.
        inspect.ping()
        equal(session.ready(queue), ready, f"messages still ready {label}")

    def send(count, gate):
        return [pass_gate.apply_async((str(session.gate(gate)),), queue=queue) for _ in range(count)]

    def run(tasks, gate):
        session.gate(gate).touch()
        equal({result(task)[0] for task in tasks}, {worker.name}, "who ran the tasks")

    for _ in range(3):
        clock.apply_async(countdown=LONG_S, queue=queue)
    check_held("with three tasks that wait for their time", 2 + 3, 0)
    blocked = send(20, "first")
    check_held("with twenty more", 2 + 3, 20 - 2)
    session.app.control.pool_grow(2, **command)
    check_held("after pool_grow", 3 * 2 + 3, 20 - 6)
    run(blocked, "first")
    result(clock.apply_async(countdown=0.2, queue=queue))
    check_held("when the time of a fourth has come", 3 * 2 + 3, 0)
    eventually(lambda: len(inspect.stats()[worker.name]["pool"]["processes"]), 3, "processes of the pool")
    session.app.control.pool_shrink(2, **command)
    check_held("after pool_shrink", 2 + 3, 0)
    blocked = send(10, "second")
    check_held("with ten more", 2 + 3, 10 - 2)
    run(blocked, "second")


@scenario
def celery_late_ack(session):
    session.configure()
    queue = session.queue()
    workers = session.workers(2, queue)
    gate = session.gate("gate")
    pending = pass_gate.apply_async((str(gate),), queue=queue)
    inspect = session.inspect(*workers)
    at_work = lambda: {name: [task["id"] for task in tasks] for name, tasks in inspect.active().items() if tasks}
    eventually(lambda: list(at_work().values()), [[pending.id]], "the task runs")
    [doomed] = [worker for worker in workers if worker.name in at_work()]
    [heir] = [worker for worker in workers if worker is not doomed]
    doomed.kill()
    gate.touch()
    equal(result(pending), [heir.name, True], "the worker, and whether the message was redelivered")


@scenario
def celery_priorities(session):
    session.configure(task_queue_max_priority=10)
    queue = session.queue()
    priorities = [0, 5, 10, 1, 5, 9, 0, 10]
    pending = [run_number.apply_async(queue=queue, priority=priority) for priority in priorities]
    eventually(lambda: session.ready(queue), len(priorities), "tasks ready")
    session.worker(queue)
    order = sorted(range(len(priorities)), key=lambda sent: -priorities[sent])
    ran = [result(task) for task in pending]
    equal(sorted(range(len(ran)), key=ran.__getitem__), order, "the tasks as they ran, by when they were sent")


@scenario
def celery_control(session):
    session.configure()
    queue = session.queue()
    workers = session.workers(2, queue, options=())
    names = sorted(worker.name for worker in workers)
    pong = {"ok": "pong"}
    ping = session.app.control.ping(timeout=5, limit=2)
    equal(sorted(ping, key=str), [{name: pong} for name in names], "answers to a broadcast")
    ping = session.app.control.ping(destination=names[:1], timeout=5)
    equal(ping, [{names[0]: pong}], "answers to one that names a worker")
    inspect = session.inspect(*workers)
    listening = {name: [each["name"] for each in queues] for name, queues in inspect.active_queues().items()}
    equal(listening, dict.fromkeys(names, [queue]), "the queues of each")

    gates = [session.gate(label) for label in ("never", "later")]
    terminated, running = (pass_gate.apply_async((str(gate),), queue=queue) for gate in gates)
    at_work = lambda: sorted(task["id"] for tasks in inspect.active().values() for task in tasks)
    eventually(at_work, sorted([terminated.id, running.id]), "the tasks run")
    waiting = add.apply_async((1, 2), queue=queue)
    waiting.revoke()
    eventually(lambda: [waiting.id in ids for ids in inspect.revoked().values()], [True] * 2, "both know of the revoke")
    terminated.revoke(terminate=True)
    gates[1].touch()
    equal(result(running)[1], False, "the task that was not revoked")
    for task in (terminated, waiting):
        try:
            result(task)
        except TaskRevokedError:
            continue
        raise AssertionError("a revoked task has a result")
