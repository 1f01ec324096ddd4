import time

import pika
from harness import Inbox, await_ready, channel_error, drain, eventually, publish
from pika.exceptions import UnroutableError
from playing import equal, scenario


@scenario
def queue_declare(session):
    channel = session.channel()
    queue = session.name("queue")
    for _ in range(2):
        declared = channel.queue_declare(queue, exclusive=True).method
        equal((declared.queue, declared.message_count, declared.consumer_count), (queue, 0, 0), "declare-ok")
    publish(channel, queue, "a", "b", "c")
    await_ready(channel, queue, 3)
    declared = channel.queue_declare(queue, passive=True).method
    equal((declared.queue, declared.message_count, declared.consumer_count), (queue, 3, 0), "passive declare-ok")
    Inbox(channel, queue).wait(3)
    declared = channel.queue_declare(queue, exclusive=True).method
    equal((declared.message_count, declared.consumer_count), (0, 1), "ready messages and consumers")


@scenario
def queue_mismatch(session):
    connection = session.connect()
    owner = connection.channel()
    plain = session.shared_queue(owner, "plain")
    limited = session.shared_queue(owner, "limited", arguments={"x-message-ttl": 60000})

    def inequivalent(argument, queue, difference):
        return f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': {difference}"

    for queue, options, code, text in (
        (plain, {"durable": True}, 406, inequivalent("durable", plain, "received 'true' but current is 'false'")),
        (
            plain,
            {"auto_delete": True},
            406,
            inequivalent("auto_delete", plain, "received 'true' but current is 'false'"),
        ),
        (
            plain,
            {"arguments": {"x-message-ttl": 60000}},
            406,
            inequivalent(
                "x-message-ttl",
                plain,
                "received the value '60000' of type 'signedint' but current is none",
            ),
        ),
        (
            limited,
            {},
            406,
            inequivalent(
                "x-message-ttl",
                limited,
                "received none but current is the value '60000' of type 'signedint'",
            ),
        ),
        (
            plain,
            {"exclusive": True},
            405,
            (
                f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{plain}' in vhost '/'. It could "
                "be originally declared on another connection or the exclusive property value does not match that "
                "of the original declaration."
            )[:255],
        ),
    ):
        with channel_error(code, text):
            connection.channel().queue_declare(queue, **options)
    equal(owner.queue_declare(limited, arguments={"x-message-ttl": 60000}).method.queue, limited, "same again")


@scenario
def server_named_queue(session):
    channel = session.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    if not queue.startswith("amq.gen-"):
        raise AssertionError(f"server-named queue is called {queue!r}")
    other = channel.queue_declare("", exclusive=True).method.queue
    equal(other == queue, False, "two server-named queues have one name")
    channel.queue_declare(queue, passive=True)
    channel.queue_bind("", "amq.direct", session.name("key"))
    channel.basic_publish("amq.direct", session.name("key"), b"to the last declared")
    equal(drain(channel, queue), ["to the last declared"], "messages")


@scenario
def queue_purge_and_delete(session):
    channel = session.channel()
    queue = session.queue(channel)
    publish(channel, queue, "a", "b", "c")
    equal(channel.queue_purge(queue).method.message_count, 3, "purged")
    equal(drain(channel, queue), [], "messages after the purge")
    publish(channel, queue, "d", "e")
    equal(channel.queue_delete(queue).method.message_count, 2, "messages deleted with the queue")
    equal(channel.queue_delete(queue).method.message_count, 0, "messages deleted with no queue")
    channel.exchange_delete(session.name("never declared"))


@scenario
def exclusive_queue(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    connection.close()
    with channel_error(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'"):
        session.channel().queue_declare(queue, passive=True)


@scenario
def auto_delete_queue(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.shared_queue(channel, auto_delete=True)
    publish(channel, queue, "without a consumer")
    first, last = Inbox(channel, queue), Inbox(channel, queue)
    channel.basic_cancel(first.tag)
    equal(channel.queue_declare(queue, passive=True).method.consumer_count, 1, "consumers")
    channel.basic_cancel(last.tag)
    eventually(lambda: not exists(connection, queue), connection, "the queue is gone")


def exists(connection, queue):
    try:
        with channel_error(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'"):
            connection.channel().queue_declare(queue, passive=True)
    except AssertionError:
        return True
    return False


@scenario
def message_ttl(session):
    channel = session.confirming_channel()
    brief = session.queue(channel, "brief", arguments={"x-message-ttl": 150})
    lasting = session.queue(channel, "lasting", arguments={"x-message-ttl": 60000})
    started = time.monotonic()
    for queue, expiration in ((brief, None), (brief, "60000"), (lasting, "150"), (lasting, "60000"), (lasting, None)):
        properties = pika.BasicProperties(expiration=expiration)
        channel.basic_publish("", queue, f"expiration {expiration}", properties)
    await_ready(channel, brief, 0)
    equal(time.monotonic() - started >= 0.15, True, "the queue's TTL has passed")
    await_ready(channel, lasting, 2)
    equal(time.monotonic() - started >= 0.15, True, "the message's expiration has passed")
    equal(drain(channel, lasting), ["expiration 60000", "expiration None"], "younger messages")
    for expiration, problem in (("soon", "no_integer"), ("10s", '{leftover_string,"s"}')):
        with channel_error(406, f"PRECONDITION_FAILED - invalid expiration '{expiration}': {problem}"):
            wrong = session.confirming_channel()
            wrong.basic_publish("", lasting, b"", pika.BasicProperties(expiration=expiration))


@scenario
def queue_expires(session):
    """A passive declare would count as use, so a mandatory message asks whether the queue is there."""
    channel = session.confirming_channel()
    arguments = {"x-expires": 200}
    consumed = session.queue(channel, "consumed", arguments=arguments)
    inbox = Inbox(channel, consumed, auto_ack=True)
    started = time.monotonic()
    unused = session.queue(channel, "unused", arguments=arguments)
    eventually(lambda: not is_reached(channel, unused), channel.connection, "the unused queue is gone")
    equal(time.monotonic() - started >= 0.2, True, "its time has passed")
    publish(channel, consumed, "still here")
    equal(inbox.bodies(1), ["still here"], "messages of the queue with a consumer")
    channel.basic_cancel(inbox.tag)
    eventually(lambda: not is_reached(channel, consumed), channel.connection, "the queue without its consumer is gone")


def is_reached(channel, queue):
    try:
        channel.basic_publish("", queue, b"", mandatory=True)
    except UnroutableError:
        return False
    return True


@scenario
def max_length(session):
    channel = session.confirming_channel()
    by_count = session.queue(channel, "count", arguments={"x-max-length": 3})
    publish(channel, by_count, *"12345")
    equal(drain(channel, by_count), ["3", "4", "5"], "the last three messages")
    by_bytes = session.queue(channel, "bytes", arguments={"x-max-length-bytes": 10})
    publish(channel, by_bytes, "aaaa", "bbbb", "cccccc", "dddd")
    equal(drain(channel, by_bytes), ["cccccc", "dddd"], "the last ten bytes")


@scenario
def priority_queue(session):
    channel = session.confirming_channel()
    queue = session.queue(channel, arguments={"x-max-priority": 10})
    for n, priority in enumerate((None, 5, 0, 10, 255, 1, 5, 11, 9, None)):
        channel.basic_publish("", queue, f"{n}: {priority}", pika.BasicProperties(priority=priority))
    expected = ["3: 10", "4: 255", "7: 11", "8: 9", "1: 5", "6: 5", "5: 1", "0: None", "2: 0", "9: None"]
    equal(Inbox(channel, queue).bodies(10), expected, "messages by priority")


@scenario
def single_active_consumer(session):
    observer = session.channel()
    queue = session.shared_queue(observer, arguments={"x-single-active-consumer": True})
    first, second = Inbox(session.channel(), queue), Inbox(session.channel(), queue)
    third = Inbox(second.channel, queue)
    publish(observer, queue, *"12345")
    equal(first.bodies(5), list("12345"), "messages of the first consumer")
    first.channel.basic_ack(first.tags()[3], multiple=True)
    first.channel.connection.close()
    publish(observer, queue, "6")
    equal(second.bodies(2), ["5", "6"], "messages of the next consumer")
    equal(second.flags(), [True, False], "redelivered")
    second.channel.basic_cancel(second.tag)
    publish(observer, queue, "7")
    equal(third.bodies(1), ["7"], "messages of the last consumer")
    equal((len(first.messages), len(second.messages)), (5, 2), "messages of the others")


@scenario
def quorum_queue(session):
    channel = session.confirming_channel()
    dead = session.queue(channel, "dead")
    queue = session.shared_queue(
        channel,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 2,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead,
        },
    )
    publish(channel, queue, "poison")
    inbox, letters = Inbox(channel, queue), Inbox(channel, dead)
    for _ in range(3):
        inbox.wait(len(inbox.messages) + 1)
        channel.basic_reject(inbox.tags()[-1], requeue=True)
    [(_, properties, body)] = letters.wait(1)
    counts = [(properties.headers or {}).get("x-delivery-count") for _, properties, _ in inbox.messages]
    equal(counts, [None, 1, 2], "x-delivery-count of the deliveries")
    equal(inbox.flags(), [False, True, True], "redelivered")
    [death] = properties.headers["x-death"]
    equal((body, death["reason"], death["queue"]), (b"poison", "delivery_limit", queue), "dead letter")


@scenario
def long_and_unicode_names(session):
    channel = session.channel()
    long_name = session.name("long").ljust(255, "x")
    equal(channel.queue_declare(long_name, exclusive=True).method.queue, long_name, "long name")
    publish(channel, long_name, "long")
    equal(drain(channel, long_name), ["long"], "messages of the long name")

    queue = session.name("зайчонок-野兎-🐇")
    equal(channel.queue_declare(queue, exclusive=True).method.queue, queue, "name outside ASCII")
    exchange = session.exchange(channel, "topic", "größe")
    channel.queue_bind(queue, exchange, "straße.*")
    channel.basic_publish(exchange, "straße.жук", b"unicode")
    method, _, body = channel.basic_get(queue, auto_ack=True)
    equal((method.exchange, method.routing_key, body), (exchange, "straße.жук", b"unicode"), "message")
