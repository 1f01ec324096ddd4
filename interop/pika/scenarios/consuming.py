from harness import Inbox, await_ready, channel_error, drain, publish
from playing import equal, scenario


def five(channel, queue):
    """Publishes five messages and takes them without acknowledging."""
    publish(channel, queue, *"12345")
    inbox = Inbox(channel, queue)
    inbox.wait(5)
    channel.basic_cancel(inbox.tag)
    return inbox


def redelivered(channel, queue):
    """Takes everything out with get: the bodies, each with its redelivered flag."""
    messages = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return messages
        messages.append((body.decode(), method.redelivered))


@scenario
def consume_and_ack(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    publish(channel, queue, *(str(n) for n in range(100)))
    received = []
    for method, _, body in channel.consume(queue):
        received.append((method.delivery_tag, method.redelivered, method.exchange, method.routing_key, int(body)))
        channel.basic_ack(method.delivery_tag)
        if len(received) == 100:
            break
    channel.cancel()
    equal(received, [(n + 1, False, "", queue, n) for n in range(100)], "deliveries")
    channel.close()
    equal(drain(connection.channel(), queue), [], "messages left")


@scenario
def no_ack(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    channel.basic_qos(prefetch_count=1)
    inbox = Inbox(channel, queue, auto_ack=True)
    publish(channel, queue, *(str(n) for n in range(50)))
    equal(inbox.bodies(50), [str(n) for n in range(50)], "messages")
    channel.close()
    equal(drain(connection.channel(), queue), [], "messages left")


@scenario
def prefetch(session):
    channel = session.channel()
    queue = session.queue(channel)
    channel.basic_qos(prefetch_count=5)
    publish(channel, queue, *(str(n) for n in range(20)))
    first = Inbox(channel, queue)
    first.wait(5)
    await_ready(channel, queue, 15)
    second = Inbox(channel, queue)
    second.wait(5)
    await_ready(channel, queue, 10)
    channel.basic_ack(first.tags()[0])
    first.wait(6)
    await_ready(channel, queue, 9)
    equal((len(first.messages), len(second.messages)), (6, 5), "deliveries to each")


@scenario
def prefetch_per_channel(session):
    channel = session.channel()
    queue = session.queue(channel)
    channel.basic_qos(prefetch_count=5, global_qos=True)
    first, second = Inbox(channel, queue), Inbox(channel, queue)
    publish(channel, queue, *(str(n) for n in range(20)))
    while len(first.messages) + len(second.messages) < 5:
        channel.connection.process_data_events(time_limit=1)
    await_ready(channel, queue, 15)
    channel.basic_ack(0, multiple=True)
    while len(first.messages) + len(second.messages) < 10:
        channel.connection.process_data_events(time_limit=1)
    await_ready(channel, queue, 10)


@scenario
def ack_multiple(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    tags = five(channel, queue).tags()
    channel.basic_ack(tags[2], multiple=True)
    channel.close()
    other = connection.channel()
    equal(redelivered(other, queue), [("4", True), ("5", True)], "messages beyond the tag")
    five(other, queue)
    other.basic_ack(0, multiple=True)
    other.close()
    equal(drain(connection.channel(), queue), [], "messages left")


@scenario
def nack(session):
    channel = session.channel()
    queue = session.queue(channel)
    tags = five(channel, queue).tags()
    channel.basic_nack(tags[0], requeue=False)
    channel.basic_nack(tags[1], requeue=True)
    equal(redelivered(channel, queue), [("2", True)], "requeued one by one")
    channel.basic_nack(tags[3], multiple=True, requeue=True)
    equal(redelivered(channel, queue), [("3", True), ("4", True)], "requeued up to the tag")
    channel.basic_nack(0, multiple=True, requeue=False)
    channel.basic_nack(0, multiple=True, requeue=True)
    equal(drain(channel, queue), [], "messages left")


@scenario
def reject(session):
    channel = session.channel()
    queue = session.queue(channel)
    tags = five(channel, queue).tags()
    channel.basic_reject(tags[0], requeue=False)
    channel.basic_reject(tags[1], requeue=True)
    equal(redelivered(channel, queue), [("2", True)], "requeued")
    for tag in tags[2:]:
        channel.basic_reject(tag, requeue=False)
    equal(drain(channel, queue), [], "messages left")


@scenario
def requeue_order(session):
    channel = session.channel()
    queue = session.queue(channel)
    tags = five(channel, queue).tags()
    publish(channel, queue, "6")
    for position in (2, 0, 4, 1, 3):
        channel.basic_nack(tags[position], requeue=True)
    expected = [(body, True) for body in "12345"] + [("6", False)]
    equal(redelivered(channel, queue), expected, "order after requeue")


@scenario
def recover(session):
    channel = session.channel()
    queue = session.queue(channel)
    publish(channel, queue, *"123")
    inbox = Inbox(channel, queue)
    inbox.wait(3)
    channel.basic_ack(inbox.tags()[0])
    channel.basic_recover(requeue=True)
    equal(inbox.bodies(5), ["1", "2", "3", "2", "3"], "messages")
    equal(inbox.flags(), [False] * 3 + [True] * 2, "redelivered")
    equal(inbox.tags(), [1, 2, 3, 4, 5], "delivery tags")


@scenario
def unacked_requeued_on_close(session):
    observer = session.channel()
    queue = session.shared_queue(observer)
    holder = session.connect()
    channel = holder.channel()
    publish(channel, queue, *"123")
    Inbox(channel, queue).wait(3)
    second = Inbox(holder.channel(), queue)
    channel.close()
    equal(second.bodies(3), ["1", "2", "3"], "after the channel closed")
    equal(second.flags(), [True] * 3, "redelivered")
    third = Inbox(observer, queue)
    holder.close()
    equal(third.bodies(3), ["1", "2", "3"], "after the connection closed")
    equal(third.flags(), [True] * 3, "redelivered")


@scenario
def consumer_cancel(session):
    channel = session.channel()
    queue = session.queue(channel)
    inbox = Inbox(channel, queue, consumer_tag="my-consumer")
    equal(inbox.tag, "my-consumer", "consumer tag")
    publish(channel, queue, "before")
    [(method, _, _)] = inbox.wait(1)
    equal(method.consumer_tag, "my-consumer", "consumer tag of the delivery")
    channel.basic_cancel(inbox.tag)
    publish(channel, queue, "after")
    await_ready(channel, queue, 1)
    channel.basic_ack(method.delivery_tag)
    equal(drain(channel, queue), ["after"], "messages left")
    equal(inbox.bodies(), ["before"], "delivered")


@scenario
def cancel_notify(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    cancelled = []
    channel.add_on_cancel_callback(lambda method: cancelled.append(method.method.consumer_tag))
    inboxes = [Inbox(channel, queue) for _ in range(2)]
    connection.channel().queue_delete(queue)
    while len(cancelled) < 2:
        connection.process_data_events(time_limit=1)
    equal(sorted(cancelled), sorted(inbox.tag for inbox in inboxes), "cancelled consumers")
    equal(channel.is_open, True, "channel open")


@scenario
def exclusive_consumer(session):
    connection = session.connect()
    owner = connection.channel()
    queue = session.queue(owner)
    in_use = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    inbox = Inbox(owner, queue, exclusive=True)
    with channel_error(403, in_use):
        Inbox(connection.channel(), queue)
    owner.basic_cancel(inbox.tag)
    Inbox(owner, queue)
    with channel_error(403, in_use):
        Inbox(connection.channel(), queue, exclusive=True)


@scenario
def round_robin(session):
    channel = session.channel()
    queue = session.queue(channel)
    inboxes = [Inbox(channel, queue, auto_ack=True) for _ in range(3)]
    publish(channel, queue, *(str(n) for n in range(30)))
    for inbox in inboxes:
        inbox.wait(10)
    shares = sorted(inbox.bodies() for inbox in inboxes)
    equal(shares, sorted([str(n) for n in range(turn, 30, 3)] for turn in range(3)), "turns")


@scenario
def consumer_priority(session):
    channel = session.channel()
    queue = session.queue(channel)
    low = Inbox(channel, queue, arguments={"x-priority": -5})
    usual = Inbox(channel, queue)
    channel.basic_qos(prefetch_count=3)
    high = Inbox(channel, queue, arguments={"x-priority": 10})
    publish(channel, queue, *(str(n) for n in range(10)))
    equal(high.bodies(3), ["0", "1", "2"], "high priority, until its prefetch")
    equal(usual.bodies(7), [str(n) for n in range(3, 10)], "usual priority")
    equal(low.bodies(), [], "low priority")


@scenario
def get(session):
    connection = session.connect()
    channel = connection.channel()
    queue = session.queue(channel)
    equal(channel.basic_get(queue), (None, None, None), "get from an empty queue")
    publish(channel, queue, "a", "b", "c")
    method, _, body = channel.basic_get(queue)
    equal((body, method.delivery_tag, method.message_count, method.redelivered), (b"a", 1, 2, False), "first")
    equal((method.exchange, method.routing_key), ("", queue), "exchange and key")
    method, _, body = channel.basic_get(queue, auto_ack=True)
    equal((body, method.delivery_tag, method.message_count), (b"b", 2, 1), "second")
    channel.close()
    channel = connection.channel()
    method, _, body = channel.basic_get(queue)
    equal((body, method.delivery_tag, method.message_count, method.redelivered), (b"a", 1, 1, True), "again")
    channel.basic_ack(method.delivery_tag)
    equal(drain(channel, queue), ["c"], "messages left")
