"""Publisher confirms and transactions."""

from . import script


@script
def confirm_select(s):
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("confirm.select")
    ch.cast("confirm.select", nowait=True)
    ch.publish("", "nowhere", "x")


@script
def confirm_select_nowait(s):
    ch = s.channel()
    ch.cast("confirm.select", nowait=True)
    ch.publish("", "nowhere", "x")


@script
def confirm_starts_with_select(s):
    """What was published before is not counted."""
    ch = s.channel()
    ch.publish("", "nowhere", "before")
    ch.call("confirm.select")
    ch.publish("", "nowhere", "after")


@script
def confirm_every_route(s):
    c = s.connect()
    ch = c.channel()
    ch.call("confirm.select")
    ch.call("queue.declare", queue="transient", exclusive=True)
    ch.call("queue.declare", queue="durable", durable=True)
    for name in ("transient", "durable"):
        ch.call("queue.bind", queue=name, exchange="amq.fanout")
        for mode in (1, 2):
            ch.publish("", name, "x", {"delivery_mode": mode})
    ch.publish("amq.fanout", "", "to both", {"delivery_mode": 2})
    ch.publish("amq.direct", "none", "to none")
    ch.publish("amq.direct", "none", "to none, mandatory", mandatory=True)


@script
def confirm_many_at_once(s):
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("queue.declare", queue="many", durable=True)
    with s.step("200 messages, some persistent, some to nowhere"):
        for n in range(200):
            ch.publish("", "many" if n % 3 else "nowhere", str(n), {"delivery_mode": 1 + n % 2})
        ch.await_confirms()
    ch.call("queue.delete", queue="many")


@script
def confirm_nack_by_reject_publish(s):
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("queue.declare", queue="full", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.publish("", "full", "fits")
    ch.publish("", "full", "does not")
    ch.publish("", "full", "does not, mandatory", mandatory=True)
    ch.call("basic.get", queue="full", no_ack=True)
    ch.publish("", "full", "fits again")


@script
def confirm_nack_by_one_of_two_queues(s):
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("queue.declare", queue="open-queue", exclusive=True)
    ch.call("queue.declare", queue="full-queue", exclusive=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    for name in ("open-queue", "full-queue"):
        ch.call("queue.bind", queue=name, exchange="amq.fanout")
    ch.publish("amq.fanout", "", "x")
    ch.get_all("open-queue")


@script
def confirm_after_channel_error(s):
    """Numbers start again with the channel."""
    ch = s.channel()
    ch.call("confirm.select")
    ch.publish("", "nowhere", "1")
    ch.publish("absent", "", "fails")
    ch.call("channel.open")
    ch.publish("", "nowhere", "not in confirm mode", mandatory=True)


@script
def confirm_max_length_drop_head(s):
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("queue.declare", queue="short", exclusive=True, arguments={"x-max-length": 2})
    for body in "abc":
        ch.publish("", "short", body)
    ch.get_all("short")


@script
def confirm_and_consume_on_one_channel(s):
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("queue.declare", queue="loop", exclusive=True)
    ch.call("basic.consume", queue="loop", consumer_tag="t", no_ack=True)
    ch.publish("", "loop", "x")
    ch.publish("", "loop", "y", {"delivery_mode": 2}, mandatory=True)


@script
def tx_errors(s):
    ch = s.channel()
    for name in ("tx.commit", "tx.rollback"):
        ch.call(name)
        ch.reopen()
    ch.call("tx.select")
    ch.call("tx.select")
    ch.call("confirm.select")


@script
def tx_after_confirm(s):
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("tx.select")


@script
def tx_after_confirm_nowait(s):
    ch = s.channel()
    ch.call("tx.select")
    ch.cast("confirm.select", nowait=True)


@script
def tx_publish_commit(s):
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue="tx-commit", exclusive=True)
    ch.call("tx.select")
    ch.publish("", "tx-commit", "a")
    ch.publish("", "tx-commit", "b")
    other.call("basic.get", queue="tx-commit")
    ch.call("tx.commit")
    other.get_all("tx-commit")
    ch.call("tx.commit")
    ch.publish("", "tx-commit", "c")
    ch.call("tx.commit")
    other.get_all("tx-commit")


@script
def tx_publish_rollback(s):
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue="tx-rollback", exclusive=True)
    ch.call("tx.select")
    ch.publish("", "tx-rollback", "gone")
    ch.call("tx.rollback")
    ch.publish("", "tx-rollback", "stays")
    ch.call("tx.commit")
    ch.call("tx.rollback")
    other.get_all("tx-rollback")


@script
def tx_mandatory(s):
    """Returns come with the commit."""
    ch = s.channel()
    ch.call("tx.select")
    ch.publish("", "nowhere", "a", mandatory=True)
    ch.publish("", "nowhere", "b", mandatory=True)
    ch.call("tx.commit")
    ch.publish("", "nowhere", "c", mandatory=True)
    ch.call("tx.rollback")
    ch.call("tx.commit")


@script
def tx_publish_errors_are_immediate(s):
    ch = s.channel()
    ch.call("tx.select")
    ch.publish("absent", "k", "x")


@script
def tx_routing_happens_at_publish(s):
    """Bindings made or removed between publish and commit do not count."""
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue="tx-bound-late", exclusive=True)
    other.call("exchange.declare", exchange="tx-routing", type="direct")
    ch.call("tx.select")
    ch.publish("tx-routing", "k", "not bound yet", mandatory=True)
    other.call("queue.bind", queue="tx-bound-late", exchange="tx-routing", routing_key="k")
    ch.publish("tx-routing", "k", "bound", mandatory=True)
    other.call("queue.unbind", queue="tx-bound-late", exchange="tx-routing", routing_key="k")
    ch.publish("tx-routing", "k", "no longer bound", mandatory=True)
    ch.call("tx.commit")
    other.get_all("tx-bound-late")


@script
def tx_queue_declared_before_commit(s):
    """The default exchange looks for the queue at commit."""
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    ch.call("tx.select")
    ch.publish("", "tx-late", "before the queue was there", mandatory=True)
    other.call("queue.declare", queue="tx-late", exclusive=True)
    ch.publish("", "tx-late", "after", mandatory=True)
    ch.call("tx.commit")
    other.get_all("tx-late")


@script
def tx_queue_deleted_before_commit(s):
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue="tx-deleted", exclusive=True)
    ch.call("tx.select")
    ch.publish("", "tx-deleted", "x", mandatory=True)
    other.call("queue.delete", queue="tx-deleted")
    ch.call("tx.commit")


@script
def tx_rejected_publish(s):
    c = s.connect()
    ch = c.channel(1)
    ch.call("queue.declare", queue="tx-full", exclusive=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    ch.call("tx.select")
    ch.publish("", "tx-full", "x")
    ch.call("tx.commit")


def _taken_in_tx(s, name, bodies):
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue=name, exclusive=True)
    other.call("confirm.select")
    for body in bodies:
        other.publish("", name, body)
    ch.call("tx.select")
    for _ in bodies:
        ch.call("basic.get", queue=name)
    return ch, other


@script
def tx_ack_commit(s):
    ch, other = _taken_in_tx(s, "tx-ack", "abc")
    ch.cast("basic.ack", delivery_tag=2, multiple=True)
    ch.call("tx.commit")
    ch.call("channel.close", reply_code=200)
    other.get_all("tx-ack")


@script
def tx_ack_rollback(s):
    """Undone acks leave the messages unacked, not redelivered."""
    ch, other = _taken_in_tx(s, "tx-ack-back", "abc")
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.nack", delivery_tag=2, requeue=True)
    ch.call("tx.rollback")
    other.call("basic.get", queue="tx-ack-back")
    ch.cast("basic.ack", delivery_tag=3, multiple=True)
    ch.call("tx.commit")
    ch.call("channel.close", reply_code=200)
    other.get_all("tx-ack-back")


@script
def tx_nack_and_reject_commit(s):
    ch, other = _taken_in_tx(s, "tx-nack", "abcd")
    ch.cast("basic.nack", delivery_tag=2, multiple=True, requeue=True)
    ch.cast("basic.reject", delivery_tag=3)
    ch.cast("basic.reject", delivery_tag=4, requeue=True)
    other.call("basic.get", queue="tx-nack")
    ch.call("tx.commit")
    other.get_all("tx-nack")


@script
def tx_ack_not_committed(s):
    ch, other = _taken_in_tx(s, "tx-open", "ab")
    ch.cast("basic.ack", delivery_tag=1)
    ch.publish("", "tx-open", "never")
    ch.call("channel.close", reply_code=200)
    other.get_all("tx-open")


@script
def tx_unknown_tag_is_immediate(s):
    ch, other = _taken_in_tx(s, "tx-unknown", "a")
    ch.cast("basic.ack", delivery_tag=7)
    ch.reopen()
    other.get_all("tx-unknown")


@script
def tx_tag_twice_is_immediate(s):
    ch, other = _taken_in_tx(s, "tx-twice", "ab")
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=1)
    other.get_all("tx-twice")


@script
def tx_ack_same_tag_after_rollback(s):
    ch, other = _taken_in_tx(s, "tx-after", "ab")
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("tx.rollback")
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=2)
    ch.call("tx.commit")
    ch.cast("basic.ack", delivery_tag=2)


@script
def tx_rollback_then_multiple(s):
    ch, other = _taken_in_tx(s, "tx-back-multiple", "abcd")
    ch.cast("basic.ack", delivery_tag=3)
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("tx.rollback")
    ch.cast("basic.ack", delivery_tag=3, multiple=True)
    ch.call("tx.commit")
    ch.cast("basic.ack", delivery_tag=4)
    ch.call("tx.commit")
    other.call("queue.delete", queue="tx-back-multiple")


@script
def tx_credit_returns_at_commit(s):
    c = s.connect()
    ch, other = c.channel(1), c.channel(2)
    other.call("queue.declare", queue="tx-credit", exclusive=True)
    other.call("confirm.select")
    ch.call("basic.qos", prefetch_count=1)
    ch.call("tx.select")
    ch.call("basic.consume", queue="tx-credit", consumer_tag="t")
    for body in "abc":
        other.publish("", "tx-credit", body)
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("tx.commit")
    ch.cast("basic.ack", delivery_tag=2)
    ch.call("tx.rollback")
    ch.cast("basic.ack", delivery_tag=2)
    ch.call("tx.commit")


@script
def tx_recover(s):
    ch, other = _taken_in_tx(s, "tx-recover", "abc")
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("basic.recover", requeue=True)
    other.get_all("tx-recover")
    ch.call("tx.rollback")
    ch.call("channel.close", reply_code=200)
    other.get_all("tx-recover")
