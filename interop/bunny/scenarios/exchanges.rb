# frozen_string_literal: true

scenario :predeclared_exchanges do |session|
  channel = session.channel
  { "amq.direct" => :direct,
    "amq.fanout" => :fanout,
    "amq.topic" => :topic,
    "amq.headers" => :headers,
    "amq.match" => :headers }.each do |name, type|
    equal(channel.connection.exchange_exists?(name), true, "#{name} exists")
    # bunny's own exchange objects take these for granted; the channel asks.
    channel.exchange_declare(name, type, durable: true)
  end
end

scenario :exchange_mismatch do |session|
  connection = session.connect
  name = session.exchange(session.channel(connection), :direct).name
  flag = "received 'true' but current is 'false'"
  alternate = "received the value 'amq.fanout' of type 'longstr' but current is none"
  [
    ["type", "received 'fanout' but current is 'direct'", { type: :fanout }],
    ["durable", flag, { durable: true }],
    ["auto_delete", flag, { auto_delete: true }],
    ["internal", flag, { internal: true }],
    ["alternate-exchange", alternate, { arguments: { "alternate-exchange" => "amq.fanout" } }]
  ].each do |argument, difference, options|
    text = "PRECONDITION_FAILED - inequivalent arg '#{argument}' for exchange '#{name}' in vhost '/': #{difference}"
    channel_error(406, text) { session.channel(connection).exchange(name, **options) }
  end
  session.channel(connection).direct(name)
end

scenario :default_exchange do |session|
  channel = session.channel
  first = session.queue(channel, "first")
  second = session.queue(channel, "second")
  exchange = channel.default_exchange
  exchange.publish("to first", routing_key: first.name)
  exchange.publish("to second", routing_key: second.name)
  exchange.publish("to nobody", routing_key: session.name("nobody"))
  equal(drain(first), ["to first"], "first")
  equal(drain(second), ["to second"], "second")
end

scenario :direct_exchange do |session|
  channel = session.channel
  exchange = session.exchange(channel, :direct)
  errors = session.queue(channel, "errors").bind(exchange, routing_key: "error")
  everything = session.queue(channel, "everything")
  %w[info warning error error].each { |severity| everything.bind(exchange, routing_key: severity) }
  %w[info warning error debug].each { |severity| exchange.publish(severity, routing_key: severity) }
  equal(drain(errors), ["error"], "errors")
  equal(drain(everything), %w[info warning error], "everything")
end

scenario :fanout_exchange do |session|
  channel = session.channel
  exchange = session.exchange(channel, :fanout)
  queues = Array.new(5) { |n| session.queue(channel, "queue-#{n}").bind(exchange, routing_key: "ignored-#{n}") }
  exchange.publish("one")
  exchange.publish("two", routing_key: "any.key")
  queues.each { |queue| equal(drain(queue), %w[one two], queue.name) }
end

TOPIC_CASES = {
  "a.b.c" => %w[a.b.c a.*.c *.b.* *.*.* # a.# #.c a.#.c a.#.# #.b.#],
  "a.c" => %w[# a.# #.c a.#.c a.#.# *.*],
  "a" => %w[# a.# * a.#.#],
  "" => %w[#],
  "a..c" => %w[a.*.c *.*.* # a.# #.c a.#.c a.#.# a..c],
  "b" => %w[# * #.b.#]
}.freeze

scenario :topic_exchange do |session|
  channel = session.channel
  exchange = session.exchange(channel, :topic)
  patterns = TOPIC_CASES.values.flatten.uniq
  queues = patterns.to_h do |pattern|
    [pattern, session.queue(channel, "[#{pattern}]").bind(exchange, routing_key: pattern)]
  end
  once = session.queue(channel, "one copy")
  patterns.each { |pattern| once.bind(exchange, routing_key: pattern) }
  TOPIC_CASES.each_key { |key| exchange.publish(key, routing_key: key) }
  queues.each do |pattern, queue|
    expected = TOPIC_CASES.keys.select { |key| TOPIC_CASES[key].include?(pattern) }
    equal(drain(queue), expected, "keys that #{pattern} matches")
  end
  equal(drain(once), TOPIC_CASES.keys, "one copy of each")
end

scenario :headers_exchange do |session|
  channel = session.channel
  exchange = session.exchange(channel, :headers)
  wanted = { "format" => "pdf", "pages" => 3, "draft" => false }
  tiered = { "format" => "pdf", "x-tier" => "gold" }
  bound = lambda do |label, arguments|
    session.queue(channel, label).bind(exchange, arguments: arguments)
  end
  all = bound.call("all", { "x-match" => "all", **wanted })
  any = bound.call("any", { "x-match" => "any", **wanted })
  by_default = bound.call("default", wanted)
  with_x = %w[all all-with-x any-with-x].to_h do |match|
    [match, bound.call("tiered #{match}", { "x-match" => match, **tiered })]
  end
  {
    "all" => { **wanted, "extra" => "ignored" },
    "format only" => { "format" => "pdf", "pages" => 4 },
    "draft only" => { "draft" => false },
    "none" => { "format" => "zip", "pages" => 4, "draft" => true },
    "no headers" => nil,
    "tiered" => tiered,
    "tier only" => { "x-tier" => "gold" }
  }.each { |label, headers| exchange.publish(label, **{ headers: headers }.compact) }
  equal(drain(all), ["all"], "x-match all")
  equal(drain(any), ["all", "format only", "draft only", "tiered"], "x-match any")
  equal(drain(by_default), ["all"], "no x-match")
  {
    "all" => ["all", "format only", "tiered"],
    "all-with-x" => ["tiered"],
    "any-with-x" => ["all", "format only", "tiered", "tier only"]
  }.each { |match, expected| equal(drain(with_x[match]), expected, "x-match #{match} with an x- header") }
end

scenario :exchange_to_exchange do |session|
  channel = session.channel
  source = session.exchange(channel, :topic, "source")
  middle = session.exchange(channel, :fanout, "middle")
  queue = session.queue(channel)
  middle.bind(source, routing_key: "orders.#")
  source.bind(middle)
  queue.bind(middle).bind(source, routing_key: "#")
  source.publish("both ways", routing_key: "orders.new")
  source.publish("directly", routing_key: "other")
  equal(drain(queue), ["both ways", "directly"], "messages, one copy each")
  middle.unbind(source, routing_key: "orders.#")
  queue.unbind(source, routing_key: "#")
  source.publish("nowhere", routing_key: "orders.new")
  equal(drain(queue), [], "messages after unbind")
end

scenario :alternate_exchange do |session|
  channel = session.channel
  fallback = session.exchange(channel, :fanout, "fallback")
  exchange = session.exchange(channel, :direct, "main", arguments: { "alternate-exchange" => fallback.name })
  known = session.queue(channel, "known").bind(exchange, routing_key: "known")
  unknown = session.queue(channel, "unknown").bind(fallback)
  returned = []
  exchange.on_return { |_info, _properties, body| returned << body }
  exchange.publish("matched", routing_key: "known", mandatory: true)
  exchange.publish("not matched", routing_key: "stray", mandatory: true)
  equal(drain(known), ["matched"], "matched")
  delivery, _, body = unknown.pop
  equal([delivery.exchange, delivery.routing_key, body], [exchange.name, "stray", "not matched"], "not matched")
  equal(returned, [], "returned")
end

scenario :internal_exchange do |session|
  channel = session.channel
  front = session.exchange(channel, :direct, "front")
  internal = session.exchange(channel, :fanout, "internal", internal: true)
  queue = session.queue(channel).bind(internal)
  internal.bind(front, routing_key: "in")
  front.publish("through the front", routing_key: "in")
  equal(drain(queue), ["through the front"], "messages")
  channel_error(403, "ACCESS_REFUSED - cannot publish to internal exchange '#{internal.name}' in vhost '/'") do
    intruder = session.channel(channel.connection)
    intruder.exchange(internal.name, no_declare: true).publish("directly")
    on(intruder, queue).message_count
  end
  equal(drain(queue), [], "messages after the refused publish")
end

scenario :auto_delete_exchange do |session|
  channel = session.channel
  exchange = session.exchange(channel, :fanout, auto_delete: true)
  queue = session.queue(channel).bind(exchange, routing_key: "one").bind(exchange, routing_key: "two")
  queue.unbind(exchange, routing_key: "one")
  equal(channel.connection.exchange_exists?(exchange.name), true, "the exchange is there")
  queue.unbind(exchange, routing_key: "two")
  channel_error(404, "NOT_FOUND - no exchange '#{exchange.name}' in vhost '/'") do
    session.channel(channel.connection).exchange(exchange.name, passive: true)
  end
end

scenario :unbind do |session|
  channel = session.channel
  exchange = session.exchange(channel, :headers)
  red = { "x-match" => "all", "colour" => "red" }
  blue = { "x-match" => "all", "colour" => "blue" }
  queue = session.queue(channel).bind(exchange, arguments: red).bind(exchange, arguments: blue)
  queue.unbind(exchange, arguments: red)
  queue.unbind(exchange, routing_key: "never bound", arguments: blue)
  %w[red blue].each { |colour| exchange.publish(colour, headers: { "colour" => colour }) }
  equal(drain(queue), ["blue"], "messages")
end

def bound_inboxes(session, exchange, *keys)
  keys.map.with_index do |key, n|
    queue = session.queue(exchange.channel, "#{exchange.name}-#{n}").bind(exchange, routing_key: key)
    Inbox.new(queue, manual_ack: false)
  end
end

# Publishes with each of the options, and returns the place of the inbox that each message came to, one copy of each.
# Publishing takes the key out of the hash it is given.
def spread(exchange, inboxes, messages)
  already = inboxes.map { |inbox| inbox.messages.size }
  messages.each_with_index { |options, n| exchange.publish(n.to_s, options.dup) }
  eventually("all have arrived") { inboxes.sum { |inbox| inbox.messages.size } >= already.sum + messages.size }
  arrived = inboxes.zip(already).flat_map.with_index do |(inbox, seen), place|
    inbox.bodies.drop(seen).map { |body| [body.to_i, place] }
  end
  equal(arrived.map(&:first).sort, (0...messages.size).to_a, "messages, one copy of each")
  arrived.sort.map(&:last)
end

scenario :consistent_hash_exchange do |session|
  channel = session.channel
  exchange = session.exchange(channel, "x-consistent-hash", "by-key")
  inboxes = bound_inboxes(session, exchange, "1", "1", "4")
  messages = Array.new(1000) { |n| { routing_key: "key-#{n}" } }
  places = spread(exchange, inboxes, messages)
  light, other, heavy = (0..2).map { |place| places.count(place) }
  equal(light.positive? && other.positive?, true, "every queue got some of #{light}, #{other}, #{heavy}")
  equal(heavy > [light, other].max, true, "the weight 4 got most of #{light}, #{other}, #{heavy}")
  equal(spread(exchange, inboxes, messages) == places, true, "the same key to the same queue")

  exchange = session.exchange(channel, "x-consistent-hash", "by-header", arguments: { "hash-header" => "customer" })
  inboxes = bound_inboxes(session, exchange, "1", "1", "1")
  by_customer = Array.new(400) { |n| { routing_key: "key-#{n}", headers: { "customer" => (n / 4).to_s } } }
  places = spread(exchange, inboxes, by_customer)
  equal(places.uniq.sort, [0, 1, 2], "queues that got some by header")
  equal(places.each_slice(4).all? { |of_one| of_one.uniq.one? }, true, "the same header to the same queue")
end

scenario :modulus_hash_exchange do |session|
  exchange = session.exchange(session.channel, "x-modulus-hash")
  inboxes = bound_inboxes(session, exchange, "", "", "")
  messages = Array.new(200) { |n| { routing_key: "key-#{n}" } }
  places = spread(exchange, inboxes, messages)
  equal(places.uniq.sort, [0, 1, 2], "queues that got some")
  equal(spread(exchange, inboxes, messages) == places, true, "the same key to the same queue")
end

scenario :random_exchange do |session|
  exchange = session.exchange(session.channel, "x-random")
  inboxes = bound_inboxes(session, exchange, "", "", "")
  places = spread(exchange, inboxes, [{ routing_key: "one key" }] * 200)
  equal(places.uniq.sort, [0, 1, 2], "queues that got some")
end

scenario :recent_history_exchange do |session|
  exchange = session.exchange(session.channel, "x-recent-history", arguments: { "x-recent-history-length" => 5 })
  8.times { |n| exchange.publish(n.to_s, routing_key: "key-#{n}") }
  inbox = bound_inboxes(session, exchange, "").first
  exchange.publish("afterwards")
  equal(inbox.bodies(6), %w[3 4 5 6 7 afterwards], "messages of a queue bound late")
end

scenario :delayed_exchange do |session|
  exchange = session.exchange(session.channel, "x-delayed-message", arguments: { "x-delayed-type" => "direct" })
  queue = session.queue(exchange.channel).bind(exchange, routing_key: "key")
  arrivals = Thread::Queue.new
  queue.subscribe { |_delivery, _properties, body| arrivals << [body.to_i, now] }
  started = now
  [300, 100, 200, 0].each { |ms| exchange.publish(ms.to_s, routing_key: "key", headers: { "x-delay" => ms }) }
  exchange.publish("1", routing_key: "another key", headers: { "x-delay" => 1 })
  arrived = Array.new(4) { arrivals.pop }
  equal(arrived.map(&:first), [0, 100, 200, 300], "messages in the order of their delays")
  early = arrived.select { |ms, moment| moment - started < ms / 1000.0 }
  equal(early, [], "messages before their time")
end

scenario :sender_selected_keys do |session|
  channel = session.channel
  exchange = session.exchange(channel, :direct)
  queues = %w[to cc bcc].to_h { |key| [key, session.queue(channel, key).bind(exchange, routing_key: key)] }
  headers = { "CC" => %w[cc to], "BCC" => ["bcc"], "kept" => "yes" }
  exchange.publish("letter", routing_key: "to", headers: headers)
  queues.each do |key, queue|
    message, *further = take(queue)
    equal([message.delivery.routing_key, message.body], %w[to letter], "message to #{key}")
    equal(message.properties.headers, { "CC" => %w[cc to], "kept" => "yes" }, "headers to #{key}")
    equal(further, [], "further copies to #{key}")
  end
end
