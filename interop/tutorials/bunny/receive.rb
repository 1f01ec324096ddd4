# frozen_string_literal: true

# Hello world: prints the messages of a queue until Ctrl-C.

require_relative "broker"

connection = connect
channel = connection.create_channel
queue = channel.queue("hello")

until_interrupted(connection) do
  puts " [*] Waiting for messages. To exit press CTRL+C"
  queue.subscribe(block: true) do |_delivery, _properties, body|
    puts " [x] Received '#{body}'"
  end
end
