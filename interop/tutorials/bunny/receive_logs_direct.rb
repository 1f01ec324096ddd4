# frozen_string_literal: true

# Routing: prints the lines of the severities given as arguments.

require_relative "broker"

abort "usage: #{$PROGRAM_NAME} [info] [warning] [error]" if ARGV.empty?

connection = connect
channel = connection.create_channel
exchange = channel.direct("direct_logs")
queue = channel.queue("", exclusive: true)
ARGV.each { |severity| queue.bind(exchange, routing_key: severity) }

until_interrupted(connection) do
  puts " [*] Waiting for logs. To exit press CTRL+C"
  queue.subscribe(block: true) do |delivery, _properties, body|
    puts " [x] #{delivery.routing_key}:'#{body}'"
  end
end
