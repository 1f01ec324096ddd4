import threading

from harness import Inbox, await_ready, drain, exists, publish, redelivered, send
from kombu import Connection, Producer
from kombu.mixins import ConsumerMixin
from kombu.pools import producers, reset
from playing import equal, scenario

PUBLISHERS = 8
MESSAGES_EACH = 1000
RECONNECT = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1}


@scenario
def concurrent_publishing(session):
    """The threads share kombu's pool of producers, which has a connection for each."""
    queue = session.queue(session.channel())
    pool = producers[Connection(session.url, transport_options={"confirm_publish": True})]
    failures = []

    def publish_confirmed(publisher):
        try:
            with pool.acquire(block=True) as producer:
                for n in range(MESSAGES_EACH):
                    producer.publish(f"{publisher} {n}", routing_key=queue.name)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=publish_confirmed, args=(n,), daemon=True) for n in range(PUBLISHERS)]
    for thread in threads:
        thread.start()
    inbox = Inbox(queue, no_ack=True)
    received = [[] for _ in threads]
    for body in inbox.bodies(PUBLISHERS * MESSAGES_EACH):
        publisher, number = map(int, body.split())
        received[publisher].append(number)
    for thread in threads:
        thread.join()
    reset()
    equal(failures, [], "failures of publishers")
    for publisher, numbers in enumerate(received):
        equal(numbers == list(range(MESSAGES_EACH)), True, f"publisher {publisher} arrived in order, once each")


@scenario
def slow_consumer(session):
    publisher = session.channel()
    slow_queue, fast_queue = session.queue(publisher, "slow"), session.queue(publisher, "fast")
    slow = Inbox(slow_queue(session.channel()), prefetch=20)
    padding = "." * 4096
    send(slow_queue, *(f"{n} {padding}" for n in range(2000)))

    fast = Inbox(fast_queue(session.channel()), no_ack=True)
    send(fast_queue, *(str(n) for n in range(5000)))
    equal(fast.bodies(5000), [str(n) for n in range(5000)], "the fast consumer's messages")

    slow.wait(20)
    await_ready(slow_queue, 1980)
    settled = 0
    while settled < 2000:
        slow.wait(settled + 1)
        settled = len(slow.messages)
        slow.messages[-1].ack(multiple=True)
    equal([int(body.split()[0]) for body in slow.bodies()], list(range(2000)), "the slow consumer's messages")


@scenario
def unread_consumer(session):
    """kombu reads only while events are drained, so the unread messages fill the sockets' buffers."""
    publisher = session.channel()
    unread_queue, fast_queue = session.queue(publisher, "unread"), session.queue(publisher, "fast")
    unread = Inbox(unread_queue(session.channel()), no_ack=True)
    padding = "." * 32768
    send(unread_queue, *(f"{n} {padding}" for n in range(2000)))

    fast = Inbox(fast_queue(session.channel()), no_ack=True)
    send(fast_queue, *(str(n) for n in range(5000)))
    equal(fast.bodies(5000), [str(n) for n in range(5000)], "the fast consumer's messages")

    received = [int(body.split()[0]) for body in unread.bodies(2000)]
    equal(received, list(range(2000)), "the messages read at last")


def await_lost(connection):
    """Drains events until the broker has closed the connection."""
    try:
        while True:
            connection.drain_events()
    except connection.connection_errors:
        connection.collect()


@scenario
def survives_restart(session):
    connection = session.connect(transport_options={"confirm_publish": True})
    channel = connection.channel()
    exchange = session.exchange(channel, "direct", durable=True)
    queue = session.queue(channel, exchange=exchange, routing_key="key", durable=True)
    for body in "12345":
        publish(channel, body, "key", exchange, delivery_mode="persistent")
    Inbox(queue, prefetch=2).wait(2)
    session.ask("restart")
    await_lost(connection)
    connection.ensure_connection(timeout=40, **RECONNECT)
    queue = queue(connection.channel())
    equal(exists(queue), True, "the queue is there")
    await_ready(queue, 5)
    expected = [(body, body in "12") for body in "12345"]
    equal(redelivered(queue), expected, "messages, and which were delivered before")
    publish(queue.channel, "after", "key", exchange)
    equal(drain(queue), ["after"], "messages over the binding")


class Worker(ConsumerMixin):
    """Declares what it needs and publishes five messages to itself each time it has connected, which is twice."""

    prefetch = 2

    def __init__(self, session, queue, producer):
        self.connection = Connection(session.url)
        self.lives = 0
        self.received = []
        self._session = session
        self._queue = queue
        self._producer = producer

    def get_consumers(self, Consumer, channel):
        return [Consumer([self._queue], on_message=self._on_message, prefetch_count=self.prefetch)]

    def on_consume_ready(self, connection, channel, consumers, **options):
        self.lives += 1
        self.received = []
        for n in range(1, 6):
            body = f"{n} in life {self.lives}"
            self._producer.publish(body, routing_key="key", retry=True, retry_policy=RECONNECT)

    def _on_message(self, message):
        self.received.append(message)
        if len(self.received) < self.prefetch:
            return
        if len(self.received) == self.prefetch:
            await_ready(self._queue(self._session.channel()), 5 - self.prefetch)
            if self.lives == 1:
                self._session.ask("restart")
                return
            self.received[0].ack()
        message.ack()
        self.should_stop = len(self.received) == 5


@scenario
def automatic_recovery(session):
    """Exchange and queue are not durable, so that they are there again only because the client declares them."""
    setup = session.channel()
    exchange = session.exchange(setup, "direct")
    queue = session.queue(setup, exchange=exchange, routing_key="key")
    worker = Worker(session, queue, Producer(session.connect(), exchange=exchange))
    worker.run()
    equal(worker.lives, 2, "lives of the worker")
    received = [message.payload for message in worker.received]
    equal(received, [f"{n} in life 2" for n in range(1, 6)], "messages after the restart")
