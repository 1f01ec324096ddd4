from harness import Inbox, await_ready, channel_error, connection_error, drain, publish
from playing import equal, lacking, scenario


@scenario
def channel_open_close(session):
    connection = session.connect()
    for _ in range(200):
        channel = connection.channel()
        equal(channel.channel_number, 1, "channel number")
        channel.close()


@scenario
def thousand_channels(session):
    connection = session.connect()
    publisher = session.channel()
    queue = session.shared_queue(publisher)
    inboxes = []
    for _ in range(1000):
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        inboxes.append(Inbox(channel, queue))
    publish(publisher, queue, *(str(n) for n in range(1000)))
    for inbox in inboxes:
        inbox.wait(1)
    received = sorted(int(body) for inbox in inboxes for body in inbox.bodies())
    equal(received, list(range(1000)), "messages over all channels")
    for inbox in inboxes:
        inbox.channel.basic_ack(1)
        inbox.channel.close()
    equal(drain(publisher, queue), [], "messages left")


@scenario
def error_closes_only_the_channel(session):
    connection = session.connect()
    healthy, faulty = connection.channel(), connection.channel()
    queue = session.queue(healthy, "healthy")
    inbox = Inbox(healthy, queue)
    held = session.queue(healthy, "held")
    publish(faulty, held, "unsettled")
    faulty.basic_get(held)
    number = faulty.channel_number
    with channel_error(404, "NOT_FOUND - no queue 'nothing' in vhost '/'"):
        faulty.queue_declare("nothing", passive=True)
    publish(healthy, queue, "still here")
    equal(inbox.bodies(1), ["still here"], "messages of the other channel")
    equal(connection.channel(number).channel_number, number, "number used again")
    method, _, body = healthy.basic_get(held, auto_ack=True)
    equal((body, method.redelivered), (b"unsettled", True), "message of the closed channel")


@scenario
def not_found(session):
    connection = session.connect()
    owner = connection.channel()
    queue = session.queue(owner)
    exchange = session.exchange(owner, "direct")
    no_queue = "NOT_FOUND - no queue 'nothing' in vhost '/'"
    no_exchange = "NOT_FOUND - no exchange 'nothing' in vhost '/'"

    def publish_and_ask(channel):
        channel.basic_publish("nothing", "key", b"lost")
        channel.queue_declare(queue, passive=True)

    for text, attempt in (
        (no_queue, lambda channel: channel.queue_declare("nothing", passive=True)),
        (no_queue, lambda channel: channel.basic_get("nothing")),
        (no_queue, lambda channel: Inbox(channel, "nothing")),
        (no_queue, lambda channel: channel.queue_purge("nothing")),
        (no_queue, lambda channel: channel.queue_bind("nothing", exchange, "key")),
        (no_exchange, lambda channel: channel.queue_bind(queue, "nothing", "key")),
        (no_exchange, lambda channel: channel.exchange_declare("nothing", passive=True)),
        (no_exchange, lambda channel: channel.exchange_bind(exchange, "nothing", "key")),
        (no_exchange, publish_and_ask),
        ("NOT_FOUND - no previously declared queue", lambda channel: Inbox(channel, "")),
    ):
        with channel_error(404, text):
            attempt(connection.channel())
    equal(connection.is_open, True, "connection open")


@scenario
def access_refused(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    internal = session.exchange(connection.channel(), "fanout", internal=True)
    default_exchange = "ACCESS_REFUSED - operation not permitted on the default exchange"

    def publish_and_ask(channel):
        channel.basic_publish(internal, "key", b"refused")
        channel.queue_declare(queue, passive=True)

    for text, attempt in (
        (
            "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'",
            lambda channel: channel.queue_declare("amq.interop"),
        ),
        (
            "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'",
            lambda channel: channel.exchange_declare("amq.interop", "direct"),
        ),
        (default_exchange, lambda channel: channel.queue_bind(queue, "", "key")),
        (default_exchange, lambda channel: channel.queue_unbind(queue, "", "key")),
        (default_exchange, lambda channel: channel.exchange_delete("")),
        (f"ACCESS_REFUSED - cannot publish to internal exchange '{internal}' in vhost '/'", publish_and_ask),
    ):
        with channel_error(403, text):
            attempt(connection.channel())


@scenario
def resource_locked(session):
    owner = session.channel()
    queue = session.queue(owner)
    intruder = session.connect()
    text = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration."
    )
    for attempt in (
        lambda channel: channel.queue_declare(queue, exclusive=True),
        lambda channel: channel.queue_declare(queue, passive=True),
        lambda channel: channel.basic_get(queue),
        lambda channel: Inbox(channel, queue),
        lambda channel: channel.queue_purge(queue),
        lambda channel: channel.queue_delete(queue),
        lambda channel: channel.queue_bind(queue, "amq.fanout", ""),
    ):
        with channel_error(405, text[:255]):
            attempt(intruder.channel())
    publish(owner, queue, "mine")
    equal(drain(owner, queue), ["mine"], "messages of the owner")


@scenario
def precondition_failed(session):
    connection = session.connect()
    owner = connection.channel()
    queue = session.queue(owner)
    exchange = session.exchange(owner, "fanout")
    owner.queue_bind(queue, exchange)

    def acknowledge(channel, *tags):
        for tag in tags:
            channel.basic_ack(tag)
        channel.queue_declare(queue, passive=True)

    with channel_error(406, "PRECONDITION_FAILED - unknown delivery tag 99"):
        acknowledge(connection.channel(), 99)
    with channel_error(406, "PRECONDITION_FAILED - unknown delivery tag 1"):
        channel = connection.channel()
        publish(channel, queue, "once")
        channel.basic_get(queue)
        acknowledge(channel, 1, 1)
    publish(owner, queue, "kept")
    await_ready(owner, queue, 1)
    with channel_error(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"):
        connection.channel().queue_delete(queue, if_empty=True)
    Inbox(owner, queue)
    with channel_error(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"):
        connection.channel().queue_delete(queue, if_unused=True)
    with channel_error(406, f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use"):
        connection.channel().exchange_delete(exchange, if_unused=True)


lacking("duplicate_consumer_tag", "pika refuses the second use itself, before the broker sees it")


@scenario
def not_implemented(session):
    bystander = session.channel()
    queue = session.queue(bystander)
    with connection_error(540, "NOT_IMPLEMENTED - prefetch_size!=0 (1024)"):
        session.channel().basic_qos(prefetch_size=1024)
    with connection_error(540, "NOT_IMPLEMENTED - requeue=false"):
        session.channel().basic_recover(requeue=False)
    with connection_error(540, "NOT_IMPLEMENTED - active=false"):
        session.channel().flow(False)
    publish(bystander, queue, "untouched")
    equal(drain(bystander, queue), ["untouched"], "messages of another connection")
