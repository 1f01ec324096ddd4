package Interop::Scenarios::Load;

use v5.36;

use Interop::Client;
use Interop::Expect;
use Interop::Harness qw(scenario lacking);

use constant {
    PUBLISHERS      => 8,
    MESSAGES_EACH   => 1000,
    SLOW_PREFETCH   => 20,
    SLOW_MESSAGES   => 1000,
    SLOW_BODY       => 4096,
    UNREAD_MESSAGES => 2048,
    UNREAD_BODY     => 32768,
    FAST_MESSAGES   => 2000,
};

# Eight connections of one event loop, in turns.
scenario concurrent_publishing => sub ($session) {
    my $consuming = $session->channel;
    my $queue     = $session->shared_queue($consuming);
    my $inbox     = consume($consuming, $queue, no_ack => 1);
    my @channels  = map { $session->channel } 1 .. PUBLISHERS;
    select_confirms($_) for @channels;
    my @confirmed = (0) x PUBLISHERS;
    for my $number (0 .. MESSAGES_EACH - 1) {
        for my $publisher (0 .. $#channels) {
            $channels[$publisher]->publish(
                routing_key => $queue,
                body        => "$publisher $number",
                on_ack      => sub { $confirmed[$publisher]++; changed() },
            );
        }
    }
    wait_until(sub { !grep { $_ < MESSAGES_EACH } @confirmed }, 'everything is confirmed', 30);
    my @received;
    for my $body (@{ $inbox->bodies(PUBLISHERS * MESSAGES_EACH) }) {
        my ($publisher, $number) = split ' ', $body;
        push @{ $received[$publisher] }, $number;
    }
    equal($_, [0 .. MESSAGES_EACH - 1], 'messages of a publisher') for @received;
};

sub padded($number, $size) {
    return "$number " . '.' x ($size - 1 - length $number);
}

sub expect_fast_consumer_unhindered($session, $publisher, $queue) {
    my $inbox = consume($session->channel, $queue, no_ack => 1);
    publish($publisher, $queue, 1 .. FAST_MESSAGES);
    equal($inbox->bodies(FAST_MESSAGES), [1 .. FAST_MESSAGES], q{the fast consumer's messages});
}

scenario slow_consumer => sub ($session) {
    my ($publisher, $slow) = ($session->channel, $session->channel);
    my ($slow_queue, $fast_queue) = map { $session->shared_queue($publisher, $_) } qw(slow fast);
    set_prefetch($slow, SLOW_PREFETCH);
    my $inbox = consume($slow, $slow_queue);
    publish($publisher, $slow_queue, map { padded($_, SLOW_BODY) } 0 .. SLOW_MESSAGES - 1);
    expect_fast_consumer_unhindered($session, $publisher, $fast_queue);

    $inbox->wait(SLOW_PREFETCH);
    await_ready($publisher, $slow_queue, SLOW_MESSAGES - SLOW_PREFETCH);
    equal($inbox->count, SLOW_PREFETCH, 'messages that the slow consumer holds');
    for my $number (0 .. SLOW_MESSAGES - 1) {
        equal($inbox->message($number)->{body}, padded($number, SLOW_BODY), 'the next message');
        ack($slow, $inbox->delivery_tag($number));
    }
    $inbox->cancel;
    equal(drain($publisher, $slow_queue), [], 'messages left');
};

# The unread messages fill the buffers of the sockets of a process whose event loop stands still.
scenario unread_consumer => sub ($session) {
    my $unread = $session->apart(sub ($other) {
        chomp(my $queue = <$other>);
        my $inbox = consume($session->channel, $queue, no_ack => 1);
        say {$other} 'consumes';
        <$other>;
        for my $number (0 .. UNREAD_MESSAGES - 1) {
            my $body = $inbox->message($number)->{body};
            check($body eq padded($number, UNREAD_BODY), "message $number is not the next");
        }
        say {$other} 'has read all';
    });
    my $publisher = $session->channel;
    my ($unread_queue, $fast_queue) = map { $session->shared_queue($publisher, $_) } qw(unread fast);
    say {$unread} $unread_queue;
    equal(scalar <$unread>, "consumes\n", 'the client that does not read');
    select_confirms($publisher);
    my $confirmed = 0;
    for my $number (0 .. UNREAD_MESSAGES - 1) {
        $publisher->publish(
            routing_key => $unread_queue,
            body        => padded($number, UNREAD_BODY),
            on_ack      => sub { $confirmed++; changed() },
        );
    }
    wait_until(sub { $confirmed == UNREAD_MESSAGES }, 'everything is confirmed', 30);
    expect_fast_consumer_unhindered($session, $publisher, $fast_queue);
    say {$unread} 'read now';
    equal(scalar <$unread>, "has read all\n", 'the client that reads at last');
};

scenario survives_restart => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    select_confirms($channel);
    my $exchange = $session->exchange($channel, 'direct', 'exchange', durable => 1);
    my $queue    = $session->shared_queue($channel, 'queue', durable => 1);
    bind_queue($channel, $queue, $exchange, 'key');
    my %message = (exchange => $exchange, routing_key => 'key');
    publish_confirmed($channel, %message, header => { delivery_mode => 2 }, body => $_) for 0 .. 4;
    publish_confirmed($channel, %message, header => { delivery_mode => 1 }, body => 'transient');
    get($channel, $queue) for 1 .. 2;
    $session->ask('restart');
    wait_until(sub { closing($connection) }, 'the old connection is closed', 30);

    $channel = $session->open_channel($session->reconnect);
    $channel->publish(%message, header => { delivery_mode => 2 }, body => 5);
    equal(consume($channel, $queue)->marked(6), ['0 again', '1 again', 2 .. 5], 'messages after the restart');
};

lacking automatic_recovery => 'AnyEvent::RabbitMQ never connects again by itself';

1;
