"""Quorum queues, on one node: what they refuse, and how they deliver and take back."""

from amqp import Tagged
from polls import await_ready, await_state
from transcript import shown

from . import script


def quorum(s, name, bodies="", dead_letters=False, **arguments):
    """Two channels and a quorum queue with these arguments, named without their prefix."""
    c = s.connect()
    ch, publisher = c.channel(1), c.channel(2)
    if dead_letters:
        publisher.call("queue.declare", queue=f"{name}-dead", exclusive=True)
        arguments |= {"dead-letter-exchange": "", "dead-letter-routing-key": f"{name}-dead"}
    publisher.call("queue.declare", queue=name, durable=True, arguments=arguments_of(arguments))
    publisher.call("confirm.select")
    for body in bodies:
        publisher.publish("", name, body)
    return ch, publisher


def arguments_of(arguments):
    return {"x-queue-type": "quorum"} | {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}


def settle(ch, name, **fields):
    """Settle and wait for what it lets through to the channel's consumer."""
    with ch.session.step(f"{ch.name} {name} {shown(fields)}; wait for a delivery"):
        ch.cast(name, **fields)
        ch.session.wait_for(ch.connection, "basic.deliver")


def requeue(ch, publisher, queue, tag, ready):
    """Give a message back, and wait until so many are ready: it is written to the log once more."""
    ch.cast("basic.nack", delivery_tag=tag, requeue=True)
    await_ready(publisher, queue, ready)


@script
def quorum_declare_refusals(s):
    ch = s.channel()
    for fields in ({}, {"durable": True, "exclusive": True}, {"durable": True, "auto_delete": True}, {"exclusive": True}, {"auto_delete": True}):
        ch.call("queue.declare", queue="refused-quorum", arguments={"x-queue-type": "quorum"}, **fields)
        ch.reopen()
    ch.call("queue.declare", durable=True, arguments={"x-queue-type": "quorum"})
    ch.reopen()
    for name, value in (
        ("x-max-priority", 5), ("x-queue-mode", "lazy"), ("x-queue-version", 2), ("x-max-age", "1D"), ("x-overflow", "reject-publish-dlx"),
        ("x-overflow", "nonsense"), ("x-dead-letter-strategy", "nonsense"), ("x-dead-letter-strategy", 1), ("x-delivery-limit", -1),
        ("x-delivery-limit", "3"), ("x-dead-letter-routing-key", "no exchange"), ("x-message-ttl", -1), ("x-expires", 0),
        ("x-max-length", -1), ("x-max-length-bytes", "1"), ("x-single-active-consumer", 1), ("x-quorum-initial-group-size", 0),
        ("x-quorum-initial-group-size", "1"), ("x-stream-max-segment-size-bytes", 1),
    ):
        ch.call("queue.declare", queue="refused-quorum", durable=True, arguments={"x-queue-type": "quorum", name: value})
        ch.reopen()
        ch.call_unrecorded("queue.delete", queue="refused-quorum")


@script
def quorum_arguments_of_classic_queues(s):
    """What only quorum queues know, given to a classic queue."""
    ch = s.channel()
    for name, value in (
        ("x-delivery-limit", 3), ("x-dead-letter-strategy", "at-least-once"), ("x-quorum-initial-group-size", 1),
        ("x-queue-leader-locator", "client-local"), ("x-max-in-memory-length", 1),
    ):
        ch.call("queue.declare", queue="classic-given", exclusive=True, arguments={name: value})
        ch.reopen()
        ch.call_unrecorded("queue.delete", queue="classic-given")


@script
def quorum_declare_accepted(s):
    ch = s.channel()
    for arguments in (
        {"delivery_limit": 0}, {"delivery_limit": Tagged("s", 3)}, {"max_length": 0}, {"max_length_bytes": 100},
        {"overflow": "drop-head"}, {"overflow": "reject-publish"}, {"message_ttl": 0}, {"expires": 100000},
        {"dead_letter_exchange": "absent", "dead_letter_routing_key": "k"}, {"dead_letter_strategy": "at-most-once"},
        {"dead_letter_strategy": "at-least-once"}, {"single_active_consumer": True}, {"quorum_initial_group_size": 1},
        {"max_in_memory_length": 1}, {"max_in_memory_bytes": 1}, {"queue_leader_locator": "client-local"}, {"unknown": 1},
    ):
        for _ in range(2):
            ch.call("queue.declare", queue="accepted-quorum", durable=True, arguments=arguments_of(arguments))
        ch.call("queue.delete", queue="accepted-quorum")


@script
def quorum_equivalence(s):
    ch, _ = quorum(s, "equal-quorum", "", delivery_limit=3, max_length=5)
    for arguments in (
        {"x-queue-type": "quorum", "x-delivery-limit": 3, "x-max-length": 5},
        {"x-queue-type": "quorum", "x-delivery-limit": 4, "x-max-length": 5},
        {"x-queue-type": "quorum", "x-max-length": 5},
        {"x-queue-type": "classic", "x-delivery-limit": 3, "x-max-length": 5},
        {"x-delivery-limit": 3, "x-max-length": 5},
        {},
    ):
        ch.call("queue.declare", queue="equal-quorum", durable=True, arguments=arguments)
        ch.reopen()
    ch.call("queue.declare", queue="equal-quorum", passive=True)
    ch.call("queue.declare", queue="plain", durable=True)
    ch.call("queue.declare", queue="plain", durable=True, arguments={"x-queue-type": "quorum"})


@script
def quorum_publish_get_ack(s):
    ch, publisher = quorum(s, "q-get", "abc")
    publisher.call("queue.declare", queue="q-get", passive=True)
    ch.call("basic.get", queue="q-get")
    ch.call("basic.get", queue="q-get", no_ack=True)
    ch.cast("basic.ack", delivery_tag=1)
    publisher.get_all("q-get")
    ch.cast("basic.ack", delivery_tag=1)


@script
def quorum_consume_and_ack(s):
    ch, publisher = quorum(s, "q-consume", "ab")
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.consume", queue="q-consume", consumer_tag="t")
    publisher.publish("", "q-consume", "c")
    settle(ch, "basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=3, multiple=True)
    await_state(publisher, "q-consume", 0, 1)


@script
def quorum_properties_kept(s):
    ch, publisher = quorum(s, "q-properties")
    publisher.publish("", "q-properties", "x", {"headers": {"h": 1}, "delivery_mode": 1, "priority": 3, "expiration": "100000"})
    publisher.publish("", "q-properties", "y")
    publisher.get_all("q-properties")


@script
def quorum_global_qos_refused(s):
    ch, _ = quorum(s, "q-qos", "a")
    ch.call("basic.qos", prefetch_count=1, global_=True)
    ch.call("basic.consume", queue="q-qos", consumer_tag="t")


@script
def quorum_exclusive_consumer(s):
    ch, publisher = quorum(s, "q-exclusive", "a")
    ch.call("basic.consume", queue="q-exclusive", consumer_tag="t", exclusive=True)
    publisher.call("basic.consume", queue="q-exclusive", consumer_tag="u")


@script
def quorum_delete_if_empty(s):
    ch, publisher = quorum(s, "q-delete-empty", "a")
    ch.call("queue.delete", queue="q-delete-empty", if_empty=True)


@script
def quorum_delete_if_unused(s):
    ch, publisher = quorum(s, "q-delete-unused", "a")
    ch.call("queue.delete", queue="q-delete-unused", if_unused=True)


@script
def quorum_delete(s):
    ch, publisher = quorum(s, "q-delete", "abc")
    ch.call("basic.get", queue="q-delete")
    ch.call("queue.delete", queue="q-delete")
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("queue.delete", queue="q-delete")


@script
def quorum_purge(s):
    """Unacked messages stay."""
    ch, publisher = quorum(s, "q-purge", "abc")
    ch.call("basic.get", queue="q-purge")
    publisher.call("queue.purge", queue="q-purge")
    requeue(ch, publisher, "q-purge", 1, 1)
    publisher.get_all("q-purge")


@script
def quorum_requeue_order_without_limit(s):
    ch, publisher = quorum(s, "q-back", "abcd")
    for _ in "abc":
        ch.call("basic.get", queue="q-back")
    for tag, ready in ((2, 2), (1, 3), (3, 4)):
        requeue(ch, publisher, "q-back", tag, ready)
    publisher.get_all("q-back")


@script
def quorum_requeue_order_with_limit(s):
    """With a delivery limit what is requeued goes to the back."""
    ch, publisher = quorum(s, "q-back-limited", "abcd", delivery_limit=5)
    for _ in "abc":
        ch.call("basic.get", queue="q-back-limited")
    for tag, ready in ((2, 2), (1, 3), (3, 4)):
        requeue(ch, publisher, "q-back-limited", tag, ready)
    publisher.get_all("q-back-limited")


@script
def quorum_requeue_multiple(s):
    ch, publisher = quorum(s, "q-back-multiple", "abcd", delivery_limit=5)
    for _ in "abc":
        ch.call("basic.get", queue="q-back-multiple")
    ch.cast("basic.nack", delivery_tag=3, multiple=True, requeue=True)
    await_ready(publisher, "q-back-multiple", 4)
    publisher.get_all("q-back-multiple")


@script
def quorum_requeue_by_channel_close(s):
    ch, publisher = quorum(s, "q-closed", "abcd", delivery_limit=5)
    for _ in "abc":
        ch.call("basic.get", queue="q-closed")
    ch.call("channel.close", reply_code=200)
    await_state(publisher, "q-closed", 4)
    publisher.get_all("q-closed")


@script
def quorum_requeue_by_channel_close_without_limit(s):
    ch, publisher = quorum(s, "q-closed-unlimited", "abcd")
    for _ in "abc":
        ch.call("basic.get", queue="q-closed-unlimited")
    ch.call("channel.close", reply_code=200)
    await_state(publisher, "q-closed-unlimited", 4)
    publisher.get_all("q-closed-unlimited")


@script
def quorum_requeue_to_consumer(s):
    ch, publisher = quorum(s, "q-loop", "ab")
    ch.call("basic.qos", prefetch_count=1)
    ch.call("basic.consume", queue="q-loop", consumer_tag="t")
    settle(ch, "basic.reject", delivery_tag=1, requeue=True)
    settle(ch, "basic.reject", delivery_tag=2, requeue=True)
    settle(ch, "basic.ack", delivery_tag=3)


@script
def quorum_single_active_consumer(s):
    c = s.connect()
    one, two, publisher = c.channel(1), c.channel(2), c.channel(3)
    publisher.call("queue.declare", queue="q-sac", durable=True, arguments=arguments_of({"single_active_consumer": True}))
    publisher.call("confirm.select")
    for ch, tag in ((one, "one"), (two, "two")):
        ch.call("basic.consume", queue="q-sac", consumer_tag=tag)
    publisher.publish("", "q-sac", "a")
    publisher.publish("", "q-sac", "b")
    one.cast("basic.ack", delivery_tag=1)
    one.call("basic.cancel", consumer_tag="one")
    publisher.publish("", "q-sac", "c")
    one.cast("basic.ack", delivery_tag=2)
    publisher.publish("", "q-sac", "d")
    publisher.call("queue.declare", queue="q-sac", passive=True)


@script
def quorum_single_active_consumer_closes(s):
    c = s.connect()
    one, two, publisher = c.channel(1), c.channel(2), c.channel(3)
    publisher.call("queue.declare", queue="q-sac-close", durable=True, arguments=arguments_of({"single_active_consumer": True}))
    publisher.call("confirm.select")
    for ch, tag in ((one, "one"), (two, "two")):
        ch.call("basic.consume", queue="q-sac-close", consumer_tag=tag)
    publisher.publish("", "q-sac-close", "a")
    with s.step("close the channel of the active consumer; the other gets its message"):
        one.call("channel.close", reply_code=200)
        s.wait_for(c, "basic.deliver")
    two.cast("basic.ack", delivery_tag=1)


@script
def quorum_single_active_get(s):
    ch, publisher = quorum(s, "q-sac-get", "a", single_active_consumer=True)
    ch.call("basic.get", queue="q-sac-get")


@script
def quorum_tx(s):
    ch, publisher = quorum(s, "q-tx", "ab")
    ch.call("tx.select")
    ch.call("basic.get", queue="q-tx")
    ch.cast("basic.ack", delivery_tag=1)
    ch.publish("", "q-tx", "c")
    ch.call("tx.commit")
    await_state(publisher, "q-tx", 2)
    publisher.get_all("q-tx")


@script
def quorum_bound_and_confirmed_with_classic(s):
    """One confirm for a message in queues of both kinds."""
    ch, publisher = quorum(s, "q-fanout")
    publisher.call("queue.declare", queue="classic-fanout", exclusive=True)
    for name in ("q-fanout", "classic-fanout"):
        publisher.call("queue.bind", queue=name, exchange="amq.fanout")
    publisher.publish("amq.fanout", "k", "x", mandatory=True)
    publisher.get_all("q-fanout")
    publisher.get_all("classic-fanout")
