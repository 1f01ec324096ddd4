"""Users, permissions and what they refuse."""

import amqp
from connection import start_ok

from . import ctl_script

PASSWORD = "differential"


def user(s, name, configure=None, write="", read="", vhost="/"):
    """A user with these permissions in a vhost; None for no permissions at all."""
    s.ctl("add_user", name, PASSWORD)
    if configure is not None:
        s.ctl("set_permissions", "-p", vhost, name, configure, write, read)


def channel_of(s, name, **options):
    return s.channel(user=name, password=PASSWORD, **options)


def refused(ch, name, /, **fields):
    ch.call(name, **fields)
    ch.reopen()


@ctl_script
def permission_configure(s):
    admin = s.channel()
    admin.call("queue.declare", queue="perm-there")
    admin.call("exchange.declare", exchange="perm-there", type="fanout")
    user(s, "configurer", "^mine-")
    ch = channel_of(s, "configurer")
    ch.call("queue.declare", queue="mine-queue")
    ch.call("exchange.declare", exchange="mine-exchange", type="direct")
    refused(ch, "queue.declare", queue="perm-new")
    refused(ch, "queue.declare", queue="perm-there")
    ch.call("queue.declare", queue="perm-there", passive=True)
    refused(ch, "queue.declare", queue="perm-absent", passive=True)
    refused(ch, "queue.declare")
    refused(ch, "queue.delete", queue="perm-there")
    refused(ch, "queue.delete", queue="perm-absent")
    refused(ch, "exchange.declare", exchange="perm-new", type="direct")
    refused(ch, "exchange.declare", exchange="perm-there", type="fanout")
    ch.call("exchange.declare", exchange="perm-there", type="fanout", passive=True)
    refused(ch, "exchange.delete", exchange="perm-there")
    refused(ch, "exchange.delete", exchange="perm-absent")
    refused(ch, "exchange.delete", exchange="amq.direct")
    ch.call("queue.delete", queue="mine-queue")
    ch.call("exchange.delete", exchange="mine-exchange")


@ctl_script
def permission_write(s):
    admin = s.channel()
    for name in ("mine-x", "other-x"):
        admin.call("exchange.declare", exchange=name, type="fanout")
    user(s, "writer", "", "^mine-", "")
    ch = channel_of(s, "writer")
    ch.publish("mine-x", "k", "x")
    for exchange in ("other-x", "", "amq.direct", "absent"):
        ch.publish(exchange, "k", "x")
        ch.reopen()
    ch.publish("other-x", "k", "x", mandatory=True)
    ch.reopen()
    ch.call("confirm.select")
    ch.publish("mine-x", "k", "confirmed")
    ch.publish("other-x", "k", "never confirmed")


@ctl_script
def permission_write_to_default_exchange(s):
    """It is called amq.default."""
    user(s, "default-writer", "", "^amq\\.default$", "")
    ch = channel_of(s, "default-writer")
    ch.publish("", "nowhere", "x", mandatory=True)
    ch.publish("amq.default", "nowhere", "x")


@ctl_script
def permission_read(s):
    admin = s.channel()
    for name in ("mine-q", "other-q"):
        admin.call("queue.declare", queue=name)
    user(s, "reader", "", "", "^mine-")
    ch = channel_of(s, "reader")
    for name in ("mine-q", "other-q", "absent-q", "mine-absent"):
        refused(ch, "basic.get", queue=name)
        refused(ch, "basic.consume", queue=name, consumer_tag=f"tag of {name}")
        refused(ch, "queue.purge", queue=name)
    ch.call("basic.qos", prefetch_count=1)


@ctl_script
def permission_bind(s):
    """Write to what is bound, read from what it is bound to."""
    admin = s.channel()
    for name in ("w-q", "n-q"):
        admin.call("queue.declare", queue=name)
    for name in ("r-x", "n-x", "w-x"):
        admin.call("exchange.declare", exchange=name, type="fanout")
    user(s, "binder", "", "^w-", "^r-")
    ch = channel_of(s, "binder")
    for method in ("queue.bind", "queue.unbind"):
        for queue in ("w-q", "n-q", "absent"):
            for exchange in ("r-x", "n-x", "absent", ""):
                refused(ch, method, queue=queue, exchange=exchange, routing_key="k")
    for method in ("exchange.bind", "exchange.unbind"):
        for destination in ("w-x", "n-x", "absent"):
            for source in ("r-x", "n-x", "absent", ""):
                refused(ch, method, destination=destination, source=source, routing_key="k")


@ctl_script
def permission_dead_letter_exchange(s):
    """To declare a queue with one takes read on the queue and write to the exchange."""
    user(s, "undertaker", "", "", "")
    for configure, write, read in (("^q", "", ""), ("^q", "^dlx$", ""), ("^q", "", "^q"), ("^q", "^dlx$", "^q")):
        s.ctl("set_permissions", "-p", "/", "undertaker", configure, write, read)
        ch = channel_of(s, "undertaker")
        refused(ch, "queue.declare", queue="q", arguments={"x-dead-letter-exchange": "dlx"})
        refused(ch, "queue.declare", queue="q", arguments={"x-dead-letter-exchange": ""})
        refused(ch, "queue.declare", queue="q", arguments={"x-dead-letter-exchange": 1})
        ch.connection.call("connection.close", reply_code=200)


@ctl_script
def permission_alternate_exchange(s):
    user(s, "alternator", "", "", "")
    for configure, write, read in (("^x", "", ""), ("^x", "^ae$", ""), ("^x", "", "^x"), ("^x", "^ae$", "^x")):
        s.ctl("set_permissions", "-p", "/", "alternator", configure, write, read)
        ch = channel_of(s, "alternator")
        refused(ch, "exchange.declare", exchange="x-with-ae", type="direct", arguments={"alternate-exchange": "ae"})
        ch.connection.call("connection.close", reply_code=200)


@ctl_script
def permission_dead_lettering_itself(s):
    """What dies is published without anybody's permission."""
    admin = s.channel()
    admin.call("queue.declare", queue="perm-dead")
    admin.call("queue.declare", queue="perm-dying", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "perm-dead"})
    admin.call("confirm.select")
    admin.publish("", "perm-dying", "a")
    user(s, "rejecter", "", "", "^perm-dying$")
    ch = channel_of(s, "rejecter")
    ch.call("basic.get", queue="perm-dying")
    ch.cast("basic.reject", delivery_tag=1)
    admin.get_all("perm-dead")


@ctl_script
def permission_order_of_checks(s):
    """Which of two mistakes is told."""
    admin = s.channel()
    admin.call("queue.declare", queue="locked", exclusive=True)
    admin.call("exchange.declare", exchange="inside", type="fanout", internal=True)
    user(s, "nobody", "", "", "")
    ch = channel_of(s, "nobody")
    refused(ch, "queue.declare", queue="amq.reserved")
    refused(ch, "queue.declare", queue="locked")
    refused(ch, "queue.declare", queue="bad", arguments={"x-message-ttl": -1})
    refused(ch, "queue.declare", queue="bad", arguments={"x-message-ttl": "text", "x-dead-letter-exchange": "x"})
    refused(ch, "exchange.declare", exchange="amq.reserved", type="direct")
    refused(ch, "exchange.declare", exchange="amq.direct", type="fanout")
    refused(ch, "exchange.declare", exchange="", type="direct")
    refused(ch, "exchange.delete", exchange="")
    refused(ch, "queue.delete", queue="locked")
    refused(ch, "queue.purge", queue="locked")
    refused(ch, "basic.get", queue="locked")
    refused(ch, "basic.consume", queue="locked", consumer_tag="t")
    ch.publish("inside", "k", "x")
    ch.reopen()
    ch.publish("inside", "k", "x", {"expiration": "bad", "user_id": "else"})
    ch.reopen()
    ch.publish("absent", "k", "x", {"expiration": "bad"})


@ctl_script
def permission_reply_to(s):
    """Direct reply-to needs no permission but that to write."""
    user(s, "requester", "", "^amq\\.default$", "")
    ch = channel_of(s, "requester")
    ch.call("basic.consume", queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="t")
    ch.publish("", "nowhere", "x", {"reply_to": "amq.rabbitmq.reply-to"})


@ctl_script
def permission_changed_while_connected(s):
    """A channel keeps what it has been allowed for a while; a new one asks again."""
    admin = s.channel()
    admin.call("exchange.declare", exchange="changing-x", type="fanout")
    user(s, "changing", "", "", "")
    ch = channel_of(s, "changing")
    ch.publish("changing-x", "k", "refused")
    ch.reopen()
    s.ctl("set_permissions", "-p", "/", "changing", "", "^changing-", "")
    ch.publish("changing-x", "k", "allowed")
    s.ctl("set_permissions", "-p", "/", "changing", "", "", "")
    other = ch.connection.channel(2)
    other.publish("changing-x", "k", "refused again")


@ctl_script
def permission_cleared_while_connected(s):
    user(s, "cleared", ".*", ".*", ".*")
    ch = channel_of(s, "cleared")
    s.ctl("clear_permissions", "-p", "/", "cleared")
    ch.call("queue.declare", queue="cleared-queue")
    ch.reopen()
    ch.publish("", "nowhere", "x")


@ctl_script
def permission_of_patterns(s):
    """Regular expressions that match anywhere in the name; the empty one matches nothing."""
    user(s, "patterns", "", "", "")
    for pattern in ("b", "^b", "b$", "^a.c$", "a|z", "(?!a)b", "[[:alpha:]]+$", "\\d", "", "^$", ".*", "(", "B", "(?i)B"):
        s.ctl("set_permissions", "-p", "/", "patterns", pattern, "", "")
        ch = channel_of(s, "patterns")
        for queue in ("abc", "b", "z1"):
            refused(ch, "queue.declare", queue=queue)
            if not ch.closed:
                ch.call_unrecorded("queue.delete", queue=queue)
            ch.reopen()
        ch.connection.call("connection.close", reply_code=200)


@ctl_script
def permission_topic(s):
    """Routing keys of topic exchanges, at publish and at bind."""
    admin = s.channel()
    admin.call("exchange.declare", exchange="topics", type="topic")
    admin.call("exchange.declare", exchange="topics-too", type="topic")
    admin.call("exchange.declare", exchange="no-topics", type="direct")
    admin.call("queue.declare", queue="topic-queue")
    user(s, "topical", ".*", ".*", ".*")
    s.ctl("set_topic_permissions", "-p", "/", "topical", "topics", "^w\\.", "^r\\.")
    ch = channel_of(s, "topical")
    for exchange in ("topics", "topics-too", "no-topics", "amq.topic"):
        for key in ("w.1", "r.1", ""):
            ch.publish(exchange, key, "x", mandatory=True)
            ch.reopen()
            refused(ch, "queue.bind", queue="topic-queue", exchange=exchange, routing_key=key)
            refused(ch, "exchange.bind", destination="amq.fanout", source=exchange, routing_key=key)
            refused(ch, "queue.unbind", queue="topic-queue", exchange=exchange, routing_key=key)
            refused(ch, "exchange.unbind", destination="amq.fanout", source=exchange, routing_key=key)
    ch.publish("topics", "w.1", "x", {"headers": {"CC": ["forbidden"]}})
    ch.reopen()
    s.ctl("clear_topic_permissions", "-p", "/", "topical", "topics")
    other = channel_of(s, "topical")
    other.publish("topics", "anything", "x")


@ctl_script
def permission_topic_variables(s):
    admin = s.channel()
    admin.call("exchange.declare", exchange="variable-topics", type="topic")
    user(s, "variable", ".*", ".*", ".*")
    s.ctl("set_topic_permissions", "-p", "/", "variable", "variable-topics", "^{username}\\.{vhost}$", "^{username}$")
    ch = channel_of(s, "variable")
    for key in ("variable./", "variable.other", "{username}./", "other./"):
        ch.publish("variable-topics", key, "x")
        ch.reopen()


@ctl_script
def permission_topic_and_alternate_exchange(s):
    """Only the exchange that is published to is looked at."""
    admin = s.channel()
    admin.call("exchange.declare", exchange="after-topics", type="topic")
    admin.call("exchange.declare", exchange="before-topics", type="direct", arguments={"alternate-exchange": "after-topics"})
    user(s, "indirect", ".*", ".*", ".*")
    s.ctl("set_topic_permissions", "-p", "/", "indirect", "after-topics", "^$", "^$")
    ch = channel_of(s, "indirect")
    ch.publish("before-topics", "k", "x")
    ch.publish("after-topics", "k", "x")


def open_as(s, name, vhost="/", password=PASSWORD):
    """The end of a handshake, as far as it gets."""
    c = s.dial()
    c.exchange("header", amqp.PROTOCOL_HEADER, until="connection.start")
    c.exchange("start-ok", start_ok(name, password), until="connection.tune")
    if not c.closing:
        c.send(amqp.method(0, "connection.tune-ok", channel_max=2047, frame_max=131072))
        c.exchange(f"open {vhost}", amqp.method(0, "connection.open", virtual_host=vhost), until="connection.open-ok")


@ctl_script
def permission_to_open_a_vhost(s):
    s.ctl("add_vhost", "diff-vhost")
    user(s, "visitor", None)
    open_as(s, "visitor")
    s.ctl("set_permissions", "-p", "/", "visitor", "", "", "")
    open_as(s, "visitor")
    open_as(s, "visitor", "diff-vhost")
    open_as(s, "visitor", "absent-vhost")
    s.ctl("set_permissions", "-p", "diff-vhost", "visitor", "", "", "")
    open_as(s, "visitor", "diff-vhost")


@ctl_script
def permission_of_administrators_too(s):
    """A tag gives no permission."""
    s.ctl("add_user", "chief", PASSWORD)
    s.ctl("set_user_tags", "chief", "administrator")
    open_as(s, "chief")


@ctl_script
def user_impersonator(s):
    """May set any user-id."""
    user(s, "actor", ".*", ".*", ".*")
    ch = channel_of(s, "actor")
    ch.publish("", "nowhere", "x", {"user_id": "guest"})
    ch.reopen()
    ch.publish("", "nowhere", "x", {"user_id": "actor"})
    s.ctl("set_user_tags", "actor", "impersonator")
    other = channel_of(s, "actor")
    other.publish("", "nowhere", "x", {"user_id": "guest"})
    other.publish("", "nowhere", "x", {"user_id": "absent"})


@ctl_script
def user_password_changed(s):
    user(s, "changer", ".*", ".*", ".*")
    ch = channel_of(s, "changer")
    s.ctl("change_password", "changer", "another")
    ch.call("queue.declare", queue="changer-queue", exclusive=True)
    open_as(s, "changer")
    open_as(s, "changer", password="another")
    s.ctl("clear_password", "changer")
    open_as(s, "changer", password="another")
    open_as(s, "changer", password="")


@ctl_script
def user_deleted_while_connected(s):
    user(s, "doomed", ".*", ".*", ".*")
    ch = channel_of(s, "doomed")
    with s.step("delete the user; its connection is closed"):
        s.ctl("delete_user", "doomed")
        s.wait_for(ch.connection, "connection.close")
    open_as(s, "doomed")


@ctl_script
def user_limits(s):
    user(s, "limited", ".*", ".*", ".*")
    s.ctl("set_user_limits", "limited", '{"max-connections": 1, "max-channels": 2}')
    c = s.connect(user="limited", password=PASSWORD)
    for number in (1, 2):
        c.channel(number)
    open_as(s, "limited")
    three = c.channel(3, open=False)
    three.call("channel.open")


@ctl_script
def vhost_limits(s):
    s.ctl("add_vhost", "tight")
    s.ctl("set_permissions", "-p", "tight", "guest", ".*", ".*", ".*")
    s.ctl("set_vhost_limits", "-p", "tight", '{"max-connections": 1, "max-queues": 1}')
    ch = s.channel(virtual_host="tight")
    open_as(s, "guest", "tight", "guest")
    ch.call("queue.declare", queue="first")
    ch.call("queue.declare", queue="first")
    refused(ch, "queue.declare", queue="second")
    refused(ch, "queue.declare", queue="second", passive=True)
    ch.call("queue.delete", queue="first")
    ch.call("queue.declare", queue="second")
    s.ctl("set_vhost_limits", "-p", "tight", '{"max-connections": 0}')
    open_as(s, "guest", "tight", "guest")
    ch.call("queue.declare", queue="third")


@ctl_script
def vhost_deleted_while_connected(s):
    s.ctl("add_vhost", "going")
    s.ctl("set_permissions", "-p", "going", "guest", ".*", ".*", ".*")
    ch = s.channel(virtual_host="going")
    ch.call("queue.declare", queue="goes-too")
    with s.step("delete the vhost; its connection is closed"):
        s.ctl("delete_vhost", "going")
        s.wait_for(ch.connection, "connection.close")
    open_as(s, "guest", "going", "guest")


@ctl_script
def vhosts_are_apart(s):
    s.ctl("add_vhost", "apart")
    s.ctl("set_permissions", "-p", "apart", "guest", ".*", ".*", ".*")
    here, there = s.channel(), s.channel(virtual_host="apart")
    here.call("queue.declare", queue="only-here")
    there.call("queue.declare", queue="only-here", passive=True)
    there.reopen()
    there.call("confirm.select")
    there.publish("", "only-here", "x", mandatory=True)
    for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match", "amq.rabbitmq.trace"):
        there.call("exchange.declare", exchange=name, passive=True, type="")
    there.call("queue.declare", queue="only-here", passive=True)
