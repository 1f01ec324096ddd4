"""Steps of a script with the replies to each, as the lines of text that are compared and shown.

Replies are grouped by channel, since the order between channels is nobody's promise, and what
a broker may choose freely is made alike.
"""

import hashlib
from dataclasses import dataclass, field

import amqp

SHOWN_BYTES = 120


@dataclass
class Step:
    label: str
    replies: list = field(default_factory=list)  # of (connection name, channel, reply)

    def lines(self):
        """Replies as text, by connection and channel; what is compared and shown."""
        places = sorted({(connection, channel) for connection, channel, _ in self.replies})
        return [line for place in places for line in self.lines_of(place)]

    def lines_of(self, place):
        """The lines of one channel, given as (connection name, number)."""
        replies = [reply for connection, channel, reply in self.replies if (connection, channel) == place]
        for make_alike in (_batch_confirms, _merge_heartbeats, _put_commit_before_deliveries):
            replies = make_alike(replies)
        return ["{}.{} ".format(*place) + render(reply) for reply in replies]


def shown(fields):
    """Fields of a method or properties as text, for labels."""
    return " ".join(name if value is True else f"{name}={abbreviated(value)}" for name, value in (fields or {}).items())


def render(reply):
    """A reply on one line, every field."""
    name = reply.get("method") or reply["frame"]
    fields = (f"{key}={abbreviated(value)}" for key, value in reply.items() if key not in ("method", "frame"))
    return " ".join((name, *fields))


def abbreviated(value):
    """A value as text, long bytes by their hash."""
    if isinstance(value, amqp.Tagged):
        return f"{value.tag}:{abbreviated(value.value)}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(abbreviated, value)) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(abbreviated, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {abbreviated(each)}" for name, each in value.items()) + "}"
    if isinstance(value, bytes) and len(value) > SHOWN_BYTES:
        return f"<{len(value)} bytes, sha1 {hashlib.sha1(value).hexdigest()}>"
    return repr(value)


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


def _merge_heartbeats(replies):
    """How many heartbeats come in a time is nobody's promise."""
    return [
        reply for before, reply in zip([None, *replies], replies) if reply["frame"] != "heartbeat" or reply != before
    ]


def _put_commit_before_deliveries(replies):
    """What a commit publishes may reach a consumer on the same channel before or after commit-ok."""
    if not any(reply.get("method") == "tx.commit-ok" for reply in replies):
        return replies
    return sorted(replies, key=lambda reply: reply.get("method") == "basic.deliver")
