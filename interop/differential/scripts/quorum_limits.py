"""Quorum queues: deliveries counted and limited, length, time to live and dead letters."""

from polls import await_ready, await_state

from . import script
from .quorum import quorum, requeue, settle


@script
def quorum_delivery_count(s):
    """The header x-delivery-count, from the second delivery on."""
    ch, publisher = quorum(s, "q-count", "")
    publisher.publish("", "q-count", "x", {"headers": {"mine": 1}})
    for tag in range(1, 5):
        ch.call("basic.get", queue="q-count")
        requeue(ch, publisher, "q-count", tag, 1)
    publisher.get_all("q-count")


@script
def quorum_delivery_count_of_consumer(s):
    ch, publisher = quorum(s, "q-count-consumer", "a")
    ch.call("basic.consume", queue="q-count-consumer", consumer_tag="t")
    for tag in range(1, 4):
        settle(ch, "basic.reject", delivery_tag=tag, requeue=True)
    ch.call("channel.close", reply_code=200)
    await_state(publisher, "q-count-consumer", 1)
    publisher.get_all("q-count-consumer")


@script
def quorum_delivery_count_by_recover_and_cancel(s):
    ch, publisher = quorum(s, "q-count-recover", "a")
    ch.call("basic.get", queue="q-count-recover")
    ch.call("basic.recover", requeue=True)
    await_ready(publisher, "q-count-recover", 1)
    ch.call("basic.get", queue="q-count-recover")
    ch.call("channel.close", reply_code=200)
    await_state(publisher, "q-count-recover", 1)
    publisher.get_all("q-count-recover")


@script
def quorum_delivery_limit(s):
    """Limit 2 allows three deliveries."""
    ch, publisher = quorum(s, "q-limit", "ab", dead_letters=True, delivery_limit=2)
    for tag, ready in ((1, 2), (2, 2), (3, 1), (4, 1), (5, 1), (6, 0)):
        ch.call("basic.get", queue="q-limit")
        requeue(ch, publisher, "q-limit", tag, ready)
    await_state(publisher, "q-limit-dead", 2)
    publisher.get_all("q-limit-dead")
    publisher.call("queue.declare", queue="q-limit", passive=True)


@script
def quorum_delivery_limit_zero(s):
    ch, publisher = quorum(s, "q-limit-0", "a", dead_letters=True, delivery_limit=0)
    ch.call("basic.get", queue="q-limit-0")
    ch.cast("basic.nack", delivery_tag=1, requeue=True)
    await_state(publisher, "q-limit-0-dead", 1)
    publisher.get_all("q-limit-0-dead")


@script
def quorum_delivery_limit_by_channel_close(s):
    ch, publisher = quorum(s, "q-limit-close", "a", dead_letters=True, delivery_limit=1)
    for ready in (1, 0):
        ch.call("basic.get", queue="q-limit-close")
        ch.call("channel.close", reply_code=200)
        ch.reopen()
        await_ready(publisher, "q-limit-close", ready)
    await_state(publisher, "q-limit-close-dead", 1)
    publisher.get_all("q-limit-close-dead")


@script
def quorum_dead_letter_rejected(s):
    ch, publisher = quorum(s, "q-reject", "", dead_letters=True)
    publisher.publish("", "q-reject", "a", {"headers": {"CC": ["nowhere"], "mine": 1}, "expiration": "100000"})
    publisher.publish("", "q-reject", "b")
    publisher.publish("", "q-reject", "c")
    for _ in "abc":
        ch.call("basic.get", queue="q-reject")
    ch.cast("basic.reject", delivery_tag=1)
    ch.cast("basic.nack", delivery_tag=3, multiple=True)
    await_state(publisher, "q-reject-dead", 3)
    publisher.get_all("q-reject-dead")


@script
def quorum_dead_letter_after_requeue(s):
    """The count of deliveries is not in the dead letter, or it is."""
    ch, publisher = quorum(s, "q-reject-later", "a", dead_letters=True)
    ch.call("basic.get", queue="q-reject-later")
    requeue(ch, publisher, "q-reject-later", 1, 1)
    ch.call("basic.get", queue="q-reject-later")
    ch.cast("basic.reject", delivery_tag=2)
    await_state(publisher, "q-reject-later-dead", 1)
    publisher.get_all("q-reject-later-dead")


@script
def quorum_dead_letter_expired(s):
    ch, publisher = quorum(s, "q-ttl", "ab", dead_letters=True, message_ttl=1)
    await_state(publisher, "q-ttl-dead", 2)
    publisher.get_all("q-ttl-dead")


@script
def quorum_expiration_of_message(s):
    ch, publisher = quorum(s, "q-expiration", "", dead_letters=True)
    publisher.publish("", "q-expiration", "a", {"expiration": "1"})
    publisher.publish("", "q-expiration", "b")
    await_state(publisher, "q-expiration-dead", 1)
    publisher.get_all("q-expiration-dead")
    publisher.get_all("q-expiration")


@script
def quorum_ttl_zero_with_consumer(s):
    ch, publisher = quorum(s, "q-zero", "", message_ttl=0)
    ch.call("basic.consume", queue="q-zero", consumer_tag="t", no_ack=True)
    publisher.publish("", "q-zero", "a")
    ch.call("basic.cancel", consumer_tag="t")
    publisher.publish("", "q-zero", "b")
    await_state(publisher, "q-zero", 0)


@script
def quorum_limit_drops_head(s):
    ch, publisher = quorum(s, "q-short", "abcd", dead_letters=True, max_length=2)
    await_state(publisher, "q-short-dead", 2)
    publisher.get_all("q-short-dead")
    publisher.get_all("q-short")


@script
def quorum_limit_of_bytes_drops_head(s):
    ch, publisher = quorum(s, "q-bytes", ["aaaa", "bbbb", "cccc"], dead_letters=True, max_length_bytes=10)
    await_state(publisher, "q-bytes-dead", 1)
    publisher.get_all("q-bytes-dead")
    publisher.get_all("q-bytes")


@script
def quorum_limit_counts_ready_only(s):
    ch, publisher = quorum(s, "q-ready", "ab", max_length=2)
    ch.call("basic.get", queue="q-ready")
    ch.call("basic.get", queue="q-ready")
    for body in "cde":
        publisher.publish("", "q-ready", body)
    publisher.get_all("q-ready")
    ch.cast("basic.ack", delivery_tag=2, multiple=True)


@script
def quorum_limit_rejects_publish(s):
    """Some messages more than the limit may pass, so only the end is told."""
    ch, publisher = quorum(s, "q-refuses", "abcdef", max_length=2, overflow="reject-publish")
    publisher.get_all("q-refuses")
    publisher.publish("", "q-refuses", "again")


@script
def quorum_at_least_once(s):
    """Dead letters wait until their queue has them."""
    ch, publisher = quorum(
        s, "q-at-least", "ab", dead_letters=True, dead_letter_strategy="at-least-once", overflow="reject-publish", delivery_limit=1
    )
    ch.call("basic.get", queue="q-at-least")
    ch.cast("basic.reject", delivery_tag=1)
    await_state(publisher, "q-at-least-dead", 1)
    for tag, ready in ((2, 1), (3, 0)):
        ch.call("basic.get", queue="q-at-least")
        requeue(ch, publisher, "q-at-least", tag, ready)
    await_state(publisher, "q-at-least-dead", 2)
    publisher.get_all("q-at-least-dead")
