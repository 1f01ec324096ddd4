package Interop::Scenarios::Exchanges;

use v5.36;

use Interop::Client;
use Interop::Expect;
use Interop::Harness qw(scenario lacking);

use constant SPREAD_QUEUES => 3;

sub publish_to($channel, $exchange, $key, $body, %options) {
    $channel->publish(exchange => $exchange, routing_key => $key, body => $body, %options);
}

sub bind_exchange($channel, $destination, $source, $key) {
    call($channel, 'bind_exchange', destination => $destination, source => $source, routing_key => $key);
}

sub unbind_queue($channel, $queue, $exchange, $key, %arguments) {
    call(
        $channel, 'unbind_queue',
        queue => $queue, exchange => $exchange, routing_key => $key, arguments => \%arguments,
    );
}

scenario predeclared_exchanges => sub ($session) {
    my $channel = $session->channel;
    for (qw(direct:direct fanout:fanout topic:topic headers:headers match:headers)) {
        my ($name, $type) = split /:/;
        call($channel, 'declare_exchange', exchange => "amq.$name", type => $type, passive => 1);
        call($channel, 'declare_exchange', exchange => "amq.$name", type => $type, durable => 1);
    }
};

scenario exchange_mismatch => sub ($session) {
    my $connection = $session->connect;
    my $exchange   = $session->exchange($session->open_channel($connection), 'direct');
    my $different  = q{received 'true' but current is 'false'};
    my @cases      = (
        ['type',        q{received 'fanout' but current is 'direct'}, type => 'fanout'],
        ['durable',     $different, durable     => 1],
        ['auto_delete', $different, auto_delete => 1],
        ['internal',    $different, internal    => 1],
        [
            'alternate-exchange',
            q{received the value 'amq.fanout' of type 'longstr' but current is none},
            arguments => { 'alternate-exchange' => 'amq.fanout' },
        ],
    );
    for (@cases) {
        my ($argument, $difference, %options) = @$_;
        my $text = "inequivalent arg '$argument' for exchange '$exchange' in vhost '/': $difference";
        refused($session->open_channel($connection), 406, "PRECONDITION_FAILED - $text", sub ($channel) {
            attempt($channel, 'declare_exchange', exchange => $exchange, %options);
        });
    }
    call($session->open_channel($connection), 'declare_exchange', exchange => $exchange, type => 'direct');
};

scenario default_exchange => sub ($session) {
    my $channel = $session->channel;
    my ($first, $second) = map { $session->queue($channel, $_) } qw(first second);
    publish($channel, $first, 'to first');
    publish($channel, $second, 'to second');
    publish($channel, $session->name('nobody'), 'to nobody');
    equal(drain($channel, $first), ['to first'], 'first');
    equal(drain($channel, $second), ['to second'], 'second');
};

scenario direct_exchange => sub ($session) {
    my $channel  = $session->channel;
    my $exchange = $session->exchange($channel, 'direct');
    my ($errors, $everything) = map { $session->queue($channel, $_) } qw(errors everything);
    bind_queue($channel, $errors, $exchange, 'error');
    bind_queue($channel, $everything, $exchange, $_) for qw(info warning error error);
    publish_to($channel, $exchange, $_, $_) for qw(info warning error debug);
    equal(drain($channel, $errors), ['error'], 'errors');
    equal(drain($channel, $everything), [qw(info warning error)], 'everything');
};

scenario fanout_exchange => sub ($session) {
    my $channel  = $session->channel;
    my $exchange = $session->exchange($channel, 'fanout');
    my @queues   = map { $session->queue($channel, "queue-$_") } 1 .. 5;
    bind_queue($channel, $queues[$_], $exchange, "ignored-$_") for 0 .. $#queues;
    publish_to($channel, $exchange, '', 'one');
    publish_to($channel, $exchange, 'any.key', 'two');
    equal(drain($channel, $_), [qw(one two)], $_) for @queues;
};

scenario topic_exchange => sub ($session) {
    my @keys  = ('a.b.c', 'a.c', 'a', '', 'a..c', 'b');
    my %cases = (
        'a.b.c' => ['a.b.c'],
        'a..c'  => ['a..c'],
        'a.*.c' => ['a.b.c', 'a..c'],
        '*.b.*' => ['a.b.c'],
        '*.*.*' => ['a.b.c', 'a..c'],
        '*.*'   => ['a.c'],
        '*'     => ['a', 'b'],
        '#'     => \@keys,
        'a.#'   => ['a.b.c', 'a.c', 'a', 'a..c'],
        '#.c'   => ['a.b.c', 'a.c', 'a..c'],
        'a.#.c' => ['a.b.c', 'a.c', 'a..c'],
        'a.#.#' => ['a.b.c', 'a.c', 'a', 'a..c'],
        '#.b.#' => ['a.b.c', 'b'],
    );
    my $channel  = $session->channel;
    my $exchange = $session->exchange($channel, 'topic');
    my $once     = $session->queue($channel, 'one copy');
    for my $pattern (keys %cases) {
        bind_queue($channel, $session->queue($channel, "[$pattern]"), $exchange, $pattern);
        bind_queue($channel, $once, $exchange, $pattern);
    }
    publish_to($channel, $exchange, $_, $_) for @keys;
    equal(drain($channel, $session->name("[$_]")), $cases{$_}, "keys that $_ matches") for keys %cases;
    equal(drain($channel, $once), \@keys, 'one copy of each');
};

scenario headers_exchange => sub ($session) {
    my $channel  = $session->channel;
    my $exchange = $session->exchange($channel, 'headers');
    my %wanted   = (format => 'pdf', pages => integer(3), draft => Net::AMQP::Value::false);
    my %tiered   = (format => 'pdf', 'x-tier' => 'gold');
    my %bindings = (
        both         => { 'x-match' => 'all',        %wanted },
        either       => { 'x-match' => 'any',        %wanted },
        default      => {%wanted},
        'all'        => { 'x-match' => 'all',        %tiered },
        'all-with-x' => { 'x-match' => 'all-with-x', %tiered },
        'any-with-x' => { 'x-match' => 'any-with-x', %tiered },
    );
    bind_queue($channel, $session->queue($channel, $_), $exchange, '', %{ $bindings{$_} }) for keys %bindings;
    my @letters = (
        ['all',         { %wanted, extra => 'ignored' }],
        ['format only', { format => 'pdf', pages => integer(4) }],
        ['draft only',  { draft => Net::AMQP::Value::false }],
        ['none',        { format => 'zip', pages => integer(4), draft => Net::AMQP::Value::true }],
        ['no headers',  {}],
        ['tiered',      {%tiered}],
        ['tier only',   { 'x-tier' => 'gold' }],
    );
    publish_to($channel, $exchange, '', $_->[0], header => { headers => $_->[1] }) for @letters;
    my %expected = (
        both         => ['all'],
        either       => ['all', 'format only', 'draft only', 'tiered'],
        default      => ['all'],
        'all'        => ['all', 'format only', 'tiered'],
        'all-with-x' => ['tiered'],
        'any-with-x' => ['all', 'format only', 'tiered', 'tier only'],
    );
    equal(drain($channel, $session->name($_)), $expected{$_}, $_) for keys %expected;
};

scenario exchange_to_exchange => sub ($session) {
    my $channel = $session->channel;
    my $source  = $session->exchange($channel, 'topic',  'source');
    my $middle  = $session->exchange($channel, 'fanout', 'middle');
    my $queue   = $session->queue($channel);
    bind_exchange($channel, $middle, $source, 'orders.#');
    bind_exchange($channel, $source, $middle, '');
    bind_queue($channel, $queue, $middle);
    bind_queue($channel, $queue, $source, '#');
    publish_to($channel, $source, 'orders.new', 'both ways');
    publish_to($channel, $source, 'other',      'directly');
    equal(drain($channel, $queue), ['both ways', 'directly'], 'messages, one copy each');
    call($channel, 'unbind_exchange', destination => $middle, source => $source, routing_key => 'orders.#');
    unbind_queue($channel, $queue, $source, '#');
    publish_to($channel, $source, 'orders.new', 'nowhere');
    equal(drain($channel, $queue), [], 'messages after unbind');
};

scenario alternate_exchange => sub ($session) {
    my $channel = $session->channel;
    select_confirms($channel);
    my $fallback = $session->exchange($channel, 'fanout', 'fallback');
    my $exchange =
        $session->exchange($channel, 'direct', 'main', arguments => { 'alternate-exchange' => $fallback });
    my ($known, $unknown) = map { $session->queue($channel, $_) } qw(known unknown);
    bind_queue($channel, $known, $exchange, 'known');
    bind_queue($channel, $unknown, $fallback);
    for (['known', 'matched'], ['stray', 'not matched']) {
        my ($key, $body) = @$_;
        my ($confirm, $returned) =
            publish_confirmed($channel, exchange => $exchange, routing_key => $key, body => $body, mandatory => 1);
        equal([$confirm, $returned], ['ack', undef], "confirm and return of '$body'");
    }
    equal(drain($channel, $known), ['matched'], 'matched');
    my $stray = take($channel, $unknown);
    equal(
        [$stray->{method}->exchange, $stray->{method}->routing_key, $stray->{body}],
        [$exchange, 'stray', 'not matched'],
        'not matched',
    );
};

scenario internal_exchange => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    my $front      = $session->exchange($channel, 'direct', 'front');
    my $internal   = $session->exchange($channel, 'fanout', 'internal', internal => 1);
    my $queue      = $session->queue($channel);
    bind_exchange($channel, $internal, $front, 'in');
    bind_queue($channel, $queue, $internal);
    publish_to($channel, $front, 'in', 'through the front');
    equal(drain($channel, $queue), ['through the front'], 'messages');
    my $text = "ACCESS_REFUSED - cannot publish to internal exchange '$internal' in vhost '/'";
    refused($session->open_channel($connection), 403, $text, sub ($intruder) {
        publish_to($intruder, $internal, '', 'directly');
    });
    equal(drain($channel, $queue), [], 'messages after the refused publish');
};

scenario auto_delete_exchange => sub ($session) {
    my $connection = $session->connect;
    my $channel    = $session->open_channel($connection);
    my $exchange   = $session->exchange($channel, 'fanout', 'exchange', auto_delete => 1);
    my $queue      = $session->queue($channel);
    bind_queue($channel, $queue, $exchange, $_) for qw(one two);
    unbind_queue($channel, $queue, $exchange, 'one');
    call($channel, 'declare_exchange', exchange => $exchange, passive => 1);
    unbind_queue($channel, $queue, $exchange, 'two');
    refused($channel, 404, "NOT_FOUND - no exchange '$exchange' in vhost '/'", sub ($channel) {
        attempt($channel, 'declare_exchange', exchange => $exchange, passive => 1);
    });
};

scenario unbind => sub ($session) {
    my $channel  = $session->channel;
    my $exchange = $session->exchange($channel, 'headers');
    my $queue    = $session->queue($channel);
    my ($red, $blue) = map { { 'x-match' => 'all', colour => $_ } } qw(red blue);
    bind_queue($channel, $queue, $exchange, '', %$_) for $red, $blue;
    unbind_queue($channel, $queue, $exchange, '', %$red);
    unbind_queue($channel, $queue, $exchange, 'never bound', %$blue);
    publish_to($channel, $exchange, '', $_, header => { headers => { colour => $_ } }) for qw(red blue);
    equal(drain($channel, $queue), ['blue'], 'messages');
};

sub bound_inboxes($session, $channel, $exchange, @keys) {
    my @inboxes;
    for my $key (@keys) {
        my $queue = $session->queue($channel, "$exchange-" . @inboxes);
        bind_queue($channel, $queue, $exchange, $key);
        push @inboxes, consume($channel, $queue, no_ack => 1);
    }
    return @inboxes;
}

# Publishes pairs of key and headers; the place of the inbox that each came to, one copy of each.
sub spread($channel, $exchange, $inboxes, @messages) {
    my @already = map { $_->count } @$inboxes;
    my $total   = sub { my $sum = 0; $sum += $inboxes->[$_]->count - $already[$_] for 0 .. $#already; $sum };
    for my $number (0 .. $#messages) {
        my ($key, $headers) = @{ $messages[$number] };
        publish_to($channel, $exchange, $key, $number, header => { headers => $headers });
    }
    wait_until(sub { $total->() >= @messages }, 'every message arrives');
    my @places;
    for my $place (0 .. $#$inboxes) {
        my @new = @{ $inboxes->[$place]->bodies };
        for my $number (@new[$already[$place] .. $#new]) {
            check(!defined $places[$number], "message $number arrived twice");
            $places[$number] = $place;
        }
    }
    equal($total->(), scalar @messages, 'messages that arrived');
    return @places;
}

# How many came to each place, at least one.
sub shares(@places) {
    my @shares = (0) x SPREAD_QUEUES;
    $shares[$_]++ for @places;
    check(!(grep { $_ == 0 } @shares), "a queue got none of @shares");
    return @shares;
}

sub keys_of($count) {
    return map { ["key-$_", {}] } 1 .. $count;
}

scenario consistent_hash_exchange => sub ($session) {
    my $channel  = $session->channel;
    my $exchange = $session->exchange($channel, 'x-consistent-hash', 'by-key');
    # Keys that look like numbers are text all the same: a routing key is a short string.
    my @inboxes = bound_inboxes($session, $channel, $exchange, 1, 1, 4);
    my @places  = spread($channel, $exchange, \@inboxes, keys_of(1000));
    my @shares  = shares(@places);
    check($shares[2] > $shares[0] && $shares[2] > $shares[1], "the weight 4 did not get most of @shares");
    equal([spread($channel, $exchange, \@inboxes, keys_of(1000))], \@places, 'the same key to the same queue');

    $exchange =
        $session->exchange($channel, 'x-consistent-hash', 'by-header', arguments => { 'hash-header' => 'customer' });
    @inboxes = bound_inboxes($session, $channel, $exchange, 1, 1, 1);
    my @letters = map { ["key-$_", { customer => 'c' . int($_ / 4) }] } 0 .. 399;
    @places = spread($channel, $exchange, \@inboxes, @letters);
    shares(@places);
    equal(\@places, [map { $places[int($_ / 4) * 4] } 0 .. 399], 'the same header to the same queue');
};

scenario modulus_hash_exchange => sub ($session) {
    my $channel  = $session->channel;
    my $exchange = $session->exchange($channel, 'x-modulus-hash');
    my @inboxes  = bound_inboxes($session, $channel, $exchange, ('') x SPREAD_QUEUES);
    my @places   = spread($channel, $exchange, \@inboxes, keys_of(200));
    shares(@places);
    equal([spread($channel, $exchange, \@inboxes, keys_of(200))], \@places, 'the same key to the same queue');
};

scenario random_exchange => sub ($session) {
    my $channel  = $session->channel;
    my $exchange = $session->exchange($channel, 'x-random');
    my @inboxes  = bound_inboxes($session, $channel, $exchange, ('') x SPREAD_QUEUES);
    shares(spread($channel, $exchange, \@inboxes, (['one key', {}]) x 200));
};

scenario recent_history_exchange => sub ($session) {
    my $channel   = $session->channel;
    my %arguments = ('x-recent-history-length' => 5);
    my $exchange  = $session->exchange($channel, 'x-recent-history', 'exchange', arguments => \%arguments);
    publish_to($channel, $exchange, "key-$_", $_) for 0 .. 7;
    my ($inbox) = bound_inboxes($session, $channel, $exchange, '');
    publish_to($channel, $exchange, '', 'afterwards');
    equal($inbox->bodies(6), [3 .. 7, 'afterwards'], 'messages of a queue bound late');
};

scenario delayed_exchange => sub ($session) {
    my $channel   = $session->channel;
    my %arguments = ('x-delayed-type' => 'direct');
    my $exchange  = $session->exchange($channel, 'x-delayed-message', 'exchange', arguments => \%arguments);
    my $queue     = $session->queue($channel);
    bind_queue($channel, $queue, $exchange, 'key');
    my @arrivals;
    call(
        $channel, 'consume',
        queue      => $queue,
        on_consume => sub ($content) { push @arrivals, [$content->{body}->payload, now()]; changed() },
    );
    my $started = now();
    for my $delay (300, 100, 200, 0) {
        publish_to($channel, $exchange, 'key', $delay, header => { headers => { 'x-delay' => integer($delay) } });
    }
    publish_to($channel, $exchange, 'another key', 1, header => { headers => { 'x-delay' => integer(1) } });
    wait_until(sub { @arrivals >= 4 }, 'every message arrives');
    equal([map { $_->[0] } @arrivals], [0, 100, 200, 300], 'messages in the order of their delays');
    check($_->[1] - $started >= $_->[0] / 1000, "the message delayed by $_->[0] ms came too early") for @arrivals;
};

scenario sender_selected_keys => sub ($session) {
    my $channel  = $session->channel;
    my $exchange = $session->exchange($channel, 'direct');
    bind_queue($channel, $session->queue($channel, $_), $exchange, $_) for qw(to cc bcc);
    my %headers = (CC => [qw(cc to)], BCC => ['bcc'], kept => 'yes');
    publish_to($channel, $exchange, 'to', 'letter', header => { headers => \%headers });
    for my $key (qw(to cc bcc)) {
        my $queue   = $session->name($key);
        my $message = take($channel, $queue);
        equal([$message->{method}->routing_key, $message->{body}], [qw(to letter)], "message to $key");
        equal($message->{header}->headers, { CC => [qw(cc to)], kept => 'yes' }, "headers to $key");
        equal(drain($channel, $queue), [], "further copies to $key");
    }
};

1;
