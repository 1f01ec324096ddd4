import time

import amqp
from harness import await_ready, channel_error, drain, eventually, publish, ready, send
from kombu import Producer
from playing import equal, scenario

CONFIRMED = {"confirm_publish": True}


@scenario
def publisher_confirms(session):
    queue = session.queue(session.connect(transport_options=CONFIRMED).channel(), durable=True)
    for n in range(100):
        send(queue, str(n), delivery_mode="persistent" if n % 2 else "transient")
    await_ready(queue, 100)
    equal(publish_without_waiting(queue(session.channel()), 900), list(range(1, 901)), "confirmed numbers")
    await_ready(queue, 1000)


def publish_without_waiting(queue, count):
    """Publishes in confirm mode on py-amqp's channel and awaits all confirms together: their numbers."""
    channel = queue.channel
    unconfirmed, confirmed, refused = set(range(1, count + 1)), [], []

    def on_ack(delivery_tag, multiple):
        numbers = {n for n in unconfirmed if n <= delivery_tag} if multiple else {delivery_tag}
        unconfirmed.difference_update(numbers)
        confirmed.extend(numbers)

    channel.events["basic_ack"].add(on_ack)
    channel.events["basic_nack"].add(lambda delivery_tag, _multiple: refused.append(delivery_tag))
    channel.confirm_select()
    for n in range(count):
        send(queue, str(n), delivery_mode="persistent" if n % 2 else "transient")
    while unconfirmed and not refused:
        channel.connection.drain_events()
    equal(refused, [], "nacked numbers")
    return sorted(confirmed)


@scenario
def confirm_unroutable(session):
    channel = session.connect(transport_options=CONFIRMED).channel()
    publish(channel, "nowhere to go", session.name("nobody"))
    publish(channel, "nowhere to go", session.name("nobody"), "amq.fanout")


@scenario
def mandatory_return(session):
    channel = session.channel()
    queue = session.queue(channel)
    returned = []
    producer = Producer(channel, on_return=lambda *message: returned.append(message))
    producer.publish("routed", routing_key=queue.name, mandatory=True)
    astray = {"exchange": "amq.direct", "routing_key": session.name("nobody")}
    producer.publish("not mandatory", **astray)
    producer.publish("lost", **astray, mandatory=True, message_id="lost", headers={"kept": 1})
    while not returned:
        channel.connection.drain_events()
    [(error, exchange, routing_key, message)] = returned
    equal((error.reply_code, error.reply_text), (312, "NO_ROUTE"), "return")
    equal({"exchange": exchange, "routing_key": routing_key}, astray, "exchange and key")
    content = (message.properties["message_id"], message.headers, message.body)
    equal(content, ("lost", {"kept": 1}, "lost"), "message")
    equal(drain(queue), ["routed"], "routed")
    equal(len(returned), 1, "returned messages")


@scenario
def return_before_confirm(session):
    channel = session.connect(transport_options=CONFIRMED).channel()
    queue = session.queue(channel)
    returned = []
    keep = lambda error, _exchange, _key, message: returned.append((error.reply_code, message.body))
    producer = Producer(channel, on_return=keep)
    for n in range(20):
        producer.publish(str(n), routing_key=session.name("nobody"), mandatory=True)
        equal(returned, [(312, str(n))], "returned when the confirm had come")
        returned.clear()
        producer.publish(str(n), routing_key=queue.name, mandatory=True)
        equal(returned, [], "returned although routed")
    equal(len(drain(queue)), 20, "routed messages")


@scenario
def nacked_publish(session):
    channel = session.connect(transport_options=CONFIRMED).channel()
    queue = session.queue(channel, max_length=2, queue_arguments={"x-overflow": "reject-publish"})
    outcomes = [confirmed(queue, body) for body in "1234"]
    equal(outcomes, [True, True, False, False], "confirmed")
    equal(drain(queue), ["1", "2"], "messages that fitted")
    equal(confirmed(queue, "5"), True, "confirmed when there is room again")
    equal(drain(queue), ["5"], "messages")


def confirmed(queue, body):
    try:
        send(queue, body)
    except amqp.exceptions.MessageNacked:
        return False
    return True


@scenario
def connection_blocked(session):
    """RabbitMQ blocks a connection when it publishes. py-amqp does not read the reason that is sent along."""
    events = []
    options = {"on_blocked": events.append, "on_unblocked": lambda: events.append("unblocked")}
    channel = session.connect(transport_options=options).channel()
    queue = session.queue(session.channel())
    send(queue(channel), "before")
    await_ready(queue, 1)
    session.ask("block")
    try:
        eventually(lambda: publish(channel, "ignored", session.name("nobody")) or events, "blocked")
        equal(events, ["connection blocked, see broker logs"], "what the client is told")
        send(queue(channel), "while blocked")
        time.sleep(0.3)
        equal(ready(queue), 1, "messages ready while blocked")
    finally:
        session.ask("unblock")
    while len(events) < 2:
        channel.connection.drain_events()
    equal(events[1], "unblocked", "what the client is told")
    await_ready(queue, 2)
    equal(drain(queue), ["before", "while blocked"], "messages")


@scenario
def user_id(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    user = session.address.username
    send(queue, "anonymous")
    send(queue, "signed", user_id=user)
    equal(drain(queue), ["anonymous", "signed"], "messages")
    refusal = f"PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '{user}'"
    with channel_error(connection, 406, refusal):
        forger = queue(connection.channel())
        send(forger, "forged", user_id="somebody")
        forger.queue_declare(passive=True)
    equal(drain(queue), [], "forged messages")
