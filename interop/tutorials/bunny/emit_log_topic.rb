# frozen_string_literal: true

# Topics: sends a line with a routing key of several words, such as kern.critical.

require_relative "broker"

key = ARGV.shift || "anonymous.info"
message = ARGV.empty? ? "Hello World!" : ARGV.join(" ")

connection = connect
channel = connection.create_channel
channel.topic("topic_logs").publish(message, routing_key: key)
puts " [x] Sent #{key}:'#{message}'"

connection.close
