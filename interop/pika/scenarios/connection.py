import contextlib
import re

import pika
from harness import Inbox, close_if_open, drain, publish
from pika.exceptions import AMQPConnectionError, ConnectionClosedByBroker, NoFreeChannels
from playing import equal, lacking, scenario

LOGIN_REFUSED = (
    "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
)


@contextlib.contextmanager
def refused(code, text):
    """pika wraps what the broker said while a connection was being opened into an error of its own."""
    try:
        yield
    except AMQPConnectionError as error:
        if f"({code}) '{text}'" not in repr(error):
            raise AssertionError(f"expected ({code}) '{text}', got {error!r}") from error
    else:
        raise AssertionError(f"expected ({code}) '{text}', but the connection was opened")


def round_trip(session, connection, label="queue"):
    channel = connection.channel()
    queue = session.queue(channel, label)
    publish(channel, queue, "there and back")
    equal(drain(channel, queue), ["there and back"], "messages")


@scenario
def connect_by_uri(session):
    given = session.parameters
    login = f"{given.credentials.username}:{given.credentials.password}"
    uri = f"amqp://{login}@{given.host}:{given.port}/%2F?heartbeat=17&connection_attempts=2"
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    round_trip(session, connection)
    connection.close()
    equal(connection.is_closed, True, "closed")


@scenario
def connect_by_options(session):
    given = session.parameters
    connection = pika.BlockingConnection(
        pika.ConnectionParameters(
            host=given.host,
            port=given.port,
            virtual_host="/",
            credentials=pika.PlainCredentials(given.credentials.username, given.credentials.password),
            channel_max=5,
            frame_max=65536,
            heartbeat=17,
            client_properties={"connection_name": session.name("connection")},
        )
    )
    round_trip(session, connection)
    for _ in range(4):
        connection.channel()
    try:
        connection.channel()
    except NoFreeChannels:
        pass
    else:
        raise AssertionError("a sixth channel was opened with channel_max 5")
    connection.close()


@scenario
def server_properties(session):
    connection = session.connect()
    equal(connection.basic_nack_supported, True, "basic.nack")
    equal(connection.consumer_cancel_notify_supported, True, "consumer_cancel_notify")
    equal(connection.exchange_exchange_bindings_supported, True, "exchange_exchange_bindings")
    equal(connection.publisher_confirms_supported, True, "publisher_confirms")
    properties = connection._impl.server_properties  # pika shows the rest to its log only
    equal(properties["product"], "RabbitMQ", "product")
    if not re.fullmatch(r"\d+\.\d+\.\d+", properties["version"]):
        raise AssertionError(f"version: {properties['version']!r} is not of the form x.y.z")
    for capability in (
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ):
        equal(properties["capabilities"].get(capability), True, capability)


lacking("amqplain_login", "pika logs in with PLAIN or EXTERNAL only")


@scenario
def wrong_password(session):
    user = session.parameters.credentials.username
    for credentials in (pika.PlainCredentials(user, "wrong"), pika.PlainCredentials("nobody", "wrong")):
        with refused(403, LOGIN_REFUSED):
            session.connect(credentials=credentials)


@scenario
def unknown_vhost(session):
    with refused(530, "NOT_ALLOWED - vhost nowhere not found"):
        session.connect(virtual_host="nowhere")


@scenario
def heartbeats(session):
    connection = session.connect(heartbeat=1)
    connection.sleep(3.5)
    round_trip(session, connection)


@scenario
def heartbeat_missed(session):
    """pika sends heartbeats only while its connection is worked on."""
    observer = session.channel()
    queue = session.shared_queue(observer)
    silent = session.connect(heartbeat=1).channel()
    publish(silent, queue, "held")
    Inbox(silent, queue).wait(1)
    inbox = Inbox(observer, queue)
    equal(inbox.bodies(1), ["held"], "messages of the observer")
    equal(inbox.flags(), [True], "redelivered")


@scenario
def update_secret(session):
    connection = session.connect()
    connection.update_secret(session.parameters.credentials.password, "rotation")
    round_trip(session, connection)


@scenario
def small_frames(session):
    channel = session.connect(frame_max=4096).channel()
    queue = session.queue(channel)
    body = bytes(range(250)) * 400
    channel.basic_publish("", queue, body, pika.BasicProperties(headers={"long": "h" * 3000}))
    _, properties, received = channel.basic_get(queue, auto_ack=True)
    equal(len(received), len(body), "body size")
    equal(received == body, True, "body unchanged")
    equal(properties.headers, {"long": "h" * 3000}, "headers")


@scenario
def graceful_shutdown(session):
    connection = session.connect()
    round_trip(session, connection)
    session.ask("stop")
    try:
        while True:
            connection.process_data_events(time_limit=1)
    except ConnectionClosedByBroker as error:
        equal(error.reply_code, 320, "reply code")
        equal(error.reply_text, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", "text")
    finally:
        close_if_open(connection)
