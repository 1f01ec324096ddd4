# frozen_string_literal: true

scenario :queue_declare do |session|
  connection = session.connect
  name = session.name("queue")
  queues = Array.new(2) { session.channel(connection).queue(name, exclusive: true) }
  empty = { message_count: 0, consumer_count: 0 }
  queues.each { |queue| equal([queue.name, queue.status], [name, empty], "declare-ok") }
  queue = queues.first
  publish(queue, "a", "b", "c")
  await_ready(queue, 3)
  equal(queue.status, { message_count: 3, consumer_count: 0 }, "passive declare-ok")
  Inbox.new(queue).wait(3)
  declared = queue.channel.queue_declare(name, exclusive: true)
  equal([declared.queue, declared.message_count, declared.consumer_count], [name, 0, 1], "declare-ok with a consumer")
end

scenario :queue_mismatch do |session|
  connection = session.connect
  plain = session.shared_queue(session.channel(connection), "plain").name
  ttl = { "x-message-ttl" => 60_000 }
  limited = session.shared_queue(session.channel(connection), "limited", arguments: ttl).name
  mismatch = lambda do |argument, queue, difference|
    "PRECONDITION_FAILED - inequivalent arg '#{argument}' for queue '#{queue}' in vhost '/': #{difference}"
  end
  flag = "received 'true' but current is 'false'"
  value = "the value '60000' of type 'long'"
  locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '#{plain}' in vhost '/'. It could be " \
           "originally declared on another connection or the exclusive property value does not match that of the " \
           "original declaration."
  [
    [406, mismatch.call("durable", plain, flag), plain, { durable: true }],
    [406, mismatch.call("auto_delete", plain, flag), plain, { auto_delete: true }],
    [406, mismatch.call("x-message-ttl", plain, "received #{value} but current is none"), plain, { arguments: ttl }],
    [406, mismatch.call("x-message-ttl", limited, "received none but current is #{value}"), limited, {}],
    [405, locked[0, 255], plain, { exclusive: true }]
  ].each do |code, text, queue, options|
    channel_error(code, text) { session.channel(connection).queue(queue, **options) }
  end
  equal(session.channel(connection).queue(limited, arguments: ttl).name, limited, "same again")
end

scenario :server_named_queue do |session|
  channel = session.channel
  other = channel.temporary_queue
  queue = channel.queue("", exclusive: true)
  equal(queue.name.start_with?("amq.gen-"), true, "server-named queue is called #{queue.name}")
  equal(other.name == queue.name, false, "two server-named queues have one name")
  equal(session.channel(channel.connection).queue(queue.name, passive: true).name, queue.name, "passive declare")
  channel.queue_bind("", "amq.direct", routing_key: session.name("key"))
  channel.direct("amq.direct").publish("to the last declared", routing_key: session.name("key"))
  equal(drain(queue), ["to the last declared"], "messages")
end

scenario :queue_purge_and_delete do |session|
  channel = session.channel
  queue = session.queue(channel)
  publish(queue, "a", "b", "c")
  equal(channel.queue_purge(queue.name).message_count, 3, "purged")
  equal(drain(queue), [], "messages after the purge")
  publish(queue, "d", "e")
  equal(queue.delete.message_count, 2, "messages deleted with the queue")
  equal(queue.delete.message_count, 0, "messages deleted with no queue")
  channel.exchange_delete(session.name("never declared"))
  equal(channel.open?, true, "channel open")
end

scenario :exclusive_queue do |session|
  connection = session.connect
  name = session.queue(session.channel(connection)).name
  equal(connection.queue_exists?(name), true, "the queue exists")
  connection.close
  channel_error(404, "NOT_FOUND - no queue '#{name}' in vhost '/'") { session.channel.queue(name, passive: true) }
end

scenario :auto_delete_queue do |session|
  connection = session.connect
  queue = session.shared_queue(session.channel(connection), auto_delete: true)
  publish(queue, "without a consumer")
  first, last = Array.new(2) { Inbox.new(queue) }
  first.consumer.cancel
  equal(queue.consumer_count, 1, "consumers")
  last.consumer.cancel
  eventually("the queue is gone") { !connection.queue_exists?(queue.name) }
end

scenario :message_ttl do |session|
  channel = session.confirming_channel
  brief = session.queue(channel, "brief", arguments: { "x-message-ttl" => 150 })
  lasting = session.queue(channel, "lasting", arguments: { "x-message-ttl" => 60_000 })
  started = now
  [[brief, nil], [brief, "60000"], [lasting, "150"], [lasting, "60000"], [lasting, nil]].each do |queue, expiration|
    queue.publish("expiration #{expiration.inspect}", **{ expiration: expiration }.compact)
  end
  channel.wait_for_confirms
  await_ready(brief, 0)
  await_ready(lasting, 2)
  equal(now - started >= 0.15, true, "the TTL has passed")
  equal(drain(lasting), ['expiration "60000"', "expiration nil"], "younger messages")
  { "soon" => "no_integer", "10s" => '{leftover_string,"s"}' }.each do |expiration, problem|
    channel_error(406, "PRECONDITION_FAILED - invalid expiration '#{expiration}': #{problem}") do
      refused = on(session.channel(channel.connection), lasting)
      refused.publish("", expiration: expiration)
      refused.message_count
    end
  end
end

# A passive declare would count as use, so a mandatory message asks whether the queue is there.
class Probe
  def initialize(channel)
    @channel = channel
    @exchange = channel.default_exchange
    @exchange.on_return { @returned = true }
  end

  def reaches?(queue)
    @returned = false
    @exchange.publish("", routing_key: queue.name, mandatory: true)
    @channel.wait_for_confirms
    !@returned
  end
end

scenario :queue_expires do |session|
  channel = session.channel
  arguments = { "x-expires" => 200 }
  probe = Probe.new(session.confirming_channel(channel.connection))
  consumed = session.queue(channel, "consumed", arguments: arguments)
  inbox = Inbox.new(consumed)
  started = now
  unused = session.queue(channel, "unused", arguments: arguments)
  eventually("the unused queue is gone") { !probe.reaches?(unused) }
  equal(now - started >= 0.2, true, "its time has passed")
  equal(probe.reaches?(consumed), true, "the queue with a consumer is there")
  inbox.wait(1)
  inbox.consumer.cancel
  eventually("the queue without its consumer is gone") { !probe.reaches?(consumed) }
end

scenario :max_length do |session|
  channel = session.confirming_channel
  by_count = session.queue(channel, "count", arguments: { "x-max-length" => 3 })
  by_bytes = session.queue(channel, "bytes", arguments: { "x-max-length-bytes" => 10 })
  publish(by_count, "1", "2", "3", "4", "5")
  publish(by_bytes, "aaaa", "bbbb", "cccccc", "dddd")
  channel.wait_for_confirms
  equal(drain(by_count), %w[3 4 5], "the last three messages")
  equal(drain(by_bytes), %w[cccccc dddd], "the last ten bytes")
end

# bunny gives every message a priority, 0 if nothing else is asked for.
scenario :priority_queue do |session|
  channel = session.confirming_channel
  queue = session.queue(channel, arguments: { "x-max-priority" => 10 })
  [nil, 5, 0, 10, 255, 1, 5, 11, 9, nil].each_with_index do |priority, n|
    queue.publish("#{n}: #{priority}", priority: priority)
  end
  channel.wait_for_confirms
  expected = ["3: 10", "4: 255", "7: 11", "8: 9", "1: 5", "6: 5", "5: 1", "0: ", "2: 0", "9: "]
  equal(Inbox.new(queue).bodies(10), expected, "messages by priority")
end

scenario :single_active_consumer do |session|
  observer = session.channel
  queue = session.shared_queue(observer, arguments: { "x-single-active-consumer" => true })
  first = Inbox.new(on(session.channel, queue))
  channel = session.channel
  second, third = Array.new(2) { Inbox.new(on(channel, queue)) }
  publish(queue, *"1".."5")
  equal(first.bodies(5), %w[1 2 3 4 5], "messages of the first consumer")
  first.consumer.channel.ack(first.tags[3], true)
  first.consumer.channel.connection.close
  publish(queue, "6")
  equal(second.bodies(2), %w[5 6], "messages of the next consumer")
  equal(second.flags, [true, false], "redelivered")
  second.consumer.cancel
  publish(queue, "7")
  equal(third.bodies(1), ["7"], "messages of the last consumer")
  equal([first, second].map { |inbox| inbox.messages.size }, [5, 2], "messages of the others")
end

scenario :quorum_queue do |session|
  channel = session.confirming_channel
  dead = session.queue(channel, "dead")
  arguments = {
    "x-queue-type" => "quorum",
    "x-delivery-limit" => 2,
    "x-dead-letter-exchange" => "",
    "x-dead-letter-routing-key" => dead.name
  }
  queue = session.shared_queue(channel, durable: true, arguments: arguments)
  publish(queue, "poison")
  channel.wait_for_confirms
  inbox = Inbox.new(queue)
  letters = Inbox.new(dead)
  3.times { |n| channel.reject(inbox.wait(n + 1).last.tag, true) }
  letter = letters.wait(1).first
  counts = inbox.messages.map { |message| message.properties.headers&.fetch("x-delivery-count", nil) }
  equal(counts, [nil, 1, 2], "x-delivery-count of the deliveries")
  equal(inbox.flags, [false, true, true], "redelivered")
  death = letter.properties.headers["x-death"].first
  equal([letter.body, death["reason"], death["queue"]], ["poison", "delivery_limit", queue.name], "dead letter")
end

scenario :long_and_unicode_names do |session|
  channel = session.channel
  long = channel.queue(session.name("long").ljust(255, "x"), exclusive: true)
  equal(long.name.bytesize, 255, "length of the long name")
  publish(long, "long")
  equal(drain(long), ["long"], "messages of the long name")

  # bunny compares names with the bytes that come back, and joins them to bytes: outside ASCII they have to be bytes too.
  name = session.name("зайчонок-野兎-🐇").b
  queue = channel.queue(name, exclusive: true)
  equal(queue.name, name, "name outside ASCII")
  exchange = session.exchange(channel, :topic, "größe".b)
  queue.bind(exchange, routing_key: "straße.*".b)
  exchange.publish("unicode", routing_key: "straße.жук".b)
  delivery, _, body = queue.pop
  equal([delivery.exchange, delivery.routing_key, body], [exchange.name, "straße.жук".b, "unicode"], "message")
end
