package Interop::Scenarios::Publishing;

use v5.36;

use Interop::Client;
use Interop::Expect;
use Interop::Harness qw(scenario lacking);

sub delivery_mode($number) {
    return { delivery_mode => $number % 2 ? 2 : 1 };
}

scenario publisher_confirms => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->shared_queue($channel, 'queue', durable => 1);
    select_confirms($channel);
    for my $number (1 .. 100) {
        my %message = (routing_key => $queue, header => delivery_mode($number), body => $number);
        equal(scalar publish_confirmed($channel, %message), 'ack', 'confirm');
    }
    my %confirms;
    for my $number (101 .. 1000) {
        $channel->publish(
            exchange    => '',
            routing_key => $queue,
            header      => delivery_mode($number),
            body        => $number,
            on_ack      => sub { $confirms{$number}++; changed() },
            on_nack     => sub { $confirms{$number} = 'nack'; changed() },
        );
    }
    wait_until(sub { keys %confirms == 900 }, 'everything is confirmed');
    equal(\%confirms, { map { $_ => 1 } 101 .. 1000 }, 'confirms');
    await_ready($channel, $queue, 1000);
};

scenario confirm_unroutable => sub ($session) {
    my $channel = $session->channel;
    select_confirms($channel);
    for my $exchange ('', 'amq.fanout') {
        my %message = (exchange => $exchange, routing_key => $session->name('nobody'), body => 'nowhere to go');
        equal([publish_confirmed($channel, %message)], ['ack', undef], 'confirm and return');
    }
};

# on_return is given the method alone: the client keeps properties and body to itself.
scenario mandatory_return => sub ($session) {
    my @returned;
    my $channel = $session->channel(on_return => sub ($frame) { push @returned, $frame->method_frame; changed() });
    my $queue   = $session->queue($channel);
    my $nobody  = $session->name('nobody');
    $channel->publish(routing_key => $queue, mandatory => 1, body => 'routed');
    $channel->publish(exchange => 'amq.direct', routing_key => $nobody, body => 'not mandatory');
    $channel->publish(exchange => 'amq.direct', routing_key => $nobody, mandatory => 1, body => 'lost');
    wait_until(sub { @returned }, 'a message is returned');
    equal(drain($channel, $queue), ['routed'], 'routed');
    my @returns = map { [$_->reply_code, $_->reply_text, $_->exchange, $_->routing_key] } @returned;
    equal(\@returns, [[312, 'NO_ROUTE', 'amq.direct', $nobody]], 'messages returned');
};

scenario return_before_confirm => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    select_confirms($channel);
    my ($confirmed, %events) = (0);
    for my $number (1 .. 20) {
        for my $key ($session->name('nobody'), $queue) {
            $channel->publish(
                routing_key => $key,
                mandatory   => 1,
                body        => $number,
                on_return => sub ($frame) { push @{ $events{$key}[$number - 1] }, $frame->method_frame->reply_code },
                on_ack    => sub { push @{ $events{$key}[$number - 1] }, 'ack'; $confirmed++; changed() },
            );
        }
    }
    wait_until(sub { $confirmed == 40 }, 'everything is confirmed');
    equal($events{ $session->name('nobody') }, [([312, 'ack']) x 20], 'what came of unroutable messages');
    equal($events{$queue}, [(['ack']) x 20], 'what came of routed messages');
    equal(drain($channel, $queue), [1 .. 20], 'routed messages');
};

scenario nacked_publish => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel, 'queue', 'x-max-length' => 3, 'x-overflow' => 'reject-publish');
    select_confirms($channel);
    my @confirms = map { scalar publish_confirmed($channel, routing_key => $queue, body => $_) } 1 .. 6;
    equal(\@confirms, [qw(ack ack ack nack nack nack)], 'confirms');
    equal(drain($channel, $queue), [1 .. 3], 'messages in the queue');
};

lacking connection_blocked => 'AnyEvent::RabbitMQ does not know connection.blocked';

# The client signs with its user if nothing else is given.
scenario user_id => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    my $queue      = $session->queue($channel);
    my $user       = $session->broker->{user};
    publish_with($channel, $queue, { user_id => undef }, 'anonymous');
    publish_with($channel, $queue, { user_id => $user }, 'signed');
    publish($channel, $queue, 'signed by the client');
    my @users = map { $_->{header}->user_id } map { take($channel, $queue) } 1 .. 3;
    equal(\@users, [undef, $user, $user], 'users');
    my $text = "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '$user'";
    refused($session->open_channel($connection), 406, $text, sub ($forger) {
        publish_with($forger, $queue, { user_id => 'somebody' }, 'forged');
    });
    equal(drain($channel, $queue), [], 'forged messages');
};

1;
