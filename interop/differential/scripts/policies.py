"""Policies and operator policies: which one applies to a queue or an exchange, and what it changes while they live."""

import json

from polls import await_exchange_gone, await_state

from . import ctl_script


def set_policy(s, name, pattern, apply_to="queues", priority=0, vhost="/", **definition):
    """A policy of these keys, with `_` for `-`."""
    text = json.dumps({key.replace("_", "-"): value for key, value in definition.items()})
    s.ctl("set_policy", "-p", vhost, name, pattern, text, "--apply-to", apply_to, "--priority", str(priority))


def set_operator_policy(s, name, pattern, priority=0, **definition):
    text = json.dumps({key.replace("_", "-"): value for key, value in definition.items()})
    s.ctl("set_operator_policy", "-p", "/", name, pattern, text, "--apply-to", "queues", "--priority", str(priority))


def clear_policy(s, name):
    s.ctl("clear_policy", "-p", "/", name)


def clear_operator_policy(s, name):
    s.ctl("clear_operator_policy", "-p", "/", name)


def channel_with(s, *queues, **fields):
    """A channel in confirm mode and queues."""
    ch = s.channel()
    ch.call("confirm.select")
    for name in queues:
        ch.call("queue.declare", queue=name, **fields)
    return ch


def publish_all(ch, queue, bodies):
    for body in bodies:
        ch.publish("", queue, body)


@ctl_script
def policy_max_length(s):
    """Set on a queue that is too long, it drops at once; raised and cleared, nothing comes back."""
    ch = channel_with(s, "pol-length")
    publish_all(ch, "pol-length", "abcde")
    set_policy(s, "length", "^pol-length$", max_length=3)
    await_state(ch, "pol-length", 3)
    publish_all(ch, "pol-length", "f")
    set_policy(s, "length", "^pol-length$", max_length=4)
    publish_all(ch, "pol-length", "gh")
    ch.call("queue.declare", queue="pol-length", passive=True)
    clear_policy(s, "length")
    publish_all(ch, "pol-length", "ij")
    ch.get_all("pol-length")


@ctl_script
def policy_max_length_bytes_dead_letters(s):
    ch = channel_with(s, "pol-dead")
    ch.call("queue.declare", queue="pol-bytes", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "pol-dead"})
    publish_all(ch, "pol-bytes", ["aaa", "bbb", "ccc"])
    set_policy(s, "bytes", "^pol-bytes$", max_length_bytes=5)
    await_state(ch, "pol-dead", 2)
    ch.get_all("pol-dead")
    ch.get_all("pol-bytes")


@ctl_script
def policy_overflow(s):
    ch = channel_with(s, "pol-overflow")
    set_policy(s, "overflow", "^pol-overflow$", max_length=1, overflow="reject-publish")
    publish_all(ch, "pol-overflow", "ab")
    set_policy(s, "overflow", "^pol-overflow$", max_length=1, overflow="drop-head")
    publish_all(ch, "pol-overflow", "c")
    ch.get_all("pol-overflow")


@ctl_script
def policy_message_ttl(s):
    """Messages that are there already keep the time they came with."""
    ch = channel_with(s, "pol-ttl", "pol-ttl-dead")
    publish_all(ch, "pol-ttl", "a")
    set_policy(s, "ttl", "^pol-ttl$", message_ttl=0, dead_letter_exchange="", dead_letter_routing_key="pol-ttl-dead")
    publish_all(ch, "pol-ttl", "b")
    ch.call("basic.get", queue="pol-ttl", no_ack=True)
    await_state(ch, "pol-ttl-dead", 1)
    clear_policy(s, "ttl")
    publish_all(ch, "pol-ttl", "c")
    ch.get_all("pol-ttl-dead")
    ch.get_all("pol-ttl")


@ctl_script
def policy_message_ttl_and_argument(s):
    """The smaller one counts."""
    ch = channel_with(s)
    ch.call("queue.declare", queue="pol-ttl-short", arguments={"x-message-ttl": 1})
    ch.call("queue.declare", queue="pol-ttl-long", arguments={"x-message-ttl": 600000})
    set_policy(s, "ttl-long", "^pol-ttl-short$", message_ttl=600000)
    set_policy(s, "ttl-short", "^pol-ttl-long$", message_ttl=1)
    for name in ("pol-ttl-short", "pol-ttl-long"):
        ch.publish("", name, "a")
        await_state(ch, name, 0)


@ctl_script
def policy_expires(s):
    ch = channel_with(s, "pol-expires")
    ch.call("exchange.declare", exchange="pol-witness", type="fanout", auto_delete=True)
    ch.call("queue.bind", queue="pol-expires", exchange="pol-witness")
    set_policy(s, "expiring", "^pol-expires$", expires=50)
    await_exchange_gone(ch, "pol-witness")


@ctl_script
def policy_dead_letter(s):
    """Set, changed and cleared under the queue; arguments come first."""
    ch = channel_with(s, "pol-dlx", "pol-grave", "pol-tomb")
    ch.call("queue.declare", queue="pol-own", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "pol-tomb"})
    publish_all(ch, "pol-dlx", "abc")
    publish_all(ch, "pol-own", "z")
    for queue in ("pol-dlx", "pol-dlx", "pol-dlx", "pol-own"):
        ch.call("basic.get", queue=queue)
    set_policy(s, "dlx", "^pol-(dlx|own)$", dead_letter_exchange="", dead_letter_routing_key="pol-grave")
    ch.cast("basic.reject", delivery_tag=1)
    ch.cast("basic.reject", delivery_tag=4)
    await_state(ch, "pol-grave", 1)
    set_policy(s, "dlx", "^pol-(dlx|own)$", dead_letter_exchange="", dead_letter_routing_key="pol-tomb")
    ch.cast("basic.reject", delivery_tag=2)
    await_state(ch, "pol-tomb", 2)
    clear_policy(s, "dlx")
    ch.cast("basic.reject", delivery_tag=3)
    ch.get_all("pol-grave")
    ch.get_all("pol-tomb")


@ctl_script
def policy_dead_letter_key_without_exchange(s):
    ch = channel_with(s, "pol-keyed", "pol-keyed-dead")
    ch.call("queue.declare", queue="pol-half", arguments={"x-dead-letter-exchange": ""})
    set_policy(s, "keyed", "^pol-(keyed|half)$", dead_letter_routing_key="pol-keyed-dead")
    for tag, queue in ((1, "pol-keyed"), (2, "pol-half")):
        ch.publish("", queue, queue)
        ch.call("basic.get", queue=queue)
        ch.cast("basic.reject", delivery_tag=tag)
    ch.get_all("pol-keyed-dead")


@ctl_script
def policy_alternate_exchange(s):
    """Of an exchange; its argument comes first."""
    ch = channel_with(s, "pol-unrouted", "pol-elsewhere")
    for name in ("pol-first", "pol-second"):
        ch.call("exchange.declare", exchange=name, type="fanout")
    ch.call("queue.bind", queue="pol-unrouted", exchange="pol-first")
    ch.call("queue.bind", queue="pol-elsewhere", exchange="pol-second")
    ch.call("exchange.declare", exchange="pol-x", type="direct")
    ch.call("exchange.declare", exchange="pol-x-own", type="direct", arguments={"alternate-exchange": "pol-second"})
    ch.publish("pol-x", "k", "before", mandatory=True)
    set_policy(s, "ae", "^pol-x", "exchanges", alternate_exchange="pol-first")
    for exchange in ("pol-x", "pol-x-own"):
        ch.publish(exchange, "k", exchange, mandatory=True)
    set_policy(s, "ae", "^pol-x", "exchanges", alternate_exchange="pol-second")
    ch.publish("pol-x", "k", "changed", mandatory=True)
    clear_policy(s, "ae")
    ch.publish("pol-x", "k", "after", mandatory=True)
    ch.get_all("pol-unrouted")
    ch.get_all("pol-elsewhere")


@ctl_script
def policy_apply_to(s):
    """Queues, exchanges or all; a policy for the other kind is not looked at."""
    ch = channel_with(s, "pol-kind", "pol-kind-caught")
    ch.call("exchange.declare", exchange="pol-kind", type="direct")
    ch.call("exchange.declare", exchange="pol-catch", type="fanout")
    ch.call("queue.bind", queue="pol-kind-caught", exchange="pol-catch")
    for number, apply_to in enumerate(("queues", "exchanges", "all")):
        set_policy(s, "kind", "^pol-kind$", apply_to, max_length=1, alternate_exchange="pol-catch")
        publish_all(ch, "pol-kind", "ab")
        ch.publish("pol-kind", "k", apply_to, mandatory=True)
        ch.get_all("pol-kind")
    ch.get_all("pol-kind-caught")


@ctl_script
def policy_priority(s):
    """The highest one alone applies; what it does not say is not taken from the others."""
    ch = channel_with(s, "pol-rank")
    set_policy(s, "low", "^pol-", priority=1, max_length=1)
    set_policy(s, "high", "^pol-rank", priority=5, max_length=3)
    publish_all(ch, "pol-rank", "abcd")
    ch.call("queue.declare", queue="pol-rank", passive=True)
    set_policy(s, "highest", "^pol-rank", priority=9, message_ttl=600000)
    publish_all(ch, "pol-rank", "efg")
    ch.call("queue.declare", queue="pol-rank", passive=True)
    clear_policy(s, "highest")
    await_state(ch, "pol-rank", 3)
    clear_policy(s, "high")
    await_state(ch, "pol-rank", 1)
    ch.get_all("pol-rank")


@ctl_script
def policy_for_queue_declared_later(s):
    set_policy(s, "later", "^pol-later", max_length=1)
    ch = channel_with(s, "pol-later", "not-pol-later")
    for name in ("pol-later", "not-pol-later"):
        publish_all(ch, name, "ab")
        ch.get_all(name)


@ctl_script
def policy_for_server_named_queue(s):
    set_policy(s, "generated", "^amq\\.gen", max_length=1)
    ch = channel_with(s)
    name = ch.call("queue.declare", exclusive=True)["queue"]
    publish_all(ch, name, "ab")
    ch.get_all(name)


@ctl_script
def policy_does_not_matter_for_equivalence(s):
    ch = channel_with(s, "pol-equal")
    set_policy(s, "equal", "^pol-equal$", max_length=5, message_ttl=600000)
    ch.call("queue.declare", queue="pol-equal")
    ch.call("queue.declare", queue="pol-equal", arguments={"x-max-length": 5})


@ctl_script
def policy_and_argument_smaller_wins(s):
    ch = channel_with(s)
    ch.call("queue.declare", queue="pol-both", arguments={"x-max-length": 2, "x-max-length-bytes": 100})
    set_policy(s, "both", "^pol-both$", max_length=3, max_length_bytes=4)
    publish_all(ch, "pol-both", ["a", "b", "c"])
    ch.call("queue.declare", queue="pol-both", passive=True)
    publish_all(ch, "pol-both", ["dddd"])
    ch.get_all("pol-both")


@ctl_script
def policy_overflow_and_argument(s):
    """The argument comes first."""
    ch = channel_with(s)
    ch.call("queue.declare", queue="pol-overflow-own", arguments={"x-max-length": 1, "x-overflow": "drop-head"})
    set_policy(s, "overflow-own", "^pol-overflow-own$", overflow="reject-publish")
    publish_all(ch, "pol-overflow-own", "ab")
    ch.get_all("pol-overflow-own")


@ctl_script
def operator_policy(s):
    """Of numbers the smaller one applies; it needs no policy beside it."""
    ch = channel_with(s, "pol-op")
    set_operator_policy(s, "op", "^pol-op$", max_length=2)
    publish_all(ch, "pol-op", "abc")
    ch.call("queue.declare", queue="pol-op", passive=True)
    set_policy(s, "op-user", "^pol-op$", max_length=3)
    publish_all(ch, "pol-op", "de")
    ch.call("queue.declare", queue="pol-op", passive=True)
    set_policy(s, "op-user", "^pol-op$", max_length=1)
    await_state(ch, "pol-op", 1)
    clear_operator_policy(s, "op")
    publish_all(ch, "pol-op", "f")
    ch.get_all("pol-op")


@ctl_script
def operator_policy_message_ttl(s):
    ch = channel_with(s, "pol-op-ttl")
    set_policy(s, "op-ttl-user", "^pol-op-ttl$", message_ttl=600000)
    set_operator_policy(s, "op-ttl", "^pol-op-ttl$", message_ttl=1)
    publish_all(ch, "pol-op-ttl", "a")
    await_state(ch, "pol-op-ttl", 0)


@ctl_script
def policy_on_quorum_queue(s):
    ch = channel_with(s, "pol-quorum-dead")
    ch.call("queue.declare", queue="pol-quorum", durable=True, arguments={"x-queue-type": "quorum"})
    set_policy(s, "quorum", "^pol-quorum$", delivery_limit=1, max_length=2, dead_letter_exchange="", dead_letter_routing_key="pol-quorum-dead")
    publish_all(ch, "pol-quorum", "abc")
    await_state(ch, "pol-quorum-dead", 1)
    for ready in (2, 1):
        tag = ch.call("basic.get", queue="pol-quorum")["delivery-tag"]
        ch.cast("basic.nack", delivery_tag=tag, requeue=True)
        await_state(ch, "pol-quorum", ready)
    await_state(ch, "pol-quorum-dead", 2)
    ch.get_all("pol-quorum-dead")
    ch.get_all("pol-quorum")


@ctl_script
def policy_in_vhost(s):
    """A policy is of one vhost."""
    s.ctl("add_vhost", "pol-vhost")
    s.ctl("set_permissions", "-p", "pol-vhost", "guest", ".*", ".*", ".*")
    set_policy(s, "there", "^pol-", vhost="pol-vhost", max_length=1)
    here, there = channel_with(s, "pol-here"), s.channel(virtual_host="pol-vhost")
    there.call("confirm.select")
    there.call("queue.declare", queue="pol-here")
    for ch in (here, there):
        publish_all(ch, "pol-here", "ab")
        ch.get_all("pol-here")


@ctl_script
def policy_validation(s):
    """What is refused as a policy."""
    for definition in (
        {"max-length": -1}, {"max-length": "5"}, {"max-length": 1.5}, {"message-ttl": -1}, {"message-ttl": 315360000001}, {"expires": 0},
        {"overflow": "nonsense"}, {"overflow": "reject-publish-dlx"}, {"dead-letter-exchange": 1}, {"dead-letter-routing-key": None},
        {"unknown-key": 1}, {}, {"max-length": 5, "unknown-key": 1}, {"x-max-length": 5}, {"delivery-limit": 3}, {"delivery-limit": "3"},
        {"alternate-exchange": "x"}, {"alternate-exchange": 5}, {"queue-mode": "lazy"}, {"queue-mode": "nonsense"},
        {"dead-letter-strategy": "at-least-once"}, {"dead-letter-strategy": "nonsense"}, {"single-active-consumer": True},
    ):
        s.ctl("set_policy", "-p", "/", "validated", "^nothing$", json.dumps(definition))
    for definition in ("", "[]", "5", '"text"', "{", '{"max-length": 5'):
        s.ctl("set_policy", "-p", "/", "validated", "^nothing$", definition)
    for pattern in ("(", "*", "", "^$"):
        s.ctl("set_policy", "-p", "/", "validated", pattern, '{"max-length": 5}')
    for more in (["--priority", "-1"], ["--priority", "high"], ["--apply-to", "nonsense"], ["--apply-to", "all"]):
        s.ctl("set_policy", "-p", "/", "validated", "^nothing$", '{"max-length": 5}', *more)
    s.ctl("set_policy", "-p", "absent", "validated", "^nothing$", '{"max-length": 5}')
    s.ctl("clear_policy", "-p", "/", "absent-policy")


@ctl_script
def operator_policy_validation(s):
    """Only limits may be set."""
    for definition in (
        {"expires": 1000}, {"message-ttl": 1}, {"max-length": 1}, {"max-length-bytes": 1}, {"delivery-limit": 1},
        {"dead-letter-exchange": "x"}, {"alternate-exchange": "x"}, {"queue-mode": "lazy"}, {"unknown-key": 1}, {},
    ):
        s.ctl("set_operator_policy", "-p", "/", "validated", "^nothing$", json.dumps(definition))
    s.ctl("clear_operator_policy", "-p", "/", "absent-policy")
