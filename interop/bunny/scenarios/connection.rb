# frozen_string_literal: true

require "logger"
require "stringio"

def round_trip(session, connection, label = "queue")
  queue = session.queue(session.channel(connection), label)
  publish(queue, "there and back")
  equal(drain(queue), ["there and back"], "messages")
end

scenario :connect_by_uri do |session|
  uri = "amqp://#{session.user}:#{session.password}@#{session.host}:#{session.port}/%2F?heartbeat=17"
  connection = session.connect(uri)
  equal(connection.heartbeat, 17, "heartbeat")
  equal(connection.vhost, "/", "vhost")
  round_trip(session, connection)
  connection.close
  equal([connection.closed?, connection.open?], [true, false], "closed")
end

# bunny never takes the last number that it may, so these are one less than the negotiated maximum.
def channels_until_refused(connection)
  opened = 1
  (opened..).each { opened = connection.create_channel.number }
rescue RuntimeError => error
  equal(error.message.include?("max number of channels on connection reached"), true, error.message)
  opened
end

scenario :connect_by_options do |session|
  connection = Bunny.new(
    host: session.host,
    port: session.port,
    vhost: "/",
    user: session.user,
    password: session.password,
    channel_max: 5,
    frame_max: 65_536,
    heartbeat: 17,
    connection_name: session.name("connection"),
    log_file: $stderr
  )
  connection.start
  round_trip(session, connection)
  negotiated = [connection.channel_max, connection.frame_max, connection.heartbeat]
  equal(negotiated, [5, 65_536, 17], "channel_max, frame_max and heartbeat")
  equal(channels_until_refused(connection), 4, "channels")
  connection.close
end

scenario :server_properties do |session|
  connection = session.connect
  properties = connection.server_properties
  equal(properties["product"], "RabbitMQ", "product")
  version = properties["version"]
  equal(version.match?(/\A\d+\.\d+\.\d+\z/), true, "version #{version} is of the form x.y.z")
  %w[
    publisher_confirms
    exchange_exchange_bindings
    basic.nack
    consumer_cancel_notify
    connection.blocked
    consumer_priorities
    authentication_failure_close
    per_consumer_qos
    direct_reply_to
  ].each { |capability| equal(connection.server_capabilities[capability], true, capability) }
end

# bunny comes with PLAIN and EXTERNAL, and takes encoders for other mechanisms.
class AmqplainEncoder < Bunny::Authentication::CredentialsEncoder
  LENGTH_BYTES = 4

  auth_mechanism "AMQPLAIN"

  def encode_credentials(user, password)
    AMQ::Protocol::Table.encode("LOGIN" => user, "PASSWORD" => password).byteslice(LENGTH_BYTES..)
  end
end

scenario :amqplain_login do |session|
  connection = session.connect(auth_mechanism: "AMQPLAIN")
  round_trip(session, connection)
  login_refused(session, "AMQPLAIN", auth_mechanism: "AMQPLAIN", password: "wrong")
end

# bunny raises an error in words of its own; what the broker said is in its log.
def login_refused(session, mechanism, **options)
  log = StringIO.new
  session.connect(logger: Logger.new(log), **options)
rescue Bunny::AuthenticationFailureError
  refusal = "403 ACCESS_REFUSED - Login was refused using authentication mechanism #{mechanism}. " \
            "For details see the broker logfile."
  equal(log.string[/Authentication with RabbitMQ failed: (.*)/, 1], refusal, "refusal in the log")
else
  raise Mismatch, "expected the login to be refused"
end

scenario :wrong_password do |session|
  login_refused(session, "PLAIN", password: "wrong")
  login_refused(session, "PLAIN", user: "nobody", password: "wrong")
end

scenario :unknown_vhost do |session|
  connection_error(530, "NOT_ALLOWED - vhost nowhere not found") { session.connect(vhost: "nowhere") }
end

scenario :heartbeats do |session|
  connection = session.connect(heartbeat: 1)
  equal(connection.heartbeat, 1, "heartbeat")
  sleep 3.5
  round_trip(session, connection)
end

# The threads of bunny send heartbeats whatever the program does, so the client that falls silent is a stopped process.
scenario :heartbeat_missed do |session|
  queue = session.shared_queue(session.channel)
  publish(queue, "held")
  await_ready(queue, 1)
  holding, holds = IO.pipe
  client = fork do
    Inbox.new(session.channel(session.connect(heartbeat: 1)).queue(queue.name, no_declare: true)).wait(1)
    holds.puts("held")
    sleep
  end
  holding.gets
  Process.kill(:STOP, client)
  inbox = Inbox.new(queue)
  equal(inbox.bodies(1), ["held"], "messages of the observer")
  equal(inbox.flags, [true], "redelivered")
ensure
  if client
    Process.kill(:KILL, client)
    Process.wait(client)
  end
end

scenario :update_secret do |session|
  connection = session.connect
  connection.update_secret(session.password, "rotation")
  round_trip(session, connection)
end

scenario :small_frames do |session|
  connection = session.connect(frame_max: 4096)
  equal(connection.frame_max, 4096, "frame_max")
  queue = session.queue(session.channel(connection))
  body = (0...250).to_a.pack("C*") * 400
  queue.publish(body, headers: { "long" => "h" * 3000 })
  _, properties, received = queue.pop
  equal(received.bytesize, body.bytesize, "body size")
  equal(received == body, true, "body unchanged")
  equal(properties.headers, { "long" => "h" * 3000 }, "headers")
end

def told_of_shutdown
  connection_error(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'") do
    yield
    sleep
  end
end

scenario :graceful_shutdown do |session|
  connection = session.connect
  round_trip(session, connection)
  told_of_shutdown { session.ask("stop") }
  equal(connection.open?, false, "connection open")
end
