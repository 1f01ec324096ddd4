"""Hello world: prints the messages of a queue until Ctrl-C."""

from broker import connect


def on_message(channel, method, properties, body):
    print(f" [x] Received '{body.decode()}'")


def main():
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(queue="hello")
    channel.basic_consume(queue="hello", on_message_callback=on_message, auto_ack=True)
    print(" [*] Waiting for messages. To exit press CTRL+C")
    channel.start_consuming()


try:
    main()
except KeyboardInterrupt:
    print("Interrupted")
