<?php

declare(strict_types=1);

// Work queues: does one task at a time, and acknowledges it when it is done.
//
// A dot in a task is a second of work, or as many as the argument says.

use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

const MICROSECONDS = 1_000_000;

$seconds_per_dot = (float) ($argv[1] ?? 1);

$connection = connect();
$channel = $connection->channel();
$channel->queue_declare('task_queue', durable: true, auto_delete: false);
// No second task for a worker that has not acknowledged its first.
$channel->basic_qos(0, 1, false);

until_interrupted($connection, function () use ($channel, $seconds_per_dot): void {
    echo " [*] Waiting for messages. To exit press CTRL+C\n";
    $channel->basic_consume('task_queue', callback: function (AMQPMessage $message) use ($seconds_per_dot): void {
        echo " [x] Received '{$message->getBody()}'\n";
        usleep((int) (substr_count($message->getBody(), '.') * $seconds_per_dot * MICROSECONDS));
        $message->ack();
        echo " [x] Done\n";
    });
    $channel->consume();
});
