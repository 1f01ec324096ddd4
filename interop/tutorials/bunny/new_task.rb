# frozen_string_literal: true

# Work queues: sends a task that survives a restart of the broker. Each dot in it is a bit of work.

require_relative "broker"

task = ARGV.empty? ? "Hello World!" : ARGV.join(" ")

connection = connect
channel = connection.create_channel
queue = channel.queue("task_queue", durable: true)
queue.publish(task, persistent: true)
puts " [x] Sent '#{task}'"

connection.close
