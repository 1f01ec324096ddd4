"""basic.ack, nack, reject and recover; what is requeued and in which order it comes back."""

from . import script


def taken(s, name, bodies):
    """A channel that has got every message of an exclusive queue, and another channel."""
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue=name, exclusive=True)
    other.call("confirm.select")
    for body in bodies:
        other.publish("", name, body)
    for _ in bodies:
        ch.call("basic.get", queue=name)
    return ch, other


@script
def ack_unknown_tag(s):
    ch = s.channel()
    for tag, multiple in ((1, False), (1, True), (0, False), (2**64 - 1, False), (2**64 - 1, True)):
        ch.cast("basic.ack", delivery_tag=tag, multiple=multiple)
        ch.reopen()
    ch.cast("basic.ack", delivery_tag=0, multiple=True)


@script
def reject_unknown_tag(s):
    ch = s.channel()
    for tag in (1, 0, 2**63):
        ch.cast("basic.reject", delivery_tag=tag, requeue=True)
        ch.reopen()


@script
def nack_unknown_tag(s):
    ch = s.channel()
    for tag, multiple in ((1, False), (1, True), (0, False)):
        ch.cast("basic.nack", delivery_tag=tag, multiple=multiple, requeue=True)
        ch.reopen()
    ch.cast("basic.nack", delivery_tag=0, multiple=True, requeue=True)


@script
def ack_twice(s):
    ch, other = taken(s, "twice", "ab")
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=1)
    other.get_all("twice")


@script
def ack_multiple(s):
    ch, other = taken(s, "multiple", "abcd")
    ch.cast("basic.ack", delivery_tag=3, multiple=True)
    ch.cast("basic.ack", delivery_tag=4)
    ch.cast("basic.ack", delivery_tag=0, multiple=True)
    other.call("queue.delete", queue="multiple")


@script
def ack_multiple_twice(s):
    """The tag itself has to be outstanding."""
    ch, other = taken(s, "multiple-twice", "abcd")
    ch.cast("basic.ack", delivery_tag=3, multiple=True)
    ch.cast("basic.ack", delivery_tag=3, multiple=True)
    other.get_all("multiple-twice")


@script
def ack_multiple_of_settled_tag(s):
    """2 is settled, 1 is not: acking up to 2 is an error."""
    ch, other = taken(s, "multiple-settled", "abc")
    ch.cast("basic.ack", delivery_tag=2)
    ch.cast("basic.ack", delivery_tag=2, multiple=True)
    other.get_all("multiple-settled")


@script
def ack_multiple_beyond(s):
    ch, other = taken(s, "multiple-beyond", "ab")
    ch.cast("basic.ack", delivery_tag=5, multiple=True)
    other.get_all("multiple-beyond")


@script
def ack_multiple_with_holes(s):
    ch, other = taken(s, "holes", "abcde")
    ch.cast("basic.ack", delivery_tag=2)
    ch.cast("basic.ack", delivery_tag=4, multiple=True)
    ch.cast("basic.ack", delivery_tag=5)
    other.get_all("holes")


@script
def ack_tag_zero_multiple(s):
    ch, other = taken(s, "zero", "abc")
    ch.cast("basic.ack", delivery_tag=0, multiple=True)
    ch.cast("basic.ack", delivery_tag=0, multiple=True)
    other.get_all("zero")


@script
def ack_on_another_channel(s):
    ch, other = taken(s, "elsewhere", "a")
    other.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=1)


@script
def reject_requeue(s):
    ch, other = taken(s, "rejected", "abc")
    ch.cast("basic.reject", delivery_tag=2, requeue=True)
    other.get_all("rejected")
    ch.cast("basic.reject", delivery_tag=2, requeue=True)


@script
def reject_drop(s):
    ch, other = taken(s, "dropped", "ab")
    ch.cast("basic.reject", delivery_tag=1)
    ch.cast("basic.reject", delivery_tag=2, requeue=True)
    other.get_all("dropped")


@script
def nack_multiple_requeue(s):
    """Back to where they were, before what came later."""
    ch, other = taken(s, "original-order", "abcd")
    other.publish("", "original-order", "e")
    ch.cast("basic.nack", delivery_tag=3, multiple=True, requeue=True)
    other.get_all("original-order")
    ch.cast("basic.nack", delivery_tag=4, requeue=True)
    other.get_all("original-order")


@script
def nack_multiple_drop(s):
    ch, other = taken(s, "nack-dropped", "abc")
    ch.cast("basic.nack", delivery_tag=2, multiple=True)
    ch.cast("basic.nack", delivery_tag=3, multiple=True, requeue=True)
    other.get_all("nack-dropped")


@script
def nack_tag_zero(s):
    ch, other = taken(s, "nack-zero", "abc")
    ch.cast("basic.nack", delivery_tag=0, multiple=True, requeue=True)
    other.get_all("nack-zero")


@script
def requeue_out_of_order(s):
    """Requeued one by one, last first; each returns to its place."""
    ch, other = taken(s, "shuffled", "abcde")
    for tag in (4, 1, 5, 2, 3):
        ch.cast("basic.reject", delivery_tag=tag, requeue=True)
    other.get_all("shuffled")


@script
def requeue_between_ready(s):
    ch, other = taken(s, "between", "ab")
    other.publish("", "between", "c")
    other.publish("", "between", "d")
    ch.call("basic.get", queue="between")
    ch.cast("basic.nack", delivery_tag=3, requeue=True)
    ch.cast("basic.nack", delivery_tag=2, requeue=True)
    ch.cast("basic.nack", delivery_tag=1, requeue=True)
    other.get_all("between")


@script
def requeue_to_waiting_consumer(s):
    """A requeued message goes to a consumer at once, perhaps to the same one."""
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue="bounced", exclusive=True)
    other.call("confirm.select")
    other.publish("", "bounced", "a")
    ch.call("basic.consume", queue="bounced", consumer_tag="t")
    ch.cast("basic.reject", delivery_tag=1, requeue=True)
    ch.cast("basic.nack", delivery_tag=2, requeue=True)
    ch.cast("basic.ack", delivery_tag=3)


@script
def requeue_by_channel_close(s):
    ch, other = taken(s, "closed-over", "abc")
    ch.cast("basic.ack", delivery_tag=2)
    ch.call("channel.close", reply_code=200)
    other.get_all("closed-over")


@script
def requeue_by_channel_error(s):
    ch, other = taken(s, "error-over", "ab")
    ch.call("basic.get", queue="absent")
    other.get_all("error-over")


@script
def requeue_by_connection_close(s):
    ch, other = s.channel(), s.channel()
    other.call("queue.declare", queue="connection-over")
    other.call("confirm.select")
    for body in "abc":
        other.publish("", "connection-over", body)
    ch.call("basic.get", queue="connection-over")
    ch.call("basic.get", queue="connection-over")
    ch.connection.call("connection.close", reply_code=200)
    other.get_all("connection-over")


@script
def requeue_to_another_consumer(s):
    c = s.connect()
    one, two, publisher = c.channel(1), c.channel(2), c.channel(3)
    publisher.call("queue.declare", queue="handed-over", exclusive=True)
    publisher.call("confirm.select")
    one.call("basic.consume", queue="handed-over", consumer_tag="one")
    for body in "ab":
        publisher.publish("", "handed-over", body)
    two.call("basic.consume", queue="handed-over", consumer_tag="two")
    one.call("channel.close", reply_code=200)
    two.cast("basic.ack", delivery_tag=2, multiple=True)
    publisher.call("queue.delete", queue="handed-over")


@script
def recover(s):
    ch, other = taken(s, "recovered", "abc")
    ch.cast("basic.ack", delivery_tag=2)
    ch.call("basic.recover", requeue=True)
    other.get_all("recovered")
    ch.call("basic.recover", requeue=True)
    ch.cast("basic.ack", delivery_tag=1)


@script
def recover_with_consumer(s):
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue="recovering", exclusive=True)
    other.call("confirm.select")
    ch.call("basic.consume", queue="recovering", consumer_tag="t")
    other.publish("", "recovering", "a")
    other.publish("", "recovering", "b")
    with s.step("recover; wait for both"):
        ch.call("basic.recover", requeue=True)
        s.wait_for(c, "basic.deliver", 2)
    ch.cast("basic.ack", delivery_tag=4, multiple=True)


@script
def recover_async(s):
    ch, other = taken(s, "recover-async", "ab")
    ch.cast("basic.recover-async", requeue=True)
    other.get_all("recover-async")


@script
def recover_without_requeue(s):
    ch, _ = taken(s, "recover-refused", "a")
    ch.call("basic.recover", requeue=False)


@script
def recover_async_without_requeue(s):
    ch, _ = taken(s, "recover-async-refused", "a")
    ch.cast("basic.recover-async", requeue=False)


@script
def redelivered_flag(s):
    """True once a message was handed out, by get or to a consumer, acked or not."""
    ch, other = taken(s, "flagged", "ab")
    ch.cast("basic.nack", delivery_tag=1, requeue=True)
    ch.call("basic.get", queue="flagged")
    ch.cast("basic.nack", delivery_tag=3, requeue=True)
    ch.cast("basic.nack", delivery_tag=2, requeue=True)
    other.publish("", "flagged", "c")
    other.get_all("flagged")


@script
def settle_after_queue_delete(s):
    ch, other = taken(s, "vanished", "abc")
    other.call("queue.delete", queue="vanished")
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.nack", delivery_tag=2, requeue=True)
    ch.cast("basic.reject", delivery_tag=3)
    ch.cast("basic.ack", delivery_tag=3)


@script
def settle_messages_of_two_queues(s):
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("confirm.select")
    for name in ("first-queue", "second-queue"):
        other.call("queue.declare", queue=name, exclusive=True)
        other.publish("", name, name)
    ch.call("basic.get", queue="first-queue")
    ch.call("basic.get", queue="second-queue")
    ch.cast("basic.nack", delivery_tag=2, multiple=True, requeue=True)
    other.get_all("first-queue")
    other.get_all("second-queue")
