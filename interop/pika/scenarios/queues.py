from harness import Inbox, await_ready, channel_error, drain, equal, eventually, publish, scenario


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
