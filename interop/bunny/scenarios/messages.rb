# frozen_string_literal: true

require "bigdecimal"

FRAME_MAX = 131_072
FRAME_OVERHEAD = 8

scenario :message_properties do |session|
  queue = session.queue(session.channel)
  every = {
    content_type: "application/json",
    content_encoding: "gzip",
    headers: { "key" => "value" },
    delivery_mode: 2,
    priority: 7,
    correlation_id: "correlation",
    reply_to: "reply.queue",
    expiration: "3600000",
    message_id: "message-1",
    timestamp: 1_700_000_000,
    type: "order.created",
    user_id: session.user,
    app_id: "interop",
    cluster_id: "cluster"
  }
  # What bunny itself gives to every message.
  always = { content_type: "application/octet-stream", delivery_mode: 2, priority: 0 }
  [every, {}, { persistent: false }, { headers: {} }].each do |given|
    queue.publish("body", given.dup)
    _, properties, = queue.pop
    expected = { **always, **given }
    expected[:delivery_mode] = 1 if expected.delete(:persistent) == false
    expected[:timestamp] &&= Time.at(expected[:timestamp])
    equal(properties.to_hash, expected, "properties")
  end
end

# bunny has one kind of integer, of 64 bits, takes the digits behind the point from a decimal, and loses what begins in
# the last three bytes of an array.
def scalars
  {
    "longstr" => "text",
    "empty longstr" => "",
    "unicode" => "text äöü".b,
    "bytes" => "\x00\xFF\xFE".b,
    "true" => true,
    "false" => false,
    "long" => 9_007_199_254_740_993,
    "negative" => -2_147_483_649,
    "double" => -1.2345678901234567,
    "float" => 1.5,
    "decimal" => BigDecimal("12345"),
    "timestamp" => Time.at(1_709_209_815),
    "void" => nil
  }
end

scenario :header_field_types do |session|
  queue = session.queue(session.channel)
  headers = {
    **scalars,
    "array" => [1, "two", [true, nil, "nested"], { "four" => 4.5 }],
    "empty array" => [],
    "table" => { **scalars, "deeper" => { "deepest" => {} } },
    "k" * 255 => "long key"
  }
  queue.publish("", headers: { **headers, "float" => AMQ::Protocol::Float32Bit.new(1.5) })
  _, properties, = queue.pop
  equal(properties.headers, headers, "headers")
  scalars.each { |key, value| equal(properties.headers[key].class, value.class, "class of #{key}") }
end

scenario :body_sizes do |session|
  queue = session.queue(session.channel)
  inbox = Inbox.new(queue, manual_ack: false)
  frame = FRAME_MAX - FRAME_OVERHEAD
  sizes = [0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1]
  bodies = sizes.map { |size| Random.new(size).bytes(size) }
  publish(queue, *bodies)
  inbox.bodies(sizes.size).zip(bodies, sizes).each do |received, body, size|
    equal(received.bytesize, size, "body size")
    equal(received == body, true, "body of #{size} bytes unchanged")
  end
end

scenario :body_16_mib do |session|
  channel = session.confirming_channel
  queue = session.queue(channel)
  body = Random.new(16).bytes(16 * 1024 * 1024)
  queue.publish(body)
  equal(channel.wait_for_confirms, true, "confirmed")
  received, = Inbox.new(queue, manual_ack: false).bodies(1)
  equal(received.bytesize, body.bytesize, "body size")
  equal(received == body, true, "body unchanged")
end
