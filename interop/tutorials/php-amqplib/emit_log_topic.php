<?php

declare(strict_types=1);

// Topics: sends a line with a routing key of several words, such as kern.critical.

use PhpAmqpLib\Exchange\AMQPExchangeType;
use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

$key = $argv[1] ?? 'anonymous.info';
$message = implode(' ', array_slice($argv, 2)) ?: 'Hello World!';

$connection = connect();
$channel = $connection->channel();
$channel->exchange_declare('topic_logs', AMQPExchangeType::TOPIC, auto_delete: false);
$channel->basic_publish(new AMQPMessage($message), 'topic_logs', $key);
echo " [x] Sent $key:'$message'\n";

$connection->close();
