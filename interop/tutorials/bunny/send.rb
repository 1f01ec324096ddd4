# frozen_string_literal: true

# Hello world: puts one message into a queue.

require_relative "broker"

connection = connect
channel = connection.create_channel

# Sending to a queue that does not exist would lose the message, so the sender declares it too.
queue = channel.queue("hello")
channel.default_exchange.publish("Hello World!", routing_key: queue.name)
puts " [x] Sent 'Hello World!'"

connection.close
