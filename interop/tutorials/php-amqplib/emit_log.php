<?php

declare(strict_types=1);

// Publish/subscribe: broadcasts a line to whoever listens now.

use PhpAmqpLib\Exchange\AMQPExchangeType;
use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

$message = implode(' ', array_slice($argv, 1)) ?: 'info: Hello World!';

$connection = connect();
$channel = $connection->channel();
$channel->exchange_declare('logs', AMQPExchangeType::FANOUT, auto_delete: false);
$channel->basic_publish(new AMQPMessage($message), 'logs');
echo " [x] Sent '$message'\n";

$connection->close();
