# frozen_string_literal: true

# Publishes five messages and takes them without acknowledging.
def five(queue)
  publish(queue, *"1".."5")
  inbox = Inbox.new(queue)
  inbox.wait(5)
  inbox.consumer.cancel
  inbox
end

# Takes everything out with get: the bodies, each with its redelivered flag.
def redelivered(queue)
  take(queue).map { |message| [message.body, message.delivery.redelivered?] }
end

def numbers(range)
  range.map(&:to_s)
end

scenario :consume_and_ack do |session|
  connection = session.connect
  channel = session.channel(connection)
  queue = session.queue(channel)
  publish(queue, *numbers(0...100))
  received = Thread::Queue.new
  consumer = queue.subscribe(manual_ack: true) do |delivery, _properties, body|
    channel.ack(delivery.delivery_tag)
    received << [delivery.delivery_tag.to_i, delivery.redelivered?, delivery.exchange, delivery.routing_key, body.to_i]
  end
  deliveries = Array.new(100) { received.pop }
  equal(deliveries, (0...100).map { |n| [n + 1, false, "", queue.name, n] }, "deliveries")
  consumer.cancel
  channel.close
  equal(drain(on(session.channel(connection), queue)), [], "messages left")
end

scenario :no_ack do |session|
  connection = session.connect
  channel = session.channel(connection)
  queue = session.queue(channel)
  channel.prefetch(1)
  inbox = Inbox.new(queue, manual_ack: false)
  publish(queue, *numbers(0...50))
  equal(inbox.bodies(50), numbers(0...50), "messages")
  channel.close
  equal(drain(on(session.channel(connection), queue)), [], "messages left")
end

scenario :prefetch do |session|
  channel = session.channel
  queue = session.queue(channel)
  channel.prefetch(5)
  publish(queue, *numbers(0...20))
  first = Inbox.new(queue)
  first.wait(5)
  await_ready(queue, 15)
  second = Inbox.new(queue)
  second.wait(5)
  await_ready(queue, 10)
  channel.ack(first.tags.first)
  first.wait(6)
  await_ready(queue, 9)
  equal([first.messages.size, second.messages.size], [6, 5], "deliveries to each")
end

scenario :prefetch_per_channel do |session|
  channel = session.channel
  queue = session.queue(channel)
  channel.prefetch(5, true)
  inboxes = Array.new(2) { Inbox.new(queue) }
  deliveries = -> { inboxes.sum { |inbox| inbox.messages.size } }
  publish(queue, *numbers(0...20))
  eventually("five deliveries") { deliveries.call >= 5 }
  await_ready(queue, 15)
  equal(deliveries.call, 5, "deliveries to both")
  channel.ack(0, true)
  eventually("ten deliveries") { deliveries.call >= 10 }
  await_ready(queue, 10)
  equal(deliveries.call, 10, "deliveries to both after the ack")
end

scenario :ack_multiple do |session|
  connection = session.connect
  channel = session.channel(connection)
  queue = session.queue(channel)
  channel.ack(five(queue).tags[2], true)
  channel.close
  other = session.channel(connection)
  again = on(other, queue)
  equal(redelivered(again), [["4", true], ["5", true]], "messages beyond the tag")
  five(again)
  other.ack(0, true)
  other.close
  equal(drain(on(session.channel(connection), queue)), [], "messages left")
end

scenario :nack do |session|
  channel = session.channel
  queue = session.queue(channel)
  tags = five(queue).tags
  channel.nack(tags[0])
  channel.nack(tags[1], false, true)
  equal(redelivered(queue), [["2", true]], "requeued one by one")
  channel.nack(tags[3], true, true)
  equal(redelivered(queue), [["3", true], ["4", true]], "requeued up to the tag")
  channel.nack(0, true, false)
  channel.nack(0, true, true)
  equal(drain(queue), [], "messages left")
end

scenario :reject do |session|
  channel = session.channel
  queue = session.queue(channel)
  tags = five(queue).tags
  channel.reject(tags[0])
  channel.reject(tags[1], true)
  equal(redelivered(queue), [["2", true]], "requeued")
  tags.drop(2).each { |tag| channel.reject(tag) }
  equal(drain(queue), [], "messages left")
end

scenario :requeue_order do |session|
  channel = session.channel
  queue = session.queue(channel)
  tags = five(queue).tags
  publish(queue, "6")
  [2, 0, 4, 1, 3].each { |position| channel.nack(tags[position], false, true) }
  expected = ("1".."5").map { |body| [body, true] } + [["6", false]]
  equal(redelivered(queue), expected, "order after requeue")
end

scenario :recover do |session|
  channel = session.channel
  queue = session.queue(channel)
  publish(queue, "1", "2", "3")
  inbox = Inbox.new(queue)
  inbox.wait(3)
  channel.ack(inbox.tags.first)
  channel.recover
  equal(inbox.bodies(5), %w[1 2 3 2 3], "messages")
  equal(inbox.flags, [false, false, false, true, true], "redelivered")
  equal(inbox.tags.map(&:to_i), [1, 2, 3, 4, 5], "delivery tags")
end

scenario :unacked_requeued_on_close do |session|
  observer = session.channel
  queue = session.shared_queue(observer)
  holder = session.connect
  channel = session.channel(holder)
  publish(queue, "1", "2", "3")
  Inbox.new(on(channel, queue)).wait(3)
  second = Inbox.new(on(session.channel(holder), queue))
  channel.close
  equal(second.bodies(3), %w[1 2 3], "after the channel closed")
  equal(second.flags, [true] * 3, "redelivered")
  third = Inbox.new(queue)
  holder.close
  equal(third.bodies(3), %w[1 2 3], "after the connection closed")
  equal(third.flags, [true] * 3, "redelivered")
end

scenario :consumer_cancel do |session|
  channel = session.channel
  queue = session.queue(channel)
  inbox = Inbox.new(queue, consumer_tag: "my-consumer")
  equal(inbox.consumer.consumer_tag, "my-consumer", "consumer tag")
  publish(queue, "before")
  message = inbox.wait(1).first
  equal(message.delivery.consumer_tag, "my-consumer", "consumer tag of the delivery")
  equal(inbox.consumer.cancel.consumer_tag, "my-consumer", "consumer tag of the cancel-ok")
  publish(queue, "after")
  await_ready(queue, 1)
  channel.ack(message.tag)
  equal(drain(queue), ["after"], "messages left")
  equal(inbox.bodies, ["before"], "delivered")
end

scenario :cancel_notify do |session|
  connection = session.connect
  channel = session.channel(connection)
  queue = session.queue(channel)
  cancelled = Thread::Queue.new
  note = ->(cancel) { cancelled << cancel.consumer_tag }
  inboxes = Array.new(2) { Inbox.new(queue, on_cancellation: note) }
  on(session.channel(connection), queue).delete
  told = Array.new(2) { cancelled.pop }
  equal(told.sort, inboxes.map { |inbox| inbox.consumer.consumer_tag }.sort, "cancelled consumers")
  equal(channel.open?, true, "channel open")
end

scenario :exclusive_consumer do |session|
  connection = session.connect
  queue = session.queue(session.channel(connection))
  in_use = "ACCESS_REFUSED - queue '#{queue.name}' in vhost '/' in exclusive use"
  inbox = Inbox.new(queue, exclusive: true)
  channel_error(403, in_use) { Inbox.new(on(session.channel(connection), queue)) }
  inbox.consumer.cancel
  Inbox.new(queue)
  channel_error(403, in_use) { Inbox.new(on(session.channel(connection), queue), exclusive: true) }
end

scenario :round_robin do |session|
  queue = session.queue(session.channel)
  inboxes = Array.new(3) { Inbox.new(queue, manual_ack: false) }
  publish(queue, *numbers(0...30))
  shares = inboxes.map { |inbox| inbox.bodies(10) }
  turns = (0...3).map { |turn| numbers(turn.step(29, 3)) }
  equal(shares.sort, turns.sort, "turns")
end

scenario :consumer_priority do |session|
  channel = session.channel
  queue = session.queue(channel)
  low = Inbox.new(queue, arguments: { "x-priority" => -5 })
  usual = Inbox.new(queue)
  channel.prefetch(3)
  high = Inbox.new(queue, arguments: { "x-priority" => 10 })
  publish(queue, *numbers(0...10))
  equal(high.bodies(3), numbers(0...3), "high priority, until its prefetch")
  equal(usual.bodies(7), numbers(3...10), "usual priority")
  equal(low.bodies, [], "low priority")
end

# The channel's own get tells how many are left; the queue's pop does not.
scenario :get do |session|
  connection = session.connect
  channel = session.channel(connection)
  queue = session.queue(channel)
  equal(queue.pop, [nil, nil, nil], "get from an empty queue")
  publish(queue, "a", "b", "c")
  await_ready(queue, 3)
  delivery, _, body = channel.basic_get(queue.name, manual_ack: true)
  first = [body, delivery.delivery_tag.to_i, delivery.message_count, delivery.redelivered]
  equal(first, ["a", 1, 2, false], "first")
  equal([delivery.exchange, delivery.routing_key], ["", queue.name], "exchange and key")
  delivery, _, body = channel.basic_get(queue.name, manual_ack: false)
  equal([body, delivery.delivery_tag.to_i, delivery.message_count], ["b", 2, 1], "second")
  channel.close
  channel = session.channel(connection)
  delivery, _, body = channel.basic_get(queue.name, manual_ack: true)
  again = [body, delivery.delivery_tag.to_i, delivery.message_count, delivery.redelivered]
  equal(again, ["a", 1, 1, true], "again")
  channel.ack(delivery.delivery_tag)
  equal(drain(on(channel, queue)), ["c"], "messages left")
end
