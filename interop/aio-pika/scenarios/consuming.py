import asyncio

from aio_pika.exceptions import QueueEmpty
from aiormq.exceptions import ChannelAccessRefused
from harness import Inbox, await_ready, drain, elsewhere, publish, refused, text
from playing import equal, scenario


async def five(channel, queue):
    """Publishes five messages and takes them without acknowledging."""
    await publish(channel, queue, *"12345")
    inbox = await Inbox.open(await elsewhere(channel, queue))
    messages = await inbox.wait(5)
    await inbox.cancel()
    return messages


async def redelivered(queue):
    """Takes everything out with get: the bodies, each with its redelivered flag."""
    messages = []
    while message := await queue.get(no_ack=True, fail=False):
        messages.append((text(message), message.redelivered))
    return messages


@scenario
async def consume_and_ack(session):
    connection = await session.connect()
    observer, channel = await connection.channel(), await connection.channel()
    queue = await session.queue(observer)
    await publish(channel, queue, *(str(n) for n in range(100)))
    received = []
    async with (await elsewhere(channel, queue)).iterator() as messages:
        async for message in messages:
            async with message.process():
                received.append((message.delivery_tag, message.redelivered, message.routing_key, int(message.body)))
            if len(received) == 100:
                break
    equal(received, [(n + 1, False, queue.name, n) for n in range(100)], "deliveries")
    await channel.close()
    equal(await drain(queue), [], "messages left")


@scenario
async def no_ack(session):
    connection = await session.connect()
    observer, channel = await connection.channel(), await connection.channel()
    queue = await session.queue(observer)
    await channel.set_qos(prefetch_count=1)
    await publish(observer, queue, *(str(n) for n in range(50)))
    received = []
    async with (await elsewhere(channel, queue)).iterator(no_ack=True) as messages:
        async for message in messages:
            received.append(int(message.body))
            if len(received) == 50:
                break
    equal(received, list(range(50)), "messages")
    await channel.close()
    equal(await drain(queue), [], "messages left")


@scenario
async def prefetch(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    await channel.set_qos(prefetch_count=5)
    await publish(channel, queue, *(str(n) for n in range(20)))
    first = await Inbox.open(queue)
    await first.wait(5)
    await await_ready(channel, queue, 15)
    second = await Inbox.open(queue)
    await second.wait(5)
    await await_ready(channel, queue, 10)
    await first.messages[0].ack()
    await first.wait(6)
    await await_ready(channel, queue, 9)
    equal((len(first.messages), len(second.messages)), (6, 5), "deliveries to each")


@scenario
async def prefetch_per_channel(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    await channel.set_qos(prefetch_count=5, global_=True)
    messages = asyncio.Queue()
    for _ in range(2):
        await queue.consume(messages.put)
    await publish(channel, queue, *(str(n) for n in range(20)))
    for ready in (15, 10):
        held = [await messages.get() for _ in range(5)]
        await await_ready(channel, queue, ready)
        equal(messages.qsize(), 0, "deliveries beyond the prefetch")
        await held[-1].ack(multiple=True)


@scenario
async def ack_multiple(session):
    connection = await session.connect()
    observer = await connection.channel()
    queue = await session.queue(observer)
    channel = await connection.channel()
    messages = await five(channel, queue)
    await messages[2].ack(multiple=True)
    await channel.close()
    equal(await redelivered(queue), [("4", True), ("5", True)], "messages beyond the tag")
    channel = await connection.channel()
    await five(channel, queue)
    await (await channel.get_underlay_channel()).basic_ack(0, multiple=True)
    await channel.close()
    equal(await drain(queue), [], "messages left")


@scenario
async def nack(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    messages = await five(channel, queue)
    await messages[0].nack(requeue=False)
    await messages[1].nack()
    equal(await redelivered(queue), [("2", True)], "requeued one by one")
    await messages[3].nack(multiple=True)
    equal(await redelivered(queue), [("3", True), ("4", True)], "requeued up to the tag")
    await messages[4].nack(multiple=True, requeue=False)
    equal(await drain(queue), [], "messages left")


@scenario
async def reject(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    messages = await five(channel, queue)
    await messages[0].reject()
    await messages[1].reject(requeue=True)
    equal(await redelivered(queue), [("2", True)], "requeued")
    for message in messages[2:4]:
        await message.reject()
    try:
        async with messages[4].process(requeue=True):
            raise ValueError("a worker that fails")
    except ValueError:
        pass
    equal(await redelivered(queue), [("5", True)], "requeued because its processing failed")


@scenario
async def requeue_order(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    messages = await five(channel, queue)
    await publish(channel, queue, "6")
    for position in (2, 0, 4, 1, 3):
        await messages[position].nack()
    expected = [(body, True) for body in "12345"] + [("6", False)]
    equal(await redelivered(queue), expected, "order after requeue")


@scenario
async def recover(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    await publish(channel, queue, *"123")
    inbox = await Inbox.open(queue)
    await inbox.wait(3)
    await inbox.messages[0].ack()
    await (await channel.get_underlay_channel()).basic_recover(requeue=True)
    equal(await inbox.bodies(5), ["1", "2", "3", "2", "3"], "messages")
    equal(inbox.flags(), [False] * 3 + [True] * 2, "redelivered")
    equal([message.delivery_tag for message in inbox.messages], [1, 2, 3, 4, 5], "delivery tags")


@scenario
async def unacked_requeued_on_close(session):
    observer = await session.channel()
    queue = await session.shared_queue(observer)
    holder = await session.connect()
    channel = await holder.channel()
    await publish(channel, queue, *"123")
    await (await Inbox.open(await elsewhere(channel, queue))).wait(3)
    second = await Inbox.open(await elsewhere(await holder.channel(), queue))
    await channel.close()
    equal(await second.bodies(3), ["1", "2", "3"], "after the channel closed")
    equal(second.flags(), [True] * 3, "redelivered")
    third = await Inbox.open(queue)
    await holder.close()
    equal(await third.bodies(3), ["1", "2", "3"], "after the connection closed")
    equal(third.flags(), [True] * 3, "redelivered")


@scenario
async def consumer_cancel(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    inbox = await Inbox.open(queue, consumer_tag="my-consumer")
    equal(inbox.tag, "my-consumer", "consumer tag")
    await publish(channel, queue, "before")
    [message] = await inbox.wait(1)
    equal(message.consumer_tag, "my-consumer", "consumer tag of the delivery")
    await inbox.cancel()
    await publish(channel, queue, "after")
    await await_ready(channel, queue, 1)
    await message.ack()
    equal(await drain(queue), ["after"], "messages left")
    equal(await inbox.bodies(len(inbox.messages)), ["before"], "delivered")


@scenario
async def cancel_notify(session):
    connection = await session.connect()
    channel = await connection.channel()
    queue = await session.queue(channel)
    cancelled = asyncio.Queue()
    underlay = await channel.get_underlay_channel()
    underlay.on_consumer_cancel_callbacks.add(lambda frame: cancelled.put_nowait(frame.consumer_tag))
    inboxes = [await Inbox.open(queue) for _ in range(2)]
    await (await connection.channel()).queue_delete(queue.name)
    told = [await cancelled.get() for _ in inboxes]
    equal(sorted(told), sorted(inbox.tag for inbox in inboxes), "cancelled consumers")
    equal(channel.is_closed, False, "channel closed")


@scenario
async def exclusive_consumer(session):
    connection = await session.connect()
    queue = await session.queue(await connection.channel())

    async def from_another_channel(**options):
        return await Inbox.open(await elsewhere(await connection.channel(), queue), **options)

    in_use = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    inbox = await Inbox.open(queue, exclusive=True)
    with refused(ChannelAccessRefused, in_use):
        await from_another_channel()
    await inbox.cancel()
    await Inbox.open(queue)
    with refused(ChannelAccessRefused, in_use):
        await from_another_channel(exclusive=True)


@scenario
async def round_robin(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    inboxes = [await Inbox.open(queue, no_ack=True) for _ in range(3)]
    await publish(channel, queue, *(str(n) for n in range(30)))
    shares = [await inbox.bodies(10) for inbox in inboxes]
    equal(sorted(shares), sorted([str(n) for n in range(turn, 30, 3)] for turn in range(3)), "turns")


@scenario
async def consumer_priority(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    low = await Inbox.open(queue, arguments={"x-priority": -5})
    usual = await Inbox.open(queue)
    await channel.set_qos(prefetch_count=3)
    high = await Inbox.open(queue, arguments={"x-priority": 10})
    await publish(channel, queue, *(str(n) for n in range(10)))
    equal(await high.bodies(3), ["0", "1", "2"], "high priority, until its prefetch")
    equal(await usual.bodies(7), [str(n) for n in range(3, 10)], "usual priority")
    equal(low.messages, [], "low priority")


@scenario
async def get(session):
    connection = await session.connect()
    observer, channel = await connection.channel(), await connection.channel()
    queue = await session.queue(observer)
    with refused(QueueEmpty):
        await queue.get()
    equal(await queue.get(fail=False), None, "get from an empty queue")
    await publish(observer, queue, "a", "b", "c")
    held = await elsewhere(channel, queue)
    message = await held.get()
    found = (message.body, message.delivery_tag, message.message_count, message.redelivered)
    equal(found, (b"a", 1, 2, False), "first")
    equal((message.exchange, message.routing_key), ("", queue.name), "exchange and key")
    message = await held.get(no_ack=True)
    equal((message.body, message.delivery_tag, message.message_count), (b"b", 2, 1), "second")
    await channel.close()
    message = await queue.get()
    equal((message.body, message.message_count, message.redelivered), (b"a", 1, True), "again")
    await message.ack()
    equal(await drain(queue), ["c"], "messages left")
