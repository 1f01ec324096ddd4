"""Which queues get a message: direct, fanout, topic, headers, chains of exchanges, alternates."""

import random

from amqp import Tagged

from transcript import shown

from . import script


class Targets:
    """Exclusive queues, and what a publish put into each of them."""

    def __init__(self, s, names):
        self.session = s
        self.names = names
        c = s.connect()
        self.ch, self.publisher = c.channel(1), c.channel(2)
        self.publisher.call("confirm.select")
        for name in names:
            self.ch.call("queue.declare", queue=name, exclusive=True)

    def bind(self, queue, exchange, routing_key="", arguments=None):
        self.ch.call("queue.bind", queue=queue, exchange=exchange, routing_key=routing_key, arguments=arguments)
        self.ch.reopen()

    def publish(self, exchange, routing_key="", properties=None, mandatory=True):
        """Publish, and record by purging which queues had the message."""
        label = f"publish to {exchange!r} {routing_key!r} {shown(properties)}{' mandatory' * mandatory}"
        with self.session.step(label):
            self.publisher.publish(exchange, routing_key, "x", properties, mandatory=mandatory)
            self.publisher.await_confirms()
            got = {}
            with self.session.unrecorded():
                for name in self.names:
                    answer = self.ch.call("queue.purge", queue=name)
                    got[name] = answer and answer.get("message-count")
            self.session.record(*self.ch.place, {"frame": "got", "queues": {name: n for name, n in got.items() if n}})


@script
def route_direct(s):
    t = Targets(s, ["d1", "d2"])
    t.ch.call("exchange.declare", exchange="direct-x", type="direct")
    t.bind("d1", "direct-x", "one")
    t.bind("d1", "direct-x", "both")
    t.bind("d2", "direct-x", "both")
    t.bind("d2", "direct-x", "")
    for key in ("one", "both", "", "other", "ONE", "one "):
        t.publish("direct-x", key)


@script
def route_fanout(s):
    t = Targets(s, ["f1", "f2", "f3"])
    t.ch.call("exchange.declare", exchange="fanout-x", type="fanout")
    t.bind("f1", "fanout-x", "ignored")
    t.bind("f2", "fanout-x")
    t.publish("fanout-x", "any")


@script
def route_default_exchange(s):
    t = Targets(s, ["default-1"])
    t.publish("", "default-1")
    t.publish("", "default-2")


@script
def route_topic(s):
    patterns = ["#", "*", "a.#", "#.z", "a.*.c", "*.b.*", "a.b.c", "#.b.#", "", "a.#.z", "*.#", "a..b", "#.#", "*.*"]
    t = Targets(s, [f"topic-{n}" for n in range(len(patterns))])
    t.ch.call("exchange.declare", exchange="topic-x", type="topic")
    for name, pattern in zip(t.names, patterns):
        t.bind(name, "topic-x", pattern)
    for key in ("", "a", "a.b", "a.b.c", "a.z", "z", "a..b", ".", "..", "a.", ".a", "a.b.c.z", "b", "x.b.y", "*", "#", "a.*.c", "A.B.C"):
        t.publish("topic-x", key)


@script
def route_topic_random(s):
    """Patterns and keys from a seed; every queue has a pattern."""
    chance = random.Random(20240601)
    words = ["a", "b", "c", "", "*", "#"]
    for round in range(4):
        patterns = [".".join(chance.choices(["a", "b", "c", "*", "#", ""], [4, 4, 3, 4, 4, 1], k=chance.randint(0, 5))) for _ in range(12)]
        # More than two `#` is refused by some versions of RabbitMQ.
        patterns = [p for p in patterns if p.count("#") <= 2]
        t = Targets(s, [f"random-{round}-{n}" for n in range(len(patterns))])
        exchange = f"random-topic-{round}"
        t.ch.call("exchange.declare", exchange=exchange, type="topic")
        for name, pattern in zip(t.names, patterns):
            t.bind(name, exchange, pattern)
        for _ in range(25):
            t.publish(exchange, ".".join(chance.choices(words, [4, 4, 3, 1, 1, 1], k=chance.randint(0, 6))))


@script
def route_topic_unbind(s):
    t = Targets(s, ["u1", "u2"])
    t.ch.call("exchange.declare", exchange="unbind-x", type="topic")
    for name, pattern in (("u1", "a.*.#"), ("u1", "a.#"), ("u2", "a.*.#")):
        t.bind(name, "unbind-x", pattern)
    t.publish("unbind-x", "a.b")
    t.ch.call("queue.unbind", queue="u1", exchange="unbind-x", routing_key="a.*.#")
    t.publish("unbind-x", "a.b")
    t.ch.call("queue.unbind", queue="u1", exchange="unbind-x", routing_key="a.#")
    t.publish("unbind-x", "a.b")
    t.ch.call("queue.unbind", queue="u2", exchange="unbind-x", routing_key="a.*.#")
    t.publish("unbind-x", "a.b")


@script
def route_topic_many_hashes(s):
    t = Targets(s, ["hashes"])
    t.ch.call("exchange.declare", exchange="hashes-x", type="topic")
    t.bind("hashes", "hashes-x", "#.a.#.b.#.c.#")
    for key in ("a.b.c", "x.a.x.b.x.c.x", "a.c.b", "a.a.a.b.b.b.c.c.c", "a.b"):
        t.publish("hashes-x", key)


HEADERS_BINDINGS = {
    "all-default": {"a": 1, "b": "x"},
    "all": {"x-match": "all", "a": 1, "b": "x"},
    "any": {"x-match": "any", "a": 1, "b": "x"},
    "void": {"x-match": "all", "a": None},
    "void-any": {"x-match": "any", "a": None, "z": None},
    "nothing-all": {"x-match": "all"},
    "nothing": {},
    "x-ignored": {"x-match": "all", "a": 1, "x-other": 1},
}


@script
def route_headers(s):
    t = Targets(s, list(HEADERS_BINDINGS))
    t.ch.call("exchange.declare", exchange="headers-x", type="headers")
    for name, arguments in HEADERS_BINDINGS.items():
        t.bind(name, "headers-x", "ignored", arguments)
    for headers in (
        None, {}, {"a": 1}, {"b": "x"}, {"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": 1, "b": "x", "c": 3},
        {"a": "1"}, {"a": Tagged("l", 1)}, {"a": Tagged("B", 1), "b": "x"}, {"a": None}, {"a": 1, "x-other": 1},
        {"A": 1}, {"a": True}, {"z": {}}, {"b": Tagged("x", b"x")},
    ):
        t.publish("headers-x", "", {"headers": headers} if headers is not None else None)


@script
def route_headers_any_without_arguments(s):
    t = Targets(s, ["any-nothing"])
    t.ch.call("exchange.declare", exchange="any-x", type="headers")
    t.bind("any-nothing", "any-x", "", {"x-match": "any"})
    t.publish("any-x", "", {"headers": {"a": 1}})
    t.publish("any-x", "")


def _match_each_value(s, exchange, bound, published):
    """A queue for each bound value; publish each value."""
    t = Targets(s, list(bound))
    t.ch.call("exchange.declare", exchange=exchange, type="headers")
    for name, value in bound.items():
        t.bind(name, exchange, "", {"x-match": "all", "h": value})
    for value in published:
        t.publish(exchange, "", {"headers": {"h": value}}, mandatory=False)


@script
def route_headers_value_types(s):
    """Each binding has one value of one type; each message the same value in another type."""
    values = {
        "int": 5, "long": Tagged("l", 5), "byte": Tagged("b", 5), "unsigned": Tagged("i", 5),
        "text": "5", "bytes": Tagged("x", b"5"), "true": True, "time": Tagged("T", 5), "decimal": Tagged("D", (0, 5)),
        "array": [5], "table": {"a": 5}, "void": None,
    }
    _match_each_value(s, "types-x", values, values.values())


@script
def route_headers_float_types(s):
    floats = {"double": 5.5, "float": Tagged("f", 5.5)}
    _match_each_value(s, "floats-x", floats, floats.values())


@script
def route_headers_integer_and_float(s):
    _match_each_value(s, "int-x", {"int": 5}, [5.0, Tagged("f", 5.0)])
    _match_each_value(s, "double-x", {"double": 5.0}, [5, Tagged("l", 5)])


@script
def route_headers_with_x(s):
    t = Targets(s, ["all-with-x", "any-with-x"])
    t.ch.call("exchange.declare", exchange="with-x", type="headers")
    for name in t.names:
        t.bind(name, "with-x", "", {"x-match": name, "x-a": 1, "b": 2})
    for headers in ({"x-a": 1}, {"b": 2}, {"x-a": 1, "b": 2}, {}):
        t.publish("with-x", "", {"headers": headers})


@script
def route_headers_bad_match(s):
    t = Targets(s, ["bad-match"])
    t.ch.call("exchange.declare", exchange="bad-match-x", type="headers")
    for value in ("some", "", "ALL"):
        t.bind("bad-match", "bad-match-x", "", {"x-match": value})


@script
def route_headers_bad_match_type(s):
    t = Targets(s, ["bad-match-type"])
    t.ch.call("exchange.declare", exchange="bad-match-type-x", type="headers")
    for value in (1, True, None, Tagged("x", b"all")):
        t.bind("bad-match-type", "bad-match-type-x", "", {"x-match": value})


@script
def route_exchange_to_exchange(s):
    t = Targets(s, ["e-q1", "e-q2"])
    for name, type in (("e-a", "topic"), ("e-b", "fanout"), ("e-c", "direct")):
        t.ch.call("exchange.declare", exchange=name, type=type)
    t.ch.call("exchange.bind", destination="e-b", source="e-a", routing_key="to.*")
    t.ch.call("exchange.bind", destination="e-c", source="e-b", routing_key="")
    t.bind("e-q1", "e-b")
    t.bind("e-q2", "e-c", "to.c")
    for key in ("to.c", "to.x", "other"):
        t.publish("e-a", key)


@script
def route_cycle(s):
    """a → b → c → a, and a to itself: each queue gets one copy."""
    t = Targets(s, ["cycle-q", "cycle-r"])
    for name in ("cycle-a", "cycle-b", "cycle-c"):
        t.ch.call("exchange.declare", exchange=name, type="fanout")
    for source, destination in (("cycle-a", "cycle-b"), ("cycle-b", "cycle-c"), ("cycle-c", "cycle-a"), ("cycle-a", "cycle-a")):
        t.ch.call("exchange.bind", destination=destination, source=source)
    t.publish("cycle-a", "none")
    t.bind("cycle-q", "cycle-c")
    t.bind("cycle-q", "cycle-a")
    t.bind("cycle-r", "cycle-b")
    for name in ("cycle-a", "cycle-b", "cycle-c"):
        t.publish(name, "k")


@script
def route_diamond(s):
    t = Targets(s, ["diamond-q"])
    for name in ("top", "left", "right", "bottom"):
        t.ch.call("exchange.declare", exchange=f"diamond-{name}", type="fanout")
    for source, destination in (("top", "left"), ("top", "right"), ("left", "bottom"), ("right", "bottom")):
        t.ch.call("exchange.bind", destination=f"diamond-{destination}", source=f"diamond-{source}")
    t.bind("diamond-q", "diamond-bottom")
    t.publish("diamond-top")


@script
def route_alternate(s):
    t = Targets(s, ["routed", "unrouted"])
    t.ch.call("exchange.declare", exchange="alternate", type="fanout")
    t.ch.call("exchange.declare", exchange="primary", type="direct", arguments={"alternate-exchange": "alternate"})
    t.bind("routed", "primary", "known")
    t.publish("primary", "unknown")
    t.bind("unrouted", "alternate")
    t.publish("primary", "known")
    t.publish("primary", "unknown")
    t.publisher.publish("primary", "unknown", "shows its first exchange and key")
    t.ch.get_all("unrouted")


@script
def route_alternate_absent(s):
    t = Targets(s, ["none"])
    t.ch.call("exchange.declare", exchange="no-alternate", type="direct", arguments={"alternate-exchange": "absent-alternate"})
    t.publish("no-alternate", "k")
    t.ch.call("exchange.declare", exchange="absent-alternate", type="fanout")
    t.bind("none", "absent-alternate")
    t.publish("no-alternate", "k")


@script
def route_alternate_chain_and_loop(s):
    t = Targets(s, ["chain-end"])
    for name, next in (("alt-1", "alt-2"), ("alt-2", "alt-3"), ("alt-3", "alt-1")):
        t.ch.call("exchange.declare", exchange=name, type="direct", arguments={"alternate-exchange": next})
    t.publish("alt-1", "k")
    t.bind("chain-end", "alt-3", "k")
    for name in ("alt-1", "alt-2", "alt-3"):
        t.publish(name, "k")
    t.publish("alt-1", "other")


@script
def route_alternate_of_inner_exchange(s):
    """Each visited exchange has its own alternate."""
    t = Targets(s, ["outer-q", "inner-alternate-q"])
    t.ch.call("exchange.declare", exchange="inner-alternate", type="fanout")
    t.ch.call("exchange.declare", exchange="inner", type="direct", arguments={"alternate-exchange": "inner-alternate"})
    t.ch.call("exchange.declare", exchange="outer", type="fanout")
    t.ch.call("exchange.bind", destination="inner", source="outer")
    t.bind("outer-q", "outer")
    t.bind("inner-alternate-q", "inner-alternate")
    t.publish("outer", "k")


@script
def route_alternate_is_internal(s):
    t = Targets(s, ["internal-alternate-q"])
    t.ch.call("exchange.declare", exchange="internal-alternate", type="fanout", internal=True)
    t.ch.call("exchange.declare", exchange="has-internal", type="direct", arguments={"alternate-exchange": "internal-alternate"})
    t.bind("internal-alternate-q", "internal-alternate")
    t.publish("has-internal", "k")


@script
def route_alternate_default_exchange(s):
    t = Targets(s, ["by-default"])
    t.ch.call("exchange.declare", exchange="to-default", type="direct", arguments={"alternate-exchange": ""})
    t.publish("to-default", "by-default")
    t.publish("to-default", "elsewhere")


@script
def route_alternate_with_cc(s):
    """One routed key is enough to leave the alternate out."""
    t = Targets(s, ["cc-routed", "cc-alternate"])
    t.ch.call("exchange.declare", exchange="cc-alt", type="fanout")
    t.ch.call("exchange.declare", exchange="cc-primary", type="direct", arguments={"alternate-exchange": "cc-alt"})
    t.bind("cc-routed", "cc-primary", "known")
    t.bind("cc-alternate", "cc-alt")
    t.publish("cc-primary", "unknown", {"headers": {"CC": ["known"]}})
    t.publish("cc-primary", "unknown", {"headers": {"CC": ["unknown-too"]}})


@script
def route_predeclared(s):
    t = Targets(s, ["predeclared"])
    t.bind("predeclared", "amq.match", "", {"predeclared": 1})
    t.bind("predeclared", "amq.topic", "predeclared.#")
    t.publish("amq.match", "", {"headers": {"predeclared": 1}})
    t.publish("amq.headers", "", {"headers": {"predeclared": 1}})
    t.publish("amq.topic", "predeclared")
