"""Publisher confirms: three ways to know that the broker has taken charge of every message."""

import sys
import time

import pika
from broker import URL, connect

BATCH_SIZE = 100


def publish_individually(count):
    """Simple and slow: with confirms on, a blocking publish returns once it is confirmed."""
    connection = connect()
    channel = connection.channel()
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    channel.confirm_delivery()
    for number in range(count):
        channel.basic_publish(exchange="", routing_key=queue, body=str(number))
    connection.close()


class ConfirmingPublisher:
    """Publishes on pika's event loop, never more than `window` messages ahead of their confirms."""

    def __init__(self, count, window):
        self.count = count
        self.window = window
        self.published = 0
        self.outstanding = set()
        self.connection = pika.SelectConnection(
            pika.URLParameters(URL),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_channel),
            on_close_callback=lambda connection, reason: connection.ioloop.stop(),
        )

    def run(self):
        self.connection.ioloop.start()
        if self.outstanding or self.published < self.count:
            sys.exit("the connection was closed before everything was confirmed")

    def on_channel(self, channel):
        self.channel = channel
        channel.queue_declare(queue="", exclusive=True, callback=self.on_queue)

    def on_queue(self, declared):
        self.queue = declared.method.queue
        self.channel.confirm_delivery(ack_nack_callback=self.on_confirm)
        self.publish_more()

    def publish_more(self):
        while self.published < self.count and len(self.outstanding) < self.window:
            self.published += 1
            self.outstanding.add(self.published)
            self.channel.basic_publish(exchange="", routing_key=self.queue, body=str(self.published))

    def on_confirm(self, frame):
        confirm = frame.method
        if isinstance(confirm, pika.spec.Basic.Nack):
            sys.exit(f"message {confirm.delivery_tag} was refused")
        if confirm.multiple:
            self.outstanding = {tag for tag in self.outstanding if tag > confirm.delivery_tag}
        else:
            self.outstanding.discard(confirm.delivery_tag)
        self.on_progress()

    def on_progress(self):
        self.publish_more()
        if not self.outstanding:
            self.connection.close()


class BatchPublisher(ConfirmingPublisher):
    """Waits for a whole batch before the next: few waits, but an error does not say which message."""

    def on_progress(self):
        if not self.outstanding:
            super().on_progress()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for manner, publish in (
        ("individually", lambda: publish_individually(count)),
        ("in batches", lambda: BatchPublisher(count, window=BATCH_SIZE).run()),
        ("asynchronously", lambda: ConfirmingPublisher(count, window=count).run()),
    ):
        started = time.monotonic()
        publish()
        elapsed_ms = 1000 * (time.monotonic() - started)
        print(f"Published {count} messages and handled confirms {manner} in {elapsed_ms:.0f} ms")


main()
