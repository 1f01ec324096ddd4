import pika
from harness import Inbox, channel_error, drain, publish
from playing import equal, scenario

REPLY_TO = "amq.rabbitmq.reply-to"


@scenario
def tx_commit(session):
    connection = session.connect()
    observer, channel = connection.channel(), connection.channel()
    queue, done = session.queue(observer), session.queue(observer, "done")
    publish(channel, queue, "job")
    channel.tx_select()
    method, _, _ = channel.basic_get(queue)
    publish(channel, done, "one", "two")
    channel.basic_ack(method.delivery_tag)
    equal(drain(channel, done), [], "messages before the commit")
    channel.tx_commit()
    equal(drain(observer, done), ["one", "two"], "messages after the commit")
    channel.close()
    equal(drain(observer, queue), [], "jobs left")
    with channel_error(406, "PRECONDITION_FAILED - channel is not transactional"):
        connection.channel().tx_commit()
    with channel_error(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"):
        both = connection.channel()
        both.tx_select()
        both.confirm_delivery()


@scenario
def tx_rollback(session):
    connection = session.connect()
    observer, channel = connection.channel(), connection.channel()
    queue, done = session.queue(observer), session.queue(observer, "done")
    publish(channel, queue, "job")
    channel.tx_select()
    method, _, _ = channel.basic_get(queue)
    publish(channel, done, "dropped")
    channel.basic_ack(method.delivery_tag)
    channel.tx_rollback()
    equal(drain(observer, done), [], "messages after the rollback")
    equal(drain(observer, queue), [], "the job is still held")
    publish(channel, done, "kept")
    channel.tx_commit()
    channel.close()
    equal(drain(observer, done), ["kept"], "messages of the next transaction")
    method, _, body = observer.basic_get(queue, auto_ack=True)
    equal((body, method.redelivered), (b"job", True), "the job comes back")


def serve_doubles(connection, requests):
    """Answers each request with twice its number, wherever it wants the answer."""
    channel = connection.channel()

    def answer(_channel, method, properties, body):
        reply = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, str(2 * int(body)), reply)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(requests, answer)


def call_hundred_times(session, caller, replies, reply_to, requests, server):
    for n in range(100):
        properties = pika.BasicProperties(reply_to=reply_to, correlation_id=f"call-{n}")
        caller.basic_publish("", requests, str(n), properties)
        while len(replies.messages) <= n:
            server.process_data_events(time_limit=0.01)
            caller.connection.process_data_events(time_limit=0.01)
    answers = [(properties.correlation_id, int(body)) for _, properties, body in replies.messages]
    equal(answers, [(f"call-{n}", 2 * n) for n in range(100)], "answers")


@scenario
def rpc_reply_queue(session):
    server, caller = session.connect(), session.channel()
    requests = session.shared_queue(caller, "requests")
    serve_doubles(server, requests)
    reply_queue = caller.queue_declare("", exclusive=True).method.queue
    replies = Inbox(caller, reply_queue, auto_ack=True)
    call_hundred_times(session, caller, replies, reply_queue, requests, server)


@scenario
def direct_reply_to(session):
    server, caller = session.connect(), session.channel()
    requests = session.shared_queue(caller, "requests")
    replies = Inbox(caller, REPLY_TO, auto_ack=True)
    caller.basic_publish("", requests, b"", pika.BasicProperties(reply_to=REPLY_TO))
    observer = server.channel()
    _, properties, _ = observer.basic_get(requests, auto_ack=True)
    address = properties.reply_to
    if not address.startswith(REPLY_TO + "."):
        raise AssertionError(f"reply_to as the server sees it: {address!r}")
    declared = observer.queue_declare(address, passive=True).method
    equal((declared.message_count, declared.consumer_count), (0, 1), "the caller is there")
    serve_doubles(server, requests)
    call_hundred_times(session, caller, replies, REPLY_TO, requests, server)
    equal({method.exchange for method, _, _ in replies.messages}, {""}, "exchange of the replies")
    caller.connection.close()
    with channel_error(404, f"NOT_FOUND - no queue '{address}' in vhost '/'"):
        observer.queue_declare(address, passive=True)


@scenario
def direct_reply_to_errors(session):
    connection = session.connect()
    with channel_error(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"):
        Inbox(connection.channel(), REPLY_TO)
    with channel_error(406, "PRECONDITION_FAILED - reply consumer already set"):
        channel = connection.channel()
        Inbox(channel, REPLY_TO, auto_ack=True)
        Inbox(channel, REPLY_TO, auto_ack=True)
    with channel_error(406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        channel = connection.channel()
        channel.basic_publish("", "nobody", b"", pika.BasicProperties(reply_to=REPLY_TO))
        channel.queue_declare("", exclusive=True)
