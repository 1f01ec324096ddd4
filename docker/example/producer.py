"""Publishes an order every second, each confirmed by the broker before the next."""

import itertools
import os

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare("orders", durable=True)
channel.confirm_delivery()
for number in itertools.count(1):
    properties = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent, message_id=f"order-{number}")
    channel.basic_publish("", "orders", f"order {number}", properties, mandatory=True)
    print(f"published order {number}")
    connection.sleep(1)
