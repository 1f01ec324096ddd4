"""Protocol header, connection.start to open-ok, and connection.close."""

import struct

import amqp
from amqp import method
from connection import start_ok

from . import script, waiting_script

NO_CAPABILITIES = {}


@script
def protocol_header_accepted(s):
    for header in (b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09"):
        s.dial().exchange(f"header {header}", header, until="connection.start")


@script
def protocol_header_of_amqp_0_8(s):
    for header in (b"AMQP\x01\x01\x08\x00", b"AMQP\x01\x01\x09\x01"):
        s.dial().exchange(f"header {header}", header, until="connection.start")


@script
def protocol_header_refused(s):
    headers = (
        b"AMQP\x00\x00\x08\x00",
        b"AMQP\x00\x00\x09\x00",
        b"AMQP\x00\x00\x09\x02",
        b"AMQP\x00\x00\x0a\x00",
        b"AMQP\x00\x01\x09\x01",
        b"AMQP\x02\x00\x09\x01",
        b"AMQP\x00\x02\x00\x00",
    )
    for header in headers:
        s.dial().exchange(f"header {header}", header, until="end")


@script
def protocol_header_of_another_protocol(s):
    for header in (
        b"HTTP/1.1",
        b"GET / HTTP/1.1\r\n\r\n",
        b"XXXXXXXX",
        b"amqp\x00\x00\x09\x01",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\x00" * 8,
    ):
        s.dial().exchange(f"header {header}", header, until="end")


@script
def protocol_header_of_amqp_1_0(s):
    for header in (b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"):
        s.dial().exchange(f"header {header}", header, until="end")


@script
def handshake_normal(s):
    c = s.dial()
    c.exchange("header", amqp.PROTOCOL_HEADER, until="connection.start")
    c.exchange("start-ok", start_ok(), until="connection.tune")
    c.exchange("tune-ok", method(0, "connection.tune-ok", channel_max=2047, frame_max=131072, heartbeat=0))
    c.exchange("open", method(0, "connection.open", virtual_host="/"), until="connection.open-ok")
    c.call("connection.close", reply_code=200, reply_text="bye")


@script
def handshake_pipelined(s):
    """Nothing obliges a client to wait, not even for connection.start."""
    c = s.dial()
    frames = amqp.PROTOCOL_HEADER + start_ok() + method(0, "connection.tune-ok", channel_max=10, frame_max=8192)
    frames += method(0, "connection.open", virtual_host="/") + method(1, "channel.open")
    frames += method(1, "queue.declare", queue="pipelined", exclusive=True)
    frames += method(1, "queue.declare", queue="pipelined", passive=True)
    c.exchange("everything at once", frames)
    with s.step("wait for both declare-ok"):
        s.wait_for(c, "queue.declare-ok", 2)
    c.exchange("close", method(0, "connection.close", reply_code=200), until="connection.close-ok")


@script
def handshake_byte_by_byte(s):
    c = s.dial()
    with s.step("header and start-ok, one byte a segment"):
        for byte in amqp.PROTOCOL_HEADER + start_ok():
            c.send(bytes([byte]))
        s.wait_for(c, "connection.tune")
    c.exchange("tune-ok", method(0, "connection.tune-ok", channel_max=2047, frame_max=131072))
    with s.step("open, one byte a segment"):
        for byte in method(0, "connection.open", virtual_host="/"):
            c.send(bytes([byte]))
        s.wait_for(c, "connection.open-ok")
    c.call("connection.close", reply_code=200)


@script
def handshake_amqplain(s):
    c = _greeted(s)
    response = amqp.encode_table({"LOGIN": "guest", "PASSWORD": "guest"})[4:]
    c.exchange("start-ok AMQPLAIN", start_ok(mechanism="AMQPLAIN", response=response), until="connection.tune")


@waiting_script
def handshake_plain_with_authzid(s):
    _refused(s, {"authzid": start_ok(response="guest\0guest\0guest")}, _greeted)


@script
def login_refused_with_close(s):
    """authentication_failure_close: 403 at once."""
    for name, frame in (
        ("wrong password", start_ok(password="wrong")),
        ("unknown user", start_ok(user="nobody")),
        ("empty password", start_ok(password="")),
        ("empty user", start_ok(user="")),
        ("AMQPLAIN wrong password", start_ok(
            mechanism="AMQPLAIN", response=amqp.encode_table({"LOGIN": "guest", "PASSWORD": "wrong"})[4:]
        )),
    ):
        _greeted(s).exchange(f"start-ok {name}", frame, until="end")


@waiting_script
def login_refused_in_silence(s):
    """Without that capability the connection ends without a word."""
    _refused(s, {
        "wrong password": start_ok(password="wrong", capabilities=NO_CAPABILITIES),
        "capability false": start_ok(password="wrong", capabilities={"authentication_failure_close": False}),
        "capability no boolean": start_ok(password="wrong", capabilities={"authentication_failure_close": 1}),
    }, _greeted)


@waiting_script
def start_ok_malformed(s):
    """Errors of the SASL phase are never sent."""
    _refused(s, {
        "unknown mechanism": start_ok(mechanism="NO-SUCH"),
        "empty mechanism": start_ok(mechanism=""),
        "mechanism in lower case": start_ok(mechanism="plain"),
        "EXTERNAL on plain TCP": start_ok(mechanism="EXTERNAL", response=""),
        "empty response": start_ok(response=""),
        "response without NUL": start_ok(response="guest"),
        "response with one NUL": start_ok(response="\0guest"),
        "response with three NUL": start_ok(response="\0guest\0guest\0more"),
        "AMQPLAIN empty": start_ok(mechanism="AMQPLAIN", response=""),
        "AMQPLAIN without password": start_ok(
            mechanism="AMQPLAIN", response=amqp.encode_table({"LOGIN": "guest"})[4:]
        ),
        "AMQPLAIN no table": start_ok(mechanism="AMQPLAIN", response="\x05nonsense"),
    }, _greeted)


@waiting_script
def first_frame_wrong(s):
    """Before connection.tune a wrong frame ends the connection without a word."""
    _refused(s, {
        "tune-ok first": method(0, "connection.tune-ok"),
        "open first": method(0, "connection.open", virtual_host="/"),
        "channel.open on channel 1": method(1, "channel.open"),
        "queue.declare on channel 0": method(0, "queue.declare", queue="q"),
        "bad frame end": start_ok()[:-1] + b"\0",
        "unknown frame type": amqp.frame(4, 0, b""),
        "header frame": amqp.header(0, 0),
        "body frame": amqp.body(0, b"x"),
        "start-ok on channel 1": b"\x01\0\x01" + start_ok()[3:],
        "unknown method": amqp.frame(amqp.METHOD, 0, struct.pack(">HH", 10, 99)),
        "truncated start-ok": amqp.frame(amqp.METHOD, 0, start_ok()[7:-12]),
        "frame of 9000 bytes": amqp.frame(amqp.METHOD, 0, start_ok()[7:-1] + b"\0" * 9000),
        "frame of 1 GiB announced": b"\x01\0\0\x40\0\0\0",
    }, _greeted)


@waiting_script
def close_before_tune(s):
    """connection.close is not understood before the connection is open."""
    close = method(0, "connection.close", reply_code=200)
    _refused(s, {"close instead of start-ok": close}, _greeted)
    _refused(s, {"close instead of tune-ok": close}, _authenticated)


@script
def close_before_open(s):
    c = _tuned(s)
    c.exchange("close", method(0, "connection.close", reply_code=200), until="end")


@waiting_script
def tune_ok_too_high(s):
    _refused(s, {
        f"tune-ok channel_max={channel_max} frame_max={frame_max}":
            method(0, "connection.tune-ok", channel_max=channel_max, frame_max=frame_max)
        for channel_max, frame_max in (
            (2047, 131073), (2047, 0), (2048, 131072), (0, 131072), (65535, 131072), (2048, 0), (2047, 2**32 - 1),
        )
    }, _authenticated)


@waiting_script
def tune_ok_frame_max_too_small(s):
    _refused(s, {
        f"tune-ok frame_max={frame_max}": method(0, "connection.tune-ok", channel_max=2047, frame_max=frame_max)
        for frame_max in (1, 100, 4095)
    }, _authenticated)


@script
def tune_ok_small_values_accepted(s):
    for channel_max, frame_max, heartbeat in ((1, 4096, 0), (2047, 4096, 600), (100, 8192, 65535)):
        c = _authenticated(s)
        frame = method(0, "connection.tune-ok", channel_max=channel_max, frame_max=frame_max, heartbeat=heartbeat)
        c.exchange(f"tune-ok {channel_max} {frame_max} {heartbeat}", frame)
        c.exchange("open", method(0, "connection.open", virtual_host="/"), until="connection.open-ok")
        c.call("connection.close", reply_code=200)


@script
def open_unknown_vhost(s):
    for vhost in ("no-such-vhost", "", "//", "/ "):
        c = _tuned(s)
        c.exchange(f"open {vhost!r}", method(0, "connection.open", virtual_host=vhost), until="end")


@script
def open_with_reserved_fields(s):
    c = _tuned(s)
    frame = method(0, "connection.open", virtual_host="/", reserved_1="capabilities", reserved_2=True)
    c.exchange("open with capabilities and insist", frame, until="connection.open-ok")
    c.call("connection.close", reply_code=200)


@waiting_script
def wrong_method_instead_of_tune_ok(s):
    _refused(s, {
        "open": method(0, "connection.open", virtual_host="/"),
        "start-ok again": start_ok(),
        "secure-ok": method(0, "connection.secure-ok", response="x"),
        "channel.open on channel 1": method(1, "channel.open"),
        "queue.declare on channel 0": method(0, "queue.declare", queue="q"),
    }, _authenticated)


@waiting_script
def wrong_method_instead_of_open(s):
    for name, frame in (
        ("tune-ok again", method(0, "connection.tune-ok", channel_max=2047, frame_max=131072)),
        ("start-ok", start_ok()),
        ("channel.open on channel 1", method(1, "channel.open")),
        ("queue.declare on channel 0", method(0, "queue.declare", queue="q")),
        ("header frame", amqp.header(0, 0)),
        ("bad frame end", amqp.frame(amqp.HEARTBEAT, 0, b"", end=0)),
    ):
        c = _tuned(s)
        c.exchange(name, frame, until="end")


@script
def connection_methods_when_running(s):
    """Methods of class connection that have no place once the connection is open."""
    for name, frame in (
        ("start-ok", start_ok()),
        ("secure-ok", method(0, "connection.secure-ok", response="x")),
        ("tune-ok", method(0, "connection.tune-ok", channel_max=2047, frame_max=131072)),
        ("open", method(0, "connection.open", virtual_host="/")),
        ("open-ok", method(0, "connection.open-ok")),
        ("start", method(0, "connection.start")),
        ("close-ok", method(0, "connection.close-ok")),
        ("blocked", method(0, "connection.blocked", reason="r")),
        ("unblocked", method(0, "connection.unblocked")),
    ):
        s.connect().exchange(name, frame, until="end")


@script
def connection_close_with_open_channels(s):
    c = s.connect()
    c.channel(1)
    c.channel(7)
    c.call("connection.close", reply_code=541, reply_text="a reason", class_id=60, method_id=40)


@script
def frames_after_connection_close(s):
    """While closing, everything but close and close-ok is discarded. (Whether RabbitMQ answers a second close is chance.)"""
    c = s.connect()
    c.channel()
    late = method(1, "queue.declare", queue="late")
    c.exchange("close, then more", method(0, "connection.close", reply_code=200) + late, until="connection.close-ok")


@script
def close_crossing_server_close(s):
    """A client's close that crosses the server's is answered with close-ok."""
    c = s.connect()
    c.channel()
    c.replies_to_close = False
    c.exchange("heartbeat on channel 1", amqp.frame(amqp.HEARTBEAT, 1, b""), until="connection.close")
    c.exchange("close", method(0, "connection.close", reply_code=200), until="connection.close-ok")


@script
def frames_after_server_close(s):
    """After the server's close all is ignored up to close-ok, which ends the stream."""
    c = s.connect()
    c.channel()
    c.replies_to_close = False
    c.exchange("unknown frame type", amqp.frame(4, 0, b""), until="connection.close")
    with s.step("methods, then close-ok"):
        c.send(method(1, "queue.declare", queue="late") + method(1, "basic.qos") + amqp.body(1, b"x"))
        c.send(method(0, "connection.close-ok"))
        s.pump(lambda: c.ended)


@script
def update_secret(s):
    c = s.connect()
    c.call("connection.update-secret", new_secret="secret", reason="token expired")
    c.call("connection.update-secret", new_secret="", reason="")


@waiting_script
def heartbeats_missed(s):
    """A client that says nothing for two intervals is dropped without a word."""
    c = s.connect(heartbeat=1)
    with s.step("silence"):
        s.pump(lambda: c.ended)


@waiting_script
def heartbeats_kept(s):
    c = s.connect(heartbeat=1)
    ch = c.channel()
    with s.step("a heartbeat for a heartbeat"):
        for count in range(1, 6):
            s.wait_for(c, "heartbeat", count)
            c.send(amqp.frame(amqp.HEARTBEAT, 0, b""))
        ch.call("basic.qos")


def _greeted(s):
    c = s.dial()
    with s.unrecorded():
        c.exchange("header", amqp.PROTOCOL_HEADER, until="connection.start")
    return c


def _authenticated(s):
    c = _greeted(s)
    with s.unrecorded():
        c.exchange("start-ok", start_ok(), until="connection.tune")
    return c


def _tuned(s):
    c = _authenticated(s)
    with s.unrecorded():
        c.exchange("tune-ok", method(0, "connection.tune-ok", channel_max=2047, frame_max=131072))
    return c


def _refused(s, frames_by_name, prepared):
    """Each on a connection of its own, all at once, since the broker takes its time."""
    connections = [prepared(s) for _ in frames_by_name]
    names = ", ".join(f"{c.name} {name}" for c, name in zip(connections, frames_by_name))
    with s.step(f"refused: {names}"):
        for c, frame in zip(connections, frames_by_name.values()):
            c.send(frame)
        s.pump(lambda: all(c.ended for c in connections))
