from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource, ConnectionNotImplemented
from harness import Inbox, closes, drain, elsewhere, publish, publish_to, refused
from playing import equal, lacking, scenario


@scenario
async def channel_open_close(session):
    connection = await session.connect()
    for _ in range(200):
        async with connection.channel() as channel:
            equal(channel.number, 1, "channel number")


@scenario
async def thousand_channels(session):
    connection = await session.connect()
    publisher = await session.channel()
    queue = await session.shared_queue(publisher)
    inboxes = []
    for _ in range(1000):
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=1)
        inboxes.append(await Inbox.open(await elsewhere(channel, queue)))
    await publish(publisher, queue, *(str(n) for n in range(1000)))
    received = []
    for inbox in inboxes:
        received += [int(body) for body in await inbox.bodies(1)]
    equal(sorted(received), list(range(1000)), "messages over all channels")
    for inbox in inboxes:
        await inbox.messages[0].ack()
        await inbox.queue.channel.close()
    equal(sum(len(inbox.messages) for inbox in inboxes), 1000, "deliveries")
    equal(await drain(queue), [], "messages left")


@scenario
async def error_closes_only_the_channel(session):
    connection = await session.connect()
    healthy, faulty = await connection.channel(), await connection.channel()
    queue = await session.queue(healthy, "healthy")
    inbox = await Inbox.open(queue)
    held = await session.queue(healthy, "held")
    await publish(faulty, held, "unsettled")
    await (await elsewhere(faulty, held)).get()
    number = faulty.number
    with refused(ChannelNotFoundEntity, "NOT_FOUND - no queue 'nothing' in vhost '/'"):
        await faulty.get_queue("nothing")
    await publish(healthy, queue, "still here")
    equal(await inbox.bodies(1), ["still here"], "messages of the other channel")
    again = await connection.channel(channel_number=number)
    equal(again.number, number, "number used again")
    message = await held.get(no_ack=True)
    equal((message.body, message.redelivered), (b"unsettled", True), "message of the closed channel")


@scenario
async def not_found(session):
    connection = await session.connect()
    owner = await connection.channel()
    queue = await session.queue(owner)
    exchange = await session.exchange(owner, "direct")
    no_queue = "NOT_FOUND - no queue 'nothing' in vhost '/'"
    no_exchange = "NOT_FOUND - no exchange 'nothing' in vhost '/'"

    async def missing(channel):
        return await channel.get_queue("nothing", ensure=False)

    async def bind_exchange(channel):
        await (await channel.get_exchange(exchange.name, ensure=False)).bind("nothing", "key")

    async def publish_nowhere(channel):
        await publish_to(await channel.get_exchange("nothing", ensure=False), "key", "lost")

    async def consume_undeclared(channel):
        await Inbox.open(await channel.get_queue("", ensure=False))

    for reason, attempt in (
        (no_queue, lambda channel: channel.get_queue("nothing")),
        (no_queue, lambda channel: channel.declare_queue("nothing", passive=True)),
        (no_queue, lambda channel: then(missing(channel), lambda queue: queue.get())),
        (no_queue, lambda channel: then(missing(channel), Inbox.open)),
        (no_queue, lambda channel: then(missing(channel), lambda queue: queue.purge())),
        (no_queue, lambda channel: then(missing(channel), lambda queue: queue.bind(exchange, "key"))),
        (no_exchange, lambda channel: then(elsewhere(channel, queue), lambda queue: queue.bind("nothing", "key"))),
        (no_exchange, lambda channel: channel.get_exchange("nothing")),
        (no_exchange, bind_exchange),
        (no_exchange, publish_nowhere),
        ("NOT_FOUND - no previously declared queue", consume_undeclared),
    ):
        with refused(ChannelNotFoundEntity, reason):
            await attempt(await connection.channel())
    equal(await drain(queue), [], "the connection still works")


async def then(awaitable, function):
    return await function(await awaitable)


@scenario
async def access_refused(session):
    connection = await session.connect()
    queue = await session.queue(await connection.channel())
    internal = await session.exchange(await connection.channel(), "fanout", internal=True)
    default_exchange = "ACCESS_REFUSED - operation not permitted on the default exchange"

    async def publish_inside(channel):
        """An exchange that the client knows as internal it would refuse itself."""
        await publish_to(await channel.get_exchange(internal.name, ensure=False), "key", "refused")

    for reason, attempt in (
        (
            "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'",
            lambda channel: channel.declare_queue("amq.interop"),
        ),
        (
            "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'",
            lambda channel: channel.declare_exchange("amq.interop"),
        ),
        (default_exchange, lambda channel: then(elsewhere(channel, queue), lambda queue: queue.bind("", "key"))),
        (default_exchange, lambda channel: then(elsewhere(channel, queue), lambda queue: queue.unbind("", "key"))),
        (default_exchange, lambda channel: channel.exchange_delete("")),
        (f"ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'", publish_inside),
    ):
        with refused(ChannelAccessRefused, reason):
            await attempt(await connection.channel())


@scenario
async def resource_locked(session):
    owner = await session.channel()
    queue = await session.queue(owner)
    intruder = await session.connect()
    reason = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration."
    )
    for attempt in (
        lambda queue: queue.channel.declare_queue(queue.name, exclusive=True),
        lambda queue: queue.channel.get_queue(queue.name),
        lambda queue: queue.get(),
        lambda queue: Inbox.open(queue),
        lambda queue: queue.purge(),
        lambda queue: queue.channel.queue_delete(queue.name),
        lambda queue: queue.bind("amq.fanout", ""),
    ):
        with refused(ChannelLockedResource, reason[:255]):
            await attempt(await elsewhere(await intruder.channel(), queue))
    await publish(owner, queue, "mine")
    equal(await drain(queue), ["mine"], "messages of the owner")


@scenario
async def precondition_failed(session):
    connection = await session.connect()
    owner = await connection.channel()
    queue = await session.queue(owner)
    exchange = await session.exchange(owner, "fanout")
    await queue.bind(exchange)

    # A message that is acknowledged twice the client refuses itself; below it is the protocol's own method.
    channel = await connection.channel()
    async with closes(channel, ChannelPreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 99"):
        await (await channel.get_underlay_channel()).basic_ack(99)
    channel = await connection.channel()
    await publish(channel, queue, "once")
    async with closes(channel, ChannelPreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 1"):
        message = await (await elsewhere(channel, queue)).get()
        await message.ack()
        await (await channel.get_underlay_channel()).basic_ack(message.delivery_tag)

    await publish(owner, queue, "kept")

    async def is_refused(situation, attempt):
        with refused(ChannelPreconditionFailed, f"PRECONDITION_FAILED - {situation}"):
            await attempt(await connection.channel())

    name = queue.name
    await is_refused(
        f"queue '{name}' in vhost '/' not empty", lambda channel: channel.queue_delete(name, if_empty=True)
    )
    await Inbox.open(queue)
    await is_refused(f"queue '{name}' in vhost '/' in use", lambda channel: channel.queue_delete(name, if_unused=True))
    name = exchange.name
    await is_refused(
        f"exchange '{name}' in vhost '/' in use", lambda channel: channel.exchange_delete(name, if_unused=True)
    )


lacking("duplicate_consumer_tag", "aio-pika refuses the second use itself, before the broker sees it")


@scenario
async def not_implemented(session):
    bystander = await session.channel()
    queue = await session.queue(bystander)

    async def recover(channel):
        await (await channel.get_underlay_channel()).basic_recover(requeue=False)

    for reason, attempt in (
        ("NOT_IMPLEMENTED - prefetch_size!=0 (1024)", lambda channel: channel.set_qos(prefetch_size=1024)),
        ("NOT_IMPLEMENTED - requeue=false", recover),
        ("NOT_IMPLEMENTED - active=false", lambda channel: channel.flow(active=False)),
    ):
        channel = await session.channel()
        with refused(ConnectionNotImplemented, reason):
            await attempt(channel)
    await publish(bystander, queue, "untouched")
    equal(await drain(queue), ["untouched"], "messages of another connection")
