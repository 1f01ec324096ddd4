import asyncio
import time

from aio_pika import ExchangeType, Message
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused
from harness import Inbox, drain, eventually, publish, publish_to, refused
from playing import equal, scenario


@scenario
async def predeclared_exchanges(session):
    channel = await session.channel()
    for name, kind in (
        ("amq.direct", ExchangeType.DIRECT),
        ("amq.fanout", ExchangeType.FANOUT),
        ("amq.topic", ExchangeType.TOPIC),
        ("amq.headers", ExchangeType.HEADERS),
        ("amq.match", ExchangeType.HEADERS),
    ):
        await channel.get_exchange(name)
        await channel.declare_exchange(name, kind, durable=True)


@scenario
async def exchange_mismatch(session):
    connection = await session.connect()
    exchange = await session.exchange(await connection.channel(), ExchangeType.DIRECT)
    flag = "received 'true' but current is 'false'"
    for argument, options, difference in (
        ("type", {"type": ExchangeType.FANOUT}, "received 'fanout' but current is 'direct'"),
        ("durable", {"durable": True}, flag),
        ("auto_delete", {"auto_delete": True}, flag),
        ("internal", {"internal": True}, flag),
        (
            "alternate-exchange",
            {"arguments": {"alternate-exchange": "amq.fanout"}},
            "received the value 'amq.fanout' of type 'longstr' but current is none",
        ),
    ):
        reason = f"inequivalent arg '{argument}' for exchange '{exchange}' in vhost '/': {difference}"
        with refused(ChannelPreconditionFailed, f"PRECONDITION_FAILED - {reason}"):
            await (await connection.channel()).declare_exchange(exchange.name, **options)
    await (await connection.channel()).declare_exchange(exchange.name, ExchangeType.DIRECT)


@scenario
async def default_exchange(session):
    channel = await session.channel()
    first, second = await session.queue(channel, "first"), await session.queue(channel, "second")
    await publish(channel, first, "to first")
    await publish(channel, second, "to second")
    await publish_to(channel.default_exchange, session.name("nobody"), "to nobody")
    equal(await drain(first), ["to first"], "first")
    equal(await drain(second), ["to second"], "second")


@scenario
async def direct_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.DIRECT)
    errors, everything = await session.queue(channel, "errors"), await session.queue(channel, "everything")
    await errors.bind(exchange, "error")
    for severity in ("info", "warning", "error", "error"):
        await everything.bind(exchange, severity)
    for severity in ("info", "warning", "error", "debug"):
        await publish_to(exchange, severity, severity)
    equal(await drain(errors), ["error"], "errors")
    equal(await drain(everything), ["info", "warning", "error"], "everything")


@scenario
async def fanout_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.FANOUT)
    queues = [await session.queue(channel, f"queue-{n}") for n in range(5)]
    for n, queue in enumerate(queues):
        await queue.bind(exchange, f"ignored-{n}")
    await publish_to(exchange, "", "one")
    await publish_to(exchange, "any.key", "two")
    for queue in queues:
        equal(await drain(queue), ["one", "two"], queue.name)


TOPIC_CASES = {
    "a.b.c": ["a.b.c", "a.*.c", "*.b.*", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "#.b.#"],
    "a.c": ["#", "a.#", "#.c", "a.#.c", "a.#.#", "*.*"],
    "a": ["#", "a.#", "*", "a.#.#"],
    "": ["#"],
    "a..c": ["a.*.c", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "a..c"],
    "b": ["#", "*", "#.b.#"],
}


@scenario
async def topic_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.TOPIC)
    patterns = sorted({pattern for matching in TOPIC_CASES.values() for pattern in matching})
    queues = {pattern: await session.queue(channel, f"queue-{n}") for n, pattern in enumerate(patterns)}
    once = await session.queue(channel, "one copy")
    for pattern, queue in queues.items():
        await queue.bind(exchange, pattern)
        await once.bind(exchange, pattern)
    for key in TOPIC_CASES:
        await publish_to(exchange, key, key)
    for pattern, queue in queues.items():
        expected = [key for key, matching in TOPIC_CASES.items() if pattern in matching]
        equal(await drain(queue), expected, f"keys that {pattern!r} matches")
    equal(await drain(once), list(TOPIC_CASES), "one copy of each")


@scenario
async def headers_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.HEADERS)
    wanted = {"format": "pdf", "pages": 3, "draft": False}
    tiered = {"format": "pdf", "x-tier": "gold"}
    queues = {}
    for label, arguments in (
        ("all", {"x-match": "all", **wanted}),
        ("any", {"x-match": "any", **wanted}),
        ("no x-match", wanted),
        ("tiered all", {"x-match": "all", **tiered}),
        ("tiered all-with-x", {"x-match": "all-with-x", **tiered}),
        ("tiered any-with-x", {"x-match": "any-with-x", **tiered}),
    ):
        queues[label] = await session.queue(channel, label)
        await queues[label].bind(exchange, "", arguments=arguments)
    for label, headers in (
        ("all", {**wanted, "extra": "ignored"}),
        ("format only", {"format": "pdf", "pages": 4}),
        ("draft only", {"draft": False}),
        ("none", {"format": "zip", "pages": 4, "draft": True}),
        ("no headers", None),
        ("tiered", tiered),
        ("tier only", {"x-tier": "gold"}),
    ):
        await publish_to(exchange, "", label, headers=headers)
    for label, expected in (
        ("all", ["all"]),
        ("any", ["all", "format only", "draft only", "tiered"]),
        ("no x-match", ["all"]),
        ("tiered all", ["all", "format only", "tiered"]),
        ("tiered all-with-x", ["tiered"]),
        ("tiered any-with-x", ["all", "format only", "tiered", "tier only"]),
    ):
        equal(await drain(queues[label]), expected, label)


@scenario
async def exchange_to_exchange(session):
    channel = await session.channel()
    source = await session.exchange(channel, ExchangeType.TOPIC, "source")
    middle = await session.exchange(channel, ExchangeType.FANOUT, "middle")
    queue = await session.queue(channel)
    await middle.bind(source, "orders.#")
    await source.bind(middle, "")
    await queue.bind(middle, "")
    await queue.bind(source, "#")
    await publish_to(source, "orders.new", "both ways")
    await publish_to(source, "other", "directly")
    equal(await drain(queue), ["both ways", "directly"], "messages, one copy each")
    await middle.unbind(source, "orders.#")
    await queue.unbind(source, "#")
    await publish_to(source, "orders.new", "nowhere")
    equal(await drain(queue), [], "messages after unbind")


@scenario
async def alternate_exchange(session):
    """On this channel the client raises an error for what is returned."""
    channel = await session.channel(on_return_raises=True)
    fallback = await session.exchange(channel, ExchangeType.FANOUT, "fallback")
    exchange = await session.exchange(
        channel, ExchangeType.DIRECT, "main", arguments={"alternate-exchange": fallback.name}
    )
    known, unknown = await session.queue(channel, "known"), await session.queue(channel, "unknown")
    await known.bind(exchange, "known")
    await unknown.bind(fallback)
    await exchange.publish(Message(b"matched"), "known", mandatory=True)
    await exchange.publish(Message(b"not matched"), "stray", mandatory=True)
    equal(await drain(known), ["matched"], "matched")
    message = await unknown.get(no_ack=True)
    found = (message.exchange, message.routing_key, message.body)
    equal(found, (exchange.name, "stray", b"not matched"), "not matched")


@scenario
async def internal_exchange(session):
    connection = await session.connect()
    channel = await connection.channel()
    front = await session.exchange(channel, ExchangeType.DIRECT, "front")
    internal = await session.exchange(channel, ExchangeType.FANOUT, "internal", internal=True)
    queue = await session.queue(channel)
    await internal.bind(front, "in")
    await queue.bind(internal)
    await publish_to(front, "in", "through the front")
    equal(await drain(queue), ["through the front"], "messages")
    with refused(
        ChannelAccessRefused, f"ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'"
    ):
        intruder = await connection.channel()
        await publish_to(await intruder.get_exchange(internal.name, ensure=False), "", "directly")
    equal(await drain(queue), [], "messages after the refused publish")


@scenario
async def auto_delete_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.FANOUT, auto_delete=True)
    queue = await session.queue(channel)
    for key in ("one", "two"):
        await queue.bind(exchange, key)
    await queue.unbind(exchange, "one")
    await channel.get_exchange(exchange.name)
    await queue.unbind(exchange, "two")
    with refused(ChannelNotFoundEntity, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"):
        await channel.get_exchange(exchange.name)


@scenario
async def unbind(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.HEADERS)
    queue = await session.queue(channel)
    red, blue = {"x-match": "all", "colour": "red"}, {"x-match": "all", "colour": "blue"}
    await queue.bind(exchange, "", arguments=red)
    await queue.bind(exchange, "", arguments=blue)
    await queue.unbind(exchange, "", arguments=red)
    await queue.unbind(exchange, "never bound", arguments=blue)
    for colour in ("red", "blue"):
        await publish_to(exchange, "", colour, headers={"colour": colour})
    equal(await drain(queue), ["blue"], "messages")


async def bound_inboxes(session, channel, exchange, *keys):
    inboxes = []
    for n, key in enumerate(keys):
        queue = await session.queue(channel, f"{exchange}-{n}")
        await queue.bind(exchange, key)
        inboxes.append(await Inbox.open(queue, no_ack=True))
    return inboxes


async def spread(exchange, inboxes, messages):
    """Publishes pairs of key and headers, and returns the place of the inbox that each came to, one copy of each.

    When the last of them is confirmed it may still be on its way to its consumer.
    """
    for inbox in inboxes:
        inbox.messages.clear()
    await asyncio.gather(
        *(exchange.publish(Message(str(n).encode(), headers=headers), key) for n, (key, headers) in enumerate(messages))
    )

    async def have_arrived():
        return sum(len(inbox.messages) for inbox in inboxes) >= len(messages)

    await eventually(have_arrived, f"{len(messages)} messages have arrived")
    places = {}
    for place, inbox in enumerate(inboxes):
        for message in inbox.messages:
            places.setdefault(int(message.body), []).append(place)
    equal(sorted(places), list(range(len(messages))), "messages that arrived")
    equal({len(copies) for copies in places.values()}, {1}, "copies of each")
    return [places[n][0] for n in range(len(messages))]


@scenario
async def consistent_hash_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.X_CONSISTENT_HASH, "by-key")
    inboxes = await bound_inboxes(session, channel, exchange, "1", "1", "4")
    messages = [(f"key-{n}", None) for n in range(1000)]
    places = await spread(exchange, inboxes, messages)
    light, other, heavy = (places.count(place) for place in range(3))
    equal(light > 0 and other > 0, True, f"every queue got some of {light}, {other}, {heavy}")
    equal(heavy > max(light, other), True, f"the weight 4 got most of {light}, {other}, {heavy}")
    equal(await spread(exchange, inboxes, messages) == places, True, "the same key to the same queue")

    exchange = await session.exchange(
        channel, ExchangeType.X_CONSISTENT_HASH, "by-header", arguments={"hash-header": "customer"}
    )
    inboxes = await bound_inboxes(session, channel, exchange, "1", "1", "1")
    places = await spread(exchange, inboxes, [(f"key-{n}", {"customer": str(n // 4)}) for n in range(400)])
    equal(set(places), {0, 1, 2}, "queues that got some by header")
    equal(places == [places[n // 4 * 4] for n in range(400)], True, "the same header to the same queue")


@scenario
async def modulus_hash_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.X_MODULUS_HASH)
    inboxes = await bound_inboxes(session, channel, exchange, "", "", "")
    messages = [(f"key-{n}", None) for n in range(200)]
    places = await spread(exchange, inboxes, messages)
    equal(set(places), {0, 1, 2}, "queues that got some")
    equal(await spread(exchange, inboxes, messages) == places, True, "the same key to the same queue")


@scenario
async def random_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, "x-random")
    inboxes = await bound_inboxes(session, channel, exchange, "", "", "")
    places = await spread(exchange, inboxes, [("one key", None)] * 200)
    equal(set(places), {0, 1, 2}, "queues that got some")


@scenario
async def recent_history_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, "x-recent-history", arguments={"x-recent-history-length": 5})
    for n in range(8):
        await publish_to(exchange, f"key-{n}", str(n))
    [inbox] = await bound_inboxes(session, channel, exchange, "")
    await publish_to(exchange, "", "afterwards")
    equal(await inbox.bodies(6), ["3", "4", "5", "6", "7", "afterwards"], "messages of a queue bound late")


@scenario
async def delayed_exchange(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.X_DELAYED_MESSAGE, arguments={"x-delayed-type": "direct"})
    queue = await session.queue(channel)
    await queue.bind(exchange, "key")
    started = time.monotonic()
    for delay in (300, 100, 200, 0):
        await publish_to(exchange, "key", str(delay), headers={"x-delay": delay})
    await publish_to(exchange, "another key", "0", headers={"x-delay": 1})
    arrivals = []
    async with queue.iterator(no_ack=True) as messages:
        async for message in messages:
            arrivals.append((int(message.body), time.monotonic()))
            if len(arrivals) == 4:
                break
    equal([delay for delay, _ in arrivals], [0, 100, 200, 300], "messages in the order of their delays")
    early = [delay for delay, arrived in arrivals if arrived - started < delay / 1000]
    equal(early, [], "messages before their time")


@scenario
async def sender_selected_keys(session):
    channel = await session.channel()
    exchange = await session.exchange(channel, ExchangeType.DIRECT)
    queues = {key: await session.queue(channel, key) for key in ("to", "cc", "bcc")}
    for key, queue in queues.items():
        await queue.bind(exchange, key)
    headers = {"CC": ["cc", "to"], "BCC": ["bcc"], "kept": "yes"}
    await publish_to(exchange, "to", "letter", headers=headers)
    for key, queue in queues.items():
        message = await queue.get(no_ack=True)
        equal((message.routing_key, message.body), ("to", b"letter"), f"message to {key}")
        equal(message.headers, {"CC": ["cc", "to"], "kept": "yes"}, f"headers to {key}")
        equal(await drain(queue), [], f"further copies to {key}")
