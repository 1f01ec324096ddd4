"""basic.publish: its checks in order, mandatory, CC and BCC, properties."""

import struct

import amqp
from amqp import HEADER, Tagged, frame, method

from . import script

EVERY_TAG = {
    "longstr": "text",
    "longstr-not-utf8": b"\xff\xfe",
    "bool-true": True,
    "bool-false": False,
    "int8": Tagged("b", -128),
    "uint8": Tagged("B", 255),
    "int16": Tagged("s", -32768),
    "uint16": Tagged("u", 65535),
    "int32": Tagged("I", -(2**31)),
    "uint32": Tagged("i", 2**32 - 1),
    "int64": Tagged("l", -(2**63)),
    "float": Tagged("f", 1.5),
    "double": Tagged("d", -2.25e100),
    "decimal": Tagged("D", (2, 12345)),
    "timestamp": Tagged("T", 2**40),
    "bytes": Tagged("x", b"\0\x01\xff"),
    "void": None,
    "table": {"inner": {"innermost": [1, {"a": None}]}},
    "array": [1, "two", Tagged("d", 3.0), [], {}],
    "empty-table": {},
    "empty-string": "",
}

EVERY_PROPERTY = {
    "content_type": "text/plain",
    "content_encoding": "gzip",
    "headers": {"a": 1},
    "delivery_mode": 1,
    "priority": 9,
    "correlation_id": "c-1",
    "reply_to": "somewhere",
    "expiration": "60000",
    "message_id": "m-1",
    "timestamp": 1700000000,
    "type": "a-type",
    "user_id": "guest",
    "app_id": "an-app",
    "cluster_id": "a-cluster",
}


def queue(s, name, **fields):
    """A channel in confirm mode and an exclusive queue."""
    ch = s.channel()
    ch.call("queue.declare", queue=name, exclusive=True, **fields)
    ch.call("confirm.select")
    return ch


@script
def publish_properties_round_trip(s):
    ch = queue(s, "properties")
    ch.publish("", "properties", "all", EVERY_PROPERTY)
    for name, value in EVERY_PROPERTY.items():
        ch.publish("", "properties", name, {name: value})
    ch.publish("", "properties", "none")
    ch.get_all("properties")


@script
def publish_properties_odd_values(s):
    ch = queue(s, "odd-values")
    for properties in (
        {"delivery_mode": 2}, {"priority": 0}, {"priority": 255}, {"timestamp": 2**64 - 1}, {"content_type": ""},
        {"content_type": b"\xff\xfe"}, {"correlation_id": "x" * 255}, {"headers": {}},
        {"headers": [("twice", 1), ("twice", 2)]}, {"headers": {"": "empty name"}}, {"headers": {"n" * 255: "long name"}},
    ):
        ch.publish("", "odd-values", "x", properties)
    ch.get_all("odd-values")


@script
def publish_delivery_mode_unknown(s):
    ch = s.channel()
    for mode in (0, 3, 255):
        ch.publish("", "nowhere", "x", {"delivery_mode": mode})
        ch.reopen()


@script
def publish_headers_every_tag(s):
    ch = queue(s, "tags")
    ch.publish("", "tags", "all", {"headers": EVERY_TAG})
    for name, value in EVERY_TAG.items():
        ch.publish("", "tags", name, {"headers": {name: value}})
    ch.get_all("tags")


@script
def publish_headers_tag_capital_l(s):
    """`L` is a signed 64-bit integer."""
    ch = queue(s, "capital-l")
    ch.publish("", "capital-l", "x", {"headers": {"n": Tagged("L", 5)}})
    ch.get_all("capital-l")


@script
def publish_headers_rewritten(s):
    """Taking BCC out writes the headers anew."""
    ch = queue(s, "rewritten")
    ch.publish("", "rewritten", "x", {"headers": EVERY_TAG | {"BCC": ["nowhere"]}})
    ch.publish("", "rewritten", "y", {"headers": [("z", 1), ("BCC", []), ("z", 2), ("a", True)]})
    ch.get_all("rewritten")


@script
def publish_headers_rewritten_tag_capital_l(s):
    ch = queue(s, "rewritten-l")
    ch.publish("", "rewritten-l", "x", {"headers": {"BCC": ["nowhere"], "n": Tagged("L", 5)}})
    ch.get_all("rewritten-l")


@script
def publish_headers_bcc_twice(s):
    ch = queue(s, "bcc-twice")
    ch.publish("", "bcc-twice", "y", {"headers": [("BCC", ["nowhere"]), ("BCC", ["bcc-twice-2"])]}, mandatory=True)
    ch.get_all("bcc-twice")


@script
def publish_headers_not_a_number(s):
    """Floats that are no number, or infinite."""
    for name, value in (("nan", float("nan")), ("infinite", float("inf"))):
        ch = queue(s, f"odd-{name}")
        ch.publish("", f"odd-{name}", "x", {"headers": {"f": Tagged("d", value)}})
        ch.get_all(f"odd-{name}")


@script
def publish_headers_deep(s):
    ch = queue(s, "deep")
    table = array = 1
    for _ in range(60):
        table, array = {"t": table}, [array]
    ch.publish("", "deep", "tables", {"headers": {"t": table}})
    ch.publish("", "deep", "arrays", {"headers": {"a": array}})
    ch.get_all("deep")


@script
def publish_headers_large(s):
    """A content header as large as a frame can be."""
    ch = queue(s, "large-header")
    ch.publish("", "large-header", "x", {"headers": {"filler": "f" * 100000}})
    ch.get_all("large-header")


@script
def publish_property_flags_continued(s):
    """Bit 0 of the flags says that more flags follow."""
    ch = queue(s, "continued")
    ch.publish("", "continued", "one word more", b"\x80\x01\0\0\x04text")
    ch.get_all("continued")


@script
def publish_property_flags_unknown(s):
    """Bit 1 of the flags means nothing."""
    ch = queue(s, "bit-one")
    ch.publish("", "bit-one", "x", b"\x80\x02\x04text")
    ch.get_all("bit-one")


@script
def publish_bodies(s):
    ch = queue(s, "bodies")
    for size in (0, 1, 131064, 131065, 300000):
        ch.publish("", "bodies", b"z" * size)
    ch.get_all("bodies")


@script
def publish_split_for_small_frames(s):
    """What came in large frames goes out in small ones."""
    ch = queue(s, "small-frames")
    small = ch.connection.session.channel(frame_max=4096)
    ch.publish("", "small-frames", b"s" * 10000)
    owner = s.channel()
    owner.call("queue.declare", queue="small-frames-shared")
    owner.call("confirm.select")
    owner.publish("", "small-frames-shared", b"s" * 10000)
    owner.publish("", "small-frames-shared", b"t" * 4088)
    owner.publish("", "small-frames-shared", b"u" * 4089)
    small.get_all("small-frames-shared")


@script
def publish_to_absent_exchange(s):
    ch = queue(s, "for-absent")
    ch.publish("absent", "k", "x")
    ch.reopen()
    ch.publish("absent", "k", "x", mandatory=True)


@script
def publish_immediate(s):
    ch = queue(s, "immediate")
    ch.publish("", "immediate", "x", immediate=True)


@script
def publish_mandatory(s):
    """The return comes before the confirm."""
    ch = queue(s, "mandatory")
    ch.publish("", "mandatory", "routed", mandatory=True)
    ch.publish("", "nowhere", "returned", EVERY_PROPERTY, mandatory=True)
    ch.publish("", "nowhere", b"", mandatory=True)
    ch.publish("amq.fanout", "nowhere", b"r" * 140000, {"headers": EVERY_TAG}, mandatory=True)
    ch.publish("", "nowhere", "dropped")
    ch.get_all("mandatory")


@script
def publish_mandatory_without_confirms(s):
    ch = s.channel()
    ch.publish("", "nowhere", "returned", mandatory=True)
    ch.publish("amq.topic", "no.where", "returned", {"message_id": "1"}, mandatory=True)


@script
def publish_mandatory_with_cc(s):
    ch = queue(s, "mandatory-cc")
    ch.publish("", "nowhere", "routed by CC", {"headers": {"CC": ["mandatory-cc"]}}, mandatory=True)
    ch.publish("", "nowhere", "routed by BCC", {"headers": {"BCC": ["mandatory-cc"]}}, mandatory=True)
    ch.publish("", "nowhere", "by none", {"headers": {"CC": ["no-cc"], "BCC": ["no-bcc"]}}, mandatory=True)
    ch.get_all("mandatory-cc")


@script
def publish_cc_and_bcc(s):
    ch = queue(s, "cc-to")
    for name in ("cc-one", "cc-two", "bcc-one"):
        ch.call("queue.declare", queue=name, exclusive=True)
    headers = {"first": 1, "CC": ["cc-one", "cc-two", "cc-to"], "between": 2, "BCC": ["bcc-one", "cc-one"], "last": 3}
    ch.publish("", "cc-to", "to all", {"headers": headers, "content_type": "t"})
    ch.publish("", "cc-to", "only BCC", {"headers": {"BCC": ["bcc-one"]}})
    ch.publish("", "cc-to", "empty", {"headers": {"CC": [], "BCC": []}})
    for name in ("cc-to", "cc-one", "cc-two", "bcc-one"):
        ch.get_all(name)


@script
def publish_cc_through_exchanges(s):
    ch = queue(s, "cc-direct")
    ch.call("queue.declare", queue="cc-topic", exclusive=True)
    ch.call("queue.bind", queue="cc-direct", exchange="amq.direct", routing_key="by-cc")
    ch.call("queue.bind", queue="cc-topic", exchange="amq.topic", routing_key="*.cc")
    ch.publish("amq.direct", "k", "direct", {"headers": {"CC": ["by-cc"]}})
    ch.publish("amq.topic", "k", "topic", {"headers": {"BCC": ["by.cc", "also.cc"]}})
    ch.get_all("cc-direct")
    ch.get_all("cc-topic")


@script
def publish_cc_of_wrong_type(s):
    ch = s.channel()
    for name in ("CC", "BCC"):
        for value in ("text", 1, None, True, {"a": 1}, Tagged("x", b"k")):
            ch.publish("", "nowhere", "x", {"headers": {name: value}})
            ch.reopen()


@script
def publish_cc_both_of_wrong_type(s):
    ch = s.channel()
    ch.publish("", "nowhere", "x", {"headers": {"BCC": 1, "CC": "x"}})


@script
def publish_cc_elements_of_wrong_type(s):
    ch = queue(s, "cc-elements")
    ch.publish("", "nowhere", "x", {"headers": {"CC": [1, "cc-elements", None, ["cc-elements"]]}})
    ch.publish("", "nowhere", "y", {"headers": {"BCC": [Tagged("x", b"cc-elements")]}}, mandatory=True)
    ch.get_all("cc-elements")


@script
def publish_cc_lower_case(s):
    ch = queue(s, "cc-lower")
    ch.publish("", "nowhere", "x", {"headers": {"cc": ["cc-lower"], "Bcc": ["cc-lower"]}}, mandatory=True)


@script
def publish_user_id(s):
    ch = queue(s, "user-id")
    ch.publish("", "user-id", "own", {"user_id": "guest"})
    for user in ("other", "", "Guest"):
        ch.publish("", "user-id", "not own", {"user_id": user})
        ch.reopen()
    ch.get_all("user-id")


@script
def publish_expiration_invalid(s):
    ch = s.channel()
    for value in ("abc", "", "-1", "1.5", " 1", "1 ", "+1", "1e3", "315360000001", "9" * 30, "0x10", "10ms"):
        ch.publish("", "nowhere", "x", {"expiration": value})
        ch.reopen()


@script
def publish_expiration_valid(s):
    ch = queue(s, "expiration")
    for value in ("60000", "315360000000", "00060000"):
        ch.publish("", "expiration", "x", {"expiration": value})
    ch.get_all("expiration")


@script
def publish_expiration_zero(s):
    """Expires at once unless a consumer is waiting."""
    ch = queue(s, "expires-at-once")
    ch.publish("", "expires-at-once", "gone", {"expiration": "0"})
    ch.call("basic.get", queue="expires-at-once")
    ch.call("basic.consume", queue="expires-at-once", consumer_tag="t", no_ack=True)
    ch.publish("", "expires-at-once", "caught", {"expiration": "0"})


@script
def publish_order_of_checks(s):
    c = s.connect()
    ch = c.channel()
    ch.call("exchange.declare", exchange="order-internal", type="fanout", internal=True)
    wrong = {"user_id": "other", "expiration": "abc", "headers": {"CC": 1}}
    for exchange, properties in (
        ("absent", wrong),
        ("order-internal", wrong),
        ("amq.fanout", wrong),
        ("amq.fanout", {"user_id": "other", "headers": {"CC": 1}}),
        ("amq.fanout", {"expiration": "abc", "headers": {"CC": 1}}),
        ("amq.fanout", {"user_id": "other"}),
    ):
        ch.publish(exchange, "k", "x", properties)
        ch.reopen()


@script
def publish_order_of_checks_with_broken_properties(s):
    """A missing exchange is noticed before the properties are decoded."""
    ch = s.channel()
    with s.step("publish to an absent exchange with broken properties"):
        ch.send(method(1, "basic.publish", exchange="absent") + frame(HEADER, 1, struct.pack(">HHQ", 60, 0, 0) + b"\x80\0"))


@script
def publish_immediate_before_content(s):
    """`immediate` is noticed once the content is complete."""
    ch = s.channel()
    ch.send_raw("immediate publish without content", method(1, "basic.publish", immediate=True), pingable=False)
    with s.step("header and body"):
        ch.send(amqp.header(1, 1) + amqp.body(1, b"x"))
        ch.pingable = True


@script
def publish_larger_than_allowed(s):
    """128 MiB and one byte is announced and refused."""
    ch = s.channel()
    size = 134217729
    with s.step("a content of 128 MiB and one byte"):
        ch.send(method(1, "basic.publish", routing_key="nowhere") + amqp.header(1, size))
        chunk = amqp.body(1, b"x" * 131064)
        for _ in range(size // 131064):
            ch.send(chunk)
        ch.send(amqp.body(1, b"x" * (size % 131064)))


@script
def publish_routing_keys(s):
    ch = queue(s, "keys")
    ch.call("queue.bind", queue="keys", exchange="amq.fanout")
    for key in ("", "k" * 255, "ünïcödé", b"\xff\xfe", "with space", "line\r\nbreak"):
        ch.publish("amq.fanout", key, "x")
    ch.get_all("keys")
