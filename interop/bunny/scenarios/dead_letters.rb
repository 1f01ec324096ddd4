# frozen_string_literal: true

# A queue whose dead letters go to the queue named `dead`.
def dying_queue(session, channel, dead, label = "queue", **arguments)
  target = { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => dead }
  session.queue(channel, label, arguments: { **target, **arguments })
end

# The entries of x-death without their times, which are seconds and lie in the scenario.
def deaths(properties)
  properties.headers["x-death"].map do |death|
    equal(death["time"].class, Time, "class of the time #{death['time']}")
    equal((Time.now - death["time"]).abs < 60, true, "time #{death['time']} is now")
    death.except("time")
  end
end

def first_death(properties)
  %w[reason queue exchange].map { |part| properties.headers["x-first-death-#{part}"] }
end

scenario :dead_letter_rejected do |session|
  channel = session.channel
  letters = session.exchange(channel, :direct, "letters")
  dead = session.queue(channel, "dead").bind(letters, routing_key: "buried")
  target = { "x-dead-letter-exchange" => letters.name, "x-dead-letter-routing-key" => "buried" }
  exchange = session.exchange(channel, :topic)
  queue = session.queue(channel, arguments: target).bind(exchange, routing_key: "orders.#")
  exchange.publish("order", routing_key: "orders.new", message_id: "order-1", headers: { "kept" => 1 })
  inbox = Inbox.new(queue)
  channel.reject(inbox.wait(1).first.tag)
  letter = Inbox.new(dead).wait(1).first
  delivery = [letter.delivery.exchange, letter.delivery.routing_key, letter.delivery.redelivered?]
  equal(delivery, [letters.name, "buried", false], "delivery")
  kept = [letter.body, letter.properties.message_id, letter.properties.headers["kept"]]
  equal(kept, ["order", "order-1", 1], "message")
  death = {
    "count" => 1,
    "reason" => "rejected",
    "queue" => queue.name,
    "exchange" => exchange.name,
    "routing-keys" => ["orders.new"]
  }
  equal(deaths(letter.properties), [death], "x-death")
  equal(first_death(letter.properties), ["rejected", queue.name, exchange.name], "x-first-death")
  equal(inbox.messages.size, 1, "deliveries of the rejected message")
end

# An entry of x-death for a message that was published to the queue by its name.
def death(queue, reason, count = 1, **more)
  { "count" => count, "reason" => reason, "queue" => queue, "exchange" => "", "routing-keys" => [queue], **more }
end

scenario :dead_letter_expired do |session|
  channel = session.channel
  dead = session.queue(channel, "dead")
  queue = dying_queue(session, channel, dead.name)
  queue.publish("brief", expiration: "100")
  letter = Inbox.new(dead).wait(1).first
  equal([letter.body, letter.properties.expiration], ["brief", nil], "message without its expiration")
  equal(deaths(letter.properties), [death(queue.name, "expired", "original-expiration" => "100")], "x-death")
  equal(first_death(letter.properties), ["expired", queue.name, ""], "x-first-death")
end

scenario :dead_letter_maxlen do |session|
  channel = session.channel
  dead = session.queue(channel, "dead")
  queue = dying_queue(session, channel, dead.name, "x-max-length" => 2)
  publish(queue, "1", "2", "3", "4")
  letters = Inbox.new(dead).wait(2)
  equal(letters.map(&:body), %w[1 2], "the oldest messages")
  letters.each do |letter|
    equal(deaths(letter.properties), [death(queue.name, "maxlen")], "x-death")
    equal(first_death(letter.properties), ["maxlen", queue.name, ""], "x-first-death")
  end
  equal(drain(queue), %w[3 4], "messages left")
end

scenario :dead_letter_retry do |session|
  channel = session.channel
  retrying = session.name("retry")
  work = dying_queue(session, channel, retrying, "work")
  dying_queue(session, channel, work.name, "retry", "x-message-ttl" => 50)
  publish(work, "job")
  inbox = Inbox.new(work)
  3.times { |attempt| channel.reject(inbox.wait(attempt + 1).last.tag) }
  job = inbox.wait(4).last
  channel.ack(job.tag)
  equal(job.body, "job", "message")
  equal(deaths(job.properties), [death(retrying, "expired", 3), death(work.name, "rejected", 3)], "x-death")
  equal(first_death(job.properties), ["rejected", work.name, ""], "x-first-death")
end
