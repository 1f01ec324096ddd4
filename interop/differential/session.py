"""One script's conversation with one broker, recorded as a transcript.

A session is a list of steps. A step sends frames and ends when everything the broker sends
because of them has arrived: a method has its reply, a publish in confirm mode has its confirm,
and then every open channel of the session has answered a harmless method (`channel.flow` true)
several times, first for what was on its way and then for what that set off. No step waits for
time to pass.
"""

import contextlib
import re
import select
import time

import amqp
from connection import Connection, ScriptFailed
from headers import comparable_headers
from transcript import Step

REPLY_TIMEOUT_S = 8
# How much longer the second broker may take to send as many replies as the first one did.
CATCH_UP_TIMEOUT_S = 1.5
ASK_AGAIN_S = 0.004
# How often channels are asked before all is taken to have arrived. In RabbitMQ an ack reaches the
# next delivery over a chain of processes (channel, limiter, queue, limiter, queue, channel),
# which is longer than the way of a method and its reply.
ROUNDS = 2
ROUNDS_WITH_CONSUMERS = 6
# A timestamp in a table this close to the clock is that of an event, as in the header x-death.
RECENT_S = 60

_GENERATED = (
    ("amq.gen-#", re.compile(r"amq\.gen-[A-Za-z0-9_-]{22}")),
    ("amq.ctag-#", re.compile(r"amq\.ctag-[A-Za-z0-9_-]{22}")),
    ("amq.rabbitmq.reply-to.#", re.compile(r"amq\.rabbitmq\.reply-to\.[^\s'\"]+")),
)

# Answers to the methods that prepare a script and clean up after it.
_ROUTINE = {
    "connection.start", "connection.tune", "connection.open-ok", "connection.close-ok",
    "channel.open-ok", "channel.close-ok", "queue.delete-ok", "queue.purge-ok",
}

# Commands of rabbitmqctl that are undone at the end of a script, and the ones that undo them.
_UNDOING = {
    "add_user": "delete_user",
    "add_vhost": "delete_vhost",
    "set_policy": "clear_policy",
    "set_operator_policy": "clear_operator_policy",
}


class Session:
    """`broker` has an address, and `ctl` if the script calls it.

    `guide` is the transcript of the other broker, which tells how many replies may come.
    """

    def __init__(self, broker, guide=None):
        host, port = broker.address.rsplit(":", 1)
        self.address = (host, int(port))
        self._broker = broker
        self.steps = []
        self._connections = []
        self._guide = guide
        self._asked_until = None
        self.follows_guide = True
        self._generated = {}
        self._declared_queues = set()
        self._declared_exchanges = set()
        self._set_by_ctl = []
        self._step_depth = 0
        self._has_consumers = False

    # --- What scripts use ---

    def connect(self, **options):
        """A connection after its handshake, which is not recorded."""
        connection = self.dial()
        with self.unrecorded():
            connection.shake_hands(**options)
        return connection

    def dial(self):
        """A connection on which nothing has been sent."""
        connection = Connection(self, f"c{len(self._connections) + 1}")
        self._connections.append(connection)
        return connection

    def channel(self, **options):
        """Channel 1 of a new connection."""
        return self.connect(**options).channel()

    def ctl(self, *arguments):
        """Run a command of rabbitmqctl; whether it succeeds is recorded, what it prints is returned."""
        with self.step(f"ctl {' '.join(arguments)}"):
            code, output = self._broker.ctl(*arguments)
            self.record("ctl", 0, {"frame": "done" if code == 0 else "refused"})
            self._note_set(*arguments)
        return output

    def step(self, label):
        """A context: everything sent in it is one step, synchronised at its end."""
        return _StepContext(self, label)

    @contextlib.contextmanager
    def unrecorded(self):
        """A context whose methods leave no trace; for what only prepares the next step.

        Whatever is no usual answer to them came late and belongs to the step before.
        """
        recorded, depth = self.steps, self._step_depth
        scratch = Step("(unrecorded)")
        self.steps, self._step_depth = [scratch], 1
        try:
            with self.on_its_own():
                yield
        finally:
            self.steps, self._step_depth = recorded, depth
            late = [reply for reply in scratch.replies if reply[2].get("method") not in _ROUTINE]
            if late and not recorded:
                recorded.append(Step("(before the first step)"))
            if late:
                recorded[-1].replies += late

    @contextlib.contextmanager
    def on_its_own(self):
        """A context in which what the other broker answered does not matter."""
        before, self.follows_guide = self.follows_guide, False
        try:
            yield
        finally:
            self.follows_guide = before

    def settle(self):
        """Record what is still on its way."""
        for _ in range(ROUNDS_WITH_CONSUMERS if self._has_consumers else ROUNDS):
            channels = [channel for c in self._connections for channel in c.open_channels()]
            for channel in channels:
                channel.ping()
            self.pump(lambda: all(channel.pings == 0 or channel.closed for channel in channels))

    def wait_for(self, connection, name, count=1):
        """Wait for `count` replies of that method, or frames, on `connection` in the current step."""

        def arrived():
            names = (reply.get("method", reply["frame"]) for c, _, reply in self.steps[-1].replies if c == connection.name)
            seen = sum(each == name for each in names)
            return seen >= count or connection.ended

        self.pump(arrived)

    # --- Receiving ---

    def pump(self, until, timeout_s=REPLY_TIMEOUT_S, complain=True):
        """Receive on all connections until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not until():
            sockets = {c.socket: c for c in self._connections if not c.ended}
            remaining = deadline - time.monotonic()
            readable = select.select(list(sockets), [], [], remaining)[0] if sockets and remaining > 0 else []
            if not readable:
                if complain:
                    self.record("-", 0, {"frame": f"timeout: no reply in {timeout_s} s"})
                return
            for ready in readable:
                sockets[ready].receive()

    def record(self, connection, channel, reply):
        if not self.steps:
            self.steps.append(Step("(before the first step)"))
        self.steps[-1].replies.append((connection, channel, self._normalise(reply)))

    def takes_back(self, channel):
        """Whether the last answer on a channel is forgotten, so that it can be asked again.

        What a queue holds changes on its own, when dead letters arrive, say. The second broker may
        take some time for what the first one has done at once.
        """
        index = len(self.steps) - 1
        if not self.follows_guide or self._guide is None or index >= len(self._guide):
            return False
        ours, theirs = self.steps[-1].lines_of(channel.place), self._guide[index].lines_of(channel.place)
        if theirs[: len(ours)] == ours:
            self._asked_until = None
            return False
        self._asked_until = self._asked_until or time.monotonic() + CATCH_UP_TIMEOUT_S
        if time.monotonic() > self._asked_until:
            # It has differed; waiting again would only take time.
            self._guide = None
            return False
        self._forget_last(channel.place)
        time.sleep(ASK_AGAIN_S)
        return True

    def await_as_many(self, channel, queue):
        """Wait until a queue is about to give as many messages as in the other broker."""
        index = len(self.steps) - 1
        if not self.follows_guide or self._guide is None or index >= len(self._guide):
            return
        lines = self._guide[index].lines_of(channel.place)
        wanted = sum(" basic.get-ok " in line for line in lines)
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        with self.on_its_own():
            while wanted and not channel.closed and time.monotonic() < deadline:
                ready = channel.call("queue.declare", queue=queue, passive=True).get("message-count")
                self._forget_last(channel.place)
                if ready == wanted:
                    return
                time.sleep(ASK_AGAIN_S)

    def _forget_last(self, place):
        replies = self.steps[-1].replies
        del replies[max(index for index, reply in enumerate(replies) if reply[:2] == place)]

    def finish_step(self):
        if self._guide is not None:
            index = len(self.steps) - 1
            expected = len(self._guide[index].lines()) if index < len(self._guide) else 0
            enough = lambda: len(self.steps[-1].lines()) >= expected
            self.pump(enough, CATCH_UP_TIMEOUT_S, complain=False)
            if not enough():
                # It has already differed; waiting again would only take time.
                self._guide = None
        self.settle()

    # --- Cleaning up ---

    def note_sent(self, name, fields):
        if name == "basic.consume":
            self._has_consumers = True
        if fields.get("passive"):
            return
        if name == "queue.declare" and fields.get("queue"):
            self._declared_queues.add(fields["queue"])
        if name == "exchange.declare" and fields.get("exchange"):
            self._declared_exchanges.add(fields["exchange"])

    def _note_set(self, command, *arguments):
        """Remember how to undo a command, unless the script has done so. A vhost comes first: -p VHOST."""
        if (command, *arguments) in self._set_by_ctl:
            self._set_by_ctl.remove((command, *arguments))
        elif command in _UNDOING:
            undoing = (_UNDOING[command], *arguments[: 3 if arguments[0] == "-p" else 1])
            if undoing not in self._set_by_ctl:
                self._set_by_ctl.append(undoing)

    def close(self):
        """Close the connections and undo what the script declared and set."""
        self.steps.append(Step("the end of the script"))
        self.pump(lambda: all(c.ended or not c.closing for c in self._connections))
        for connection in self._connections:
            connection.check_contents()
        if not self.steps[-1].replies:
            self.steps.pop()
        with self.unrecorded():
            for connection in self._connections:
                connection.hang_up()
            self._delete_declared()

    def _delete_declared(self):
        doomed = [("queue.delete", "queue", name) for name in self._declared_queues]
        doomed += [("exchange.delete", "exchange", name) for name in self._declared_exchanges]
        # A reserved name cannot be deleted, nor was it declared.
        doomed = [(method, key, name) for method, key, name in doomed if not str(name).startswith("amq.")]
        for command in reversed(self._set_by_ctl):
            self._broker.ctl(*command)
        if doomed:
            connection = self.connect()
            channel = connection.channel()
            for method, key, name in doomed:
                channel.send(amqp.method(channel.number, method, nowait=True, **{key: name}))
            self.settle()
            if channel.closed:
                raise ScriptFailed(f"cleaning up failed: {self.steps[-1].lines()}")
            connection.hang_up()

    def abandon(self):
        """Drop every connection after a failure."""
        for connection in self._connections:
            connection.drop()
        self._connections = []
        self.close()

    def add_note(self, text):
        self.steps.append(Step(text))
        self.steps[-1].replies.append(("-", 0, {"frame": text}))

    # --- Normalising ---

    def _normalise(self, reply):
        if reply.get("method") == "connection.start":
            reply = reply | {"server-properties": _comparable_server_properties(reply["server-properties"])}
        normal = {key: self.alike(value) for key, value in reply.items()}
        if isinstance(reply.get("properties"), bytes):
            normal["properties"] = self._normalise_properties(reply["properties"])
        return normal

    def _normalise_properties(self, encoded):
        """Properties stay as they are on the wire unless they hold something that is made alike."""
        try:
            decoded = amqp.decode_properties(encoded)
        except amqp.Malformed:
            return {"wire": encoded.hex()}
        comparable = comparable_headers(decoded)
        normal = {name: self.alike(value) for name, value in comparable.items()}
        if normal != comparable:
            return normal
        wire = encoded if comparable == decoded else amqp.encode_properties(comparable)
        return comparable | {"wire": wire.hex()}

    def alike(self, value):
        """The same with generated names numbered in the order they were first seen."""
        if isinstance(value, str):
            for stem, pattern in _GENERATED:
                value = pattern.sub(lambda match: self._alias(stem, match.group()), value)
            return value
        if isinstance(value, amqp.Tagged):
            if value.tag == "T" and abs(value.value - time.time()) < RECENT_S:
                return amqp.Tagged("T", "now")
            return amqp.Tagged(value.tag, self.alike(value.value))
        if isinstance(value, (list, tuple)):
            return type(value)(self.alike(element) for element in value)
        return value

    def _alias(self, stem, generated):
        aliases = self._generated.setdefault(stem, {})
        return aliases.setdefault(generated, f"{stem}{len(aliases) + 1}")


class _StepContext:
    def __init__(self, session, label):
        self._session = session
        self._label = label

    def __enter__(self):
        # A step inside a step is a part of it.
        if self._session._step_depth == 0:
            self._session.steps.append(Step(self._session.alike(self._label)))
        self._session._step_depth += 1

    def __exit__(self, kind, *_):
        self._session._step_depth -= 1
        if self._session._step_depth == 0 and kind is None:
            self._session.finish_step()


def _comparable_server_properties(properties):
    """Capabilities and product; the rest says which broker it is, and the order says nothing."""
    kept = {name: value for name, value in properties if name in ("capabilities", "product")}
    capabilities = kept.get("capabilities")
    if isinstance(capabilities, amqp.Tagged) and isinstance(capabilities.value, list):
        kept["capabilities"] = amqp.Tagged(capabilities.tag, sorted(capabilities.value))
    return sorted(kept.items())
