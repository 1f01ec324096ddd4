"""x-max-length, x-max-length-bytes and what happens to a message too many."""

from . import script
from .dead_letters import dying


def limited(s, name, bodies="", **limits):
    """Two channels and an exclusive queue with these limits, named without their prefix."""
    c = s.connect()
    ch, publisher = c.channel(1), c.channel(2)
    arguments = {f"x-{key.replace('_', '-')}": value for key, value in limits.items()}
    publisher.call("queue.declare", queue=name, exclusive=True, arguments=arguments)
    publisher.call("confirm.select")
    for body in bodies:
        publisher.publish("", name, body)
    return ch, publisher


@script
def limit_drops_the_head(s):
    ch, publisher = limited(s, "three", "abcde", max_length=3)
    publisher.call("queue.declare", queue="three", passive=True)
    publisher.get_all("three")


@script
def limit_of_bytes_drops_the_head(s):
    """Bodies are counted, not headers or properties; one body may push out several."""
    ch, publisher = limited(s, "ten-bytes", ["aaa", "bbb", "cccc"], max_length_bytes=10)
    publisher.call("queue.declare", queue="ten-bytes", passive=True)
    publisher.publish("", "ten-bytes", "d" * 7, {"headers": {"long": "x" * 100}})
    publisher.call("queue.declare", queue="ten-bytes", passive=True)
    publisher.publish("", "ten-bytes", "", {})
    publisher.publish("", "ten-bytes", "", {})
    publisher.publish("", "ten-bytes", "e" * 10)
    publisher.get_all("ten-bytes")


@script
def limit_of_bytes_smaller_than_a_message(s):
    """A message larger than the limit drops everything, itself too."""
    ch, publisher = limited(s, "too-small", ["a", "b" * 11, "c"], max_length_bytes=10)
    publisher.get_all("too-small")


@script
def limit_of_both(s):
    ch, publisher = limited(s, "both", ["aaa", "b", "c", "d", "eeee", "ffffffff"], max_length=3, max_length_bytes=8)
    publisher.get_all("both")


@script
def limit_zero(s):
    """Only a consumer that waits gets anything."""
    ch, publisher = limited(s, "nothing", "a", max_length=0)
    publisher.publish("", "nothing", "b", mandatory=True)
    publisher.get_all("nothing")
    ch.call("basic.consume", queue="nothing", consumer_tag="t")
    publisher.publish("", "nothing", "c")
    ch.cast("basic.reject", delivery_tag=1, requeue=True)


@script
def limit_zero_bytes(s):
    """An empty body has no bytes."""
    ch, publisher = limited(s, "no-bytes", ["a", "", ""], max_length_bytes=0)
    publisher.get_all("no-bytes")


@script
def limit_counts_ready_only(s):
    """Unacked messages do not count."""
    ch, publisher = limited(s, "ready-only", "ab", max_length=2)
    ch.call("basic.get", queue="ready-only")
    ch.call("basic.get", queue="ready-only")
    for body in "cde":
        publisher.publish("", "ready-only", body)
    publisher.call("queue.declare", queue="ready-only", passive=True)
    ch.cast("basic.ack", delivery_tag=1, multiple=True)
    publisher.get_all("ready-only")


@script
def limit_after_requeue(s):
    """What comes back may exceed the limit; the head is dropped for it."""
    ch, publisher = limited(s, "requeued", "ab", max_length=2)
    ch.call("basic.get", queue="requeued")
    ch.call("basic.get", queue="requeued")
    publisher.publish("", "requeued", "c")
    publisher.publish("", "requeued", "d")
    ch.cast("basic.nack", delivery_tag=2, requeue=True)
    publisher.call("queue.declare", queue="requeued", passive=True)
    ch.cast("basic.nack", delivery_tag=1, requeue=True)
    publisher.call("queue.declare", queue="requeued", passive=True)
    publisher.get_all("requeued")


@script
def limit_after_requeue_dead_letters(s):
    ch, publisher = dying(s, "requeued-dead", "abc", {"x-max-length": 3})
    for _ in "abc":
        ch.call("basic.get", queue="requeued-dead")
    for body in "de":
        publisher.publish("", "requeued-dead", body)
    ch.cast("basic.nack", delivery_tag=0, multiple=True, requeue=True)
    publisher.get_all("dead")
    publisher.get_all("requeued-dead")


@script
def limit_after_requeue_by_channel_close(s):
    ch, publisher = dying(s, "closed-over", "abc", {"x-max-length": 3})
    for _ in "abc":
        ch.call("basic.get", queue="closed-over")
    for body in "de":
        publisher.publish("", "closed-over", body)
    ch.call("channel.close", reply_code=200)
    publisher.get_all("dead")
    publisher.get_all("closed-over")


@script
def limit_after_requeue_with_reject_publish(s):
    """Nothing is dropped; publishes are refused until there is room again."""
    ch, publisher = limited(s, "requeued-full", "ab", max_length=2, overflow="reject-publish")
    ch.call("basic.get", queue="requeued-full")
    ch.call("basic.get", queue="requeued-full")
    for body in "cd":
        publisher.publish("", "requeued-full", body)
    ch.cast("basic.nack", delivery_tag=2, multiple=True, requeue=True)
    publisher.call("queue.declare", queue="requeued-full", passive=True)
    for body in "ef":
        publisher.publish("", "requeued-full", body)
        ch.call("basic.get", queue="requeued-full", no_ack=True)
    publisher.get_all("requeued-full")


@script
def limit_rejects_publish(s):
    ch, publisher = limited(s, "rejects", "abcd", max_length=2, overflow="reject-publish")
    publisher.publish("", "rejects", "e", mandatory=True)
    ch.publish("", "rejects", "not confirmed, so it is dropped without a word")
    publisher.get_all("rejects")
    publisher.publish("", "rejects", "fits again")
    publisher.get_all("rejects")


@script
def limit_of_bytes_rejects_publish(s):
    """Refused once the limit is reached; whether one message passes it is RabbitMQ's to say."""
    ch, publisher = limited(s, "rejects-bytes", ["aaaa", "bbbb", "cccc", "d", "e"], max_length_bytes=10, overflow="reject-publish")
    publisher.call("queue.declare", queue="rejects-bytes", passive=True)
    publisher.publish("", "rejects-bytes", "")
    publisher.get_all("rejects-bytes")


@script
def limit_of_bytes_rejects_larger_message(s):
    ch, publisher = limited(s, "larger", ["a" * 11, "b" * 10, "c", ""], max_length_bytes=10, overflow="reject-publish")
    publisher.get_all("larger")


@script
def limit_zero_rejects_publish(s):
    """Refused even though a consumer waits."""
    ch, publisher = limited(s, "rejects-all", "a", max_length=0, overflow="reject-publish")
    ch.call("basic.consume", queue="rejects-all", consumer_tag="t")
    publisher.publish("", "rejects-all", "b")


@script
def limit_rejects_publish_with_waiting_consumer(s):
    ch, publisher = limited(s, "taken", "", max_length=1, overflow="reject-publish")
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.consume", queue="taken", consumer_tag="t")
    for body in "abcd":
        publisher.publish("", "taken", body)
    ch.cast("basic.ack", delivery_tag=1)
    publisher.publish("", "taken", "e")


@script
def limit_drops_head_with_consumer(s):
    """Delivered first, so the limit is not reached."""
    ch, publisher = limited(s, "delivers", "", max_length=1)
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.consume", queue="delivers", consumer_tag="t")
    for body in "abcd":
        publisher.publish("", "delivers", body)
    ch.cast("basic.ack", delivery_tag=2, multiple=True)
    publisher.get_all("delivers")


@script
def limit_confirms_in_order(s):
    """Acks and nacks among each other."""
    ch, publisher = limited(s, "mixed", "", max_length=2, overflow="reject-publish")
    with s.step("five messages; two fit"):
        for n in range(5):
            publisher.publish("", "mixed", str(n), {"delivery_mode": 1 + n % 2})
        publisher.await_confirms()
    publisher.get_all("mixed")


@script
def limit_rejected_by_one_of_several_queues(s):
    """One refusal is a nack, the other queues keep the message."""
    ch, publisher = limited(s, "full", "", max_length=1, overflow="reject-publish")
    for name in ("full", "roomy", "dropping"):
        arguments = {"x-max-length": 1} if name == "dropping" else {}
        if name != "full":
            publisher.call("queue.declare", queue=name, exclusive=True, arguments=arguments)
        publisher.call("queue.bind", queue=name, exchange="amq.fanout")
    for body in "abc":
        publisher.publish("amq.fanout", "", body)
    for name in ("full", "roomy", "dropping"):
        publisher.get_all(name)


@script
def limit_in_tx(s):
    ch, publisher = limited(s, "tx-dropping", "ab", max_length=2)
    ch.call("tx.select")
    for body in "cd":
        ch.publish("", "tx-dropping", body)
    publisher.call("queue.declare", queue="tx-dropping", passive=True)
    ch.call("tx.commit")
    publisher.get_all("tx-dropping")


@script
def limit_in_tx_rejects_publish(s):
    """A refused publish is an error of the commit; the rest of the transaction is done."""
    ch, publisher = limited(s, "tx-rejecting", "a", max_length=2, overflow="reject-publish")
    ch.call("tx.select")
    for body in "bcd":
        ch.publish("", "tx-rejecting", body)
    ch.call("tx.commit")
    publisher.get_all("tx-rejecting")


@script
def limit_with_reject_publish_and_persistent_messages(s):
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("queue.declare", queue="durable-full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    for body in "abc":
        ch.publish("", "durable-full", body, {"delivery_mode": 2})
    ch.get_all("durable-full")


@script
def limit_of_dead_letter_queue(s):
    """A dead letter queue with a limit: dropping or refusing dead letters is nobody's error."""
    ch, publisher = dying(s, "source", "abc", exchange="amq.fanout")
    for name, overflow in (("dropping", "drop-head"), ("refusing", "reject-publish")):
        publisher.call("queue.declare", queue=name, exclusive=True, arguments={"x-max-length": 1, "x-overflow": overflow})
        publisher.call("queue.bind", queue=name, exchange="amq.fanout")
    for _ in "abc":
        ch.call("basic.get", queue="source")
    ch.cast("basic.nack", multiple=True)
    publisher.get_all("dropping")
    publisher.get_all("refusing")


@script
def limit_large_values(s):
    ch, publisher = limited(s, "enormous", "ab", max_length=2**62, max_length_bytes=2**62)
    publisher.get_all("enormous")
