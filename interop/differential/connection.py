"""A script's connection: frames out, frames in, and what the script is told of them."""

import socket

import amqp
from channel import Channel
from transcript import shown

CONNECT_TIMEOUT_S = 8
PROTOCOL_HEADER_BYTES = 8

CLIENT_CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}

_REPLIES = {
    "connection.start-ok": "connection.tune",
    "connection.open": "connection.open-ok",
    "connection.close": "connection.close-ok",
    "connection.update-secret": "connection.update-secret-ok",
}


class ScriptFailed(Exception):
    """A script could not be carried on, because a broker did not do what it is built on."""


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
        self.socket = socket.create_connection(session.address, CONNECT_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # --- What scripts use ---

    def shake_hands(
        self, user="guest", password="guest", virtual_host="/",
        capabilities=CLIENT_CAPABILITIES, frame_max=131072, channel_max=2047, heartbeat=0,
    ):
        self.send(amqp.PROTOCOL_HEADER)
        self._await("connection.start")
        self.send(start_ok(user, password, capabilities=capabilities))
        self._await("connection.tune")
        self.send(amqp.method(0, "connection.tune-ok", channel_max=channel_max, frame_max=frame_max, heartbeat=heartbeat))
        self.send(amqp.method(0, "connection.open", virtual_host=virtual_host))
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
        self.exchange(f"{name} {shown(fields)}", amqp.method(0, name, **fields), until=_REPLIES[name])

    def drop(self, reset=False):
        """End the TCP connection without a word."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._end()

    def check_contents(self):
        """Record contents that the broker has begun and not finished."""
        for number, content in self._contents.items():
            self.record(number, {"frame": f"content of {content['method']} unfinished"})

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
                self.record(0, {"frame": "end of stream"})
            self._end()
            return
        self._buffer += data
        try:
            self._take_frames()
        except amqp.Malformed as error:
            self.record(0, {"frame": f"malformed: {error}"})
            self._end()

    def _take_frames(self):
        if self._buffer.startswith(b"AMQP"):
            if len(self._buffer) >= PROTOCOL_HEADER_BYTES:
                self.record(0, {"frame": "protocol header", "bytes": bytes(self._buffer[:PROTOCOL_HEADER_BYTES])})
                del self._buffer[:PROTOCOL_HEADER_BYTES]
            return
        while (frame := amqp.take_frame(self._buffer)) is not None:
            if frame.type == amqp.METHOD and len(frame.payload) + amqp.FRAME_OVERHEAD_BYTES > self.frame_max:
                self.record(frame.channel, {"frame": "method larger than frame-max"})
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
            if content is not None:
                self.record(number, {"frame": f"content of {content['method']} interrupted"})
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
        self.record(number, {key: value for key, value in reply.items() if key != "channel"})
        self.last_method = name
        if name == "connection.close-ok":
            self.may_end = True
        if name in ("connection.close", "connection.close-ok"):
            for other in self._channels.values():
                other.closed = True
        if name == "connection.close" and self.replies_to_close:
            self.send(amqp.method(0, "connection.close-ok"))
            self.closing = True

    def record(self, number, reply):
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


def start_ok(user="guest", password="guest", mechanism="PLAIN", response=None, capabilities=CLIENT_CAPABILITIES):
    if response is None:
        response = f"\0{user}\0{password}"
    properties = {"product": "differential", "capabilities": dict(capabilities)}
    return amqp.method(
        0, "connection.start-ok", client_properties=properties, mechanism=mechanism, response=response, locale="en_US"
    )
