import hashlib
from datetime import datetime, timezone
from decimal import Decimal

import pika
from harness import Inbox
from playing import equal, scenario

FRAME_MAX = 131072
FRAME_OVERHEAD = 8


@scenario
def message_properties(session):
    channel = session.channel()
    queue = session.queue(channel)
    every = {
        "content_type": "application/json",
        "content_encoding": "gzip",
        "headers": {"key": "value"},
        "delivery_mode": 2,
        "priority": 7,
        "correlation_id": "correlation",
        "reply_to": "reply.queue",
        "expiration": "3600000",
        "message_id": "message-1",
        "timestamp": 1700000000,
        "type": "order.created",
        "user_id": session.parameters.credentials.username,
        "app_id": "interop",
        "cluster_id": "cluster",
    }
    for given in (every, {}, {"priority": 0}, {"headers": {}}):
        channel.basic_publish("", queue, b"body", pika.BasicProperties(**given))
        _, properties, _ = channel.basic_get(queue, auto_ack=True)
        received = {name: getattr(properties, name) for name in every if getattr(properties, name) is not None}
        equal(received, given, "properties")


@scenario
def header_field_types(session):
    channel = session.channel()
    queue = session.queue(channel)
    scalars = {
        "longstr": "text äöü",
        "empty longstr": "",
        "bytes": b"\x00\xff\xfe",
        "true": True,
        "false": False,
        "int": -2147483648,
        "long": 9007199254740993,
        "decimal": Decimal("-12.345"),
        "timestamp": datetime(2024, 2, 29, 12, 30, 15, tzinfo=timezone.utc),
        "void": None,
    }
    headers = {
        **scalars,
        "array": [1, "two", [True, None], {"four": 4}],
        "empty array": [],
        "table": {**scalars, "deeper": {"deepest": {}}},
        "k" * 255: "long key",
    }
    channel.basic_publish("", queue, b"", pika.BasicProperties(headers=headers))
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    equal(properties.headers, headers, "headers")
    for key, value in scalars.items():
        equal(isinstance(properties.headers[key], type(value)), True, f"type of {key} kept")


@scenario
def body_sizes(session):
    channel = session.channel()
    queue = session.queue(channel)
    inbox = Inbox(channel, queue, auto_ack=True)
    frame = FRAME_MAX - FRAME_OVERHEAD
    sizes = [0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1]
    bodies = [bytes(n % 251 for n in range(size)) for size in sizes]
    for body in bodies:
        channel.basic_publish("", queue, body)
    for size, body, (_, _, received) in zip(sizes, bodies, inbox.wait(len(bodies))):
        equal(len(received), size, "body size")
        equal(received == body, True, f"body of {size} bytes unchanged")


@scenario
def body_16_mib(session):
    channel = session.channel()
    queue = session.queue(channel)
    body = hashlib.shake_256(b"sixteen").digest(16 * 1024 * 1024)
    channel.confirm_delivery()
    channel.basic_publish("", queue, body)
    inbox = Inbox(channel, queue, auto_ack=True)
    [(_, _, received)] = inbox.wait(1)
    equal(len(received), len(body), "body size")
    equal(received == body, True, "body unchanged")
