# frozen_string_literal: true

REPLY_TO = "amq.rabbitmq.reply-to"

scenario :tx_commit do |session|
  connection = session.connect
  observer = session.channel(connection)
  queue = session.queue(observer)
  done = session.queue(observer, "done")
  publish(queue, "job")
  await_ready(queue, 1)
  channel = session.channel(connection)
  channel.tx_select
  delivery, = on(channel, queue).pop(manual_ack: true)
  publish(on(channel, done), "one", "two")
  channel.ack(delivery.delivery_tag)
  equal(drain(on(channel, done)), [], "messages before the commit")
  channel.tx_commit
  equal(drain(done), %w[one two], "messages after the commit")
  channel.close
  equal(drain(queue), [], "jobs left")
  channel_error(406, "PRECONDITION_FAILED - channel is not transactional") { session.channel(connection).tx_commit }
  channel_error(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode") do
    both = session.channel(connection)
    both.tx_select
    both.confirm_select
  end
end

scenario :tx_rollback do |session|
  connection = session.connect
  observer = session.channel(connection)
  queue = session.queue(observer)
  done = session.queue(observer, "done")
  publish(queue, "job")
  await_ready(queue, 1)
  channel = session.channel(connection)
  channel.tx_select
  delivery, = on(channel, queue).pop(manual_ack: true)
  publish(on(channel, done), "dropped")
  channel.ack(delivery.delivery_tag)
  channel.tx_rollback
  equal(drain(done), [], "messages after the rollback")
  equal(drain(queue), [], "the job is still held")
  publish(on(channel, done), "kept")
  channel.tx_commit
  channel.close
  equal(drain(done), ["kept"], "messages of the next transaction")
  message, = take(queue)
  equal([message.body, message.delivery.redelivered?], ["job", true], "the job comes back")
end

# Answers each request with twice its number, wherever it wants the answer.
def serve_doubles(requests)
  channel = requests.channel
  exchange = channel.default_exchange
  requests.subscribe(manual_ack: true) do |delivery, properties, body|
    options = { routing_key: properties.reply_to, correlation_id: properties.correlation_id }
    exchange.publish((2 * body.to_i).to_s, options)
    channel.ack(delivery.delivery_tag)
  end
end

def call_hundred_times(requests, replies, reply_to)
  100.times do |n|
    requests.publish(n.to_s, reply_to: reply_to, correlation_id: "call-#{n}")
    replies.wait(n + 1)
  end
  answers = replies.messages.map { |message| [message.properties.correlation_id, message.body.to_i] }
  equal(answers, (0...100).map { |n| ["call-#{n}", 2 * n] }, "answers")
end

scenario :rpc_reply_queue do |session|
  caller = session.channel
  requests = session.shared_queue(caller, "requests")
  serve_doubles(on(session.channel, requests))
  reply_queue = caller.queue("", exclusive: true)
  call_hundred_times(requests, Inbox.new(reply_queue, manual_ack: false), reply_queue.name)
end

scenario :direct_reply_to do |session|
  caller = session.channel
  requests = session.shared_queue(caller, "requests")
  replies = Inbox.new(caller.queue(REPLY_TO, no_declare: true), manual_ack: false)
  requests.publish("", reply_to: REPLY_TO)
  await_ready(requests, 1)
  server = session.connect
  observer = session.channel(server)
  _, properties, = on(observer, requests).pop
  address = properties.reply_to
  equal(address.start_with?("#{REPLY_TO}."), true, "reply_to as the server sees it is #{address}")
  there = observer.queue(address, no_declare: true)
  equal(there.status, { message_count: 0, consumer_count: 1 }, "the caller is there")
  serve_doubles(on(session.channel(server), requests))
  call_hundred_times(requests, replies, REPLY_TO)
  equal(replies.messages.map { |message| message.delivery.exchange }.uniq, [""], "exchange of the replies")
  caller.connection.close
  channel_error(404, "NOT_FOUND - no queue '#{address}' in vhost '/'") { there.status }
end

scenario :direct_reply_to_errors do |session|
  connection = session.connect
  replies = -> { session.channel(connection).queue(REPLY_TO, no_declare: true) }
  channel_error(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge") { Inbox.new(replies.call) }
  channel_error(406, "PRECONDITION_FAILED - reply consumer already set") do
    same = replies.call
    2.times { Inbox.new(same, manual_ack: false) }
  end
  channel_error(406, "PRECONDITION_FAILED - fast reply consumer does not exist") do
    channel = session.channel(connection)
    channel.default_exchange.publish("", routing_key: "nobody", reply_to: REPLY_TO)
    channel.prefetch(1)
  end
end
