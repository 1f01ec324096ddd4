# frozen_string_literal: true

# What every scenario needs: a registry, a deadline, connections that are closed behind it, and exact comparisons.

require "bunny"
require "json"
require "securerandom"

SCENARIO_TIMEOUT_S = 45
RECONNECT_TIMEOUT_S = 40
CLEANUP_TIMEOUT_S = 10
# How long a channel that loses its last consumer waits for its worker, which can miss the signal that ends the wait.
POOL_SHUTDOWN_S = 2

# bunny prints some of its troubles; standard output is for the reports alone.
REPORTS = $stdout.dup
$stdout.reopen($stderr)

SCENARIOS = {}

class Mismatch < StandardError; end

# The client offers no way to do this; the message says what is missing.
class Lacking < StandardError; end

# Registers a block of one argument, a `Session`, under its name.
def scenario(name, &block)
  SCENARIOS[name.to_s] = block
end

def lacking(name, reason)
  scenario(name) { |_session| raise Lacking, reason }
end

def report(name, event, **details)
  REPORTS.puts(JSON.generate({ scenario: name, event: event, **details }))
  REPORTS.flush
end

def play(name, url)
  report(name, :started)
  started = now
  session = Session.new(name, url)
  begin
    perform(SCENARIOS.fetch(name) { raise Mismatch, "the client has no such scenario" }, session)
  rescue Lacking => lack
    report(name, :lacking, message: lack.message)
  rescue Exception => error # whatever a scenario raises is its result
    message = error.is_a?(Mismatch) ? error.message : "#{error.class}: #{error.message}"
    report(name, :failed, seconds: now - started, message: message + where(error))
  else
    report(name, :passed, seconds: now - started)
  end
end

# In a thread of its own: bunny raises the errors of a connection in the thread that has made it, at any time.
def perform(scenario, session)
  thread = Thread.new { scenario.call(session) }
  thread.report_on_exception = false
  return if thread.join(SCENARIO_TIMEOUT_S)

  raise Mismatch, "not done after #{SCENARIO_TIMEOUT_S} s", thread.backtrace
ensure
  thread.kill
  cleanup = Thread.new { session.end }
  cleanup.report_on_exception = false
  cleanup.join(CLEANUP_TIMEOUT_S)
end

# The scenario's own line that raised, the innermost one.
def where(error)
  place = error.backtrace&.find { |line| line.include?("/scenarios/") }
  place ? " (#{place[%r{scenarios/(\w+\.rb:\d+)}, 1]})" : ""
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

# One scenario's view of the broker: its connections, and names that nothing else uses.
class Session
  NO_RECOVERY = { automatically_recover: false, recover_from_connection_close: false }.freeze

  attr_reader :url, :user, :password, :host, :port

  def initialize(scenario_name, url)
    @scenario_name = scenario_name
    @url = url
    @token = SecureRandom.hex(4)
    @connections = []
    @deletions = []
    @user, @password, @host, @port = Bunny::Session.parse_uri(url).values_at(:user, :pass, :host, :port)
  end

  # Asks the runner to do something to the broker: stop, restart, block or unblock.
  def ask(what)
    report(@scenario_name, what)
  end

  def connect(url = @url, **options)
    connection = Bunny.new(url, log_file: $stderr, **NO_RECOVERY, **options)
    @connections << connection
    connection.start
  end

  # A connection to a broker that is being restarted.
  def reconnect
    eventually("connected again", RECONNECT_TIMEOUT_S, every: 0.1) do
      connect
    rescue Bunny::TCPConnectionFailed
      nil
    end
  end

  # A channel, on a connection of its own if none is given.
  def channel(connection = connect)
    connection.create_channel(nil, 1, false, POOL_SHUTDOWN_S)
  end

  def confirming_channel(connection = connect)
    channel(connection).tap(&:confirm_select)
  end

  def name(label)
    "interop.#{@scenario_name}.#{label}.#{@token}"
  end

  # Declares a queue that goes with the channel's connection.
  def queue(channel, label = "queue", **options)
    channel.queue(name(label), exclusive: true, **options)
  end

  # Declares a queue that any connection may use, deleted after the scenario.
  def shared_queue(channel, label = "queue", **options)
    channel.queue(name(label), **options).tap do |queue|
      @deletions << ->(cleaner) { cleaner.queue_delete(queue.name) }
    end
  end

  # Declares an exchange, deleted after the scenario.
  def exchange(channel, type, label = "exchange", **options)
    channel.exchange(name(label), type: type, **options).tap do |exchange|
      @deletions << ->(cleaner) { cleaner.exchange_delete(exchange.name) }
    end
  end

  def end
    @connections.each { |connection| connection.close if connection.open? }
    return if @deletions.empty?

    cleaner = channel
    @deletions.each { |deletion| deletion.call(cleaner) }
    cleaner.connection.close
  end
end

Message = Struct.new(:delivery, :properties, :body) do
  def tag
    delivery.delivery_tag
  end
end

# A consumer that keeps what it receives, for a test to wait on.
class Inbox
  attr_reader :consumer

  def initialize(queue, **options)
    @arrivals = Thread::Queue.new
    @messages = []
    @consumer = queue.subscribe({ manual_ack: true, **options }) do |delivery, properties, body|
      @arrivals << Message.new(delivery, properties, body)
    end
  end

  # The first `count` messages, awaited.
  def wait(count)
    @messages << @arrivals.pop while @messages.size < count
    @messages.first(count)
  end

  # All that have arrived.
  def messages
    @messages << @arrivals.pop until @arrivals.empty?
    @messages
  end

  # The bodies of all messages, or of the first `count`, awaited.
  def bodies(count = nil)
    (count ? wait(count) : messages).map(&:body)
  end

  def flags
    messages.map { |message| message.delivery.redelivered? }
  end

  def tags
    messages.map(&:tag)
  end
end

def publish(queue, *bodies)
  bodies.each { |body| queue.publish(body) }
end

# Takes everything out of a queue with get, and returns the messages.
def take(queue)
  messages = []
  loop do
    delivery, properties, body = queue.pop
    return messages unless delivery

    messages << Message.new(delivery, properties, body)
  end
end

def drain(queue)
  take(queue).map(&:body)
end

# The queue as another channel sees it, not declared again.
def on(channel, queue)
  channel.queue(queue.name, no_declare: true)
end

# RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue.
def await_ready(queue, count)
  eventually("#{count} messages ready") { queue.message_count == count }
end

def equal(actual, expected, what)
  raise Mismatch, "#{what}: expected #{expected.inspect}, got #{actual.inspect}" unless actual == expected
end

# A channel that was closed behind an operation without an answer tells the next one why, in words of its own if it knew
# already.
def channel_error(code, text)
  yield
rescue Bunny::ChannelLevelException => error
  equal([error.channel_close.reply_code, error.message], [code, text], "channel error")
rescue Bunny::ChannelAlreadyClosed => error
  equal(error.message[/server-reported channel error: (.*)\z/m, 1], text, "channel error")
else
  raise Mismatch, "expected the channel to close with #{code} #{text}"
end

def connection_error(code, text)
  yield
rescue Bunny::ConnectionLevelException, Bunny::NotAllowedError => error
  close = error.connection_close
  equal([close.reply_code, close.reply_text], [code, text], "connection error")
else
  raise Mismatch, "expected the connection to close with #{code} #{text}"
end

# For what happens in the background without telling anybody; returns what the block returns once it is true.
def eventually(what, seconds = 5, every: 0.02)
  deadline = now + seconds
  loop do
    result = yield
    return result if result
    raise Mismatch, "#{what}: not so after #{seconds} s" if now > deadline

    sleep every
  end
end
