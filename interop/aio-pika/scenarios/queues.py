import time

from aio_pika import Message
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq import spec
from aiormq.exceptions import ChannelLockedResource
from harness import Inbox, await_ready, drain, elsewhere, eventually, publish, publish_to, refused
from playing import equal, scenario


def counts(queue):
    return queue.declaration_result.message_count, queue.declaration_result.consumer_count


@scenario
async def queue_declare(session):
    channel = await session.channel()
    name = session.name("queue")
    for _ in range(2):
        queue = await channel.declare_queue(name, exclusive=True)
        equal((queue.name, *counts(queue)), (name, 0, 0), "declare-ok")
    await publish(channel, queue, "a", "b", "c")
    await await_ready(channel, queue, 3)
    declared = await channel.declare_queue(name, passive=True)
    equal((declared.name, *counts(declared)), (name, 3, 0), "passive declare-ok")
    await (await Inbox.open(queue)).wait(3)
    declared = await channel.declare_queue(name, exclusive=True)
    equal(counts(declared), (0, 1), "ready messages and consumers")


@scenario
async def queue_mismatch(session):
    connection = await session.connect()
    owner = await connection.channel()
    plain = await session.shared_queue(owner, "plain")
    limited = await session.shared_queue(owner, "limited", arguments={"x-message-ttl": 60000})

    def inequivalent(argument, queue, difference):
        return f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': {difference}"

    flag = "received 'true' but current is 'false'"
    locked = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{plain}' in vhost '/'. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration."
    )
    for queue, options, error, reason in (
        (plain, {"durable": True}, ChannelPreconditionFailed, inequivalent("durable", plain, flag)),
        (plain, {"auto_delete": True}, ChannelPreconditionFailed, inequivalent("auto_delete", plain, flag)),
        (
            plain,
            {"arguments": {"x-message-ttl": 60000}},
            ChannelPreconditionFailed,
            inequivalent(
                "x-message-ttl", plain, "received the value '60000' of type 'unsignedshort' but current is none"
            ),
        ),
        (
            limited,
            {},
            ChannelPreconditionFailed,
            inequivalent(
                "x-message-ttl", limited, "received none but current is the value '60000' of type 'unsignedshort'"
            ),
        ),
        (plain, {"exclusive": True}, ChannelLockedResource, locked[:255]),
    ):
        with refused(error, reason):
            await (await connection.channel()).declare_queue(queue.name, **options)
    again = await owner.declare_queue(limited.name, arguments={"x-message-ttl": 60000})
    equal(again.name, limited.name, "same again")


@scenario
async def server_named_queue(session):
    channel = await session.channel()
    queue = await channel.declare_queue(exclusive=True)
    if not queue.name.startswith("amq.gen-"):
        raise AssertionError(f"server-named queue is called {queue.name!r}")
    last = await channel.declare_queue(exclusive=True)
    equal(last.name == queue.name, False, "two server-named queues have one name")
    nameless = await channel.get_queue("", ensure=False)
    await nameless.bind("amq.direct", session.name("key"))
    await publish_to(await channel.get_exchange("amq.direct"), session.name("key"), "to the last declared")
    equal(await drain(nameless), ["to the last declared"], "messages")
    equal(await drain(queue), [], "messages of the other")


@scenario
async def queue_purge_and_delete(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    await publish(channel, queue, "a", "b", "c")
    equal((await queue.purge()).message_count, 3, "purged")
    equal(await drain(queue), [], "messages after the purge")
    await publish(channel, queue, "d", "e")
    deleted = await queue.delete(if_unused=False, if_empty=False)
    equal(deleted.message_count, 2, "messages deleted with the queue")
    deleted = await channel.queue_delete(queue.name)
    equal(deleted.message_count, 0, "messages deleted with no queue")
    await channel.exchange_delete(session.name("never declared"))


@scenario
async def exclusive_queue(session):
    connection = await session.connect()
    queue = await session.queue(await connection.channel())
    await connection.close()
    with refused(ChannelNotFoundEntity, f"NOT_FOUND - no queue '{queue}' in vhost '/'"):
        await (await session.channel()).get_queue(queue.name)


@scenario
async def auto_delete_queue(session):
    connection = await session.connect()
    channel = await connection.channel()
    queue = await session.shared_queue(channel, auto_delete=True)
    await publish(channel, queue, "without a consumer")
    first, last = await Inbox.open(queue), await Inbox.open(queue)
    await first.cancel()
    equal(counts(await channel.get_queue(queue.name))[1], 1, "consumers")
    await last.cancel()

    async def is_gone():
        try:
            await (await connection.channel()).get_queue(queue.name)
        except ChannelNotFoundEntity as error:
            equal(error.args, (f"NOT_FOUND - no queue '{queue}' in vhost '/'",), "error")
            return True
        return False

    await eventually(is_gone, "the queue is gone")


@scenario
async def message_ttl(session):
    channel = await session.channel()
    brief = await session.queue(channel, "brief", arguments={"x-message-ttl": 150})
    lasting = await session.queue(channel, "lasting", arguments={"x-message-ttl": 60000})
    started = time.monotonic()
    for queue, expiration in ((brief, None), (brief, 60), (lasting, 0.15), (lasting, 60), (lasting, None)):
        await publish(channel, queue, f"expiration {expiration}", expiration=expiration)
    await await_ready(channel, brief, 0)
    equal(time.monotonic() - started >= 0.15, True, "the queue's TTL has passed")
    await await_ready(channel, lasting, 2)
    equal(time.monotonic() - started >= 0.15, True, "the message's expiration has passed")
    equal(await drain(lasting), ["expiration 60", "expiration None"], "younger messages")

    # The client's own messages take numbers only.
    for expiration, problem in (("soon", "no_integer"), ("10s", '{leftover_string,"s"}')):
        with refused(ChannelPreconditionFailed, f"PRECONDITION_FAILED - invalid expiration '{expiration}': {problem}"):
            underlay = await (await session.channel()).get_underlay_channel()
            properties = spec.Basic.Properties(expiration=expiration)
            await underlay.basic_publish(b"", routing_key=lasting.name, properties=properties)


@scenario
async def queue_expires(session):
    """A passive declare would count as use, so a mandatory message asks whether the queue is there."""
    channel = await session.channel()
    arguments = {"x-expires": 200}
    consumed = await session.queue(channel, "consumed", arguments=arguments)
    inbox = await Inbox.open(consumed, no_ack=True)
    started = time.monotonic()
    unused = await session.queue(channel, "unused", arguments=arguments)

    async def is_gone(queue):
        result = await channel.default_exchange.publish(Message(b""), queue.name, mandatory=True)
        return not isinstance(result, spec.Basic.Ack)

    await eventually(lambda: is_gone(unused), "the unused queue is gone")
    equal(time.monotonic() - started >= 0.2, True, "its time has passed")
    await publish(channel, consumed, "still here")
    equal(await inbox.bodies(1), ["still here"], "messages of the queue with a consumer")
    await inbox.cancel()
    await eventually(lambda: is_gone(consumed), "the queue without its consumer is gone")


@scenario
async def max_length(session):
    channel = await session.channel()
    by_count = await session.queue(channel, "count", arguments={"x-max-length": 3})
    await publish(channel, by_count, *"12345")
    equal(await drain(by_count), ["3", "4", "5"], "the last three messages")
    by_bytes = await session.queue(channel, "bytes", arguments={"x-max-length-bytes": 10})
    await publish(channel, by_bytes, "aaaa", "bbbb", "cccccc", "dddd")
    equal(await drain(by_bytes), ["cccccc", "dddd"], "the last ten bytes")


@scenario
async def priority_queue(session):
    channel = await session.channel()
    queue = await session.queue(channel, arguments={"x-max-priority": 10})
    for n, priority in enumerate((None, 5, 0, 10, 255, 1, 5, 11, 9, None)):
        await publish(channel, queue, f"{n}: {priority}", priority=priority)
    expected = ["3: 10", "4: 255", "7: 11", "8: 9", "1: 5", "6: 5", "5: 1", "0: None", "2: 0", "9: None"]
    equal(await (await Inbox.open(queue)).bodies(10), expected, "messages by priority")


@scenario
async def single_active_consumer(session):
    observer, last = await session.channel(), await session.channel()
    queue = await session.shared_queue(observer, arguments={"x-single-active-consumer": True})
    leaver = await session.connect()
    first = await Inbox.open(await elsewhere(await leaver.channel(), queue))
    second, third = [await Inbox.open(await elsewhere(last, queue)) for _ in range(2)]
    await publish(observer, queue, *"12345")
    equal(await first.bodies(5), list("12345"), "messages of the first consumer")
    await first.messages[3].ack(multiple=True)
    await leaver.close()
    await publish(observer, queue, "6")
    equal(await second.bodies(2), ["5", "6"], "messages of the next consumer")
    equal(second.flags(), [True, False], "redelivered")
    await second.cancel()
    await publish(observer, queue, "7")
    equal(await third.bodies(1), ["7"], "messages of the last consumer")
    equal((len(first.messages), len(second.messages)), (5, 2), "messages of the others")


@scenario
async def quorum_queue(session):
    channel = await session.channel()
    dead = await session.queue(channel, "dead")
    queue = await session.shared_queue(
        channel,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 2,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead.name,
        },
    )
    await publish(channel, queue, "poison")
    inbox, letters = await Inbox.open(queue), await Inbox.open(dead)
    for deliveries in (1, 2, 3):
        await inbox.wait(deliveries)
        await inbox.messages[-1].reject(requeue=True)
    [letter] = await letters.wait(1)
    delivery_counts = [message.headers.get("x-delivery-count") for message in inbox.messages]
    equal(delivery_counts, [None, 1, 2], "x-delivery-count of the deliveries")
    equal(inbox.flags(), [False, True, True], "redelivered")
    [death] = letter.headers["x-death"]
    equal((letter.body, death["reason"], death["queue"]), (b"poison", "delivery_limit", queue.name), "dead letter")


@scenario
async def long_and_unicode_names(session):
    """The client itself refuses queues and exchanges whose names are outside ASCII."""
    channel = await session.channel()
    long_name = session.name("long").ljust(255, "x")
    queue = await channel.declare_queue(long_name, exclusive=True)
    equal(queue.name, long_name, "long name")
    await publish(channel, queue, "long")
    equal(await drain(queue), ["long"], "messages of the long name")

    exchange = await session.exchange(channel, "topic")
    await queue.bind(exchange, "straße.*")
    await publish_to(exchange, "straße.жук.🐇", "not matched")
    await publish_to(exchange, "straße.зайчонок-野兎-🐇", "unicode")
    inbox = await Inbox.open(queue, consumer_tag="зайчонок")
    [message] = await inbox.wait(1)
    found = (message.consumer_tag, message.routing_key, message.body)
    equal(found, ("зайчонок", "straße.зайчонок-野兎-🐇", b"unicode"), "message")
