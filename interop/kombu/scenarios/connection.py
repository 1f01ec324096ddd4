import contextlib
import re
import socket
import traceback

import amqp
from harness import Inbox, connection_error, drain, send
from kombu import Connection
from playing import equal, lacking, scenario

LOGIN_REFUSED = (
    "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
    "For details see the broker logfile."
)


def round_trip(session, connection):
    queue = session.queue(connection.channel())
    send(queue, "there and back")
    equal(drain(queue), ["there and back"], "messages")


@scenario
def connect_by_uri(session):
    given = session.address
    login = f"{given.username}:{given.password}"
    with Connection(f"amqp://{login}@{given.hostname}:{given.port}/%2F?heartbeat=17") as connection:
        connection.connect()
        equal(connection.virtual_host, "/", "vhost")
        equal(connection.get_heartbeat_interval(), 17, "heartbeat")
        round_trip(session, connection)
    equal(connection.connected, False, "connected after the close")


@scenario
def connect_by_options(session):
    """py-amqp takes channel_max and frame_max as the broker offers them, and has no way to ask for less."""
    given = session.address
    connection = Connection(
        hostname=given.hostname,
        port=given.port,
        userid=given.username,
        password=given.password,
        virtual_host="/",
        heartbeat=17,
        connect_timeout=10,
        transport_options={"client_properties": {"connection_name": session.name("connection")}},
    )
    connection.connect()
    equal(connection.get_heartbeat_interval(), 17, "heartbeat")
    negotiated = connection.connection
    equal((negotiated.channel_max, negotiated.frame_max), (2047, 131072), "channel_max and frame_max as offered")
    round_trip(session, connection)
    connection.release()
    equal(connection.connected, False, "connected after the close")


@scenario
def server_properties(session):
    connection = session.connect()
    properties = connection.connection.server_properties
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
        equal(connection.connection.server_capabilities.get(capability), True, capability)
    equal(connection.qos_semantics_matches_spec, False, "prefetch for each consumer, as kombu understands the server")


@scenario
def amqplain_login(session):
    round_trip(session, session.connect(login_method="AMQPLAIN"))
    with login_refused(LOGIN_REFUSED.replace("PLAIN", "AMQPLAIN")):
        connect_as(session, session.address.username, "wrong", login_method="AMQPLAIN")


def connect_as(session, userid, password, **options):
    address = session.address
    Connection(hostname=address.hostname, port=address.port, userid=userid, password=password, **options).connect()


@contextlib.contextmanager
def login_refused(text):
    try:
        yield
    except amqp.AccessRefused as error:
        equal((error.reply_code, error.reply_text), (403, text), "refusal")
    else:
        raise AssertionError("logged in")


@scenario
def wrong_password(session):
    for userid in (session.address.username, "nobody"):
        with login_refused(LOGIN_REFUSED):
            connect_as(session, userid, "wrong")


@scenario
def unknown_vhost(session):
    given = session.address
    with connection_error(530, "NOT_ALLOWED - vhost nowhere not found"):
        connect_as(session, given.username, given.password, virtual_host="nowhere")


@scenario
def heartbeats(session):
    connection = session.connect(heartbeat=1)
    opened = connection.connection
    for _ in range(14):
        with contextlib.suppress(socket.timeout):
            connection.drain_events(timeout=0.25)
        connection.heartbeat_check()
    round_trip(session, connection)
    equal(connection.connection is opened, True, "the first connection still in use")


@scenario
def heartbeat_missed(session):
    """kombu sends heartbeats only when its user calls for the check."""
    observer = session.queue(session.channel())
    held = observer(session.connect(heartbeat=1).channel())
    send(held, "held")
    Inbox(held).wait(1)
    inbox = Inbox(observer)
    equal(inbox.bodies(1), ["held"], "messages of the observer")
    equal(inbox.flags(), [True], "redelivered")


lacking("update_secret", "py-amqp has no connection.update-secret")
lacking("small_frames", "py-amqp takes frame_max as the broker offers it, and has no way to ask for less")


@scenario
def graceful_shutdown(session):
    connection = session.connect()
    round_trip(session, connection)
    session.ask("stop")
    try:
        while True:
            connection.drain_events()
    except connection.recoverable_connection_errors as error:
        code, text = what_the_broker_said(error)
    equal(code, 320, "reply code")
    equal(text, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", "text")


def what_the_broker_said(error):
    """py-amqp answers a close before it raises it. RabbitMQ is gone by then, so that a reset is raised instead."""
    if isinstance(error, amqp.ConnectionForced):
        return error.reply_code, error.reply_text
    for frame, _line in traceback.walk_tb(error.__traceback__):
        if frame.f_code is amqp.Connection._on_close.__code__:
            return frame.f_locals["reply_code"], frame.f_locals["reply_text"]
    raise AssertionError(f"the connection ended without being closed: {error!r}")
