# frozen_string_literal: true

# Keeps an account of every notification: audit.rb PATTERN...

require "bunny"

connection = Bunny.new(ENV.fetch("AMQP_URL", "amqp://guest:guest@localhost"))
connection.start
channel = connection.create_channel
channel.prefetch(20)
notifications = channel.topic("notifications", durable: true)
queue = channel.queue("audit", durable: true)
ARGV.each { |pattern| queue.bind(notifications, routing_key: pattern) }

$stdout.sync = true
puts "ready"
begin
  queue.subscribe(manual_ack: true, block: true) do |delivery, _properties, body|
    puts "#{delivery.routing_key} #{body}"
    channel.ack(delivery.delivery_tag)
  end
rescue Interrupt
  connection.close
end
