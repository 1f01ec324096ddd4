<?php

declare(strict_types=1);

// RPC: asks for one Fibonacci number and waits for the answer.

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Message\AMQPMessage;

require_once __DIR__ . '/broker.php';

class FibonacciClient
{
    private readonly string $replies;
    private string $asked;
    private ?int $answer;

    public function __construct(private readonly AMQPChannel $channel)
    {
        [$this->replies] = $channel->queue_declare('', exclusive: true);
        $channel->basic_consume($this->replies, no_ack: true, callback: $this->onReply(...));
    }

    private function onReply(AMQPMessage $reply): void
    {
        // A late answer to an earlier question has another correlation id.
        if ($reply->get('correlation_id') === $this->asked) {
            $this->answer = (int) $reply->getBody();
        }
    }

    public function call(int $number): int
    {
        $this->answer = null;
        $this->asked = uniqid(more_entropy: true);
        $properties = ['reply_to' => $this->replies, 'correlation_id' => $this->asked];
        $this->channel->basic_publish(new AMQPMessage((string) $number, $properties), '', 'rpc_queue');
        while ($this->answer === null) {
            $this->channel->wait();
        }
        return $this->answer;
    }
}

$number = (int) ($argv[1] ?? 30);
$connection = connect();
$client = new FibonacciClient($connection->channel());
echo " [x] Requesting fib($number)\n";
echo " [.] Got {$client->call($number)}\n";

$connection->close();
