"""Topics: prints the lines whose key matches one of the patterns given as arguments."""

import sys

from broker import connect


def on_message(channel, method, properties, body):
    print(f" [x] {method.routing_key}:'{body.decode()}'")


def main(patterns):
    connection = connect()
    channel = connection.channel()
    channel.exchange_declare(exchange="topic_logs", exchange_type="topic")
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    for pattern in patterns:
        channel.queue_bind(exchange="topic_logs", queue=queue, routing_key=pattern)
    channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
    print(" [*] Waiting for logs. To exit press CTRL+C")
    channel.start_consuming()


if len(sys.argv) < 2:
    sys.exit(f"usage: {sys.argv[0]} PATTERN...")
try:
    main(sys.argv[1:])
except KeyboardInterrupt:
    print("Interrupted")
