import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")


def connect():
    return pika.BlockingConnection(pika.URLParameters(URL))
