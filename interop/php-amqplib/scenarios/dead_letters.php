<?php

declare(strict_types=1);

namespace Interop;

use DateTimeInterface;
use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Message\AMQPMessage;

/** A queue whose dead letters go to the queue `$dead`. */
function dying_queue(
    Session $session,
    AMQPChannel $channel,
    string $dead,
    string $label = 'queue',
    array $arguments = []
): string {
    $target = ['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead];
    return $session->queue($channel, $label, [...$target, ...$arguments]);
}

/** The entries of x-death, sorted by name, without their times, which are seconds and lie in the scenario. */
function deaths(AMQPMessage $letter): array
{
    $entries = [];
    foreach (headers($letter)['x-death'] as $death) {
        equal($death['time'] instanceof DateTimeInterface, true, 'the time is a timestamp');
        equal(abs(time() - $death['time']->getTimestamp()) < 60, true, 'the time is now');
        unset($death['time']);
        ksort($death);
        $entries[] = $death;
    }
    return $entries;
}

/** An entry of x-death for a message that was published to the queue by its name. */
function death(string $queue, string $reason, int $count = 1, array $more = []): array
{
    $entry = ['count' => $count, 'reason' => $reason, 'queue' => $queue, 'exchange' => '', 'routing-keys' => [$queue]];
    $entry = [...$entry, ...$more];
    ksort($entry);
    return $entry;
}

/** @return string[] reason, queue and exchange */
function first_death(AMQPMessage $letter): array
{
    return array_map(fn (string $part) => headers($letter)["x-first-death-$part"], ['reason', 'queue', 'exchange']);
}

scenario('dead_letter_rejected', function (Session $session): void {
    $channel = $session->channel();
    $letters = $session->exchange($channel, 'direct', 'letters');
    $dead = $session->queue($channel, 'dead');
    $channel->queue_bind($dead, $letters, 'buried');
    $target = ['x-dead-letter-exchange' => $letters, 'x-dead-letter-routing-key' => 'buried'];
    $queue = $session->queue($channel, arguments: $target);
    $exchange = $session->exchange($channel, 'topic');
    $channel->queue_bind($queue, $exchange, 'orders.#');
    $order = with_headers('order', ['kept' => 1]);
    $order->set('message_id', 'order-1');
    $channel->basic_publish($order, $exchange, 'orders.new');
    $inbox = new Inbox($channel, $queue);
    $inbox->wait(1);
    $inbox->last()->reject(false);
    [$letter] = (new Inbox($channel, $dead))->wait(1);
    $delivery = [$letter->getExchange(), $letter->getRoutingKey(), $letter->isRedelivered()];
    equal($delivery, [$letters, 'buried', false], 'delivery');
    $kept = [$letter->getBody(), $letter->get('message_id'), headers($letter)['kept']];
    equal($kept, ['order', 'order-1', 1], 'message');
    $death = death($queue, 'rejected', more: ['exchange' => $exchange, 'routing-keys' => ['orders.new']]);
    equal(deaths($letter), [$death], 'x-death');
    equal(first_death($letter), ['rejected', $queue, $exchange], 'x-first-death');
    equal(count($inbox->messages), 1, 'deliveries of the rejected message');
});

scenario('dead_letter_expired', function (Session $session): void {
    $channel = $session->channel();
    $dead = $session->queue($channel, 'dead');
    $queue = dying_queue($session, $channel, $dead);
    $channel->basic_publish(new AMQPMessage('brief', ['expiration' => '100']), '', $queue);
    [$letter] = (new Inbox($channel, $dead))->wait(1);
    equal([$letter->getBody(), $letter->has('expiration')], ['brief', false], 'message without its expiration');
    $death = death($queue, 'expired', more: ['original-expiration' => '100']);
    equal(deaths($letter), [$death], 'x-death');
    equal(first_death($letter), ['expired', $queue, ''], 'x-first-death');
});

scenario('dead_letter_maxlen', function (Session $session): void {
    $channel = $session->channel();
    $dead = $session->queue($channel, 'dead');
    $queue = dying_queue($session, $channel, $dead, arguments: ['x-max-length' => 2]);
    publish($channel, $queue, '1', '2', '3', '4');
    $letters = (new Inbox($channel, $dead))->wait(2);
    equal(bodies($letters), ['1', '2'], 'the oldest messages');
    foreach ($letters as $letter) {
        equal(deaths($letter), [death($queue, 'maxlen')], 'x-death');
        equal(first_death($letter), ['maxlen', $queue, ''], 'x-first-death');
    }
    equal(drain($channel, $queue), ['3', '4'], 'messages left');
});

scenario('dead_letter_retry', function (Session $session): void {
    $channel = $session->channel();
    $retry = $session->name('retry');
    $work = dying_queue($session, $channel, $retry, 'work');
    dying_queue($session, $channel, $work, 'retry', ['x-message-ttl' => 50]);
    publish($channel, $work, 'job');
    $inbox = new Inbox($channel, $work);
    for ($attempt = 1; $attempt <= 3; $attempt++) {
        $inbox->wait($attempt);
        $inbox->last()->reject(false);
    }
    $inbox->wait(4);
    $job = $inbox->last();
    $job->ack();
    equal($job->getBody(), 'job', 'message');
    equal(deaths($job), [death($retry, 'expired', 3), death($work, 'rejected', 3)], 'x-death');
    equal(first_death($job), ['rejected', $work, ''], 'x-first-death');
});
