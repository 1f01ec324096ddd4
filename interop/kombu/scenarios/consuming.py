import amqp
from harness import Inbox, await_ready, channel_error, drain, receive, redelivered, send
from kombu.common import itermessages
from playing import equal, lacking, scenario


def five(queue):
    """Publishes five messages and takes them without acknowledging."""
    send(queue, *"12345")
    inbox = Inbox(queue)
    inbox.wait(5)
    inbox.consumer.cancel()
    return inbox


@scenario
def consume_and_ack(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    send(queue, *(str(n) for n in range(100)))
    received = []
    for body, message in itermessages(connection, channel, queue, limit=100):
        info = message.delivery_info
        origin = (info["delivery_tag"], info["redelivered"], info["exchange"], info["routing_key"])
        received.append((*origin, int(body)))
        message.ack()
    equal(received, [(n + 1, False, "", queue.name, n) for n in range(100)], "deliveries")
    channel.close()
    equal(drain(queue(connection.channel())), [], "messages left")


@scenario
def no_ack(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    inbox = Inbox(queue, no_ack=True, prefetch=1)
    send(queue, *(str(n) for n in range(50)))
    equal(inbox.bodies(50), [str(n) for n in range(50)], "messages")
    inbox.channel.close()
    equal(drain(queue(connection.channel())), [], "messages left")


@scenario
def prefetch(session):
    queue = session.queue(session.channel())
    send(queue, *(str(n) for n in range(20)))
    first = Inbox(queue, prefetch=5)
    first.wait(5)
    await_ready(queue, 15)
    second = Inbox(queue, prefetch=5)
    second.wait(5)
    await_ready(queue, 10)
    first.messages[0].ack()
    first.wait(6)
    await_ready(queue, 9)
    equal((len(first.messages), len(second.messages)), (6, 5), "deliveries to each")


@scenario
def prefetch_per_channel(session):
    channel = session.channel()
    queue = session.queue(channel)
    first, second = Inbox(queue), Inbox(queue)
    first.consumer.qos(prefetch_count=5, apply_global=True)
    received = lambda: len(first.messages) + len(second.messages)
    send(queue, *(str(n) for n in range(20)))
    while received() < 5:
        channel.connection.drain_events()
    await_ready(queue, 15)
    equal(received(), 5, "deliveries to both")
    channel.basic_ack(0, multiple=True)
    while received() < 10:
        channel.connection.drain_events()
    await_ready(queue, 10)
    equal(received(), 10, "deliveries to both")


@scenario
def ack_multiple(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    five(queue).messages[2].ack(multiple=True)
    queue.channel.close()
    queue = queue(connection.channel())
    equal(redelivered(queue), [("4", True), ("5", True)], "messages beyond the tag")
    five(queue).channel.basic_ack(0, multiple=True)
    queue.channel.close()
    equal(drain(queue(connection.channel())), [], "messages left")


lacking("nack", "py-amqp has no basic.nack; kombu's messages are rejected one by one")


@scenario
def reject(session):
    queue = session.queue(session.channel())
    messages = five(queue).messages
    messages[0].reject()
    messages[1].requeue()
    equal(redelivered(queue), [("2", True)], "requeued")
    for message in messages[2:4]:
        message.reject()
    messages[4].reject(requeue=True)
    equal(redelivered(queue), [("5", True)], "requeued by reject")
    queue.channel.close()


@scenario
def requeue_order(session):
    queue = session.queue(session.channel())
    messages = five(queue).messages
    send(queue, "6")
    await_ready(queue, 1)
    for position in (2, 0, 4, 1, 3):
        messages[position].requeue()
    expected = [(body, True) for body in "12345"] + [("6", False)]
    equal(redelivered(queue), expected, "order after requeue")


@scenario
def recover(session):
    queue = session.queue(session.channel())
    send(queue, *"123")
    inbox = Inbox(queue)
    inbox.wait(3)[0].ack()
    inbox.consumer.recover(requeue=True)
    equal(inbox.bodies(5), ["1", "2", "3", "2", "3"], "messages")
    equal(inbox.flags(), [False] * 3 + [True] * 2, "redelivered")
    equal(inbox.tags(), [1, 2, 3, 4, 5], "delivery tags")


@scenario
def unacked_requeued_on_close(session):
    queue = session.queue(session.channel())
    holder = session.connect()
    first = Inbox(queue(holder.channel()))
    send(queue, *"123")
    first.wait(3)
    second = Inbox(queue(holder.channel()))
    first.channel.close()
    equal(second.bodies(3), ["1", "2", "3"], "after the channel closed")
    equal(second.flags(), [True] * 3, "redelivered")
    third = Inbox(queue)
    holder.release()
    equal(third.bodies(3), ["1", "2", "3"], "after the connection closed")
    equal(third.flags(), [True] * 3, "redelivered")


@scenario
def consumer_cancel(session):
    queue = session.queue(session.channel())
    received = []
    tag = queue.consume("my-consumer", callback=received.append)
    equal(tag, "my-consumer", "consumer tag")
    send(queue, "before")
    while not received:
        queue.channel.connection.drain_events()
    equal(received[0].delivery_info["consumer_tag"], "my-consumer", "consumer tag of the delivery")
    queue.cancel(tag)
    send(queue, "after")
    await_ready(queue, 1)
    queue.channel.basic_ack(received[0].delivery_tag)
    equal(drain(queue), ["after"], "messages left")
    equal([message.body for message in received], ["before"], "delivered")


@scenario
def cancel_notify(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    cancelled = []
    for tag in ("first", "second"):
        queue.consume(tag, callback=lambda message: None, on_cancel=cancelled.append)
    queue(connection.channel()).delete()
    while len(cancelled) < 2:
        connection.drain_events()
    equal(sorted(cancelled), ["first", "second"], "cancelled consumers")
    equal(channel.is_open, True, "channel open")

    # A consumer of kombu's own raises instead.
    queue = session.queue(channel, "again")
    inbox = Inbox(queue)
    [tag] = channel.callbacks
    queue(session.channel()).delete()
    try:
        inbox.wait(1)
    except amqp.ConsumerCancelled as error:
        equal(error.reply_text, tag, "cancelled consumer")


@scenario
def exclusive_consumer(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    in_use = f"ACCESS_REFUSED - queue '{queue.name}' in vhost '/' in exclusive use"

    def consume_exclusively(channel):
        return channel.basic_consume(queue.name, exclusive=True, callback=lambda message: None)

    tag = consume_exclusively(queue.channel)
    with channel_error(connection, 403, in_use):
        Inbox(queue(connection.channel()))
    queue.cancel(tag)
    Inbox(queue)
    with channel_error(connection, 403, in_use):
        consume_exclusively(connection.channel())


@scenario
def round_robin(session):
    queue = session.queue(session.channel())
    inboxes = [Inbox(queue, no_ack=True) for _ in range(3)]
    send(queue, *(str(n) for n in range(30)))
    for inbox in inboxes:
        inbox.wait(10)
    shares = sorted(inbox.bodies() for inbox in inboxes)
    equal(shares, sorted([str(n) for n in range(turn, 30, 3)] for turn in range(3)), "turns")


@scenario
def consumer_priority(session):
    queue = session.queue(session.channel())

    def consume(arguments=None, **options):
        chosen = queue(queue.channel)
        chosen.consumer_arguments = arguments
        return Inbox(chosen, **options)

    low, usual = consume({"x-priority": -5}), consume()
    high = consume({"x-priority": 10}, prefetch=3)
    send(queue, *(str(n) for n in range(10)))
    equal(high.bodies(3), ["0", "1", "2"], "high priority, until its prefetch")
    equal(usual.bodies(7), [str(n) for n in range(3, 10)], "usual priority")
    equal(low.bodies(), [], "low priority")


@scenario
def get(session):
    connection = session.connect()
    queue = session.queue(connection.channel())
    equal(queue.get(), None, "get from an empty queue")
    send(queue, "a", "b", "c")

    def facts(message):
        info = message.delivery_info
        return (message.payload, info["delivery_tag"], info["message_count"], info["redelivered"])

    first = receive(queue, no_ack=False)
    equal(facts(first), ("a", 1, 2, False), "first")
    origin = (first.delivery_info["exchange"], first.delivery_info["routing_key"])
    equal(origin, ("", queue.name), "exchange and key")
    equal(facts(receive(queue)), ("b", 2, 1, False), "second")
    queue.channel.close()
    queue = queue(connection.channel())
    again = receive(queue, no_ack=False)
    equal(facts(again), ("a", 1, 1, True), "again")
    again.ack()
    equal(drain(queue), ["c"], "messages left")
