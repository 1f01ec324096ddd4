<?php

declare(strict_types=1);

// RPC: answers requests for Fibonacci numbers.

use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

function fib(int $number): int
{
    [$previous, $current] = [0, 1];
    for (; $number > 0; $number--) {
        [$previous, $current] = [$current, $previous + $current];
    }
    return $previous;
}

$connection = connect();
$channel = $connection->channel();
$channel->queue_declare('rpc_queue', auto_delete: false);
$channel->basic_qos(0, 1, false);

until_interrupted($connection, function () use ($channel): void {
    echo " [x] Waiting for RPC requests\n";
    $channel->basic_consume('rpc_queue', callback: function (AMQPMessage $request) use ($channel): void {
        $number = (int) $request->getBody();
        echo " [.] fib($number)\n";
        $answer = new AMQPMessage((string) fib($number), ['correlation_id' => $request->get('correlation_id')]);
        $channel->basic_publish($answer, '', $request->get('reply_to'));
        $request->ack();
    });
    $channel->consume();
});
