"""Sequences of methods from a seed.

Two connections with two channels each work on a few queues and exchanges; a third connection
watches. Some queues have limits, priorities and dead letters. Most methods are valid. A sequence
keeps to what has one right answer: a channel consumes from one queue only (deliveries from two
queues have no order), and an error that ends a connection is its last step (what else that ends
is noticed at no certain time).
"""

import random

QUEUES = ("qa", "qb", "qc", "qd")
# Where queues send their dead letters, each a place of its own: letters of two have no order.
GRAVES = {"qa": "ga", "qb": "gb", "qc": "gc"}
ALL_QUEUES = QUEUES + tuple(GRAVES.values())
EXCHANGES = ("xa", "xb", "xc")
SOURCES = EXCHANGES + ("amq.direct", "amq.fanout", "amq.topic", "amq.headers")
TYPES = ("direct", "fanout", "topic", "headers")
KEYS = ("k", "k.l", "k.l.m", "", "qa")
PATTERNS = KEYS + ("#", "*", "k.*", "#.l.#", "*.l")
HEADERS = ({}, {"h": 1}, {"h": 2, "g": "x"}, {"g": "x"})
STEPS = 40
FIRST_MESSAGES = 8
SMALL_FRAME_MAX = 4096


def run_sequence(seed, session):
    _Sequence(random.Random(seed), session).run()


class _Worker:
    """What the sequence knows of a channel it works with."""

    def __init__(self, channel):
        self.channel = channel
        self.forget()

    def forget(self):
        self.mode = "plain"
        self.unsettled = []
        self.consumers = {}  # tag to no_ack
        self.consumed_queue = None


class _Sequence:
    def __init__(self, chance, session):
        self.chance = chance
        self.session = session
        self.bodies = 0
        self.tags = 0
        self.connections = [session.connect(), session.connect(frame_max=SMALL_FRAME_MAX)]
        self.workers = [_Worker(c.channel(number)) for c in self.connections for number in (1, 2)]
        self.watcher = session.channel()
        self.arguments_of = {}

    def run(self):
        for worker in self.workers:
            self.choose_mode(worker)
        for queue in GRAVES.values():
            self.watcher.call("queue.declare", queue=queue, **self.grave_fields())
        for queue in QUEUES:
            self.one_of(self.workers).channel.call("queue.declare", queue=queue, **self.queue_fields(queue))
            self.reopen_closed()
        for exchange in EXCHANGES:
            self.one_of(self.workers).channel.call("exchange.declare", exchange=exchange, **self.exchange_fields())
            self.reopen_closed()
        for _ in range(FIRST_MESSAGES):
            self.publish(_Worker(self.watcher))
            self.watcher.reopen()
        for _ in range(STEPS):
            operation = self.chance.choices(list(self.OPERATIONS), list(self.OPERATIONS.values()))[0]
            worker = self.one_of(self.workers)
            operation(self, worker)
            self.keep_books()
            self.reopen_closed()
            if operation in self.DEADLY:
                self.mourn()
        self.watch()
        if self.chance.random() < 0.3:
            self.fatal_error(self.one_of(self.workers))
        self.finish()

    # --- Choosing ---

    def one_of(self, choices):
        return self.chance.choice(list(choices))

    def maybe(self, probability):
        return self.chance.random() < probability

    def queue(self):
        return "absent" if self.maybe(0.03) else self.one_of(QUEUES)

    def queue_or_grave(self):
        return self.one_of(GRAVES.values()) if self.maybe(0.2) else self.queue()

    def queue_fields(self, queue):
        fields = {}
        if self.maybe(0.15):
            fields["durable"] = True
        if self.maybe(0.1):
            fields["auto_delete"] = True
        if self.maybe(0.08):
            fields["exclusive"] = True
        arguments = self.arguments_of.setdefault(queue, self.queue_arguments(queue))
        if self.maybe(0.05):
            arguments = self.queue_arguments(queue)
        return fields | ({"arguments": arguments} if arguments else {})

    def queue_arguments(self, queue):
        arguments = self.limits() if self.maybe(0.4) else {}
        if self.maybe(0.25):
            arguments["x-max-priority"] = self.chance.randint(1, 3)
        if self.maybe(0.15):
            arguments["x-single-active-consumer"] = True
        if queue in GRAVES and self.maybe(0.8):
            arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": GRAVES[queue]}
        return arguments

    def limits(self):
        limit = self.one_of(({"x-max-length": 1}, {"x-max-length": 2}, {"x-max-length": 5}, {"x-max-length-bytes": 20}))
        overflow = self.one_of((None, None, "drop-head", "reject-publish", "reject-publish-dlx"))
        return limit | ({"x-overflow": overflow} if overflow else {})

    def grave_fields(self):
        return {"arguments": self.limits() if self.maybe(0.2) else {}}

    def exchange_fields(self):
        fields = {"type": self.one_of(TYPES)}
        if self.maybe(0.15):
            fields["auto_delete"] = True
        if self.maybe(0.05):
            fields["internal"] = True
        if self.maybe(0.25):
            fields["arguments"] = {"alternate-exchange": self.one_of(SOURCES + ("absent",))}
        return fields

    def binding_fields(self):
        fields = {"routing_key": self.one_of(PATTERNS)}
        if self.maybe(0.3):
            fields["arguments"] = self.one_of(HEADERS) | self.one_of(({}, {"x-match": "any", "any": 1}, {"x-match": "all"}))
        return fields

    # --- Operations ---

    def queue_declare(self, worker):
        queue = self.one_of(QUEUES)
        worker.channel.call("queue.declare", queue=queue, **self.queue_fields(queue))

    def queue_declare_passive(self, worker):
        worker.channel.call("queue.declare", queue=self.queue_or_grave(), passive=True)

    def queue_delete(self, worker):
        worker.channel.call("queue.delete", queue=self.queue(), if_unused=self.maybe(0.3), if_empty=self.maybe(0.3))
        self.watch()

    def queue_purge(self, worker):
        worker.channel.call("queue.purge", queue=self.queue_or_grave())

    def queue_bind(self, worker):
        exchange = "absent" if self.maybe(0.03) else self.one_of(SOURCES)
        worker.channel.call("queue.bind", queue=self.queue(), exchange=exchange, **self.binding_fields())

    def queue_unbind(self, worker):
        worker.channel.call("queue.unbind", queue=self.queue(), exchange=self.one_of(SOURCES), **self.binding_fields())

    def exchange_declare(self, worker):
        worker.channel.call("exchange.declare", exchange=self.one_of(EXCHANGES), **self.exchange_fields())

    def exchange_delete(self, worker):
        worker.channel.call("exchange.delete", exchange=self.one_of(EXCHANGES), if_unused=self.maybe(0.5))

    def exchange_bind(self, worker):
        destination, source = self.one_of(EXCHANGES), self.one_of(SOURCES)
        worker.channel.call("exchange.bind", destination=destination, source=source, **self.binding_fields())

    def exchange_unbind(self, worker):
        destination, source = self.one_of(EXCHANGES), self.one_of(SOURCES)
        worker.channel.call("exchange.unbind", destination=destination, source=source, **self.binding_fields())

    def publish(self, worker):
        self.bodies += 1
        properties = {}
        headers = dict(self.one_of(HEADERS))
        if self.maybe(0.1):
            headers[self.one_of(("CC", "BCC"))] = self.chance.sample(QUEUES + KEYS[:2], 2)
        if headers or self.maybe(0.1):
            properties["headers"] = headers
        if self.maybe(0.3):
            # Persistent messages in durable queues wait for files, which takes its own time.
            properties["delivery_mode"] = 1
        if self.maybe(0.3):
            properties["priority"] = self.chance.randint(0, 4)
        if self.maybe(0.02):
            properties["user_id"] = "somebody"
        exchange = self.one_of(("",) * 8 + SOURCES) if not self.maybe(0.02) else "absent"
        key = self.one_of(QUEUES) if exchange == "" else self.one_of(KEYS)
        body = f"m{self.bodies} " * (2000 if self.maybe(0.05) else 1)
        worker.channel.publish(exchange, key, body, properties, mandatory=self.maybe(0.3))

    def get(self, worker):
        worker.channel.call("basic.get", queue=self.queue_or_grave(), no_ack=self.maybe(0.3))

    def consume(self, worker):
        if worker.consumed_queue is None:
            worker.consumed_queue = self.one_of(QUEUES + QUEUES + ALL_QUEUES)
        self.tags += 1
        tag, no_ack = f"t{self.tags}", self.maybe(0.3)
        arguments = {"x-priority": self.chance.randint(-1, 1)} if self.maybe(0.2) else None
        worker.consumers[tag] = no_ack
        worker.channel.call(
            "basic.consume", queue=worker.consumed_queue, consumer_tag=tag, no_ack=no_ack,
            exclusive=self.maybe(0.05), arguments=arguments,
        )

    def cancel(self, worker):
        tag = self.one_of(worker.consumers or ["unknown"])
        worker.consumers.pop(tag, None)
        worker.channel.call("basic.cancel", consumer_tag=tag)
        if not worker.consumers:
            worker.consumed_queue = None
        self.watch()

    def qos(self, worker):
        worker.channel.call("basic.qos", prefetch_count=self.chance.randint(0, 3), global_=self.maybe(0.25))

    def settle(self, worker):
        worker = self.one_of([each for each in self.workers if each.unsettled] or [worker])
        if not worker.unsettled and not self.maybe(0.05):
            return
        tag = self.one_of(worker.unsettled) if worker.unsettled and not self.maybe(0.03) else self.chance.randint(0, 9)
        multiple = self.maybe(0.3)
        name = self.one_of(("basic.ack", "basic.ack", "basic.nack", "basic.reject"))
        fields = {"delivery_tag": tag}
        if name != "basic.reject":
            fields["multiple"] = multiple
        if name != "basic.ack":
            fields["requeue"] = self.maybe(0.5)
        if worker.mode != "tx":
            if name != "basic.reject" and multiple:
                worker.unsettled = [each for each in worker.unsettled if each > tag]
            elif tag in worker.unsettled:
                worker.unsettled.remove(tag)
        worker.channel.cast(name, **fields)

    def recover(self, worker):
        worker.unsettled = []
        worker.channel.call("basic.recover", requeue=True)

    def tx_end(self, worker):
        if worker.mode == "tx" or self.maybe(0.05):
            worker.channel.call(self.one_of(("tx.commit", "tx.commit", "tx.rollback")))

    def close_channel(self, worker):
        worker.channel.call("channel.close", reply_code=200)
        self.watch()

    def reconnect(self, worker):
        connection = worker.channel.connection
        self.close_connection(connection)
        self.replace(connection)
        self.watch()

    OPERATIONS = {
        queue_declare: 3, queue_declare_passive: 2, queue_delete: 1, queue_purge: 1, queue_bind: 6, queue_unbind: 2,
        exchange_declare: 2, exchange_delete: 1, exchange_bind: 2, exchange_unbind: 1,
        publish: 34, get: 14, consume: 7, cancel: 2, qos: 3, settle: 26, recover: 1, tx_end: 4,
        close_channel: 1, reconnect: 1,
    }
    # After these messages may be on their way to where dead letters go.
    DEADLY = {publish, settle, recover, tx_end, close_channel, reconnect}

    def fatal_error(self, worker):
        """Something that ends the connection, on its last channel."""
        for other in self.workers:
            if other.channel.connection is worker.channel.connection:
                other.channel.call("channel.close", reply_code=200)
        worker.channel.reopen()
        name, fields = self.one_of((
            ("basic.qos", {"prefetch_size": 1}),
            ("channel.open", {}),
            ("channel.flow", {"active": False}),
            ("basic.recover", {"requeue": False}),
        ))
        worker.channel.cast(name, **fields)

    # --- Between operations ---

    def choose_mode(self, worker):
        worker.mode = self.chance.choices(("confirm", "plain", "tx"), (6, 3, 1))[0]
        if worker.mode != "plain":
            worker.channel.call(f"{worker.mode}.select")

    def keep_books(self):
        """Note the delivery tags that came with the last step, and consumers that were cancelled."""
        by_channel = {worker.channel.name: worker for worker in self.workers}
        step = self.session.steps[-1]
        for connection, number, reply in step.replies:
            worker = by_channel.get(f"{connection}.{number}")
            name = reply.get("method")
            if worker is None:
                continue
            if name == "basic.deliver" and not worker.consumers.get(reply["consumer-tag"], True):
                worker.unsettled.append(reply["delivery-tag"])
            elif name == "basic.get-ok" and not step.label.endswith("no_ack"):
                worker.unsettled.append(reply["delivery-tag"])
            elif name == "basic.cancel":
                worker.consumers.pop(reply["consumer-tag"], None)

    def reopen_closed(self):
        for worker in self.workers:
            if worker.channel.closed:
                worker.forget()
                worker.channel.reopen()
                self.choose_mode(worker)

    def replace(self, connection):
        fresh = self.session.connect(frame_max=connection.frame_max)
        self.connections[self.connections.index(connection)] = fresh
        for worker in self.workers:
            if worker.channel.connection is connection:
                worker.channel = fresh.channel(worker.channel.number)
                worker.forget()
                self.choose_mode(worker)

    def close_connection(self, connection):
        """Channel by channel: whether one requeues before or after another stops consuming is chance."""
        for worker in self.workers:
            if worker.channel.connection is connection:
                worker.channel.call("channel.close", reply_code=200)
        connection.call("connection.close", reply_code=200)

    def watch(self):
        """Record the state of every queue; this also waits for auto-delete queues to be gone."""
        self.keep_books()
        for queue in QUEUES:
            self.watcher.call("queue.declare", queue=queue, passive=True)
            self.watcher.reopen()

    def mourn(self):
        """Record how many have died; this also waits for them to arrive."""
        with self.session.step("dead letters"):
            for queue in GRAVES.values():
                self.watcher.call("queue.declare", queue=queue, passive=True)
        self.keep_books()

    def finish(self):
        """Close both connections, so that everything is requeued, and empty the queues."""
        if any(connection.closing for connection in self.connections):
            return
        for connection in self.connections:
            self.close_connection(connection)
        for queue in ALL_QUEUES:
            self.watcher.get_all(queue)
            self.watcher.reopen()
