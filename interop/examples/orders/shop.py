"""Places orders: each is confirmed by the broker before the next.

    shop.py COUNT

Of ten orders one has a card that is refused for good, and one a bank that is busy at first.
"""

import json
import os
import sys

import pika

CARDS = {3: "busy", 7: "refused"}


def main():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost")))
    channel = connection.channel()
    channel.exchange_declare("shop", "topic", durable=True)
    channel.confirm_delivery()
    count = int(sys.argv[1])
    for number in range(count):
        order = {"id": number, "card": CARDS.get(number % 10, "good")}
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=pika.DeliveryMode.Persistent,
            message_id=f"order-{number}",
        )
        channel.basic_publish("shop", "order.placed", json.dumps(order), properties, mandatory=True)
    print(f"placed {count} orders", flush=True)
    connection.close()


main()
