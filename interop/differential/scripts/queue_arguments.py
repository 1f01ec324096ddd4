"""Arguments of queue.declare, and what makes a second declaration inequivalent."""

from amqp import Tagged

from . import script

INTEGER_ARGUMENTS = ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-max-priority")


@script
def queue_equivalence_of_properties(s):
    ch = s.channel()
    ch.call("queue.declare", queue="plain")
    ch.call("queue.declare", queue="solid", durable=True)
    ch.call("queue.declare", queue="fleeting", auto_delete=True)
    ch.call("queue.declare", queue="mine", exclusive=True)
    for name in ("plain", "solid", "fleeting", "mine"):
        for fields in (
            {}, {"durable": True}, {"auto_delete": True}, {"exclusive": True},
            {"durable": True, "auto_delete": True}, {"durable": True, "exclusive": True},
        ):
            ch.call("queue.declare", queue=name, **fields)
            ch.reopen()


@script
def queue_equivalence_of_integer_arguments(s):
    """Every integer tag compares by value."""
    ch = s.channel()
    ch.call("queue.declare", queue="integers", exclusive=True, arguments={"x-message-ttl": Tagged("I", 100)})
    for tag in "bBsuIilL":
        ch.call("queue.declare", queue="integers", exclusive=True, arguments={"x-message-ttl": Tagged(tag, 100)})
        ch.reopen()
    for value in (101, Tagged("l", 99), Tagged("s", 99), Tagged("T", 100), Tagged("d", 100.0), "100", True, None):
        ch.call("queue.declare", queue="integers", exclusive=True, arguments={"x-message-ttl": value})
        ch.reopen()
    ch.call("queue.declare", queue="integers", exclusive=True)


@script
def queue_equivalence_of_integer_and_decimal(s):
    ch = s.channel()
    ch.call("queue.declare", queue="decimal", exclusive=True, arguments={"x-message-ttl": 100})
    ch.call("queue.declare", queue="decimal", exclusive=True, arguments={"x-message-ttl": Tagged("D", (0, 100))})


@script
def queue_equivalence_of_arguments(s):
    ch = s.channel()
    arguments = {
        "x-message-ttl": 60000, "x-expires": 3600000, "x-max-length": 10, "x-max-length-bytes": 1000,
        "x-overflow": "drop-head", "x-dead-letter-exchange": "amq.fanout", "x-dead-letter-routing-key": "dead",
        "x-max-priority": 5, "x-single-active-consumer": True, "x-queue-mode": "lazy", "x-queue-type": "classic",
        "x-mine": "unknown",
    }
    ch.call("queue.declare", queue="arguments", exclusive=True, arguments=arguments)
    ch.call("queue.declare", queue="arguments", exclusive=True, arguments=arguments)
    ch.call("queue.declare", queue="arguments", exclusive=True, arguments=list(reversed(arguments.items())))
    for name in arguments:
        ch.call("queue.declare", queue="arguments", exclusive=True, arguments={k: v for k, v in arguments.items() if k != name})
        ch.reopen()
    for name, value in (
        ("x-message-ttl", 1), ("x-expires", 1), ("x-max-length", 11), ("x-max-length-bytes", 1),
        ("x-overflow", "reject-publish"), ("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", ""),
        ("x-max-priority", 6), ("x-single-active-consumer", False), ("x-queue-mode", "default"), ("x-mine", 1),
    ):
        ch.call("queue.declare", queue="arguments", exclusive=True, arguments=arguments | {name: value})
        ch.reopen()


@script
def queue_equivalence_of_added_arguments(s):
    """The queue has none; each argument given later."""
    ch = s.channel()
    ch.call("queue.declare", queue="bare", exclusive=True)
    for name, value in (
        ("x-message-ttl", 1), ("x-expires", 100000), ("x-max-length", 11), ("x-max-length-bytes", Tagged("l", 1)),
        ("x-overflow", "drop-head"), ("x-dead-letter-exchange", "amq.fanout"), ("x-max-priority", 6),
        ("x-single-active-consumer", False), ("x-queue-mode", "default"), ("x-queue-type", "classic"),
        ("x-unknown", 1), ("unknown", "y"),
    ):
        ch.call("queue.declare", queue="bare", exclusive=True, arguments={name: value})
        ch.reopen()


@script
def queue_equivalence_order_of_checks(s):
    ch = s.channel()
    ch.call("queue.declare", queue="ordered", arguments={"x-max-length": 1})
    for fields in (
        {"durable": True, "auto_delete": True, "exclusive": True, "arguments": {"x-max-length": 2}},
        {"durable": True, "auto_delete": True, "arguments": {"x-max-length": 2}},
        {"auto_delete": True, "arguments": {"x-max-length": 2}},
        {"durable": True, "arguments": {"x-max-length": "wrong type"}},
        {"arguments": {"x-max-length": 2}},
    ):
        ch.call("queue.declare", queue="ordered", **fields)
        ch.reopen()


@script
def queue_argument_integer_out_of_range(s):
    ch = s.channel()
    for name in INTEGER_ARGUMENTS:
        for value in (-1, 0, Tagged("l", 2**62), 256, 255):
            ch.call("queue.declare", queue="range", exclusive=True, arguments={name: value})
            ch.reopen()
            ch.call_unrecorded("queue.delete", queue="range")


@script
def queue_argument_ttl_limit(s):
    ch = s.channel()
    for name in ("x-message-ttl", "x-expires"):
        for value in (4294967295, 4294967296, 315360000000, 315360000001):
            ch.call("queue.declare", queue="ttl-limit", exclusive=True, arguments={name: Tagged("l", value)})
            ch.reopen()
            ch.call_unrecorded("queue.delete", queue="ttl-limit")


@script
def queue_argument_integer_of_wrong_type(s):
    ch = s.channel()
    for name in INTEGER_ARGUMENTS:
        for value in ("100", True, 1.5, None, [1], {"a": 1}, Tagged("T", 1), Tagged("D", (0, 1)), Tagged("x", b"1"), Tagged("f", 1.0)):
            ch.call("queue.declare", queue="wrong-type", exclusive=True, arguments={name: value})
            ch.reopen()


@script
def queue_argument_string_of_wrong_type(s):
    ch = s.channel()
    for name in ("x-dead-letter-routing-key", "x-overflow", "x-queue-mode"):
        for value in (1, True, None, Tagged("x", b"lazy")):
            arguments = {name: value} | ({"x-dead-letter-exchange": ""} if "routing-key" in name else {})
            ch.call("queue.declare", queue="wrong-string", exclusive=True, arguments=arguments)
            ch.reopen()


@script
def queue_argument_boolean_of_wrong_type(s):
    ch = s.channel()
    for value in (1, "true", None):
        ch.call("queue.declare", queue="wrong-boolean", exclusive=True, arguments={"x-single-active-consumer": value})
        ch.reopen()


@script
def queue_argument_dead_letter_exchange_of_wrong_type(s):
    ch = s.channel()
    for value in (1, True, None, 1.5, Tagged("x", b"amq.fanout"), ["a"], {"a": 1}, Tagged("T", 1)):
        ch.call("queue.declare", queue="wrong-dlx", exclusive=True, arguments={"x-dead-letter-exchange": value})
        ch.reopen()


@script
def queue_argument_values(s):
    ch = s.channel()
    for arguments in (
        {"x-overflow": "nonsense"},
        {"x-overflow": ""},
        {"x-queue-mode": "nonsense"},
        {"x-dead-letter-routing-key": "without exchange"},
        {"x-dead-letter-exchange": "absent"},
        {"x-queue-type": "nonsense"},
        {"x-queue-type": 1},
        {"x-queue-type": "classic"},
        {"x-delivery-limit": 3},
    ):
        ch.call("queue.declare", queue="values", exclusive=True, arguments=arguments)
        ch.reopen()
        ch.call_unrecorded("queue.delete", queue="values")


@script
def queue_argument_queue_version(s):
    ch = s.channel()
    for value in (0, 1, 2, 3, "2"):
        ch.call("queue.declare", queue="version", exclusive=True, arguments={"x-queue-version": value})
        ch.reopen()
        ch.call_unrecorded("queue.delete", queue="version")


@script
def queue_argument_twice(s):
    """The same name twice in one table."""
    ch = s.channel()
    ch.call("queue.declare", queue="twice", exclusive=True, arguments=[("x-max-length", 1), ("x-max-length", 2)])
    ch.call("queue.declare", queue="twice", exclusive=True, arguments={"x-max-length": 1})
    ch.reopen()
    ch.call("queue.declare", queue="twice", exclusive=True, arguments={"x-max-length": 2})
