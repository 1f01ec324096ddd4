<?php

declare(strict_types=1);

namespace Interop;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

scenario('predeclared_exchanges', function (Session $session): void {
    $channel = $session->channel();
    foreach (
        [
            'amq.direct' => 'direct',
            'amq.fanout' => 'fanout',
            'amq.topic' => 'topic',
            'amq.headers' => 'headers',
            'amq.match' => 'headers',
        ] as $name => $type
    ) {
        $channel->exchange_declare($name, $type, passive: true);
        $channel->exchange_declare($name, $type, durable: true, auto_delete: false);
    }
    equal($channel->is_open(), true, 'channel open');
});

scenario('exchange_mismatch', function (Session $session): void {
    $connection = $session->connect();
    $exchange = $session->exchange($connection->channel(), 'direct');
    $declare = fn (mixed ...$options) => $connection->channel()->exchange_declare(
        ...['exchange' => $exchange, 'type' => 'direct', 'auto_delete' => false, ...$options]
    );
    $flag = "received 'true' but current is 'false'";
    foreach (
        [
            ['type', "received 'fanout' but current is 'direct'", ['type' => 'fanout']],
            ['durable', $flag, ['durable' => true]],
            ['auto_delete', $flag, ['auto_delete' => true]],
            ['internal', $flag, ['internal' => true]],
            [
                'alternate-exchange',
                "received the value 'amq.fanout' of type 'longstr' but current is none",
                ['arguments' => new AMQPTable(['alternate-exchange' => 'amq.fanout'])],
            ],
        ] as [$argument, $difference, $options]
    ) {
        $text = "PRECONDITION_FAILED - inequivalent arg '$argument' for exchange '$exchange' in vhost '/': $difference";
        channel_error(406, $text, fn () => $declare(...$options));
    }
    $declare();
});

scenario('default_exchange', function (Session $session): void {
    $channel = $session->channel();
    $first = $session->queue($channel, 'first');
    $second = $session->queue($channel, 'second');
    publish($channel, $first, 'to first');
    publish($channel, $second, 'to second');
    publish($channel, $session->name('nobody'), 'to nobody');
    equal(drain($channel, $first), ['to first'], 'first');
    equal(drain($channel, $second), ['to second'], 'second');
});

scenario('direct_exchange', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'direct');
    $errors = $session->queue($channel, 'errors');
    $everything = $session->queue($channel, 'everything');
    $channel->queue_bind($errors, $exchange, 'error');
    foreach (['info', 'warning', 'error', 'error'] as $severity) {
        $channel->queue_bind($everything, $exchange, $severity);
    }
    foreach (['info', 'warning', 'error', 'debug'] as $severity) {
        $channel->basic_publish(new AMQPMessage($severity), $exchange, $severity);
    }
    equal(drain($channel, $errors), ['error'], 'errors');
    equal(drain($channel, $everything), ['info', 'warning', 'error'], 'everything');
});

scenario('fanout_exchange', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'fanout');
    $queues = array_map(fn (int $n) => $session->queue($channel, "queue-$n"), range(0, 4));
    foreach ($queues as $n => $queue) {
        $channel->queue_bind($queue, $exchange, "ignored-$n");
    }
    $channel->basic_publish(new AMQPMessage('one'), $exchange);
    $channel->basic_publish(new AMQPMessage('two'), $exchange, 'any.key');
    foreach ($queues as $queue) {
        equal(drain($channel, $queue), ['one', 'two'], $queue);
    }
});

const TOPIC_CASES = [
    'a.b.c' => ['a.b.c', 'a.*.c', '*.b.*', '*.*.*', '#', 'a.#', '#.c', 'a.#.c', 'a.#.#', '#.b.#'],
    'a.c' => ['#', 'a.#', '#.c', 'a.#.c', 'a.#.#', '*.*'],
    'a' => ['#', 'a.#', '*', 'a.#.#'],
    '' => ['#'],
    'a..c' => ['a.*.c', '*.*.*', '#', 'a.#', '#.c', 'a.#.c', 'a.#.#', 'a..c'],
    'b' => ['#', '*', '#.b.#'],
];

scenario('topic_exchange', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'topic');
    $once = $session->queue($channel, 'one copy');
    $queues = [];
    foreach (array_unique(array_merge(...array_values(TOPIC_CASES))) as $pattern) {
        $queues[$pattern] = $session->queue($channel, "[$pattern]");
        $channel->queue_bind($queues[$pattern], $exchange, $pattern);
        $channel->queue_bind($once, $exchange, $pattern);
    }
    foreach (array_keys(TOPIC_CASES) as $key) {
        $channel->basic_publish(new AMQPMessage($key), $exchange, $key);
    }
    foreach ($queues as $pattern => $queue) {
        $expected = array_keys(array_filter(TOPIC_CASES, fn (array $matching) => in_array($pattern, $matching, true)));
        equal(drain($channel, $queue), $expected, "keys that $pattern matches");
    }
    equal(drain($channel, $once), array_keys(TOPIC_CASES), 'one copy of each');
});

scenario('headers_exchange', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'headers');
    $bind = function (string $label, array $arguments) use ($session, $channel, $exchange): string {
        $queue = $session->queue($channel, $label);
        $channel->queue_bind($queue, $exchange, arguments: new AMQPTable($arguments));
        return $queue;
    };
    $wanted = ['format' => 'pdf', 'pages' => 3, 'draft' => false];
    $tiered = ['format' => 'pdf', 'x-tier' => 'gold'];
    $all = $bind('all', ['x-match' => 'all', ...$wanted]);
    $any = $bind('any', ['x-match' => 'any', ...$wanted]);
    $by_default = $bind('default', $wanted);
    $with_x = [];
    foreach (['all', 'all-with-x', 'any-with-x'] as $match) {
        $with_x[$match] = $bind("tiered $match", ['x-match' => $match, ...$tiered]);
    }
    $messages = [
        'all' => [...$wanted, 'extra' => 'ignored'],
        'format only' => ['format' => 'pdf', 'pages' => 4],
        'draft only' => ['draft' => false],
        'none' => ['format' => 'zip', 'pages' => 4, 'draft' => true],
        'no headers' => null,
        'tiered' => $tiered,
        'tier only' => ['x-tier' => 'gold'],
    ];
    foreach ($messages as $label => $headers) {
        $channel->basic_publish($headers ? with_headers($label, $headers) : new AMQPMessage($label), $exchange);
    }
    equal(drain($channel, $all), ['all'], 'x-match all');
    equal(drain($channel, $any), ['all', 'format only', 'draft only', 'tiered'], 'x-match any');
    equal(drain($channel, $by_default), ['all'], 'no x-match');
    foreach (
        [
            'all' => ['all', 'format only', 'tiered'],
            'all-with-x' => ['tiered'],
            'any-with-x' => ['all', 'format only', 'tiered', 'tier only'],
        ] as $match => $expected
    ) {
        equal(drain($channel, $with_x[$match]), $expected, "x-match $match with an x- header");
    }
});

scenario('exchange_to_exchange', function (Session $session): void {
    $channel = $session->channel();
    $source = $session->exchange($channel, 'topic', 'source');
    $middle = $session->exchange($channel, 'fanout', 'middle');
    $queue = $session->queue($channel);
    $channel->exchange_bind($middle, $source, 'orders.#');
    $channel->exchange_bind($source, $middle);
    $channel->queue_bind($queue, $middle);
    $channel->queue_bind($queue, $source, '#');
    $channel->basic_publish(new AMQPMessage('both ways'), $source, 'orders.new');
    $channel->basic_publish(new AMQPMessage('directly'), $source, 'other');
    equal(drain($channel, $queue), ['both ways', 'directly'], 'messages, one copy each');
    $channel->exchange_unbind($middle, $source, 'orders.#');
    $channel->queue_unbind($queue, $source, '#');
    $channel->basic_publish(new AMQPMessage('nowhere'), $source, 'orders.new');
    equal(drain($channel, $queue), [], 'messages after unbind');
});

scenario('alternate_exchange', function (Session $session): void {
    $channel = $session->channel();
    $fallback = $session->exchange($channel, 'fanout', 'fallback');
    $exchange = $session->exchange($channel, 'direct', 'main', ['alternate-exchange' => $fallback]);
    $known = $session->queue($channel, 'known');
    $unknown = $session->queue($channel, 'unknown');
    $channel->queue_bind($known, $exchange, 'known');
    $channel->queue_bind($unknown, $fallback);
    $returned = [];
    $channel->set_return_listener(function (int $code) use (&$returned): void {
        $returned[] = $code;
    });
    $channel->basic_publish(new AMQPMessage('matched'), $exchange, 'known', mandatory: true);
    $channel->basic_publish(new AMQPMessage('not matched'), $exchange, 'stray', mandatory: true);
    equal(drain($channel, $known), ['matched'], 'matched');
    $message = $channel->basic_get($unknown, true);
    $received = [$message->getExchange(), $message->getRoutingKey(), $message->getBody()];
    equal($received, [$exchange, 'stray', 'not matched'], 'not matched');
    work($channel, 0.05);
    equal($returned, [], 'returned');
});

scenario('internal_exchange', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $front = $session->exchange($channel, 'direct', 'front');
    $internal = $session->exchange($channel, 'fanout', 'internal', internal: true);
    $queue = $session->queue($channel);
    $channel->exchange_bind($internal, $front, 'in');
    $channel->queue_bind($queue, $internal);
    $channel->basic_publish(new AMQPMessage('through the front'), $front, 'in');
    equal(drain($channel, $queue), ['through the front'], 'messages');
    channel_error(
        403,
        "ACCESS_REFUSED - cannot publish to internal exchange '$internal' in vhost '/'",
        fn () => publish_and_ask($connection->channel(), $internal)
    );
    equal(drain($channel, $queue), [], 'messages after the refused publish');
});

scenario('auto_delete_exchange', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $exchange = $session->exchange($channel, 'fanout', autoDelete: true);
    $queue = $session->queue($channel);
    $channel->queue_bind($queue, $exchange, 'one');
    $channel->queue_bind($queue, $exchange, 'two');
    $channel->queue_unbind($queue, $exchange, 'one');
    $channel->exchange_declare($exchange, 'fanout', passive: true);
    $channel->queue_unbind($queue, $exchange, 'two');
    channel_error(
        404,
        "NOT_FOUND - no exchange '$exchange' in vhost '/'",
        fn () => $connection->channel()->exchange_declare($exchange, 'fanout', passive: true)
    );
});

scenario('unbind', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'headers');
    $queue = $session->queue($channel);
    $red = new AMQPTable(['x-match' => 'all', 'colour' => 'red']);
    $blue = new AMQPTable(['x-match' => 'all', 'colour' => 'blue']);
    $channel->queue_bind($queue, $exchange, arguments: $red);
    $channel->queue_bind($queue, $exchange, arguments: $blue);
    $channel->queue_unbind($queue, $exchange, arguments: $red);
    $channel->queue_unbind($queue, $exchange, 'never bound', arguments: $blue);
    foreach (['red', 'blue'] as $colour) {
        $channel->basic_publish(with_headers($colour, ['colour' => $colour]), $exchange);
    }
    equal(drain($channel, $queue), ['blue'], 'messages');
});

/** @return Inbox[] */
function bound_inboxes(Session $session, AMQPChannel $channel, string $exchange, string ...$keys): array
{
    $inboxes = [];
    foreach ($keys as $n => $key) {
        $queue = $session->queue($channel, "$exchange-$n");
        $channel->queue_bind($queue, $exchange, $key);
        $inboxes[] = new Inbox($channel, $queue, no_ack: true);
    }
    return $inboxes;
}

/**
 * Publishes messages, each with its key, and returns the place of the inbox that each came to, one copy of each.
 *
 * @return int[]
 */
function spread(AMQPChannel $channel, string $exchange, array $inboxes, array $messages): array
{
    $already = array_map(fn (Inbox $inbox) => count($inbox->messages), $inboxes);
    $arrived = fn () => array_sum(array_map(fn (Inbox $inbox) => count($inbox->messages), $inboxes));
    foreach ($messages as $n => [$key, $headers]) {
        $channel->basic_publish(with_headers((string) $n, $headers), $exchange, $key);
    }
    while ($arrived() < array_sum($already) + count($messages)) {
        $channel->wait();
    }
    $places = [];
    foreach ($inboxes as $place => $inbox) {
        foreach (array_slice($inbox->bodies(), $already[$place]) as $n) {
            $places[(int) $n] = $place;
        }
    }
    ksort($places);
    equal(array_keys($places), array_keys($messages), 'messages, one copy of each');
    return $places;
}

scenario('consistent_hash_exchange', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'x-consistent-hash', 'by-key');
    $inboxes = bound_inboxes($session, $channel, $exchange, '1', '1', '4');
    $messages = array_map(fn (int $n) => ["key-$n", []], range(0, 999));
    $places = spread($channel, $exchange, $inboxes, $messages);
    [$light, $other, $heavy] = array_map(fn (int $place) => count(array_keys($places, $place)), [0, 1, 2]);
    equal($light > 0 && $other > 0, true, "every queue got some of $light, $other, $heavy");
    equal($heavy > max($light, $other), true, "the weight 4 got most of $light, $other, $heavy");
    equal(spread($channel, $exchange, $inboxes, $messages) === $places, true, 'the same key to the same queue');

    $exchange = $session->exchange($channel, 'x-consistent-hash', 'by-header', ['hash-header' => 'customer']);
    $inboxes = bound_inboxes($session, $channel, $exchange, '1', '1', '1');
    $by_customer = array_map(fn (int $n) => ["key-$n", ['customer' => (string) intdiv($n, 4)]], range(0, 399));
    $places = spread($channel, $exchange, $inboxes, $by_customer);
    equal(count(array_unique($places)), 3, 'queues that got some by header');
    foreach (array_chunk($places, 4) as $customer => $of_one) {
        equal(count(array_unique($of_one)), 1, "queues that got some of customer $customer");
    }
});

scenario('modulus_hash_exchange', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'x-modulus-hash');
    $inboxes = bound_inboxes($session, $channel, $exchange, '', '', '');
    $messages = array_map(fn (int $n) => ["key-$n", []], range(0, 199));
    $places = spread($channel, $exchange, $inboxes, $messages);
    equal(count(array_unique($places)), 3, 'queues that got some');
    equal(spread($channel, $exchange, $inboxes, $messages) === $places, true, 'the same key to the same queue');
});

scenario('random_exchange', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'x-random');
    $inboxes = bound_inboxes($session, $channel, $exchange, '', '', '');
    $places = spread($channel, $exchange, $inboxes, array_fill(0, 200, ['one key', []]));
    equal(count(array_unique($places)), 3, 'queues that got some');
});

scenario('recent_history_exchange', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'x-recent-history', arguments: ['x-recent-history-length' => 5]);
    for ($n = 0; $n < 8; $n++) {
        $channel->basic_publish(new AMQPMessage((string) $n), $exchange, "key-$n");
    }
    [$inbox] = bound_inboxes($session, $channel, $exchange, '');
    $channel->basic_publish(new AMQPMessage('afterwards'), $exchange);
    equal($inbox->bodies(6), ['3', '4', '5', '6', '7', 'afterwards'], 'messages of a queue bound late');
});

scenario('delayed_exchange', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'x-delayed-message', arguments: ['x-delayed-type' => 'direct']);
    $queue = $session->queue($channel);
    $channel->queue_bind($queue, $exchange, 'key');
    $arrivals = [];
    $channel->basic_consume($queue, no_ack: true, callback: function (AMQPMessage $message) use (&$arrivals): void {
        $arrivals[] = [(int) $message->getBody(), microtime(true)];
    });
    $started = microtime(true);
    foreach ([300, 100, 200, 0] as $delay_ms) {
        $channel->basic_publish(with_headers((string) $delay_ms, ['x-delay' => $delay_ms]), $exchange, 'key');
    }
    $channel->basic_publish(with_headers('1', ['x-delay' => 1]), $exchange, 'another key');
    while (count($arrivals) < 4) {
        $channel->wait();
    }
    equal(array_column($arrivals, 0), [0, 100, 200, 300], 'messages in the order of their delays');
    foreach ($arrivals as [$delay_ms, $arrived]) {
        equal($arrived - $started >= $delay_ms / 1000, true, "the message with a delay of $delay_ms ms was not early");
    }
});

scenario('sender_selected_keys', function (Session $session): void {
    $channel = $session->channel();
    $exchange = $session->exchange($channel, 'direct');
    $queues = [];
    foreach (['to', 'cc', 'bcc'] as $key) {
        $queues[$key] = $session->queue($channel, $key);
        $channel->queue_bind($queues[$key], $exchange, $key);
    }
    $headers = ['CC' => ['cc', 'to'], 'BCC' => ['bcc'], 'kept' => 'yes'];
    $channel->basic_publish(with_headers('letter', $headers), $exchange, 'to');
    foreach ($queues as $key => $queue) {
        $messages = take($channel, $queue);
        equal(bodies($messages), ['letter'], "messages to $key");
        equal($messages[0]->getRoutingKey(), 'to', "routing key to $key");
        equal(headers($messages[0]), ['CC' => ['cc', 'to'], 'kept' => 'yes'], "headers to $key");
    }
});
