<?php

declare(strict_types=1);

namespace Interop;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Message\AMQPMessage;

const REPLY_TO = 'amq.rabbitmq.reply-to';

scenario('tx_commit', function (Session $session): void {
    $connection = $session->connect();
    $observer = $connection->channel();
    $channel = $connection->channel();
    $queue = $session->queue($observer);
    $done = $session->queue($observer, 'done');
    publish($observer, $queue, 'job');
    await_ready($observer, $queue, 1);
    $channel->tx_select();
    $job = $channel->basic_get($queue);
    publish($channel, $done, 'one', 'two');
    $job->ack();
    equal(drain($channel, $done), [], 'messages before the commit');
    $channel->tx_commit();
    equal(drain($observer, $done), ['one', 'two'], 'messages after the commit');
    $channel->close();
    equal(drain($observer, $queue), [], 'jobs left');
    channel_error(
        406,
        'PRECONDITION_FAILED - channel is not transactional',
        fn () => $connection->channel()->tx_commit()
    );
    channel_error(
        406,
        'PRECONDITION_FAILED - cannot switch from tx to confirm mode',
        function () use ($connection): void {
            $both = $connection->channel();
            $both->tx_select();
            $both->confirm_select();
        }
    );
});

scenario('tx_rollback', function (Session $session): void {
    $connection = $session->connect();
    $observer = $connection->channel();
    $channel = $connection->channel();
    $queue = $session->queue($observer);
    $done = $session->queue($observer, 'done');
    publish($observer, $queue, 'job');
    await_ready($observer, $queue, 1);
    $channel->tx_select();
    $job = $channel->basic_get($queue);
    publish($channel, $done, 'dropped');
    $job->ack();
    $channel->tx_rollback();
    equal(drain($observer, $done), [], 'messages after the rollback');
    equal(drain($observer, $queue), [], 'the job is still held');
    publish($channel, $done, 'kept');
    $channel->tx_commit();
    $channel->close();
    equal(drain($observer, $done), ['kept'], 'messages of the next transaction');
    $job = $observer->basic_get($queue, true);
    equal([$job->getBody(), $job->isRedelivered()], ['job', true], 'the job comes back');
});

/** Answers each request with twice its number, wherever it wants the answer. */
function serve_doubles(AMQPChannel $channel, string $requests): void
{
    $channel->basic_consume($requests, callback: function (AMQPMessage $request) use ($channel): void {
        $properties = ['correlation_id' => $request->get('correlation_id')];
        $answer = new AMQPMessage((string) (2 * (int) $request->getBody()), $properties);
        $channel->basic_publish($answer, '', $request->get('reply_to'));
        $request->ack();
    });
}

function call_hundred_times(Inbox $replies, string $reply_to, string $requests, AMQPChannel $server): void
{
    for ($n = 0; $n < 100; $n++) {
        $request = new AMQPMessage((string) $n, ['reply_to' => $reply_to, 'correlation_id' => "call-$n"]);
        $replies->channel->basic_publish($request, '', $requests);
        $server->wait();
        $replies->wait($n + 1);
    }
    foreach ($replies->messages as $n => $reply) {
        equal([$reply->get('correlation_id'), $reply->getBody()], ["call-$n", (string) (2 * $n)], 'answer');
    }
    equal(count($replies->messages), 100, 'answers');
}

scenario('rpc_reply_queue', function (Session $session): void {
    $server = $session->channel();
    $caller = $session->channel();
    $requests = $session->sharedQueue($caller, 'requests');
    serve_doubles($server, $requests);
    [$reply_queue] = $caller->queue_declare('', exclusive: true);
    $replies = new Inbox($caller, $reply_queue, no_ack: true);
    call_hundred_times($replies, $reply_queue, $requests, $server);
});

scenario('direct_reply_to', function (Session $session): void {
    $connection = $session->connect();
    $observer = $connection->channel();
    $caller = $session->channel();
    $requests = $session->sharedQueue($caller, 'requests');
    $replies = new Inbox($caller, REPLY_TO, no_ack: true);
    $caller->basic_publish(new AMQPMessage('', ['reply_to' => REPLY_TO]), '', $requests);
    await_ready($caller, $requests, 1);
    $address = $observer->basic_get($requests, true)->get('reply_to');
    equal(str_starts_with($address, REPLY_TO . '.'), true, "reply_to as the server sees it is $address");
    equal($observer->queue_declare($address, passive: true), [$address, 0, 1], 'the caller is there');
    $server = $connection->channel();
    serve_doubles($server, $requests);
    call_hundred_times($replies, REPLY_TO, $requests, $server);
    $exchanges = array_map(fn (AMQPMessage $reply) => $reply->getExchange(), $replies->messages);
    equal(array_unique($exchanges), [''], 'exchange of the replies');
    $caller->getConnection()->close();
    channel_error(
        404,
        "NOT_FOUND - no queue '$address' in vhost '/'",
        fn () => $observer->queue_declare($address, passive: true)
    );
});

scenario('direct_reply_to_errors', function (Session $session): void {
    $connection = $session->connect();
    channel_error(
        406,
        'PRECONDITION_FAILED - reply consumer cannot acknowledge',
        fn () => new Inbox($connection->channel(), REPLY_TO)
    );
    channel_error(406, 'PRECONDITION_FAILED - reply consumer already set', function () use ($connection): void {
        $channel = $connection->channel();
        new Inbox($channel, REPLY_TO, no_ack: true);
        new Inbox($channel, REPLY_TO, no_ack: true);
    });
    channel_error(
        406,
        'PRECONDITION_FAILED - fast reply consumer does not exist',
        fn () => publish_and_ask($connection->channel(), '', new AMQPMessage('', ['reply_to' => REPLY_TO]))
    );
});
