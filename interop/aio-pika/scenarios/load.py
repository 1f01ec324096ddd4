import asyncio
import threading

import aio_pika
from aio_pika import DeliveryMode, Message
from harness import Inbox, await_ready, closing, elsewhere, in_thread, publish, publish_to, text
from playing import equal, scenario

PUBLISHERS = 8
MESSAGES_EACH = 1000


@scenario
async def concurrent_publishing(session):
    channel = await session.channel()
    queue = await session.shared_queue(channel)

    async def publish_confirmed(publisher):
        own = await session.channel()
        for n in range(MESSAGES_EACH):
            await own.default_exchange.publish(Message(f"{publisher} {n}".encode()), queue.name)

    inbox = await Inbox.open(queue, no_ack=True)
    async with asyncio.TaskGroup() as publishers:
        for publisher in range(PUBLISHERS):
            publishers.create_task(publish_confirmed(publisher))
    received = [[] for _ in range(PUBLISHERS)]
    for body in await inbox.bodies(PUBLISHERS * MESSAGES_EACH):
        publisher, number = map(int, body.split())
        received[publisher].append(number)
    for publisher, numbers in enumerate(received):
        equal(numbers == list(range(MESSAGES_EACH)), True, f"publisher {publisher} arrived in order, once each")


@scenario
async def slow_consumer(session):
    setup = await session.channel()
    slow_queue, fast_queue = await session.shared_queue(setup, "slow"), await session.shared_queue(setup, "fast")
    slow = await session.channel()
    await slow.set_qos(prefetch_count=20)
    slow_inbox = await Inbox.open(await elsewhere(slow, slow_queue))
    publisher = await session.channel(publisher_confirms=False)
    padding = "." * 4096
    await publish(publisher, slow_queue, *(f"{n} {padding}" for n in range(2000)))

    fast_inbox = await Inbox.open(await elsewhere(await session.channel(), fast_queue), no_ack=True)
    await publish(publisher, fast_queue, *(str(n) for n in range(5000)))
    equal(await fast_inbox.bodies(5000), [str(n) for n in range(5000)], "the fast consumer's messages")

    await slow_inbox.wait(20)
    await await_ready(setup, slow_queue, 1980)
    equal(len(slow_inbox.messages), 20, "messages that the slow consumer holds")
    settled = 0
    while settled < 2000:
        await slow_inbox.wait(settled + 1)
        settled = len(slow_inbox.messages)
        await slow_inbox.messages[-1].ack(multiple=True)
    numbers = [int(body.split()[0]) for body in await slow_inbox.bodies(2000)]
    equal(numbers, list(range(2000)), "the slow consumer's messages")


@scenario
async def unread_consumer(session):
    """What blocks a client's event loop keeps it from reading."""
    setup = await session.channel()
    unread_queue, fast_queue = await session.shared_queue(setup, "unread"), await session.shared_queue(setup, "fast")
    released = threading.Event()

    async def read_late():
        async with await aio_pika.connect(session.url) as connection:
            inbox = await Inbox.open(await elsewhere(await connection.channel(), unread_queue), no_ack=True)
            await inbox.wait(1)
            released.wait(timeout=40)
            return [int(body.split()[0]) for body in await inbox.bodies(2000)]

    reader = in_thread(read_late())
    try:
        publisher = await session.channel(publisher_confirms=False)
        padding = "." * 32768
        await publish(publisher, unread_queue, *(f"{n} {padding}" for n in range(2000)))
        fast_inbox = await Inbox.open(await elsewhere(await session.channel(), fast_queue), no_ack=True)
        await publish(publisher, fast_queue, *(str(n) for n in range(5000)))
        equal(await fast_inbox.bodies(5000), [str(n) for n in range(5000)], "the fast consumer's messages")
    finally:
        released.set()
    equal(await reader, list(range(2000)), "the messages read at last")


@scenario
async def survives_restart(session):
    connection = await session.connect()
    closed = closing(connection)
    channel = await connection.channel()
    exchange = await session.exchange(channel, "direct", durable=True)
    queue = await session.shared_queue(channel, durable=True)
    await queue.bind(exchange, "key")
    persistent = {"delivery_mode": DeliveryMode.PERSISTENT}
    await publish_to(exchange, "key", *"01234", **persistent)
    await publish_to(exchange, "key", "transient", delivery_mode=DeliveryMode.NOT_PERSISTENT)
    for _ in range(2):
        await queue.get()
    session.ask("restart")
    await closed

    channel = await (await session.reconnect()).channel()
    await publish_to(await channel.get_exchange(exchange.name), "key", "5", **persistent)
    inbox = await Inbox.open(await channel.get_queue(queue.name))
    equal(await inbox.bodies(6), list("012345"), "messages after the restart")
    equal(inbox.flags(), [True] * 2 + [False] * 4, "redelivered")


@scenario
async def automatic_recovery(session):
    """Neither exchange nor queue outlive the restart, so that the client has to bring back all of it."""
    connection = await session.connect_robust(reconnect_interval=0.5)
    closed, reconnected = closing(connection), asyncio.Event()
    connection.reconnect_callbacks.add(lambda _connection: reconnected.set())
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=2)
    exchange = await session.exchange(channel, "direct")
    queue = await session.shared_queue(channel, auto_delete=True)
    await queue.bind(exchange, "key")
    inbox = await Inbox.open(queue)
    await publish_to(exchange, "key", "before")
    equal(await inbox.bodies(1), ["before"], "messages before the restart")
    await inbox.messages[0].ack()

    session.ask("restart")
    await closed
    await reconnected.wait()
    await publish_to(exchange, "key", *"12345")
    observer = await session.channel()
    await inbox.wait(3)
    await await_ready(observer, queue, 3)
    equal([text(message) for message in inbox.messages[1:]], ["1", "2"], "messages up to the prefetch")
    for held in (1, 2, 3, 4, 5):
        await inbox.wait(held + 1)
        await inbox.messages[held].ack()
    equal(await inbox.bodies(6), ["before", *"12345"], "messages after the restart")
