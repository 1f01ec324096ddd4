<?php

declare(strict_types=1);

namespace Interop;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Message\AMQPMessage;

const NO_QUEUE = "NOT_FOUND - no queue 'nothing' in vhost '/'";
const NO_EXCHANGE = "NOT_FOUND - no exchange 'nothing' in vhost '/'";

/** What the broker refuses without an answer of its own, and an operation after it that tells. */
function publish_and_ask(
    AMQPChannel $channel,
    string $exchange,
    AMQPMessage $message = new AMQPMessage('refused')
): void {
    $channel->basic_publish($message, $exchange, 'key');
    $channel->basic_qos(0, 1, false);
}

scenario('channel_open_close', function (Session $session): void {
    $connection = $session->connect();
    for ($n = 0; $n < 200; $n++) {
        $channel = $connection->channel();
        equal($channel->getChannelId(), 1, 'channel number');
        $channel->close();
    }
});

scenario('thousand_channels', function (Session $session): void {
    $connection = $session->connect();
    $publisher = $session->channel();
    $queue = $session->sharedQueue($publisher);
    $inboxes = [];
    for ($n = 0; $n < 1000; $n++) {
        $channel = $connection->channel();
        $channel->basic_qos(0, 1, false);
        $inboxes[] = new Inbox($channel, $queue);
    }
    publish($publisher, $queue, ...array_map(strval(...), range(0, 999)));
    $received = [];
    foreach ($inboxes as $inbox) {
        array_push($received, ...array_map(intval(...), $inbox->bodies(1)));
    }
    sort($received);
    equal($received === range(0, 999), true, 'every message arrived over one of the channels');
    foreach ($inboxes as $inbox) {
        $inbox->messages[0]->ack();
        $inbox->channel->close();
        equal(count($inbox->messages), 1, 'deliveries of a channel');
    }
    equal(drain($publisher, $queue), [], 'messages left');
});

scenario('error_closes_only_the_channel', function (Session $session): void {
    $connection = $session->connect();
    $healthy = $connection->channel();
    $faulty = $connection->channel();
    $queue = $session->queue($healthy, 'healthy');
    $inbox = new Inbox($healthy, $queue);
    $held = $session->queue($healthy, 'held');
    publish($faulty, $held, 'unsettled');
    equal($faulty->basic_get($held)->getBody(), 'unsettled', 'message held');
    $number = $faulty->getChannelId();
    channel_error(404, NO_QUEUE, fn () => $faulty->queue_declare('nothing', passive: true));
    publish($healthy, $queue, 'still here');
    equal($inbox->bodies(1), ['still here'], 'messages of the other channel');
    equal($connection->channel()->getChannelId(), $number, 'number used again');
    $message = $healthy->basic_get($held, true);
    equal([$message->getBody(), $message->isRedelivered()], ['unsettled', true], 'message of the closed channel');
});

scenario('not_found', function (Session $session): void {
    $connection = $session->connect();
    $owner = $connection->channel();
    $queue = $session->queue($owner);
    $exchange = $session->exchange($owner, 'direct');
    foreach (
        [
            [NO_QUEUE, fn (AMQPChannel $channel) => $channel->queue_declare('nothing', passive: true)],
            [NO_QUEUE, fn (AMQPChannel $channel) => $channel->basic_get('nothing')],
            [NO_QUEUE, fn (AMQPChannel $channel) => new Inbox($channel, 'nothing')],
            [NO_QUEUE, fn (AMQPChannel $channel) => $channel->queue_purge('nothing')],
            [NO_QUEUE, fn (AMQPChannel $channel) => $channel->queue_bind('nothing', $exchange, 'key')],
            [NO_EXCHANGE, fn (AMQPChannel $channel) => $channel->queue_bind($queue, 'nothing', 'key')],
            [NO_EXCHANGE, fn (AMQPChannel $channel) => $channel->exchange_declare('nothing', 'direct', passive: true)],
            [NO_EXCHANGE, fn (AMQPChannel $channel) => $channel->exchange_bind($exchange, 'nothing', 'key')],
            [NO_EXCHANGE, fn (AMQPChannel $channel) => publish_and_ask($channel, 'nothing')],
            ['NOT_FOUND - no previously declared queue', fn (AMQPChannel $channel) => new Inbox($channel, '')],
        ] as [$text, $attempt]
    ) {
        channel_error(404, $text, fn () => $attempt($connection->channel()));
    }
    equal($connection->isConnected(), true, 'connection open');
});

scenario('access_refused', function (Session $session): void {
    $connection = $session->connect();
    $owner = $connection->channel();
    $queue = $session->queue($owner);
    $internal = $session->exchange($owner, 'fanout', internal: true);
    $reserved = "name 'amq.interop' contains reserved prefix 'amq.*'";
    $default_exchange = 'ACCESS_REFUSED - operation not permitted on the default exchange';
    $no_publish = "ACCESS_REFUSED - cannot publish to internal exchange '$internal' in vhost '/'";
    foreach (
        [
            ["ACCESS_REFUSED - queue $reserved", fn (AMQPChannel $channel) => $channel->queue_declare('amq.interop')],
            [
                "ACCESS_REFUSED - exchange $reserved",
                fn (AMQPChannel $channel) => $channel->exchange_declare('amq.interop', 'direct'),
            ],
            [$default_exchange, fn (AMQPChannel $channel) => $channel->queue_bind($queue, '', 'key')],
            [$default_exchange, fn (AMQPChannel $channel) => $channel->queue_unbind($queue, '', 'key')],
            [$default_exchange, fn (AMQPChannel $channel) => $channel->exchange_delete('')],
            [$no_publish, fn (AMQPChannel $channel) => publish_and_ask($channel, $internal)],
        ] as [$text, $attempt]
    ) {
        channel_error(403, $text, fn () => $attempt($connection->channel()));
    }
});

function resource_locked(string $queue): string
{
    $text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '$queue' in vhost '/'. It could be " .
        'originally declared on another connection or the exclusive property value does not match that of the ' .
        'original declaration.';
    return substr($text, 0, 255);
}

scenario('resource_locked', function (Session $session): void {
    $owner = $session->channel();
    $queue = $session->queue($owner);
    $intruder = $session->connect();
    foreach (
        [
            fn (AMQPChannel $channel) => $channel->queue_declare($queue, exclusive: true, auto_delete: false),
            fn (AMQPChannel $channel) => $channel->queue_declare($queue, passive: true),
            fn (AMQPChannel $channel) => $channel->basic_get($queue),
            fn (AMQPChannel $channel) => new Inbox($channel, $queue),
            fn (AMQPChannel $channel) => $channel->queue_purge($queue),
            fn (AMQPChannel $channel) => $channel->queue_delete($queue),
            fn (AMQPChannel $channel) => $channel->queue_bind($queue, 'amq.fanout'),
        ] as $attempt
    ) {
        channel_error(405, resource_locked($queue), fn () => $attempt($intruder->channel()));
    }
    publish($owner, $queue, 'mine');
    equal(drain($owner, $queue), ['mine'], 'messages of the owner');
});

scenario('precondition_failed', function (Session $session): void {
    $connection = $session->connect();
    $owner = $connection->channel();
    $queue = $session->queue($owner);
    $exchange = $session->exchange($owner, 'fanout');
    $owner->queue_bind($queue, $exchange);
    $acknowledge = function (AMQPChannel $channel, int ...$tags) use ($queue): void {
        foreach ($tags as $tag) {
            $channel->basic_ack($tag);
        }
        counts($channel, $queue);
    };
    channel_error(
        406,
        'PRECONDITION_FAILED - unknown delivery tag 99',
        fn () => $acknowledge($connection->channel(), 99)
    );
    publish($owner, $queue, 'once');
    await_ready($owner, $queue, 1);
    $channel = $connection->channel();
    $tag = $channel->basic_get($queue)->getDeliveryTag();
    channel_error(406, 'PRECONDITION_FAILED - unknown delivery tag 1', fn () => $acknowledge($channel, $tag, $tag));
    publish($owner, $queue, 'kept');
    await_ready($owner, $queue, 1);
    channel_error(
        406,
        "PRECONDITION_FAILED - queue '$queue' in vhost '/' not empty",
        fn () => $connection->channel()->queue_delete($queue, if_empty: true)
    );
    new Inbox($owner, $queue);
    channel_error(
        406,
        "PRECONDITION_FAILED - queue '$queue' in vhost '/' in use",
        fn () => $connection->channel()->queue_delete($queue, if_unused: true)
    );
    channel_error(
        406,
        "PRECONDITION_FAILED - exchange '$exchange' in vhost '/' in use",
        fn () => $connection->channel()->exchange_delete($exchange, if_unused: true)
    );
});

lacking('duplicate_consumer_tag', 'php-amqplib refuses the second use itself, before the broker sees it');

scenario('not_implemented', function (Session $session): void {
    $bystander = $session->channel();
    $queue = $session->queue($bystander);
    foreach (
        [
            'prefetch_size!=0 (1024)' => fn (AMQPChannel $channel) => $channel->basic_qos(1024, 0, false),
            'requeue=false' => fn (AMQPChannel $channel) => $channel->basic_recover(false),
            'active=false' => fn (AMQPChannel $channel) => $channel->flow(false),
        ] as $what => $attempt
    ) {
        connection_error(540, "NOT_IMPLEMENTED - $what", fn () => $attempt($session->channel()));
    }
    publish($bystander, $queue, 'untouched');
    equal(drain($bystander, $queue), ['untouched'], 'messages of another connection');
});
