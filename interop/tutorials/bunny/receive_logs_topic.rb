# frozen_string_literal: true

# Topics: prints the lines whose key matches one of the patterns given as arguments.

require_relative "broker"

abort "usage: #{$PROGRAM_NAME} PATTERN..." if ARGV.empty?

connection = connect
channel = connection.create_channel
exchange = channel.topic("topic_logs")
queue = channel.queue("", exclusive: true)
ARGV.each { |pattern| queue.bind(exchange, routing_key: pattern) }

until_interrupted(connection) do
  puts " [*] Waiting for logs. To exit press CTRL+C"
  queue.subscribe(block: true) do |delivery, _properties, body|
    puts " [x] #{delivery.routing_key}:'#{body}'"
  end
end
