# frozen_string_literal: true

# Routing: sends a line with its severity as the routing key.

require_relative "broker"

severity = ARGV.shift || "info"
message = ARGV.empty? ? "Hello World!" : ARGV.join(" ")

connection = connect
channel = connection.create_channel
channel.direct("direct_logs").publish(message, routing_key: severity)
puts " [x] Sent #{severity}:'#{message}'"

connection.close
