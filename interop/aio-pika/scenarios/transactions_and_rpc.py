import asyncio

from aio_pika import Message
from aio_pika.exceptions import ChannelPreconditionFailed
from aio_pika.patterns import JsonRPC
from harness import Inbox, drain, elsewhere, publish, refused
from playing import equal, scenario

REPLY_TO = "amq.rabbitmq.reply-to"


@scenario
async def tx_commit(session):
    connection = await session.connect()
    observer, channel = await connection.channel(), await connection.channel(publisher_confirms=False)
    queue, done = await session.queue(observer), await session.queue(observer, "done")
    await publish(observer, queue, "job")
    async with channel.transaction():
        async with (await (await elsewhere(channel, queue)).get()).process():
            await publish(channel, done, "one", "two")
        equal(await drain(await elsewhere(channel, done)), [], "messages before the commit")
    equal(await drain(done), ["one", "two"], "messages after the commit")
    await channel.close()
    equal(await drain(queue), [], "jobs left")
    with refused(ChannelPreconditionFailed, "PRECONDITION_FAILED - channel is not transactional"):
        channel = await connection.channel(publisher_confirms=False)
        await channel.transaction().commit()
    with refused(ChannelPreconditionFailed, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"):
        channel = await connection.channel(publisher_confirms=False)
        await channel.transaction().select()
        await (await channel.get_underlay_channel()).confirm_delivery()


@scenario
async def tx_rollback(session):
    connection = await session.connect()
    observer, channel = await connection.channel(), await connection.channel(publisher_confirms=False)
    queue, done = await session.queue(observer), await session.queue(observer, "done")
    await publish(observer, queue, "job")
    try:
        async with channel.transaction():
            message = await (await elsewhere(channel, queue)).get()
            await publish(channel, done, "dropped")
            await message.ack()
            raise ValueError("the job fails")
    except ValueError:
        pass
    equal(await drain(done), [], "messages after the rollback")
    equal(await drain(queue), [], "the job is still held")
    async with channel.transaction():
        await publish(channel, done, "kept")
    await channel.close()
    equal(await drain(done), ["kept"], "messages of the next transaction")
    message = await queue.get(no_ack=True)
    equal((message.body, message.redelivered), (b"job", True), "the job comes back")


@scenario
async def rpc_reply_queue(session):
    """The client's own pattern: it has the reply queue and the correlation ids."""
    method = session.name("double")

    async def double(*, number):
        return 2 * number

    server = await JsonRPC.create(await session.channel())
    await server.register(method, double, auto_delete=True)
    caller = await JsonRPC.create(await session.channel(), exclusive=True)
    equal(caller.result_queue.name.startswith("amq.gen-"), True, "a reply queue of the caller's own")
    answers = [await caller.call(method, {"number": n}) for n in range(50)]
    answers += await asyncio.gather(*(caller.call(method, {"number": n}) for n in range(50, 100)))
    equal(answers, [2 * n for n in range(100)], "answers")
    await caller.close()
    await server.close()


async def serve_doubles(channel, requests):
    """Answers each request with twice its number, wherever it wants the answer."""

    async def answer(message):
        async with message.process():
            reply = Message(str(2 * int(message.body)).encode(), correlation_id=message.correlation_id)
            await channel.default_exchange.publish(reply, message.reply_to)

    await (await elsewhere(channel, requests)).consume(answer)


@scenario
async def direct_reply_to(session):
    """The client itself refuses the address as a queue's name, so its users cannot ask whether the caller is there."""
    caller = await session.channel()
    requests = await session.shared_queue(await session.channel(), "requests")
    replies = await Inbox.open(await caller.get_queue(REPLY_TO, ensure=False), no_ack=True)

    def call(body, **properties):
        return caller.default_exchange.publish(Message(body, reply_to=REPLY_TO, **properties), requests.name)

    await call(b"")
    address = (await requests.get(no_ack=True)).reply_to
    if not address.startswith(REPLY_TO + "."):
        raise AssertionError(f"reply_to as the server sees it: {address!r}")
    await serve_doubles(await session.channel(), requests)
    for n in range(100):
        await call(str(n).encode(), correlation_id=f"call-{n}")
        await replies.wait(n + 1)
    answers = [(message.correlation_id, int(message.body)) for message in replies.messages]
    equal(answers, [(f"call-{n}", 2 * n) for n in range(100)], "answers")
    equal({message.exchange for message in replies.messages}, {""}, "exchange of the replies")


@scenario
async def direct_reply_to_errors(session):
    connection = await session.connect()

    async def reply_consumer(channel, **options):
        await Inbox.open(await channel.get_queue(REPLY_TO, ensure=False), **options)

    with refused(ChannelPreconditionFailed, "PRECONDITION_FAILED - reply consumer cannot acknowledge"):
        await reply_consumer(await connection.channel())
    channel = await connection.channel()
    await reply_consumer(channel, no_ack=True)
    with refused(ChannelPreconditionFailed, "PRECONDITION_FAILED - reply consumer already set"):
        await reply_consumer(channel, no_ack=True)
    with refused(ChannelPreconditionFailed, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        channel = await connection.channel()
        await channel.default_exchange.publish(Message(b"", reply_to=REPLY_TO), session.name("nobody"))
