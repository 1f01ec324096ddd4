package Interop::Scenarios::Channels;

use v5.36;

use Interop::Client;
use Interop::Expect;
use Interop::Harness qw(scenario lacking);

my $NO_QUEUE    = q{NOT_FOUND - no queue 'nothing' in vhost '/'};
my $NO_EXCHANGE = q{NOT_FOUND - no exchange 'nothing' in vhost '/'};

# The client takes the next number, and the first again after the last.
scenario channel_open_close => sub ($session) {
    my $connection = $session->connect(tune => { channel_max => 7 });
    for my $turn (0 .. 199) {
        my $channel = $session->open_channel($connection);
        equal($channel->id, $turn % 7 + 1, 'channel number');
        call($channel, 'close');
    }
};

scenario thousand_channels => sub ($session) {
    my ($connection, $publisher) = ($session->connect, $session->channel);
    my $queue = $session->shared_queue($publisher);
    my @inboxes;
    for (1 .. 1000) {
        my $channel = $session->open_channel($connection);
        set_prefetch($channel, 1);
        push @inboxes, consume($channel, $queue);
    }
    publish($publisher, $queue, 0 .. 999);
    my @received = map { $_->message(0)->{body} } @inboxes;
    equal([sort { $a <=> $b } @received], [0 .. 999], 'messages over all channels');
    for my $inbox (@inboxes) {
        equal($inbox->count, 1, 'messages of a channel');
        ack($inbox->channel, $inbox->delivery_tag(0));
        call($inbox->channel, 'close');
    }
    equal(drain($publisher, $queue), [], 'messages left');
};

scenario error_closes_only_the_channel => sub ($session) {
    my $connection = $session->connect;
    my ($healthy, $faulty) = map { $session->open_channel($connection) } 1 .. 2;
    my ($queue, $held) = map { $session->queue($healthy, $_) } qw(healthy held);
    my $inbox = consume($healthy, $queue);
    publish($faulty, $held, 'unsettled');
    get($faulty, $held);
    refused($faulty, 404, $NO_QUEUE, sub ($channel) {
        attempt($channel, 'declare_queue', queue => 'nothing', passive => 1);
    });
    publish($healthy, $queue, 'still here');
    equal($inbox->bodies(1), ['still here'], 'messages of the other channel');
    equal($session->open_channel($connection, id => $faulty->id)->id, $faulty->id, 'number used again');
    equal(drain_marked($healthy, $held), ['unsettled again'], 'message of the closed channel');
};

scenario not_found => sub ($session) {
    my $connection = $session->connect;
    my $owner      = $session->open_channel($connection);
    my $queue      = $session->queue($owner);
    my $exchange   = $session->exchange($owner, 'direct');
    my @cases      = (
        [$NO_QUEUE, declare_queue => queue => 'nothing', passive => 1],
        [$NO_QUEUE, get         => queue => 'nothing'],
        [$NO_QUEUE, consume     => queue => 'nothing'],
        [$NO_QUEUE, purge_queue => queue => 'nothing'],
        [$NO_QUEUE, bind_queue  => queue => 'nothing', exchange => $exchange, routing_key => 'key'],
        [$NO_EXCHANGE, bind_queue       => queue    => $queue, exchange => 'nothing', routing_key => 'key'],
        [$NO_EXCHANGE, declare_exchange => exchange => 'nothing', passive => 1],
        [$NO_EXCHANGE, bind_exchange    => destination => $exchange, source => 'nothing', routing_key => 'key'],
        [$NO_EXCHANGE, publish          => exchange => 'nothing', routing_key => 'key', body => 'lost'],
        ['NOT_FOUND - no previously declared queue', consume => queue => ''],
    );
    for (@cases) {
        my ($text, $method, %arguments) = @$_;
        refused($session->open_channel($connection), 404, $text, sub ($channel) {
            attempt($channel, $method, %arguments);
        });
    }
    check($connection->is_open, 'the connection was closed');
};

scenario access_refused => sub ($session) {
    my $connection = $session->connect;
    my $owner      = $session->open_channel($connection);
    my $queue      = $session->queue($owner);
    my $internal   = $session->exchange($owner, 'fanout', 'internal', internal => 1);
    my $default    = 'operation not permitted on the default exchange';
    my @cases      = (
        [
            q{queue name 'amq.interop' contains reserved prefix 'amq.*'},
            declare_queue => queue => 'amq.interop',
        ],
        [
            q{exchange name 'amq.interop' contains reserved prefix 'amq.*'},
            declare_exchange => exchange => 'amq.interop', type => 'direct',
        ],
        [$default, bind_queue      => queue    => $queue, exchange => '', routing_key => 'key'],
        [$default, unbind_queue    => queue    => $queue, exchange => '', routing_key => 'key'],
        [$default, delete_exchange => exchange => ''],
        [
            "cannot publish to internal exchange '$internal' in vhost '/'",
            publish => exchange => $internal, routing_key => 'key', body => 'refused',
        ],
    );
    for (@cases) {
        my ($text, $method, %arguments) = @$_;
        refused($session->open_channel($connection), 403, "ACCESS_REFUSED - $text", sub ($channel) {
            attempt($channel, $method, %arguments);
        });
    }
};

scenario resource_locked => sub ($session) {
    my $owner    = $session->channel;
    my $queue    = $session->queue($owner);
    my $intruder = $session->connect;
    my $text     = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '$queue' in vhost '/'. "
        . 'It could be originally declared on another connection or the exclusive property value does not match '
        . 'that of the original declaration.';
    my @cases = (
        [declare_queue => exclusive => 1],
        [declare_queue => passive => 1],
        ['get'],
        ['consume'],
        ['purge_queue'],
        ['delete_queue'],
        [bind_queue => exchange => 'amq.fanout', routing_key => ''],
    );
    for (@cases) {
        my ($method, %arguments) = @$_;
        refused($session->open_channel($intruder), 405, $text, sub ($channel) {
            attempt($channel, $method, queue => $queue, %arguments);
        });
    }
    publish($owner, $queue, 'mine');
    equal(drain($owner, $queue), ['mine'], 'messages of the owner');
};

scenario precondition_failed => sub ($session) {
    my $connection = $session->connect;
    my $owner      = $session->open_channel($connection);
    my $queue      = $session->queue($owner);
    my $exchange   = $session->exchange($owner, 'fanout');
    bind_queue($owner, $queue, $exchange);
    my $refused = sub ($text, $use) {
        refused($session->open_channel($connection), 406, "PRECONDITION_FAILED - $text", $use);
    };

    $refused->('unknown delivery tag 99', sub ($channel) { ack($channel, 99) });
    $refused->('unknown delivery tag 1', sub ($channel) {
        publish($channel, $queue, 'once');
        my $tag = get($channel, $queue)->{method}->delivery_tag;
        ack($channel, $tag) for 1 .. 2;
    });
    publish($owner, $queue, 'kept');
    await_ready($owner, $queue, 1);
    $refused->("queue '$queue' in vhost '/' not empty", sub ($channel) {
        attempt($channel, 'delete_queue', queue => $queue, if_empty => 1);
    });
    consume($owner, $queue);
    $refused->("queue '$queue' in vhost '/' in use", sub ($channel) {
        attempt($channel, 'delete_queue', queue => $queue, if_unused => 1);
    });
    $refused->("exchange '$exchange' in vhost '/' in use", sub ($channel) {
        attempt($channel, 'delete_exchange', exchange => $exchange, if_unused => 1);
    });
};

scenario duplicate_consumer_tag => sub ($session) {
    my ($bystander, $connection) = ($session->channel, $session->connect);
    my $queue    = $session->queue($bystander, 'bystander');
    my $channel  = $session->open_channel($connection);
    my $consumed = $session->queue($channel, 'consumed');
    consume($channel, $consumed, consumer_tag => 'twice');
    attempt($channel, 'consume', queue => $consumed, consumer_tag => 'twice');
    connection_closed($connection, 530, q{NOT_ALLOWED - attempt to reuse consumer tag 'twice'});
    publish($bystander, $queue, 'untouched');
    equal(drain($bystander, $queue), ['untouched'], 'messages of another connection');
};

scenario not_implemented => sub ($session) {
    my $bystander = $session->channel;
    my $queue     = $session->queue($bystander);
    my @cases     = (
        ['prefetch_size!=0 (1024)', qos     => prefetch_size => 1024],
        ['requeue=false',           recover => requeue       => 0],
    );
    for (@cases) {
        my ($text, $method, %arguments) = @$_;
        my $connection = $session->connect;
        attempt($session->open_channel($connection), $method, %arguments);
        connection_closed($connection, 540, "NOT_IMPLEMENTED - $text");
    }
    publish($bystander, $queue, 'untouched');
    equal(drain($bystander, $queue), ['untouched'], 'messages of another connection');
};

1;
