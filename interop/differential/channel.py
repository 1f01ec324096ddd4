"""A channel of a script's connection."""

import amqp
from transcript import abbreviated, shown


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
        with self.session.step(f"{self.name} {name} {shown(fields)}"):
            self._ask(name, fields)
            while _changes_nothing(fields, self._answer) and self.session.takes_back(self):
                self._ask(name, fields)
        return self._answer

    def _ask(self, name, fields):
        self._awaited, self._answer = _replies_to(name), None
        if name == "channel.open" and not self.connection.ended:
            self._start_afresh()
        self.send_method(name, **fields)
        self.session.pump(lambda: self.closed or self._answer is not None)

    def cast(self, name, /, **fields):
        """A method without a reply."""
        with self.session.step(f"{self.name} {name} {shown(fields)}"):
            self.send_method(name, **fields)

    def publish(self, exchange="", routing_key="", body=b"", properties=None, mandatory=False, immediate=False):
        body = body.encode() if isinstance(body, str) else body
        label = f"{self.name} basic.publish exchange={exchange!r} routing_key={routing_key!r}"
        label += f" {shown(properties)}" if isinstance(properties, dict) else ""
        label += f" {abbreviated(body)}" + " mandatory" * mandatory + " immediate" * immediate
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
            self.session.await_as_many(self, queue)
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
            self.connection.record(self.number, {"frame": f"{kind} of unknown publish {tag}"})
        self._unconfirmed -= confirmed
        for each in sorted(confirmed):
            self.connection.record(self.number, {"frame": "confirm", kind: each})


def _changes_nothing(fields, answer):
    """Whether a method that was answered so can be sent again."""
    name = answer and answer["method"]
    return name == "basic.get-empty" or name == "queue.declare-ok" and fields.get("passive", False)


def _replies_to(name):
    if name == "basic.get":
        return {"basic.get-ok", "basic.get-empty"}
    return {f"{name}-ok"}
