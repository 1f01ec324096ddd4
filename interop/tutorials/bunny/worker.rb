# frozen_string_literal: true

# Work queues: does one task at a time, and acknowledges it when it is done.
#
# A dot in a task is a second of work, or as many as the argument says.

require_relative "broker"

SECONDS_PER_DOT = ARGV.fetch(0, "1").to_f

connection = connect
channel = connection.create_channel
queue = channel.queue("task_queue", durable: true)
# No second task for a worker that has not acknowledged its first.
channel.prefetch(1)

until_interrupted(connection) do
  puts " [*] Waiting for messages. To exit press CTRL+C"
  queue.subscribe(manual_ack: true, block: true) do |delivery, _properties, body|
    puts " [x] Received '#{body}'"
    sleep SECONDS_PER_DOT * body.count(".")
    channel.ack(delivery.delivery_tag)
    puts " [x] Done"
  end
end
