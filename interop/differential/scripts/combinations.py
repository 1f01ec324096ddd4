"""Features of queues together: each script has one value of each, and every pair of values occurs in some script.

The same course of publishing, getting, settling and closing, chosen from a seed, runs on every
combination. What cannot be told apart from chance, or what RabbitMQ refuses, is left out.
"""

import itertools
import random


from . import script

SEED = 2
STEPS = 14
CANDIDATES = 60

FEATURES = {
    "kind": ("transient", "durable", "quorum"),
    "ttl": (None, "zero", "long", "of message"),
    "limit": (None, "length", "bytes", "zero"),
    "overflow": (None, "drop-head", "reject-publish", "reject-publish-dlx"),
    "dead letters": (None, "by key", "by exchange", "to itself"),
    "priorities": (False, True),
    "single active": (False, True),
    "consumers": ("none", "one", "two", "careless"),
}
PRIORITIES = 3
QUEUE, DEAD = "combined", "combined-dead"


def possible(case):
    """Whether RabbitMQ takes it and does the same every time, or what Leveret does otherwise cannot occur."""
    if case["kind"] == "quorum":
        # Messages expire and die in its own time, one more than the limit may get in, and what is given back, and so what
        # is at the head when the limit is passed, is at another place in RabbitMQ.
        refused = case["priorities"] or case["limit"] or case["overflow"] in ("reject-publish", "reject-publish-dlx")
        return not refused and case["ttl"] in (None, "long") and case["dead letters"] != "to itself"
    # In a queue of priorities each has a head of its own that may expire.
    return not (case["priorities"] and case["ttl"] == "of message")


def pairs(case):
    return {frozenset(pair) for pair in itertools.combinations(case.items(), 2)}


def combinations(chance):
    """Cases that have every possible pair of values, each the best of some candidates."""
    everything = [dict(zip(FEATURES, values)) for values in itertools.product(*FEATURES.values())]
    everything = [case for case in everything if possible(case)]
    missing = set().union(*map(pairs, everything))
    while missing:
        wanted = min(missing, key=lambda pair: sorted(map(repr, pair)))
        candidates = chance.sample(everything, CANDIDATES) + [next(case for case in everything if wanted <= set(case.items()))]
        best = max(candidates, key=lambda case: len(pairs(case) & missing))
        missing -= pairs(best)
        yield best


class _Course:
    """One case, from declaring the queue to emptying it."""

    def __init__(self, s, case, chance):
        self.case = case
        self.quorum = case["kind"] == "quorum"
        self.can_get = not (self.quorum and case["single active"])
        self.chance = chance
        self.session = s
        self.connection = s.connect()
        self.publisher, self.getter = self.connection.channel(1), self.connection.channel(2)
        self.consumers = []
        self.unsettled = []  # of (channel, delivery tag)
        self.bodies = 0

    def run(self):
        self.publisher.call("queue.declare", queue=DEAD, exclusive=True)
        self.publisher.call("queue.declare", queue=QUEUE, **self.queue_fields())
        self.publisher.call("exchange.declare", exchange="combined-dlx", type="fanout")
        self.publisher.call("queue.bind", queue=DEAD, exchange="combined-dlx")
        self.publisher.call("confirm.select")
        self.publish()
        self.publish()
        self.consume()
        for _ in range(STEPS):
            self.chance.choice((self.publish, self.publish, self.get, self.settle, self.settle))()
            self.watch()
        for consumer in self.consumers if self.quorum else ():
            consumer.call("basic.cancel", consumer_tag=f"t{consumer.number - 3}")
        while self.quorum and self.unsettled:
            self.settle()
        for channel in (self.getter, *self.consumers):
            channel.call("channel.close", reply_code=200)
            self.watch()
        if self.can_get:
            self.publisher.get_all(QUEUE)
        self.publisher.get_all(DEAD)
        self.publisher.call("queue.delete", queue=QUEUE)

    def queue_fields(self):
        case, arguments = self.case, {}
        if self.quorum:
            arguments["x-queue-type"] = "quorum"
        arguments |= {None: {}, "zero": {"x-message-ttl": 0}, "long": {"x-message-ttl": 600000}, "of message": {}}[case["ttl"]]
        arguments |= {None: {}, "length": {"x-max-length": 2}, "bytes": {"x-max-length-bytes": 8}, "zero": {"x-max-length": 0}}[case["limit"]]
        if case["overflow"]:
            arguments["x-overflow"] = case["overflow"]
        arguments |= {
            None: {},
            "by key": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD},
            "by exchange": {"x-dead-letter-exchange": "combined-dlx"},
            "to itself": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": QUEUE},
        }[case["dead letters"]]
        if case["priorities"]:
            arguments["x-max-priority"] = PRIORITIES
        if case["single active"]:
            arguments["x-single-active-consumer"] = True
        kind = {"transient": {"exclusive": True}, "durable": {"durable": True}, "quorum": {"durable": True}}[case["kind"]]
        return kind | {"arguments": arguments}

    def consume(self):
        for number in range({"none": 0, "one": 1, "two": 2, "careless": 1}[self.case["consumers"]]):
            channel = self.connection.channel(3 + number)
            self.consumers.append(channel)
            careless = self.case["consumers"] == "careless"
            if not careless:
                channel.call("basic.qos", prefetch_count=1)
            channel.call("basic.consume", queue=QUEUE, consumer_tag=f"t{number}", no_ack=careless)
            self.keep_books()

    def publish(self):
        self.bodies += 1
        properties = {}
        if self.chance.random() < 0.7:
            properties["priority"] = self.chance.randint(0, PRIORITIES + 1)
        if self.case["ttl"] == "of message" and self.chance.random() < 0.5:
            properties["expiration"] = "0"
        self.publisher.publish("", QUEUE, f"m{self.bodies}", properties, mandatory=True)
        self.keep_books()

    def get(self):
        if not self.can_get:
            return
        self.getter.call("basic.get", queue=QUEUE)
        self.keep_books()

    def settle(self):
        if not self.unsettled:
            return
        channel, tag = self.unsettled.pop(0)
        # What is given back to a quorum queue is at another place in RabbitMQ.
        ways = ("basic.ack", {}), ("basic.reject", {}), ("basic.reject", {"requeue": True})
        name, fields = self.chance.choice(ways[:2] if self.quorum else ways)
        with self.session.step(f"{channel.name} {name} {tag} {fields}"):
            channel.cast(name, delivery_tag=tag, **fields)
            if self.quorum:
                # Its log has taken the one when it has taken the other.
                self.publish()
                self.publisher.await_confirms()
        self.keep_books()

    def watch(self):
        """Both queues; a quorum queue of RabbitMQ counts what was got as a consumer."""
        with self.session.step("what is in the queues"):
            for name in (DEAD,) if self.quorum else (QUEUE, DEAD):
                self.publisher.call("queue.declare", queue=name, passive=True)

    def keep_books(self):
        """Note what came with the last step and is to be settled."""
        for connection, number, reply in self.session.steps[-1].replies:
            for channel in (self.getter, *self.consumers):
                arrived = channel.number == number and reply.get("method") in ("basic.deliver", "basic.get-ok")
                if arrived and self.case["consumers"] != "careless" or arrived and channel is self.getter:
                    entry = channel, reply["delivery-tag"]
                    if entry not in self.unsettled:
                        self.unsettled.append(entry)


def _register():
    chance = random.Random(SEED)
    for number, case in enumerate(combinations(chance)):

        def course(s, case=case, seed=f"{SEED} {number}"):
            _Course(s, case, random.Random(seed)).run()

        course.__name__ = f"combination_{number:02}"
        course.__doc__ = ", ".join(f"{name}: {value}" for name, value in case.items() if value)
        script(course)


_register()
