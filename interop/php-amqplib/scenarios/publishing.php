<?php

declare(strict_types=1);

namespace Interop;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Exception\AMQPConnectionBlockedException;
use PhpAmqpLib\Message\AMQPMessage;

const ALARM_TIMEOUT_S = 20;

scenario('publisher_confirms', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->sharedQueue($channel, durable: true);
    $confirmed = $nacked = [];
    $channel->set_ack_handler(function (AMQPMessage $message) use (&$confirmed): void {
        $confirmed[] = (int) $message->getBody();
    });
    $channel->set_nack_handler(function (AMQPMessage $message) use (&$nacked): void {
        $nacked[] = (int) $message->getBody();
    });
    $channel->confirm_select();
    $publish = function (int $n) use ($channel, $queue): void {
        $mode = $n % 2 ? AMQPMessage::DELIVERY_MODE_PERSISTENT : AMQPMessage::DELIVERY_MODE_NON_PERSISTENT;
        $channel->basic_publish(new AMQPMessage((string) $n, ['delivery_mode' => $mode]), '', $queue);
    };
    for ($n = 0; $n < 100; $n++) {
        $publish($n);
        $channel->wait_for_pending_acks();
        equal(count($confirmed), $n + 1, 'confirms one by one');
    }
    for ($n = 100; $n < 1000; $n++) {
        $publish($n);
    }
    $channel->wait_for_pending_acks();
    sort($confirmed);
    equal($confirmed === range(0, 999), true, 'each message was confirmed once');
    equal($nacked, [], 'nacked messages');
    equal(counts($channel, $queue), [1000, 0], 'messages');
});

scenario('confirm_unroutable', function (Session $session): void {
    $channel = $session->channel();
    $confirmed = [];
    $channel->set_ack_handler(function (AMQPMessage $message) use (&$confirmed): void {
        $confirmed[] = $message->getBody();
    });
    $channel->confirm_select();
    $channel->basic_publish(new AMQPMessage('by default'), '', $session->name('nobody'));
    $channel->basic_publish(new AMQPMessage('by fanout'), 'amq.fanout', $session->name('nobody'));
    $channel->wait_for_pending_acks();
    sort($confirmed);
    equal($confirmed, ['by default', 'by fanout'], 'confirmed');
});

scenario('mandatory_return', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $nobody = $session->name('nobody');
    $returned = [];
    $channel->set_return_listener(
        function (int $code, string $text, string $exchange, string $key, AMQPMessage $message) use (&$returned): void {
            $returned[] = [$code, $text, $exchange, $key];
            $returned[] = [$message->getBody(), $message->get('message_id'), headers($message)];
        }
    );
    $lost = with_headers('lost', ['kept' => 1]);
    $lost->set('message_id', 'lost');
    $channel->basic_publish(new AMQPMessage('routed'), '', $queue, mandatory: true);
    $channel->basic_publish(new AMQPMessage('not mandatory'), 'amq.direct', $nobody);
    $channel->basic_publish($lost, 'amq.direct', $nobody, mandatory: true);
    while (!$returned) {
        $channel->wait();
    }
    equal(drain($channel, $queue), ['routed'], 'routed');
    work($channel, 0.05);
    $expected = [[312, 'NO_ROUTE', 'amq.direct', $nobody], ['lost', 'lost', ['kept' => 1]]];
    equal($returned, $expected, 'the one return');
});

scenario('return_before_confirm', function (Session $session): void {
    $channel = $session->channel();
    $events = [];
    $channel->set_ack_handler(function (AMQPMessage $message) use (&$events): void {
        $events[] = ['confirmed', $message->getBody()];
    });
    $channel->set_return_listener(
        function (int $code, string $text, string $exchange, string $key, AMQPMessage $message) use (&$events): void {
            $events[] = [$code, $message->getBody()];
        }
    );
    $channel->confirm_select();
    $expected = [];
    foreach (numbers(0, 19) as $body) {
        $channel->basic_publish(new AMQPMessage($body), '', $session->name('nobody'), mandatory: true);
        $channel->wait_for_pending_acks_returns();
        array_push($expected, [312, $body], ['confirmed', $body]);
    }
    equal($events, $expected, 'events');
});

scenario('nacked_publish', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel, arguments: ['x-max-length' => 3, 'x-overflow' => 'reject-publish']);
    $outcomes = [];
    $channel->set_ack_handler(function (AMQPMessage $message) use (&$outcomes): void {
        $outcomes[$message->getBody()] = 'confirmed';
    });
    $channel->set_nack_handler(function (AMQPMessage $message) use (&$outcomes): void {
        $outcomes[$message->getBody()] = 'nacked';
    });
    $channel->confirm_select();
    publish($channel, $queue, ...numbers(0, 5));
    $channel->wait_for_pending_acks();
    ksort($outcomes);
    equal($outcomes, [...array_fill(0, 3, 'confirmed'), ...array_fill(0, 3, 'nacked')], 'outcomes');
    equal(drain($channel, $queue), ['0', '1', '2'], 'messages in the queue');
});

class Alarm
{
    /** @var string[] */
    public array $told = [];

    public function __construct(public readonly AMQPChannel $channel)
    {
        $channel->getConnection()->set_connection_block_handler(function (string $reason): void {
            $this->told[] = $reason;
        });
        $channel->getConnection()->set_connection_unblock_handler(function (): void {
            $this->told[] = 'unblocked';
        });
    }

    public function awaitTold(array $expected): void
    {
        eventually('the client is told of the alarm', function () use ($expected): bool {
            work($this->channel, 0.1);
            return count($this->told) >= count($expected);
        }, ALARM_TIMEOUT_S);
        equal($this->told, $expected, 'what the client is told');
    }

    /** Only who publishes is blocked, so something has to be published until the alarm is there. */
    public function provoke(string $queue): void
    {
        eventually('the alarm is there', function () use ($queue): bool {
            publish($this->channel, $queue, 'is there an alarm?');
            work($this->channel, 0.1);
            return $this->told !== [];
        }, ALARM_TIMEOUT_S);
    }
}

/**
 * Once it knows that it is blocked, php-amqplib refuses to publish. It knows when it has waited: what it publishes
 * before that is left to the broker. So another connection finds out that the alarm is there.
 */
scenario('connection_blocked', function (Session $session): void {
    $observer = $session->channel();
    $queue = $session->sharedQueue($observer);
    $inbox = new Inbox($observer, $queue, no_ack: true);
    $alarm = new Alarm($session->channel());
    $channel = $alarm->channel;
    $session->ask('block');
    try {
        (new Alarm($session->channel()))->provoke($session->queue($observer, 'provoked'));
        publish($channel, $queue, 'blocked by this');
        usleep(200_000);
        publish($channel, $queue, 'while blocked');
        $alarm->awaitTold(['low on memory']);
        equal($channel->getConnection()->isBlocked(), true, 'blocked');
        try {
            publish($channel, $queue, 'too late');
            throw new Mismatch('a client that knows that it is blocked has published');
        } catch (AMQPConnectionBlockedException) {
            work($observer, 0.3);
        }
        equal(in_array('while blocked', $inbox->bodies(), true), false, 'a message got through');
    } finally {
        $session->ask('unblock');
    }
    $alarm->awaitTold(['low on memory', 'unblocked']);
    publish($channel, $queue, 'afterwards');
    equal($inbox->bodies(3), ['blocked by this', 'while blocked', 'afterwards'], 'messages');
});

scenario('user_id', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $queue = $session->queue($channel);
    publish($channel, $queue, 'anonymous');
    $channel->basic_publish(new AMQPMessage('signed', ['user_id' => $session->user]), '', $queue);
    equal(drain($channel, $queue), ['anonymous', 'signed'], 'messages');
    $refusal = "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '$session->user'";
    $forged = new AMQPMessage('forged', ['user_id' => 'somebody']);
    channel_error(406, $refusal, function () use ($connection, $queue, $forged): void {
        $forger = $connection->channel();
        $forger->basic_publish($forged, '', $queue);
        counts($forger, $queue);
    });
    equal(drain($channel, $queue), [], 'forged messages');
});
