import asyncio

from aio_pika import DeliveryMode, Message
from aio_pika.exceptions import ChannelPreconditionFailed, DeliveryError, PublishError
from aiormq import spec
from harness import Inbox, Log, await_ready, drain, eventually, publish, refused
from playing import equal, scenario
from yarl import URL

# The alarm is set and lifted by a command that has to start first.
ALARM_TIMEOUT_S = 20


@scenario
async def publisher_confirms(session):
    channel = await session.channel()
    queue = await session.shared_queue(channel, durable=True)

    def publish_number(n):
        mode = DeliveryMode.PERSISTENT if n % 2 else DeliveryMode.NOT_PERSISTENT
        return channel.default_exchange.publish(Message(str(n).encode(), delivery_mode=mode), queue.name)

    with Log() as log:
        confirms = [await publish_number(n) for n in range(100)]
        await await_ready(channel, queue, 100)
        confirms += await asyncio.gather(*(publish_number(n) for n in range(100, 1000)))
        await await_ready(channel, queue, 1000)
    equal({type(confirm) for confirm in confirms}, {spec.Basic.Ack}, "confirms")
    equal([record.getMessage() for record in log.records], [], "confirms that the client did not expect")
    equal(await drain(queue), [str(n) for n in range(1000)], "messages")


@scenario
async def confirm_unroutable(session):
    channel = await session.channel()
    nobody = session.name("nobody")
    for exchange in (channel.default_exchange, await channel.get_exchange("amq.fanout", ensure=False)):
        confirm = await exchange.publish(Message(b"nowhere to go"), nobody, mandatory=False)
        equal(type(confirm), spec.Basic.Ack, "confirm")


@scenario
async def mandatory_return(session):
    channel = await session.channel()
    queue = await session.queue(channel)
    exchange = await channel.get_exchange("amq.direct", ensure=False)
    told = []
    channel.return_callbacks.add(lambda _channel, message: told.append(message))
    nobody = session.name("nobody")
    routed = await channel.default_exchange.publish(Message(b"routed"), queue.name, mandatory=True)
    equal(type(routed), spec.Basic.Ack, "publish of what is routed")
    await exchange.publish(Message(b"not mandatory"), nobody, mandatory=False)
    lost = Message(b"lost", message_id="lost", headers={"kept": 1})
    returned = await exchange.publish(lost, nobody, mandatory=True)
    equal((returned.delivery.reply_code, returned.delivery.reply_text), (312, "NO_ROUTE"), "return")
    [message] = told
    equal((message.exchange, message.routing_key), ("amq.direct", nobody), "exchange and key")
    equal((message.message_id, message.headers, message.body), ("lost", {"kept": 1}, b"lost"), "message")
    equal(await drain(queue), ["routed"], "routed")


@scenario
async def return_before_confirm(session):
    """The client raises PublishError only if the return came before the confirm."""
    channel = await session.channel(on_return_raises=True)
    queue = await session.queue(channel)
    for n in range(20):
        try:
            await channel.default_exchange.publish(Message(str(n).encode()), session.name("nobody"))
        except PublishError as error:
            equal((error.frame.reply_code, error.message.body), (312, str(n).encode()), "return")
        else:
            raise AssertionError(f"message {n} was confirmed before its return, or not returned")
        await channel.default_exchange.publish(Message(str(n).encode()), queue.name)
    equal(len(await drain(queue)), 20, "routed messages")


@scenario
async def nacked_publish(session):
    channel = await session.channel()
    queue = await session.queue(channel, arguments={"x-max-length": 3, "x-overflow": "reject-publish"})
    nacked = []
    for n in range(6):
        try:
            await publish(channel, queue, str(n))
        except DeliveryError as error:
            equal(type(error.frame), spec.Basic.Nack, "frame")
            nacked.append(n)
    equal(nacked, [3, 4, 5], "nacked messages")
    equal(await drain(queue), ["0", "1", "2"], "messages in the queue")


@scenario
async def connection_blocked(session):
    """The client tells in its log that it is blocked; who waits for the confirms sees only that they do not come."""
    publisher, observer = await session.channel(), await session.channel()
    queue = await session.shared_queue(observer)
    inbox = await Inbox.open(queue, no_ack=True)
    published = []

    def publish_one(body):
        published.append((body, asyncio.create_task(publish(publisher, queue, body))))
        return published[-1][1]

    with Log() as log:

        def told(words):
            return [record.getMessage() for record in log.records if words in record.getMessage()]

        async def is_blocked():
            """Only who publishes is blocked."""
            if not told("was blocked"):
                publish_one(f"before {len(published)}")
            return bool(told("was blocked"))

        async def is_unblocked():
            return bool(told("was unblocked"))

        session.ask("block")
        try:
            await eventually(is_blocked, "the client is told that it is blocked", ALARM_TIMEOUT_S)
            waiting = publish_one("while blocked")
            await asyncio.sleep(0.3)
            equal(waiting.done(), False, "confirmed while blocked")
            equal("while blocked" in await inbox.bodies(len(inbox.messages)), False, "a message got through")
        finally:
            session.ask("unblock")
        await eventually(is_unblocked, "the client is told that it is unblocked", ALARM_TIMEOUT_S)
        reasons = [message.rpartition(" by: ")[2] for message in told("was blocked")]
    equal(reasons, ["'low on memory'"], "reason")
    await publish_one("afterwards")
    await asyncio.gather(*(task for _, task in published))
    equal(await inbox.bodies(len(published)), [body for body, _ in published], "messages")


@scenario
async def user_id(session):
    connection = await session.connect()
    channel = await connection.channel()
    queue = await session.queue(channel)
    user = URL(session.url).user
    await publish(channel, queue, "anonymous")
    await publish(channel, queue, "signed", user_id=user)
    equal(await drain(queue), ["anonymous", "signed"], "messages")
    refusal = f"PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '{user}'"
    with refused(ChannelPreconditionFailed, refusal):
        await publish(await connection.channel(), queue, "forged", user_id="somebody")
    equal(await drain(queue), [], "forged messages")
