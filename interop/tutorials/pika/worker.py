"""Work queues: does one task at a time, and acknowledges it when it is done.

A dot in a task is a second of work, or as many as the argument says.
"""

import sys
import time

from broker import connect

SECONDS_PER_DOT = float(sys.argv[1]) if len(sys.argv) > 1 else 1


def on_task(channel, method, properties, body):
    print(f" [x] Received '{body.decode()}'")
    time.sleep(SECONDS_PER_DOT * body.count(b"."))
    channel.basic_ack(delivery_tag=method.delivery_tag)
    print(" [x] Done")


def main():
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(queue="task_queue", durable=True)
    # No second task for a worker that has not acknowledged its first.
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue="task_queue", on_message_callback=on_task)
    print(" [*] Waiting for messages. To exit press CTRL+C")
    channel.start_consuming()


try:
    main()
except KeyboardInterrupt:
    print("Interrupted")
