"""queue.declare, bind, unbind, purge and delete."""

from amqp import Tagged

from . import script


@script
def queue_declare_and_passive(s):
    ch = s.channel()
    ch.call("queue.declare", queue="declared")
    ch.call("queue.declare", queue="declared")
    ch.call("queue.declare", queue="declared", passive=True)
    ch.call("queue.declare", queue="declared", passive=True, durable=True, exclusive=True, auto_delete=True)
    ch.call("queue.declare", queue="absent", passive=True)


@script
def queue_declare_counts_only_ready(s):
    ch = s.channel()
    ch.call("queue.declare", queue="counted", exclusive=True)
    ch.call("confirm.select")
    for body in "abc":
        ch.publish("", "counted", body)
    ch.call("queue.declare", queue="counted", passive=True)
    ch.call("basic.get", queue="counted")
    ch.call("queue.declare", queue="counted", passive=True)
    ch.call("queue.delete", queue="counted")


@script
def queue_declare_counts_consumers(s):
    ch = s.channel()
    ch.call("queue.declare", queue="consumed", exclusive=True)
    for tag in ("one", "two"):
        ch.call("basic.consume", queue="consumed", consumer_tag=tag)
        ch.call("queue.declare", queue="consumed", passive=True)
    ch.call("basic.cancel", consumer_tag="one")
    ch.call("queue.declare", queue="consumed", passive=True)


@script
def queue_server_named(s):
    ch = s.channel()
    first = ch.call("queue.declare", exclusive=True)
    second = ch.call("queue.declare", exclusive=True)
    ch.call("queue.declare", passive=True, queue=first["queue"])
    ch.call("queue.bind", exchange="amq.direct", routing_key="k")
    ch.call("queue.delete", queue=second["queue"])
    ch.call("queue.delete", queue=first["queue"])


@script
def queue_last_declared(s):
    """An empty name means the queue this channel declared last."""
    ch = s.channel()
    ch.call("queue.declare", queue="first", exclusive=True)
    ch.call("queue.declare", queue="last", exclusive=True)
    ch.call("confirm.select")
    ch.call("queue.bind", exchange="amq.direct", routing_key="last-key")
    ch.publish("amq.direct", "last-key", "bound by last-key")
    ch.call("queue.bind", exchange="amq.direct")
    ch.publish("amq.direct", "last", "bound by the queue's name")
    ch.publish("amq.direct", "", "bound by nothing", mandatory=True)
    ch.call("basic.get", no_ack=True)
    ch.call("queue.purge")
    ch.call("queue.unbind", exchange="amq.direct", routing_key="last-key")
    ch.call("queue.unbind", exchange="amq.direct")
    ch.publish("amq.direct", "last", "no longer bound", mandatory=True)
    ch.call("basic.consume", consumer_tag="c")
    ch.call("basic.cancel", consumer_tag="c")
    ch.call("queue.declare", queue="first", passive=True)
    ch.call("queue.delete")
    ch.call("queue.declare", queue="first", passive=True)


@script
def queue_last_declared_absent(s):
    """A channel that has declared nothing has no last queue."""
    ch = s.channel()
    for name, fields in (
        ("queue.declare", {"passive": True}),
        ("queue.bind", {"exchange": "amq.direct", "routing_key": "k"}),
        ("queue.bind", {"exchange": "amq.direct"}),
        ("queue.unbind", {"exchange": "amq.direct", "routing_key": "k"}),
        ("queue.purge", {}),
        ("queue.delete", {}),
        ("basic.get", {}),
        ("basic.consume", {}),
    ):
        ch.call(name, **fields)
        ch.reopen()


@script
def queue_last_declared_is_deleted(s):
    ch = s.channel()
    ch.call("queue.declare", queue="was-last", exclusive=True)
    ch.call("queue.delete", queue="was-last")
    ch.call("basic.get")
    ch.reopen()
    ch.call("basic.get")


@script
def queue_last_declared_by_failed_declare(s):
    ch = s.channel()
    ch.call("queue.declare", queue="ok-one", exclusive=True)
    ch.cast("queue.declare", queue="nowait-one", exclusive=True, nowait=True)
    ch.call("queue.purge")
    ch.call("queue.delete")
    ch.call("queue.declare", queue="ok-one", passive=True)
    ch.call("queue.declare", queue="nowait-one", passive=True)


@script
def queue_passive_empty_name_after_declare(s):
    ch = s.channel()
    ch.call("queue.declare", queue="some-last", exclusive=True)
    ch.call("queue.declare", passive=True)


@script
def queue_reserved_names(s):
    ch = s.channel()
    for name in ("amq.mine", "amq.", "amq.gen-mine", "amq.rabbitmq.reply-to.x", "amq", "amqx", "AMQ.upper"):
        ch.call("queue.declare", queue=name, exclusive=True)
        ch.reopen()
    own = ch.call("queue.declare", exclusive=True)["queue"]
    ch.call("queue.declare", queue=own, passive=True)
    ch.call("queue.declare", queue=own, exclusive=True)
    ch.reopen()
    ch.call("queue.declare", queue="amq.absent", passive=True)
    ch.reopen()
    ch.call("queue.delete", queue="amq.absent")


@script
def queue_names(s):
    ch = s.channel()
    for name in ("n" * 255, "spaces and ünïcödé ✓", "tab\tnul\0", " leading"):
        ch.call("queue.declare", queue=name, exclusive=True)
    ch.call("queue.declare", queue="line\r\nbreak", exclusive=True)
    ch.call("queue.declare", queue="linebreak", passive=True)
    ch.call("queue.declare", queue="absent 'quotes' \"double\" ü", passive=True)
    ch.reopen()
    for name in ("absent " + "y" * 248, "ü" * 127, "✓" * 85):
        ch.call("queue.declare", queue=name, passive=True)
        ch.reopen()


@script
def queue_exclusive_durable(s):
    """Exclusive wins: such a queue goes with its connection."""
    one, two = s.channel(), s.channel()
    one.call("queue.declare", queue="exclusive-durable", durable=True, exclusive=True)
    one.call("queue.declare", queue="exclusive-durable", exclusive=True)
    one.reopen()
    one.call("queue.declare", queue="exclusive-durable", exclusive=True, durable=True)
    one.reopen()
    one.connection.call("connection.close", reply_code=200)
    two.call("queue.declare", queue="exclusive-durable", passive=True)


@script
def queue_declare_nowait(s):
    ch = s.channel()
    ch.cast("queue.declare", queue="quiet", nowait=True)
    ch.call("queue.declare", queue="quiet", passive=True)
    ch.cast("queue.declare", queue="quiet", passive=True, nowait=True)
    ch.cast("queue.bind", queue="quiet", exchange="amq.direct", routing_key="quiet", nowait=True)
    ch.call("confirm.select")
    ch.publish("amq.direct", "quiet", "x")
    ch.cast("queue.purge", queue="quiet", nowait=True)
    ch.call("basic.get", queue="quiet")
    ch.cast("queue.delete", queue="quiet", nowait=True)
    ch.cast("queue.declare", queue="quiet", passive=True, nowait=True)


@script
def queue_nowait_errors(s):
    ch = s.channel()
    for name, fields in (
        ("queue.declare", {"queue": "amq.no"}),
        ("queue.bind", {"queue": "absent", "exchange": "amq.direct"}),
        ("queue.bind", {"queue": "", "exchange": "amq.direct"}),
        ("queue.purge", {"queue": "absent"}),
        ("queue.delete", {"queue": "absent"}),
        ("basic.consume", {"queue": "absent", "consumer_tag": "t"}),
    ):
        ch.cast(name, nowait=True, **fields)
        ch.reopen()


@script
def queue_bind_errors(s):
    ch = s.channel()
    ch.call("queue.declare", queue="bindable", exclusive=True)
    for queue, exchange in (("absent", "amq.direct"), ("bindable", "absent"), ("absent", "absent-x"), ("absent", "")):
        for name in ("queue.bind", "queue.unbind"):
            ch.call(name, queue=queue, exchange=exchange, routing_key="k")
            ch.reopen()


@script
def queue_bindings_are_distinct(s):
    """A binding is source, destination, key and arguments; the order of arguments is nothing."""
    ch = s.channel()
    ch.call("queue.declare", queue="distinct", exclusive=True)
    ch.call("exchange.declare", exchange="distinct-x", type="direct", auto_delete=True)
    bind = lambda name, arguments: ch.call(name, queue="distinct", exchange="distinct-x", routing_key="k", arguments=arguments)
    bind("queue.bind", {"a": 1, "b": "x"})
    bind("queue.bind", [("b", "x"), ("a", 1)])
    bind("queue.bind", {})
    bind("queue.unbind", {})
    ch.call("exchange.declare", exchange="distinct-x", passive=True)
    bind("queue.unbind", {"a": Tagged("l", 1), "b": "x"})
    ch.call("exchange.declare", exchange="distinct-x", passive=True)
    ch.reopen()
    bind("queue.unbind", [("b", "x"), ("a", 1)])
    ch.call("exchange.declare", exchange="distinct-x", passive=True)


@script
def queue_bound_twice_gets_one_copy(s):
    ch = s.channel()
    ch.call("queue.declare", queue="one-copy", exclusive=True)
    ch.call("exchange.declare", exchange="one-copy-x", type="direct")
    for arguments in ({}, {"a": 1}):
        ch.call("queue.bind", queue="one-copy", exchange="one-copy-x", routing_key="k", arguments=arguments)
    ch.call("confirm.select")
    ch.publish("one-copy-x", "k", "x")
    ch.get_all("one-copy")


@script
def queue_purge(s):
    ch = s.channel()
    ch.call("queue.declare", queue="purged", exclusive=True)
    ch.call("queue.purge", queue="purged")
    ch.call("confirm.select")
    for body in "abc":
        ch.publish("", "purged", body)
    ch.call("basic.get", queue="purged")
    ch.call("queue.purge", queue="purged")
    ch.cast("basic.nack", delivery_tag=1, requeue=True)
    ch.get_all("purged")
    ch.call("queue.purge", queue="absent")


@script
def queue_delete(s):
    ch = s.channel()
    ch.call("queue.delete", queue="absent")
    ch.call("queue.delete", queue="absent", if_unused=True, if_empty=True)
    ch.call("queue.declare", queue="deleted")
    ch.call("confirm.select")
    ch.publish("", "deleted", "a")
    ch.publish("", "deleted", "b")
    ch.call("queue.delete", queue="deleted")
    ch.publish("", "deleted", "c", mandatory=True)


@script
def queue_delete_conditions(s):
    c = s.connect()
    ch, consumer = c.channel(1), c.channel(2)
    ch.call("queue.declare", queue="condition")
    consumer.call("basic.consume", queue="condition", consumer_tag="t")
    for fields in ({"if_unused": True}, {"if_unused": True, "if_empty": True}):
        ch.call("queue.delete", queue="condition", **fields)
        ch.reopen()
    consumer.call("basic.cancel", consumer_tag="t")
    ch.call("confirm.select")
    ch.publish("", "condition", "x")
    for fields in ({"if_empty": True}, {"if_unused": True, "if_empty": True}):
        ch.call("queue.delete", queue="condition", **fields)
        ch.reopen()
    consumer.call("basic.consume", queue="condition", consumer_tag="t", no_ack=False)
    for fields in ({"if_unused": True, "if_empty": True}, {"if_empty": True}):
        ch.call("queue.delete", queue="condition", **fields)
        ch.reopen()


@script
def queue_delete_removes_bindings(s):
    ch = s.channel()
    ch.call("queue.declare", queue="bound", exclusive=True)
    ch.call("queue.bind", queue="bound", exchange="amq.direct", routing_key="removed-binding")
    ch.call("queue.delete", queue="bound")
    ch.call("queue.declare", queue="bound", exclusive=True)
    ch.call("confirm.select")
    ch.publish("amq.direct", "removed-binding", "x", mandatory=True)


@script
def queue_unbind_missing(s):
    ch = s.channel()
    ch.call("queue.declare", queue="loose", exclusive=True)
    ch.call("queue.unbind", queue="loose", exchange="amq.direct", routing_key="never")
    ch.call("queue.bind", queue="loose", exchange="amq.direct", routing_key="k")
    ch.call("queue.unbind", queue="loose", exchange="amq.direct", routing_key="K")
    ch.call("confirm.select")
    ch.publish("amq.direct", "k", "x")
    ch.get_all("loose")


@script
def queue_exclusive_from_another_connection(s):
    owner, other = s.channel(), s.channel()
    owner.call("queue.declare", queue="locked", exclusive=True)
    owner.call("queue.bind", queue="locked", exchange="amq.direct", routing_key="locked-key")
    for name, fields in (
        ("queue.declare", {}),
        ("queue.declare", {"passive": True}),
        ("queue.declare", {"exclusive": True}),
        ("queue.declare", {"durable": True, "auto_delete": True}),
        ("queue.bind", {"exchange": "amq.direct", "routing_key": "k"}),
        ("queue.unbind", {"exchange": "amq.direct", "routing_key": "locked-key"}),
        ("queue.unbind", {"exchange": "amq.direct", "routing_key": "not-bound"}),
        ("queue.purge", {}),
        ("queue.delete", {}),
        ("queue.delete", {"if_unused": True}),
        ("basic.get", {}),
        ("basic.consume", {}),
    ):
        other.call(name, queue="locked", **fields)
        other.reopen()
    other.call("confirm.select")
    other.publish("", "locked", "anyone may publish")
    owner.get_all("locked")


@script
def queue_exclusive_on_other_channel_of_owner(s):
    c = s.connect()
    one, two = c.channel(1), c.channel(2)
    one.call("queue.declare", queue="shared-by-channels", exclusive=True)
    one.call("channel.close", reply_code=200)
    two.call("queue.declare", queue="shared-by-channels", exclusive=True)
    two.call("basic.get", queue="shared-by-channels")


@script
def queue_exclusive_goes_before_close_ok(s):
    owner, other = s.channel(), s.channel()
    owner.call("queue.declare", queue="goes", exclusive=True)
    owner.connection.call("connection.close", reply_code=200)
    other.call("queue.declare", queue="goes", passive=True)
    other.reopen()
    other.call("queue.declare", queue="goes", exclusive=True)


@script
def queue_made_shared_then_exclusive(s):
    ch, other = s.channel(), s.channel()
    ch.call("queue.declare", queue="shared-first")
    ch.call("queue.declare", queue="shared-first", exclusive=True)
    other.call("queue.declare", queue="shared-first", exclusive=True)


@script
def queue_auto_delete(s):
    """Deleted with its last consumer, if it ever had one."""
    c = s.connect()
    ch, consumer = c.channel(1), c.channel(2)
    ch.call("queue.declare", queue="auto", auto_delete=True)
    ch.call("queue.declare", queue="auto", passive=True)
    consumer.call("basic.consume", queue="auto", consumer_tag="one")
    consumer.call("basic.consume", queue="auto", consumer_tag="two")
    consumer.call("basic.cancel", consumer_tag="one")
    ch.call("queue.declare", queue="auto", passive=True)
    consumer.call("basic.cancel", consumer_tag="two")
    ch.call("queue.declare", queue="auto", passive=True)


@script
def queue_auto_delete_by_channel_close(s):
    c = s.connect()
    ch, consumer = c.channel(1), c.channel(2)
    ch.call("queue.declare", queue="auto-by-close", auto_delete=True)
    consumer.call("basic.consume", queue="auto-by-close")
    consumer.call("channel.close", reply_code=200)
    ch.call("queue.declare", queue="auto-by-close", passive=True)


@script
def queue_auto_delete_by_connection_close(s):
    ch, consumer = s.channel(), s.channel()
    ch.call("queue.declare", queue="auto-by-end", auto_delete=True)
    consumer.call("basic.consume", queue="auto-by-end")
    consumer.connection.call("connection.close", reply_code=200)
    ch.call("queue.declare", queue="auto-by-end", passive=True)


@script
def queue_auto_delete_with_messages(s):
    """Messages do not keep it, nor does basic.get make it go."""
    ch = s.channel()
    ch.call("queue.declare", queue="auto-full", auto_delete=True)
    ch.call("confirm.select")
    ch.publish("", "auto-full", "a")
    ch.call("basic.get", queue="auto-full")
    ch.call("queue.declare", queue="auto-full", passive=True)
    ch.call("basic.consume", queue="auto-full", consumer_tag="t")
    ch.call("basic.cancel", consumer_tag="t")
    ch.cast("basic.ack", delivery_tag=1)
    ch.call("queue.declare", queue="auto-full", passive=True)


@script
def queue_methods_on_absent_queue(s):
    ch = s.channel()
    for name, fields in (
        ("queue.purge", {}), ("basic.get", {}), ("basic.consume", {}), ("queue.bind", {"exchange": "amq.direct"}),
        ("queue.declare", {"passive": True}),
    ):
        ch.call(name, queue="absent", **fields)
        ch.reopen()
