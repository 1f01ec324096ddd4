"""The headers that tell of deaths: x-death and x-first-death-*."""

from amqp import Tagged
from polls import await_state

from . import script
from .dead_letters import dying


def reject(ch, queue):
    delivery = ch.call("basic.get", queue=queue)
    ch.cast("basic.reject", delivery_tag=delivery["delivery-tag"])


@script
def death_of_each_reason(s):
    """rejected, expired, maxlen in turn from one queue."""
    ch, publisher = dying(s, "reasons", "", {"x-max-length": 1})
    publisher.publish("", "reasons", "rejected")
    reject(ch, "reasons")
    publisher.publish("", "reasons", "expired", {"expiration": "1"})
    await_state(publisher, "dead", 2)
    publisher.publish("", "reasons", "maxlen")
    publisher.publish("", "reasons", "stays")
    publisher.get_all("dead")


@script
def death_of_expired_message(s):
    """original-expiration tells what the message had; the queue's own time is not told."""
    ch, publisher = dying(s, "expirations", "", {"x-message-ttl": 1})
    for expiration in ("1", "100000", "0", None):
        publisher.publish("", "expirations", str(expiration), {"expiration": expiration} if expiration else {})
    await_state(publisher, "dead", 4)
    publisher.get_all("dead")


@script
def death_original_expiration_of_first_death_only(s):
    """The second death knows of no expiration; the third, of another queue, none either."""
    ch, publisher = dying(s, "one", "", exchange="", routing_key="two")
    publisher.call("queue.declare", queue="two", exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "one"})
    publisher.publish("", "one", "x", {"expiration": "100000", "headers": {"mine": "stays first"}})
    for queue in ("one", "two", "one", "two"):
        reject(ch, queue)
    publisher.get_all("one")


@script
def death_count(s):
    """Counted per queue and reason; the entry moves to the front."""
    ch, publisher = dying(s, "one", "", exchange="", routing_key="two")
    publisher.call("queue.declare", queue="two", exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "one"})
    publisher.publish("", "one", "x")
    for queue in ("one", "two", "one", "two", "one"):
        reject(ch, queue)
    publisher.get_all("two")


@script
def death_count_of_two_reasons(s):
    """The same queue with two reasons has two entries."""
    ch, publisher = dying(s, "wait", "", exchange="", routing_key="work")
    publisher.call("queue.declare", queue="work", exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "wait"})
    publisher.publish("", "wait", "x", {"expiration": "1"})
    await_state(publisher, "work", 1)
    for queue in ("work", "wait", "work", "wait"):
        reject(ch, queue)
    publisher.get_all("work")


@script
def death_routing_keys(s):
    """The keys the message was published with, CC too, BCC not."""
    ch, publisher = dying(s, "keys")
    publisher.call("queue.bind", queue="keys", exchange="amq.fanout")
    for headers in ({}, {"CC": ["c1", "c2"]}, {"BCC": ["b"]}, {"CC": ["c"], "BCC": ["b"]}, {"CC": []}):
        publisher.publish("amq.fanout", "key", "x", {"headers": headers})
        reject(ch, "keys")
    publisher.get_all("dead")


@script
def death_exchange_and_keys_of_second_death(s):
    """Those of the dead letter exchange, not of the first publish."""
    ch, publisher = dying(s, "one", "", exchange="between", routing_key="new key")
    publisher.call("exchange.declare", exchange="between", type="fanout")
    publisher.call("queue.declare", queue="two", exclusive=True, arguments={"x-dead-letter-exchange": "amq.fanout"})
    publisher.call("queue.bind", queue="two", exchange="between")
    publisher.call("queue.bind", queue="dead", exchange="amq.fanout")
    publisher.publish("", "one", "x", {"headers": {"CC": ["copy"]}})
    reject(ch, "one")
    reject(ch, "two")
    publisher.get_all("dead")


@script
def death_headers_of_own_kept(s):
    """The message's headers keep their order and tags; deaths come after them."""
    ch, publisher = dying(s, "own")
    headers = [("z", Tagged("b", -1)), ("a", Tagged("s", 2)), ("list", [1, "two"]), ("table", {"b": 1, "a": 2}), ("none", None)]
    publisher.publish("", "own", "x", {"headers": headers})
    publisher.publish("", "own", "y", {"headers": {}})
    reject(ch, "own")
    reject(ch, "own")
    publisher.get_all("dead")


@script
def death_sent_by_client(s):
    """An x-death that is no list of deaths, and headers of a first death."""
    ch, publisher = dying(s, "sent")
    for value in ("text", 1, {"queue": "sent"}):
        publisher.publish("", "sent", "x", {"headers": {"x-death": value}})
        reject(ch, "sent")
    publisher.publish("", "sent", "y", {"headers": {"x-first-death-queue": "mine", "x-first-death-reason": "mine"}})
    reject(ch, "sent")
    publisher.get_all("dead")


@script
def death_list_sent_by_client(s):
    """3.10.8 adds to it, 3.13 and later replace it."""
    ch, publisher = dying(s, "sent-list")
    death = {"count": Tagged("l", 5), "reason": "rejected", "queue": "elsewhere", "time": Tagged("T", 1000), "exchange": "", "routing-keys": ["k"]}
    for deaths in ([death], [death | {"queue": "sent-list"}], [], [death | {"reason": "expired"}, death]):
        publisher.publish("", "sent-list", "x", {"headers": {"before": 1, "x-death": deaths, "after": 2}})
        reject(ch, "sent-list")
    publisher.get_all("dead")


@script
def death_of_exchange_and_routing_key_lengths(s):
    ch, publisher = dying(s, "q" * 255, "", exchange="", routing_key="dead")
    publisher.publish("", "q" * 255, "x")
    reject(ch, "q" * 255)
    publisher.get_all("dead")
