# frozen_string_literal: true

# Ships what is paid. An order may come twice, when payment was killed before it could acknowledge: it is shipped once.

require "bunny"
require "json"

connection = Bunny.new(ENV.fetch("AMQP_URL", "amqp://guest:guest@localhost"))
connection.start
channel = connection.create_channel
channel.confirm_select
channel.prefetch(10)
shop = channel.topic("shop", durable: true)
queue = channel.queue("shipping", durable: true).bind(shop, routing_key: "order.paid")
shipped = {}

puts "ready"
$stdout.flush
queue.subscribe(manual_ack: true, block: true) do |delivery, properties, body|
  order = JSON.parse(body).fetch("id")
  unless shipped[order]
    shop.publish(body, routing_key: "order.shipped", persistent: true, message_id: properties.message_id,
                       headers: properties.headers)
    channel.wait_for_confirms
    shipped[order] = true
  end
  channel.ack(delivery.delivery_tag)
end
