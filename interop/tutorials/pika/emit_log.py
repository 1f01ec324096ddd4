"""Publish/subscribe: broadcasts a line to whoever listens now."""

import sys

from broker import connect

message = " ".join(sys.argv[1:]) or "info: Hello World!"

connection = connect()
channel = connection.channel()
channel.exchange_declare(exchange="logs", exchange_type="fanout")
channel.basic_publish(exchange="logs", routing_key="", body=message)
print(f" [x] Sent '{message}'")
connection.close()
