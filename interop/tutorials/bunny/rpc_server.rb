# frozen_string_literal: true

# RPC: answers requests for Fibonacci numbers.

require_relative "broker"

def fib(number)
  previous = 0
  current = 1
  number.times { previous, current = current, previous + current }
  previous
end

connection = connect
channel = connection.create_channel
queue = channel.queue("rpc_queue")
channel.prefetch(1)
exchange = channel.default_exchange

until_interrupted(connection) do
  puts " [x] Waiting for RPC requests"
  queue.subscribe(manual_ack: true, block: true) do |delivery, properties, body|
    puts " [.] fib(#{body})"
    exchange.publish(
      fib(body.to_i).to_s,
      routing_key: properties.reply_to,
      correlation_id: properties.correlation_id
    )
    channel.ack(delivery.delivery_tag)
  end
end
