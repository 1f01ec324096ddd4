package Interop::Scenarios::Messages;

use v5.36;

use Interop::Client;
use Interop::Expect;
use Interop::Harness qw(scenario lacking);

use constant {
    FRAME_MAX      => 131072,
    FRAME_OVERHEAD => 8,
};

my @PROPERTIES = qw(
    content_type content_encoding headers delivery_mode priority correlation_id reply_to expiration message_id timestamp
    type user_id app_id
);

# The client sets some by itself, unless it is told undef, and headers always.
my %NONE = (map { $_ => undef } @PROPERTIES);

scenario message_properties => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    my %every   = (
        content_type     => 'application/json',
        content_encoding => 'gzip',
        headers          => { key => 'value' },
        delivery_mode    => 2,
        priority         => 7,
        correlation_id   => 'correlation',
        reply_to         => 'reply.queue',
        expiration       => '3600000',
        message_id       => 'message-1',
        timestamp        => 1700000000,
        type             => 'order.created',
        user_id          => $session->broker->{user},
        app_id           => 'interop',
    );
    for my $given (\%every, {}, { priority => 0 }, { type => '' }) {
        publish_with($channel, $queue, { %NONE, %$given }, 'body');
        my $message  = take($channel, $queue);
        my %received = map { defined $message->{header}->$_ ? ($_ => $message->{header}->$_) : () } @PROPERTIES;
        equal(\%received, { headers => {}, %$given }, 'properties');
        equal($message->{body}, 'body', 'body');
    }
};

scenario header_field_types => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    my $true    = Net::AMQP::Value::true;
    my %scalars = (
        string         => 'text äöü',
        'empty string' => '',
        digits         => Net::AMQP::Value::String->new('42'),
        octets         => "\x00\xff\xfe",
        least          => integer(-2147483648),
        greatest       => integer(2147483647),
        true           => $true,
        false          => Net::AMQP::Value::false,
        timestamp      => Net::AMQP::Value::Timestamp->new(1709209815),
    );
    my %headers = (
        %scalars,
        array         => [1, 'two', [$true, -3], { four => 4 }],
        'empty array' => [],
        table         => { %scalars, deeper => { deepest => {} } },
        'k' x 255     => 'long key',
    );
    publish_with($channel, $queue, { headers => \%headers }, '');
    # A boolean comes back as 1 or 0, the others as what they were made of.
    my %read = (%scalars, true => 1, false => 0);
    my %expected = (
        %headers, %read,
        array => [1, 'two', [1, -3], { four => 4 }],
        table => { %read, deeper => { deepest => {} } },
    );
    equal(take($channel, $queue)->{header}->headers, \%expected, 'headers');
};

# Repeated after a prime number of bytes, so that no two frames are alike.
sub pattern($size) {
    state $block = substr pack('n*', map { $_ * 40503 % 65536 } 1 .. 32768), 0, 65521;
    return substr $block x (1 + $size / 65521), 0, $size;
}

scenario body_sizes => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    my $inbox   = consume($channel, $queue, no_ack => 1);
    my $frame   = FRAME_MAX - FRAME_OVERHEAD;
    my @bodies =
        map { pattern($_) } 0, 1, $frame - 1, $frame, $frame + 1, 2 * $frame - 1, 2 * $frame, 2 * $frame + 1;
    publish($channel, $queue, @bodies);
    for my $number (0 .. $#bodies) {
        my $received = $inbox->message($number)->{body};
        equal(length $received, length $bodies[$number], 'body size');
        check($received eq $bodies[$number], 'the body is not the same');
    }
};

scenario body_16_mib => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    my $body    = pattern(16 * 1024 * 1024);
    select_confirms($channel);
    equal(scalar publish_confirmed($channel, routing_key => $queue, body => $body), 'ack', 'confirm');
    my $received = consume($channel, $queue, no_ack => 1)->message(0)->{body};
    equal(length $received, length $body, 'body size');
    check($received eq $body, 'the body is not the same');
};

1;
