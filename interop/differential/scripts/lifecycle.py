"""What happens when connections end without a word, and other things over two connections."""

import amqp
from amqp import method
from polls import await_state

from . import script


@script
def dropped_connection_requeues(s):
    consumer, other = s.channel(), s.channel()
    other.call("queue.declare", queue="drop-requeue")
    other.call("confirm.select")
    for body in "abc":
        other.publish("", "drop-requeue", body)
    consumer.call("basic.qos", prefetch_count=2)
    consumer.call("basic.consume", queue="drop-requeue", consumer_tag="t")
    consumer.connection.drop()
    await_state(other, "drop-requeue", 3, 0)
    other.get_all("drop-requeue")


@script
def reset_connection_requeues(s):
    consumer, other = s.channel(), s.channel()
    other.call("queue.declare", queue="reset-requeue")
    other.call("confirm.select")
    for body in "ab":
        other.publish("", "reset-requeue", body)
    consumer.call("basic.get", queue="reset-requeue")
    consumer.connection.drop(reset=True)
    await_state(other, "reset-requeue", 2, 0)
    other.get_all("reset-requeue")


@script
def dropped_connection_deletes_exclusive(s):
    owner, other = s.channel(), s.channel()
    owner.call("queue.declare", queue="drop-exclusive", exclusive=True)
    other.call("queue.declare", queue="witness", auto_delete=True)
    owner.call("basic.consume", queue="witness", consumer_tag="t")
    owner.connection.drop()
    with s.step("wait for both queues to go"):
        for name in ("drop-exclusive", "witness"):
            while not other.closed:
                # 405 while the owner is still thought to be there, 404 afterwards.
                before = len(s.steps[-1].replies)
                reply = other.call("queue.declare", queue=name, passive=True)
                if reply["method"] != "channel.close" or reply["reply-code"] != 404:
                    del s.steps[-1].replies[before:]
                    other.reopen()
                    del s.steps[-1].replies[before:]
            other.call("channel.open")


@script
def dropped_connection_in_the_middle_of_content(s):
    one, two = s.channel(), s.channel()
    two.call("queue.declare", queue="half-content")
    one.send_raw("half a content", method(1, "basic.publish", routing_key="half-content") + amqp.header(1, 100) + amqp.body(1, b"half"), pingable=False)
    one.connection.drop()
    two.call("basic.get", queue="half-content")


@script
def dropped_connection_loses_open_tx(s):
    one, two = s.channel(), s.channel()
    two.call("queue.declare", queue="tx-lost")
    two.call("confirm.select")
    two.publish("", "tx-lost", "acked in tx")
    one.call("tx.select")
    one.call("basic.get", queue="tx-lost")
    one.publish("", "tx-lost", "never")
    one.cast("basic.ack", delivery_tag=1)
    one.connection.drop()
    await_state(two, "tx-lost", 1, 0)
    two.get_all("tx-lost")


@script
def connection_error_requeues_and_frees(s):
    one, two = s.channel(), s.channel()
    one.call("queue.declare", queue="error-exclusive", exclusive=True)
    two.call("queue.declare", queue="error-requeue")
    two.call("confirm.select")
    two.publish("", "error-requeue", "a")
    one.call("basic.get", queue="error-requeue")
    one.connection.exchange("unknown frame type", amqp.frame(4, 0, b""), until="end")
    await_state(two, "error-requeue", 1, 0)
    two.get_all("error-requeue")
    two.call("queue.declare", queue="error-exclusive", passive=True)


@script
def consumers_of_other_connection_get_messages(s):
    one, two, three = s.channel(), s.channel(), s.channel()
    one.call("queue.declare", queue="spread")
    one.call("confirm.select")
    two.call("basic.consume", queue="spread", consumer_tag="two")
    three.call("basic.consume", queue="spread", consumer_tag="three")
    for n in range(4):
        one.publish("", "spread", str(n))
    two.connection.call("connection.close", reply_code=200)
    one.publish("", "spread", "4")
    three.cast("basic.ack", delivery_tag=0, multiple=True)
    one.call("queue.delete", queue="spread", if_empty=True)


@script
def queue_deleted_by_other_connection(s):
    one, two = s.channel(), s.channel()
    one.call("queue.declare", queue="taken-away")
    one.call("basic.consume", queue="taken-away", consumer_tag="t")
    two.call("queue.delete", queue="taken-away")
    one.call("basic.get", queue="taken-away")


@script
def exchange_deleted_under_publisher(s):
    one, two = s.channel(), s.channel()
    one.call("exchange.declare", exchange="fleeting-x", type="fanout")
    one.call("confirm.select")
    one.publish("fleeting-x", "k", "a")
    two.call("exchange.delete", exchange="fleeting-x")
    one.publish("fleeting-x", "k", "b")


@script
def binding_of_durable_and_transient(s):
    """A transient queue may be bound to a durable exchange and the other way round."""
    ch = s.channel()
    ch.call("queue.declare", queue="durable-q", durable=True)
    ch.call("queue.declare", queue="transient-q")
    ch.call("exchange.declare", exchange="durable-x", type="fanout", durable=True)
    ch.call("exchange.declare", exchange="transient-x", type="fanout")
    ch.call("confirm.select")
    for exchange in ("durable-x", "transient-x"):
        for queue in ("durable-q", "transient-q"):
            ch.call("queue.bind", queue=queue, exchange=exchange)
        ch.publish(exchange, "", exchange)
    ch.get_all("durable-q")
    ch.get_all("transient-q")
