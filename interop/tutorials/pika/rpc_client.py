"""RPC: asks for one Fibonacci number and waits for the answer."""

import sys
import uuid

import pika
from broker import connect


class FibonacciClient:
    def __init__(self):
        self.connection = connect()
        self.channel = self.connection.channel()
        self.replies = self.channel.queue_declare(queue="", exclusive=True).method.queue
        self.channel.basic_consume(queue=self.replies, on_message_callback=self.on_reply, auto_ack=True)
        self.correlation_id = None
        self.answer = None

    def on_reply(self, channel, method, properties, body):
        # A late answer to an earlier question has another correlation id.
        if properties.correlation_id == self.correlation_id:
            self.answer = int(body)

    def call(self, n):
        self.answer = None
        self.correlation_id = str(uuid.uuid4())
        self.channel.basic_publish(
            exchange="",
            routing_key="rpc_queue",
            properties=pika.BasicProperties(reply_to=self.replies, correlation_id=self.correlation_id),
            body=str(n),
        )
        while self.answer is None:
            self.connection.process_data_events(time_limit=None)
        return self.answer


n = int(sys.argv[1]) if len(sys.argv) > 1 else 30
client = FibonacciClient()
print(f" [x] Requesting fib({n})")
print(f" [.] Got {client.call(n)}")
client.connection.close()
