<?php

declare(strict_types=1);

// Hello world: prints the messages of a queue until Ctrl-C.

use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

$connection = connect();
$channel = $connection->channel();
$channel->queue_declare('hello', auto_delete: false);

until_interrupted($connection, function () use ($channel): void {
    echo " [*] Waiting for messages. To exit press CTRL+C\n";
    $channel->basic_consume('hello', no_ack: true, callback: function (AMQPMessage $message): void {
        echo " [x] Received '{$message->getBody()}'\n";
    });
    $channel->consume();
});
