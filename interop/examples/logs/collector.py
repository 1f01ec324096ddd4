"""Collects logs, slowly: a few milliseconds a line. Errors first, and all of them; of the rest the newest thousand.

    collector.py ERRORS

Ends when so many errors and what is left of the rest have been collected.
"""

import os
import sys
import time

import pika

SECONDS_PER_LINE = 0.002
KEPT = 1000


def main():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost")))
    channel = connection.channel()
    channel.exchange_declare("logs", "direct", durable=True)
    channel.queue_declare("logs.error", durable=True)
    channel.queue_declare("logs.info", durable=True, arguments={"x-max-length": KEPT, "x-overflow": "drop-head"})
    for severity in ("error", "info"):
        channel.queue_bind(f"logs.{severity}", "logs", severity)
    channel.basic_qos(prefetch_count=20)
    print("ready", flush=True)
    sys.stdin.readline()
    collect(channel, "logs.error", int(sys.argv[1]))
    collect(channel, "logs.info", channel.queue_declare("logs.info", passive=True).method.message_count)
    print("complete", flush=True)
    connection.close()


def collect(channel, queue, count):
    for method, _, body in channel.consume(queue):
        time.sleep(SECONDS_PER_LINE)
        print(f"{queue} {body.decode()}", flush=True)
        channel.basic_ack(method.delivery_tag)
        count -= 1
        if count == 0:
            break
    channel.cancel()


main()
