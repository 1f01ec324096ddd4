import hashlib
from datetime import datetime
from decimal import Decimal

from harness import Inbox, receive, send
from kombu import Producer
from playing import equal, scenario

FRAME_MAX = 131072
FRAME_OVERHEAD = 8


@scenario
def message_properties(session):
    """The producer fills in some properties by itself, so the bare ones are published on the channel."""
    channel = session.channel()
    queue = session.queue(channel)
    Producer(channel).publish(
        b"body",
        routing_key=queue.name,
        content_type="application/x-interop",
        content_encoding="binary",
        headers={"key": "value"},
        delivery_mode="persistent",
        priority=7,
        expiration=3600,
        correlation_id="correlation",
        reply_to="reply.queue",
        message_id="message-1",
        timestamp=1700000000,
        type="order.created",
        user_id=session.address.username,
        app_id="interop",
        cluster_id="cluster",
    )
    every = {
        "content_type": "application/x-interop",
        "content_encoding": "binary",
        "application_headers": {"key": "value"},
        "delivery_mode": 2,
        "priority": 7,
        "correlation_id": "correlation",
        "reply_to": "reply.queue",
        "expiration": "3600000",
        "message_id": "message-1",
        "timestamp": 1700000000,
        "type": "order.created",
        "user_id": session.address.username,
        "app_id": "interop",
        "cluster_id": "cluster",
    }
    message = receive(queue)
    equal(message.properties, every, "properties")
    equal((message.headers, message.body), ({"key": "value"}, b"body"), "message")
    for given in ({}, {"priority": 0}, {"headers": {}}):
        channel.basic_publish(channel.prepare_message(b"body", **given), routing_key=queue.name)
        expected = {{"headers": "application_headers"}.get(key, key): value for key, value in given.items()}
        equal(receive(queue).properties, expected, "properties")


@scenario
def header_field_types(session):
    queue = session.queue(session.channel())
    scalars = {
        "longstr": "text äöü",
        "empty longstr": "",
        "bytes": b"\x00\xff\xfe",
        "true": True,
        "false": False,
        "int": -2147483648,
        "long": 9007199254740993,
        "double": 0.1,
        "decimal": Decimal("-12.345"),
        "timestamp": datetime(2024, 2, 29, 12, 30, 15),
        "void": None,
    }
    headers = {
        **scalars,
        "array": [1, "two", [True, None], {"four": 4}],
        "empty array": [],
        "table": {**scalars, "deeper": {"deepest": {}}},
        "k" * 255: "long key",
    }
    send(queue, "", headers=headers)
    received = receive(queue).headers
    equal(received, headers, "headers")
    for key, value in scalars.items():
        equal(type(received[key]), type(value), f"type of {key}")


@scenario
def body_sizes(session):
    queue = session.queue(session.channel())
    inbox = Inbox(queue, no_ack=True)
    frame = FRAME_MAX - FRAME_OVERHEAD
    sizes = [0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1]
    bodies = [bytes(n % 251 for n in range(size)) for size in sizes]
    send(queue, *bodies)
    for size, body, message in zip(sizes, bodies, inbox.wait(len(bodies))):
        # py-amqp gives an empty body as text.
        received = message.body or b""
        equal(len(received), size, "body size")
        equal(received == body, True, f"body of {size} bytes unchanged")


@scenario
def body_16_mib(session):
    body = hashlib.shake_256(b"sixteen").digest(16 * 1024 * 1024)
    queue = session.queue(session.connect(transport_options={"confirm_publish": True}).channel())
    send(queue, body)
    [message] = Inbox(queue, no_ack=True).wait(1)
    equal(len(message.body), len(body), "body size")
    equal(message.body == body, True, "body unchanged")
