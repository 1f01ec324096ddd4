"""One script's conversation with one broker, recorded as a transcript.

A session is a list of steps. A step sends frames and ends when everything the broker sends
because of them has arrived: a method has its reply, a publish in confirm mode has its confirm,
and then every open channel of the session has answered a harmless method (`channel.flow` true)
several times, first for what was on its way and then for what that set off. No step waits for
time to pass.

Replies are grouped by channel, since the order between channels is nobody's promise, and what
a broker may choose freely (generated names, how confirms are batched) is made alike.
"""

import contextlib
import hashlib
import re
import select
import socket
import time
from dataclasses import dataclass, field

import amqp

REPLY_TIMEOUT_S = 8
# How much longer the second broker may take to send as many replies as the first one did.
CATCH_UP_TIMEOUT_S = 1.5
# How often channels are asked before all is taken to have arrived. In RabbitMQ an ack reaches the
# next delivery over a chain of processes (channel, limiter, queue, limiter, queue, channel),
# which is longer than the way of a method and its reply.
ROUNDS = 2
ROUNDS_WITH_CONSUMERS = 6
PROTOCOL_HEADER_BYTES = 8
BODY_SHOWN_BYTES = 120

CLIENT_CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}

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


class ScriptFailed(Exception):
    """A script could not be carried on, because a broker did not do what it is built on."""


@dataclass
class Step:
    label: str
    replies: list = field(default_factory=list)  # of (connection name, channel, reply)

    def lines(self):
        """Replies as text, by connection and channel; what is compared and shown."""
        by_channel = {}
        for connection, channel, reply in self.replies:
            by_channel.setdefault((connection, channel), []).append(reply)
        lines = []
        for (connection, channel), replies in sorted(by_channel.items()):
            lines += [f"{connection}.{channel} {render(reply)}" for reply in _batch_confirms(replies)]
        return lines


class Session:
    """`guide` is the transcript of the other broker, which tells how many replies may come."""

    def __init__(self, address, guide=None):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.steps = []
        self._connections = []
        self._guide = guide
        self._generated = {}
        self._declared_queues = set()
        self._declared_exchanges = set()
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
            yield
        finally:
            self.steps, self._step_depth = recorded, depth
            late = [reply for reply in scratch.replies if reply[2].get("method") not in _ROUTINE]
            if late and not recorded:
                recorded.append(Step("(before the first step)"))
            if late:
                recorded[-1].replies += late

    def settle(self):
        """Record what is still on its way."""
        for _ in range(ROUNDS_WITH_CONSUMERS if self._has_consumers else ROUNDS):
            channels = [channel for c in self._connections for channel in c.open_channels()]
            for channel in channels:
                channel.ping()
            self.pump(lambda: all(channel.pings == 0 or channel.closed for channel in channels))

    def wait_for(self, connection, name, count=1):
        """Wait for `count` replies of that method on `connection` in the current step."""

        def arrived():
            seen = sum(1 for c, _, reply in self.steps[-1].replies if c == connection.name and reply.get("method") == name)
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

    def close(self):
        """Close the connections and delete what the script declared."""
        self.steps.append(Step("the end of connections that the broker has closed"))
        self.pump(lambda: all(c.ended or not c.closing for c in self._connections))
        with self.unrecorded():
            for connection in self._connections:
                connection.hang_up()
            self._delete_declared()

    def _delete_declared(self):
        doomed = [("queue.delete", "queue", name) for name in self._declared_queues]
        doomed += [("exchange.delete", "exchange", name) for name in self._declared_exchanges]
        # A reserved name cannot be deleted, nor was it declared.
        doomed = [(method, key, name) for method, key, name in doomed if not str(name).startswith("amq.")]
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
        """Properties stay as they are on the wire unless they hold a generated name."""
        try:
            decoded = amqp.decode_properties(encoded)
        except amqp.Malformed:
            return {"wire": encoded.hex()}
        normal = {name: self.alike(value) for name, value in decoded.items()}
        return normal if normal != decoded else decoded | {"wire": encoded.hex()}

    def alike(self, value):
        """The same with generated names numbered in the order they were first seen."""
        if isinstance(value, str):
            for stem, pattern in _GENERATED:
                value = pattern.sub(lambda match: self._alias(stem, match.group()), value)
            return value
        if isinstance(value, amqp.Tagged):
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


class Connection:
    def __init__(self, session, name):
        self.session = session
        self.name = name
        self.ended = False
        self.closing = False  # the broker has closed, and close-ok was sent
        self.may_end = False  # close-ok was received
        self.frame_max = 131072
        self.replies_to_close = True
        self.last_method = None
        self._buffer = bytearray()
        self._channels = {}
        self._contents = {}
        self.socket = socket.create_connection(session.address, REPLY_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # --- What scripts use ---

    def shake_hands(self, capabilities=CLIENT_CAPABILITIES, frame_max=131072, channel_max=2047, vhost="/"):
        self.send(amqp.PROTOCOL_HEADER)
        self._await("connection.start")
        self.send(start_ok(capabilities=capabilities))
        self._await("connection.tune")
        self.send(amqp.method(0, "connection.tune-ok", channel_max=channel_max, frame_max=frame_max))
        self.send(amqp.method(0, "connection.open", virtual_host=vhost))
        self._await("connection.open-ok")
        self.frame_max = frame_max

    def channel(self, number=1, open=True):
        """A channel, opened without record unless it is left to the script."""
        channel = Channel(self, number)
        self._channels[number] = channel
        if open:
            channel.call_unrecorded("channel.open")
            if channel.closed:
                raise ScriptFailed(f"channel {number} cannot be opened")
        return channel

    def exchange(self, label, data, until=None):
        """Send bytes; wait for the method named `until`, or for "end" of the stream."""
        with self.session.step(f"{self.name} {label}"):
            self.last_method = None
            self.send(data)
            if until == "end":
                self.session.pump(lambda: self.ended)
            elif until is not None:
                self.session.pump(lambda: self.ended or self.last_method == until)

    def call(self, name, /, **fields):
        """A method of class connection."""
        reply = {"connection.open": "connection.open-ok", "connection.close": "connection.close-ok",
                 "connection.start-ok": "connection.tune", "connection.update-secret": "connection.update-secret-ok"}
        self.exchange(f"{name} {_shown(fields)}", amqp.method(0, name, **fields), until=reply[name])

    def drop(self, reset=False):
        """End the TCP connection without a word."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._end()

    def hang_up(self):
        """Close in good order, so that nothing of this connection outlives it."""
        if self.ended:
            return
        self.may_end = True
        if self._channels:
            self.last_method = None
            self.send(amqp.method(0, "connection.close", reply_code=200))
            self.session.pump(lambda: self.ended or self.last_method == "connection.close-ok")
        self._end()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            # The broker has closed; what it said before is still to be read.
            pass

    # --- Receiving ---

    def open_channels(self):
        return [c for c in self._channels.values() if c.pingable and not c.closed]

    def receive(self):
        try:
            data = self.socket.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            # After close-ok, sent or received, it comes when it comes.
            if not self.closing and not self.may_end:
                self._record(0, {"frame": "end of stream"})
            self._end()
            return
        self._buffer += data
        try:
            self._take_frames()
        except amqp.Malformed as error:
            self._record(0, {"frame": f"malformed: {error}"})
            self._end()

    def _take_frames(self):
        if self._buffer.startswith(b"AMQP"):
            if len(self._buffer) >= PROTOCOL_HEADER_BYTES:
                self._record(0, {"frame": "protocol header", "bytes": bytes(self._buffer[:PROTOCOL_HEADER_BYTES])})
                del self._buffer[:PROTOCOL_HEADER_BYTES]
            return
        while (frame := amqp.take_frame(self._buffer)) is not None:
            if frame.type == amqp.METHOD and len(frame.payload) + amqp.FRAME_OVERHEAD_BYTES > self.frame_max:
                self._record(frame.channel, {"frame": "method larger than frame-max"})
            self._assemble(amqp.decode_frame(frame))

    def _assemble(self, decoded):
        """Put a method, its content header and its bodies together into one reply."""
        number = decoded["channel"]
        content = self._contents.get(number)
        if decoded["frame"] == "method" and decoded["method"] in amqp.CONTENT_METHODS and content is None:
            self._contents[number] = decoded
        elif decoded["frame"] == "header" and content is not None and "body-size" not in content:
            content |= {key: decoded[key] for key in ("class-id", "weight", "body-size", "properties")}
            content |= {"body": b"", "body-frames": []}
        elif decoded["frame"] == "body" and content is not None and "body" in content:
            content["body"] += decoded["payload"]
            content["body-frames"].append(len(decoded["payload"]))
        else:
            self._dispatch(number, decoded)
            return
        content = self._contents[number]
        if "body" in content and len(content["body"]) >= content["body-size"]:
            del self._contents[number]
            self._dispatch(number, content)

    def _dispatch(self, number, reply):
        name = reply.get("method")
        channel = self._channels.get(number)
        if channel is not None and channel.takes(reply):
            return
        self._record(number, {key: value for key, value in reply.items() if key != "channel"})
        self.last_method = name
        if name == "connection.close-ok":
            self.may_end = True
        if name in ("connection.close", "connection.close-ok"):
            for other in self._channels.values():
                other.closed = True
        if name == "connection.close" and self.replies_to_close:
            self.send(amqp.method(0, "connection.close-ok"))
            self.closing = True

    def _record(self, number, reply):
        self.session.record(self.name, number, reply)

    def _await(self, name):
        self.session.pump(lambda: self.ended or self.last_method == name)
        if self.last_method != name:
            raise ScriptFailed(f"no {name} in the handshake: {self.session.steps[-1].lines()}")

    def _end(self):
        self.ended = True
        self.socket.close()
        for channel in self._channels.values():
            channel.closed = True


class Channel:
    def __init__(self, connection, number):
        self.connection = connection
        self.session = connection.session
        self.number = number
        self.closed = True
        # Off while a script holds back close-ok or is in the middle of a content.
        self.pingable = True
        self.replies_to_close = True
        self._awaited = set()
        self._answer = None
        self._start_afresh()

    @property
    def place(self):
        return self.connection.name, self.number

    @property
    def name(self):
        return f"{self.connection.name}.{self.number}"

    # --- What scripts use ---

    def call(self, name, /, **fields):
        """A method and its reply, or the closing it brings about."""
        with self.session.step(f"{self.name} {name} {_shown(fields)}"):
            self._awaited, self._answer = _replies_to(name), None
            if name == "channel.open" and not self.connection.ended:
                self._start_afresh()
            self.send_method(name, **fields)
            self.session.pump(lambda: self.closed or self._answer is not None)
        return self._answer

    def cast(self, name, /, **fields):
        """A method without a reply."""
        with self.session.step(f"{self.name} {name} {_shown(fields)}"):
            self.send_method(name, **fields)

    def publish(self, exchange="", routing_key="", body=b"", properties=None, mandatory=False, immediate=False):
        body = body.encode() if isinstance(body, str) else body
        label = f"{self.name} basic.publish exchange={exchange!r} routing_key={routing_key!r}"
        label += f" {_shown(properties)}" if isinstance(properties, dict) else ""
        label += f" {_abbreviated(body)}" + " mandatory" * mandatory + " immediate" * immediate
        with self.session.step(label):
            self.send_method(
                "basic.publish", exchange=exchange, routing_key=routing_key, mandatory=mandatory, immediate=immediate
            )
            self.send(amqp.header(self.number, len(body), properties))
            limit = self.connection.frame_max - amqp.FRAME_OVERHEAD_BYTES
            for start in range(0, len(body), limit):
                self.send(amqp.body(self.number, body[start : start + limit]))
            if self._confirming:
                self._published += 1
                self._unconfirmed.add(self._published)
                if self.session._step_depth == 1:
                    self.await_confirms()

    def await_confirms(self):
        self.session.pump(lambda: self.closed or not self._unconfirmed)

    def send_raw(self, label, data, pingable=True):
        """Bytes on this channel; `pingable` False while it cannot answer a method."""
        self.pingable = pingable
        with self.session.step(f"{self.name} {label}"):
            self.send(data)

    def get_all(self, queue):
        """Empty a queue in one step."""
        with self.session.step(f"{self.name} get all of {queue!r}"):
            reply = self.call("basic.get", queue=queue, no_ack=True)
            while reply is not None and reply["method"] == "basic.get-ok":
                reply = self.call("basic.get", queue=queue, no_ack=True)

    def reopen(self):
        """Open the channel again if an error has closed it, as a preparation of the next step."""
        if self.closed:
            with self.session.unrecorded():
                self.call("channel.open")

    def call_unrecorded(self, name, /, **fields):
        """A method that only tidies up."""
        with self.session.unrecorded():
            self.call(name, **fields)

    # --- Sending and receiving ---

    def _start_afresh(self):
        """The state of a channel that has just been opened."""
        self.closed = False
        self.pings = 0
        self._confirming = False
        self._published = 0
        self._unconfirmed = set()

    def send(self, data):
        self.connection.send(data)

    def send_method(self, name, /, **fields):
        self.session.note_sent(name, fields)
        if name == "confirm.select":
            self._confirming = True
        self.send(amqp.method(self.number, name, **fields))

    def ping(self):
        self.pings += 1
        self.send(amqp.method(self.number, "channel.flow", active=True))

    def takes(self, reply):
        """Keep the books; True if the reply is not for the record."""
        name = reply.get("method")
        if name == "channel.flow-ok" and self.pings:
            self.pings -= 1
            return True
        if name in self._awaited or name == "channel.close":
            self._answer = reply
        if name == "channel.close":
            # Unanswered pings were ignored by the closing channel.
            self.closed, self.pings = True, 0
            if self.replies_to_close:
                self.send(amqp.method(self.number, "channel.close-ok"))
        elif name == "channel.close-ok":
            self.closed = True
        elif name in ("basic.ack", "basic.nack") and self._confirming:
            self._expand_confirm(reply)
            return True
        return False

    def _expand_confirm(self, reply):
        tag = reply["delivery-tag"]
        confirmed = {t for t in self._unconfirmed if t <= tag} if reply["multiple"] else {tag} & self._unconfirmed
        kind = reply["method"].removeprefix("basic.")
        if tag not in confirmed:
            self.connection._record(self.number, {"frame": f"{kind} of unknown publish {tag}"})
        self._unconfirmed -= confirmed
        for each in sorted(confirmed):
            self.connection._record(self.number, {"frame": "confirm", kind: each})


def start_ok(user="guest", password="guest", mechanism="PLAIN", response=None, capabilities=CLIENT_CAPABILITIES):
    if response is None:
        response = f"\0{user}\0{password}"
    properties = {"product": "differential", "capabilities": dict(capabilities)}
    return amqp.method(
        0, "connection.start-ok", client_properties=properties, mechanism=mechanism, response=response, locale="en_US"
    )


def render(reply):
    """A reply on one line, every field."""
    name = reply.get("method") or reply["frame"]
    fields = (f"{key}={_abbreviated(value)}" for key, value in reply.items() if key not in ("method", "frame"))
    return " ".join((name, *fields))


def _batch_confirms(replies):
    """Make confirms alike however they were batched and interleaved.

    Of a single confirm it is kept that returns came before it; several are one set.
    """
    confirms = [reply for reply in replies if reply["frame"] == "confirm"]
    rest = [reply for reply in replies if reply["frame"] != "confirm"]
    if not confirms:
        return rest
    merged = {"frame": "confirms"}
    for kind in ("ack", "nack"):
        tags = sorted(reply[kind] for reply in confirms if kind in reply)
        if tags:
            merged[kind] = tags
    if len(confirms) == 1:
        before = replies[: replies.index(confirms[0])]
        merged["after-returns"] = sum(reply.get("method") == "basic.return" for reply in before)
    return rest + [merged]


def _comparable_server_properties(properties):
    """Capabilities and product; the rest says which broker it is, and the order says nothing."""
    kept = {name: value for name, value in properties if name in ("capabilities", "product")}
    capabilities = kept.get("capabilities")
    if isinstance(capabilities, amqp.Tagged) and isinstance(capabilities.value, list):
        kept["capabilities"] = amqp.Tagged(capabilities.tag, sorted(capabilities.value))
    return sorted(kept.items())


def _replies_to(name):
    if name == "basic.get":
        return {"basic.get-ok", "basic.get-empty"}
    return {f"{name}-ok"}


def _shown(fields):
    return " ".join(name if value is True else f"{name}={_abbreviated(value)}" for name, value in (fields or {}).items())


def _abbreviated(value):
    if isinstance(value, amqp.Tagged):
        return f"{value.tag}:{_abbreviated(value.value)}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_abbreviated, value)) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(_abbreviated, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_abbreviated(each)}" for name, each in value.items()) + "}"
    if isinstance(value, bytes) and len(value) > BODY_SHOWN_BYTES:
        return f"<{len(value)} bytes, sha1 {hashlib.sha1(value).hexdigest()}>"
    return repr(value)
