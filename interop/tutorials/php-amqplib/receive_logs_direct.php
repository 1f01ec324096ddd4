<?php

declare(strict_types=1);

// Routing: prints the lines of the severities given as arguments.

use PhpAmqpLib\Exchange\AMQPExchangeType;
use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

$severities = array_slice($argv, 1);
if (!$severities) {
    fwrite(STDERR, "usage: $argv[0] [info] [warning] [error]\n");
    exit(1);
}

$connection = connect();
$channel = $connection->channel();
$channel->exchange_declare('direct_logs', AMQPExchangeType::DIRECT, auto_delete: false);
[$queue] = $channel->queue_declare('', exclusive: true);
foreach ($severities as $severity) {
    $channel->queue_bind($queue, 'direct_logs', $severity);
}

until_interrupted($connection, function () use ($channel, $queue): void {
    echo " [*] Waiting for logs. To exit press CTRL+C\n";
    $channel->basic_consume($queue, no_ack: true, callback: function (AMQPMessage $message): void {
        echo " [x] {$message->getRoutingKey()}:'{$message->getBody()}'\n";
    });
    $channel->consume();
});
