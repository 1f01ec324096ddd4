# frozen_string_literal: true

# Publisher confirms: three ways to know that the broker has taken charge of every message.

require_relative "broker"

BATCH_SIZE = 100

# Simple and slow: each message waits for its confirm.
def publish_individually(channel, queue, count)
  channel.confirm_select
  count.times do |number|
    queue.publish(number.to_s)
    abort "message #{number} was refused" unless channel.wait_for_confirms
  end
end

# Waits for a whole batch before the next: few waits, but an error does not say which message.
def publish_in_batches(channel, queue, count)
  channel.confirm_select
  (0...count).each_slice(BATCH_SIZE) do |batch|
    batch.each { |number| queue.publish(number.to_s) }
    abort "a message from #{batch.first} to #{batch.last} was refused" unless channel.wait_for_confirms
  end
end

# Waits for nothing until the end: confirms are handled as they come, while the next messages are on their way.
def publish_asynchronously(channel, queue, count)
  channel.confirm_select(->(tag, _multiple, refused) { warn "message #{tag} was refused" if refused })
  count.times { |number| queue.publish(number.to_s) }
  abort "not everything was confirmed" unless channel.wait_for_confirms
end

count = ARGV.fetch(0, "10000").to_i
connection = connect
{
  "individually" => method(:publish_individually),
  "in batches" => method(:publish_in_batches),
  "asynchronously" => method(:publish_asynchronously)
}.each do |manner, publish|
  channel = connection.create_channel
  queue = channel.queue("", exclusive: true)
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  publish.call(channel, queue, count)
  elapsed_ms = 1000 * (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started)
  puts "Published #{count} messages and handled confirms #{manner} in #{elapsed_ms.round} ms"
end

connection.close
