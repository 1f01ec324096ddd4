"""What every scenario needs: a registry, a deadline, connections that are closed behind it, and exact comparisons."""

import asyncio
import contextlib
import logging
import time
import uuid

import aio_pika
from aio_pika import Message
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from playing import SCENARIO_TIMEOUT_S, equal, report, where

CLEANUP_TIMEOUT_S = 10
RECONNECT_TIMEOUT_S = 40


async def play_scenario(function, name, url):
    async with Session(name, url) as session:
        deadline = asyncio.timeout(SCENARIO_TIMEOUT_S)
        try:
            async with deadline:
                await function(session)
        except TimeoutError as timeout:
            if not deadline.expired():
                raise
            raise AssertionError(f"not done after {SCENARIO_TIMEOUT_S} s{where(timeout.__context__)}") from timeout


def run(function, name, url):
    asyncio.run(play_scenario(function, name, url))


class Session:
    """One scenario's view of the broker: its connections, and names that nothing else uses."""

    def __init__(self, scenario_name, url):
        self.scenario_name = scenario_name
        self.url = url
        self._token = uuid.uuid4().hex[:8]
        self._connections = contextlib.AsyncExitStack()
        self._deletions = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *failure):
        with contextlib.suppress(TimeoutError, *CONNECTION_EXCEPTIONS):
            async with asyncio.timeout(CLEANUP_TIMEOUT_S):
                await self._connections.aclose()
                if self._deletions:
                    await self._delete()

    async def _delete(self):
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for delete, name in reversed(self._deletions):
                await delete(channel, name)

    def ask(self, what):
        """Asks the runner to do something to the broker: stop, restart, block or unblock."""
        report(self.scenario_name, what)

    async def connect(self, **options):
        connection = await aio_pika.connect(self.url, **options)
        return await self._connections.enter_async_context(connection)

    async def connect_robust(self, **options):
        connection = await aio_pika.connect_robust(self.url, **options)
        return await self._connections.enter_async_context(connection)

    async def channel(self, **options):
        """A channel on a connection of its own."""
        connection = await self.connect()
        return await connection.channel(**options)

    async def reconnect(self):
        """A connection to a broker that is being restarted."""
        until = time.monotonic() + RECONNECT_TIMEOUT_S
        while True:
            try:
                return await self.connect()
            except CONNECTION_EXCEPTIONS:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)

    def name(self, label):
        return f"interop.{self.scenario_name}.{label}.{self._token}"

    async def queue(self, channel, label="queue", **options):
        """Declares a queue that goes with the channel's connection."""
        return await channel.declare_queue(self.name(label), **{"exclusive": True, **options})

    async def shared_queue(self, channel, label="queue", **options):
        """Declares a queue that any connection may use, deleted after the scenario."""
        queue = await channel.declare_queue(self.name(label), **options)
        self._deletions.append((aio_pika.Channel.queue_delete, queue.name))
        return queue

    async def exchange(self, channel, exchange_type, label="exchange", **options):
        """Declares an exchange, deleted after the scenario."""
        exchange = await channel.declare_exchange(self.name(label), exchange_type, **options)
        self._deletions.append((aio_pika.Channel.exchange_delete, exchange.name))
        return exchange


class Inbox:
    """A consumer that keeps what it receives, for a test to wait on."""

    def __init__(self, queue):
        self.queue = queue
        self.messages = []
        self._arrived = asyncio.Event()

    @classmethod
    async def open(cls, queue, **options):
        inbox = cls(queue)
        inbox.tag = await queue.consume(inbox._on_message, **options)
        return inbox

    async def _on_message(self, message):
        self.messages.append(message)
        self._arrived.set()

    async def wait(self, count):
        """The first `count` messages, awaited."""
        while len(self.messages) < count:
            self._arrived.clear()
            await self._arrived.wait()
        return self.messages[:count]

    async def cancel(self):
        await self.queue.cancel(self.tag)

    async def bodies(self, count):
        return [text(message) for message in await self.wait(count)]

    def flags(self):
        return [message.redelivered for message in self.messages]


def text(message):
    return message.body.decode()


async def elsewhere(channel, queue):
    """The queue as another channel sees it, without asking the broker."""
    return await channel.get_queue(queue.name, ensure=False)


async def publish(channel, queue, *bodies, **properties):
    """Publishes to a queue without waiting in between; on a channel with confirms they are there at the end."""
    await publish_to(channel.default_exchange, queue.name, *bodies, **properties)


async def publish_to(exchange, key, *bodies, mandatory=False, **properties):
    await asyncio.gather(
        *(exchange.publish(Message(body.encode(), **properties), key, mandatory=mandatory) for body in bodies)
    )


async def drain(queue):
    """Takes everything out of a queue with get, and returns the bodies."""
    bodies = []
    while message := await queue.get(no_ack=True, fail=False):
        bodies.append(text(message))
    return bodies


async def await_ready(channel, queue, count):
    """Settling is not answered, so what it does to a queue shows after a while only."""

    async def is_ready():
        declared = await channel.declare_queue(queue.name, passive=True)
        return declared.declaration_result.message_count == count

    await eventually(is_ready, f"{count} messages ready")


async def eventually(condition, what, seconds=5):
    """For what the broker finishes in the background without telling anybody."""
    until = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not so after {seconds} s")
        await asyncio.sleep(0.02)


def in_thread(coroutine):
    """Starts a client with an event loop of its own, so that it can be blocked while the scenario goes on."""

    async def bounded():
        async with asyncio.timeout(SCENARIO_TIMEOUT_S):
            return await coroutine

    return asyncio.create_task(asyncio.to_thread(asyncio.run, bounded()))


@contextlib.contextmanager
def refused(error_class, *arguments):
    """The client has a class of errors for each reply code, with the broker's text as argument."""
    try:
        yield
    except error_class as error:
        equal((type(error), error.args), (error_class, arguments), "error")
    else:
        raise AssertionError(f"expected {error_class.__name__} {arguments}")


def closing(resource):
    """A future of the error with which a connection or channel closes."""
    closed = asyncio.get_running_loop().create_future()

    def on_close(_resource, error):
        if not closed.done():
            closed.set_result(error)

    resource.close_callbacks.add(on_close)
    return closed


@contextlib.asynccontextmanager
async def closes(channel, error_class, *arguments):
    """For what is not answered, so that only the channel's end tells of the error."""
    closed = closing(channel)
    yield
    error = await closed
    equal((type(error), error.args), (error_class, arguments), "channel error")


class Log(logging.Handler):
    """What the client logs about its connections, for what it tells its users in no other way."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.records = []

    def __enter__(self):
        logging.getLogger("aiormq").addHandler(self)
        return self

    def __exit__(self, *failure):
        logging.getLogger("aiormq").removeHandler(self)

    def emit(self, record):
        self.records.append(record)
