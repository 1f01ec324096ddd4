"""exchange.declare, delete, bind and unbind."""

from amqp import Tagged

from . import script


def attempts(s, calls):
    """Each call on a channel of its own connection, since most end their channel."""
    c = s.connect()
    for name, fields in calls:
        if c.ended:
            c = s.connect()
        ch = c.channel()
        ch.call(name, **fields)
        if not ch.closed:
            ch.call("channel.close", reply_code=200)


@script
def exchange_predeclared(s):
    ch = s.channel()
    for name in ("", "amq.direct", "amq.fanout", "amq.topic", "amq.match", "amq.headers", "amq.rabbitmq.trace"):
        ch.call("exchange.declare", exchange=name, passive=True)
        ch.reopen()
    for name, type in (
        ("amq.direct", "direct"), ("amq.fanout", "fanout"), ("amq.topic", "topic"),
        ("amq.match", "headers"), ("amq.headers", "headers"),
    ):
        ch.call("exchange.declare", exchange=name, type=type, durable=True)
    ch.call("exchange.declare", exchange="amq.rabbitmq.trace", type="topic", durable=True, internal=True)


@script
def exchange_predeclared_inequivalent(s):
    attempts(s, [
        ("exchange.declare", {"exchange": "amq.direct", "type": "fanout", "durable": True}),
        ("exchange.declare", {"exchange": "amq.direct", "type": "direct"}),
        ("exchange.declare", {"exchange": "amq.fanout", "type": "fanout", "durable": True, "auto_delete": True}),
    ])


@script
def exchange_reserved_names(s):
    attempts(s, [
        ("exchange.declare", {"exchange": "amq.mine", "type": "direct"}),
        ("exchange.declare", {"exchange": "amq.", "type": "direct"}),
        ("exchange.declare", {"exchange": "amq.mine", "passive": True}),
        ("exchange.declare", {"exchange": "amqx", "type": "direct"}),
        ("exchange.declare", {"exchange": "amq", "type": "direct"}),
        ("exchange.declare", {"exchange": "AMQ.upper", "type": "direct"}),
        ("exchange.delete", {"exchange": "amq.direct"}),
        ("exchange.delete", {"exchange": "amq.rabbitmq.trace"}),
        ("exchange.delete", {"exchange": "amq.absent"}),
    ])


@script
def exchange_default_refuses(s):
    ch = s.channel()
    ch.call("queue.declare", queue="default-refuses", exclusive=True)
    for name, fields in (
        ("exchange.declare", {"exchange": "", "type": "direct", "durable": True}),
        ("exchange.declare", {"exchange": "", "type": "fanout"}),
        ("exchange.delete", {"exchange": ""}),
        ("exchange.bind", {"destination": "", "source": "amq.direct"}),
        ("exchange.bind", {"destination": "amq.direct", "source": ""}),
        ("exchange.unbind", {"destination": "", "source": "amq.direct"}),
        ("exchange.unbind", {"destination": "amq.direct", "source": ""}),
        ("queue.bind", {"queue": "default-refuses", "exchange": "", "routing_key": "k"}),
        ("queue.unbind", {"queue": "default-refuses", "exchange": "", "routing_key": "k"}),
    ):
        ch.call(name, **fields)
        ch.reopen()


@script
def exchange_declare_passive(s):
    attempts(s, [
        ("exchange.declare", {"exchange": "absent", "passive": True}),
        ("exchange.declare", {"exchange": "absent", "type": "no-such-type", "passive": True}),
        ("exchange.declare", {"exchange": "amq.topic", "type": "no-such-type", "passive": True}),
        ("exchange.declare", {"exchange": "amq.topic", "type": "direct", "passive": True, "auto_delete": True}),
    ])


@script
def exchange_declare_unknown_type(s):
    attempts(s, [("exchange.declare", {"exchange": "unknown-type", "type": "no-such-type"})])


@script
def exchange_declare_empty_type(s):
    attempts(s, [("exchange.declare", {"exchange": "empty-type", "type": ""})])


@script
def exchange_declare_unknown_type_of_existing(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="retyped", type="direct")
    ch.call("exchange.declare", exchange="retyped", type="no-such-type")


@script
def exchange_declare_type_in_capitals(s):
    attempts(s, [("exchange.declare", {"exchange": "capitals", "type": "Direct"})])


@script
def exchange_declare_plugin_types(s):
    """Types that some brokers have built in."""
    for type in ("x-consistent-hash", "x-random", "system"):
        attempts(s, [("exchange.declare", {"exchange": "plugin-type", "type": type})])


@script
def exchange_equivalence(s):
    ch = s.channel()
    base = {"exchange": "equivalent", "type": "direct", "durable": True}
    ch.call("exchange.declare", **base)
    ch.call("exchange.declare", **base)
    for change in (
        {"type": "fanout"}, {"durable": False}, {"auto_delete": True}, {"internal": True},
        {"arguments": {"alternate-exchange": "amq.fanout"}}, {"arguments": {"x-unknown": 1}},
        {"type": "fanout", "durable": False, "auto_delete": True},
    ):
        ch.call("exchange.declare", **base | change)
        ch.reopen()


@script
def exchange_equivalence_of_arguments(s):
    ch = s.channel()
    base = {"exchange": "equivalent-arguments", "type": "fanout"}
    ch.call("exchange.declare", **base, arguments={"alternate-exchange": "amq.fanout", "x-other": 1})
    for arguments in (
        {"alternate-exchange": "amq.fanout"},
        {"alternate-exchange": "amq.fanout", "x-other": 2},
        {"alternate-exchange": "amq.direct"},
        {},
        {"alternate-exchange": Tagged("x", b"amq.fanout")},
        {"alternate-exchange": 1},
    ):
        ch.call("exchange.declare", **base, arguments=arguments)
        ch.reopen()


@script
def exchange_declare_bad_alternate(s):
    for value in (1, True, None, 1.5, ["x"], {"x": 1}, Tagged("x", b"amq.fanout")):
        attempts(s, [("exchange.declare", {"exchange": "bad-alternate", "type": "direct", "auto_delete": True, "arguments": {"alternate-exchange": value}})])


@script
def exchange_declare_nowait(s):
    ch = s.channel()
    ch.cast("exchange.declare", exchange="nowait", type="direct", nowait=True)
    ch.call("exchange.declare", exchange="nowait", passive=True)
    ch.cast("exchange.declare", exchange="nowait", passive=True, nowait=True)
    ch.cast("exchange.delete", exchange="nowait", nowait=True)
    ch.cast("exchange.declare", exchange="nowait", passive=True, nowait=True)
    ch.reopen()
    ch.cast("exchange.declare", exchange="amq.nowait", type="direct", nowait=True)


@script
def exchange_delete(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="doomed", type="direct")
    ch.call("exchange.delete", exchange="doomed")
    ch.call("exchange.delete", exchange="doomed")
    ch.call("exchange.delete", exchange="absent", if_unused=True)


@script
def exchange_delete_if_unused(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="used", type="direct")
    ch.call("queue.declare", queue="used-q", exclusive=True)
    ch.call("queue.bind", queue="used-q", exchange="used", routing_key="k")
    ch.call("exchange.delete", exchange="used", if_unused=True)
    ch.reopen()
    ch.call("queue.unbind", queue="used-q", exchange="used", routing_key="k")
    ch.call("exchange.delete", exchange="used", if_unused=True)
    ch.call("exchange.declare", exchange="used", passive=True)


@script
def exchange_delete_if_unused_as_destination(s):
    """Only bindings with the exchange as their source are use."""
    ch = s.channel()
    ch.call("exchange.declare", exchange="target", type="direct")
    ch.call("exchange.bind", destination="target", source="amq.direct", routing_key="k")
    ch.call("exchange.delete", exchange="target", if_unused=True)


@script
def exchange_delete_with_bindings(s):
    ch = s.channel()
    ch.call("queue.declare", queue="keeps", exclusive=True)
    ch.call("exchange.declare", exchange="gone", type="fanout")
    ch.call("queue.bind", queue="keeps", exchange="gone")
    ch.call("exchange.delete", exchange="gone")
    ch.call("exchange.declare", exchange="gone", type="fanout")
    ch.call("confirm.select")
    ch.publish("gone", "k", "nobody is bound", mandatory=True)


@script
def exchange_auto_delete(s):
    """Deleted when the last binding from it goes, not before there was one."""
    ch = s.channel()
    ch.call("queue.declare", queue="auto-q", exclusive=True)
    ch.call("exchange.declare", exchange="auto", type="direct", auto_delete=True)
    ch.call("exchange.declare", exchange="auto", passive=True)
    ch.call("queue.bind", queue="auto-q", exchange="auto", routing_key="one")
    ch.call("queue.bind", queue="auto-q", exchange="auto", routing_key="two")
    ch.call("queue.unbind", queue="auto-q", exchange="auto", routing_key="one")
    ch.call("exchange.declare", exchange="auto", passive=True)
    ch.call("queue.unbind", queue="auto-q", exchange="auto", routing_key="two")
    ch.call("exchange.declare", exchange="auto", passive=True)


@script
def exchange_auto_delete_by_queue_delete(s):
    ch = s.channel()
    ch.call("queue.declare", queue="auto-q2", exclusive=True)
    ch.call("exchange.declare", exchange="auto2", type="fanout", auto_delete=True)
    ch.call("queue.bind", queue="auto-q2", exchange="auto2")
    ch.call("queue.delete", queue="auto-q2")
    ch.call("exchange.declare", exchange="auto2", passive=True)


@script
def exchange_auto_delete_chain(s):
    """a → b → queue, both auto-delete: deleting the queue takes both."""
    ch = s.channel()
    ch.call("queue.declare", queue="chain-q", exclusive=True)
    for name in ("chain-a", "chain-b"):
        ch.call("exchange.declare", exchange=name, type="fanout", auto_delete=True)
    ch.call("exchange.bind", destination="chain-b", source="chain-a")
    ch.call("queue.bind", queue="chain-q", exchange="chain-b")
    ch.call("queue.delete", queue="chain-q")
    for name in ("chain-b", "chain-a"):
        ch.call("exchange.declare", exchange=name, passive=True)
        ch.reopen()


@script
def exchange_auto_delete_unbind_missing(s):
    """Unbinding what is not bound deletes nothing."""
    ch = s.channel()
    ch.call("queue.declare", queue="missing-q", exclusive=True)
    ch.call("exchange.declare", exchange="missing-x", type="direct", auto_delete=True)
    ch.call("queue.unbind", queue="missing-q", exchange="missing-x", routing_key="never")
    ch.call("exchange.declare", exchange="missing-x", passive=True)


@script
def exchange_internal(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="internal", type="fanout", internal=True)
    ch.call("queue.declare", queue="internal-q", exclusive=True)
    ch.call("queue.bind", queue="internal-q", exchange="internal")
    ch.call("exchange.declare", exchange="front", type="fanout")
    ch.call("exchange.bind", destination="internal", source="front")
    ch.call("confirm.select")
    ch.publish("front", "k", "through the front")
    ch.get_all("internal-q")
    ch.publish("internal", "k", "direct")
    ch.reopen()


@script
def exchange_bind_errors(s):
    c = s.connect()
    ch = c.channel()
    for name in ("exchange.bind", "exchange.unbind"):
        for destination, source in (("absent", "amq.direct"), ("amq.direct", "absent"), ("absent", "absent2")):
            ch.call(name, destination=destination, source=source, routing_key="k")
            ch.reopen()


@script
def exchange_bind_is_idempotent(s):
    ch = s.channel()
    ch.call("queue.declare", queue="once", exclusive=True)
    ch.call("exchange.declare", exchange="e1", type="fanout")
    ch.call("exchange.declare", exchange="e2", type="fanout")
    for _ in range(2):
        ch.call("exchange.bind", destination="e2", source="e1", routing_key="k")
    ch.call("queue.bind", queue="once", exchange="e2")
    ch.call("confirm.select")
    ch.publish("e1", "", "x")
    ch.call("exchange.unbind", destination="e2", source="e1", routing_key="k")
    ch.publish("e1", "", "y", mandatory=True)
    ch.get_all("once")


@script
def exchange_bind_nowait(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="n1", type="fanout")
    ch.cast("exchange.bind", destination="n1", source="amq.fanout", nowait=True)
    ch.cast("exchange.unbind", destination="n1", source="amq.fanout", nowait=True)
    ch.cast("exchange.bind", destination="n1", source="absent", nowait=True)


@script
def exchange_names(s):
    attempts(s, [
        ("exchange.declare", {"exchange": "x" * 255, "type": "direct"}),
        ("exchange.declare", {"exchange": "spaces and ünïcödé ✓", "type": "direct"}),
        ("exchange.declare", {"exchange": "tab\tnul\0", "type": "direct"}),
        ("exchange.declare", {"exchange": "line\r\nbreak", "type": "direct"}),
        ("exchange.declare", {"exchange": "linebreak", "passive": True}),
        ("exchange.declare", {"exchange": "absent " + "y" * 240, "passive": True}),
        ("exchange.declare", {"exchange": "absent 'quotes' \"double\" ü", "passive": True}),
    ])
