from harness import (
    Inbox,
    await_ready,
    channel_error,
    drain,
    eventually,
    exists,
    no_queue,
    publish,
    ready,
    receive,
    send,
)
from kombu import Queue
from playing import equal, scenario


@scenario
def queue_declare(session):
    channel = session.channel()
    declared = []
    keep = lambda *answer: declared.append(answer)
    queue = Queue(session.name("queue"), exclusive=True, on_declared=keep)(channel)
    for _ in range(2):
        queue.declare()
    equal(declared, [(queue.name, 0, 0)] * 2, "declare-ok")
    send(queue, "a", "b", "c")
    await_ready(queue, 3)
    equal(tuple(queue.queue_declare(passive=True)), (queue.name, 3, 0), "passive declare-ok")
    Inbox(queue).wait(3)
    equal(tuple(queue.queue_declare()), (queue.name, 0, 1), "name, ready messages and consumers")


@scenario
def queue_mismatch(session):
    connection = session.connect()
    owner = connection.channel()
    plain = session.queue(owner, "plain")
    limited = session.queue(owner, "limited", message_ttl=60)
    locked = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{plain.name}' in vhost '/'. It could "
        "be originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration."
    )

    def inequivalent(argument, queue, difference):
        text = f"inequivalent arg '{argument}' for queue '{queue.name}' in vhost '/': {difference}"
        return f"PRECONDITION_FAILED - {text}"

    flag = "received 'true' but current is 'false'"
    value = "the value '60000' of type 'signedint'"
    for queue, options, code, text in (
        (plain, {"durable": True}, 406, inequivalent("durable", plain, flag)),
        (plain, {"auto_delete": True}, 406, inequivalent("auto_delete", plain, flag)),
        (
            plain,
            {"message_ttl": 60},
            406,
            inequivalent("x-message-ttl", plain, f"received {value} but current is none"),
        ),
        (limited, {}, 406, inequivalent("x-message-ttl", limited, f"received none but current is {value}")),
    ):
        with channel_error(connection, code, text):
            Queue(queue.name, **{"durable": False, **options})(connection.channel()).declare()
    with channel_error(connection, 405, locked[:255]):
        # kombu's own exclusive queue would be auto-delete too.
        connection.channel().queue_declare(plain.name, exclusive=True, auto_delete=False)
    equal(limited.declare(), limited.name, "same again")


@scenario
def server_named_queue(session):
    channel = session.channel()
    queue, other = (Queue("", exclusive=True)(channel) for _ in range(2))
    queue.declare()
    if not queue.name.startswith("amq.gen-"):
        raise AssertionError(f"server-named queue is called {queue.name!r}")
    other.declare()
    equal(other.name == queue.name, False, "two server-named queues have one name")
    equal(queue.queue_declare(passive=True).queue, queue.name, "the first is there")
    # The passive declare made it the last declared one.
    Queue("")(channel).bind_to("amq.direct", session.name("key"))
    publish(channel, "to the last declared", session.name("key"), "amq.direct")
    equal(drain(queue), ["to the last declared"], "messages")
    equal(drain(other), [], "messages of the other")


@scenario
def queue_purge_and_delete(session):
    channel = session.channel()
    queue = session.queue(channel)
    send(queue, "a", "b", "c")
    equal(queue.purge(), 3, "purged")
    equal(drain(queue), [], "messages after the purge")
    send(queue, "d", "e")
    equal(queue.delete(), 2, "messages deleted with the queue")
    equal(queue.delete(), 0, "messages deleted with no queue")
    channel.exchange_delete(session.name("never declared"))


@scenario
def exclusive_queue(session):
    connection = session.connect()
    queue = session.queue(connection.channel(), exclusive=True)
    equal(exists(queue), True, "there")
    connection.release()
    observer = session.connect()
    with channel_error(observer, 404, no_queue(queue.name)):
        queue(observer.channel()).queue_declare(passive=True)


@scenario
def auto_delete_queue(session):
    queue = session.queue(session.channel(), auto_delete=True)
    send(queue, "without a consumer")
    first, last = Inbox(queue), Inbox(queue)
    first.consumer.cancel()
    equal(queue.queue_declare(passive=True).consumer_count, 1, "consumers")
    last.consumer.cancel()
    eventually(lambda: not exists(queue), "the queue is gone")


@scenario
def message_ttl(session):
    connection = session.connect()
    channel = connection.channel()
    limited, unlimited = session.queue(channel, "limited", message_ttl=0.2), session.queue(channel, "unlimited")
    send(limited, "read in time")
    equal(receive(limited).payload, "read in time", "younger than the queue's TTL")
    send(limited, "too old")
    await_ready(limited, 1)
    eventually(lambda: ready(limited) == 0, "the older message gone")
    send(limited, "young")
    equal(drain(limited), ["young"], "messages within the queue's TTL")

    send(unlimited, "expires", expiration=0.1)
    send(unlimited, "expires later", expiration=60)
    send(unlimited, "stays")
    await_ready(unlimited, 3)
    await_ready(unlimited, 2)
    equal(drain(unlimited), ["expires later", "stays"], "messages within their expiration")

    with channel_error(connection, 406, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer"):
        message = channel.prepare_message(b"never", properties={"expiration": "soon"})
        channel.basic_publish(message, routing_key=unlimited.name)
        unlimited.queue_declare(passive=True)


@scenario
def queue_expires(session):
    channel = session.channel()
    used, unused = (session.queue(channel, label, expires=0.2) for label in ("used", "unused"))
    inbox = Inbox(used)
    # Asking whether a queue is there counts as a use of it.
    eventually(lambda: not exists(unused), "the unused queue gone", interval_s=0.4)
    equal(exists(used), True, "the queue with a consumer is there")
    inbox.consumer.cancel()
    eventually(lambda: not exists(used), "the queue gone that lost its consumer", interval_s=0.4)


@scenario
def max_length(session):
    channel = session.channel()
    by_count = session.queue(channel, "by count", max_length=3)
    send(by_count, *"12345")
    equal(drain(by_count), ["3", "4", "5"], "the newest three")
    by_bytes = session.queue(channel, "by bytes", max_length_bytes=10)
    send(by_bytes, "aaaa", "bbbb", "cccc", "dd")
    equal(drain(by_bytes), ["bbbb", "cccc", "dd"], "the newest ten bytes")


@scenario
def priority_queue(session):
    queue = session.queue(session.channel(), max_priority=10)
    for body, priority in (
        ("none", None),
        ("low 1", 1),
        ("zero", 0),
        ("high 1", 10),
        ("middle", 5),
        ("beyond", 200),
        ("low 2", 1),
        ("high 2", 10),
    ):
        send(queue, body, priority=priority)
    await_ready(queue, 8)
    expected = ["high 1", "beyond", "high 2", "middle", "low 1", "low 2", "none", "zero"]
    equal(drain(queue), expected, "messages by priority")


@scenario
def single_active_consumer(session):
    connection = session.connect()
    queue = session.queue(connection.channel(), queue_arguments={"x-single-active-consumer": True})
    first, second = (Inbox(queue(connection.channel())) for _ in range(2))
    send(queue, *"12345")
    equal(first.bodies(5), list("12345"), "messages of the first consumer")
    for message in first.messages[:4]:
        message.ack()
    first.channel.close()
    equal(second.bodies(1), ["5"], "what the first had not acknowledged")
    equal(second.flags(), [True], "redelivered")
    send(queue, *"678")
    equal(second.bodies(4), list("5678"), "messages of the second consumer")
    equal(len(first.messages), 5, "messages of the first consumer in all")


@scenario
def quorum_queue(session):
    channel = session.channel()
    dead = session.queue(channel, "dead")
    queue = session.queue(
        channel,
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 2,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead.name,
        },
    )
    send(queue, "poison")
    inbox = Inbox(queue)
    for count in (None, 1, 2):
        message = inbox.wait((count or 0) + 1)[-1]
        equal(message.headers.get("x-delivery-count"), count, "x-delivery-count")
        message.requeue()
    letter = Inbox(dead).wait(1)[0]
    death = letter.headers["x-death"][0]
    equal((letter.payload, death["reason"], death["queue"]), ("poison", "delivery_limit", queue.name), "dead letter")
    equal(len(inbox.messages), 3, "deliveries")


@scenario
def long_and_unicode_names(session):
    channel = session.channel()
    long_name = session.name("long").ljust(255, "x")
    queue = Queue(long_name, exclusive=True)(channel)
    equal(queue.queue_declare().queue, long_name, "long name")
    send(queue, "long")
    equal(drain(queue), ["long"], "messages of the long name")

    exchange = session.exchange(channel, "topic", "größe")
    queue = session.queue(channel, "зайчонок-野兎-🐇", exchange=exchange, routing_key="straße.*")
    equal(queue.queue_declare(passive=True).queue, session.name("зайчонок-野兎-🐇"), "name outside ASCII")
    publish(channel, "unicode", "straße.жук", exchange)
    message = receive(queue)
    origin = (message.delivery_info["exchange"], message.delivery_info["routing_key"])
    equal((*origin, message.payload), (exchange.name, "straße.жук", "unicode"), "message")
