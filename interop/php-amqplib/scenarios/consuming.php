<?php

declare(strict_types=1);

namespace Interop;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Exception\AMQPBasicCancelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

/** Publishes five messages and takes them without acknowledging. */
function five(AMQPChannel $channel, string $queue): Inbox
{
    publish($channel, $queue, '1', '2', '3', '4', '5');
    $inbox = new Inbox($channel, $queue);
    $inbox->wait(5);
    $channel->basic_cancel($inbox->tag);
    return $inbox;
}

/** Takes everything out with get: the bodies, each with its redelivered flag. */
function redelivered(AMQPChannel $channel, string $queue): array
{
    $described = fn (AMQPMessage $message) => [$message->getBody(), $message->isRedelivered()];
    return array_map($described, take($channel, $queue));
}

/** @return string[] */
function numbers(int $first, int $last): array
{
    return array_map(strval(...), range($first, $last));
}

scenario('consume_and_ack', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $queue = $session->queue($channel);
    publish($channel, $queue, ...numbers(0, 99));
    $received = [];
    $tag = $channel->basic_consume($queue, callback: function (AMQPMessage $message) use (&$received): void {
        $message->ack();
        $received[] = [
            $message->getDeliveryTag(),
            $message->isRedelivered(),
            $message->getExchange(),
            $message->getRoutingKey(),
            $message->getBody(),
        ];
        if (count($received) === 100) {
            $message->getChannel()->stopConsume();
        }
    });
    $channel->consume();
    $expected = array_map(fn (int $n) => [$n + 1, false, '', $queue, (string) $n], range(0, 99));
    equal($received === $expected, true, 'the deliveries are the messages in order');
    equal($channel->basic_cancel($tag), $tag, 'cancelled consumer');
    $channel->close();
    equal(drain($connection->channel(), $queue), [], 'messages left');
});

scenario('no_ack', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $queue = $session->queue($channel);
    $channel->basic_qos(0, 1, false);
    $inbox = new Inbox($channel, $queue, no_ack: true);
    publish($channel, $queue, ...numbers(0, 49));
    equal($inbox->bodies(50), numbers(0, 49), 'messages');
    $channel->close();
    equal(drain($connection->channel(), $queue), [], 'messages left');
});

scenario('prefetch', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $channel->basic_qos(0, 5, false);
    publish($channel, $queue, ...numbers(0, 19));
    $first = new Inbox($channel, $queue);
    $first->wait(5);
    await_ready($channel, $queue, 15);
    $second = new Inbox($channel, $queue);
    $second->wait(5);
    await_ready($channel, $queue, 10);
    $first->messages[0]->ack();
    $first->wait(6);
    await_ready($channel, $queue, 9);
    work($channel, 0.05);
    equal([count($first->messages), count($second->messages)], [6, 5], 'deliveries to each');
});

scenario('prefetch_per_channel', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $channel->basic_qos(0, 5, true);
    $inboxes = [new Inbox($channel, $queue), new Inbox($channel, $queue)];
    $deliveries = fn () => count($inboxes[0]->messages) + count($inboxes[1]->messages);
    publish($channel, $queue, ...numbers(0, 19));
    foreach ([5, 10] as $held) {
        while ($deliveries() < $held) {
            $channel->wait();
        }
        await_ready($channel, $queue, 20 - $held);
        work($channel, 0.05);
        equal($deliveries(), $held, 'deliveries to both');
        $channel->basic_ack(0, true);
    }
});

scenario('ack_multiple', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $queue = $session->queue($channel);
    five($channel, $queue)->messages[2]->ack(true);
    $channel->close();
    $other = $connection->channel();
    equal(redelivered($other, $queue), [['4', true], ['5', true]], 'messages beyond the tag');
    five($other, $queue);
    $other->basic_ack(0, true);
    $other->close();
    equal(drain($connection->channel(), $queue), [], 'messages left');
});

scenario('nack', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $messages = five($channel, $queue)->messages;
    $messages[0]->nack();
    $messages[1]->nack(true);
    equal(redelivered($channel, $queue), [['2', true]], 'requeued one by one');
    $messages[3]->nack(true, true);
    equal(redelivered($channel, $queue), [['3', true], ['4', true]], 'requeued up to the tag');
    $channel->basic_nack(0, true, false);
    $channel->basic_nack(0, true, true);
    equal(drain($channel, $queue), [], 'messages left');
});

scenario('reject', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $messages = five($channel, $queue)->messages;
    $messages[0]->reject(false);
    $messages[1]->reject(true);
    equal(redelivered($channel, $queue), [['2', true]], 'requeued');
    foreach (array_slice($messages, 2) as $message) {
        $message->reject(false);
    }
    equal(drain($channel, $queue), [], 'messages left');
});

scenario('requeue_order', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $messages = five($channel, $queue)->messages;
    publish($channel, $queue, '6');
    foreach ([2, 0, 4, 1, 3] as $position) {
        $messages[$position]->nack(true);
    }
    $expected = [['1', true], ['2', true], ['3', true], ['4', true], ['5', true], ['6', false]];
    equal(redelivered($channel, $queue), $expected, 'order after requeue');
});

scenario('recover', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    publish($channel, $queue, '1', '2', '3');
    $inbox = new Inbox($channel, $queue);
    $inbox->wait(3);
    $inbox->messages[0]->ack();
    $channel->basic_recover(true);
    equal($inbox->bodies(5), ['1', '2', '3', '2', '3'], 'messages');
    equal($inbox->flags(), [false, false, false, true, true], 'redelivered');
    equal($inbox->tags(), [1, 2, 3, 4, 5], 'delivery tags');
});

scenario('unacked_requeued_on_close', function (Session $session): void {
    $observer = $session->channel();
    $queue = $session->sharedQueue($observer);
    $holder = $session->connect();
    $channel = $holder->channel();
    publish($channel, $queue, '1', '2', '3');
    (new Inbox($channel, $queue))->wait(3);
    $second = new Inbox($holder->channel(), $queue);
    $channel->close();
    equal($second->bodies(3), ['1', '2', '3'], 'after the channel closed');
    equal($second->flags(), [true, true, true], 'redelivered');
    $third = new Inbox($observer, $queue);
    $holder->close();
    equal($third->bodies(3), ['1', '2', '3'], 'after the connection closed');
    equal($third->flags(), [true, true, true], 'redelivered');
});

scenario('consumer_cancel', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $inbox = new Inbox($channel, $queue, consumer_tag: 'my-consumer');
    equal($inbox->tag, 'my-consumer', 'consumer tag');
    publish($channel, $queue, 'before');
    [$message] = $inbox->wait(1);
    equal($message->getConsumerTag(), 'my-consumer', 'consumer tag of the delivery');
    equal($channel->basic_cancel($inbox->tag), 'my-consumer', 'consumer tag of the cancel-ok');
    publish($channel, $queue, 'after');
    await_ready($channel, $queue, 1);
    $message->ack();
    equal(drain($channel, $queue), ['after'], 'messages left');
    equal($inbox->bodies(), ['before'], 'delivered');
});

scenario('cancel_notify', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $queue = $session->queue($channel);
    $expected = [(new Inbox($channel, $queue))->tag, (new Inbox($channel, $queue))->tag];
    $connection->channel()->queue_delete($queue);
    $told = [];
    while (count($told) < 2) {
        try {
            $channel->wait();
        } catch (AMQPBasicCancelException $cancel) {
            $told[] = $cancel->getConsumerTag();
        }
    }
    sort($told);
    sort($expected);
    equal($told, $expected, 'cancelled consumers');
    equal($channel->is_open(), true, 'channel open');
});

scenario('exclusive_consumer', function (Session $session): void {
    $connection = $session->connect();
    $owner = $connection->channel();
    $queue = $session->queue($owner);
    $in_use = "ACCESS_REFUSED - queue '$queue' in vhost '/' in exclusive use";
    $inbox = new Inbox($owner, $queue, exclusive: true);
    channel_error(403, $in_use, fn () => new Inbox($connection->channel(), $queue));
    $owner->basic_cancel($inbox->tag);
    new Inbox($owner, $queue);
    channel_error(403, $in_use, fn () => new Inbox($connection->channel(), $queue, exclusive: true));
});

scenario('round_robin', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $inboxes = [];
    for ($n = 0; $n < 3; $n++) {
        $inboxes[] = new Inbox($channel, $queue, no_ack: true);
    }
    publish($channel, $queue, ...numbers(0, 29));
    $shares = array_map(fn (Inbox $inbox) => $inbox->bodies(10), $inboxes);
    sort($shares);
    $turns = array_map(fn (int $turn) => array_map(strval(...), range($turn, 29, 3)), [0, 1, 2]);
    equal($shares, $turns, 'turns');
});

scenario('consumer_priority', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $low = new Inbox($channel, $queue, arguments: new AMQPTable(['x-priority' => -5]));
    $usual = new Inbox($channel, $queue);
    $channel->basic_qos(0, 3, false);
    $high = new Inbox($channel, $queue, arguments: new AMQPTable(['x-priority' => 10]));
    publish($channel, $queue, ...numbers(0, 9));
    equal($high->bodies(3), ['0', '1', '2'], 'high priority, until its prefetch');
    equal($usual->bodies(7), numbers(3, 9), 'usual priority');
    equal($low->bodies(), [], 'low priority');
});

scenario('get', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $queue = $session->queue($channel);
    equal($channel->basic_get($queue), null, 'get from an empty queue');
    publish($channel, $queue, 'a', 'b', 'c');
    await_ready($channel, $queue, 3);
    $described = fn (AMQPMessage $message) => [
        $message->getBody(),
        $message->getDeliveryTag(),
        $message->getMessageCount(),
        $message->isRedelivered(),
    ];
    $message = $channel->basic_get($queue);
    equal($described($message), ['a', 1, 2, false], 'first');
    equal([$message->getExchange(), $message->getRoutingKey()], ['', $queue], 'exchange and key');
    equal($described($channel->basic_get($queue, true)), ['b', 2, 1, false], 'second');
    $channel->close();
    $channel = $connection->channel();
    $message = $channel->basic_get($queue);
    equal($described($message), ['a', 1, 1, true], 'again');
    $message->ack();
    equal(drain($channel, $queue), ['c'], 'messages left');
});
