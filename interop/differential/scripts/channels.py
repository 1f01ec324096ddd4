"""Opening, closing and numbering of channels."""

import amqp
from amqp import method

from . import script


@script
def channel_open_and_close(s):
    ch = s.channel()
    ch.call("channel.close", reply_code=200, reply_text="bye", class_id=60, method_id=40)
    ch.call("channel.open")
    ch.call("channel.close", reply_code=404)
    c = ch.connection
    c.channel(2047)
    c.channel(2)


@script
def channel_open_reserved_field(s):
    c = s.connect()
    ch = c.channel(1, open=False)
    ch.call("channel.open", reserved_1="out of band")


@script
def channel_number_above_max(s):
    c = s.connect(channel_max=4)
    c.channel(4)
    c.exchange("channel.open on channel 5", method(5, "channel.open"))


@script
def channel_number_far_above_max(s):
    for number in (2048, 65535):
        c = s.connect()
        c.channel(1)
        c.exchange(f"channel.open on channel {number}", method(number, "channel.open"))


@script
def channel_limit_reached(s):
    c = s.connect(channel_max=2)
    c.channel(1)
    c.channel(2)
    c.exchange("channel.open on channel 3", method(3, "channel.open"))


@script
def channel_flow(s):
    ch = s.channel()
    ch.call("channel.flow", active=True)
    ch.call("channel.flow", active=False)


@script
def channel_number_reused_after_error(s):
    ch = s.channel()
    for _ in range(3):
        ch.call("queue.declare", queue="absent", passive=True)
        ch.call("channel.open")
    ch.call("queue.declare", queue="after-error", exclusive=True)


@script
def channel_errors_leave_others_alone(s):
    c = s.connect()
    one, two = c.channel(1), c.channel(2)
    two.call("queue.declare", queue="survivor", exclusive=True)
    one.call("basic.get", queue="absent")
    two.call("queue.declare", queue="survivor", passive=True)


@script
def methods_ignored_after_channel_error(s):
    """Between the server's channel.close and close-ok the channel is deaf."""
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue="deaf", exclusive=True)
    ch.replies_to_close = False
    ch.call("basic.get", queue="absent")
    with s.step("methods and content on the deaf channel"):
        c.send(method(1, "queue.delete", queue="deaf") + method(1, "basic.qos"))
        c.send(method(1, "basic.publish", routing_key="deaf") + amqp.header(1, 1) + amqp.body(1, b"x"))
    other.call("queue.declare", queue="deaf", passive=True)
    with s.step("close-ok, open again"):
        c.send(method(1, "channel.close-ok"))
        ch.call("channel.open")
    ch.call("queue.declare", queue="deaf", passive=True)


@script
def channel_close_crossing(s):
    """A client's channel.close that crosses the server's is answered."""
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    ch.replies_to_close = False
    ch.call("basic.get", queue="absent")
    with s.step("close instead of close-ok"):
        c.send(method(1, "channel.close", reply_code=200))
        s.wait_for(c, "channel.close-ok")
    with s.step("close-ok as well"):
        c.send(method(1, "channel.close-ok"))
    ch.call("channel.open")
    ch.call("basic.qos")


@script
def open_before_close_ok(s):
    """The number is free only once close-ok was sent."""
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    ch.replies_to_close = False
    ch.call("basic.get", queue="absent")
    c.exchange("open without close-ok", method(1, "channel.open"))


@script
def frame_errors_on_deaf_channel(s):
    for label, data in (
        ("malformed method", amqp.frame(amqp.METHOD, 1, b"\0\x3c\0\x0a")),
        ("unknown method", amqp.frame(amqp.METHOD, 1, b"\0\x4d\0\x01")),
        ("header frame", amqp.header(1, 0)),
        ("heartbeat", amqp.frame(amqp.HEARTBEAT, 1, b"")),
        ("unknown frame type", amqp.frame(4, 1, b"")),
        ("connection.open", method(1, "connection.open")),
    ):
        c = s.connect()
        ch, other = c.channel(1), c.channel(2)
        ch.replies_to_close = False
        ch.call("basic.get", queue="absent")
        with s.step(f"{label} on the deaf channel"):
            c.send(data)
            other.call("basic.qos")


@script
def channel_close_drops_unfinished_content(s):
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue="unfinished", exclusive=True)
    ch.send_raw("publish, header, part of the body", method(1, "basic.publish", routing_key="unfinished") + amqp.header(1, 10) + amqp.body(1, b"half"), pingable=False)
    other.call("queue.declare", queue="unfinished", passive=True)


@script
def methods_in_one_write(s):
    """A client need not wait for anything; replies come in the order of the methods."""
    ch = s.channel()
    publish = lambda body: method(1, "basic.publish", routing_key="burst", mandatory=True) + amqp.header(1, 1) + amqp.body(1, body)
    ch.send_raw("declare, bind, publish, get, ack, purge, delete in one write", b"".join((
        publish(b"0"),
        method(1, "queue.declare", queue="burst", exclusive=True),
        method(1, "queue.bind", queue="burst", exchange="amq.direct", routing_key="burst"),
        publish(b"a"), publish(b"b"), publish(b"c"), publish(b"d"),
        method(1, "basic.get", queue="burst"),
        method(1, "basic.get", queue="burst"),
        method(1, "basic.nack", delivery_tag=1, requeue=True),
        method(1, "basic.ack", delivery_tag=2),
        method(1, "basic.get", queue="burst", no_ack=True),
        method(1, "queue.purge", queue="burst"),
        method(1, "queue.delete", queue="burst"),
        publish(b"e"),
    )))


@script
def methods_in_one_write_after_an_error(s):
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    ch.send_raw("get from an absent queue, then a declare", b"".join((
        method(1, "basic.get", queue="absent"),
        method(1, "queue.declare", queue="never", exclusive=True),
        method(2, "queue.declare", queue="on-other", exclusive=True),
    )))
    other.call("queue.declare", queue="never", passive=True)
