import time
from datetime import datetime

import pika
from harness import Inbox, drain, publish
from playing import equal, scenario


def dying_queue(session, channel, dead, label="queue", **arguments):
    """A queue whose dead letters go to the queue `dead`."""
    target = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    return session.queue(channel, label, arguments={**target, **arguments})


def deaths(properties):
    """The entries of x-death without their times, which are seconds and lie in the scenario."""
    entries = []
    for death in properties.headers["x-death"]:
        moment = death.pop("time")
        equal(isinstance(moment, datetime), True, f"time {moment!r} is a timestamp")
        equal(abs(time.time() - moment.timestamp()) < 60, True, f"time {moment} is now")
        entries.append(death)
    return entries


def first_death(properties):
    return tuple(properties.headers[f"x-first-death-{part}"] for part in ("reason", "queue", "exchange"))


@scenario
def dead_letter_rejected(session):
    channel = session.channel()
    letters, dead = session.exchange(channel, "direct", "letters"), session.queue(channel, "dead")
    channel.queue_bind(dead, letters, "buried")
    queue = session.queue(channel, arguments={"x-dead-letter-exchange": letters, "x-dead-letter-routing-key": "buried"})
    exchange = session.exchange(channel, "topic")
    channel.queue_bind(queue, exchange, "orders.#")
    given = pika.BasicProperties(message_id="order-1", headers={"kept": 1})
    channel.basic_publish(exchange, "orders.new", "order", given)
    inbox = Inbox(channel, queue)
    [(method, _, _)] = inbox.wait(1)
    channel.basic_reject(method.delivery_tag, requeue=False)
    [(method, properties, body)] = Inbox(channel, dead).wait(1)
    equal((method.exchange, method.routing_key, method.redelivered), (letters, "buried", False), "delivery")
    equal((body, properties.message_id, properties.headers["kept"]), (b"order", "order-1", 1), "message")
    death = {"count": 1, "reason": "rejected", "queue": queue, "exchange": exchange, "routing-keys": ["orders.new"]}
    equal(deaths(properties), [death], "x-death")
    equal(first_death(properties), ("rejected", queue, exchange), "x-first-death")
    equal(len(inbox.messages), 1, "deliveries of the rejected message")


@scenario
def dead_letter_expired(session):
    channel = session.channel()
    dead = session.queue(channel, "dead")
    queue = dying_queue(session, channel, dead)
    channel.basic_publish("", queue, "brief", pika.BasicProperties(expiration="100"))
    [(_, properties, body)] = Inbox(channel, dead).wait(1)
    death = {
        "original-expiration": "100",
        "count": 1,
        "reason": "expired",
        "queue": queue,
        "exchange": "",
        "routing-keys": [queue],
    }
    equal((body, properties.expiration), (b"brief", None), "message without its expiration")
    equal(deaths(properties), [death], "x-death")
    equal(first_death(properties), ("expired", queue, ""), "x-first-death")


@scenario
def dead_letter_maxlen(session):
    channel = session.channel()
    dead = session.queue(channel, "dead")
    queue = dying_queue(session, channel, dead, **{"x-max-length": 2})
    publish(channel, queue, *"1234")
    letters = Inbox(channel, dead)
    equal(letters.bodies(2), ["1", "2"], "the oldest messages")
    for _, properties, _ in letters.messages:
        death = {"count": 1, "reason": "maxlen", "queue": queue, "exchange": "", "routing-keys": [queue]}
        equal(deaths(properties), [death], "x-death")
        equal(first_death(properties), ("maxlen", queue, ""), "x-first-death")
    equal(drain(channel, queue), ["3", "4"], "messages left")


@scenario
def dead_letter_retry(session):
    channel = session.channel()
    work, retry = session.name("work"), session.name("retry")
    dying_queue(session, channel, retry, "work")
    dying_queue(session, channel, work, "retry", **{"x-message-ttl": 50})
    publish(channel, work, "job")
    inbox = Inbox(channel, work)
    for attempt in range(3):
        inbox.wait(attempt + 1)
        channel.basic_reject(inbox.tags()[-1], requeue=False)
    _, properties, body = inbox.wait(4)[-1]
    channel.basic_ack(inbox.tags()[-1])
    expired = {"count": 3, "reason": "expired", "queue": retry, "exchange": "", "routing-keys": [retry]}
    rejected = {"count": 3, "reason": "rejected", "queue": work, "exchange": "", "routing-keys": [work]}
    equal(body, b"job", "message")
    equal(deaths(properties), [expired, rejected], "x-death")
    equal(first_death(properties), ("rejected", work, ""), "x-first-death")
