# frozen_string_literal: true

# Publish/subscribe: broadcasts a line to whoever listens now.

require_relative "broker"

message = ARGV.empty? ? "info: Hello World!" : ARGV.join(" ")

connection = connect
channel = connection.create_channel
channel.fanout("logs").publish(message)
puts " [x] Sent '#{message}'"

connection.close
