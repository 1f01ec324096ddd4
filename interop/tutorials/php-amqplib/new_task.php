<?php

declare(strict_types=1);

// Work queues: sends a task that survives a restart of the broker. Each dot in it is a bit of work.

use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

$task = implode(' ', array_slice($argv, 1)) ?: 'Hello World!';

$connection = connect();
$channel = $connection->channel();
$channel->queue_declare('task_queue', durable: true, auto_delete: false);
$message = new AMQPMessage($task, ['delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT]);
$channel->basic_publish($message, '', 'task_queue');
echo " [x] Sent '$task'\n";

$connection->close();
