<?php

declare(strict_types=1);

namespace Interop;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

scenario('queue_declare', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->name('queue');
    $declare = fn () => $channel->queue_declare($queue, exclusive: true, auto_delete: false);
    equal($declare(), [$queue, 0, 0], 'declare-ok');
    equal($declare(), [$queue, 0, 0], 'declare-ok of the second time');
    publish($channel, $queue, 'a', 'b', 'c');
    await_ready($channel, $queue, 3);
    equal($channel->queue_declare($queue, passive: true), [$queue, 3, 0], 'passive declare-ok');
    (new Inbox($channel, $queue))->wait(3);
    equal($declare(), [$queue, 0, 1], 'declare-ok with a consumer');
});

scenario('queue_mismatch', function (Session $session): void {
    $connection = $session->connect();
    $owner = $connection->channel();
    $ttl = ['x-message-ttl' => 60000];
    $plain = $session->sharedQueue($owner, 'plain');
    $limited = $session->sharedQueue($owner, 'limited', $ttl);
    $declare = fn (string $queue, mixed ...$options) =>
        $connection->channel()->queue_declare($queue, ...['auto_delete' => false, ...$options]);
    $flag = "received 'true' but current is 'false'";
    $value = "the value '60000' of type 'signedint'";
    foreach (
        [
            ['durable', $flag, $plain, ['durable' => true]],
            ['auto_delete', $flag, $plain, ['auto_delete' => true]],
            ['x-message-ttl', "received $value but current is none", $plain, ['arguments' => new AMQPTable($ttl)]],
            ['x-message-ttl', "received none but current is $value", $limited, []],
        ] as [$argument, $difference, $queue, $options]
    ) {
        $text = "PRECONDITION_FAILED - inequivalent arg '$argument' for queue '$queue' in vhost '/': $difference";
        channel_error(406, $text, fn () => $declare($queue, ...$options));
    }
    channel_error(405, resource_locked($plain), fn () => $declare($plain, exclusive: true));
    equal($declare($limited, arguments: new AMQPTable($ttl)), [$limited, 0, 0], 'same again');
});

scenario('server_named_queue', function (Session $session): void {
    $channel = $session->channel();
    [$other] = $channel->queue_declare('', exclusive: true);
    [$queue] = $channel->queue_declare('', exclusive: true);
    equal(str_starts_with($queue, 'amq.gen-'), true, "server-named queue is called $queue");
    equal($other === $queue, false, 'two server-named queues have one name');
    equal($channel->queue_declare($queue, passive: true), [$queue, 0, 0], 'passive declare-ok');
    $channel->queue_bind('', 'amq.direct', $session->name('key'));
    $channel->basic_publish(new AMQPMessage('to the last declared'), 'amq.direct', $session->name('key'));
    equal(drain($channel, $queue), ['to the last declared'], 'messages');
});

scenario('queue_purge_and_delete', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    publish($channel, $queue, 'a', 'b', 'c');
    equal($channel->queue_purge($queue), 3, 'purged');
    equal(drain($channel, $queue), [], 'messages after the purge');
    publish($channel, $queue, 'd', 'e');
    equal($channel->queue_delete($queue), 2, 'messages deleted with the queue');
    equal($channel->queue_delete($queue), 0, 'messages deleted with no queue');
    $channel->exchange_delete($session->name('never declared'));
    equal($channel->is_open(), true, 'channel open');
});

scenario('exclusive_queue', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $queue = $session->queue($channel);
    equal(counts($channel, $queue), [0, 0], 'the queue is there');
    $connection->close();
    $no_queue = "NOT_FOUND - no queue '$queue' in vhost '/'";
    channel_error(404, $no_queue, fn () => $session->channel()->queue_declare($queue, passive: true));
});

scenario('auto_delete_queue', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $queue = $session->sharedQueue($channel, autoDelete: true);
    publish($channel, $queue, 'without a consumer');
    $first = new Inbox($channel, $queue);
    $last = new Inbox($channel, $queue);
    $channel->basic_cancel($first->tag);
    equal(counts($channel, $queue)[1], 1, 'consumers');
    $channel->basic_cancel($last->tag);
    $publisher = $connection->channel();
    $publisher->confirm_select();
    eventually('the queue is gone', fn () => !is_reached($publisher, $queue));
});

/** Whether a mandatory message reaches the queue: other than a passive declare, that does not count as its use. */
function is_reached(AMQPChannel $confirming, string $queue): bool
{
    $returned = false;
    $confirming->set_return_listener(function () use (&$returned): void {
        $returned = true;
    });
    $confirming->basic_publish(new AMQPMessage('probe'), '', $queue, mandatory: true);
    $confirming->wait_for_pending_acks_returns();
    return !$returned;
}

scenario('message_ttl', function (Session $session): void {
    $channel = $session->confirmingChannel();
    $brief = $session->queue($channel, 'brief', ['x-message-ttl' => 150]);
    $lasting = $session->queue($channel, 'lasting', ['x-message-ttl' => 60000]);
    $started = microtime(true);
    foreach (
        [[$brief, null], [$brief, '60000'], [$lasting, '150'], [$lasting, '60000'], [$lasting, null]] as
        [$queue, $expiration]
    ) {
        $message = new AMQPMessage('expiration ' . shown($expiration), ['expiration' => $expiration]);
        $channel->basic_publish($message, '', $queue);
    }
    $channel->wait_for_pending_acks();
    await_ready($channel, $brief, 0);
    await_ready($channel, $lasting, 2);
    equal(microtime(true) - $started >= 0.15, true, 'the TTL has passed');
    equal(drain($channel, $lasting), ['expiration "60000"', 'expiration null'], 'younger messages');
    foreach (['soon' => 'no_integer', '10s' => '{leftover_string,"s"}'] as $expiration => $problem) {
        $message = new AMQPMessage('', ['expiration' => $expiration]);
        channel_error(
            406,
            "PRECONDITION_FAILED - invalid expiration '$expiration': $problem",
            fn () => publish_and_ask($session->channel(), '', $message)
        );
    }
});

scenario('queue_expires', function (Session $session): void {
    $channel = $session->channel();
    $publisher = $channel->getConnection()->channel();
    $publisher->confirm_select();
    $consumed = $session->queue($channel, 'consumed', ['x-expires' => 200]);
    $inbox = new Inbox($channel, $consumed);
    $started = microtime(true);
    $unused = $session->queue($channel, 'unused', ['x-expires' => 200]);
    eventually('the unused queue is gone', fn () => !is_reached($publisher, $unused));
    equal(microtime(true) - $started >= 0.2, true, 'its time has passed');
    equal(is_reached($publisher, $consumed), true, 'the queue with a consumer is there');
    $inbox->wait(1);
    $channel->basic_cancel($inbox->tag);
    eventually('the queue without its consumer is gone', fn () => !is_reached($publisher, $consumed));
});

scenario('max_length', function (Session $session): void {
    $channel = $session->confirmingChannel();
    $by_count = $session->queue($channel, 'count', ['x-max-length' => 3]);
    $by_bytes = $session->queue($channel, 'bytes', ['x-max-length-bytes' => 10]);
    publish($channel, $by_count, '1', '2', '3', '4', '5');
    publish($channel, $by_bytes, 'aaaa', 'bbbb', 'cccccc', 'dddd');
    $channel->wait_for_pending_acks();
    equal(drain($channel, $by_count), ['3', '4', '5'], 'the last three messages');
    equal(drain($channel, $by_bytes), ['cccccc', 'dddd'], 'the last ten bytes');
});

scenario('priority_queue', function (Session $session): void {
    $channel = $session->confirmingChannel();
    $queue = $session->queue($channel, arguments: ['x-max-priority' => 10]);
    foreach ([null, 5, 0, 10, 255, 1, 5, 11, 9, null] as $n => $priority) {
        $channel->basic_publish(new AMQPMessage("$n: $priority", ['priority' => $priority]), '', $queue);
    }
    $channel->wait_for_pending_acks();
    $expected = ['3: 10', '4: 255', '7: 11', '8: 9', '1: 5', '6: 5', '5: 1', '0: ', '2: 0', '9: '];
    equal((new Inbox($channel, $queue))->bodies(10), $expected, 'messages by priority');
});

scenario('single_active_consumer', function (Session $session): void {
    $observer = $session->channel();
    $queue = $session->sharedQueue($observer, arguments: ['x-single-active-consumer' => true]);
    $first = new Inbox($session->channel(), $queue);
    $second = new Inbox($session->channel(), $queue);
    $third = new Inbox($second->channel, $queue);
    publish($observer, $queue, '1', '2', '3', '4', '5');
    equal($first->bodies(5), ['1', '2', '3', '4', '5'], 'messages of the first consumer');
    $first->messages[3]->ack(true);
    $first->channel->getConnection()->close();
    publish($observer, $queue, '6');
    equal($second->bodies(2), ['5', '6'], 'messages of the next consumer');
    equal($second->flags(), [true, false], 'redelivered');
    $second->channel->basic_cancel($second->tag);
    publish($observer, $queue, '7');
    equal($third->bodies(1), ['7'], 'messages of the last consumer');
    equal([count($first->messages), count($second->messages)], [5, 2], 'messages of the others');
});

scenario('quorum_queue', function (Session $session): void {
    $channel = $session->confirmingChannel();
    $dead = $session->queue($channel, 'dead');
    $arguments = [
        'x-queue-type' => 'quorum',
        'x-delivery-limit' => 2,
        'x-dead-letter-exchange' => '',
        'x-dead-letter-routing-key' => $dead,
    ];
    $queue = $session->sharedQueue($channel, arguments: $arguments, durable: true);
    publish($channel, $queue, 'poison');
    $channel->wait_for_pending_acks();
    $inbox = new Inbox($channel, $queue);
    $letters = new Inbox($channel, $dead);
    for ($n = 1; $n <= 3; $n++) {
        $inbox->wait($n);
        $inbox->last()->reject(true);
    }
    [$letter] = $letters->wait(1);
    $counts = array_map(fn (AMQPMessage $message) => headers($message)['x-delivery-count'] ?? null, $inbox->messages);
    equal($counts, [null, 1, 2], 'x-delivery-count of the deliveries');
    equal($inbox->flags(), [false, true, true], 'redelivered');
    [$death] = headers($letter)['x-death'];
    equal([$letter->getBody(), $death['reason'], $death['queue']], ['poison', 'delivery_limit', $queue], 'dead letter');
});

scenario('long_and_unicode_names', function (Session $session): void {
    $channel = $session->channel();
    $long = str_pad($session->name('long'), 255, 'x');
    equal($channel->queue_declare($long, exclusive: true)[0], $long, 'long name');
    publish($channel, $long, 'long');
    equal(drain($channel, $long), ['long'], 'messages of the long name');

    $queue = $session->queue($channel, 'зайчонок-野兎-🐇');
    equal($channel->queue_declare($queue, passive: true)[0], $queue, 'name outside ASCII');
    $exchange = $session->exchange($channel, 'topic', 'größe');
    $channel->queue_bind($queue, $exchange, 'straße.*');
    $channel->basic_publish(new AMQPMessage('unicode'), $exchange, 'straße.жук');
    $message = $channel->basic_get($queue, true);
    $received = [$message->getExchange(), $message->getRoutingKey(), $message->getBody()];
    equal($received, [$exchange, 'straße.жук', 'unicode'], 'message');
});
