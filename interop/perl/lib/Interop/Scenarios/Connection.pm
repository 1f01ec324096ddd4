package Interop::Scenarios::Connection;

use v5.36;

use Interop::Client;
use Interop::Expect;
use Interop::Harness qw(scenario lacking);

# Without it the broker says nothing of a refused login, it only closes the socket.
my %TOLD_OF_REFUSAL =
    (client_properties => { capabilities => { authentication_failure_close => Net::AMQP::Value::true } });

my $LOGIN_REFUSED = 'ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. '
    . 'For details see the broker logfile.';

sub round_trip($session, $connection) {
    my $channel = $session->open_channel($connection);
    my $queue   = $session->queue($channel, 'round-trip');
    publish($channel, $queue, 'there and back');
    equal(drain($channel, $queue), ['there and back'], 'messages');
}

sub expect_refused($session, $text, %options) {
    my ($connection, $why) = $session->try_connect(%options);
    check(!$connection, "the connection was opened instead of: $text");
    equal($why, $text, 'login');
}

lacking connect_by_uri => 'AnyEvent::RabbitMQ takes host, port, user, pass and vhost, but no URI';

scenario connect_by_options => sub ($session) {
    my $connection = $session->connect(
        vhost             => '/',
        tune              => { channel_max => 5, frame_max => 65536, heartbeat => 17 },
        client_properties => { connection_name => $session->name('connection') },
    );
    round_trip($session, $connection);
    $session->open_channel($connection) for 2 .. 5;
    my $refusal;
    $connection->open_channel(on_failure => sub (@why) { $refusal = "@why" });
    equal($refusal, 'Ran out of channel ids', 'a sixth channel with channel_max 5');
    call($connection, 'close');
    check(!$connection->is_open, 'the connection is still open');
};

scenario server_properties => sub ($session) {
    my $properties = $session->connect->server_properties;
    equal($properties->{product}, 'RabbitMQ', 'product');
    check($properties->{version} =~ /^\d+\.\d+\.\d+$/, "version: $properties->{version} is not of the form x.y.z");
    my @expected = qw(
        publisher_confirms exchange_exchange_bindings basic.nack consumer_cancel_notify connection.blocked
        consumer_priorities authentication_failure_close per_consumer_qos direct_reply_to
    );
    equal($properties->{capabilities}{$_}, 1, $_) for @expected;
};

scenario amqplain_login => sub ($session) {
    round_trip($session, $session->connect);
};

scenario wrong_password => sub ($session) {
    expect_refused($session, "403 $LOGIN_REFUSED", %TOLD_OF_REFUSAL, pass => 'wrong');
    expect_refused($session, "403 $LOGIN_REFUSED", %TOLD_OF_REFUSAL, user => 'nobody', pass => 'wrong');
};

scenario unknown_vhost => sub ($session) {
    expect_refused($session, '530 NOT_ALLOWED - vhost nowhere not found', vhost => 'nowhere');
};

scenario heartbeats => sub ($session) {
    my $connection = $session->connect(tune => { heartbeat => 1 });
    pause(3.5);
    equal(closing($connection), undef, 'the connection is closed');
    round_trip($session, $connection);
};

# In a process whose event loop stands still, nobody sends heartbeats.
scenario heartbeat_missed => sub ($session) {
    my $silent = $session->apart(sub ($other) {
        chomp(my $queue = <$other>);
        my $channel = $session->open_channel($session->connect(tune => { heartbeat => 1 }));
        publish($channel, $queue, 'held');
        consume($channel, $queue)->wait(1);
        say {$other} 'holds it';
        <$other>;
    });
    my $observer = $session->channel;
    my $queue    = $session->shared_queue($observer);
    my $started  = now();
    say {$silent} $queue;
    equal(scalar <$silent>, "holds it\n", 'the silent client');
    my $inbox = consume($observer, $queue);
    equal($inbox->marked(1), ['held again'], 'messages of the observer');
    check(now() - $started > 1, 'the silent client was cut off at once');
};

lacking update_secret => 'AnyEvent::RabbitMQ does not know connection.update-secret';

scenario small_frames => sub ($session) {
    my $channel = $session->open_channel($session->connect(tune => { frame_max => 4096 }));
    my $queue   = $session->queue($channel);
    my $body    = join('', map { chr } 0 .. 249) x 400;
    my $long    = 'h' x 3000;
    publish_with($channel, $queue, { headers => { long => $long } }, $body);
    my $message = take($channel, $queue);
    equal(length $message->{body}, 100_000, 'body size');
    check($message->{body} eq $body, 'the body is not the same');
    equal($message->{header}->headers, { long => $long }, 'headers');
};

scenario graceful_shutdown => sub ($session) {
    my $connection = $session->connect;
    round_trip($session, $connection);
    $session->ask('stop');
    wait_until(sub { closing($connection) }, 'the client is told', 30);
    connection_closed(
        $connection, 320,
        q{CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'},
    );
};

1;
