"""Handles orders, and acknowledges each when it is done: one that was not done is delivered again."""

import os

import pika


def handle(channel, method, properties, body):
    again = " (delivered before)" if method.redelivered else ""
    print(f"handled {body.decode()}{again}")
    channel.basic_ack(method.delivery_tag)


connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare("orders", durable=True)
channel.basic_qos(prefetch_count=10)
channel.basic_consume("orders", handle)
print("waiting for orders")
channel.start_consuming()
