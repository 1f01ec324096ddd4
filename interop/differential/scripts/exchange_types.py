"""The exchange types of RabbitMQ's plugins: x-consistent-hash, x-modulus-hash, x-random, x-recent-history.

Which queue a hash or a draw chooses is not compared, only that there is one.
"""

from amqp import Tagged

from . import script
from .exchanges import attempts

TYPES = ("x-consistent-hash", "x-modulus-hash", "x-random", "x-recent-history")


@script
def exchange_type_declare(s):
    for type in TYPES:
        name = f"declared-{type}"
        ch = s.channel()
        for durable, auto_delete, internal in ((False, False, False), (True, False, False), (False, False, True)):
            fields = {"durable": durable, "auto_delete": auto_delete, "internal": internal}
            ch.call("exchange.declare", exchange=name, type=type, **fields)
            ch.reopen()
        ch.call("exchange.declare", exchange=name, type="direct")
        ch.reopen()
        ch.call("exchange.delete", exchange=name)


@script
def exchange_type_arguments(s):
    def declare(type, **arguments):
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        fields = {"exchange": "typed", "type": type, "arguments": named}
        attempts(s, [("exchange.declare", fields), ("exchange.delete", {"exchange": "typed"})])

    for name in ("message_id", "correlation_id", "timestamp", "reply_to", "", "Message_id"):
        declare("x-consistent-hash", hash_property=name)
    declare("x-consistent-hash", hash_header="h")
    declare("x-consistent-hash", hash_header="")
    declare("x-consistent-hash", hash_header="h", hash_property="message_id")
    declare("x-consistent-hash", hash_header="h", hash_property="nonsense")
    for length in (1, 0, -1, 2**40, Tagged("b", 3), Tagged("s", 3), Tagged("I", 3), Tagged("l", 3)):
        declare("x-recent-history", x_recent_history_length=length)
    for length in (Tagged("d", 1.0), True, "5", None):
        declare("x-recent-history", x_recent_history_length=length)
    declare("x-random", anything="goes", hash_header=1)
    declare("x-modulus-hash", anything="goes", hash_header=1)


@script
def exchange_type_arguments_of_no_text(s):
    for name, value in (("hash-header", 1), ("hash-property", 1), ("hash-header", True)):
        fields = {"exchange": "typed", "type": "x-consistent-hash", "arguments": {name: value}}
        attempts(s, [("exchange.declare", fields)])


@script
def exchange_type_equivalence(s):
    ch = s.channel()
    for type, given, other in (
        ("x-consistent-hash", {"hash-header": "h"}, {"hash-header": "other"}),
        ("x-consistent-hash", {"hash-header": "h"}, {"hash-header": "h", "hash-property": "message_id"}),
        ("x-recent-history", {"x-recent-history-length": 2}, {"x-recent-history-length": 3}),
        ("x-recent-history", {}, {"x-recent-history-length": 0}),
        ("x-random", {"alternate-exchange": "a"}, {"alternate-exchange": "b"}),
    ):
        ch.call("exchange.declare", exchange="equal-types", type=type, arguments=given)
        ch.call("exchange.declare", exchange="equal-types", type=type, arguments=other)
        ch.reopen()
        ch.call("exchange.delete", exchange="equal-types")


@script
def exchange_type_consistent_hash_weights(s):
    ch = s.channel()
    ch.call("queue.declare", queue="weighed", exclusive=True)
    ch.call("exchange.declare", exchange="weights", type="x-consistent-hash")
    ch.call("exchange.declare", exchange="weighed-x", type="fanout")
    weights = ("1", "10", "+1", "007", "0", "-1", "-0", "", " 1", "1 ", "1.5", "a", "1a", "0x1", '"', "\\", "\n", "+", "-", "#")
    for weight in weights:
        ch.call("queue.bind", queue="weighed", exchange="weights", routing_key=weight)
        ch.reopen()
        ch.call("exchange.bind", destination="weighed-x", source="weights", routing_key=weight)
        ch.reopen()
    ch.call("queue.bind", queue="absent", exchange="weights", routing_key="a")
    ch.reopen()
    ch.call("queue.unbind", queue="weighed", exchange="weights", routing_key="a")


@script
def exchange_type_random_binding_keys(s):
    ch = s.channel()
    ch.call("queue.declare", queue="keyed", exclusive=True)
    for type in ("x-random", "x-modulus-hash", "x-recent-history"):
        ch.call("exchange.declare", exchange="keyed-x", type=type)
        for key in ("", "a", "#"):
            ch.call("queue.bind", queue="keyed", exchange="keyed-x", routing_key=key, arguments={"x-match": "no"})
        ch.call("exchange.delete", exchange="keyed-x")


class Drawn:
    """Exclusive queues, and how many of them a publish put how many messages into."""

    def __init__(self, s, type, count, arguments=None, exchange="drawn-x"):
        self.session = s
        self.names = [f"{exchange}-{n}" for n in range(count)]
        c = s.connect()
        self.ch, self.publisher = c.channel(1), c.channel(2)
        self.publisher.call("confirm.select")
        self.exchange = exchange
        self.ch.call("exchange.declare", exchange=exchange, type=type, arguments=arguments)
        for name in self.names:
            self.ch.call("queue.declare", queue=name, exclusive=True)

    def bind(self, weight):
        for name in self.names:
            self.ch.call("queue.bind", queue=name, exchange=self.exchange, routing_key=weight)

    def publish(self, routing_key, properties=None, times=1):
        with self.session.step(f"publish {times} to {routing_key!r} {properties}"):
            for _ in range(times):
                self.publisher.publish(self.exchange, routing_key, "x", properties, mandatory=True)
                self.publisher.await_confirms()
            with self.session.unrecorded():
                counts = [self.ch.call("queue.purge", queue=name)["message-count"] for name in self.names]
            self.session.record(*self.ch.place, {"frame": "got", "total": sum(counts), "queues": sum(n > 0 for n in counts)})


@script
def exchange_type_without_bindings(s):
    for type in TYPES:
        t = Drawn(s, type, 0, exchange=f"drawn-{type}")
        t.publish("k")


@script
def exchange_type_consistent_hash_by_key(s):
    t = Drawn(s, "x-consistent-hash", 4)
    t.bind("1")
    for key in ("", "a", "b"):
        t.publish(key, times=5)
    t.publish("a", {"headers": {"CC": ["b", "c", "d"]}}, times=3)


@script
def exchange_type_consistent_hash_by_header(s):
    t = Drawn(s, "x-consistent-hash", 4, {"hash-header": "h"})
    t.bind("2")
    for value in ("a", 1, 1.5, True, None, [1], {"a": 1}):
        t.publish("k", {"headers": {"h": value}}, times=3)
    t.publish("k", {"headers": {"other": 1}}, times=3)
    t.publish("k", times=3)


@script
def exchange_type_consistent_hash_by_property(s):
    for name, value in (("message_id", "m"), ("correlation_id", "c"), ("timestamp", 1234567890)):
        t = Drawn(s, "x-consistent-hash", 4, {"hash-property": name}, exchange=f"drawn-{name}")
        t.bind("1")
        t.publish("k", {name: value}, times=3)
        t.publish("k", times=3)


@script
def exchange_type_modulus_hash(s):
    t = Drawn(s, "x-modulus-hash", 4)
    t.bind("ignored")
    for key in ("", "a", "b"):
        t.publish(key, times=5)


@script
def exchange_type_random(s):
    t = Drawn(s, "x-random", 2)
    t.bind("")
    t.publish("k")
    t.publish("k", times=60)



@script
def recent_history(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="history", type="x-recent-history", arguments={"x-recent-history-length": 2})
    ch.call("queue.declare", queue="first", exclusive=True)
    ch.call("queue.declare", queue="second", exclusive=True)
    ch.call("queue.bind", queue="first", exchange="history", routing_key="a")
    for n, properties in enumerate((None, {"delivery_mode": 2, "message_id": "m"}, {"headers": {"x-recent-history-no-store": True}},
                                    {"headers": {"x-recent-history-no-store": False}}, {"headers": {"x-recent-history-no-store": "true"}})):
        ch.publish("history", f"k{n}", f"body {n}", properties)
    ch.call("queue.bind", queue="second", exchange="history", routing_key="b")
    ch.get_all("second")
    ch.call("queue.bind", queue="second", exchange="history", routing_key="b")
    ch.get_all("second")
    ch.call("queue.bind", queue="second", exchange="history", routing_key="c")
    ch.get_all("second")
    ch.call("queue.unbind", queue="second", exchange="history", routing_key="c")
    ch.call("queue.unbind", queue="second", exchange="history", routing_key="b")
    ch.publish("history", "last", "last")
    ch.call("queue.bind", queue="second", exchange="history", routing_key="b")
    ch.get_all("second")
    ch.get_all("first")


@script
def recent_history_length_default(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="history", type="x-recent-history")
    ch.call("queue.declare", queue="twenty", exclusive=True)
    for n in range(25):
        ch.publish("history", "k", f"body {n}")
    ch.call("queue.bind", queue="twenty", exchange="history")
    ch.get_all("twenty")


@script
def recent_history_of_unroutable(s):
    """They are kept, whether they are returned or not."""
    ch = s.channel()
    ch.call("exchange.declare", exchange="history", type="x-recent-history")
    ch.call("queue.declare", queue="late", exclusive=True)
    ch.publish("history", "k", "returned", mandatory=True)
    ch.publish("history", "k", "with copies", {"headers": {"CC": ["cc"], "BCC": ["bcc"]}})
    ch.call("queue.bind", queue="late", exchange="history")
    ch.get_all("late")


@script
def recent_history_to_exchange(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="history", type="x-recent-history")
    ch.call("exchange.declare", exchange="behind", type="topic")
    ch.call("queue.declare", queue="behind-a", exclusive=True)
    ch.call("queue.declare", queue="behind-cc", exclusive=True)
    ch.call("queue.bind", queue="behind-a", exchange="behind", routing_key="#")
    ch.call("queue.bind", queue="behind-cc", exchange="behind", routing_key="cc.#")
    ch.publish("history", "k", "one")
    ch.publish("history", "k", "two", {"headers": {"CC": ["cc.1"], "BCC": ["cc.2"]}})
    ch.call("exchange.bind", destination="behind", source="history")
    ch.get_all("behind-a")
    ch.get_all("behind-cc")


@script
def recent_history_to_exchange_without_queues(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="history", type="x-recent-history")
    ch.call("exchange.declare", exchange="nowhere", type="fanout")
    ch.publish("history", "k", "one")
    ch.call("exchange.bind", destination="nowhere", source="history")


@script
def recent_history_through_another(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="front", type="fanout")
    ch.call("exchange.declare", exchange="history", type="x-recent-history", internal=True)
    ch.call("exchange.bind", destination="history", source="front")
    ch.call("queue.declare", queue="late", exclusive=True)
    ch.publish("front", "k", "one")
    ch.call("queue.bind", queue="late", exchange="history")
    ch.get_all("late")


@script
def recent_history_of_transaction(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="history", type="x-recent-history")
    ch.call("queue.declare", queue="late", exclusive=True)
    ch.call("tx.select")
    ch.publish("history", "k", "rolled back")
    ch.call("tx.rollback")
    ch.publish("history", "k", "committed")
    ch.call("tx.commit")
    ch.call("queue.bind", queue="late", exchange="history")
    ch.get_all("late")


@script
def exchange_type_alternates_and_chains(s):
    ch = s.channel()
    ch.call("queue.declare", queue="alternate-q", exclusive=True)
    ch.call("queue.declare", queue="chained-q", exclusive=True)
    ch.call("exchange.declare", exchange="alternate", type="fanout")
    ch.call("queue.bind", queue="alternate-q", exchange="alternate")
    # A history must not meet an exchange that leads nowhere, see below.
    for type in TYPES[:3]:
        ch.call("exchange.declare", exchange="typed", type=type, auto_delete=True, arguments={"alternate-exchange": "alternate"})
        ch.call("exchange.declare", exchange="chained", type="fanout")
        ch.publish("typed", "k", type)
        ch.get_all("alternate-q")
        ch.call("exchange.bind", destination="chained", source="typed", routing_key="1")
        ch.publish("typed", "k", type, mandatory=True)
        ch.call("queue.bind", queue="chained-q", exchange="chained")
        ch.publish("typed", "k", type, mandatory=True)
        ch.get_all("alternate-q")
        ch.get_all("chained-q")
        ch.call("exchange.delete", exchange="chained")
        ch.call("exchange.declare", exchange="typed", passive=True)
        ch.reopen()
