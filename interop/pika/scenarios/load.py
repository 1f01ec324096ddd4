import threading

import pika
from harness import Inbox, await_ready, close_if_open, publish
from pika.exceptions import AMQPConnectionError
from playing import equal, lacking, scenario

PUBLISHERS = 8
MESSAGES_EACH = 1000


@scenario
def concurrent_publishing(session):
    """A connection for each thread, as pika asks of its users."""
    channel = session.channel()
    queue = session.shared_queue(channel)
    failures = []

    def publish_confirmed(publisher):
        try:
            connection = pika.BlockingConnection(pika.URLParameters(session.url))
            own = connection.channel()
            own.confirm_delivery()
            for n in range(MESSAGES_EACH):
                own.basic_publish("", queue, f"{publisher} {n}")
            connection.close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=publish_confirmed, args=(n,), daemon=True) for n in range(PUBLISHERS)]
    for thread in threads:
        thread.start()
    inbox = Inbox(channel, queue, auto_ack=True)
    received = [[] for _ in threads]
    for body in inbox.bodies(PUBLISHERS * MESSAGES_EACH):
        publisher, number = map(int, body.split())
        received[publisher].append(number)
    for thread in threads:
        thread.join()
    equal(failures, [], "failures of publishers")
    for publisher, numbers in enumerate(received):
        equal(numbers == list(range(MESSAGES_EACH)), True, f"publisher {publisher} arrived in order, once each")


@scenario
def slow_consumer(session):
    setup = session.channel()
    slow_queue, fast_queue = session.shared_queue(setup, "slow"), session.shared_queue(setup, "fast")
    slow = session.channel()
    slow.basic_qos(prefetch_count=20)
    slow_inbox = Inbox(slow, slow_queue)
    publisher = session.channel()
    padding = "." * 4096
    publish(publisher, slow_queue, *(f"{n} {padding}" for n in range(2000)))

    fast_inbox = Inbox(session.channel(), fast_queue, auto_ack=True)
    publish(publisher, fast_queue, *(str(n) for n in range(5000)))
    equal(fast_inbox.bodies(5000), [str(n) for n in range(5000)], "the fast consumer's messages")

    slow_inbox.wait(20)
    await_ready(publisher, slow_queue, 1980)
    settled = 0
    while settled < 2000:
        slow_inbox.wait(settled + 1)
        slow.basic_ack(slow_inbox.tags()[-1], multiple=True)
        settled = len(slow_inbox.messages)
    equal([int(body.split()[0]) for body in slow_inbox.bodies()], list(range(2000)), "the slow consumer's messages")


@scenario
def unread_consumer(session):
    """pika reads only while its connection is worked on, so the unread messages fill the sockets' buffers."""
    setup = session.channel()
    unread_queue, fast_queue = session.shared_queue(setup, "unread"), session.shared_queue(setup, "fast")
    unread_inbox = Inbox(session.channel(), unread_queue, auto_ack=True)
    publisher = session.channel()
    padding = "." * 32768
    publish(publisher, unread_queue, *(f"{n} {padding}" for n in range(2000)))

    fast_inbox = Inbox(session.channel(), fast_queue, auto_ack=True)
    publish(publisher, fast_queue, *(str(n) for n in range(5000)))
    equal(fast_inbox.bodies(5000), [str(n) for n in range(5000)], "the fast consumer's messages")

    received = [int(body.split()[0]) for body in unread_inbox.bodies(2000)]
    equal(received, list(range(2000)), "the messages read at last")


@scenario
def survives_restart(session):
    connection = session.connect()
    channel = connection.channel()
    channel.confirm_delivery()
    exchange = session.exchange(channel, "direct", durable=True)
    queue = session.shared_queue(channel, durable=True)
    channel.queue_bind(queue, exchange, "key")
    persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    for n in range(5):
        channel.basic_publish(exchange, "key", str(n), persistent)
    channel.basic_publish(exchange, "key", "transient")
    for _ in range(2):
        channel.basic_get(queue)
    session.ask("restart")
    await_death(connection)

    channel = session.reconnect().channel()
    channel.basic_publish(exchange, "key", "5", persistent)
    inbox = Inbox(channel, queue)
    equal(inbox.bodies(6), list("012345"), "messages after the restart")
    equal(inbox.flags(), [True] * 2 + [False] * 4, "redelivered")


def await_death(connection):
    try:
        while True:
            connection.process_data_events(time_limit=1)
    except AMQPConnectionError:
        close_if_open(connection)


lacking("automatic_recovery", "pika never connects again by itself; its users write that loop")
