import time

from harness import Inbox, await_ready, channel_error, drain, no_exchange, publish, receive, receive_all, send
from kombu import Exchange, Producer
from playing import equal, scenario


@scenario
def predeclared_exchanges(session):
    """kombu's own declare leaves exchanges alone that begin with amq."""
    channel = session.channel()
    for name, kind in (
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ):
        channel.exchange_declare(name, kind, passive=True)
        channel.exchange_declare(name, kind, durable=True, auto_delete=False)


@scenario
def exchange_mismatch(session):
    """kombu has no way to declare an exchange internal."""
    connection = session.connect()
    exchange = session.exchange(connection.channel(), "direct")
    flag = "received 'true' but current is 'false'"
    for argument, options, difference in (
        ("type", {"type": "fanout"}, "received 'fanout' but current is 'direct'"),
        ("durable", {"durable": True}, flag),
        ("auto_delete", {"auto_delete": True}, flag),
        (
            "alternate-exchange",
            {"arguments": {"alternate-exchange": "amq.fanout"}},
            "received the value 'amq.fanout' of type 'longstr' but current is none",
        ),
    ):
        text = f"inequivalent arg '{argument}' for exchange '{exchange.name}' in vhost '/': {difference}"
        with channel_error(connection, 406, f"PRECONDITION_FAILED - {text}"):
            Exchange(exchange.name, **{"durable": False, **options})(connection.channel()).declare()
    exchange.declare()


@scenario
def default_exchange(session):
    channel = session.channel()
    first, second = session.queue(channel, "first"), session.queue(channel, "second")
    send(first, "to first")
    send(second, "to second")
    publish(channel, "to nobody", session.name("nobody"))
    equal(drain(first), ["to first"], "first")
    equal(drain(second), ["to second"], "second")


@scenario
def direct_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "direct")
    errors = session.queue(channel, "errors", exchange=exchange, routing_key="error")
    bindings = [exchange.binding(severity) for severity in ("info", "warning", "error", "error")]
    everything = session.queue(channel, "everything", bindings=bindings)
    producer = Producer(channel, exchange=exchange)
    for severity in ("info", "warning", "error", "debug"):
        producer.publish(severity, routing_key=severity)
    equal(drain(errors), ["error"], "errors")
    equal(drain(everything), ["info", "warning", "error"], "everything")


@scenario
def fanout_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "fanout")
    queues = [session.queue(channel, f"queue-{n}", exchange=exchange, routing_key=f"ignored-{n}") for n in range(5)]
    publish(channel, "one", "", exchange)
    publish(channel, "two", "any.key", exchange)
    for queue in queues:
        equal(drain(queue), ["one", "two"], queue.name)


TOPIC_CASES = {
    "a.b.c": ["a.b.c", "a.*.c", "*.b.*", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "#.b.#"],
    "a.c": ["#", "a.#", "#.c", "a.#.c", "a.#.#", "*.*"],
    "a": ["#", "a.#", "*", "a.#.#"],
    "": ["#"],
    "a..c": ["a.*.c", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "a..c"],
    "b": ["#", "*", "#.b.#"],
}


@scenario
def topic_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "topic")
    patterns = sorted({pattern for matching in TOPIC_CASES.values() for pattern in matching})
    queues = {pattern: session.queue(channel, f"[{pattern}]", exchange, routing_key=pattern) for pattern in patterns}
    once = session.queue(channel, "one copy", bindings=[exchange.binding(pattern) for pattern in patterns])
    for key in TOPIC_CASES:
        publish(channel, f"key {key}", key, exchange)
    for pattern, queue in queues.items():
        expected = [f"key {key}" for key, matching in TOPIC_CASES.items() if pattern in matching]
        equal(drain(queue), expected, f"keys that {pattern!r} matches")
    equal(drain(once), [f"key {key}" for key in TOPIC_CASES], "one copy of each")


@scenario
def headers_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "headers")
    wanted = {"format": "pdf", "pages": 3, "draft": False}
    tiered = {"format": "pdf", "x-tier": "gold"}
    bound = {
        "x-match all": ({"x-match": "all", **wanted}, ["all"]),
        "x-match any": ({"x-match": "any", **wanted}, ["all", "format only", "draft only", "tiered"]),
        "no x-match": (wanted, ["all"]),
        "tiered all": ({"x-match": "all", **tiered}, ["all", "format only", "tiered"]),
        "tiered all-with-x": ({"x-match": "all-with-x", **tiered}, ["tiered"]),
        "tiered any-with-x": ({"x-match": "any-with-x", **tiered}, ["all", "format only", "tiered", "tier only"]),
    }
    queues = {
        label: session.queue(channel, label, exchange, binding_arguments=arguments)
        for label, (arguments, _) in bound.items()
    }
    for label, headers in (
        ("all", {**wanted, "extra": "ignored"}),
        ("format only", {"format": "pdf", "pages": 4}),
        ("draft only", {"draft": False}),
        ("none", {"format": "zip", "pages": 4, "draft": True}),
        ("no headers", None),
        ("tiered", tiered),
        ("tier only", {"x-tier": "gold"}),
    ):
        publish(channel, label, "", exchange, headers=headers)
    for label, (_, expected) in bound.items():
        equal(drain(queues[label]), expected, label)


@scenario
def exchange_to_exchange(session):
    channel = session.channel()
    source = session.exchange(channel, "topic", "source")
    middle = session.exchange(channel, "fanout", "middle")
    middle.bind_to(source, "orders.#")
    source.bind_to(middle)
    queue = session.queue(channel, bindings=[middle.binding(), source.binding("#")])
    publish(channel, "both ways", "orders.new", source)
    publish(channel, "directly", "other", source)
    equal(drain(queue), ["both ways", "directly"], "messages, one copy each")
    middle.unbind_from(source, "orders.#")
    queue.unbind_from(source, "#")
    publish(channel, "nowhere", "orders.new", source)
    equal(drain(queue), [], "messages after unbind")


@scenario
def alternate_exchange(session):
    channel = session.channel()
    fallback = session.exchange(channel, "fanout", "fallback")
    exchange = session.exchange(channel, "direct", "main", arguments={"alternate-exchange": fallback.name})
    known = session.queue(channel, "known", exchange, routing_key="known")
    unknown = session.queue(channel, "unknown", fallback)
    returned = []
    producer = Producer(channel, exchange=exchange, on_return=lambda *message: returned.append(message))
    producer.publish("matched", routing_key="known", mandatory=True)
    producer.publish("not matched", routing_key="stray", mandatory=True)
    equal(drain(known), ["matched"], "matched")
    message = receive(unknown)
    origin = (message.delivery_info["exchange"], message.delivery_info["routing_key"])
    equal((*origin, message.payload), (exchange.name, "stray", "not matched"), "not matched")
    equal(returned, [], "returned")


@scenario
def internal_exchange(session):
    """kombu has no way to declare an exchange internal; this one is there in every vhost."""
    connection = session.connect()
    channel = connection.channel()
    front = session.exchange(channel, "direct", "front")
    internal = Exchange("amq.rabbitmq.trace", "topic")(channel)
    internal.bind_to(front, session.name("in"))
    queue = session.queue(channel, exchange=internal, routing_key=session.name("in"))
    publish(channel, "through the front", session.name("in"), front)
    equal(drain(queue), ["through the front"], "messages")
    refusal = f"ACCESS_REFUSED - cannot publish to internal exchange '{internal.name}' in vhost '/'"
    with channel_error(connection, 403, refusal):
        intruder = connection.channel()
        publish(intruder, "directly", session.name("in"), internal)
        queue(intruder).queue_declare(passive=True)
    equal(drain(queue), [], "messages after the refused publish")


@scenario
def auto_delete_exchange(session):
    connection = session.connect()
    channel = connection.channel()
    exchange = session.exchange(channel, "fanout", auto_delete=True)
    queue = session.queue(channel, bindings=[exchange.binding(key) for key in ("one", "two")])
    queue.unbind_from(exchange, "one")
    exchange.declare(passive=True)
    queue.unbind_from(exchange, "two")
    with channel_error(connection, 404, no_exchange(exchange.name)):
        exchange(connection.channel()).declare(passive=True)


@scenario
def unbind(session):
    channel = session.channel()
    exchange = session.exchange(channel, "headers")
    red, blue = {"x-match": "all", "colour": "red"}, {"x-match": "all", "colour": "blue"}
    queue = session.queue(channel, bindings=[exchange.binding(arguments=arguments) for arguments in (red, blue)])
    queue.unbind_from(exchange, arguments=red)
    queue.unbind_from(exchange, "never bound", arguments=blue)
    for colour in ("red", "blue"):
        publish(channel, colour, "", exchange, headers={"colour": colour})
    equal(drain(queue), ["blue"], "messages")


KEYS = [f"key-{n}" for n in range(1000)]


def spread(queues, publish_key):
    """Publishes every key twice: which of them each queue got, all of them once in each round."""
    rounds = []
    for _ in range(2):
        for key in KEYS:
            publish_key(key)
        received = [sorted(drain(queue)) for queue in queues]
        equal(sorted(key for keys in received for key in keys), sorted(KEYS), "keys over all queues")
        rounds.append(received)
    equal(rounds[0] == rounds[1], True, "the same key in the same queue again")
    return rounds[0]


def everyone_got_some(shares):
    equal([bool(keys) for keys in shares], [True] * len(shares), "every queue got some")


@scenario
def consistent_hash_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-consistent-hash")
    queues = [session.queue(channel, f"weight {n}", exchange, routing_key=weight) for n, weight in enumerate("114")]
    shares = spread(queues, lambda key: publish(channel, key, key, exchange))
    everyone_got_some(shares)
    equal(len(shares[2]) > len(shares[0]) + len(shares[1]), True, "four sixths of the weight get more than half")

    by_header = session.exchange(channel, "x-consistent-hash", "by header", arguments={"hash-header": "hash-on"})
    queues = [session.queue(channel, f"by header {n}", by_header, routing_key="1") for n in range(3)]
    everyone_got_some(spread(queues, lambda key: publish(channel, key, "same", by_header, headers={"hash-on": key})))


@scenario
def modulus_hash_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-modulus-hash")
    queues = [session.queue(channel, f"queue-{n}", exchange) for n in range(3)]
    everyone_got_some(spread(queues, lambda key: publish(channel, key, key, exchange)))


@scenario
def random_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-random")
    queues = [session.queue(channel, f"queue-{n}", exchange) for n in range(3)]
    for n in range(200):
        publish(channel, str(n), "same", exchange)
    shares = [drain(queue) for queue in queues]
    equal(sorted(int(body) for share in shares for body in share), list(range(200)), "messages over all queues")
    everyone_got_some(shares)


@scenario
def recent_history_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-recent-history", arguments={"x-recent-history-length": 5})
    for n in range(8):
        publish(channel, str(n), "", exchange)
    queue = session.queue(channel, "late", exchange)
    await_ready(queue, 5)
    equal(drain(queue), ["3", "4", "5", "6", "7"], "the last five")
    publish(channel, "8", "", exchange)
    equal(drain(queue), ["8"], "messages after it was bound")


@scenario
def delayed_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-delayed-message", arguments={"x-delayed-type": "direct"})
    inbox = Inbox(session.queue(channel, exchange=exchange, routing_key="key"), no_ack=True)
    started = time.monotonic()
    for delay in (300, 100, 200, 0):
        publish(channel, str(delay), "key", exchange, headers={"x-delay": delay})
    publish(channel, "to nobody", "other", exchange, headers={"x-delay": 50})
    for count, delay in enumerate((0, 100, 200, 300), 1):
        equal(inbox.bodies(count)[-1], str(delay), "message")
        equal(time.monotonic() - started >= delay / 1000, True, f"no earlier than {delay} ms")


@scenario
def sender_selected_keys(session):
    channel = session.channel()
    exchange = session.exchange(channel, "direct")
    queues = {key: session.queue(channel, key, exchange, routing_key=key) for key in ("to", "cc", "bcc")}
    headers = {"CC": ["cc", "to"], "BCC": ["bcc"], "kept": "yes"}
    publish(channel, "letter", "to", exchange, headers=headers)
    for key, queue in queues.items():
        [message] = receive_all(queue)
        equal((message.delivery_info["routing_key"], message.payload), ("to", "letter"), f"message to {key}")
        equal(message.headers, {"CC": ["cc", "to"], "kept": "yes"}, f"headers to {key}")
