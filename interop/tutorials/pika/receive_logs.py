"""Publish/subscribe: prints every line that is broadcast."""

from broker import connect


def on_message(channel, method, properties, body):
    print(f" [x] '{body.decode()}'")


def main():
    connection = connect()
    channel = connection.channel()
    channel.exchange_declare(exchange="logs", exchange_type="fanout")
    # A queue of our own with a name that the broker chooses, gone when we are.
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    channel.queue_bind(exchange="logs", queue=queue)
    channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
    print(" [*] Waiting for logs. To exit press CTRL+C")
    channel.start_consuming()


try:
    main()
except KeyboardInterrupt:
    print("Interrupted")
