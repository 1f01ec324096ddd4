"""Dead letters of dead letters, and messages that come back to where they died."""

from polls import await_state

from . import script
from .dead_letters import dying


@script
def dead_letter_chain(s):
    """A queue of dead letters has dead letters of its own."""
    ch, publisher = dying(s, "first", "ab", exchange="", routing_key="second")
    publisher.call("queue.declare", queue="second", exclusive=True, arguments={
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-max-length": 1,
    })
    for tag in (1, 2):
        ch.call("basic.get", queue="first")
        ch.cast("basic.reject", delivery_tag=tag)
    publisher.get_all("dead")
    publisher.get_all("second")


@script
def dead_letter_cycle_to_itself(s):
    """A queue that is its own dead letter queue: what was rejected comes back, what expired does not."""
    ch, publisher = dying(s, "itself", "a", exchange="", routing_key="itself")
    ch.call("basic.get", queue="itself")
    ch.cast("basic.reject", delivery_tag=1)
    ch.call("basic.get", queue="itself")
    ch.cast("basic.reject", delivery_tag=2)
    publisher.get_all("itself")
    publisher.publish("", "itself", "b", {"expiration": "0"})
    publisher.call("queue.declare", queue="itself", passive=True)


@script
def dead_letter_cycle_by_length(s):
    ch, publisher = dying(s, "turning", "abc", {"x-max-length": 2}, exchange="", routing_key="turning")
    publisher.get_all("turning")


@script
def dead_letter_cycle_of_two(s):
    """Expired in both queues a message is dropped on its way back; other targets still get it."""
    ch, publisher = dying(s, "one", "", {"x-message-ttl": 1}, exchange="amq.fanout")
    publisher.call("queue.declare", queue="two", exclusive=True, arguments={
        "x-message-ttl": 1, "x-dead-letter-exchange": "round", "x-dead-letter-routing-key": "k",
    })
    publisher.call("queue.bind", queue="two", exchange="amq.fanout")
    publisher.call("exchange.declare", exchange="round", type="fanout")
    for name in ("one", "dead"):
        publisher.call("queue.bind", queue=name, exchange="round")
    publisher.publish("", "one", "a")
    await_state(publisher, "dead", 1)
    publisher.get_all("dead")
    for name in ("one", "two"):
        publisher.call("queue.declare", queue=name, passive=True)


@script
def dead_letter_cycle_with_rejection(s):
    """Expired, rejected, expired, rejected: one rejection in the circle lets it go on."""
    ch, publisher = dying(s, "wait", "", {"x-message-ttl": 1}, exchange="", routing_key="work")
    publisher.call("queue.declare", queue="work", exclusive=True, arguments={
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "wait",
    })
    publisher.publish("", "work", "a")
    for tag in (1, 2, 3):
        await_state(publisher, "work", 1)
        ch.call("basic.get", queue="work")
        ch.cast("basic.reject", delivery_tag=tag)
    await_state(publisher, "work", 1)
    publisher.get_all("work")
