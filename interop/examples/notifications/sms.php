<?php

// Sends notifications as text messages: sms.php PATTERN...

declare(strict_types=1);

require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Message\AMQPMessage;

$url = parse_url(getenv('AMQP_URL') ?: 'amqp://guest:guest@localhost:5672');
$connection = new AMQPStreamConnection($url['host'], $url['port'] ?? 5672, $url['user'], $url['pass']);
$channel = $connection->channel();
$channel->exchange_declare('notifications', 'topic', false, true, false);
$channel->queue_declare('sms', false, true, false, false);
foreach (array_slice($argv, 1) as $pattern) {
    $channel->queue_bind('sms', 'notifications', $pattern);
}
$channel->basic_qos(0, 20, false);
$channel->basic_consume('sms', '', false, false, false, false, function (AMQPMessage $message): void {
    echo "{$message->getRoutingKey()} {$message->getBody()}\n";
    $message->ack();
});
echo "ready\n";
$channel->consume();
