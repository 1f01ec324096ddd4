# frozen_string_literal: true

# A confirm of several is told for each of them, for those too that were confirmed before.
scenario :publisher_confirms do |session|
  channel = session.channel
  queue = session.shared_queue(channel, durable: true)
  confirms = []
  channel.confirm_select(->(tag, _multiple, nacked) { confirms << [tag, nacked] })
  100.times do |n|
    queue.publish(n.to_s, persistent: n.odd?)
    equal(channel.wait_for_confirms, true, "message #{n} confirmed")
  end
  (100...1000).each { |n| queue.publish(n.to_s, persistent: n.odd?) }
  equal(channel.wait_for_confirms, true, "all confirmed")
  equal(channel.unconfirmed_set.empty?, true, "nothing unconfirmed")
  equal(confirms.uniq.sort_by(&:first) == (1..1000).map { |tag| [tag, false] }, true, "confirms of every tag")
  equal(queue.message_count, 1000, "messages")
end

scenario :confirm_unroutable do |session|
  channel = session.confirming_channel
  channel.default_exchange.publish("nowhere to go", routing_key: session.name("nobody"))
  channel.fanout("amq.fanout").publish("nowhere to go")
  equal(channel.wait_for_confirms, true, "confirmed")
end

scenario :mandatory_return do |session|
  channel = session.channel
  queue = session.queue(channel)
  returned = Thread::Queue.new
  exchange = channel.direct("amq.direct")
  queue.bind(exchange, routing_key: session.name("key"))
  exchange.on_return { |info, properties, body| returned << [info, properties, body] }
  nobody = session.name("nobody")
  exchange.publish("routed", routing_key: session.name("key"), mandatory: true)
  exchange.publish("not mandatory", routing_key: nobody)
  exchange.publish("lost", routing_key: nobody, mandatory: true, message_id: "lost", headers: { "kept" => 1 })
  info, properties, body = returned.pop
  equal([info.reply_code, info.reply_text], [312, "NO_ROUTE"], "return")
  equal([info.exchange, info.routing_key], ["amq.direct", nobody], "exchange and key")
  equal([properties.message_id, properties.headers, body], ["lost", { "kept" => 1 }, "lost"], "message")
  equal(drain(queue), ["routed"], "routed")
  equal(returned.empty?, true, "nothing else returned")
end

scenario :return_before_confirm do |session|
  channel = session.channel
  events = []
  channel.confirm_select(->(tag, _multiple, nacked) { events << [nacked ? :nacked : :confirmed, tag] })
  exchange = channel.default_exchange
  exchange.on_return { |info, _properties, body| events << [:returned, info.reply_code, body] }
  20.times do |n|
    exchange.publish(n.to_s, routing_key: session.name("nobody"), mandatory: true)
    channel.wait_for_confirms
  end
  expected = (0...20).flat_map { |n| [[:returned, 312, n.to_s], [:confirmed, n + 1]] }
  equal(events, expected, "events")
end

scenario :nacked_publish do |session|
  channel = session.confirming_channel
  queue = session.queue(channel, arguments: { "x-max-length" => 3, "x-overflow" => "reject-publish" })
  outcomes = Array.new(6) do |n|
    queue.publish(n.to_s)
    channel.wait_for_confirms
  end
  equal(outcomes, [true] * 3 + [false] * 3, "outcomes")
  equal(channel.nacked_set.sort, [4, 5, 6], "nacked tags")
  equal(drain(queue), %w[0 1 2], "messages in the queue")
end

scenario :connection_blocked do |session|
  queue = session.shared_queue(session.channel)
  inbox = Inbox.new(queue, manual_ack: false)
  publisher = session.connect
  told = Thread::Queue.new
  publisher.on_blocked { |blocked| told << blocked.reason }
  publisher.on_unblocked { told << "unblocked" }
  here = on(session.channel(publisher), queue)
  before = []
  session.ask("block")
  begin
    # The broker blocks who publishes, so something has to be published.
    eventually("the client is told that it is blocked", 20) do
      before << before.size.to_s
      publish(here, before.last)
      sleep 0.02
      !told.empty?
    end
    equal(told.pop, "low on memory", "reason")
    equal(publisher.blocked?, true, "blocked")
    publish(here, "while blocked")
    sleep 0.3
    equal(inbox.bodies.include?("while blocked"), false, "the message has to wait")
  ensure
    session.ask("unblock")
  end
  equal(told.pop, "unblocked", "what the client is told")
  equal(publisher.blocked?, false, "blocked")
  publish(here, "afterwards")
  equal(inbox.bodies(before.size + 2), [*before, "while blocked", "afterwards"], "messages")
end

scenario :user_id do |session|
  connection = session.connect
  queue = session.queue(session.channel(connection))
  publish(queue, "anonymous")
  queue.publish("signed", user_id: session.user)
  equal(drain(queue), %w[anonymous signed], "messages")
  refusal = "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '#{session.user}'"
  channel_error(406, refusal) do
    forger = on(session.channel(connection), queue)
    forger.publish("forged", user_id: "somebody")
    forger.message_count
  end
  equal(drain(queue), [], "forged messages")
end
