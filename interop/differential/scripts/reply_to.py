"""Direct reply-to: the pseudo queue amq.rabbitmq.reply-to."""

import amqp

from . import script

NAME = "amq.rabbitmq.reply-to"


def requester(s):
    """A connection with a reply consumer on channel 1 and a request queue on channel 2."""
    c = s.connect()
    ch, server = c.channel(1), c.channel(2)
    server.call("queue.declare", queue="requests", exclusive=True)
    ch.call("basic.consume", queue=NAME, consumer_tag="replies", no_ack=True)
    return ch, server


def request(ch, server, **properties):
    """The reply-to that the server sees."""
    ch.publish("", "requests", "request", {"reply_to": NAME} | properties)
    got = server.call("basic.get", queue="requests", no_ack=True)
    return amqp.decode_properties(got["properties"])["reply-to"]


@script
def reply_to_call(s):
    ch, server = requester(s)
    for n in range(2):
        reply_to = request(ch, server, correlation_id=str(n))
        with s.step("reply"):
            server.publish("", reply_to, "reply", {"correlation_id": str(n)})
            s.wait_for(ch.connection, "basic.deliver")


@script
def reply_to_from_another_connection(s):
    ch, _ = requester(s)
    other = s.channel()
    other.call("queue.declare", queue="requests-far")
    ch.publish("", "requests-far", "request", {"reply_to": NAME, "headers": {"a": 1}, "app_id": "z"})
    got = other.call("basic.get", queue="requests-far", no_ack=True)
    reply_to = amqp.decode_properties(got["properties"])["reply-to"]
    with s.step("reply"):
        other.publish("", reply_to, "reply", {"headers": {"b": 2}})
        s.wait_for(ch.connection, "basic.deliver")


@script
def reply_to_server_named_tag(s):
    ch = s.channel()
    ch.call("basic.consume", queue=NAME, no_ack=True)


@script
def reply_to_consume_errors(s):
    ch = s.channel()
    ch.call("basic.consume", queue=NAME, consumer_tag="t")
    ch.reopen()
    ch.call("basic.consume", queue=NAME, consumer_tag="t", no_ack=True)
    ch.call("basic.consume", queue=NAME, consumer_tag="u", no_ack=True)


@script
def reply_to_consume_same_tag(s):
    ch = s.channel()
    ch.call("basic.consume", queue=NAME, consumer_tag="t", no_ack=True)
    ch.call("basic.consume", queue=NAME, consumer_tag="t", no_ack=True)


@script
def reply_to_consume_tag_of_other_consumer(s):
    ch = s.channel()
    ch.call("queue.declare", queue="tag-holder", exclusive=True)
    ch.call("basic.consume", queue="tag-holder", consumer_tag="t", no_ack=True)
    ch.call("basic.consume", queue=NAME, consumer_tag="t", no_ack=True)


@script
def reply_to_consume_exclusive_and_nowait(s):
    ch = s.channel()
    ch.cast("basic.consume", queue=NAME, consumer_tag="t", no_ack=True, nowait=True)
    ch.call("basic.cancel", consumer_tag="t")
    ch.call("basic.consume", queue=NAME, consumer_tag="t", no_ack=True, exclusive=True)
    ch.cast("basic.cancel", consumer_tag="t", nowait=True)
    ch.call("basic.consume", queue=NAME, consumer_tag="t", no_ack=True, arguments={"x-priority": "wrong"})


@script
def reply_to_publish_without_consumer(s):
    ch = s.channel()
    ch.publish("", "nowhere", "x", {"reply_to": NAME})


@script
def reply_to_publish_after_cancel(s):
    ch, _ = requester(s)
    ch.call("basic.cancel", consumer_tag="replies")
    ch.publish("", "requests", "x", {"reply_to": NAME})


@script
def reply_to_consumer_on_other_channel(s):
    """The consumer has to be on the channel that publishes."""
    ch, server = requester(s)
    server.publish("", "requests", "x", {"reply_to": NAME})


@script
def reply_to_declare(s):
    ch, server = requester(s)
    reply_to = request(ch, server)
    for ch in (server, s.channel()):
        ch.call("queue.declare", queue=reply_to, passive=True)
        ch.reopen()
        ch.call("queue.declare", queue=reply_to)
        ch.reopen()


@script
def reply_to_declare_bare(s):
    ch = s.channel()
    for fields in ({"passive": True}, {}, {"durable": True, "exclusive": True}):
        ch.call("queue.declare", queue=NAME, **fields)
        ch.reopen()


@script
def reply_to_declare_unknown(s):
    ch = s.channel()
    for name in (f"{NAME}.", f"{NAME}.nonsense", f"{NAME}.g1h2AA==", f"{NAME}x"):
        for passive in (True, False):
            ch.call("queue.declare", queue=name, passive=passive)
            ch.reopen()


@script
def reply_to_declare_after_cancel(s):
    ch, server = requester(s)
    reply_to = request(ch, server)
    ch.call("basic.cancel", consumer_tag="replies")
    server.call("queue.declare", queue=reply_to, passive=True)


@script
def reply_to_other_methods(s):
    ch = s.channel()
    for name, fields in (
        ("queue.bind", {"exchange": "amq.direct", "routing_key": "k"}),
        ("queue.unbind", {"exchange": "amq.direct", "routing_key": "k"}),
        ("queue.purge", {}),
        ("queue.delete", {}),
        ("basic.get", {"no_ack": True}),
    ):
        ch.call(name, queue=NAME, **fields)
        ch.reopen()


@script
def reply_to_publish_to_bare_name(s):
    ch, _ = requester(s)
    ch.publish("", NAME, "x", mandatory=True)


@script
def reply_to_reply_after_requester_left(s):
    ch, _ = requester(s)
    other = s.channel()
    other.call("queue.declare", queue="requests-left")
    ch.publish("", "requests-left", "request", {"reply_to": NAME})
    got = other.call("basic.get", queue="requests-left", no_ack=True)
    reply_to = amqp.decode_properties(got["properties"])["reply-to"]
    ch.connection.call("connection.close", reply_code=200)
    other.call("confirm.select")
    other.publish("", reply_to, "nobody is there")
    other.publish("", reply_to, "nobody is there, mandatory", mandatory=True)
    other.call("queue.declare", queue=reply_to, passive=True)


@script
def reply_to_reply_mandatory(s):
    ch, server = requester(s)
    reply_to = request(ch, server)
    server.call("confirm.select")
    with s.step("mandatory reply"):
        server.publish("", reply_to, "reply", mandatory=True)
        server.await_confirms()
        s.wait_for(ch.connection, "basic.deliver")


@script
def reply_to_reply_through_other_exchange(s):
    """Only the default exchange knows the name."""
    ch, server = requester(s)
    reply_to = request(ch, server)
    server.call("confirm.select")
    server.publish("amq.direct", reply_to, "lost", mandatory=True)


@script
def reply_to_reply_by_cc(s):
    ch, server = requester(s)
    reply_to = request(ch, server)
    server.call("confirm.select")
    with s.step("reply by CC"):
        server.publish("", "nowhere", "reply", {"headers": {"CC": [reply_to, reply_to]}}, mandatory=True)
        server.await_confirms()
        s.wait_for(ch.connection, "basic.deliver")


@script
def reply_to_other_names_are_kept(s):
    ch = s.channel()
    ch.call("queue.declare", queue="plain-reply", exclusive=True)
    for reply_to in ("my-queue", "", "amq.gen-x", f"{NAME}x"):
        ch.publish("", "plain-reply", "x", {"reply_to": reply_to})
    ch.get_all("plain-reply")


@script
def reply_to_mandatory_return(s):
    """What a returned request shows as reply-to."""
    ch, _ = requester(s)
    ch.publish("", "nowhere", "request", {"reply_to": NAME}, mandatory=True)


@script
def reply_to_in_tx(s):
    ch, server = requester(s)
    ch.call("tx.select")
    ch.publish("", "requests", "request", {"reply_to": NAME})
    ch.call("tx.commit")
    server.call("basic.get", queue="requests", no_ack=True)
