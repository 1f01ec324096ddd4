# frozen_string_literal: true

# Publish/subscribe: prints every line that is broadcast.

require_relative "broker"

connection = connect
channel = connection.create_channel
# A queue of our own with a name that the broker chooses, gone when we are.
queue = channel.queue("", exclusive: true)
queue.bind(channel.fanout("logs"))

until_interrupted(connection) do
  puts " [*] Waiting for logs. To exit press CTRL+C"
  queue.subscribe(block: true) do |_delivery, _properties, body|
    puts " [x] '#{body}'"
  end
end
