"""x-expires: a queue that nobody uses for so long is deleted."""

import time

from polls import PAUSE_S, await_exchange_gone, await_state

from . import waiting_script

# Long beside the time between two steps.
EXPIRES_MS = 400
# Long beside the time a script takes.
LATER_MS = 600000


def expiring(s, name, expires=EXPIRES_MS, **arguments):
    """A channel, a queue that expires, and an exchange called NAME-witness that goes with it."""
    ch = s.channel()
    arguments = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    ch.call("exchange.declare", exchange=f"{name}-witness", type="fanout", auto_delete=True)
    ch.call("queue.declare", queue=name, arguments={"x-expires": expires} | arguments)
    ch.call("queue.bind", queue=name, exchange=f"{name}-witness")
    return ch


def expire_beside(ch, name):
    """Wait until another queue, declared now to live as long, has expired."""
    ch.call("exchange.declare", exchange=f"{name}-clock", type="fanout", auto_delete=True)
    ch.call("queue.declare", queue=f"{name}-beside", arguments={"x-expires": EXPIRES_MS})
    ch.call("queue.bind", queue=f"{name}-beside", exchange=f"{name}-clock")
    await_exchange_gone(ch, f"{name}-clock")
    ch.reopen()


@waiting_script
def expires_unused(s):
    ch = expiring(s, "unused")
    await_exchange_gone(ch, "unused-witness")
    ch.reopen()
    ch.call("queue.declare", queue="unused", passive=True)


@waiting_script
def expires_with_messages(s):
    """Publishing is no use; messages go with the queue and are not dead-lettered."""
    dead = s.channel()
    dead.call("queue.declare", queue="expires-dead", exclusive=True)
    ch = expiring(s, "unread", dead_letter_exchange="", dead_letter_routing_key="expires-dead")
    ch.call("confirm.select")
    ch.publish("", "unread", "a")
    await_exchange_gone(ch, "unread-witness")
    dead.get_all("expires-dead")
    ch.reopen()
    ch.call("confirm.select")
    ch.publish("", "unread", "b", mandatory=True)


@waiting_script
def expires_not_with_consumer(s):
    """Neither while there is a consumer; its time starts when the last one goes."""
    ch = expiring(s, "consumed")
    ch.call("basic.consume", queue="consumed", consumer_tag="t")
    other = s.channel()
    expire_beside(other, "consumed")
    other.call("queue.declare", queue="consumed", passive=True)
    ch.call("basic.cancel", consumer_tag="t")
    await_exchange_gone(ch, "consumed-witness")


@waiting_script
def expires_after_connection_of_consumer_is_lost(s):
    ch = expiring(s, "lost-consumer")
    consumer = s.channel()
    consumer.call("basic.consume", queue="lost-consumer", consumer_tag="t")
    consumer.connection.drop()
    await_exchange_gone(ch, "lost-consumer-witness")


@waiting_script
def expires_with_unacked(s):
    """Unacked messages do not keep it."""
    ch = expiring(s, "unacked")
    getter = s.channel()
    ch.publish("", "unacked", "a")
    getter.call("basic.get", queue="unacked")
    await_exchange_gone(ch, "unacked-witness")
    getter.cast("basic.ack", delivery_tag=1)


@waiting_script
def expires_again_after_declare(s):
    """Declared again, the time starts anew, and its arguments are compared."""
    ch = expiring(s, "renewed", LATER_MS)
    ch.call("queue.declare", queue="renewed", arguments={"x-expires": LATER_MS})
    ch.call("queue.declare", queue="renewed", arguments={"x-expires": LATER_MS + 1})
    ch.reopen()
    ch.call("queue.declare", queue="renewed")


@waiting_script
def expires_kept_by_use(s):
    """Declares, passive ones and gets for longer than its time keep it."""
    uses = {
        "kept-by-get": ("basic.get", {}),
        "kept-by-passive": ("queue.declare", {"passive": True}),
        "kept-by-declare": ("queue.declare", {"arguments": {"x-expires": EXPIRES_MS}}),
    }
    ch = s.channel()
    for name in uses:
        ch.call("queue.declare", queue=name, arguments={"x-expires": EXPIRES_MS})
    ch.call("queue.declare", queue="clock", exclusive=True)
    ch.publish("", "clock", "tick", {"expiration": str(2 * EXPIRES_MS)})
    with s.step("use all of them for longer than they live"), s.on_its_own():
        while ch.call("queue.declare", queue="clock", passive=True)["message-count"]:
            for name, (method, fields) in uses.items():
                ch.call(method, queue=name, **fields)
            time.sleep(PAUSE_S)
        s.steps[-1].replies.clear()
    for name in uses:
        ch.call("queue.declare", queue=name, passive=True)


@waiting_script
def expires_exclusive_and_durable(s):
    ch = s.channel()
    for number, fields in enumerate(({"exclusive": True}, {"durable": True}, {"auto_delete": True})):
        ch.call("exchange.declare", exchange=f"kind-{number}-witness", type="fanout", auto_delete=True)
        ch.call("queue.declare", queue=f"kind-{number}", arguments={"x-expires": EXPIRES_MS}, **fields)
        ch.call("queue.bind", queue=f"kind-{number}", exchange=f"kind-{number}-witness")
        await_exchange_gone(ch, f"kind-{number}-witness")
        ch.reopen()


@waiting_script
def expires_of_quorum_queue(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="quorum-witness", type="fanout", auto_delete=True)
    ch.call("queue.declare", queue="expiring-quorum", durable=True, arguments={"x-queue-type": "quorum", "x-expires": EXPIRES_MS})
    ch.call("queue.bind", queue="expiring-quorum", exchange="quorum-witness")
    await_exchange_gone(ch, "quorum-witness")


@waiting_script
def expires_and_message_ttl(s):
    """Both times run on their own."""
    ch = expiring(s, "both-times", LATER_MS, message_ttl=1)
    ch.call("confirm.select")
    ch.publish("", "both-times", "a")
    await_state(ch, "both-times", 0)


@waiting_script
def expires_server_named(s):
    ch = s.channel()
    ch.call("exchange.declare", exchange="named-witness", type="fanout", auto_delete=True)
    ch.call("queue.declare", arguments={"x-expires": EXPIRES_MS})
    ch.call("queue.bind", exchange="named-witness")
    await_exchange_gone(ch, "named-witness")
