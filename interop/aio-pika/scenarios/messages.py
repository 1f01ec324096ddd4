import hashlib
import re
from datetime import datetime, timezone
from decimal import Decimal

from aio_pika import DeliveryMode, Message
from harness import Inbox
from playing import equal, scenario

FRAME_MAX = 131072
FRAME_OVERHEAD = 8

# What the client sends where its user gives nothing, besides a message_id that it makes up.
DEFAULTS = {"delivery_mode": DeliveryMode.NOT_PERSISTENT, "priority": 0, "headers": {}}


@scenario
async def message_properties(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    every = {
        "content_type": "application/json",
        "content_encoding": "gzip",
        "headers": {"key": "value"},
        "delivery_mode": DeliveryMode.PERSISTENT,
        "priority": 7,
        "correlation_id": "correlation",
        "reply_to": "reply.queue",
        "expiration": 3600,
        "message_id": "message-1",
        "timestamp": datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc),
        "type": "order.created",
        "user_id": "guest",
        "app_id": "interop",
    }
    for given in (every, {}, {"priority": 3}, {"headers": {"only": "header"}}):
        await channel.default_exchange.publish(Message(b"body", **given), queue.name)
        message = await queue.get(no_ack=True)
        received = {name: getattr(message, name) for name in every if getattr(message, name) is not None}
        if "message_id" not in given:
            equal(bool(re.fullmatch("[0-9a-f]{32}", received.pop("message_id"))), True, "the client's message_id")
        equal(received, {**DEFAULTS, **given}, "properties")


@scenario
async def header_field_types(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    scalars = {
        "longstr": "text äöü",
        "empty longstr": "",
        "byte array": bytearray(b"\x00\xff\xfe"),
        "true": True,
        "false": False,
        "int8": -128,
        "int16": -32768,
        "uint16": 65535,
        "int32": -2147483648,
        "uint32": 4294967295,
        "int64": 9007199254740993,
        "float": -2.5,
        "decimal": Decimal("-12.345"),
        "timestamp": datetime(2024, 2, 29, 12, 30, 15, tzinfo=timezone.utc),
        "void": None,
    }
    headers = {
        **scalars,
        "array": [1, "two", [True, None], {"four": 4}],
        "empty array": [],
        "table": {**scalars, "deeper": {"deepest": {}}},
        "k" * 128: "the longest key of the client",
    }
    await channel.default_exchange.publish(Message(b"", headers=headers), queue.name)
    message = await queue.get(no_ack=True)
    equal(message.headers, headers, "headers")
    for key, value in scalars.items():
        equal(type(message.headers[key]), type(value), f"type of {key}")


@scenario
async def body_sizes(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    inbox = await Inbox.open(queue, no_ack=True)
    frame = FRAME_MAX - FRAME_OVERHEAD
    sizes = [0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1]
    bodies = [bytes(n % 251 for n in range(size)) for size in sizes]
    for body in bodies:
        await channel.default_exchange.publish(Message(body), queue.name)
    for size, body, message in zip(sizes, bodies, await inbox.wait(len(bodies)), strict=True):
        equal(len(message.body), size, "body size")
        equal(message.body == body, True, f"body of {size} bytes unchanged")


@scenario
async def body_16_mib(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    body = hashlib.shake_256(b"sixteen").digest(16 * 1024 * 1024)
    await channel.default_exchange.publish(Message(body), queue.name)
    [message] = await (await Inbox.open(queue, no_ack=True)).wait(1)
    equal(len(message.body), len(body), "body size")
    equal(message.body == body, True, "body unchanged")
