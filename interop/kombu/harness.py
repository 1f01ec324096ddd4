"""What every scenario needs: a registry, a deadline, connections that are closed behind it, and exact comparisons."""

import contextlib
import threading
import time
import uuid
from urllib.parse import urlsplit

from amqp.exceptions import AMQPError, ChannelError, ConnectionError
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.exceptions import OperationalError
from kombu.mixins import ConsumerProducerMixin
from playing import deadline, equal, report

BACKGROUND_TIMEOUT_S = 10


def run(function, name, url):
    with deadline(), Session(name, url) as session:
        function(session)


class Session:
    """One scenario's view of the broker: its connections, and names that nothing else uses."""

    def __init__(self, scenario_name, url):
        self.scenario_name = scenario_name
        self.url = url
        self.address = urlsplit(url)
        self._token = uuid.uuid4().hex[:8]
        self._declared = []
        self._cleanup = contextlib.ExitStack()

    def __enter__(self):
        self._cleanup.callback(self._delete_declared)
        return self

    def __exit__(self, *failure):
        self._cleanup.close()

    def ask(self, what):
        """Asks the runner to do something to the broker: stop, restart, block or unblock."""
        report(self.scenario_name, what)

    def connect(self, **options):
        connection = Connection(self.url, **options)
        connection.connect()
        self._cleanup.callback(connection.release)
        return connection

    def channel(self):
        """A channel on a connection of its own."""
        return self.connect().channel()

    def name(self, label):
        return f"interop.{self.scenario_name}.{label}.{self._token}"

    def queue(self, channel, label="queue", exchange=None, **options):
        """Declares a queue, deleted after the scenario, and binds it if an exchange is given."""
        queue = Queue(self.name(label), exchange, **{"durable": False, **options})(channel)
        self._declared.append(queue)
        queue.declare()
        return queue

    def exchange(self, channel, exchange_type, label="exchange", **options):
        """Declares an exchange, deleted after the scenario."""
        exchange = Exchange(self.name(label), exchange_type, **{"durable": False, **options})(channel)
        self._declared.append(exchange)
        exchange.declare()
        return exchange

    @contextlib.contextmanager
    def server(self, queue, answer):
        """Serves the queue in a thread: what `answer` makes of a message goes where the message wants it."""
        server = Server(Connection(self.url), queue.name, answer)
        thread = threading.Thread(target=server.run, kwargs={"safety_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.should_stop = True
            thread.join()

    def _delete_declared(self):
        with contextlib.suppress(AMQPError, OperationalError), Connection(self.url) as connection:
            channel = connection.ensure_connection(max_retries=1, interval_start=0).channel()
            for entity in self._declared:
                entity(channel).delete()


class Server(ConsumerProducerMixin):
    def __init__(self, connection, queue_name, answer):
        self.connection = connection
        self._queue = Queue(queue_name, no_declare=True)
        self._answer = answer

    def get_consumers(self, Consumer, channel):
        return [Consumer([self._queue], on_message=self._on_message, prefetch_count=1)]

    def _on_message(self, message):
        self.producer.publish(
            self._answer(message.payload),
            exchange="",
            routing_key=message.properties["reply_to"],
            correlation_id=message.properties["correlation_id"],
        )
        message.ack()


class Inbox:
    """A consumer that keeps what it receives, for a test to wait on."""

    def __init__(self, queue, prefetch=None, **options):
        self.channel = queue.channel
        self.messages = []
        self.consumer = Consumer(
            self.channel,
            [queue],
            on_message=self.messages.append,
            auto_declare=False,
            prefetch_count=prefetch,
            tag_prefix="inbox-",
            **options,
        )
        self.consumer.consume()

    def wait(self, count):
        """The first `count` messages, awaited."""
        while len(self.messages) < count:
            self.channel.connection.drain_events()
        return self.messages[:count]

    def bodies(self, count=None):
        return [message.payload for message in (self.messages if count is None else self.wait(count))]

    def flags(self):
        return [message.delivery_info["redelivered"] for message in self.messages]

    def tags(self):
        return [message.delivery_tag for message in self.messages]


def publish(channel, body, routing_key="", exchange="", **options):
    name = exchange.name if isinstance(exchange, Exchange) else exchange
    Producer(channel).publish(body, routing_key=routing_key, exchange=name, **options)


def send(queue, *bodies, **options):
    """Publishes to a queue over the channel that it is bound to."""
    for body in bodies:
        publish(queue.channel, body, queue.name, **options)


def receive(queue, no_ack=True):
    """The message that get brings, which has to be there."""
    message = queue.get(no_ack=no_ack)
    if message is None:
        raise AssertionError(f"nothing in {queue.name}")
    return message


def receive_all(queue):
    """Takes everything out of a queue with get."""
    return list(iter(lambda: queue.get(no_ack=True), None))


def drain(queue):
    """Takes everything out of a queue with get, and returns the bodies."""
    return [message.payload for message in receive_all(queue)]


def redelivered(queue):
    """Takes everything out with get: the bodies, each with its redelivered flag."""
    return [(message.payload, message.delivery_info["redelivered"]) for message in receive_all(queue)]


def ready(queue):
    return queue.queue_declare(passive=True).message_count


def await_ready(queue, count):
    """RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue."""
    eventually(lambda: ready(queue) == count, f"{count} messages ready")


def exists(queue):
    try:
        queue.queue_declare(passive=True)
    except ChannelError as error:
        equal((error.reply_code, error.reply_text), (404, no_queue(queue.name)), "passive declare")
        return False
    return True


def no_queue(name):
    return f"NOT_FOUND - no queue '{name}' in vhost '/'"


def no_exchange(name):
    return f"NOT_FOUND - no exchange '{name}' in vhost '/'"


@contextlib.contextmanager
def channel_error(connection, code, text):
    """py-amqp tells by the code what was closed, so the connection must be seen to be there still."""
    try:
        yield
    except ChannelError as error:
        equal((error.reply_code, error.reply_text), (code, text), "channel error")
        equal(connection.connected, True, "connected after the channel error")
    else:
        raise AssertionError(f"expected the channel to close with {code} {text}")


@contextlib.contextmanager
def connection_error(code, text):
    try:
        yield
    except ConnectionError as error:
        equal((error.reply_code, error.reply_text), (code, text), "connection error")
    else:
        raise AssertionError(f"expected the connection to close with {code} {text}")


def eventually(condition, what, interval_s=0.02):
    """For what the broker finishes in the background without telling anybody."""
    until = time.monotonic() + BACKGROUND_TIMEOUT_S
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not so after {BACKGROUND_TIMEOUT_S} s")
        time.sleep(interval_s)
