"""What every scenario needs: a registry, a deadline, connections that are closed behind it, and exact comparisons."""

import contextlib
import time
import uuid

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker
from playing import deadline, equal, report

RECONNECT_TIMEOUT_S = 40


def run(function, name, url):
    with deadline(), Session(name, url) as session:
        function(session)


class Session:
    """One scenario's view of the broker: its connections, and names that nothing else uses."""

    def __init__(self, scenario_name, url):
        self.scenario_name = scenario_name
        self.url = url
        self.parameters = pika.URLParameters(url)
        self._token = uuid.uuid4().hex[:8]
        self._cleanup = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self._cleanup.close()

    def ask(self, what):
        """Asks the runner to do something to the broker: stop, restart, block or unblock."""
        report(self.scenario_name, what)

    def connect(self, **options):
        parameters = pika.URLParameters(self.url)
        for option, value in options.items():
            setattr(parameters, option, value)
        connection = pika.BlockingConnection(parameters)
        self._cleanup.callback(close_if_open, connection)
        return connection

    def channel(self):
        """A channel on a connection of its own."""
        return self.connect().channel()

    def confirming_channel(self):
        """A channel that returns from a publish when the queue has the message."""
        channel = self.channel()
        channel.confirm_delivery()
        return channel

    def reconnect(self):
        """A connection to a broker that is being restarted."""
        until = time.monotonic() + RECONNECT_TIMEOUT_S
        while True:
            try:
                return self.connect()
            except pika.exceptions.AMQPConnectionError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def name(self, label):
        return f"interop.{self.scenario_name}.{label}.{self._token}"

    def queue(self, channel, label="queue", **options):
        """Declares a queue that goes with the channel's connection."""
        name = self.name(label)
        channel.queue_declare(name, **{"exclusive": True, **options})
        return name

    def shared_queue(self, channel, label="queue", **options):
        """Declares a queue that any connection may use, deleted after the scenario."""
        name = self.name(label)
        channel.queue_declare(name, **options)
        self._cleanup.callback(self._delete, lambda ch: ch.queue_delete(name))
        return name

    def exchange(self, channel, exchange_type, label="exchange", **options):
        """Declares an exchange, deleted after the scenario."""
        name = self.name(label)
        channel.exchange_declare(name, exchange_type, **options)
        self._cleanup.callback(self._delete, lambda ch: ch.exchange_delete(name))
        return name

    def _delete(self, deletion):
        with contextlib.suppress(pika.exceptions.AMQPError):
            connection = pika.BlockingConnection(pika.URLParameters(self.url))
            deletion(connection.channel())
            connection.close()


def close_if_open(connection):
    if connection.is_open:
        with contextlib.suppress(pika.exceptions.AMQPError):
            connection.close()


class Inbox:
    """A consumer that keeps what it receives, for a test to wait on."""

    def __init__(self, channel, queue, **options):
        self.channel = channel
        self.messages = []
        self.tag = channel.basic_consume(queue, self._on_message, **options)

    def _on_message(self, _channel, method, properties, body):
        self.messages.append((method, properties, body))

    def wait(self, count):
        """The first `count` messages, awaited."""
        while len(self.messages) < count:
            self.channel.connection.process_data_events(time_limit=1)
        return self.messages[:count]

    def bodies(self, count=None):
        messages = self.messages if count is None else self.wait(count)
        return [body.decode() for _, _, body in messages]

    def flags(self):
        return [method.redelivered for method, _, _ in self.messages]

    def tags(self):
        return [method.delivery_tag for method, _, _ in self.messages]


def publish(channel, queue, *bodies):
    for body in bodies:
        channel.basic_publish("", queue, body)


def drain(channel, queue):
    """Takes everything out of a queue with get, and returns the bodies."""
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body.decode())


def await_ready(channel, queue, count):
    """RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue."""

    def ready():
        return channel.queue_declare(queue, passive=True).method.message_count

    eventually(lambda: ready() == count, channel.connection, f"{count} messages ready")


@contextlib.contextmanager
def channel_error(code, text):
    try:
        yield
    except ChannelClosedByBroker as error:
        equal((error.reply_code, error.reply_text), (code, text), "channel error")
    else:
        raise AssertionError(f"expected the channel to close with {code} {text}")


@contextlib.contextmanager
def connection_error(code, text):
    try:
        yield
    except ConnectionClosedByBroker as error:
        equal((error.reply_code, error.reply_text), (code, text), "connection error")
    else:
        raise AssertionError(f"expected the connection to close with {code} {text}")


def eventually(condition, connection, what, seconds=5):
    """For what the broker finishes in the background without telling anybody."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not so after {seconds} s")
        connection.process_data_events(time_limit=0.02)
