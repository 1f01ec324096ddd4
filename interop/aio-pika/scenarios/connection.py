import asyncio
import re
import threading

import aio_pika
from aio_pika.exceptions import AMQPConnectionError, ConnectionClosed, ProbableAuthenticationError
from harness import Inbox, await_ready, closing, drain, elsewhere, in_thread, publish, refused
from playing import equal, lacking, scenario
from yarl import URL

LOGIN_REFUSED = (
    "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
)


async def round_trip(session, connection, label="queue"):
    channel = await connection.channel()
    queue = await session.queue(channel, label)
    await publish(channel, queue, "there and back")
    equal(await drain(queue), ["there and back"], "messages")


@scenario
async def connect_by_uri(session):
    given = URL(session.url)
    uri = f"amqp://{given.user}:{given.password}@{given.host}:{given.port}/%2F?heartbeat=17&name=by-uri"
    async with await aio_pika.connect(uri) as connection:
        await round_trip(session, connection)
        equal(connection.transport.connection.heartbeat_timeout, 17, "heartbeat")
    equal(connection.is_closed, True, "closed")


@scenario
async def connect_by_options(session):
    """The client takes channel_max and frame_max as the broker offers them."""
    given = URL(session.url)
    connection = await aio_pika.connect(
        host=given.host,
        port=given.port,
        login=given.user,
        password=given.password,
        virtualhost="/",
        heartbeat=17,
        client_properties={"connection_name": session.name("connection")},
    )
    async with connection:
        await round_trip(session, connection)
        equal(connection.transport.connection.connection_tune.heartbeat, 17, "heartbeat")


@scenario
async def server_properties(session):
    connection = (await session.connect()).transport.connection
    equal(connection.server_properties["product"], "RabbitMQ", "product")
    version = connection.server_properties["version"]
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise AssertionError(f"version: {version!r} is not of the form x.y.z")
    equal(connection.basic_nack, True, "basic.nack")
    equal(connection.publisher_confirms, True, "publisher_confirms")
    equal(connection.consumer_cancel_notify, True, "consumer_cancel_notify")
    equal(connection.exchange_exchange_bindings, True, "exchange_exchange_bindings")
    for capability in (
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ):
        equal(connection.server_capabilities.get(capability), True, capability)


lacking("amqplain_login", "aio-pika logs in with PLAIN or EXTERNAL only")


@scenario
async def wrong_password(session):
    given = URL(session.url)
    for user in (given.user, "nobody"):
        with refused(ProbableAuthenticationError, LOGIN_REFUSED):
            await aio_pika.connect(given.with_user(user).with_password("wrong"))


lacking("unknown_vhost", "aio-pika reports the refusal as an unexpected frame, without its code and text")


@scenario
async def heartbeats(session):
    connection = await session.connect(heartbeat=1)
    await asyncio.sleep(3.5)
    await round_trip(session, connection)


@scenario
async def heartbeat_missed(session):
    """The client falls silent when something blocks its event loop."""
    observer = await session.channel()
    queue = await session.shared_queue(observer)
    released = threading.Event()

    async def hold():
        async with await aio_pika.connect(session.url, heartbeat=1) as connection:
            closed = closing(connection)
            channel = await connection.channel()
            await (await Inbox.open(await elsewhere(channel, queue))).wait(1)
            released.wait(timeout=20)
            return await closed

    silent = in_thread(hold())
    await publish(observer, queue, "held")
    await await_ready(observer, queue, 0)
    inbox = await Inbox.open(queue)
    try:
        equal(await inbox.bodies(1), ["held"], "messages of the observer")
    finally:
        released.set()
    equal(inbox.flags(), [True], "redelivered")
    equal(isinstance(await silent, AMQPConnectionError), True, "the silent client was cut off")


@scenario
async def update_secret(session):
    connection = await session.connect()
    await connection.update_secret(URL(session.url).password, reason="rotation")
    await round_trip(session, connection)


lacking("small_frames", "aio-pika takes the frame_max that the broker offers")


@scenario
async def graceful_shutdown(session):
    connection = await session.connect()
    closed = closing(connection)
    await round_trip(session, connection)
    session.ask("stop")
    error = await closed
    equal(type(error), ConnectionClosed, "error")
    text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    equal(error.args, (320, text), "code and text")
