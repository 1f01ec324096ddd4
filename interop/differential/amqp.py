"""AMQP 0-9-1 frames, methods and field tables, as bytes and as plain Python values.

Encoding takes whatever it is given, so that invalid frames can be written too. Decoding is
strict and keeps everything that could differ between two brokers: order of table fields, type
tags, property flags.

Values of a field table:
    to encode   `Tagged(tag, value)`, or a Python value with the usual tag (str and bytes `S`,
                bool `t`, int `I` or `l`, float `d`, dict `F`, list `A`, None `V`)
    decoded     always `Tagged`
"""

import struct
from typing import Any, NamedTuple

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
FRAME_OVERHEAD_BYTES = 8

BASIC_CLASS = 60

# name: (class id, method id, fields). Neighbouring bits share an octet.
_METHODS = {
    "connection.start": (10, 10, "version-major:octet version-minor:octet server-properties:table mechanisms:longstr locales:longstr"),
    "connection.start-ok": (10, 11, "client-properties:table mechanism:shortstr response:longstr locale:shortstr"),
    "connection.secure": (10, 20, "challenge:longstr"),
    "connection.secure-ok": (10, 21, "response:longstr"),
    "connection.tune": (10, 30, "channel-max:short frame-max:long heartbeat:short"),
    "connection.tune-ok": (10, 31, "channel-max:short frame-max:long heartbeat:short"),
    "connection.open": (10, 40, "virtual-host:shortstr reserved-1:shortstr reserved-2:bit"),
    "connection.open-ok": (10, 41, "reserved-1:shortstr"),
    "connection.close": (10, 50, "reply-code:short reply-text:shortstr class-id:short method-id:short"),
    "connection.close-ok": (10, 51, ""),
    "connection.blocked": (10, 60, "reason:shortstr"),
    "connection.unblocked": (10, 61, ""),
    "connection.update-secret": (10, 70, "new-secret:longstr reason:shortstr"),
    "connection.update-secret-ok": (10, 71, ""),
    "channel.open": (20, 10, "reserved-1:shortstr"),
    "channel.open-ok": (20, 11, "reserved-1:longstr"),
    "channel.flow": (20, 20, "active:bit"),
    "channel.flow-ok": (20, 21, "active:bit"),
    "channel.close": (20, 40, "reply-code:short reply-text:shortstr class-id:short method-id:short"),
    "channel.close-ok": (20, 41, ""),
    "access.request": (30, 10, "realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit"),
    "access.request-ok": (30, 11, "ticket:short"),
    "exchange.declare": (40, 10, "ticket:short exchange:shortstr type:shortstr passive:bit durable:bit auto-delete:bit internal:bit nowait:bit arguments:table"),
    "exchange.declare-ok": (40, 11, ""),
    "exchange.delete": (40, 20, "ticket:short exchange:shortstr if-unused:bit nowait:bit"),
    "exchange.delete-ok": (40, 21, ""),
    "exchange.bind": (40, 30, "ticket:short destination:shortstr source:shortstr routing-key:shortstr nowait:bit arguments:table"),
    "exchange.bind-ok": (40, 31, ""),
    "exchange.unbind": (40, 40, "ticket:short destination:shortstr source:shortstr routing-key:shortstr nowait:bit arguments:table"),
    "exchange.unbind-ok": (40, 51, ""),
    "queue.declare": (50, 10, "ticket:short queue:shortstr passive:bit durable:bit exclusive:bit auto-delete:bit nowait:bit arguments:table"),
    "queue.declare-ok": (50, 11, "queue:shortstr message-count:long consumer-count:long"),
    "queue.bind": (50, 20, "ticket:short queue:shortstr exchange:shortstr routing-key:shortstr nowait:bit arguments:table"),
    "queue.bind-ok": (50, 21, ""),
    "queue.purge": (50, 30, "ticket:short queue:shortstr nowait:bit"),
    "queue.purge-ok": (50, 31, "message-count:long"),
    "queue.delete": (50, 40, "ticket:short queue:shortstr if-unused:bit if-empty:bit nowait:bit"),
    "queue.delete-ok": (50, 41, "message-count:long"),
    "queue.unbind": (50, 50, "ticket:short queue:shortstr exchange:shortstr routing-key:shortstr arguments:table"),
    "queue.unbind-ok": (50, 51, ""),
    "basic.qos": (60, 10, "prefetch-size:long prefetch-count:short global:bit"),
    "basic.qos-ok": (60, 11, ""),
    "basic.consume": (60, 20, "ticket:short queue:shortstr consumer-tag:shortstr no-local:bit no-ack:bit exclusive:bit nowait:bit arguments:table"),
    "basic.consume-ok": (60, 21, "consumer-tag:shortstr"),
    "basic.cancel": (60, 30, "consumer-tag:shortstr nowait:bit"),
    "basic.cancel-ok": (60, 31, "consumer-tag:shortstr"),
    "basic.publish": (60, 40, "ticket:short exchange:shortstr routing-key:shortstr mandatory:bit immediate:bit"),
    "basic.return": (60, 50, "reply-code:short reply-text:shortstr exchange:shortstr routing-key:shortstr"),
    "basic.deliver": (60, 60, "consumer-tag:shortstr delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr"),
    "basic.get": (60, 70, "ticket:short queue:shortstr no-ack:bit"),
    "basic.get-ok": (60, 71, "delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr message-count:long"),
    "basic.get-empty": (60, 72, "reserved-1:shortstr"),
    "basic.ack": (60, 80, "delivery-tag:longlong multiple:bit"),
    "basic.reject": (60, 90, "delivery-tag:longlong requeue:bit"),
    "basic.recover-async": (60, 100, "requeue:bit"),
    "basic.recover": (60, 110, "requeue:bit"),
    "basic.recover-ok": (60, 111, ""),
    "basic.nack": (60, 120, "delivery-tag:longlong multiple:bit requeue:bit"),
    "confirm.select": (85, 10, "nowait:bit"),
    "confirm.select-ok": (85, 11, ""),
    "tx.select": (90, 10, ""),
    "tx.select-ok": (90, 11, ""),
    "tx.commit": (90, 20, ""),
    "tx.commit-ok": (90, 21, ""),
    "tx.rollback": (90, 30, ""),
    "tx.rollback-ok": (90, 31, ""),
}


class MethodLayout(NamedTuple):
    name: str
    class_id: int
    method_id: int
    fields: tuple  # of (field name, type)


LAYOUT_BY_NAME = {
    name: MethodLayout(name, class_id, method_id, tuple(tuple(field.split(":")) for field in fields.split()))
    for name, (class_id, method_id, fields) in _METHODS.items()
}
LAYOUT_BY_ID = {(layout.class_id, layout.method_id): layout for layout in LAYOUT_BY_NAME.values()}

# Methods after which a content header follows.
CONTENT_METHODS = {"basic.publish", "basic.return", "basic.deliver", "basic.get-ok"}

# (name, type, flag bit) in the order of the wire.
PROPERTIES = (
    ("content-type", "shortstr", 15),
    ("content-encoding", "shortstr", 14),
    ("headers", "table", 13),
    ("delivery-mode", "octet", 12),
    ("priority", "octet", 11),
    ("correlation-id", "shortstr", 10),
    ("reply-to", "shortstr", 9),
    ("expiration", "shortstr", 8),
    ("message-id", "shortstr", 7),
    ("timestamp", "longlong", 6),
    ("type", "shortstr", 5),
    ("user-id", "shortstr", 4),
    ("app-id", "shortstr", 3),
    ("cluster-id", "shortstr", 2),
)

_INTEGER_FORMATS = {"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q"}
_NUMBER_TAGS = {
    "b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I",
    "l": ">q", "L": ">q", "T": ">Q", "f": ">f", "d": ">d",
}


class Malformed(Exception):
    """Bytes from a broker that are no AMQP."""


class Tagged(NamedTuple):
    """A field-table value with its type tag. `D` holds (scale, unscaled value)."""

    tag: str
    value: Any


class Frame(NamedTuple):
    type: int
    channel: int
    payload: bytes


# --- Encoding ---------------------------------------------------------------------------------


def frame(type, channel, payload, end=FRAME_END, size=None):
    size = len(payload) if size is None else size
    return struct.pack(">BHI", type, channel, size) + payload + bytes([end])


def method(channel, name, /, **fields):
    return frame(METHOD, channel, method_payload(name, **fields))


def method_payload(name, /, **fields):
    """Fields by name with `_` for `-` and a final `_` after Python keywords; the rest are zero."""
    layout = LAYOUT_BY_NAME[name]
    given = {field.rstrip("_").replace("_", "-"): value for field, value in fields.items()}
    unknown = given.keys() - {field for field, _ in layout.fields}
    if unknown:
        raise TypeError(f"{name} has no field {', '.join(sorted(unknown))}")

    out = struct.pack(">HH", layout.class_id, layout.method_id)
    bits = []
    for field, type in layout.fields:
        if type == "bit":
            bits.append(bool(given.get(field, False)))
            continue
        out += _pack_bits(bits) + encode_value(type, given.get(field))
        bits = []
    return out + _pack_bits(bits)


def _pack_bits(bits):
    return bytes([sum(bit << index for index, bit in enumerate(bits))]) if bits else b""


def header(channel, body_size, properties=None, class_id=BASIC_CLASS, weight=0):
    payload = struct.pack(">HHQ", class_id, weight, body_size) + encode_properties(properties or {})
    return frame(HEADER, channel, payload)


def body(channel, payload):
    return frame(BODY, channel, payload)


def encode_properties(properties):
    """Property flags and list; `properties` may be ready-made bytes."""
    if isinstance(properties, bytes):
        return properties
    given = {name.rstrip("_").replace("_", "-"): value for name, value in properties.items()}
    unknown = given.keys() - {name for name, _, _ in PROPERTIES}
    if unknown:
        raise TypeError(f"no property {', '.join(sorted(unknown))}")
    flags, values = 0, b""
    for name, type, bit in PROPERTIES:
        if name in given:
            flags |= 1 << bit
            values += encode_value(type, given[name])
    return struct.pack(">H", flags) + values


def encode_value(type, value):
    if type in _INTEGER_FORMATS:
        return struct.pack(_INTEGER_FORMATS[type], value or 0)
    if type == "table":
        return encode_table(value or {})
    text = value if isinstance(value, bytes) else (value or "").encode()
    if type == "shortstr":
        return struct.pack(">B", len(text)) + text
    return struct.pack(">I", len(text)) + text


def encode_table(table):
    """`table` is a dict, a list of (name, value) for duplicates, or ready-made bytes."""
    if isinstance(table, bytes):
        return table
    pairs = table.items() if isinstance(table, dict) else table
    fields = b"".join(encode_value("shortstr", name) + encode_field(value) for name, value in pairs)
    return struct.pack(">I", len(fields)) + fields


def encode_field(value):
    tag, value = value if isinstance(value, Tagged) else _usual_tag(value)
    return tag.encode() + _encode_tagged(tag, value)


def _usual_tag(value):
    if isinstance(value, bool):
        return Tagged("t", value)
    if isinstance(value, int):
        return Tagged("I" if -(2**31) <= value < 2**31 else "l", value)
    for kind, tag in ((str, "S"), (bytes, "S"), (float, "d"), (dict, "F"), (list, "A"), (type(None), "V")):
        if isinstance(value, kind):
            return Tagged(tag, value)
    raise TypeError(f"no field-table tag for {value!r}")


def _encode_tagged(tag, value):
    if tag in _NUMBER_TAGS:
        return struct.pack(_NUMBER_TAGS[tag], value)
    if tag == "t":
        return bytes([int(value)])
    if tag == "D":
        return struct.pack(">BI", *value)
    if tag in "Sx":
        return encode_value("longstr", value)
    if tag == "F":
        return encode_table(value)
    if tag == "A":
        elements = b"".join(encode_field(element) for element in value)
        return struct.pack(">I", len(elements)) + elements
    if tag == "V":
        return b""
    # An unknown tag: the value is the bytes that follow it.
    return value


# --- Decoding ---------------------------------------------------------------------------------


def take_frame(buffer):
    """The first whole frame of a bytearray, taken off it; None if it is not complete."""
    if len(buffer) < 7:
        return None
    type, channel, size = struct.unpack_from(">BHI", buffer)
    if len(buffer) < size + FRAME_OVERHEAD_BYTES:
        return None
    if buffer[size + 7] != FRAME_END:
        raise Malformed(f"frame end {buffer[size + 7]:#x}")
    payload = bytes(buffer[7 : size + 7])
    del buffer[: size + FRAME_OVERHEAD_BYTES]
    return Frame(type, channel, payload)


def decode_frame(frame):
    """A dict that starts with frame and channel, and for a method has each field by name."""
    reader = _Reader(frame.payload)
    if frame.type == METHOD:
        decoded = {"frame": "method", "channel": frame.channel} | _decode_method(reader)
    elif frame.type == HEADER:
        class_id, weight, size = reader.unpack(">HHQ")
        decoded = {
            "frame": "header",
            "channel": frame.channel,
            "class-id": class_id,
            "weight": weight,
            "body-size": size,
            "properties": reader.rest(),
        }
    elif frame.type == BODY:
        decoded = {"frame": "body", "channel": frame.channel, "payload": reader.rest()}
    elif frame.type == HEARTBEAT:
        decoded = {"frame": "heartbeat", "channel": frame.channel, "payload": reader.rest()}
    else:
        raise Malformed(f"frame type {frame.type}")
    reader.expect_end()
    return decoded


def _decode_method(reader):
    ids = reader.unpack(">HH")
    layout = LAYOUT_BY_ID.get(ids)
    if layout is None:
        raise Malformed(f"method {ids}")
    decoded = {"method": layout.name}
    bit = octet = 0
    for field, type in layout.fields:
        if type != "bit":
            decoded[field] = reader.value(type)
            bit = 0
            continue
        if bit == 0:
            (octet,) = reader.unpack(">B")
        decoded[field] = bool(octet & 1 << bit)
        bit += 1
    return decoded


def decode_properties(encoded):
    """Property name to value, from flags and list."""
    reader = _Reader(encoded)
    (flags,) = reader.unpack(">H")
    properties = {name: reader.value(type) for name, type, bit in PROPERTIES if flags & 1 << bit}
    reader.expect_end()
    return properties


class _Reader:
    def __init__(self, data):
        self._data = data
        self._at = 0

    def unpack(self, format):
        end = self._at + struct.calcsize(format)
        if end > len(self._data):
            raise Malformed(f"{len(self._data)} bytes end inside a value")
        values = struct.unpack_from(format, self._data, self._at)
        self._at = end
        return values

    def take(self, size):
        end = self._at + size
        if end > len(self._data):
            raise Malformed(f"a length of {size} bytes passes the end")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def rest(self):
        return self.take(len(self._data) - self._at)

    def expect_end(self):
        if self._at != len(self._data):
            raise Malformed(f"{len(self._data) - self._at} bytes after the last field")

    def value(self, type):
        if type in _INTEGER_FORMATS:
            return self.unpack(_INTEGER_FORMATS[type])[0]
        if type == "table":
            return self._table()
        (size,) = self.unpack(">B" if type == "shortstr" else ">I")
        return _text(self.take(size))

    def _table(self):
        """A list, since the order of fields is part of what is compared."""
        inner = _Reader(self.take(*self.unpack(">I")))
        fields = []
        while inner._at < len(inner._data):
            fields.append((inner.value("shortstr"), inner._field()))
        return fields

    def _field(self):
        tag = chr(self.unpack(">B")[0])
        return Tagged(tag, self._tagged(tag))

    def _tagged(self, tag):
        if tag in _NUMBER_TAGS:
            return self.unpack(_NUMBER_TAGS[tag])[0]
        if tag == "t":
            return bool(self.unpack(">B")[0])
        if tag == "D":
            return self.unpack(">BI")
        if tag in "Sx":
            return _text(self.take(*self.unpack(">I")))
        if tag == "F":
            return self._table()
        if tag == "A":
            inner = _Reader(self.take(*self.unpack(">I")))
            elements = []
            while inner._at < len(inner._data):
                elements.append(inner._field())
            return elements
        if tag == "V":
            return None
        raise Malformed(f"field type tag {tag!r}")


def _text(data):
    """Text where it is UTF-8, else the bytes themselves."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
