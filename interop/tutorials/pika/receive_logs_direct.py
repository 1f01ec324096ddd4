"""Routing: prints the lines of the severities given as arguments."""

import sys

from broker import connect


def on_message(channel, method, properties, body):
    print(f" [x] {method.routing_key}:'{body.decode()}'")


def main(severities):
    connection = connect()
    channel = connection.channel()
    channel.exchange_declare(exchange="direct_logs", exchange_type="direct")
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    for severity in severities:
        channel.queue_bind(exchange="direct_logs", queue=queue, routing_key=severity)
    channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
    print(" [*] Waiting for logs. To exit press CTRL+C")
    channel.start_consuming()


if len(sys.argv) < 2:
    sys.exit(f"usage: {sys.argv[0]} [info] [warning] [error]")
try:
    main(sys.argv[1:])
except KeyboardInterrupt:
    print("Interrupted")
