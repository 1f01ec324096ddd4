"""Hello world: puts one message into a queue."""

from broker import connect

connection = connect()
channel = connection.channel()

# Sending to a queue that does not exist would lose the message, so the sender declares it too.
channel.queue_declare(queue="hello")
channel.basic_publish(exchange="", routing_key="hello", body="Hello World!")
print(" [x] Sent 'Hello World!'")

connection.close()
