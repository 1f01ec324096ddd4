from harness import (
    Inbox,
    await_ready,
    channel_error,
    connection_error,
    drain,
    no_exchange,
    no_queue,
    publish,
    receive,
    redelivered,
    send,
)
from kombu import Exchange, Queue
from playing import equal, scenario


@scenario
def channel_open_close(session):
    connection = session.connect()
    for _ in range(200):
        channel = connection.channel()
        equal(channel.channel_id, 1, "channel number")
        channel.close()


@scenario
def thousand_channels(session):
    connection = session.connect()
    queue = session.queue(session.channel())
    inboxes = [Inbox(queue(connection.channel()), prefetch=1) for _ in range(1000)]
    send(queue, *(str(n) for n in range(1000)))
    for inbox in inboxes:
        inbox.wait(1)
    received = sorted(int(body) for inbox in inboxes for body in inbox.bodies())
    equal(received, list(range(1000)), "messages over all channels")
    for inbox in inboxes:
        inbox.messages[0].ack()
        inbox.channel.close()
    equal(drain(queue), [], "messages left")


@scenario
def error_closes_only_the_channel(session):
    connection = session.connect()
    healthy, faulty = connection.channel(), connection.channel()
    queue, held = session.queue(healthy, "healthy"), session.queue(healthy, "held")
    inbox = Inbox(queue)
    send(held(faulty), "unsettled")
    receive(held(faulty), no_ack=False)
    number = faulty.channel_id
    with channel_error(connection, 404, no_queue("nothing")):
        faulty.queue_declare("nothing", passive=True)
    send(queue, "still here")
    equal(inbox.bodies(1), ["still here"], "messages of the other channel")
    equal((faulty.is_open, faulty.channel_id), (True, number), "the channel, which py-amqp opened again")
    equal(redelivered(held), [("unsettled", True)], "message of the closed channel")
    send(queue(faulty), "from the channel opened again")
    equal(inbox.bodies(2)[1], "from the channel opened again", "messages of the other channel")


@scenario
def not_found(session):
    connection = session.connect()
    owner = connection.channel()
    queue = session.queue(owner)
    exchange = session.exchange(owner, "direct")
    no_such_queue, no_such_exchange = Queue("nothing"), Exchange("nothing")

    def publish_and_ask(channel):
        publish(channel, "lost", "key", no_such_exchange)
        queue(channel).queue_declare(passive=True)

    for text, attempt in (
        (no_queue("nothing"), lambda channel: no_such_queue(channel).queue_declare(passive=True)),
        (no_queue("nothing"), lambda channel: no_such_queue(channel).get()),
        (no_queue("nothing"), lambda channel: Inbox(no_such_queue(channel))),
        (no_queue("nothing"), lambda channel: no_such_queue(channel).purge()),
        (no_queue("nothing"), lambda channel: no_such_queue(channel).bind_to(exchange, "key")),
        (no_exchange("nothing"), lambda channel: queue(channel).bind_to(no_such_exchange, "key")),
        (no_exchange("nothing"), lambda channel: no_such_exchange(channel).declare(passive=True)),
        (no_exchange("nothing"), lambda channel: exchange(channel).bind_to(no_such_exchange, "key")),
        (no_exchange("nothing"), lambda channel: no_such_exchange(channel).bind_to(exchange, "key")),
        (no_exchange("nothing"), publish_and_ask),
        ("NOT_FOUND - no previously declared queue", lambda channel: Inbox(Queue("")(channel))),
    ):
        with channel_error(connection, 404, text):
            attempt(connection.channel())


@scenario
def access_refused(session):
    """kombu cannot declare an exchange internal; this one is there in every vhost."""
    connection = session.connect()
    queue = session.queue(connection.channel())
    internal = "amq.rabbitmq.trace"
    default_exchange = "ACCESS_REFUSED - operation not permitted on the default exchange"

    def publish_and_ask(channel):
        publish(channel, "refused", "key", internal)
        queue(channel).queue_declare(passive=True)

    for text, attempt in (
        (
            "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'",
            lambda channel: Queue("amq.interop")(channel).declare(),
        ),
        (
            "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'",
            lambda channel: channel.exchange_declare("amq.interop", "direct"),
        ),
        (default_exchange, lambda channel: queue(channel).bind_to(Exchange(""), "key")),
        (default_exchange, lambda channel: queue(channel).unbind_from(Exchange(""), "key")),
        (default_exchange, lambda channel: Exchange("")(channel).delete()),
        (f"ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'", publish_and_ask),
    ):
        with channel_error(connection, 403, text):
            attempt(connection.channel())


@scenario
def resource_locked(session):
    queue = session.queue(session.channel(), exclusive=True)
    intruder = session.connect()
    text = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue.name}' in vhost '/'. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration."
    )
    for attempt in (
        lambda theirs: theirs.declare(),
        lambda theirs: theirs.queue_declare(passive=True),
        lambda theirs: theirs.get(),
        lambda theirs: Inbox(theirs),
        lambda theirs: theirs.purge(),
        lambda theirs: theirs.delete(),
        lambda theirs: theirs.bind_to("amq.fanout"),
    ):
        with channel_error(intruder, 405, text[:255]):
            attempt(queue(intruder.channel()))
    send(queue, "mine")
    equal(drain(queue), ["mine"], "messages of the owner")


@scenario
def precondition_failed(session):
    connection = session.connect()
    owner = connection.channel()
    exchange = session.exchange(owner, "fanout")
    queue = session.queue(owner, exchange=exchange)

    def acknowledge(channel, *tags):
        for tag in tags:
            channel.basic_ack(tag)
        queue(channel).queue_declare(passive=True)

    with channel_error(connection, 406, "PRECONDITION_FAILED - unknown delivery tag 99"):
        acknowledge(connection.channel(), 99)
    with channel_error(connection, 406, "PRECONDITION_FAILED - unknown delivery tag 1"):
        channel = connection.channel()
        send(queue(channel), "once")
        receive(queue(channel), no_ack=False)
        acknowledge(channel, 1, 1)
    send(queue, "kept")
    await_ready(queue, 1)
    with channel_error(connection, 406, f"PRECONDITION_FAILED - queue '{queue.name}' in vhost '/' not empty"):
        queue(connection.channel()).delete(if_empty=True)
    Inbox(queue)
    with channel_error(connection, 406, f"PRECONDITION_FAILED - queue '{queue.name}' in vhost '/' in use"):
        queue(connection.channel()).delete(if_unused=True)
    with channel_error(connection, 406, f"PRECONDITION_FAILED - exchange '{exchange.name}' in vhost '/' in use"):
        exchange(connection.channel()).delete(if_unused=True)


@scenario
def duplicate_consumer_tag(session):
    bystander = session.queue(session.channel())
    inbox = Inbox(bystander)
    channel = session.channel()
    mine = bystander(channel)
    mine.consume("twice", callback=lambda message: None)
    with connection_error(530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'"):
        mine.consume("twice", callback=lambda message: None)
    send(bystander, "untouched")
    equal(inbox.bodies(1), ["untouched"], "messages of another connection")


@scenario
def not_implemented(session):
    bystander = session.queue(session.channel())
    for text, attempt in (
        ("prefetch_size!=0 (1024)", lambda consumer: consumer.qos(prefetch_size=1024)),
        ("requeue=false", recover_and_ask),
        ("active=false", lambda consumer: consumer.flow(False)),
    ):
        with connection_error(540, f"NOT_IMPLEMENTED - {text}"):
            attempt(Inbox(bystander(session.channel())).consumer)
    send(bystander, "untouched")
    equal(drain(bystander), ["untouched"], "messages of another connection")


def recover_and_ask(consumer):
    """py-amqp does not wait for an answer to recover."""
    consumer.recover(requeue=False)
    consumer.qos(prefetch_count=1)
