"""Work queues: sends a task that survives a restart of the broker. Each dot in it is a bit of work."""

import sys

import pika
from broker import connect

task = " ".join(sys.argv[1:]) or "Hello World!"

connection = connect()
channel = connection.channel()
channel.queue_declare(queue="task_queue", durable=True)
channel.basic_publish(
    exchange="",
    routing_key="task_queue",
    body=task,
    properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
)
print(f" [x] Sent '{task}'")
connection.close()
