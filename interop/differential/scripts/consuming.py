"""basic.consume, cancel, get and qos."""

from amqp import Tagged

from . import script


def filled(s, name, bodies, **options):
    """Two channels of one connection and an exclusive queue with messages."""
    c = s.connect(**options)
    ch, publisher = c.channel(1), c.channel(2)
    publisher.call("queue.declare", queue=name, exclusive=True)
    publisher.call("confirm.select")
    for body in bodies:
        publisher.publish("", name, body)
    return ch, publisher


@script
def consume_and_ack(s):
    ch, publisher = filled(s, "work", "ab")
    ch.call("basic.consume", queue="work", consumer_tag="t")
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=2)
    publisher.publish("", "work", "c")
    ch.cast("basic.ack", delivery_tag=3)
    publisher.call("queue.declare", queue="work", passive=True)


@script
def consume_no_ack(s):
    ch, publisher = filled(s, "fast", "ab")
    ch.call("basic.consume", queue="fast", consumer_tag="t", no_ack=True)
    publisher.publish("", "fast", "c")
    publisher.call("queue.declare", queue="fast", passive=True)
    ch.cast("basic.ack", delivery_tag=1)


@script
def consume_server_named_tag(s):
    ch, _ = filled(s, "tagged", "")
    first = ch.call("basic.consume", queue="tagged")
    ch.call("basic.consume", queue="tagged")
    ch.call("basic.cancel", consumer_tag=first["consumer-tag"])


@script
def consume_tags(s):
    ch, _ = filled(s, "tags", "")
    for tag in ("t" * 255, "spaces and ünïcödé", "amq.ctag-mine", "line\r\nbreak"):
        ch.call("basic.consume", queue="tags", consumer_tag=tag)


@script
def consume_tag_reused(s):
    ch, _ = filled(s, "reused", "")
    ch.call("basic.consume", queue="reused", consumer_tag="t")
    ch.call("basic.consume", queue="reused", consumer_tag="t")


@script
def consume_tag_reused_after_cancel(s):
    ch, publisher = filled(s, "again", "")
    for _ in range(2):
        ch.call("basic.consume", queue="again", consumer_tag="t", no_ack=True)
        publisher.publish("", "again", "x")
        ch.call("basic.cancel", consumer_tag="t")
    publisher.call("basic.consume", queue="again", consumer_tag="t")


@script
def consume_tag_on_two_channels(s):
    ch, publisher = filled(s, "two-channels", "")
    ch.call("basic.consume", queue="two-channels", consumer_tag="t")
    publisher.call("basic.consume", queue="two-channels", consumer_tag="t")


@script
def consume_nowait(s):
    ch, publisher = filled(s, "quiet-consumer", "a")
    ch.cast("basic.consume", queue="quiet-consumer", consumer_tag="t", nowait=True)
    ch.cast("basic.cancel", consumer_tag="t", nowait=True)
    publisher.publish("", "quiet-consumer", "b")
    publisher.call("queue.declare", queue="quiet-consumer", passive=True)


@script
def consume_nowait_without_tag(s):
    """The server names a consumer whose name nobody learns until a delivery."""
    ch, publisher = filled(s, "quiet-unnamed", "a")
    ch.cast("basic.consume", queue="quiet-unnamed", nowait=True)


@script
def consume_exclusive(s):
    ch, other = filled(s, "sole", "")
    ch.call("basic.consume", queue="sole", consumer_tag="t", exclusive=True)
    other.call("basic.consume", queue="sole", consumer_tag="u")
    other.reopen()
    other.call("basic.consume", queue="sole", consumer_tag="u", exclusive=True)
    other.reopen()
    other.call("basic.get", queue="sole")
    ch.call("basic.cancel", consumer_tag="t")
    other.call("basic.consume", queue="sole", consumer_tag="u")
    ch.call("basic.consume", queue="sole", consumer_tag="t", exclusive=True)


@script
def consume_exclusive_again_on_same_channel(s):
    ch, _ = filled(s, "sole-again", "")
    ch.call("basic.consume", queue="sole-again", consumer_tag="t", exclusive=True)
    ch.call("basic.consume", queue="sole-again", consumer_tag="u")


@script
def consume_exclusive_released_by_channel_close(s):
    ch, other = filled(s, "sole-released", "")
    ch.call("basic.consume", queue="sole-released", exclusive=True)
    ch.call("channel.close", reply_code=200)
    other.call("basic.consume", queue="sole-released", exclusive=True)


@script
def consume_no_local(s):
    """no-local is accepted and does nothing."""
    ch = s.channel()
    ch.call("queue.declare", queue="local", exclusive=True)
    ch.call("confirm.select")
    ch.call("basic.consume", queue="local", consumer_tag="t", no_local=True, no_ack=True)
    ch.publish("", "local", "from the same connection")


@script
def consume_priority(s):
    ch, publisher = filled(s, "priority", "")
    ch.call("basic.consume", queue="priority", consumer_tag="low", arguments={"x-priority": -1}, no_ack=True)
    ch.call("basic.consume", queue="priority", consumer_tag="plain", no_ack=True)
    ch.call("basic.consume", queue="priority", consumer_tag="high", arguments={"x-priority": Tagged("l", 2**40)}, no_ack=True)
    publisher.publish("", "priority", "1")
    publisher.publish("", "priority", "2")
    ch.call("basic.cancel", consumer_tag="high")
    publisher.publish("", "priority", "3")
    ch.call("basic.cancel", consumer_tag="plain")
    publisher.publish("", "priority", "4")


@script
def consume_priority_gives_way_without_credit(s):
    ch, publisher = filled(s, "priority-credit", "")
    ch.call("basic.qos", prefetch_count=1)
    ch.call("basic.consume", queue="priority-credit", consumer_tag="high", arguments={"x-priority": 5})
    ch.call("basic.consume", queue="priority-credit", consumer_tag="low")
    for body in "123":
        publisher.publish("", "priority-credit", body)
    ch.cast("basic.ack", delivery_tag=1)


@script
def consume_priority_invalid(s):
    ch, _ = filled(s, "bad-priority", "")
    for value in ("high", True, 1.5, None, [1]):
        ch.call("basic.consume", queue="bad-priority", consumer_tag="t", arguments={"x-priority": value})
        ch.reopen()


@script
def consume_arguments_unknown(s):
    ch, _ = filled(s, "any-arguments", "")
    ch.call("basic.consume", queue="any-arguments", consumer_tag="t", arguments={"x-cancel-on-ha-failover": True, "x": {"y": [1]}})


@script
def consume_round_robin(s):
    ch, publisher = filled(s, "robin", "")
    for tag in ("a", "b", "c"):
        ch.call("basic.consume", queue="robin", consumer_tag=tag)
    for n in range(7):
        publisher.publish("", "robin", str(n))
    ch.call("basic.cancel", consumer_tag="b")
    for n in range(7, 10):
        publisher.publish("", "robin", str(n))


@script
def consume_round_robin_over_connections(s):
    one, two = s.channel(), s.channel()
    one.call("queue.declare", queue="robin-far")
    one.call("confirm.select")
    one.call("basic.consume", queue="robin-far", consumer_tag="near")
    two.call("basic.consume", queue="robin-far", consumer_tag="far")
    for n in range(4):
        one.publish("", "robin-far", str(n))


@script
def consume_backlog_is_shared(s):
    """The first consumer takes what its prefetch lets it; the next gets the rest."""
    ch, publisher = filled(s, "backlog", "abcde")
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.consume", queue="backlog", consumer_tag="one")
    ch.call("basic.consume", queue="backlog", consumer_tag="two")
    publisher.call("queue.declare", queue="backlog", passive=True)
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=4, multiple=True)


@script
def cancel(s):
    ch, publisher = filled(s, "cancelled", "a")
    ch.call("basic.consume", queue="cancelled", consumer_tag="t")
    ch.call("basic.cancel", consumer_tag="t")
    publisher.publish("", "cancelled", "b")
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("basic.cancel", consumer_tag="t")
    ch.call("basic.cancel", consumer_tag="never")
    ch.call("basic.cancel", consumer_tag="")
    publisher.call("queue.declare", queue="cancelled", passive=True)


@script
def cancel_from_another_channel(s):
    """A tag belongs to its channel."""
    ch, other = filled(s, "cancel-other", "")
    ch.call("basic.consume", queue="cancel-other", consumer_tag="t")
    other.call("basic.cancel", consumer_tag="t")
    other.call("queue.declare", queue="cancel-other", passive=True)


@script
def cancel_keeps_unacked(s):
    ch, publisher = filled(s, "kept", "abc")
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.consume", queue="kept", consumer_tag="t")
    ch.call("basic.cancel", consumer_tag="t")
    ch.cast("basic.nack", delivery_tag=2, requeue=True)
    publisher.call("queue.declare", queue="kept", passive=True)
    ch.cast("basic.ack", delivery_tag=1)
    publisher.get_all("kept")


@script
def cancel_notify_on_queue_delete(s):
    ch, other = filled(s, "notified", "a")
    ch.call("basic.consume", queue="notified", consumer_tag="one")
    ch.call("basic.consume", queue="notified", consumer_tag="two", no_ack=True)
    other.call("queue.delete", queue="notified")
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("basic.cancel", consumer_tag="one")
    ch.call("queue.declare", queue="notified", exclusive=True)
    ch.call("basic.consume", queue="notified", consumer_tag="one")


@script
def cancel_notify_by_own_delete(s):
    ch, _ = filled(s, "own-delete", "")
    ch.call("basic.consume", queue="own-delete", consumer_tag="t")
    ch.call("queue.delete", queue="own-delete")


@script
def cancel_notify_not_wanted(s):
    """Without the capability the consumer just stops."""
    ch, other = filled(s, "unnotified", "", capabilities={})
    ch.call("basic.consume", queue="unnotified", consumer_tag="t")
    other.call("queue.delete", queue="unnotified")
    ch.call("basic.cancel", consumer_tag="t")


@script
def cancel_notify_when_owner_leaves(s):
    """An exclusive queue has no foreign consumers, but an auto-delete one may."""
    owner, other = s.channel(), s.channel()
    owner.call("queue.declare", queue="left", auto_delete=True)
    other.call("basic.consume", queue="left", consumer_tag="t")
    owner.connection.call("connection.close", reply_code=200)
    other.call("queue.declare", queue="left", passive=True)
    other.call("queue.delete", queue="left")


@script
def get(s):
    ch, publisher = filled(s, "gotten", "abc")
    ch.call("basic.get", queue="gotten")
    ch.call("basic.get", queue="gotten", no_ack=True)
    publisher.call("queue.declare", queue="gotten", passive=True)
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("basic.get", queue="gotten")
    ch.call("basic.get", queue="gotten")
    ch.cast("basic.reject", delivery_tag=3, requeue=True)
    ch.call("basic.get", queue="gotten", no_ack=True)


@script
def get_no_ack_takes_a_tag(s):
    ch, _ = filled(s, "no-ack-tag", "ab")
    ch.call("basic.get", queue="no-ack-tag", no_ack=True)
    ch.call("basic.get", queue="no-ack-tag")
    ch.cast("basic.ack", delivery_tag=1)


@script
def get_ignores_prefetch(s):
    ch, _ = filled(s, "unlimited-get", "abc")
    ch.call("basic.qos", prefetch_count=1, global_=True)
    for _ in range(3):
        ch.call("basic.get", queue="unlimited-get")


@script
def get_shares_tags_with_deliveries(s):
    ch, publisher = filled(s, "shared-tags", "ab")
    ch.call("basic.get", queue="shared-tags")
    ch.call("basic.consume", queue="shared-tags", consumer_tag="t")
    publisher.publish("", "shared-tags", "c")
    ch.cast("basic.ack", delivery_tag=3, multiple=True)
    publisher.call("queue.declare", queue="shared-tags", passive=True)


@script
def qos_prefetch_size(s):
    ch = s.channel()
    ch.call("basic.qos", prefetch_size=1000)


@script
def qos_prefetch_size_global(s):
    ch = s.channel()
    ch.call("basic.qos", prefetch_size=1, prefetch_count=1, global_=True)


@script
def qos_per_consumer(s):
    """Without `global` the limit is for consumers started afterwards, each its own."""
    ch, publisher = filled(s, "per-consumer", "abcdefgh")
    ch.call("basic.qos", prefetch_count=1)
    ch.call("basic.consume", queue="per-consumer", consumer_tag="one")
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.consume", queue="per-consumer", consumer_tag="two")
    ch.call("basic.qos", prefetch_count=3)
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=3)
    publisher.call("queue.declare", queue="per-consumer", passive=True)


@script
def qos_unlimited(s):
    ch, _ = filled(s, "unlimited", "abcdef")
    ch.call("basic.qos", prefetch_count=0)
    ch.call("basic.consume", queue="unlimited", consumer_tag="t")


@script
def qos_ignored_by_no_ack(s):
    ch, _ = filled(s, "no-ack-qos", "abcdef")
    ch.call("basic.qos", prefetch_count=1)
    ch.call("basic.consume", queue="no-ack-qos", consumer_tag="t", no_ack=True)


@script
def qos_global(s):
    """With `global` the limit is shared by the channel, also by consumers there before."""
    ch, publisher = filled(s, "global", "abcdefgh")
    ch.call("basic.qos", prefetch_count=3, global_=True)
    ch.call("basic.consume", queue="global", consumer_tag="one")
    ch.call("basic.consume", queue="global", consumer_tag="two")
    publisher.call("queue.declare", queue="global", passive=True)
    ch.cast("basic.ack", delivery_tag=1)
    ch.cast("basic.ack", delivery_tag=3, multiple=True)


@script
def qos_global_lowered(s):
    ch, publisher = filled(s, "lowered", "abcdefgh")
    ch.call("basic.qos", prefetch_count=4, global_=True)
    ch.call("basic.consume", queue="lowered", consumer_tag="t")
    ch.call("basic.qos", prefetch_count=2, global_=True)
    for tag in (1, 2, 3):
        ch.cast("basic.ack", delivery_tag=tag)


@script
def qos_global_raised(s):
    ch, publisher = filled(s, "raised", "abcdef")
    ch.call("basic.qos", prefetch_count=1, global_=True)
    ch.call("basic.consume", queue="raised", consumer_tag="t")
    ch.call("basic.qos", prefetch_count=3, global_=True)
    ch.call("basic.qos", prefetch_count=0, global_=True)


@script
def qos_global_set_late(s):
    """What is unacked already counts."""
    ch, publisher = filled(s, "late", "ab")
    ch.call("basic.consume", queue="late", consumer_tag="t")
    ch.call("basic.qos", prefetch_count=2, global_=True)
    publisher.publish("", "late", "c")
    ch.cast("basic.ack", delivery_tag=1)


@script
def qos_global_and_per_consumer(s):
    ch, publisher = filled(s, "both-limits", "abcdefgh")
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.qos", prefetch_count=3, global_=True)
    ch.call("basic.consume", queue="both-limits", consumer_tag="one")
    ch.call("basic.consume", queue="both-limits", consumer_tag="two")
    ch.cast("basic.ack", delivery_tag=3)
    ch.cast("basic.ack", delivery_tag=1)


@script
def qos_per_consumer_drops_global(s):
    """global=true then false leaves only the limit per consumer."""
    ch, publisher = filled(s, "drops-global", "abcdefgh")
    ch.call("basic.qos", prefetch_count=1, global_=True)
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.consume", queue="drops-global", consumer_tag="one")
    ch.call("basic.consume", queue="drops-global", consumer_tag="two")


@script
def qos_global_and_no_ack(s):
    """No-ack deliveries are not counted, but pause while the channel is at its limit."""
    ch, publisher = filled(s, "limit-no-ack", "")
    publisher.call("queue.declare", queue="limit-no-ack-2", exclusive=True)
    ch.call("basic.qos", prefetch_count=1, global_=True)
    ch.call("basic.consume", queue="limit-no-ack", consumer_tag="acked")
    ch.call("basic.consume", queue="limit-no-ack-2", consumer_tag="not-acked", no_ack=True)
    publisher.publish("", "limit-no-ack-2", "1")
    publisher.publish("", "limit-no-ack-2", "2")
    publisher.publish("", "limit-no-ack", "3")
    publisher.publish("", "limit-no-ack-2", "4")
    ch.cast("basic.ack", delivery_tag=3)


@script
def qos_prefetch_of_two_queues(s):
    ch, publisher = filled(s, "first-of-two", "ab")
    publisher.call("queue.declare", queue="second-of-two", exclusive=True)
    ch.call("basic.qos", prefetch_count=1, global_=True)
    ch.call("basic.consume", queue="first-of-two", consumer_tag="one")
    ch.call("basic.consume", queue="second-of-two", consumer_tag="two")
    publisher.publish("", "second-of-two", "c")
    ch.call("basic.cancel", consumer_tag="one")
    ch.cast("basic.ack", delivery_tag=1)


@script
def consume_single_active(s):
    ch, publisher = filled(s, "ordinary", "")
    publisher.call("queue.declare", queue="single-active", exclusive=True, arguments={"x-single-active-consumer": True})
    ch.call("basic.consume", queue="single-active", consumer_tag="one")
    ch.call("basic.consume", queue="single-active", consumer_tag="two")
    for body in "123":
        publisher.publish("", "single-active", body)
    ch.call("basic.cancel", consumer_tag="one")
    publisher.publish("", "single-active", "4")
    ch.call("basic.consume", queue="single-active", consumer_tag="three", exclusive=True)


@script
def consumer_on_two_queues_of_two_connections(s):
    one, two = s.channel(), s.channel()
    one.call("queue.declare", queue="left-queue")
    two.call("queue.declare", queue="right-queue")
    one.call("basic.consume", queue="right-queue", consumer_tag="t")
    two.call("basic.consume", queue="left-queue", consumer_tag="t")
    for ch, name in ((one, "left-queue"), (two, "right-queue")):
        ch.call("confirm.select")
        ch.publish("", name, "crossed")
