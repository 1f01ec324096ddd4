import time

import pika
from harness import Inbox, channel_error, drain, publish
from playing import equal, scenario


@scenario
def predeclared_exchanges(session):
    connection = session.connect()
    channel = connection.channel()
    for name, kind in (
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ):
        channel.exchange_declare(name, passive=True)
        channel.exchange_declare(name, kind, durable=True)


@scenario
def exchange_mismatch(session):
    connection = session.connect()
    exchange = session.exchange(connection.channel(), "direct")
    flag = "received 'true' but current is 'false'"
    for argument, options, difference in (
        ("type", {"exchange_type": "fanout"}, "received 'fanout' but current is 'direct'"),
        ("durable", {"durable": True}, flag),
        ("auto_delete", {"auto_delete": True}, flag),
        ("internal", {"internal": True}, flag),
        (
            "alternate-exchange",
            {"arguments": {"alternate-exchange": "amq.fanout"}},
            "received the value 'amq.fanout' of type 'longstr' but current is none",
        ),
    ):
        text = f"inequivalent arg '{argument}' for exchange '{exchange}' in vhost '/': {difference}"
        with channel_error(406, f"PRECONDITION_FAILED - {text}"):
            connection.channel().exchange_declare(exchange, **options)
    connection.channel().exchange_declare(exchange, "direct")


@scenario
def default_exchange(session):
    channel = session.channel()
    first, second = session.queue(channel, "first"), session.queue(channel, "second")
    publish(channel, first, "to first")
    publish(channel, second, "to second")
    publish(channel, session.name("nobody"), "to nobody")
    equal(drain(channel, first), ["to first"], "first")
    equal(drain(channel, second), ["to second"], "second")


@scenario
def direct_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "direct")
    errors, everything = session.queue(channel, "errors"), session.queue(channel, "everything")
    channel.queue_bind(errors, exchange, "error")
    for severity in ("info", "warning", "error", "error"):
        channel.queue_bind(everything, exchange, severity)
    for severity in ("info", "warning", "error", "debug"):
        channel.basic_publish(exchange, severity, severity)
    equal(drain(channel, errors), ["error"], "errors")
    equal(drain(channel, everything), ["info", "warning", "error"], "everything")


@scenario
def fanout_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "fanout")
    queues = [session.queue(channel, f"queue-{n}") for n in range(5)]
    for n, queue in enumerate(queues):
        channel.queue_bind(queue, exchange, f"ignored-{n}")
    channel.basic_publish(exchange, "", "one")
    channel.basic_publish(exchange, "any.key", "two")
    for queue in queues:
        equal(drain(channel, queue), ["one", "two"], queue)


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
    queues = {pattern: session.queue(channel, f"[{pattern}]") for pattern in patterns}
    for pattern, queue in queues.items():
        channel.queue_bind(queue, exchange, pattern)
    once = session.queue(channel, "one copy")
    for pattern in patterns:
        channel.queue_bind(once, exchange, pattern)
    for key in TOPIC_CASES:
        channel.basic_publish(exchange, key, key)
    for pattern, queue in queues.items():
        expected = [key for key, matching in TOPIC_CASES.items() if pattern in matching]
        equal(drain(channel, queue), expected, f"keys that {pattern!r} matches")
    equal(drain(channel, once), list(TOPIC_CASES), "one copy of each")


@scenario
def headers_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "headers")
    wanted = {"format": "pdf", "pages": 3, "draft": False}
    both, either = session.queue(channel, "all"), session.queue(channel, "any")
    channel.queue_bind(both, exchange, arguments={"x-match": "all", **wanted})
    channel.queue_bind(either, exchange, arguments={"x-match": "any", **wanted})
    by_default = session.queue(channel, "default")
    channel.queue_bind(by_default, exchange, arguments=wanted)
    tiered = {"format": "pdf", "x-tier": "gold"}
    for match in ("all", "all-with-x", "any-with-x"):
        queue = session.queue(channel, f"tiered {match}")
        channel.queue_bind(queue, exchange, arguments={"x-match": match, **tiered})
    for label, headers in (
        ("all", {**wanted, "extra": "ignored"}),
        ("format only", {"format": "pdf", "pages": 4}),
        ("draft only", {"draft": False}),
        ("none", {"format": "zip", "pages": 4, "draft": True}),
        ("no headers", None),
        ("tiered", tiered),
        ("tier only", {"x-tier": "gold"}),
    ):
        channel.basic_publish(exchange, "", label, pika.BasicProperties(headers=headers))
    equal(drain(channel, both), ["all"], "x-match all")
    equal(drain(channel, either), ["all", "format only", "draft only", "tiered"], "x-match any")
    equal(drain(channel, by_default), ["all"], "no x-match")
    for match, expected in (
        ("all", ["all", "format only", "tiered"]),
        ("all-with-x", ["tiered"]),
        ("any-with-x", ["all", "format only", "tiered", "tier only"]),
    ):
        equal(drain(channel, session.name(f"tiered {match}")), expected, f"x-match {match} with an x- header")


@scenario
def exchange_to_exchange(session):
    channel = session.channel()
    source = session.exchange(channel, "topic", "source")
    middle = session.exchange(channel, "fanout", "middle")
    queue = session.queue(channel)
    channel.exchange_bind(middle, source, "orders.#")
    channel.exchange_bind(source, middle, "")
    channel.queue_bind(queue, middle)
    channel.queue_bind(queue, source, "#")
    channel.basic_publish(source, "orders.new", "both ways")
    channel.basic_publish(source, "other", "directly")
    equal(drain(channel, queue), ["both ways", "directly"], "messages, one copy each")
    channel.exchange_unbind(middle, source, "orders.#")
    channel.queue_unbind(queue, source, "#")
    channel.basic_publish(source, "orders.new", "nowhere")
    equal(drain(channel, queue), [], "messages after unbind")


@scenario
def alternate_exchange(session):
    channel = session.channel()
    fallback = session.exchange(channel, "fanout", "fallback")
    exchange = session.exchange(channel, "direct", "main", arguments={"alternate-exchange": fallback})
    known, unknown = session.queue(channel, "known"), session.queue(channel, "unknown")
    channel.queue_bind(known, exchange, "known")
    channel.queue_bind(unknown, fallback)
    returned = []
    channel.add_on_return_callback(lambda *message: returned.append(message))
    channel.basic_publish(exchange, "known", "matched", mandatory=True)
    channel.basic_publish(exchange, "stray", "not matched", mandatory=True)
    equal(drain(channel, known), ["matched"], "matched")
    method, _, body = channel.basic_get(unknown, auto_ack=True)
    equal((method.exchange, method.routing_key, body), (exchange, "stray", b"not matched"), "not matched")
    equal(returned, [], "returned")


@scenario
def internal_exchange(session):
    connection = session.connect()
    channel = connection.channel()
    front = session.exchange(channel, "direct", "front")
    internal = session.exchange(channel, "fanout", "internal", internal=True)
    queue = session.queue(channel)
    channel.exchange_bind(internal, front, "in")
    channel.queue_bind(queue, internal)
    channel.basic_publish(front, "in", "through the front")
    equal(drain(channel, queue), ["through the front"], "messages")
    with channel_error(403, f"ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'"):
        intruder = connection.channel()
        intruder.basic_publish(internal, "", "directly")
        intruder.queue_declare(queue, passive=True)
    equal(drain(channel, queue), [], "messages after the refused publish")


@scenario
def auto_delete_exchange(session):
    connection = session.connect()
    channel = connection.channel()
    exchange = session.exchange(channel, "fanout", auto_delete=True)
    queue = session.queue(channel)
    for key in ("one", "two"):
        channel.queue_bind(queue, exchange, key)
    channel.queue_unbind(queue, exchange, "one")
    channel.exchange_declare(exchange, passive=True)
    channel.queue_unbind(queue, exchange, "two")
    with channel_error(404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"):
        connection.channel().exchange_declare(exchange, passive=True)


@scenario
def unbind(session):
    channel = session.channel()
    exchange = session.exchange(channel, "headers")
    queue = session.queue(channel)
    red, blue = {"x-match": "all", "colour": "red"}, {"x-match": "all", "colour": "blue"}
    channel.queue_bind(queue, exchange, arguments=red)
    channel.queue_bind(queue, exchange, arguments=blue)
    channel.queue_unbind(queue, exchange, arguments=red)
    channel.queue_unbind(queue, exchange, "never bound", arguments=blue)
    for colour in ("red", "blue"):
        channel.basic_publish(exchange, "", colour, pika.BasicProperties(headers={"colour": colour}))
    equal(drain(channel, queue), ["blue"], "messages")


def spread(channel, exchange, inboxes, messages):
    """Publishes pairs of key and headers, and returns the place of the inbox that each came to, one copy of each."""
    already = [len(inbox.messages) for inbox in inboxes]
    for n, (key, headers) in enumerate(messages):
        channel.basic_publish(exchange, key, str(n), pika.BasicProperties(headers=headers))
    while sum(len(inbox.messages) for inbox in inboxes) < sum(already) + len(messages):
        channel.connection.process_data_events(time_limit=1)
    places = {}
    for place, inbox in enumerate(inboxes):
        for body in inbox.bodies()[already[place] :]:
            places.setdefault(int(body), []).append(place)
    equal(sorted(places), list(range(len(messages))), "messages that arrived")
    equal({len(copies) for copies in places.values()}, {1}, "copies of each")
    return [places[n][0] for n in range(len(messages))]


def bound_inboxes(session, channel, exchange, *keys):
    inboxes = []
    for n, key in enumerate(keys):
        queue = session.queue(channel, f"{exchange}-{n}")
        channel.queue_bind(queue, exchange, key)
        inboxes.append(Inbox(channel, queue, auto_ack=True))
    return inboxes


@scenario
def consistent_hash_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-consistent-hash", "by-key")
    inboxes = bound_inboxes(session, channel, exchange, "1", "1", "4")
    messages = [(f"key-{n}", None) for n in range(1000)]
    places = spread(channel, exchange, inboxes, messages)
    light, other, heavy = (places.count(place) for place in range(3))
    equal(light > 0 and other > 0, True, f"every queue got some of {light}, {other}, {heavy}")
    equal(heavy > max(light, other), True, f"the weight 4 got most of {light}, {other}, {heavy}")
    equal(spread(channel, exchange, inboxes, messages) == places, True, "the same key to the same queue")

    exchange = session.exchange(channel, "x-consistent-hash", "by-header", arguments={"hash-header": "customer"})
    inboxes = bound_inboxes(session, channel, exchange, "1", "1", "1")
    places = spread(channel, exchange, inboxes, [(f"key-{n}", {"customer": str(n // 4)}) for n in range(400)])
    equal(set(places), {0, 1, 2}, "queues that got some by header")
    equal(places == [places[n // 4 * 4] for n in range(400)], True, "the same header to the same queue")


@scenario
def modulus_hash_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-modulus-hash")
    inboxes = bound_inboxes(session, channel, exchange, "", "", "")
    messages = [(f"key-{n}", None) for n in range(200)]
    places = spread(channel, exchange, inboxes, messages)
    equal(set(places), {0, 1, 2}, "queues that got some")
    equal(spread(channel, exchange, inboxes, messages) == places, True, "the same key to the same queue")


@scenario
def random_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-random")
    inboxes = bound_inboxes(session, channel, exchange, "", "", "")
    places = spread(channel, exchange, inboxes, [("one key", None)] * 200)
    equal(set(places), {0, 1, 2}, "queues that got some")


@scenario
def recent_history_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-recent-history", arguments={"x-recent-history-length": 5})
    for n in range(8):
        channel.basic_publish(exchange, f"key-{n}", str(n))
    [inbox] = bound_inboxes(session, channel, exchange, "")
    channel.basic_publish(exchange, "", "afterwards")
    equal(inbox.bodies(6), ["3", "4", "5", "6", "7", "afterwards"], "messages of a queue bound late")


@scenario
def delayed_exchange(session):
    channel = session.channel()
    exchange = session.exchange(channel, "x-delayed-message", arguments={"x-delayed-type": "direct"})
    queue = session.queue(channel)
    channel.queue_bind(queue, exchange, "key")
    arrivals = []

    def on_message(_channel, _method, _properties, body):
        arrivals.append((int(body), time.monotonic()))

    channel.basic_consume(queue, on_message, auto_ack=True)
    started = time.monotonic()
    for delay in (300, 100, 200, 0):
        channel.basic_publish(exchange, "key", str(delay), pika.BasicProperties(headers={"x-delay": delay}))
    channel.basic_publish(exchange, "another key", "0", pika.BasicProperties(headers={"x-delay": 1}))
    while len(arrivals) < 4:
        channel.connection.process_data_events(time_limit=1)
    equal([delay for delay, _ in arrivals], [0, 100, 200, 300], "messages in the order of their delays")
    early = [delay for delay, arrived in arrivals if arrived - started < delay / 1000]
    equal(early, [], "messages before their time")


@scenario
def sender_selected_keys(session):
    channel = session.channel()
    exchange = session.exchange(channel, "direct")
    queues = {key: session.queue(channel, key) for key in ("to", "cc", "bcc")}
    for key, queue in queues.items():
        channel.queue_bind(queue, exchange, key)
    headers = {"CC": ["cc", "to"], "BCC": ["bcc"], "kept": "yes"}
    channel.basic_publish(exchange, "to", "letter", pika.BasicProperties(headers=headers))
    for key, queue in queues.items():
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        equal((method.routing_key, body), ("to", b"letter"), f"message to {key}")
        equal(properties.headers, {"CC": ["cc", "to"], "kept": "yes"}, f"headers to {key}")
        equal(drain(channel, queue), [], f"further copies to {key}")
