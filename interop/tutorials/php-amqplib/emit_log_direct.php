<?php

declare(strict_types=1);

// Routing: sends a line with its severity as the routing key.

use PhpAmqpLib\Exchange\AMQPExchangeType;
use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

$severity = $argv[1] ?? 'info';
$message = implode(' ', array_slice($argv, 2)) ?: 'Hello World!';

$connection = connect();
$channel = $connection->channel();
$channel->exchange_declare('direct_logs', AMQPExchangeType::DIRECT, auto_delete: false);
$channel->basic_publish(new AMQPMessage($message), 'direct_logs', $severity);
echo " [x] Sent $severity:'$message'\n";

$connection->close();
