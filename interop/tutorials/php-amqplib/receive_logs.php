<?php

declare(strict_types=1);

// Publish/subscribe: prints every line that is broadcast.

use PhpAmqpLib\Exchange\AMQPExchangeType;
use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

$connection = connect();
$channel = $connection->channel();
$channel->exchange_declare('logs', AMQPExchangeType::FANOUT, auto_delete: false);
// A queue of our own with a name that the broker chooses, gone when we are.
[$queue] = $channel->queue_declare('', exclusive: true);
$channel->queue_bind($queue, 'logs');

until_interrupted($connection, function () use ($channel, $queue): void {
    echo " [*] Waiting for logs. To exit press CTRL+C\n";
    $channel->basic_consume($queue, no_ack: true, callback: function (AMQPMessage $message): void {
        echo " [x] '{$message->getBody()}'\n";
    });
    $channel->consume();
});
