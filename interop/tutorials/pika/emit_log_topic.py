"""Topics: sends a line with a routing key of several words, such as kern.critical."""

import sys

from broker import connect

key = sys.argv[1] if len(sys.argv) > 1 else "anonymous.info"
message = " ".join(sys.argv[2:]) or "Hello World!"

connection = connect()
channel = connection.channel()
channel.exchange_declare(exchange="topic_logs", exchange_type="topic")
channel.basic_publish(exchange="topic_logs", routing_key=key, body=message)
print(f" [x] Sent {key}:'{message}'")
connection.close()
