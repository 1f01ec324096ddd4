"""Writes down how each order ended, until so many have.

    ledger.py COUNT
"""

import json
import os
import sys
from collections import Counter

import pika


class Ledger:
    def __init__(self, count):
        self.count = count
        self.ends = {}

    def handle(self, channel, method, properties, body):
        order = json.loads(body)["id"]
        end = "failed" if method.routing_key == "payment.failed" else "shipped"
        if order not in self.ends:
            self.ends[order] = end, properties.headers["attempt"]
        channel.basic_ack(method.delivery_tag)
        if len(self.ends) == self.count:
            channel.stop_consuming()


def main():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost")))
    channel = connection.channel()
    channel.exchange_declare("shop", "topic", durable=True)
    channel.queue_declare("ledger", durable=True)
    channel.queue_bind("ledger", "shop", "order.shipped")
    channel.queue_declare("payment.failed", durable=True)
    channel.basic_qos(prefetch_count=10)
    ledger = Ledger(int(sys.argv[1]))
    for queue in ("ledger", "payment.failed"):
        channel.basic_consume(queue, ledger.handle)
    print("ready", flush=True)
    channel.start_consuming()
    for (end, attempts), number in sorted(Counter(ledger.ends.values()).items()):
        print(f"{end} after {attempts} attempts: {number}")
    print("complete", flush=True)
    connection.close()


main()
