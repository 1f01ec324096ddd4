"""Which messages are dead-lettered, where they go and in which order."""

from polls import await_state

from . import script


def dying(s, name, bodies="", arguments=None, **dead_letter):
    """Two channels and an exclusive queue whose dead letters go to the queue dead by the default exchange.

    `dead_letter` has other arguments of dead lettering than these, without their prefix; `arguments`
    more arguments of the queue.
    """
    c = s.connect()
    ch, publisher = c.channel(1), c.channel(2)
    publisher.call("queue.declare", queue="dead", exclusive=True)
    to = dead_letter or {"exchange": "", "routing_key": "dead"}
    to = {f"x-dead-letter-{key.replace('_', '-')}": value for key, value in to.items()}
    publisher.call("queue.declare", queue=name, exclusive=True, arguments=to | (arguments or {}))
    publisher.call("confirm.select")
    for body in bodies:
        publisher.publish("", name, body)
    return ch, publisher


@script
def dead_letter_rejected(s):
    ch, publisher = dying(s, "rejects", "abc")
    for _ in "abc":
        ch.call("basic.get", queue="rejects")
    ch.cast("basic.reject", delivery_tag=2)
    ch.cast("basic.nack", delivery_tag=1)
    ch.cast("basic.nack", delivery_tag=3, requeue=True)
    publisher.get_all("dead")
    publisher.get_all("rejects")


@script
def dead_letter_rejected_by_consumer(s):
    ch, publisher = dying(s, "consumer-rejects", "abc")
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.consume", queue="consumer-rejects", consumer_tag="t")
    ch.cast("basic.reject", delivery_tag=2)
    ch.cast("basic.reject", delivery_tag=1)
    publisher.call("basic.consume", queue="dead", consumer_tag="undertaker", no_ack=True)
    ch.cast("basic.reject", delivery_tag=3)


@script
def dead_letter_rejected_multiple(s):
    """The order is that of the delivery tags."""
    ch, publisher = dying(s, "nacked", "abcdef")
    for _ in "abcdef":
        ch.call("basic.get", queue="nacked")
    ch.cast("basic.reject", delivery_tag=3)
    ch.cast("basic.nack", delivery_tag=5, multiple=True)
    ch.cast("basic.nack", delivery_tag=0, multiple=True)
    publisher.get_all("dead")


@script
def dead_letter_rejected_after_requeue(s):
    """In the order in which they came, not in that of the queue."""
    ch, publisher = dying(s, "back-and-dead", "abc")
    for _ in "abc":
        ch.call("basic.get", queue="back-and-dead")
    ch.cast("basic.nack", delivery_tag=2, requeue=True)
    ch.call("basic.get", queue="back-and-dead")
    ch.cast("basic.nack", multiple=True)
    publisher.get_all("dead")


@script
def dead_letter_rejected_in_tx(s):
    ch, publisher = dying(s, "tx-dead", "abcd")
    ch.call("tx.select")
    for _ in "abcd":
        ch.call("basic.get", queue="tx-dead")
    ch.cast("basic.reject", delivery_tag=2)
    ch.cast("basic.nack", delivery_tag=1)
    publisher.call("queue.declare", queue="dead", passive=True)
    ch.call("tx.rollback")
    ch.cast("basic.nack", delivery_tag=3, multiple=True)
    ch.cast("basic.reject", delivery_tag=4)
    publisher.call("queue.declare", queue="dead", passive=True)
    ch.call("tx.commit")
    publisher.get_all("dead")


@script
def dead_letter_expired(s):
    ch, publisher = dying(s, "ages", "", {"x-message-ttl": 1})
    for body in "abc":
        publisher.publish("", "ages", body)
    await_state(publisher, "dead", 3)
    publisher.get_all("dead")


@script
def dead_letter_dropped_by_length(s):
    ch, publisher = dying(s, "too-long", "abcde", {"x-max-length": 2})
    publisher.get_all("dead")
    publisher.get_all("too-long")


@script
def dead_letter_dropped_by_bytes(s):
    ch, publisher = dying(s, "too-large", ["one", "two", "three", "a longer one"], {"x-max-length-bytes": 10})
    publisher.get_all("dead")
    publisher.get_all("too-large")


@script
def dead_letter_rejected_publish(s):
    ch, publisher = dying(s, "refuses", "abc", {"x-max-length": 1, "x-overflow": "reject-publish-dlx"})
    ch.publish("", "refuses", "d, not confirmed", mandatory=True)
    publisher.get_all("dead")
    publisher.get_all("refuses")


@script
def dead_letter_not_with_reject_publish(s):
    ch, publisher = dying(s, "refuses-quietly", "abc", {"x-max-length": 1, "x-overflow": "reject-publish"})
    publisher.get_all("dead")


@script
def dead_letter_not_what_leaves_otherwise(s):
    """Acked, purged or deleted with their queue, messages are not dead-lettered."""
    ch, publisher = dying(s, "leaves", "abcdef")
    for _ in "abc":
        ch.call("basic.get", queue="leaves")
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("basic.get", queue="leaves", no_ack=True)
    publisher.call("queue.purge", queue="leaves")
    publisher.publish("", "leaves", "g")
    publisher.call("queue.delete", queue="leaves")
    ch.cast("basic.reject", delivery_tag=2)
    ch.cast("basic.nack", delivery_tag=3)
    publisher.get_all("dead")


@script
def dead_letter_not_by_channel_close(s):
    ch, publisher = dying(s, "closes", "ab")
    ch.call("basic.get", queue="closes")
    ch.call("channel.close", reply_code=200)
    publisher.get_all("dead")
    publisher.get_all("closes")


@script
def dead_letter_not_by_auto_delete(s):
    """The last consumer's channel closes, and the queue goes before what it held comes back and is too long."""
    c = s.connect()
    ch, publisher = c.channel(1), c.channel(2)
    publisher.call("queue.declare", queue="dead", exclusive=True)
    publisher.call("queue.declare", queue="fleeting", auto_delete=True, arguments={
        "x-max-length": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead",
    })
    publisher.call("confirm.select")
    ch.call("basic.consume", queue="fleeting", consumer_tag="t")
    for body in "abc":
        publisher.publish("", "fleeting", body)
    ch.call("channel.close", reply_code=200)
    await_state(publisher, "fleeting", None)
    publisher.reopen()
    publisher.get_all("dead")


@script
def dead_letter_exchange_absent(s):
    """Dropped; from the moment it is declared it gets what dies."""
    ch, publisher = dying(s, "lost", "abcd", exchange="grave")
    publisher.call("queue.declare", queue="passed", exclusive=True)
    publisher.call("queue.declare", queue="passing", exclusive=True, arguments={
        "x-max-length": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "passed",
    })

    def reject_and_let_pass(tag):
        """Reject a message, and wait until another one that dies after it has arrived."""
        ch.cast("basic.reject", delivery_tag=tag)
        publisher.publish("", "passing", "x")
        await_state(publisher, "passed", tag)

    for _ in "abcd":
        ch.call("basic.get", queue="lost")
    reject_and_let_pass(1)
    publisher.call("exchange.declare", exchange="grave", type="fanout")
    reject_and_let_pass(2)
    publisher.call("queue.bind", queue="dead", exchange="grave")
    reject_and_let_pass(3)
    publisher.call("exchange.delete", exchange="grave")
    reject_and_let_pass(4)
    publisher.get_all("dead")


@script
def dead_letter_queue_absent(s):
    ch, publisher = dying(s, "nobody", "ab", exchange="", routing_key="absent")
    for tag in (1, 2):
        ch.call("basic.get", queue="nobody")
        ch.cast("basic.reject", delivery_tag=tag)
    publisher.call("queue.declare", queue="nobody", passive=True)


@script
def dead_letter_mandatory(s):
    """Unroutable dead letters are not returned."""
    ch, publisher = dying(s, "mandatory", "", exchange="amq.direct")
    publisher.publish("", "mandatory", "a", mandatory=True)
    ch.call("basic.get", queue="mandatory")
    ch.cast("basic.reject", delivery_tag=1)


@script
def dead_letter_routing_key_kept(s):
    ch, publisher = dying(s, "key-kept", "", exchange="dead-x")
    publisher.call("exchange.declare", exchange="dead-x", type="topic")
    publisher.call("queue.bind", queue="dead", exchange="dead-x", routing_key="#")
    publisher.call("queue.bind", queue="key-kept", exchange="amq.topic", routing_key="a.#")
    publisher.publish("amq.topic", "a.b.c", "x")
    publisher.publish("", "key-kept", "y")
    for tag in (1, 2):
        ch.call("basic.get", queue="key-kept")
        ch.cast("basic.reject", delivery_tag=tag)
    publisher.get_all("dead")


@script
def dead_letter_routing_key_empty(s):
    ch, publisher = dying(s, "key-empty", "ab", exchange="amq.direct", routing_key="")
    publisher.call("queue.bind", queue="dead", exchange="amq.direct", routing_key="")
    for tag in (1, 2):
        ch.call("basic.get", queue="key-empty")
        ch.cast("basic.reject", delivery_tag=tag)
    publisher.get_all("dead")


@script
def dead_letter_cc_and_bcc(s):
    """Without a routing key of its own a queue sends to all keys of the message."""
    ch, publisher = dying(s, "copies", "", exchange="amq.direct")
    for name in ("by-key", "by-cc", "by-bcc"):
        publisher.call("queue.declare", queue=name, exclusive=True)
        publisher.call("queue.bind", queue=name, exchange="amq.direct", routing_key=name)
    publisher.call("queue.bind", queue="copies", exchange="amq.fanout")
    publisher.publish("amq.fanout", "by-key", "x", {"headers": {"CC": ["by-cc"], "BCC": ["by-bcc"]}})
    ch.call("basic.get", queue="copies")
    ch.cast("basic.reject", delivery_tag=1)
    for name in ("by-key", "by-cc", "by-bcc"):
        publisher.get_all(name)


@script
def dead_letter_cc_and_bcc_overridden(s):
    """With a routing key CC and BCC are gone."""
    ch, publisher = dying(s, "copies-over", "", exchange="", routing_key="dead")
    publisher.call("queue.declare", queue="by-cc", exclusive=True)
    publisher.publish("", "copies-over", "x", {"headers": {"first": 1, "CC": ["elsewhere", "nowhere"], "BCC": ["hidden"], "last": 2}})
    publisher.publish("", "elsewhere", "y", {"headers": {"BCC": ["copies-over"]}})
    for tag in (1, 2):
        ch.call("basic.get", queue="copies-over")
        ch.cast("basic.reject", delivery_tag=tag)
    publisher.get_all("dead")
    publisher.get_all("by-cc")


@script
def dead_letter_by_every_type_of_exchange(s):
    ch, publisher = dying(s, "typed", "", exchange="typed-x", routing_key="k.l")
    for type, binding in (
        ("direct", {"routing_key": "k.l"}), ("fanout", {}), ("topic", {"routing_key": "*.l"}),
        ("headers", {"arguments": {"x-match": "all", "h": 1}}),
    ):
        publisher.call("exchange.declare", exchange="typed-x", type=type, internal=True)
        publisher.call("queue.bind", queue="dead", exchange="typed-x", **binding)
        publisher.publish("", "typed", type, {"headers": {"h": 1}})
        delivery = ch.call("basic.get", queue="typed")
        ch.cast("basic.reject", delivery_tag=delivery["delivery-tag"])
        publisher.get_all("dead")
        publisher.call("exchange.delete", exchange="typed-x")


@script
def dead_letter_headers_exchange_sees_deaths(s):
    """What dead lettering adds to the headers can be matched."""
    ch, publisher = dying(s, "seen", "ab", exchange="amq.headers")
    publisher.call("queue.bind", queue="dead", exchange="amq.headers", arguments={"x-match": "any-with-x", "x-first-death-reason": "rejected"})
    for tag in (1, 2):
        ch.call("basic.get", queue="seen")
        ch.cast("basic.reject", delivery_tag=tag)
    publisher.get_all("dead")


@script
def dead_letter_to_several_queues(s):
    ch, publisher = dying(s, "spread", "a", exchange="amq.fanout")
    publisher.call("queue.declare", queue="dead-too", exclusive=True)
    for name in ("dead", "dead-too"):
        publisher.call("queue.bind", queue=name, exchange="amq.fanout")
    ch.call("basic.get", queue="spread")
    ch.cast("basic.reject", delivery_tag=1)
    publisher.get_all("dead")
    publisher.get_all("dead-too")


@script
def dead_letter_by_alternate_exchange(s):
    ch, publisher = dying(s, "alternate", "a", exchange="dlx")
    publisher.call("exchange.declare", exchange="dlx", type="direct", arguments={"alternate-exchange": "amq.fanout"})
    publisher.call("queue.bind", queue="dead", exchange="amq.fanout")
    ch.call("basic.get", queue="alternate")
    ch.cast("basic.reject", delivery_tag=1)
    publisher.get_all("dead")


@script
def dead_letter_by_bound_exchanges(s):
    ch, publisher = dying(s, "chained", "a", exchange="dlx")
    publisher.call("exchange.declare", exchange="dlx", type="fanout")
    publisher.call("exchange.bind", source="dlx", destination="amq.direct", routing_key="any")
    publisher.call("queue.bind", queue="dead", exchange="amq.direct", routing_key="chained")
    ch.call("basic.get", queue="chained")
    ch.cast("basic.reject", delivery_tag=1)
    publisher.get_all("dead")


@script
def dead_letter_properties(s):
    """Everything is kept but the expiration; user-id is not looked at again."""
    ch, publisher = dying(s, "all-properties")
    properties = {
        "content_type": "text/plain", "content_encoding": "none", "headers": {"mine": 1}, "delivery_mode": 2,
        "priority": 7, "correlation_id": "c", "reply_to": "r", "expiration": "100000", "message_id": "m",
        "timestamp": 1000000000, "type": "t", "user_id": "guest", "app_id": "a", "cluster_id": "c",
    }
    publisher.publish("", "all-properties", "x", properties)
    publisher.publish("", "all-properties", "no properties")
    for tag in (1, 2):
        ch.call("basic.get", queue="all-properties")
        ch.cast("basic.reject", delivery_tag=tag)
    publisher.get_all("dead")


@script
def dead_letter_from_exclusive_queue_of_closed_connection(s):
    """Nothing is dead-lettered when the queue goes."""
    ch, other = s.channel(), s.channel()
    other.call("queue.declare", queue="survivors")
    ch.call("queue.declare", queue="goes", exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "survivors"})
    ch.call("confirm.select")
    ch.publish("", "goes", "a")
    ch.publish("", "goes", "b")
    ch.call("basic.get", queue="goes")
    ch.connection.call("connection.close", reply_code=200)
    other.get_all("survivors")


@script
def dead_letter_delivered_at_once(s):
    """A consumer of the dead letters gets them as they die."""
    ch, publisher = dying(s, "promptly", "", {"x-message-ttl": 0})
    ch.call("basic.consume", queue="dead", consumer_tag="undertaker", no_ack=True)
    publisher.publish("", "promptly", "a")
    publisher.publish("", "promptly", "b")


@script
def dead_letter_redelivered_flag(s):
    """A dead letter is a new message."""
    ch, publisher = dying(s, "flags", "a")
    ch.call("basic.get", queue="flags")
    ch.cast("basic.reject", delivery_tag=1, requeue=True)
    ch.call("basic.get", queue="flags")
    ch.cast("basic.reject", delivery_tag=2)
    publisher.get_all("dead")
