package Interop::Scenarios::Consuming;

use v5.36;

use Interop::Client;
use Interop::Expect;
use Interop::Harness qw(scenario lacking);

# A consumer that has taken five messages, acknowledged none, and left.
sub five($channel, $queue) {
    publish($channel, $queue, 1 .. 5);
    my $inbox = consume($channel, $queue);
    $inbox->wait(5);
    $inbox->cancel;
    return $inbox;
}

scenario consume_and_ack => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    my $queue      = $session->queue($channel);
    publish($channel, $queue, 0 .. 99);
    my @received;
    my $on_consume = sub ($content) {
        my $method = $content->{deliver}->method_frame;
        push @received,
            [$method->delivery_tag, $method->redelivered, $method->routing_key, $content->{body}->payload];
        ack($channel, $method->delivery_tag);
        changed();
    };
    my $ok = call($channel, 'consume', queue => $queue, no_ack => 0, on_consume => $on_consume);
    wait_until(sub { @received >= 100 }, 'every message arrives');
    call($channel, 'cancel', consumer_tag => $ok->method_frame->consumer_tag);
    equal(\@received, [map { [$_ + 1, 0, $queue, $_] } 0 .. 99], 'deliveries');
    call($channel, 'close');
    equal(drain($session->open_channel($connection), $queue), [], 'messages left');
};

scenario no_ack => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    my $queue      = $session->queue($channel);
    set_prefetch($channel, 1);
    my $inbox = consume($channel, $queue, no_ack => 1);
    publish($channel, $queue, 0 .. 49);
    equal($inbox->bodies(50), [0 .. 49], 'messages');
    call($channel, 'close');
    equal(drain($session->open_channel($connection), $queue), [], 'messages left');
};

scenario prefetch => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    set_prefetch($channel, 5);
    publish($channel, $queue, 0 .. 19);
    my $first = consume($channel, $queue);
    $first->wait(5);
    await_ready($channel, $queue, 15);
    my $second = consume($channel, $queue);
    $second->wait(5);
    await_ready($channel, $queue, 10);
    ack($channel, $first->delivery_tag(0));
    $first->wait(6);
    await_ready($channel, $queue, 9);
    equal([$first->bodies, $second->bodies], [[0 .. 4, 10], [5 .. 9]], 'messages of each');
};

scenario prefetch_per_channel => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    set_prefetch($channel, 5, global => 1);
    my @inboxes = map { consume($channel, $queue) } 1 .. 2;
    publish($channel, $queue, 0 .. 19);
    my $received = sub { $inboxes[0]->count + $inboxes[1]->count };
    for my $held (5, 10) {
        wait_until(sub { $received->() >= $held }, "$held messages to both");
        await_ready($channel, $queue, 20 - $held);
        equal($received->(), $held, 'messages to both');
        ack_up_to($channel, 0);
    }
};

scenario ack_multiple => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    my $queue      = $session->queue($channel);
    ack_up_to($channel, five($channel, $queue)->delivery_tag(2));
    call($channel, 'close');
    my $other = $session->open_channel($connection);
    equal(drain_marked($other, $queue), ['4 again', '5 again'], 'messages beyond the tag');
    five($other, $queue);
    ack_up_to($other, 0);
    call($other, 'close');
    equal(drain($session->open_channel($connection), $queue), [], 'messages left');
};

lacking nack => 'AnyEvent::RabbitMQ has no nack';

scenario reject => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    my $inbox   = five($channel, $queue);
    reject($channel, $inbox->delivery_tag(0), requeue => 0);
    reject($channel, $inbox->delivery_tag(1), requeue => 1);
    equal(drain_marked($channel, $queue), ['2 again'], 'requeued');
    reject($channel, $inbox->delivery_tag($_), requeue => 0) for 2 .. 4;
    equal(drain($channel, $queue), [], 'messages left');
};

scenario requeue_order => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    my $inbox   = five($channel, $queue);
    publish($channel, $queue, 6);
    reject($channel, $inbox->delivery_tag($_), requeue => 1) for 2, 0, 4, 1, 3;
    equal(drain_marked($channel, $queue), [(map { "$_ again" } 1 .. 5), 6], 'order after requeue');
};

scenario recover => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    publish($channel, $queue, 1 .. 3);
    my $inbox = consume($channel, $queue);
    $inbox->wait(3);
    ack($channel, $inbox->delivery_tag(0));
    call($channel, 'recover', requeue => 1);
    equal($inbox->marked(5), [1, 2, 3, '2 again', '3 again'], 'messages');
    equal([map { $inbox->delivery_tag($_) } 0 .. 4], [1 .. 5], 'delivery tags');
};

scenario unacked_requeued_on_close => sub ($session) {
    my ($observer, $holder) = ($session->channel, $session->connect);
    my $queue   = $session->shared_queue($observer);
    my $channel = $session->open_channel($holder);
    publish($channel, $queue, 1 .. 3);
    consume($channel, $queue)->wait(3);
    my $second = consume($session->open_channel($holder), $queue);
    call($channel, 'close');
    my @again = map { "$_ again" } 1 .. 3;
    equal($second->marked(3), \@again, 'after the channel closed');
    my $third = consume($observer, $queue);
    call($holder, 'close');
    equal($third->marked(3), \@again, 'after the connection closed');
};

scenario consumer_cancel => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    my $queue      = $session->queue($channel);
    my $inbox      = consume($channel, $queue, consumer_tag => 'my-consumer');
    equal($inbox->tag, 'my-consumer', 'consumer tag');
    publish($channel, $queue, 'before');
    equal($inbox->message(0)->{method}->consumer_tag, 'my-consumer', 'consumer tag of the delivery');
    $inbox->cancel;
    publish($channel, $queue, 'after');
    await_ready($channel, $queue, 1);
    ack($channel, $inbox->delivery_tag(0));
    equal(drain($channel, $queue), ['after'], 'messages left');
    equal($inbox->bodies, ['before'], 'delivered');
    call($channel, 'close');
    equal(drain($session->open_channel($connection), $queue), [], 'messages not acknowledged');
};

scenario cancel_notify => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    my $queue      = $session->queue($channel);
    my ($first, $second) = map { consume($channel, $queue) } 1 .. 2;
    call($session->open_channel($connection), 'delete_queue', queue => $queue);
    wait_until(sub { $first->is_cancelled && $second->is_cancelled }, 'both consumers are told');
    check($channel->is_open, 'the channel was closed');
};

scenario exclusive_consumer => sub ($session) {
    my $connection = $session->connect;
    my $owner      = $session->open_channel($connection);
    my $queue      = $session->queue($owner);
    my $in_use     = "ACCESS_REFUSED - queue '$queue' in vhost '/' in exclusive use";
    my $inbox      = consume($owner, $queue, exclusive => 1);
    refused($session->open_channel($connection), 403, $in_use, sub ($channel) {
        attempt($channel, 'consume', queue => $queue);
    });
    $inbox->cancel;
    consume($owner, $queue);
    refused($session->open_channel($connection), 403, $in_use, sub ($channel) {
        attempt($channel, 'consume', queue => $queue, exclusive => 1);
    });
};

# Whose turn is first is not said.
scenario round_robin => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    my @inboxes = map { consume($channel, $queue, no_ack => 1) } 1 .. 3;
    publish($channel, $queue, 0 .. 29);
    my @shares = sort { $a->[0] <=> $b->[0] } map { $_->bodies(10) } @inboxes;
    equal(\@shares, [map { my $turn = $_; [map { 3 * $_ + $turn } 0 .. 9] } 0 .. 2], 'turns');
};

scenario consumer_priority => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    my $low     = consume($channel, $queue, arguments => { 'x-priority' => -5 });
    my $usual   = consume($channel, $queue);
    set_prefetch($channel, 3);
    my $high = consume($channel, $queue, arguments => { 'x-priority' => 10 });
    publish($channel, $queue, 0 .. 9);
    equal($high->bodies(3),  [0 .. 2], 'high priority, until its prefetch');
    equal($usual->bodies(7), [3 .. 9], 'usual priority');
    equal($low->bodies, [], 'low priority');
};

sub got($message) {
    my $method = $message->{method};
    return [$message->{body}, $method->delivery_tag, $method->message_count, $method->redelivered];
}

scenario get => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    my $queue      = $session->queue($channel);
    equal(get($channel, $queue), undef, 'get from an empty queue');
    publish($channel, $queue, qw(a b c));
    my $first = get($channel, $queue);
    equal(got($first), ['a', 1, 2, 0], 'first');
    equal([$first->{method}->exchange, $first->{method}->routing_key], ['', $queue], 'exchange and key');
    equal(got(get($channel, $queue, no_ack => 1)), ['b', 2, 1, 0], 'second');
    call($channel, 'close');
    $channel = $session->open_channel($connection);
    equal(got(get($channel, $queue)), ['a', 1, 1, 1], 'again');
    ack($channel, 1);
    equal(drain($channel, $queue), ['c'], 'messages left');
};

1;
