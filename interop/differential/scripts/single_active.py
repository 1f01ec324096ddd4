"""Queues with x-single-active-consumer: one consumer at a time gets everything."""

from polls import await_state

from . import script


def contested(s, name, consumers=("one", "two", "three"), bodies="", prefetch=0, **arguments):
    """A publisher and channels with a consumer each, all of one connection, in the order given."""
    c = s.connect()
    publisher = c.channel(9)
    arguments = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    publisher.call("queue.declare", queue=name, exclusive=True, arguments={"x-single-active-consumer": True} | arguments)
    publisher.call("confirm.select")
    for body in bodies:
        publisher.publish("", name, body)
    channels = []
    for number, tag in enumerate(consumers, start=1):
        channels.append(c.channel(number))
        if prefetch:
            channels[-1].call("basic.qos", prefetch_count=prefetch)
        channels[-1].call("basic.consume", queue=name, consumer_tag=tag)
    return [publisher, *channels]


@script
def single_active_gets_all(s):
    publisher, one, two, three = contested(s, "contested", bodies="ab")
    publisher.publish("", "contested", "c")
    one.cast("basic.ack", delivery_tag=3, multiple=True)
    publisher.call("queue.declare", queue="contested", passive=True)


@script
def single_active_without_credit_blocks_others(s):
    publisher, one, two = contested(s, "blocked", ("one", "two"), bodies="abc", prefetch=1)
    publisher.call("queue.declare", queue="blocked", passive=True)
    one.cast("basic.ack", delivery_tag=1)


@script
def single_active_cancel(s):
    """The next in the order of consuming takes over; unacked messages stay with the channel."""
    publisher, one, two, three = contested(s, "cancelled", bodies="ab")
    one.call("basic.cancel", consumer_tag="one")
    publisher.publish("", "cancelled", "c")
    one.cast("basic.nack", delivery_tag=1, requeue=True)
    one.cast("basic.ack", delivery_tag=2)
    two.call("basic.cancel", consumer_tag="two")
    publisher.publish("", "cancelled", "d")
    three.call("basic.cancel", consumer_tag="three")
    publisher.publish("", "cancelled", "e")
    publisher.call("queue.declare", queue="cancelled", passive=True)


@script
def single_active_cancel_of_waiting(s):
    """Nothing changes for the active one."""
    publisher, one, two, three = contested(s, "waiting", bodies="a")
    two.call("basic.cancel", consumer_tag="two")
    publisher.publish("", "waiting", "b")
    one.call("basic.cancel", consumer_tag="one")
    publisher.publish("", "waiting", "c")


@script
def single_active_comes_back_last(s):
    """Who cancels and consumes again is last."""
    publisher, one, two = contested(s, "queueing", ("one", "two"))
    one.call("basic.cancel", consumer_tag="one")
    one.call("basic.consume", queue="queueing", consumer_tag="one")
    publisher.publish("", "queueing", "a")
    two.call("basic.cancel", consumer_tag="two")
    publisher.publish("", "queueing", "b")


@script
def single_active_channel_close(s):
    """The next one gets what the closed channel held, redelivered and in order."""
    publisher, one, two = contested(s, "channel-closed", ("one", "two"), bodies="abc", prefetch=2)
    one.call("channel.close", reply_code=200)
    two.cast("basic.ack", delivery_tag=2, multiple=True)


@script
def single_active_channel_error(s):
    publisher, one, two = contested(s, "channel-failed", ("one", "two"), bodies="ab")
    one.call("basic.get", queue="absent")
    two.cast("basic.ack", delivery_tag=2, multiple=True)


@script
def single_active_connection_close(s):
    one, two, publisher = s.channel(), s.channel(), s.channel()
    publisher.call("queue.declare", queue="connection-closed", arguments={"x-single-active-consumer": True})
    publisher.call("confirm.select")
    for ch, tag in ((one, "one"), (two, "two")):
        ch.call("basic.consume", queue="connection-closed", consumer_tag=tag)
    publisher.publish("", "connection-closed", "a")
    one.connection.call("connection.close", reply_code=200)
    publisher.publish("", "connection-closed", "b")
    two.cast("basic.ack", delivery_tag=2, multiple=True)


@script
def single_active_connection_lost(s):
    one, two, publisher = s.channel(), s.channel(), s.channel()
    publisher.call("queue.declare", queue="connection-lost", arguments={"x-single-active-consumer": True})
    publisher.call("confirm.select")
    for ch, tag in ((one, "one"), (two, "two")):
        ch.call("basic.consume", queue="connection-lost", consumer_tag=tag)
    publisher.publish("", "connection-lost", "a")
    with s.step("lose the connection of the active one"):
        one.connection.drop()
        s.wait_for(two.connection, "basic.deliver")
    publisher.call("queue.declare", queue="connection-lost", passive=True)


@script
def single_active_two_consumers_of_one_channel(s):
    publisher, one = contested(s, "same-channel", ("one",), bodies="a")
    one.call("basic.consume", queue="same-channel", consumer_tag="two")
    publisher.publish("", "same-channel", "b")
    one.call("basic.cancel", consumer_tag="one")
    publisher.publish("", "same-channel", "c")


@script
def single_active_exclusive_consume(s):
    """Refused, be it the first or not."""
    (publisher,) = contested(s, "not-exclusive", ())
    publisher.call("basic.consume", queue="not-exclusive", consumer_tag="t", exclusive=True)
    publisher.reopen()
    publisher.call("basic.consume", queue="not-exclusive", consumer_tag="t")
    publisher.call("basic.consume", queue="not-exclusive", consumer_tag="u", exclusive=True)


@script
def single_active_get(s):
    """basic.get takes what the active one has not got."""
    publisher, one, two = contested(s, "got", ("one", "two"), bodies="abc", prefetch=1)
    publisher.call("basic.get", queue="got", no_ack=True)
    two.call("basic.get", queue="got")
    two.cast("basic.reject", delivery_tag=1, requeue=True)
    one.cast("basic.ack", delivery_tag=1)


@script
def single_active_requeue(s):
    """It comes back to the active one."""
    publisher, one, two = contested(s, "bounced", ("one", "two"), bodies="ab")
    one.cast("basic.reject", delivery_tag=1, requeue=True)
    one.cast("basic.nack", delivery_tag=3, multiple=True, requeue=True)


@script
def single_active_no_ack(s):
    c = s.connect()
    one, two, publisher = c.channel(1), c.channel(2), c.channel(3)
    publisher.call("queue.declare", queue="careless", exclusive=True, arguments={"x-single-active-consumer": True})
    publisher.call("confirm.select")
    for ch, tag in ((one, "one"), (two, "two")):
        ch.call("basic.consume", queue="careless", consumer_tag=tag, no_ack=True)
    publisher.publish("", "careless", "a")
    one.call("basic.cancel", consumer_tag="one")
    publisher.publish("", "careless", "b")


@script
def single_active_with_consumer_priority(s):
    """A classic queue keeps its active consumer; the priority says who is next."""
    c = s.connect()
    one, two, three, publisher = (c.channel(number) for number in (1, 2, 3, 4))
    publisher.call("queue.declare", queue="succession", exclusive=True, arguments={"x-single-active-consumer": True})
    publisher.call("confirm.select")
    for ch, tag, priority in ((one, "one", 0), (two, "two", 1), (three, "three", 5)):
        ch.call("basic.consume", queue="succession", consumer_tag=tag, arguments={"x-priority": priority})
    publisher.publish("", "succession", "a")
    one.call("basic.cancel", consumer_tag="one")
    publisher.publish("", "succession", "b")
    three.call("basic.cancel", consumer_tag="three")
    publisher.publish("", "succession", "c")


@script
def single_active_with_message_priority(s):
    publisher, one, two = contested(s, "ranked", ("one", "two"), prefetch=1, max_priority=5)
    for body, priority in (("a0", 0), ("b1", 1), ("c5", 5)):
        publisher.publish("", "ranked", body, {"priority": priority})
    one.call("channel.close", reply_code=200)
    two.cast("basic.ack", delivery_tag=1)


@script
def single_active_with_ttl_zero(s):
    """What the active one cannot take expires, though others wait."""
    publisher, one, two = contested(s, "hasty", ("one", "two"), prefetch=1, message_ttl=0)
    for body in "ab":
        publisher.publish("", "hasty", body)
    publisher.call("queue.declare", queue="hasty", passive=True)


@script
def single_active_queue_delete(s):
    publisher, one, two = contested(s, "deleted", ("one", "two"), bodies="a")
    publisher.call("queue.delete", queue="deleted")


@script
def single_active_auto_delete(s):
    """Deleted with its last consumer, active or waiting."""
    c = s.connect()
    one, two, publisher = c.channel(1), c.channel(2), c.channel(3)
    publisher.call("queue.declare", queue="temporary", auto_delete=True, arguments={"x-single-active-consumer": True})
    for ch, tag in ((one, "one"), (two, "two")):
        ch.call("basic.consume", queue="temporary", consumer_tag=tag)
    one.call("basic.cancel", consumer_tag="one")
    publisher.call("queue.declare", queue="temporary", passive=True)
    two.call("basic.cancel", consumer_tag="two")
    await_state(publisher, "temporary", None)


@script
def single_active_false(s):
    """As a queue without the argument."""
    c = s.connect()
    one, two, publisher = c.channel(1), c.channel(2), c.channel(3)
    publisher.call("queue.declare", queue="shared", exclusive=True, arguments={"x-single-active-consumer": False})
    publisher.call("confirm.select")
    for ch, tag in ((one, "one"), (two, "two")):
        ch.call("basic.consume", queue="shared", consumer_tag=tag, no_ack=True)
    for body in "abcd":
        publisher.publish("", "shared", body)
