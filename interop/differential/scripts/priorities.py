"""Queues with x-max-priority, and consumers with x-priority."""

from polls import await_state

from . import script
from .dead_letters import dying


def prioritised(s, name, messages=(), **arguments):
    """Two channels and an exclusive queue of five priorities, or so, with messages (body, priority)."""
    c = s.connect()
    ch, publisher = c.channel(1), c.channel(2)
    arguments = {f"x-{key.replace('_', '-')}": value for key, value in ({"max_priority": 5} | arguments).items()}
    publisher.call("queue.declare", queue=name, exclusive=True, arguments=arguments)
    publisher.call("confirm.select")
    publish_all(publisher, name, messages)
    return ch, publisher


def publish_all(publisher, name, messages):
    for body, priority in messages:
        publisher.publish("", name, body, {} if priority is None else {"priority": priority})


@script
def priority_order_of_get(s):
    """Highest first, among equals as they came; none is 0."""
    ch, publisher = prioritised(s, "ranked", [("a1", 1), ("b5", 5), ("c", None), ("d1", 1), ("e0", 0), ("f5", 5), ("g3", 3)])
    publisher.call("queue.declare", queue="ranked", passive=True)
    publisher.get_all("ranked")


@script
def priority_order_of_consumer(s):
    ch, publisher = prioritised(s, "ranked-consumer", [("a1", 1), ("b5", 5), ("c", None), ("d1", 1)])
    ch.call("basic.consume", queue="ranked-consumer", consumer_tag="t")


@script
def priority_beyond_maximum(s):
    """Taken for the maximum, delivered as it came."""
    ch, publisher = prioritised(s, "clipped", [("a5", 5), ("b255", 255), ("c6", 6), ("d5", 5), ("e4", 4)])
    publisher.get_all("clipped")


@script
def priority_maxima(s):
    ch, publisher = prioritised(s, "five")
    for maximum in (0, 1, 2, 255, 256, -1):
        publisher.call("queue.declare", queue="maximum", exclusive=True, arguments={"x-max-priority": maximum})
        if publisher.closed:
            publisher.reopen()
            continue
        publish_all(publisher, "maximum", [("a0", 0), ("b1", 1), ("c2", 2), ("d254", 254), ("e255", 255)])
        publisher.get_all("maximum")
        publisher.call_unrecorded("queue.delete", queue="maximum")


@script
def priority_without_maximum(s):
    """A plain queue does not look at it."""
    c = s.connect()
    ch = c.channel()
    ch.call("queue.declare", queue="unranked", exclusive=True)
    publish_all(ch, "unranked", [("a", 1), ("b", 9), ("c", 5)])
    ch.get_all("unranked")


@script
def priority_prefetched_stay(s):
    """A message that comes later overtakes only what is not delivered yet."""
    ch, publisher = prioritised(s, "overtaken", [("a0", 0), ("b0", 0), ("c0", 0)])
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.consume", queue="overtaken", consumer_tag="t")
    publish_all(publisher, "overtaken", [("d5", 5), ("e3", 3)])
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=3, multiple=True)


@script
def priority_of_requeued(s):
    """Back to its place among those of its priority."""
    ch, publisher = prioritised(s, "returned", [("a1", 1), ("b5", 5), ("c1", 1), ("d5", 5)])
    for _ in range(3):
        ch.call("basic.get", queue="returned")
    publish_all(publisher, "returned", [("e5", 5), ("f1", 1), ("g3", 3)])
    ch.cast("basic.nack", delivery_tag=3, requeue=True)
    ch.cast("basic.nack", delivery_tag=1, requeue=True)
    ch.cast("basic.nack", delivery_tag=2, requeue=True)
    publisher.get_all("returned")


@script
def priority_of_requeued_multiple(s):
    ch, publisher = prioritised(s, "returned-all", [("a1", 1), ("b5", 5), ("c1", 1), ("d5", 5)])
    for _ in range(4):
        ch.call("basic.get", queue="returned-all")
    ch.cast("basic.nack", delivery_tag=0, multiple=True, requeue=True)
    publisher.get_all("returned-all")


@script
def priority_of_requeued_by_channel_close(s):
    ch, publisher = prioritised(s, "closed-ranked", [("a1", 1), ("b5", 5), ("c3", 3)])
    for _ in range(3):
        ch.call("basic.get", queue="closed-ranked")
    ch.call("channel.close", reply_code=200)
    publisher.get_all("closed-ranked")


@script
def priority_with_length_drops_highest(s):
    """The head that is dropped is that of the highest priority."""
    ch, publisher = prioritised(s, "short-ranked", [("a5", 5), ("b1", 1), ("c3", 3), ("d1", 1), ("e4", 4), ("f0", 0)], max_length=3)
    publisher.get_all("short-ranked")


@script
def priority_with_bytes_drops_highest(s):
    ch, publisher = prioritised(s, "small-ranked", [("aaaa", 5), ("bbbb", 1), ("cccc", 3), ("d", 0)], max_length_bytes=10)
    publisher.get_all("small-ranked")


@script
def priority_with_length_dead_letters(s):
    ch, publisher = dying(s, "ranked-dead", "", {"x-max-priority": 5, "x-max-length": 2})
    publish_all(publisher, "ranked-dead", [("a5", 5), ("b1", 1), ("c3", 3), ("d4", 4)])
    publisher.get_all("dead")
    publisher.get_all("ranked-dead")


@script
def priority_with_reject_publish(s):
    ch, publisher = prioritised(s, "full-ranked", [("a1", 1), ("b1", 1), ("c5", 5)], max_length=2, overflow="reject-publish")
    publisher.get_all("full-ranked")


@script
def priority_and_ttl_of_message(s):
    """The head of the queue is that of its highest priority; what is lower expires later."""
    ch, publisher = dying(s, "ranked-ttl", "", {"x-max-priority": 5})
    publisher.publish("", "ranked-ttl", "lives", {"priority": 5})
    publisher.publish("", "ranked-ttl", "expires", {"priority": 1, "expiration": "0"})
    publisher.publish("", "ranked-ttl", "lives too", {"priority": 1})
    publisher.publish("", "ranked-ttl", "expires at once", {"priority": 5, "expiration": "0"})
    publisher.call("queue.declare", queue="ranked-ttl", passive=True)
    publisher.get_all("dead")
    ch.call("basic.get", queue="ranked-ttl")
    publisher.get_all("dead")
    publisher.get_all("ranked-ttl")


@script
def priority_and_ttl_of_queue(s):
    """Which priority expires first."""
    ch, publisher = dying(s, "ranked-age", "", {"x-max-priority": 5, "x-message-ttl": 0})
    publish_all(publisher, "ranked-age", [("a1", 1), ("b5", 5), ("c", None)])
    await_state(publisher, "dead", 3)
    publisher.get_all("dead")


@script
def priority_of_dead_letter(s):
    """A dead letter keeps its priority."""
    ch, publisher = dying(s, "source", "", exchange="", routing_key="ranked-target")
    publisher.call("queue.declare", queue="ranked-target", exclusive=True, arguments={"x-max-priority": 5})
    publish_all(publisher, "source", [("a1", 1), ("b5", 5), ("c3", 3)])
    for tag in (1, 2, 3):
        ch.call("basic.get", queue="source")
        ch.cast("basic.reject", delivery_tag=tag)
    publisher.get_all("ranked-target")


@script
def priority_purge_and_counts(s):
    ch, publisher = prioritised(s, "purged", [("a1", 1), ("b5", 5), ("c3", 3)])
    ch.call("basic.get", queue="purged")
    publisher.call("queue.purge", queue="purged")
    publish_all(publisher, "purged", [("d5", 5)])
    ch.cast("basic.reject", delivery_tag=1, requeue=True)
    publisher.call("queue.delete", queue="purged")


@script
def priority_in_tx(s):
    ch, publisher = prioritised(s, "ranked-tx")
    ch.call("tx.select")
    publish_all(ch, "ranked-tx", [("a1", 1), ("b5", 5), ("c3", 3)])
    ch.call("tx.commit")
    publisher.get_all("ranked-tx")


@script
def priority_persistent(s):
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("queue.declare", queue="durable-ranked", durable=True, arguments={"x-max-priority": 3})
    for body, priority in (("a1", 1), ("b3", 3), ("c2", 2)):
        ch.publish("", "durable-ranked", body, {"priority": priority, "delivery_mode": 2})
    ch.get_all("durable-ranked")


@script
def consumer_priority(s):
    """The higher one gets all until it has no credit."""
    c = s.connect()
    low, high, publisher = c.channel(1), c.channel(2), c.channel(3)
    publisher.call("queue.declare", queue="served", exclusive=True)
    publisher.call("confirm.select")
    for ch, priority in ((low, -1), (high, 10)):
        ch.call("basic.qos", prefetch_count=2)
        ch.call("basic.consume", queue="served", consumer_tag=f"priority {priority}", arguments={"x-priority": priority})
    for body in "abcde":
        publisher.publish("", "served", body)
    high.cast("basic.ack", delivery_tag=1)
    low.cast("basic.ack", delivery_tag=2, multiple=True)
    high.call("basic.cancel", consumer_tag="priority 10")
    publisher.publish("", "served", "f")


@script
def consumer_priority_with_message_priority(s):
    c = s.connect()
    low, high, publisher = c.channel(1), c.channel(2), c.channel(3)
    publisher.call("queue.declare", queue="served-ranked", exclusive=True, arguments={"x-max-priority": 5})
    publisher.call("confirm.select")
    publish_all(publisher, "served-ranked", [("a1", 1), ("b5", 5), ("c3", 3), ("d0", 0)])
    for ch, priority in ((low, 0), (high, 1)):
        ch.call("basic.qos", prefetch_count=1)
        ch.call("basic.consume", queue="served-ranked", consumer_tag=f"priority {priority}", arguments={"x-priority": priority})
    high.cast("basic.ack", delivery_tag=1)
    low.cast("basic.ack", delivery_tag=1)


@script
def consumer_priority_of_requeued(s):
    """What the lower one gives back goes to the higher one."""
    c = s.connect()
    low, high, publisher = c.channel(1), c.channel(2), c.channel(3)
    publisher.call("queue.declare", queue="handed-up", exclusive=True)
    publisher.call("confirm.select")
    low.call("basic.consume", queue="handed-up", consumer_tag="low")
    publisher.publish("", "handed-up", "a")
    high.call("basic.consume", queue="handed-up", consumer_tag="high", arguments={"x-priority": 1})
    low.cast("basic.reject", delivery_tag=1, requeue=True)
