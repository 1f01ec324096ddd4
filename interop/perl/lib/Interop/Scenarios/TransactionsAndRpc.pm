package Interop::Scenarios::TransactionsAndRpc;

use v5.36;

use Interop::Client;
use Interop::Expect;
use Interop::Harness qw(scenario lacking);

use constant {
    CALLS    => 100,
    REPLY_TO => 'amq.rabbitmq.reply-to',
};

# Takes a job in a transaction.
sub take_job($channel, $queue) {
    publish($channel, $queue, 'job');
    call($channel, 'select_tx');
    ack($channel, get($channel, $queue)->{method}->delivery_tag);
}

scenario tx_commit => sub ($session) {
    my $connection = $session->connect;
    my ($observer, $channel) = map { $session->open_channel($connection) } 1 .. 2;
    my ($queue, $done) = map { $session->queue($observer, $_) } qw(queue done);
    take_job($channel, $queue);
    publish($channel, $done, qw(one two));
    equal(drain($channel, $done), [], 'messages before the commit');
    call($channel, 'commit_tx');
    equal(drain($observer, $done), [qw(one two)], 'messages after the commit');
    call($channel, 'close');
    equal(drain($observer, $queue), [], 'jobs left');
    refused(
        $session->open_channel($connection), 406,
        'PRECONDITION_FAILED - channel is not transactional',
        sub ($channel) { attempt($channel, 'commit_tx') },
    );
    refused(
        $session->open_channel($connection), 406,
        'PRECONDITION_FAILED - cannot switch from tx to confirm mode',
        sub ($channel) { call($channel, 'select_tx'); attempt($channel, 'confirm') },
    );
};

scenario tx_rollback => sub ($session) {
    my $connection = $session->connect;
    my ($observer, $channel) = map { $session->open_channel($connection) } 1 .. 2;
    my ($queue, $done) = map { $session->queue($observer, $_) } qw(queue done);
    take_job($channel, $queue);
    publish($channel, $done, 'dropped');
    call($channel, 'rollback_tx');
    equal(drain($channel, $done), [], 'messages after the rollback');
    equal(drain($observer, $queue), [], 'the job is still held');
    publish($channel, $done, 'kept');
    call($channel, 'commit_tx');
    call($channel, 'close');
    equal(drain($observer, $done), ['kept'], 'messages of the next transaction');
    equal(drain_marked($observer, $queue), ['job again'], 'the job comes back');
};

# Answers each request with twice its number, wherever it wants the answer.
sub serve_doubles($channel, $requests) {
    my $answer = sub ($content) {
        my $given = $content->{header};
        my $double = 2 * $content->{body}->payload;
        publish_with($channel, $given->reply_to, { correlation_id => $given->correlation_id }, $double);
        ack($channel, $content->{deliver}->method_frame->delivery_tag);
    };
    call($channel, 'consume', queue => $requests, no_ack => 0, on_consume => $answer);
}

sub call_hundred_times($replies, $reply_to, $requests) {
    for my $number (0 .. CALLS - 1) {
        my %header = (reply_to => $reply_to, correlation_id => "call-$number");
        publish_with($replies->channel, $requests, \%header, $number);
        $replies->wait($number + 1);
    }
    my @answers = map { [$_->{header}->correlation_id, $_->{body}] } $replies->wait(CALLS);
    equal(\@answers, [map { ["call-$_", 2 * $_] } 0 .. CALLS - 1], 'answers');
}

scenario rpc_reply_queue => sub ($session) {
    my ($server, $caller) = ($session->channel, $session->channel);
    my $requests = $session->shared_queue($caller, 'requests');
    serve_doubles($server, $requests);
    my $reply_queue = call($caller, 'declare_queue', exclusive => 1)->method_frame->queue;
    call_hundred_times(consume($caller, $reply_queue, no_ack => 1), $reply_queue, $requests);
};

scenario direct_reply_to => sub ($session) {
    my ($server, $observer, $calling) = ($session->channel, $session->channel, $session->connect);
    my $caller   = $session->open_channel($calling);
    my $requests = $session->shared_queue($caller, 'requests');
    my $replies  = consume($caller, REPLY_TO, no_ack => 1);
    publish_with($caller, $requests, { reply_to => REPLY_TO }, 'where?');
    await_ready($observer, $requests, 1);
    my $address = take($observer, $requests)->{header}->reply_to;
    check($address =~ /^amq\.rabbitmq\.reply-to\../, "reply_to as the server sees it: $address");
    my $there = look_at($observer, $address);
    equal([$there->message_count, $there->consumer_count], [0, 1], 'the caller is there');
    serve_doubles($server, $requests);
    call_hundred_times($replies, REPLY_TO, $requests);
    equal($_->{method}->exchange, '', 'exchange of a reply') for $replies->wait(CALLS);
    call($calling, 'close');
    refused($observer, 404, "NOT_FOUND - no queue '$address' in vhost '/'", sub ($channel) {
        attempt($channel, 'declare_queue', queue => $address, passive => 1);
    });
};

scenario direct_reply_to_errors => sub ($session) {
    my $connection = $session->connect;
    my $refused    = sub ($text, $use) {
        refused($session->open_channel($connection), 406, "PRECONDITION_FAILED - $text", $use);
    };
    $refused->('reply consumer cannot acknowledge', sub ($channel) {
        attempt($channel, 'consume', queue => REPLY_TO, no_ack => 0);
    });
    $refused->('reply consumer already set', sub ($channel) {
        attempt($channel, 'consume', queue => REPLY_TO, no_ack => 1) for 1 .. 2;
    });
    $refused->('fast reply consumer does not exist', sub ($channel) {
        publish_with($channel, $session->name('nobody'), { reply_to => REPLY_TO }, '');
    });
};

1;
