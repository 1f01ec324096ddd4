# frozen_string_literal: true

require "bunny"

# What a program prints is seen at once, also through a pipe.
$stdout.sync = true

URL = ENV.fetch("AMQP_URL", "amqp://guest:guest@localhost:5672")

def connect
  Bunny.new(URL).start
end

# Runs the block, which waits for messages, until Ctrl-C, and closes the connection.
def until_interrupted(connection)
  yield
rescue Interrupt
  puts "Interrupted"
  connection.close
end
