import pika
from harness import Inbox, await_ready, channel_error, drain, eventually, publish
from pika.exceptions import NackError, UnroutableError
from playing import equal, scenario

# The alarm is set and lifted by a command that has to start first.
ALARM_TIMEOUT_S = 20


@scenario
def publisher_confirms(session):
    channel = session.channel()
    queue = session.shared_queue(channel, durable=True)
    channel.confirm_delivery()
    for n in range(100):
        persistence = pika.DeliveryMode.Persistent if n % 2 else pika.DeliveryMode.Transient
        channel.basic_publish("", queue, str(n), pika.BasicProperties(delivery_mode=persistence))
    await_ready(channel, queue, 100)
    equal(AsynchronousPublisher(session.url, queue, 900).run(), list(range(1, 901)), "confirmed numbers")
    await_ready(channel, queue, 1000)


class AsynchronousPublisher:
    """Publishes without waiting, on pika's event loop, until every number is confirmed."""

    def __init__(self, url, queue, count):
        self._queue = queue
        self._unconfirmed = set(range(1, count + 1))
        self._confirmed = []
        self._connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel),
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )

    def run(self):
        self._connection.ioloop.start()
        return sorted(self._confirmed)

    def _on_channel(self, channel):
        channel.confirm_delivery(ack_nack_callback=self._on_confirm)
        for number in sorted(self._unconfirmed):
            persistence = pika.DeliveryMode.Persistent if number % 2 else pika.DeliveryMode.Transient
            properties = pika.BasicProperties(delivery_mode=persistence)
            channel.basic_publish("", self._queue, str(number), properties)

    def _on_confirm(self, frame):
        confirm = frame.method
        if isinstance(confirm, pika.spec.Basic.Ack):
            last = confirm.delivery_tag
            numbers = {n for n in self._unconfirmed if n <= last} if confirm.multiple else {last}
            self._unconfirmed -= numbers
            self._confirmed += numbers
        if not self._unconfirmed or isinstance(confirm, pika.spec.Basic.Nack):
            self._connection.close()


@scenario
def confirm_unroutable(session):
    channel = session.channel()
    channel.confirm_delivery()
    channel.basic_publish("", session.name("nobody"), "nowhere to go")
    channel.basic_publish("amq.fanout", session.name("nobody"), "nowhere to go")


@scenario
def mandatory_return(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    returned = []
    channel.add_on_return_callback(lambda _channel, *message: returned.append(message))
    properties = pika.BasicProperties(message_id="lost", headers={"kept": 1})
    channel.basic_publish("", queue, "routed", mandatory=True)
    channel.basic_publish("amq.direct", session.name("nobody"), "not mandatory")
    channel.basic_publish("amq.direct", session.name("nobody"), "lost", properties, mandatory=True)
    while not returned:
        connection.process_data_events(time_limit=1)
    [(method, properties, body)] = returned
    equal((method.reply_code, method.reply_text), (312, "NO_ROUTE"), "return")
    equal((method.exchange, method.routing_key), ("amq.direct", session.name("nobody")), "exchange and key")
    equal((properties.message_id, properties.headers, body), ("lost", {"kept": 1}, b"lost"), "message")
    equal(drain(channel, queue), ["routed"], "routed")


@scenario
def return_before_confirm(session):
    """pika raises UnroutableError only if the return came before the confirm."""
    channel = session.channel()
    queue = session.queue(channel)
    channel.confirm_delivery()
    for n in range(20):
        try:
            channel.basic_publish("", session.name("nobody"), str(n), mandatory=True)
        except UnroutableError as error:
            [message] = error.messages
            equal((message.method.reply_code, message.body), (312, str(n).encode()), "return")
        else:
            raise AssertionError(f"message {n} was confirmed before its return, or not returned")
        channel.basic_publish("", queue, str(n), mandatory=True)
    equal(len(drain(channel, queue)), 20, "routed messages")


@scenario
def nacked_publish(session):
    channel = session.confirming_channel()
    queue = session.queue(channel, arguments={"x-max-length": 3, "x-overflow": "reject-publish"})
    nacked = []
    for n in range(6):
        try:
            publish(channel, queue, str(n))
        except NackError:
            nacked.append(n)
    equal(nacked, [3, 4, 5], "nacked messages")
    equal(drain(channel, queue), ["0", "1", "2"], "messages in the queue")


@scenario
def connection_blocked(session):
    publisher, observer = session.connect(), session.channel()
    told = []
    publisher.add_on_connection_blocked_callback(lambda _connection, frame: told.append(frame.method.reason))
    publisher.add_on_connection_unblocked_callback(lambda _connection, _frame: told.append("unblocked"))
    channel = publisher.channel()
    queue = session.shared_queue(observer)
    inbox = Inbox(observer, queue, auto_ack=True)
    published = []

    def publish_one(body):
        publish(channel, queue, body)
        published.append(body)

    def is_blocked():
        """Only who publishes is blocked."""
        if not told:
            publish_one(f"before {len(published)}")
        return bool(told)

    session.ask("block")
    try:
        eventually(is_blocked, publisher, "the client is told that it is blocked", ALARM_TIMEOUT_S)
        publish_one("while blocked")
        observer.connection.sleep(0.3)
        equal("while blocked" in inbox.bodies(), False, "a message got through")
    finally:
        session.ask("unblock")
    eventually(lambda: len(told) == 2, publisher, "the client is told that it is unblocked", ALARM_TIMEOUT_S)
    equal(told, ["low on memory", "unblocked"], "what the client is told")
    publish_one("afterwards")
    equal(inbox.bodies(len(published)), published, "messages")


@scenario
def user_id(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    user = session.parameters.credentials.username
    publish(channel, queue, "anonymous")
    channel.basic_publish("", queue, "signed", pika.BasicProperties(user_id=user))
    equal(drain(channel, queue), ["anonymous", "signed"], "messages")
    refusal = f"PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '{user}'"
    with channel_error(406, refusal):
        forger = connection.channel()
        forger.basic_publish("", queue, "forged", pika.BasicProperties(user_id="somebody"))
        forger.queue_declare(queue, passive=True)
    equal(drain(connection.channel(), queue), [], "forged messages")
