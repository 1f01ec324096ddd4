<?php

declare(strict_types=1);

// Topics: prints the lines whose key matches one of the patterns given as arguments.

use PhpAmqpLib\Exchange\AMQPExchangeType;
use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

$patterns = array_slice($argv, 1);
if (!$patterns) {
    fwrite(STDERR, "usage: $argv[0] PATTERN...\n");
    exit(1);
}

$connection = connect();
$channel = $connection->channel();
$channel->exchange_declare('topic_logs', AMQPExchangeType::TOPIC, auto_delete: false);
[$queue] = $channel->queue_declare('', exclusive: true);
foreach ($patterns as $pattern) {
    $channel->queue_bind($queue, 'topic_logs', $pattern);
}

until_interrupted($connection, function () use ($channel, $queue): void {
    echo " [*] Waiting for logs. To exit press CTRL+C\n";
    $channel->basic_consume($queue, no_ack: true, callback: function (AMQPMessage $message): void {
        echo " [x] {$message->getRoutingKey()}:'{$message->getBody()}'\n";
    });
    $channel->consume();
});
