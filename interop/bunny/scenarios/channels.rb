# frozen_string_literal: true

require "logger"
require "stringio"

NO_QUEUE = "NOT_FOUND - no queue 'nothing' in vhost '/'"
NO_EXCHANGE = "NOT_FOUND - no exchange 'nothing' in vhost '/'"

# bunny tells a get that it was refused only when it has waited for the answer as long as it ever does.
ANSWER_TIMEOUT_MS = 1000

# What the broker refuses without an answer of its own, and an operation after it that tells.
def refused_publish(channel, exchange)
  channel.exchange(exchange, no_declare: true).publish("refused", routing_key: "key")
  channel.prefetch(1)
end

scenario :channel_open_close do |session|
  connection = session.connect
  200.times do
    channel = connection.create_channel
    equal(channel.number, 1, "channel number")
    channel.close
  end
end

scenario :thousand_channels do |session|
  connection = session.connect
  queue = session.shared_queue(session.channel)
  inboxes = Array.new(1000) do
    channel = session.channel(connection)
    channel.prefetch(1)
    Inbox.new(on(channel, queue))
  end
  publish(queue, *(0...1000).map(&:to_s))
  received = inboxes.flat_map { |inbox| inbox.bodies(1) }
  equal(received.map(&:to_i).sort, (0...1000).to_a, "messages over all channels")
  inboxes.each do |inbox|
    inbox.consumer.channel.ack(1)
    inbox.consumer.channel.close
  end
  equal(inboxes.sum { |inbox| inbox.messages.size }, 1000, "deliveries")
  equal(drain(queue), [], "messages left")
end

scenario :error_closes_only_the_channel do |session|
  connection = session.connect
  healthy = session.channel(connection)
  faulty = session.channel(connection)
  queue = session.queue(healthy, "healthy")
  inbox = Inbox.new(queue)
  held = session.queue(healthy, "held")
  publish(on(faulty, held), "unsettled")
  await_ready(held, 1)
  on(faulty, held).pop(manual_ack: true)
  number = faulty.number
  channel_error(404, NO_QUEUE) { faulty.queue("nothing", passive: true) }
  publish(queue, "still here")
  equal(inbox.bodies(1), ["still here"], "messages of the other channel")
  equal(connection.create_channel.number, number, "number used again")
  message = take(held).first
  equal([message.body, message.delivery.redelivered?], ["unsettled", true], "message of the closed channel")
end

scenario :not_found do |session|
  connection = session.connect
  owner = session.channel(connection)
  queue = session.queue(owner)
  exchange = session.exchange(owner, :direct)
  nothing = ->(channel) { channel.queue("nothing", no_declare: true) }
  [
    [NO_QUEUE, ->(channel) { channel.queue("nothing", passive: true) }],
    [NO_QUEUE, ->(channel) { Inbox.new(nothing.call(channel)) }],
    [NO_QUEUE, ->(channel) { nothing.call(channel).purge }],
    [NO_QUEUE, ->(channel) { nothing.call(channel).bind(exchange, routing_key: "key") }],
    [NO_EXCHANGE, ->(channel) { on(channel, queue).bind("nothing", routing_key: "key") }],
    [NO_EXCHANGE, ->(channel) { channel.exchange("nothing", passive: true) }],
    [NO_EXCHANGE, ->(channel) { channel.exchange_bind("nothing", exchange, routing_key: "key") }],
    [NO_EXCHANGE, ->(channel) { refused_publish(channel, "nothing") }],
    ["NOT_FOUND - no previously declared queue", ->(channel) { channel.basic_consume("") }]
  ].each do |text, attempt|
    channel_error(404, text) { attempt.call(session.channel(connection)) }
  end
  impatient = session.channel(session.connect(continuation_timeout: ANSWER_TIMEOUT_MS))
  channel_error(404, NO_QUEUE) { nothing.call(impatient).pop }
  equal(connection.open?, true, "connection open")
end

scenario :access_refused do |session|
  connection = session.connect
  owner = session.channel(connection)
  queue = session.queue(owner)
  internal = session.exchange(owner, :fanout, internal: true)
  reserved = "name 'amq.interop' contains reserved prefix 'amq.*'"
  default_exchange = "ACCESS_REFUSED - operation not permitted on the default exchange"
  no_publish = "ACCESS_REFUSED - cannot publish to internal exchange '#{internal.name}' in vhost '/'"
  [
    ["ACCESS_REFUSED - queue #{reserved}", ->(channel) { channel.queue("amq.interop") }],
    ["ACCESS_REFUSED - exchange #{reserved}", ->(channel) { channel.direct("amq.interop") }],
    [default_exchange, ->(channel) { on(channel, queue).bind("", routing_key: "key") }],
    [default_exchange, ->(channel) { on(channel, queue).unbind("", routing_key: "key") }],
    [default_exchange, ->(channel) { channel.exchange_delete("") }],
    [no_publish, ->(channel) { refused_publish(channel, internal.name) }]
  ].each do |text, attempt|
    channel_error(403, text) { attempt.call(session.channel(connection)) }
  end
end

scenario :resource_locked do |session|
  queue = session.queue(session.channel)
  intruder = session.connect
  text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '#{queue.name}' in vhost '/'. It could be " \
         "originally declared on another connection or the exclusive property value does not match that of the " \
         "original declaration."
  [
    ->(channel) { channel.queue(queue.name, exclusive: true) },
    ->(channel) { channel.queue(queue.name, passive: true) },
    ->(channel) { Inbox.new(on(channel, queue)) },
    ->(channel) { on(channel, queue).purge },
    ->(channel) { on(channel, queue).delete },
    ->(channel) { on(channel, queue).bind("amq.fanout") }
  ].each do |attempt|
    channel_error(405, text[0, 255]) { attempt.call(session.channel(intruder)) }
  end
  impatient = session.channel(session.connect(continuation_timeout: ANSWER_TIMEOUT_MS))
  channel_error(405, text[0, 255]) { on(impatient, queue).pop }
  publish(queue, "mine")
  equal(drain(queue), ["mine"], "messages of the owner")
end

# Acknowledgements have no answer; the channel's error handler is told.
def acknowledged_in_vain(channel, *tags)
  errors = Thread::Queue.new
  channel.on_error { |_channel, close| errors << [close.reply_code, close.reply_text] }
  tags.each { |tag| channel.ack(tag) }
  errors.pop
end

scenario :precondition_failed do |session|
  connection = session.connect
  owner = session.channel(connection)
  queue = session.queue(owner)
  exchange = session.exchange(owner, :fanout)
  queue.bind(exchange)
  told = acknowledged_in_vain(session.channel(connection), 99)
  equal(told, [406, "PRECONDITION_FAILED - unknown delivery tag 99"], "unknown tag")
  publish(queue, "once")
  await_ready(queue, 1)
  channel = session.channel(connection)
  delivery, = on(channel, queue).pop(manual_ack: true)
  told = acknowledged_in_vain(channel, delivery.delivery_tag, delivery.delivery_tag)
  equal(told, [406, "PRECONDITION_FAILED - unknown delivery tag 1"], "tag acknowledged twice")
  publish(queue, "kept")
  await_ready(queue, 1)
  place = "'#{queue.name}' in vhost '/'"
  channel_error(406, "PRECONDITION_FAILED - queue #{place} not empty") do
    on(session.channel(connection), queue).delete(if_empty: true)
  end
  Inbox.new(queue)
  channel_error(406, "PRECONDITION_FAILED - queue #{place} in use") do
    on(session.channel(connection), queue).delete(if_unused: true)
  end
  channel_error(406, "PRECONDITION_FAILED - exchange '#{exchange.name}' in vhost '/' in use") do
    session.channel(connection).exchange_delete(exchange.name, if_unused: true)
  end
end

scenario :duplicate_consumer_tag do |session|
  bystander = session.queue(session.channel)
  connection_error(530, "NOT_ALLOWED - attempt to reuse consumer tag 'same'") do
    queue = session.queue(session.channel, "reused")
    2.times { queue.subscribe(consumer_tag: "same") { |*| nil } }
  end
  publish(bystander, "untouched")
  equal(drain(bystander), ["untouched"], "messages of another connection")
end

# bunny knows no code 540: its reading thread dies of it, the operation waits in vain, and what the broker said is in
# the log alone. A prefetch size is nothing that bunny lets its users ask for.
scenario :not_implemented do |session|
  bystander = session.queue(session.channel)
  { "requeue=false" => ->(channel) { channel.basic_recover(false) },
    "active=false" => ->(channel) { channel.flow(false) } }.each do |text, attempt|
    log = StringIO.new
    connection = session.connect(logger: Logger.new(log), continuation_timeout: ANSWER_TIMEOUT_MS)
    begin
      attempt.call(session.channel(connection))
    rescue Timeout::Error
      told = log.string[/@reply_code=\d+, @reply_text="[^"]*"/]
      equal(told, "@reply_code=540, @reply_text=\"NOT_IMPLEMENTED - #{text}\"", "connection error in the log")
      connection.transport.close
    else
      raise Mismatch, "expected the connection to close with 540 #{text}"
    end
  end
  publish(bystander, "untouched")
  equal(drain(bystander), ["untouched"], "messages of another connection")
end
