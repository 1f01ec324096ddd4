"""RPC: answers requests for Fibonacci numbers."""

import pika
from broker import connect


def fib(n):
    previous, current = 0, 1
    for _ in range(n):
        previous, current = current, previous + current
    return previous


def on_request(channel, method, properties, body):
    n = int(body)
    print(f" [.] fib({n})")
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        properties=pika.BasicProperties(correlation_id=properties.correlation_id),
        body=str(fib(n)),
    )
    channel.basic_ack(delivery_tag=method.delivery_tag)


def main():
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(queue="rpc_queue")
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue="rpc_queue", on_message_callback=on_request)
    print(" [x] Waiting for RPC requests")
    channel.start_consuming()


try:
    main()
except KeyboardInterrupt:
    print("Interrupted")
