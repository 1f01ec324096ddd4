"""Time to live: of a queue's messages, of one message, and what expires when."""

from polls import await_state

from . import script
from .dead_letters import dying


def expiring(s, name, ttl=None, bodies=()):
    """Two channels and an exclusive queue with that x-message-ttl and these messages."""
    c = s.connect()
    ch, publisher = c.channel(1), c.channel(2)
    publisher.call("queue.declare", queue=name, exclusive=True, arguments={} if ttl is None else {"x-message-ttl": ttl})
    publisher.call("confirm.select")
    for body in bodies:
        publisher.publish("", name, body)
    return ch, publisher


@script
def ttl_of_queue(s):
    ch, publisher = expiring(s, "short-lived", 30, "ab")
    await_state(publisher, "short-lived", 0)
    publisher.get_all("short-lived")


@script
def ttl_of_message(s):
    ch, publisher = expiring(s, "by-message")
    publisher.publish("", "by-message", "goes", {"expiration": "1"})
    publisher.publish("", "by-message", "stays")
    await_state(publisher, "by-message", 1)
    publisher.get_all("by-message")


@script
def ttl_expires_at_head_only(s):
    """What has expired behind a message that lives is still counted, and goes once it is the head."""
    ch, publisher = dying(s, "behind")
    publisher.publish("", "behind", "first")
    publisher.publish("", "behind", "second", {"expiration": "1"})
    publisher.publish("", "behind", "third", {"expiration": "100000"})
    publisher.publish("", "behind", "other")
    publisher.publish("", "dead", "marker", {"expiration": "20"})
    await_state(publisher, "dead", 0)
    publisher.call("queue.declare", queue="behind", passive=True)
    ch.call("basic.get", queue="behind")
    await_state(publisher, "dead", 1)
    publisher.get_all("dead")
    publisher.get_all("behind")


@script
def ttl_smaller_of_both(s):
    """Of a message's and its queue's time the smaller one counts."""
    ch, publisher = expiring(s, "smaller", 20)
    publisher.publish("", "smaller", "lives long", {"expiration": "100000"})
    await_state(publisher, "smaller", 0)
    ch, publisher = expiring(s, "larger", 100000)
    publisher.publish("", "larger", "lives briefly", {"expiration": "20"})
    await_state(publisher, "larger", 0)


@script
def ttl_of_property_kept(s):
    """The expiration is delivered as it came."""
    ch, publisher = expiring(s, "kept", 50000)
    for expiration in ("100000", "0100000", "4294967295"):
        publisher.publish("", "kept", "x", {"expiration": expiration})
    publisher.get_all("kept")


@script
def ttl_zero_of_queue_without_consumer(s):
    ch, publisher = expiring(s, "never", 0, "a")
    publisher.publish("", "never", "mandatory", mandatory=True)
    publisher.get_all("never")


@script
def ttl_zero_of_queue_with_consumer(s):
    """It is delivered to a consumer that waits."""
    ch, publisher = expiring(s, "at-once", 0)
    ch.call("basic.consume", queue="at-once", consumer_tag="t")
    publisher.publish("", "at-once", "a")
    publisher.publish("", "at-once", "b")
    ch.cast("basic.ack", delivery_tag=2, multiple=True)


@script
def ttl_zero_of_queue_with_busy_consumer(s):
    ch, publisher = expiring(s, "busy", 0)
    ch.call("basic.qos", prefetch_count=1)
    ch.call("basic.consume", queue="busy", consumer_tag="t")
    publisher.publish("", "busy", "delivered")
    publisher.publish("", "busy", "expires")
    publisher.call("queue.declare", queue="busy", passive=True)
    ch.cast("basic.ack", delivery_tag=1)
    publisher.publish("", "busy", "delivered too")


@script
def ttl_zero_of_message(s):
    ch, publisher = expiring(s, "zero")
    publisher.publish("", "zero", "expires", {"expiration": "0"})
    publisher.publish("", "zero", "stays")
    publisher.publish("", "zero", "waits behind", {"expiration": "0"})
    publisher.call("queue.declare", queue="zero", passive=True)
    publisher.get_all("zero")
    ch.call("basic.consume", queue="zero", consumer_tag="t", no_ack=True)
    publisher.publish("", "zero", "delivered", {"expiration": "0"})


@script
def ttl_zero_after_requeue(s):
    """A message that was delivered at its last moment expires when it comes back."""
    ch, publisher = dying(s, "back", "", {"x-message-ttl": 0})
    ch.call("basic.consume", queue="back", consumer_tag="t")
    publisher.publish("", "back", "a")
    ch.call("basic.cancel", consumer_tag="t")
    ch.cast("basic.reject", delivery_tag=1, requeue=True)
    await_state(publisher, "dead", 1)
    publisher.get_all("dead")


@script
def ttl_zero_requeued_with_consumer(s):
    """With a consumer that waits it is delivered again, or expires first."""
    ch, publisher = dying(s, "again", "", {"x-message-ttl": 0})
    ch.call("basic.consume", queue="again", consumer_tag="t")
    publisher.publish("", "again", "a")
    ch.cast("basic.reject", delivery_tag=1, requeue=True)
    publisher.get_all("dead")


@script
def ttl_not_while_unacked(s):
    """Unacked messages do not expire; requeued they do at once, and the time is not started anew."""
    ch, publisher = dying(s, "held", "", {"x-message-ttl": 20})
    ch.call("basic.qos", prefetch_count=1)
    ch.call("basic.consume", queue="held", consumer_tag="t")
    publisher.publish("", "held", "a")
    ch.call("basic.cancel", consumer_tag="t")
    publisher.publish("", "held", "b")
    await_state(publisher, "dead", 1)
    ch.cast("basic.reject", delivery_tag=1, requeue=True)
    await_state(publisher, "dead", 2)
    publisher.get_all("dead")


@script
def ttl_of_requeued_message_in_front(s):
    """A message requeued to the head keeps its own time."""
    ch, publisher = dying(s, "front")
    ch.call("basic.qos", prefetch_count=1)
    ch.call("basic.consume", queue="front", consumer_tag="t")
    publisher.publish("", "front", "a", {"expiration": "20"})
    ch.call("basic.cancel", consumer_tag="t")
    publisher.publish("", "front", "b")
    publisher.publish("", "dead", "marker", {"expiration": "30"})
    await_state(publisher, "dead", 0)
    ch.cast("basic.nack", delivery_tag=1, requeue=True)
    await_state(publisher, "dead", 1)
    publisher.get_all("dead")
    publisher.get_all("front")


@script
def ttl_not_delivered_after_expiry(s):
    """A consumer that comes later gets only what lives."""
    ch, publisher = dying(s, "late")
    publisher.publish("", "late", "gone", {"expiration": "1"})
    publisher.publish("", "late", "lives")
    await_state(publisher, "dead", 1)
    ch.call("basic.consume", queue="late", consumer_tag="t", no_ack=True)


@script
def ttl_behind_unacked(s):
    """Prefetched messages are no longer in the queue, so what is behind them is its head."""
    ch, publisher = dying(s, "prefetched")
    ch.call("basic.qos", prefetch_count=1)
    ch.call("basic.consume", queue="prefetched", consumer_tag="t")
    publisher.publish("", "prefetched", "taken", {"expiration": "1"})
    publisher.publish("", "prefetched", "expires", {"expiration": "1"})
    publisher.publish("", "prefetched", "stays")
    await_state(publisher, "dead", 1)
    ch.cast("basic.ack", delivery_tag=1)
    publisher.get_all("dead")


@script
def ttl_invalid_expirations(s):
    """Checked at publish, whatever the route."""
    ch, _ = expiring(s, "invalid")
    for expiration in ("", " ", "1 ", " 1", "1.0", "-1", "+1", "abc", "1e3", "0x10", "99999999999999999999", "4294967296", "315360000001", "1_000", "٣"):
        ch.publish("", "invalid", "x", {"expiration": expiration})
        ch.reopen()
        ch.publish("amq.direct", "nowhere", "x", {"expiration": expiration})
        ch.reopen()


@script
def ttl_confirms(s):
    """An expired message is confirmed."""
    ch, publisher = expiring(s, "confirmed", 0)
    with s.step("a hundred messages"):
        for n in range(100):
            publisher.publish("", "confirmed", str(n), {"delivery_mode": 1 + n % 2})
        publisher.await_confirms()


@script
def ttl_in_tx(s):
    """Time starts at the commit."""
    ch, publisher = dying(s, "tx-ttl", "", {"x-message-ttl": 0})
    ch.call("tx.select")
    ch.publish("", "tx-ttl", "a")
    ch.publish("", "tx-ttl", "b", {"expiration": "1000"})
    publisher.call("queue.declare", queue="dead", passive=True)
    ch.call("tx.commit")
    await_state(publisher, "dead", 2)
    publisher.get_all("dead")


@script
def ttl_purge_and_delete_count(s):
    """Expired messages behind the head count as ready."""
    ch, publisher = expiring(s, "counted")
    publisher.publish("", "counted", "stays")
    publisher.publish("", "counted", "expires", {"expiration": "0"})
    publisher.call("queue.declare", queue="counted", passive=True)
    publisher.call("queue.delete", queue="counted", if_empty=True)
    publisher.reopen()
    publisher.call("queue.purge", queue="counted")


@script
def ttl_many_at_once(s):
    ch, publisher = dying(s, "many", "", {"x-message-ttl": 1})
    with s.step("fifty messages"):
        for n in range(50):
            publisher.publish("", "many", str(n))
        publisher.await_confirms()
    await_state(publisher, "dead", 50)
    publisher.get_all("dead")


@script
def ttl_large_values(s):
    ch, publisher = expiring(s, "forever", 4294967295, "a")
    publisher.publish("", "forever", "b", {"expiration": "4294967295"})
    publisher.get_all("forever")
