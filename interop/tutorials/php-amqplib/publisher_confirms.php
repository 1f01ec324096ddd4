<?php

declare(strict_types=1);

// Publisher confirms: three ways to know that the broker has taken charge of every message.

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

const BATCH_SIZE = 100;
const CONFIRM_TIMEOUT_S = 5;

/** A channel with confirms on; a message that the broker refuses ends the program. */
function confirming_channel(AMQPStreamConnection $connection): AMQPChannel
{
    $channel = $connection->channel();
    $channel->confirm_select();
    $channel->set_nack_handler(function (AMQPMessage $message): void {
        fwrite(STDERR, "message {$message->getBody()} was refused\n");
        exit(1);
    });
    return $channel;
}

/** Simple and slow: each message waits for its confirm. */
function publish_individually(AMQPChannel $channel, string $queue, int $count): void
{
    for ($number = 0; $number < $count; $number++) {
        $channel->basic_publish(new AMQPMessage((string) $number), '', $queue);
        $channel->wait_for_pending_acks(CONFIRM_TIMEOUT_S);
    }
}

/** Waits for a whole batch before the next: few waits, but all its messages have to be kept until then. */
function publish_in_batches(AMQPChannel $channel, string $queue, int $count): void
{
    for ($number = 0; $number < $count; $number++) {
        $channel->basic_publish(new AMQPMessage((string) $number), '', $queue);
        if (($number + 1) % BATCH_SIZE === 0) {
            $channel->wait_for_pending_acks(CONFIRM_TIMEOUT_S);
        }
    }
    $channel->wait_for_pending_acks(CONFIRM_TIMEOUT_S);
}

/** Handles confirms as they come, between the messages, and waits for the rest only at the end. */
function publish_asynchronously(AMQPChannel $channel, string $queue, int $count): void
{
    $outstanding = [];
    $channel->set_ack_handler(function (AMQPMessage $message) use (&$outstanding): void {
        unset($outstanding[$message->getDeliveryTag()]);
    });
    for ($number = 0; $number < $count; $number++) {
        $message = new AMQPMessage((string) $number);
        $channel->basic_publish($message, '', $queue);
        $outstanding[$message->getDeliveryTag()] = $message;
        $channel->wait(null, true);
    }
    while ($outstanding) {
        $channel->wait(null, false, CONFIRM_TIMEOUT_S);
    }
}

$count = (int) ($argv[1] ?? 10_000);
$connection = connect();
$manners = [
    'individually' => publish_individually(...),
    'in batches' => publish_in_batches(...),
    'asynchronously' => publish_asynchronously(...),
];
foreach ($manners as $manner => $publish) {
    $channel = confirming_channel($connection);
    [$queue] = $channel->queue_declare('', exclusive: true);
    $started = microtime(true);
    try {
        $publish($channel, $queue, $count);
    } catch (AMQPTimeoutException) {
        fwrite(STDERR, "not everything was confirmed\n");
        exit(1);
    }
    $elapsed_ms = round(1000 * (microtime(true) - $started));
    echo "Published $count messages and handled confirms $manner in $elapsed_ms ms\n";
}

$connection->close();
