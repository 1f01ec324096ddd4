<?php

declare(strict_types=1);

// Hello world: puts one message into a queue.

use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

$connection = connect();
$channel = $connection->channel();

// Sending to a queue that does not exist would lose the message, so the sender declares it too.
$channel->queue_declare('hello', auto_delete: false);
$channel->basic_publish(new AMQPMessage('Hello World!'), '', 'hello');
echo " [x] Sent 'Hello World!'\n";

$connection->close();
