import time
from datetime import datetime

from aio_pika import Message
from harness import Inbox, drain, publish
from playing import equal, scenario


async def dying_queue(session, channel, dead, label="queue", **arguments):
    """A queue whose dead letters go to the queue named `dead`."""
    target = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    return await session.queue(channel, label, arguments={**target, **arguments})


def deaths(letter):
    """The entries of x-death without their times, which are seconds and lie in the scenario."""
    entries = []
    for death in letter.headers["x-death"]:
        moment = death.pop("time")
        equal(isinstance(moment, datetime), True, f"time {moment!r} is a timestamp")
        equal(abs(time.time() - moment.timestamp()) < 60, True, f"time {moment} is now")
        entries.append(death)
    return entries


def first_death(letter):
    return tuple(letter.headers[f"x-first-death-{part}"] for part in ("reason", "queue", "exchange"))


@scenario
async def dead_letter_rejected(session):
    channel = await session.channel()
    letters, dead = await session.exchange(channel, "direct", "letters"), await session.queue(channel, "dead")
    await dead.bind(letters, "buried")
    arguments = {"x-dead-letter-exchange": letters.name, "x-dead-letter-routing-key": "buried"}
    queue = await session.queue(channel, arguments=arguments)
    exchange = await session.exchange(channel, "topic")
    await queue.bind(exchange, "orders.#")
    inbox = await Inbox.open(queue)
    await exchange.publish(Message(b"order", message_id="order-1", headers={"kept": 1}), "orders.new")
    [message] = await inbox.wait(1)
    try:
        async with message.process():
            raise ValueError("an order that cannot be processed")
    except ValueError:
        pass
    [letter] = await (await Inbox.open(dead)).wait(1)
    equal((letter.exchange, letter.routing_key, letter.redelivered), (letters.name, "buried", False), "delivery")
    equal((letter.body, letter.message_id, letter.headers["kept"]), (b"order", "order-1", 1), "message")
    death = {
        "count": 1,
        "reason": "rejected",
        "queue": queue.name,
        "exchange": exchange.name,
        "routing-keys": ["orders.new"],
    }
    equal(deaths(letter), [death], "x-death")
    equal(first_death(letter), ("rejected", queue.name, exchange.name), "x-first-death")
    equal(len(inbox.messages), 1, "deliveries of the rejected message")


@scenario
async def dead_letter_expired(session):
    channel = await session.channel()
    dead = await session.queue(channel, "dead")
    queue = await dying_queue(session, channel, dead.name)
    await publish(channel, queue, "brief", expiration=0.1)
    [letter] = await (await Inbox.open(dead)).wait(1)
    death = {
        "original-expiration": "100",
        "count": 1,
        "reason": "expired",
        "queue": queue.name,
        "exchange": "",
        "routing-keys": [queue.name],
    }
    equal((letter.body, letter.expiration), (b"brief", None), "message without its expiration")
    equal(deaths(letter), [death], "x-death")
    equal(first_death(letter), ("expired", queue.name, ""), "x-first-death")


@scenario
async def dead_letter_maxlen(session):
    channel = await session.channel()
    dead = await session.queue(channel, "dead")
    queue = await dying_queue(session, channel, dead.name, **{"x-max-length": 2})
    await publish(channel, queue, *"1234")
    letters = await Inbox.open(dead)
    equal(await letters.bodies(2), ["1", "2"], "the oldest messages")
    for letter in letters.messages:
        death = {"count": 1, "reason": "maxlen", "queue": queue.name, "exchange": "", "routing-keys": [queue.name]}
        equal(deaths(letter), [death], "x-death")
        equal(first_death(letter), ("maxlen", queue.name, ""), "x-first-death")
    equal(await drain(queue), ["3", "4"], "messages left")


@scenario
async def dead_letter_retry(session):
    channel = await session.channel()
    work, retry = session.name("work"), session.name("retry")
    queue = await dying_queue(session, channel, retry, "work")
    await dying_queue(session, channel, work, "retry", **{"x-message-ttl": 50})
    await publish(channel, queue, "job")
    attempts = 0
    async with queue.iterator() as messages:
        async for message in messages:
            attempts += 1
            if attempts == 4:
                await message.ack()
                break
            await message.reject()
    expired = {"count": 3, "reason": "expired", "queue": retry, "exchange": "", "routing-keys": [retry]}
    rejected = {"count": 3, "reason": "rejected", "queue": work, "exchange": "", "routing-keys": [work]}
    equal(message.body, b"job", "message")
    equal(deaths(message), [expired, rejected], "x-death")
    equal(first_death(message), ("rejected", work, ""), "x-first-death")
