<?php

declare(strict_types=1);

namespace Interop;

use DateTimeImmutable;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPAbstractCollection;
use PhpAmqpLib\Wire\AMQPArray;
use PhpAmqpLib\Wire\AMQPDecimal;
use PhpAmqpLib\Wire\AMQPTable;

const FRAME_MAX = 131072;
const FRAME_OVERHEAD = 8;

/** Deterministic bytes of every value. */
function bytes(int $size): string
{
    mt_srand($size);
    $block = '';
    for ($n = 0; $n < 1009; $n++) {
        $block .= chr(mt_rand(0, 255));
    }
    return substr(str_repeat($block, intdiv($size, strlen($block)) + 1), 0, $size);
}

/** A table or array, each value with the symbol of its type, to compare values and types at once. */
function described(AMQPAbstractCollection $collection): array
{
    $entries = [];
    foreach ($collection as $key => [$type, $value]) {
        $entries[$key] = [AMQPAbstractCollection::getSymbolForDataType($type), match (true) {
            $value instanceof AMQPAbstractCollection => described($value),
            $value instanceof AMQPDecimal => [$value->getN(), $value->getE()],
            $type === AMQPAbstractCollection::T_BOOL => (bool) $value,
            default => $value,
        }];
    }
    return $entries;
}

scenario('message_properties', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $every = [
        'content_type' => 'application/json',
        'content_encoding' => 'gzip',
        'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
        'priority' => 7,
        'correlation_id' => 'correlation',
        'reply_to' => 'reply.queue',
        'expiration' => '3600000',
        'message_id' => 'message-1',
        'timestamp' => 1700000000,
        'type' => 'order.created',
        'user_id' => $session->user,
        'app_id' => 'interop',
        'cluster_id' => 'cluster',
    ];
    foreach ([$every, [], ['priority' => 0]] as $given) {
        $channel->basic_publish(new AMQPMessage('body', $given), '', $queue);
        equal($channel->basic_get($queue, true)->get_properties(), $given, 'properties');
    }
    foreach ([['key' => 'value'], []] as $headers) {
        $channel->basic_publish(with_headers('body', $headers), '', $queue);
        $message = $channel->basic_get($queue, true);
        equal(array_keys($message->get_properties()), ['application_headers'], 'properties');
        equal(headers($message), $headers, 'headers');
    }
});

function scalars(): AMQPTable
{
    $table = new AMQPTable([
        'longstr' => 'text äöü',
        'empty longstr' => '',
        'true' => true,
        'false' => false,
        'long' => 9007199254740993,
        'decimal' => new AMQPDecimal(-12345, 3),
        'timestamp' => new DateTimeImmutable('2024-02-29T12:30:15Z'),
        'void' => null,
    ]);
    $table->set('bytes', "\x00\xff\xfe", AMQPAbstractCollection::T_BYTES);
    $table->set('signed 8', -128, AMQPAbstractCollection::T_INT_SHORTSHORT);
    $table->set('unsigned 8', 255, AMQPAbstractCollection::T_INT_SHORTSHORT_U);
    $table->set('signed 16', -32768, AMQPAbstractCollection::T_INT_SHORT);
    $table->set('unsigned 16', 65535, AMQPAbstractCollection::T_INT_SHORT_U);
    $table->set('signed 32', -2147483648, AMQPAbstractCollection::T_INT_LONG);
    $table->set('unsigned 32', 4294967295, AMQPAbstractCollection::T_INT_LONG_U);
    $table->set('signed 64', PHP_INT_MIN, AMQPAbstractCollection::T_INT_LONGLONG);
    return $table;
}

/** php-amqplib can read floats but not write them, and takes no key of more than 128 bytes back. */
scenario('header_field_types', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $headers = scalars();
    $headers->set('array', new AMQPArray([1, 'two', [true, null], ['four' => 4]]));
    $headers->set('empty array', new AMQPArray());
    $inner = scalars();
    $inner->set('deeper', new AMQPTable(['deepest' => new AMQPTable()]));
    $headers->set('table', $inner);
    $headers->set(str_repeat('k', 128), 'long key');
    $channel->basic_publish(new AMQPMessage('', ['application_headers' => $headers]), '', $queue);
    $received = $channel->basic_get($queue, true)->get('application_headers');
    equal(described($received), described($headers), 'headers');
});

scenario('body_sizes', function (Session $session): void {
    $channel = $session->channel();
    $queue = $session->queue($channel);
    $inbox = new Inbox($channel, $queue, no_ack: true);
    $frame = FRAME_MAX - FRAME_OVERHEAD;
    $sizes = [0, 1, $frame - 1, $frame, $frame + 1, 2 * $frame - 1, 2 * $frame, 2 * $frame + 1];
    publish($channel, $queue, ...array_map(bytes(...), $sizes));
    foreach ($inbox->bodies(count($sizes)) as $n => $received) {
        equal(strlen($received), $sizes[$n], 'body size');
        equal($received === bytes($sizes[$n]), true, "body of $sizes[$n] bytes unchanged");
    }
});

scenario('body_16_mib', function (Session $session): void {
    $channel = $session->confirmingChannel();
    $queue = $session->queue($channel);
    $body = bytes(16 * 1024 * 1024);
    publish($channel, $queue, $body);
    $channel->wait_for_pending_acks();
    [$received] = (new Inbox($channel, $queue, no_ack: true))->bodies(1);
    equal(strlen($received), strlen($body), 'body size');
    equal($received === $body, true, 'body unchanged');
});
