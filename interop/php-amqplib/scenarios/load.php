<?php

declare(strict_types=1);

namespace Interop;

use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Message\AMQPMessage;

const PUBLISHERS = 8;
const MESSAGES_EACH = 1000;

/** Runs in a process of its own; its exit status says whether everything was confirmed. */
function publish_confirmed(Session $session, string $queue, int $publisher): int
{
    try {
        $channel = $session->confirmingChannel();
        $confirmed = 0;
        $channel->set_ack_handler(function () use (&$confirmed): void {
            $confirmed++;
        });
        for ($n = 0; $n < MESSAGES_EACH; $n++) {
            publish($channel, $queue, "$publisher $n");
        }
        $channel->wait_for_pending_acks();
        $channel->getConnection()->close();
        return $confirmed === MESSAGES_EACH ? 0 : 1;
    } catch (\Throwable $error) {
        fwrite(STDERR, "publisher $publisher: $error\n");
        return 1;
    }
}

/** PHP publishes side by side in processes. They start while no connection is open that they would share. */
scenario('concurrent_publishing', function (Session $session): void {
    $setup = $session->channel();
    $queue = $session->sharedQueue($setup);
    $setup->getConnection()->close();
    $processes = [];
    for ($publisher = 0; $publisher < PUBLISHERS; $publisher++) {
        $process = pcntl_fork();
        if ($process === 0) {
            exit(publish_confirmed($session, $queue, $publisher));
        }
        $processes[] = $process;
    }
    $inbox = new Inbox($session->channel(), $queue, no_ack: true);
    $received = array_fill(0, PUBLISHERS, []);
    foreach ($inbox->bodies(PUBLISHERS * MESSAGES_EACH) as $body) {
        [$publisher, $number] = explode(' ', $body);
        $received[(int) $publisher][] = (int) $number;
    }
    foreach ($processes as $process) {
        pcntl_waitpid($process, $status);
        equal(pcntl_wexitstatus($status), 0, 'exit status of a publisher');
    }
    foreach ($received as $publisher => $numbers) {
        $all = $numbers === range(0, MESSAGES_EACH - 1);
        equal($all, true, "publisher $publisher arrived in order, once each");
    }
});

function expect_swift_consumer(Session $session, string $queue): void
{
    $inbox = new Inbox($session->channel(), $queue, no_ack: true);
    $sent = numbers(0, 4999);
    publish($session->channel(), $queue, ...$sent);
    equal($inbox->bodies(5000) === $sent, true, 'the fast consumer has all its messages in order');
}

/** @return int[] the numbers that the bodies begin with */
function leading_numbers(array $bodies): array
{
    return array_map(intval(...), $bodies);
}

scenario('slow_consumer', function (Session $session): void {
    $setup = $session->channel();
    $slow_queue = $session->sharedQueue($setup, 'slow');
    $fast_queue = $session->sharedQueue($setup, 'fast');
    $slow = $session->channel();
    $slow->basic_qos(0, 20, false);
    $inbox = new Inbox($slow, $slow_queue);
    $publisher = $session->channel();
    $padding = str_repeat('.', 4096);
    for ($n = 0; $n < 2000; $n++) {
        publish($publisher, $slow_queue, "$n $padding");
    }
    expect_swift_consumer($session, $fast_queue);

    $inbox->wait(20);
    await_ready($setup, $slow_queue, 1980);
    work($slow, 0.05);
    equal(count($inbox->messages), 20, 'deliveries to the slow consumer');
    for ($settled = 0; $settled < 2000; $settled = count($inbox->messages)) {
        $inbox->wait($settled + 1);
        $inbox->last()->ack(true);
    }
    equal(leading_numbers($inbox->bodies()) === range(0, 1999), true, 'the slow consumer has its messages in order');
});

/** php-amqplib reads only while it waits, so the unread messages fill the sockets' buffers. */
scenario('unread_consumer', function (Session $session): void {
    $setup = $session->channel();
    $unread_queue = $session->sharedQueue($setup, 'unread');
    $fast_queue = $session->sharedQueue($setup, 'fast');
    $inbox = new Inbox($session->channel(), $unread_queue, no_ack: true);
    $publisher = $session->channel();
    $padding = str_repeat('.', 32768);
    for ($n = 0; $n < 2000; $n++) {
        publish($publisher, $unread_queue, "$n $padding");
    }
    expect_swift_consumer($session, $fast_queue);

    equal($inbox->messages, [], 'messages read so far');
    equal(leading_numbers($inbox->bodies(2000)) === range(0, 1999), true, 'the messages read at last, in order');
});

scenario('survives_restart', function (Session $session): void {
    $connection = $session->connect();
    $channel = $connection->channel();
    $channel->confirm_select();
    $exchange = $session->exchange($channel, 'direct', durable: true);
    $queue = $session->sharedQueue($channel, durable: true);
    $channel->queue_bind($queue, $exchange, 'key');
    $persistent = ['delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT];
    foreach (numbers(0, 4) as $body) {
        $channel->basic_publish(new AMQPMessage($body, $persistent), $exchange, 'key');
    }
    $channel->basic_publish(new AMQPMessage('transient'), $exchange, 'key');
    $channel->wait_for_pending_acks();
    equal([$channel->basic_get($queue)->getBody(), $channel->basic_get($queue)->getBody()], ['0', '1'], 'delivered');
    $session->ask('restart');
    told_of_shutdown($connection, $channel);

    eventually('connected again', function () use ($connection): bool {
        try {
            $connection->reconnect();
            return true;
        } catch (AMQPExceptionInterface) {
            return false;
        }
    }, RECONNECT_TIMEOUT_S);
    $channel = $connection->channel();
    $channel->basic_publish(new AMQPMessage('5', $persistent), $exchange, 'key');
    $inbox = new Inbox($channel, $queue);
    equal($inbox->bodies(6), numbers(0, 5), 'messages after the restart');
    equal($inbox->flags(), [true, true, false, false, false, false], 'redelivered');
});

lacking('automatic_recovery', 'php-amqplib connects again only when it is told to, and brings nothing back');
