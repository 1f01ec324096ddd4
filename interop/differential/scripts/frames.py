"""Frames that are wrong: type, end, size, order, fields, text."""

import struct

import amqp
from amqp import BODY, HEADER, HEARTBEAT, METHOD, frame, method, method_payload

from . import script, waiting_script


def refused(s, label, data, **options):
    """Send bytes on a new connection with channel 1 open, and wait for its end."""
    c = s.connect(**options)
    c.channel()
    c.exchange(label, data, until="connection.close")


def tolerated(s, label, data):
    """The same where the connection is to live on."""
    c = s.connect()
    c.channel()
    c.exchange(label, data)


def raw_method(channel, class_id, method_id, arguments=b""):
    return frame(METHOD, channel, struct.pack(">HH", class_id, method_id) + arguments)


PUBLISH = method(1, "basic.publish", routing_key="q")


@waiting_script
def frame_type_unknown(s):
    for type in (0, 4, 5, 6, 7, 9, 65, 255):
        refused(s, f"frame type {type} on channel 0", frame(type, 0, b""))
    refused(s, "frame type 4 on channel 1", frame(4, 1, b"payload"))
    refused(s, "frame type 4 on channel 2", frame(4, 2, b"payload"))
    refused(s, "garbage", b"this is no AMQP frame at all, is it?")


@waiting_script
def frame_end_wrong(s):
    refused(s, "method with end 0", method(1, "basic.qos")[:-1] + b"\0")
    refused(s, "method with end 205 on channel 0", frame(METHOD, 0, b"", end=205))
    refused(s, "heartbeat with end 255", frame(HEARTBEAT, 0, b"", end=255))
    refused(s, "empty body with end 0", frame(BODY, 1, b"", end=0))
    refused(s, "long body with end 1", frame(BODY, 1, bytes(range(40)), end=1))
    refused(s, "unknown type with end 0", frame(77, 1, b"abc", end=0))
    refused(s, "size one too small", frame(METHOD, 1, method_payload("basic.qos"), size=len(method_payload("basic.qos")) - 1))


@waiting_script
def frame_too_large(s):
    limit = 4096
    for size in (limit + 1, limit * 2, 2**32 - 1):
        refused(s, f"announces {size} bytes, body", struct.pack(">BHI", BODY, 1, size), frame_max=limit)
    refused(s, "method of frame_max + 1", frame(METHOD, 1, b"\0" * (limit + 1)), frame_max=limit)
    refused(s, "131073 bytes", struct.pack(">BHI", BODY, 1, 131073))


@script
def frame_of_exactly_frame_max(s):
    """How much payload fits: frame_max - 8, and a tolerance of 8."""
    limit = 4096
    ch = s.channel(frame_max=limit)
    ch.call("queue.declare", queue="sizes", exclusive=True)
    for size in (limit - 8, limit - 1, limit):
        with s.step(f"body of {size} bytes in one frame"):
            ch.send(method(1, "basic.publish", routing_key="sizes") + amqp.header(1, size) + amqp.body(1, b"x" * size))
        ch.call("basic.get", queue="sizes", no_ack=True)


@script
def heartbeat_frames(s):
    ch = s.channel()
    ch.connection.exchange("heartbeats are ignored", frame(HEARTBEAT, 0, b"") * 3)
    ch.call("basic.qos")
    refused(s, "heartbeat on channel 1", frame(HEARTBEAT, 1, b""))
    refused(s, "heartbeat on channel 2, not open", frame(HEARTBEAT, 2, b""))


@script
def heartbeat_with_payload(s):
    refused(s, "heartbeat with payload, then on channel 1", frame(HEARTBEAT, 0, b"abc") + frame(HEARTBEAT, 1, b""))


@script
def content_order(s):
    header = amqp.header(1, 1)
    body = amqp.body(1, b"x")
    refused(s, "header first", header)
    refused(s, "body first", body)
    refused(s, "header after qos", method(1, "basic.qos") + header)
    refused(s, "body instead of header", PUBLISH + body)
    refused(s, "method instead of header", PUBLISH + method(1, "basic.qos"))
    refused(s, "publish instead of header", PUBLISH + PUBLISH)
    refused(s, "header instead of body", PUBLISH + header + header)
    refused(s, "method instead of body", PUBLISH + header + method(1, "basic.qos"))
    refused(s, "body after a complete content", PUBLISH + header + body + body)
    refused(s, "body after an empty content", PUBLISH + amqp.header(1, 0) + body)
    refused(s, "channel.close instead of header", PUBLISH + method(1, "channel.close", reply_code=200))
    refused(s, "channel.close instead of body", PUBLISH + header + method(1, "channel.close", reply_code=200))


@script
def content_header_wrong(s):
    refused(s, "class 50", PUBLISH + amqp.header(1, 1, class_id=50))
    refused(s, "class 0", PUBLISH + amqp.header(1, 1, class_id=0))
    refused(s, "class 999", PUBLISH + amqp.header(1, 1, class_id=999))
    refused(s, "weight 1", PUBLISH + amqp.header(1, 1, weight=1))
    refused(s, "too short", PUBLISH + frame(HEADER, 1, struct.pack(">HHI", 60, 0, 0)))
    refused(s, "empty", PUBLISH + frame(HEADER, 1, b""))
    refused(s, "no property flags", PUBLISH + frame(HEADER, 1, struct.pack(">HHQ", 60, 0, 1)) + amqp.body(1, b"x"))


@script
def content_body_overflow(s):
    header = PUBLISH + amqp.header(1, 2)
    after = method(1, "basic.qos")
    refused(s, "one frame too long", header + amqp.body(1, b"xxx") + after)
    refused(s, "second frame too long", header + amqp.body(1, b"x") + amqp.body(1, b"xx") + after)


@script
def content_empty_body_frames(s):
    """Body frames without payload are allowed while the body is incomplete."""
    ch = s.channel()
    ch.call("queue.declare", queue="parts", exclusive=True)
    with s.step("publish with empty body frames between"):
        bodies = [b"", b"ab", b"", b"c", b"def"]
        ch.send(method(1, "basic.publish", routing_key="parts") + amqp.header(1, 6))
        for part in bodies:
            ch.send(amqp.body(1, part))
    ch.call("basic.get", queue="parts", no_ack=True)


@script
def content_body_size_beyond_any(s):
    """Over 512 MiB: refused from the header alone."""
    for size in (536870913, 2**63, 2**64 - 1):
        refused(s, f"body size {size}, then a method", PUBLISH + amqp.header(1, size) + method(1, "basic.qos"))


@script
def content_properties_malformed(s):
    """Properties are looked at when the message is published."""
    publish = lambda flags: PUBLISH + frame(HEADER, 1, struct.pack(">HHQ", 60, 0, 0) + flags)
    refused(s, "content-type flag, nothing follows", publish(b"\x80\0"))
    refused(s, "content-type longer than the frame", publish(b"\x80\0\x09abc"))
    refused(s, "headers flag, nothing follows", publish(b"\x20\0"))
    refused(s, "headers table longer than the frame", publish(b"\x20\0\0\0\0\x09abc"))
    refused(s, "headers with an unknown tag", publish(b"\x20\0" + amqp.encode_table([("k", amqp.Tagged("?", b"x"))])))
    refused(s, "timestamp of four bytes", publish(b"\0\x40\0\0\0\0"))
    refused(s, "bytes after the last property", publish(b"\0\0abc"))


@script
def content_properties_invalid_utf8(s):
    """Property values are not looked at."""
    publish = lambda flags: PUBLISH + frame(HEADER, 1, struct.pack(">HHQ", 60, 0, 0) + flags)
    tolerated(s, "content-type", publish(b"\x80\0\x02\xff\xfe"))
    tolerated(s, "header name", publish(b"\x20\0\0\0\0\x04\x02\xff\xfeV"))
    tolerated(s, "header value", publish(b"\x20\0\0\0\0\x09\x01kS\0\0\0\x02\xff\xfe"))


@script
def channel_not_open(s):
    refused(s, "basic.qos on channel 2", method(2, "basic.qos"))
    refused(s, "queue.declare on channel 2047", method(2047, "queue.declare", queue="q"))
    refused(s, "channel.close on channel 2", method(2, "channel.close", reply_code=200))
    refused(s, "channel.close-ok on channel 2", method(2, "channel.close-ok"))
    refused(s, "channel.flow on channel 2", method(2, "channel.flow", active=True))
    refused(s, "header on channel 2", amqp.header(2, 0))
    refused(s, "body on channel 2", amqp.body(2, b"x"))
    refused(s, "malformed method on channel 2", frame(METHOD, 2, b""))
    refused(s, "unknown method on channel 2", raw_method(2, 77, 1))
    refused(s, "connection.open on channel 2", method(2, "connection.open", virtual_host="/"))


@script
def channel_open_twice(s):
    refused(s, "channel.open again", method(1, "channel.open"))


@script
def channel_zero(s):
    refused(s, "channel.open on channel 0", method(0, "channel.open"))
    refused(s, "channel.close on channel 0", method(0, "channel.close", reply_code=200))
    refused(s, "queue.declare on channel 0", method(0, "queue.declare", queue="q"))
    refused(s, "basic.publish on channel 0", method(0, "basic.publish"))
    refused(s, "content header on channel 0", amqp.header(0, 0))
    refused(s, "body on channel 0", amqp.body(0, b"x"))
    refused(s, "empty method on channel 0", frame(METHOD, 0, b""))


@script
def connection_methods_on_a_channel(s):
    refused(s, "connection.close on channel 1", method(1, "connection.close", reply_code=200))
    refused(s, "connection.open on channel 1", method(1, "connection.open", virtual_host="/"))
    refused(s, "connection.update-secret on channel 1", method(1, "connection.update-secret", new_secret="x"))
    refused(s, "connection.close-ok on channel 1", method(1, "connection.close-ok"))


@script
def method_unknown(s):
    for class_id, method_id in ((0, 0), (20, 99), (50, 12), (60, 41), (77, 1), (100, 10), (65535, 65535)):
        refused(s, f"class {class_id} method {method_id}", raw_method(1, class_id, method_id))
    refused(s, "class 10 method 99 on channel 0", raw_method(0, 10, 99))
    refused(s, "class 77 method 1 on channel 0", raw_method(0, 77, 1))


@script
def method_of_the_server(s):
    """Methods only a server sends, and replies nobody asked for."""
    for name in (
        "queue.declare-ok", "queue.bind-ok", "queue.unbind-ok", "queue.purge-ok", "queue.delete-ok",
        "exchange.declare-ok", "exchange.delete-ok", "exchange.bind-ok", "exchange.unbind-ok",
        "basic.qos-ok", "basic.consume-ok", "basic.get-empty", "basic.recover-ok",
        "channel.open-ok", "confirm.select-ok", "tx.select-ok", "tx.commit-ok", "tx.rollback-ok",
        "access.request-ok",
    ):
        refused(s, name, method(1, name))


@script
def method_of_the_server_with_content(s):
    for name in ("basic.deliver", "basic.return", "basic.get-ok"):
        refused(s, name, method(1, name) + amqp.header(1, 1) + amqp.body(1, b"x"))


@script
def method_basic_cancel_ok(s):
    """What a client could answer to the server's basic.cancel."""
    tolerated(s, "basic.cancel-ok", method(1, "basic.cancel-ok", consumer_tag="t"))


@script
def channel_replies_unasked(s):
    refused(s, "channel.flow-ok", method(1, "channel.flow-ok", active=True))
    refused(s, "channel.close-ok", method(1, "channel.close-ok"))


@script
def method_legacy(s):
    """access.request, and basic.credit of old RabbitMQ framing."""
    ch = s.channel()
    ch.call("access.request", realm="/data", exclusive=False, passive=True, active=True, write=True, read=True)
    tolerated(s, "basic.credit", raw_method(1, 60, 200, b"\x01t\0\0\0\x01\0"))
    refused(s, "basic.credit-drained", raw_method(1, 60, 202, b"\x01t\0\0\0\x01"))


@script
def method_fields_malformed(s):
    qos = method_payload("basic.qos")
    declare = method_payload("queue.declare", queue="q")
    refused(s, "empty method frame", frame(METHOD, 1, b""))
    refused(s, "class id only", frame(METHOD, 1, b"\0\x3c"))
    refused(s, "class and half a method id", frame(METHOD, 1, b"\0\x3c\0"))
    refused(s, "qos without fields", frame(METHOD, 1, qos[:4]))
    refused(s, "qos cut short", frame(METHOD, 1, qos[:-1]))
    refused(s, "qos with one byte more", frame(METHOD, 1, qos + b"\0"))
    refused(s, "declare cut in its table", frame(METHOD, 1, declare[:-2]))
    refused(s, "declare with bytes after its table", frame(METHOD, 1, declare + b"xyz"))
    refused(s, "shortstr longer than the frame", raw_method(1, 50, 10, b"\0\0\xffq"))
    refused(s, "long list of bytes in qos", frame(METHOD, 1, qos + bytes(range(200))))


@script
def method_fields_malformed_on_channel_zero(s):
    refused(s, "close cut short", frame(METHOD, 0, method_payload("connection.close")[:-1]))
    refused(s, "close with more", frame(METHOD, 0, method_payload("connection.close") + b"\0"))


@script
def table_malformed(s):
    declare = lambda table: raw_method(1, 50, 10, b"\0\0\x01q\x00" + table)
    refused(s, "table length beyond the frame", declare(struct.pack(">I", 100) + b"\x01kV"))
    refused(s, "name without value", declare(struct.pack(">I", 2) + b"\x01k"))
    refused(s, "name beyond the table", declare(struct.pack(">I", 3) + b"\x09kV"))
    refused(s, "string beyond the table", declare(struct.pack(">I", 8) + b"\x01kS\0\0\0\x09x"))
    refused(s, "unknown tag", declare(struct.pack(">I", 4) + b"\x01k?x"))
    refused(s, "array beyond the table", declare(struct.pack(">I", 7) + b"\x01kA\0\0\0\x09"))


@script
def table_bad_boolean(s):
    ch = s.channel()
    ch.send_raw("boolean 2 in a table", raw_method(1, 50, 10, b"\0\0\x01b\x04" + struct.pack(">I", 4) + b"\x01kt\x02"))
    ch.call("queue.delete", queue="b")


@script
def shortstr_invalid_utf8(s):
    bad = b"\xff\xfe"
    refused(s, "queue name", method(1, "queue.declare", queue=bad))
    refused(s, "exchange name", method(1, "exchange.declare", exchange=bad, type="direct"))
    refused(s, "consumer tag", method(1, "basic.consume", queue="q", consumer_tag=bad))
    refused(s, "overlong encoding", method(1, "queue.declare", queue=b"a\xc0\xaf"))


@script
def shortstr_unusual_utf8(s):
    """Surrogates are let through, and routing keys are not looked at."""
    tolerated(s, "surrogate", method(1, "queue.declare", queue=b"\xed\xa0\x80", exclusive=True))
    tolerated(s, "routing key of publish", method(1, "basic.publish", routing_key=b"\xff\xfe") + amqp.header(1, 0))


@script
def table_name_invalid_utf8(s):
    ch = s.channel()
    ch.call("queue.declare", queue="odd", exclusive=True, arguments=[(b"\xff\xfe", 1)])
    ch.call("queue.declare", queue="odd2", exclusive=True, arguments=[("k", b"\xff\xfe")])


@script
def frames_interleaved_between_channels(s):
    """Contents of two channels may be interleaved."""
    c = s.connect()
    one, two = c.channel(1), c.channel(2)
    one.call("queue.declare", queue="interleaved", exclusive=True)
    with s.step("two contents, frame by frame in turn"):
        for part in (
            method(1, "basic.publish", routing_key="interleaved"), method(2, "basic.publish", routing_key="interleaved"),
            amqp.header(1, 4), amqp.header(2, 4),
            amqp.body(1, b"on"), amqp.body(2, b"tw"), frame(HEARTBEAT, 0, b""), amqp.body(1, b"e1"), amqp.body(2, b"o2"),
        ):
            c.send(part)
    one.get_all("interleaved")


@script
def method_on_other_channel_within_content(s):
    c = s.connect()
    one, two = c.channel(1), c.channel(2)
    one.call("queue.declare", queue="held", exclusive=True)
    one.send_raw("publish and header only", method(1, "basic.publish", routing_key="held") + amqp.header(1, 3), pingable=False)
    two.call("queue.declare", queue="held", passive=True)
    one.send_raw("the body", amqp.body(1, b"abc"), pingable=True)
    one.call("basic.get", queue="held", no_ack=True)
