from harness import Inbox, channel_error, drain, exists, publish, receive, send
from kombu import Producer, Queue
from playing import equal, scenario

REPLY_TO = "amq.rabbitmq.reply-to"


def direct_replies(channel):
    return Queue(REPLY_TO, no_declare=True)(channel)


@scenario
def tx_commit(session):
    connection = session.connect()
    observer, channel = connection.channel(), connection.channel()
    jobs, done = session.queue(observer), session.queue(observer, "done")
    send(jobs, "job")
    channel.tx_select()
    job = receive(jobs(channel), no_ack=False)
    send(done(channel), "one", "two")
    job.ack()
    equal(drain(done), [], "messages before the commit")
    channel.tx_commit()
    equal(drain(done), ["one", "two"], "messages after the commit")
    channel.close()
    equal(drain(jobs), [], "jobs left")
    with channel_error(connection, 406, "PRECONDITION_FAILED - channel is not transactional"):
        connection.channel().tx_commit()
    with channel_error(connection, 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"):
        both = connection.channel()
        both.tx_select()
        both.confirm_select()


@scenario
def tx_rollback(session):
    connection = session.connect()
    observer, channel = connection.channel(), connection.channel()
    jobs, done = session.queue(observer), session.queue(observer, "done")
    send(jobs, "job")
    channel.tx_select()
    job = receive(jobs(channel), no_ack=False)
    send(done(channel), "dropped")
    job.ack()
    channel.tx_rollback()
    equal(drain(done), [], "messages after the rollback")
    equal(drain(jobs), [], "the job is still held")
    send(done(channel), "kept")
    channel.tx_commit()
    channel.close()
    equal(drain(done), ["kept"], "messages of the next transaction")
    again = receive(jobs)
    equal((again.payload, again.delivery_info["redelivered"]), ("job", True), "the job comes back")


def call_hundred_times(replies, requests, reply_to):
    producer = Producer(replies.channel)
    for n in range(100):
        producer.publish(n, routing_key=requests.name, reply_to=reply_to, correlation_id=f"call-{n}")
        replies.wait(n + 1)
    answers = [(message.properties["correlation_id"], message.payload) for message in replies.messages]
    equal(answers, [(f"call-{n}", 2 * n) for n in range(100)], "answers")


@scenario
def rpc_reply_queue(session):
    caller = session.channel()
    requests = session.queue(caller, "requests")
    reply_queue = Queue("", exclusive=True)(caller)
    reply_queue.declare()
    with session.server(requests, lambda number: 2 * number):
        call_hundred_times(Inbox(reply_queue, no_ack=True), requests, reply_queue.name)


@scenario
def direct_reply_to(session):
    connection = session.connect()
    caller = connection.channel()
    requests = session.queue(session.channel(), "requests")
    replies = Inbox(direct_replies(caller), no_ack=True)
    publish(caller, "who asks?", requests.name, reply_to=REPLY_TO)
    address = Inbox(requests).wait(1)[0].properties["reply_to"]
    if not address.startswith(f"{REPLY_TO}."):
        raise AssertionError(f"reply_to as the server sees it: {address!r}")
    reply_address = Queue(address)(session.channel())
    declared = reply_address.queue_declare(passive=True)
    equal((declared.message_count, declared.consumer_count), (0, 1), "the caller is there")
    with session.server(session.queue(requests.channel, "calls"), lambda number: 2 * number):
        call_hundred_times(replies, Queue(session.name("calls")), REPLY_TO)
    equal({message.delivery_info["exchange"] for message in replies.messages}, {""}, "exchange of the replies")
    connection.release()
    equal(exists(reply_address), False, "the caller is there after it left")


@scenario
def direct_reply_to_errors(session):
    connection = session.connect()
    with channel_error(connection, 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"):
        Inbox(direct_replies(connection.channel()))
    with channel_error(connection, 406, "PRECONDITION_FAILED - reply consumer already set"):
        channel = connection.channel()
        for _ in range(2):
            Inbox(direct_replies(channel), no_ack=True)
    with channel_error(connection, 406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        channel = connection.channel()
        publish(channel, "", "nobody", reply_to=REPLY_TO)
        Queue("", exclusive=True)(channel).declare()
