# frozen_string_literal: true

# RPC: asks for one Fibonacci number and waits for the answer.

require "securerandom"

require_relative "broker"

class FibonacciClient
  def initialize(channel)
    @answers = Thread::Queue.new
    @exchange = channel.default_exchange
    @replies = channel.queue("", exclusive: true)
    @replies.subscribe { |_delivery, properties, body| @answers << [properties.correlation_id, body.to_i] }
  end

  def call(number)
    asked = SecureRandom.uuid
    @exchange.publish(number.to_s, routing_key: "rpc_queue", reply_to: @replies.name, correlation_id: asked)
    loop do
      # A late answer to an earlier question has another correlation id.
      answered, answer = @answers.pop
      return answer if answered == asked
    end
  end
end

number = ARGV.fetch(0, "30").to_i
connection = connect
client = FibonacciClient.new(connection.create_channel)
puts " [x] Requesting fib(#{number})"
puts " [.] Got #{client.call(number)}"

connection.close
