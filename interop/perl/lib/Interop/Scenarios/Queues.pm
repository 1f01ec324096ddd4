package Interop::Scenarios::Queues;

use v5.36;

use Interop::Client;
use Interop::Expect;
use Interop::Harness qw(scenario lacking);

sub declared($channel, $queue, %options) {
    my $ok = call($channel, 'declare_queue', queue => $queue, %options)->method_frame;
    return [$ok->queue, $ok->message_count, $ok->consumer_count];
}

scenario queue_declare => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->name('queue');
    equal(declared($channel, $queue, exclusive => 1), [$queue, 0, 0], 'declare-ok') for 1 .. 2;
    publish($channel, $queue, qw(a b c));
    await_ready($channel, $queue, 3);
    equal(declared($channel, $queue, passive => 1), [$queue, 3, 0], 'passive declare-ok');
    consume($channel, $queue)->wait(3);
    equal(declared($channel, $queue, exclusive => 1), [$queue, 0, 1], 'ready messages and consumers');
};

scenario queue_mismatch => sub ($session) {
    my $connection = $session->connect;
    my $owner      = $session->open_channel($connection);
    my %ttl        = ('x-message-ttl' => 60000);
    my $plain      = $session->shared_queue($owner, 'plain');
    my $limited    = $session->shared_queue($owner, 'limited', arguments => \%ttl);
    my $different  = q{received 'true' but current is 'false'};
    my $value      = q{the value '60000' of type 'signedint'};
    my @cases      = (
        ['durable',       $plain,   $different, durable => 1],
        ['auto_delete',   $plain,   $different, auto_delete => 1],
        ['x-message-ttl', $plain,   "received $value but current is none", arguments => \%ttl],
        ['x-message-ttl', $limited, "received none but current is $value"],
    );
    for (@cases) {
        my ($argument, $queue, $difference, %options) = @$_;
        my $text = "PRECONDITION_FAILED - inequivalent arg '$argument' for queue '$queue' in vhost '/': $difference";
        refused($session->open_channel($connection), 406, $text, sub ($channel) {
            attempt($channel, 'declare_queue', queue => $queue, %options);
        });
    }
    my $locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '$plain' in vhost '/'. It could be "
        . 'originally declared on another connection or the exclusive property value does not match that of the '
        . 'original declaration.';
    refused($session->open_channel($connection), 405, $locked, sub ($channel) {
        attempt($channel, 'declare_queue', queue => $plain, exclusive => 1);
    });
    equal(declared($owner, $limited, arguments => \%ttl), [$limited, 0, 0], 'the same again');
};

scenario server_named_queue => sub ($session) {
    my $channel = $session->channel;
    my ($queue, $last) = map { call($channel, 'declare_queue', exclusive => 1)->method_frame->queue } 1 .. 2;
    check(/^amq\.gen-/, "a server-named queue is called '$_'") for $queue, $last;
    check($queue ne $last, "two server-named queues are called '$queue'");
    bind_queue($channel, '', 'amq.direct', $session->name('key'));
    $channel->publish(exchange => 'amq.direct', routing_key => $session->name('key'), body => 'to the last');
    equal(drain($channel, $queue), [], 'messages of the first declared');
    equal(drain($channel, ''), ['to the last'], 'messages of the queue without a name');
    publish($channel, $last, 'by its name');
    equal(drain($channel, ''), ['by its name'], 'messages of the queue without a name');
};

scenario queue_purge_and_delete => sub ($session) {
    my $channel = $session->channel;
    my $queue   = $session->queue($channel);
    my $removed = sub ($method) { call($channel, $method, queue => $queue)->method_frame->message_count };
    publish($channel, $queue, qw(a b c));
    equal($removed->('purge_queue'), 3, 'messages purged');
    equal(drain($channel, $queue), [], 'messages after the purge');
    publish($channel, $queue, qw(d e));
    equal($removed->('delete_queue'), 2, 'messages deleted with the queue');
    equal($removed->('delete_queue'), 0, 'messages deleted with no queue');
    call($channel, 'delete_exchange', exchange => $session->name('never declared'));
};

sub expect_gone($channel, $queue) {
    refused($channel, 404, "NOT_FOUND - no queue '$queue' in vhost '/'", sub ($channel) {
        attempt($channel, 'declare_queue', queue => $queue, passive => 1);
    });
}

scenario exclusive_queue => sub ($session) {
    my ($connection, $other) = ($session->connect, $session->channel);
    my $queue = $session->queue($session->open_channel($connection));
    call($connection, 'close');
    expect_gone($other, $queue);
};

# A mandatory message asks without touching the queue.
sub is_reached($channel, $queue) {
    my (undef, $returned) = publish_confirmed($channel, routing_key => $queue, mandatory => 1);
    return !$returned;
}

scenario auto_delete_queue => sub ($session) {
    my $channel = $session->channel;
    select_confirms($channel);
    my $queue = $session->shared_queue($channel, 'queue', auto_delete => 1);
    check(is_reached($channel, $queue), 'it is gone before it has had a consumer');
    my ($first, $last) = map { consume($channel, $queue) } 1 .. 2;
    $first->cancel;
    equal(look_at($channel, $queue)->consumer_count, 1, 'consumers');
    $last->cancel;
    poll_until(sub { !is_reached($channel, $queue) }, 'the queue is gone');
    expect_gone($channel, $queue);
};

scenario message_ttl => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    select_confirms($channel);
    my $brief   = $session->queue($channel, 'brief',   'x-message-ttl' => 150);
    my $lasting = $session->queue($channel, 'lasting', 'x-message-ttl' => 60000);
    my $started = now();
    for (
        [$brief,   'by the queue',                undef],
        [$brief,   'by the queue, the smaller',   60000],
        [$lasting, 'by the message, the smaller', 150],
        [$lasting, 'young',                       60000],
        [$lasting, 'young too',                   undef],
    ) {
        my ($queue, $body, $expiration) = @$_;
        publish_confirmed(
            $channel,
            routing_key => $queue,
            header      => { expiration => $expiration },
            body        => $body,
        );
    }
    for ([$brief, 0], [$lasting, 2]) {
        await_ready($channel, @$_);
        check(now() - $started >= 0.15, 'it expired too early');
    }
    equal(drain($channel, $brief), [], 'messages of the brief queue');
    equal(drain($channel, $lasting), ['young', 'young too'], 'younger messages');

    for (['soon', 'no_integer'], ['10s', '{leftover_string,"s"}']) {
        my ($expiration, $problem) = @$_;
        my $text = "PRECONDITION_FAILED - invalid expiration '$expiration': $problem";
        refused($session->open_channel($connection), 406, $text, sub ($channel) {
            publish_with($channel, $lasting, { expiration => $expiration }, '');
        });
    }
};

scenario queue_expires => sub ($session) {
    my $channel = $session->channel;
    select_confirms($channel);
    my $consumed = $session->queue($channel, 'consumed', 'x-expires' => 200);
    my $inbox    = consume($channel, $consumed, no_ack => 1);
    my $started  = now();
    my $unused   = $session->queue($channel, 'unused', 'x-expires' => 200);
    poll_until(sub { !is_reached($channel, $unused) }, 'the unused queue is gone');
    check(now() - $started >= 0.2, 'the unused queue expired too early');
    publish($channel, $consumed, 'still here');
    equal($inbox->bodies(1), ['still here'], 'messages of the queue with a consumer');
    $inbox->cancel;
    poll_until(sub { !is_reached($channel, $consumed) }, 'the queue that has lost its consumer is gone');
};

scenario max_length => sub ($session) {
    my $channel = $session->channel;
    select_confirms($channel);
    my $by_count = $session->queue($channel, 'count', 'x-max-length'       => 3);
    my $by_bytes = $session->queue($channel, 'bytes', 'x-max-length-bytes' => 10);
    publish_confirmed($channel, routing_key => $by_count, body => $_) for 1 .. 5;
    publish_confirmed($channel, routing_key => $by_bytes, body => $_) for qw(aaaa bbbb cccccc dddd);
    equal(drain($channel, $by_count), [3 .. 5], 'the last three messages');
    equal(drain($channel, $by_bytes), [qw(cccccc dddd)], 'the last ten bytes');
};

scenario priority_queue => sub ($session) {
    my $channel = $session->channel;
    select_confirms($channel);
    my $queue = $session->queue($channel, 'queue', 'x-max-priority' => 10);
    my $number = 0;
    for my $priority (undef, 5, 0, 10, 255, 1, 5, 11, 9, undef) {
        my $body = sprintf '%d: %s', $number++, $priority // 'none';
        publish_confirmed($channel, routing_key => $queue, header => { priority => $priority }, body => $body);
    }
    my @expected = ('3: 10', '4: 255', '7: 11', '8: 9', '1: 5', '6: 5', '5: 1', '0: none', '2: 0', '9: none');
    equal(consume($channel, $queue)->bodies(10), \@expected, 'messages by priority');
};

scenario single_active_consumer => sub ($session) {
    my $observer   = $session->channel;
    my %arguments  = ('x-single-active-consumer' => Net::AMQP::Value::true);
    my $queue      = $session->shared_queue($observer, 'queue', arguments => \%arguments);
    my $connection = $session->connect;
    my $first      = consume($session->open_channel($connection), $queue);
    my $second     = consume($session->channel, $queue);
    my $third      = consume($second->channel, $queue);
    publish($observer, $queue, 1 .. 5);
    equal($first->bodies(5), [1 .. 5], 'messages of the first consumer');
    ack_up_to($first->channel, $first->delivery_tag(3));
    call($connection, 'close');
    publish($observer, $queue, 6);
    equal($second->marked(2), ['5 again', '6'], 'messages of the next consumer');
    $second->cancel;
    publish($observer, $queue, 7);
    equal($third->bodies(1), [7], 'messages of the last consumer');
    equal([$first->count, $second->count], [5, 2], 'messages of the others');
};

lacking quorum_queue =>
    'Net::AMQP cannot read x-delivery-count, which is a 64-bit number: the connection reads nothing more';

scenario long_and_unicode_names => sub ($session) {
    my $channel = $session->channel;
    my $long    = $session->name('long');
    $long .= 'x' x (255 - length $long);
    equal(declared($channel, $long, exclusive => 1), [$long, 0, 0], 'long name');
    publish($channel, $long, 'long');
    equal(drain($channel, $long), ['long'], 'messages of the long name');

    my $queue = $session->name('зайчонок-野兎-🐇');
    equal(declared($channel, $queue, exclusive => 1), [$queue, 0, 0], 'name outside ASCII');
    my $exchange = $session->exchange($channel, 'topic', 'größe');
    bind_queue($channel, $queue, $exchange, 'straße.*');
    $channel->publish(exchange => $exchange, routing_key => 'straße.жук', body => 'unicode');
    my $message = take($channel, $queue);
    equal(
        [$message->{method}->exchange, $message->{method}->routing_key, $message->{body}],
        [$exchange, 'straße.жук', 'unicode'],
        'message',
    );
};

1;
