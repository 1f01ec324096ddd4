# frozen_string_literal: true

PUBLISHERS = 8
MESSAGES_EACH = 1000

# A channel for each thread, on one connection.
scenario :concurrent_publishing do |session|
  queue = session.shared_queue(session.channel)
  connection = session.connect
  inbox = Inbox.new(queue, manual_ack: false)
  threads = Array.new(PUBLISHERS) do |publisher|
    Thread.new do
      own = on(session.confirming_channel(connection), queue)
      MESSAGES_EACH.times { |n| own.publish("#{publisher} #{n}") }
      own.channel.wait_for_confirms
    end
  end
  received = inbox.bodies(PUBLISHERS * MESSAGES_EACH).map { |body| body.split.map(&:to_i) }
  equal(threads.map(&:value), [true] * PUBLISHERS, "publishers whose messages are all confirmed")
  PUBLISHERS.times do |publisher|
    numbers = received.filter_map { |from, number| number if from == publisher }
    equal(numbers == (0...MESSAGES_EACH).to_a, true, "publisher #{publisher} arrived in order, once each")
  end
end

def expect_swift_consumer(session, publisher, queue)
  inbox = Inbox.new(on(session.channel, queue), manual_ack: false)
  sent = (0...5000).map(&:to_s)
  publish(on(publisher, queue), *sent)
  equal(inbox.bodies(5000) == sent, true, "the fast consumer has all its messages in order")
end

def numbered(count, padding_bytes)
  padding = "." * padding_bytes
  (0...count).map { |n| "#{n} #{padding}" }
end

scenario :slow_consumer do |session|
  setup = session.channel
  slow_queue = session.shared_queue(setup, "slow")
  fast_queue = session.shared_queue(setup, "fast")
  slow = session.channel
  slow.prefetch(20)
  inbox = Inbox.new(on(slow, slow_queue))
  publisher = session.channel
  publish(on(publisher, slow_queue), *numbered(2000, 4096))
  expect_swift_consumer(session, publisher, fast_queue)

  inbox.wait(20)
  await_ready(slow_queue, 1980)
  equal(inbox.messages.size, 20, "deliveries to the slow consumer")
  settled = 0
  while settled < 2000
    inbox.wait(settled + 1)
    slow.ack(inbox.tags.last, true)
    settled = inbox.messages.size
  end
  equal(inbox.bodies.map(&:to_i) == (0...2000).to_a, true, "the slow consumer has all its messages in order")
end

# Without a thread of its own bunny reads only while it waits for an answer, so the unread messages fill the sockets'
# buffers.
scenario :unread_consumer do |session|
  setup = session.channel
  unread_queue = session.shared_queue(setup, "unread")
  fast_queue = session.shared_queue(setup, "fast")
  unread = on(session.channel(session.connect(threaded: false)), unread_queue)
  inbox = Inbox.new(unread, manual_ack: false)
  publisher = session.channel
  publish(on(publisher, unread_queue), *numbered(2000, 32_768))
  expect_swift_consumer(session, publisher, fast_queue)

  equal(inbox.messages.size, 0, "messages read so far")
  eventually("all has been read", 20) do
    unread.message_count
    inbox.messages.size == 2000
  end
  equal(inbox.bodies.map(&:to_i) == (0...2000).to_a, true, "the messages read at last, in order")
end

scenario :survives_restart do |session|
  channel = session.confirming_channel
  exchange = session.exchange(channel, :direct, durable: true)
  queue = session.shared_queue(channel, durable: true).bind(exchange, routing_key: "key")
  5.times { |n| exchange.publish(n.to_s, routing_key: "key", persistent: true) }
  exchange.publish("transient", routing_key: "key", persistent: false)
  equal(channel.wait_for_confirms, true, "confirmed")
  2.times { queue.pop(manual_ack: true) }
  told_of_shutdown { session.ask("restart") }

  channel = session.confirming_channel(session.reconnect)
  channel.exchange(exchange.name, no_declare: true).publish("5", routing_key: "key")
  inbox = Inbox.new(on(channel, queue))
  equal(inbox.bodies(6), %w[0 1 2 3 4 5], "messages after the restart")
  equal(inbox.flags, [true, true, false, false, false, false], "redelivered")
end

# Nothing here is durable: what is there after the restart was brought back by the client.
scenario :automatic_recovery do |session|
  connection = session.connect(
    automatically_recover: true,
    recover_from_connection_close: true,
    network_recovery_interval: 0.2
  )
  recovered = Thread::Queue.new
  connection.after_recovery_completed { recovered << true }
  publisher = session.confirming_channel(connection)
  exchange = session.exchange(publisher, :direct)
  channel = session.channel(connection)
  channel.prefetch(2)
  queue = session.queue(channel).bind(exchange.name, routing_key: "key")
  inbox = Inbox.new(queue)
  exchange.publish("before", routing_key: "key")
  channel.ack(inbox.wait(1).first.tag)
  session.ask("restart")
  recovered.pop

  # One by one: once it has recovered, bunny miscounts a confirm of several.
  %w[1 2 3].each do |body|
    exchange.publish(body, routing_key: "key")
    equal(publisher.wait_for_confirms, true, "confirmed")
  end
  equal(inbox.bodies(3), %w[before 1 2], "messages")
  await_ready(queue, 1)
  equal(inbox.messages.size, 3, "deliveries up to the prefetch")
  channel.ack(inbox.tags.last, true)
  equal(inbox.bodies(4), %w[before 1 2 3], "messages after the acknowledgement")
end
