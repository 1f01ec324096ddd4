<?php

declare(strict_types=1);

use PhpAmqpLib\Connection\AMQPStreamConnection;

require_once 'PhpAmqpLib/autoload.php';

class Interrupted extends Exception
{
}

function connect(): AMQPStreamConnection
{
    $url = parse_url(getenv('AMQP_URL') ?: 'amqp://guest:guest@localhost:5672');
    return new AMQPStreamConnection($url['host'], $url['port'], $url['user'], $url['pass']);
}

/** Runs what waits for messages until Ctrl-C, and closes the connection. */
function until_interrupted(AMQPStreamConnection $connection, callable $wait): void
{
    pcntl_async_signals(true);
    pcntl_signal(SIGINT, fn () => throw new Interrupted());
    try {
        $wait();
    } catch (Interrupted) {
        echo "Interrupted\n";
        $connection->close();
    }
}
