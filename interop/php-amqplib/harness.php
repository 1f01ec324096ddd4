<?php

declare(strict_types=1);

// What every scenario needs: a registry, a deadline, connections that are closed behind it, and exact comparisons.

namespace Interop;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPReader;
use PhpAmqpLib\Wire\AMQPTable;

const SCENARIO_TIMEOUT_S = 45;
const RECONNECT_TIMEOUT_S = 40;
const CLEANUP_TIMEOUT_S = 10;
// What php-amqplib waits for a socket that takes or gives nothing; its own 3 s are short for a busy machine.
const READ_WRITE_TIMEOUT_S = 30;

class Mismatch extends \Exception
{
}

/** The client offers no way to do this; the message says what is missing. */
class Lacking extends \Exception
{
}

class Registry
{
    /** @var array<string, callable> */
    public static array $scenarios = [];
}

/** Registers a function of one argument, a `Session`, under its name. */
function scenario(string $name, callable $play): void
{
    Registry::$scenarios[$name] = $play;
}

function lacking(string $name, string $reason): void
{
    scenario($name, fn () => throw new Lacking($reason));
}

function report(string $name, string $event, mixed ...$details): void
{
    $line = ['scenario' => $name, 'event' => $event, ...$details];
    fwrite(STDOUT, json_encode($line, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
}

function play(string $name, string $url): void
{
    report($name, 'started');
    $started = microtime(true);
    $session = new Session($name, $url);
    try {
        $play = Registry::$scenarios[$name] ?? throw new Mismatch('the client has no such scenario');
        deadline(SCENARIO_TIMEOUT_S);
        $play($session);
        report($name, 'passed', seconds: microtime(true) - $started);
    } catch (Lacking $lack) {
        report($name, 'lacking', message: $lack->getMessage());
    } catch (\Throwable $error) { // whatever a scenario throws is its result
        $message = $error instanceof Mismatch ? $error->getMessage() : get_class($error) . ": {$error->getMessage()}";
        report($name, 'failed', seconds: microtime(true) - $started, message: $message . where($error));
    }
    try {
        deadline(CLEANUP_TIMEOUT_S);
        $session->end();
    } catch (AMQPExceptionInterface | Mismatch $problem) {
        fwrite(STDERR, "cleaning up after $name: {$problem->getMessage()}\n");
    } finally {
        pcntl_alarm(0);
    }
}

/** Throws in the midst of whatever is going on when the time is over. */
function deadline(int $seconds): void
{
    pcntl_async_signals(true);
    pcntl_signal(SIGALRM, fn () => throw new Mismatch("not done after $seconds s"));
    pcntl_alarm($seconds);
}

/** The scenario's own line that threw, the innermost one. */
function where(\Throwable $error): string
{
    $places = [['file' => $error->getFile(), 'line' => $error->getLine()], ...$error->getTrace()];
    foreach ($places as $place) {
        if (str_contains($place['file'] ?? '', '/scenarios/')) {
            return sprintf(' (%s:%d)', basename($place['file']), $place['line']);
        }
    }
    return '';
}

/** One scenario's view of the broker: its connections, and names that nothing else uses. */
class Session
{
    public readonly string $host;
    public readonly int $port;
    public readonly string $user;
    public readonly string $password;
    private readonly string $token;
    /** @var HeedfulConnection[] */
    private array $connections = [];
    /** @var callable[] */
    private array $deletions = [];

    public function __construct(private readonly string $scenarioName, string $url)
    {
        [
            'host' => $this->host,
            'port' => $this->port,
            'user' => $this->user,
            'pass' => $this->password,
        ] = parse_url($url);
        $this->token = bin2hex(random_bytes(4));
    }

    /** Asks the runner to do something to the broker: stop, restart, block or unblock. */
    public function ask(string $what): void
    {
        report($this->scenarioName, $what);
    }

    public function connect(mixed ...$options): HeedfulConnection
    {
        $defaults = [
            'host' => $this->host,
            'port' => $this->port,
            'user' => $this->user,
            'password' => $this->password,
            'read_write_timeout' => READ_WRITE_TIMEOUT_S,
        ];
        return $this->connections[] = new HeedfulConnection(...[...$defaults, ...$options]);
    }

    /** A channel on a connection of its own. */
    public function channel(): AMQPChannel
    {
        return $this->connect()->channel();
    }

    public function confirmingChannel(): AMQPChannel
    {
        $channel = $this->channel();
        $channel->confirm_select();
        return $channel;
    }

    public function name(string $label): string
    {
        return "interop.$this->scenarioName.$label.$this->token";
    }

    /** Declares a queue that goes with the channel's connection. */
    public function queue(AMQPChannel $channel, string $label = 'queue', array $arguments = []): string
    {
        $name = $this->name($label);
        $channel->queue_declare($name, exclusive: true, auto_delete: false, arguments: new AMQPTable($arguments));
        return $name;
    }

    /** Declares a queue that any connection may use, deleted after the scenario. */
    public function sharedQueue(
        AMQPChannel $channel,
        string $label = 'queue',
        array $arguments = [],
        bool $durable = false,
        bool $autoDelete = false
    ): string {
        $name = $this->name($label);
        $table = new AMQPTable($arguments);
        $channel->queue_declare($name, durable: $durable, auto_delete: $autoDelete, arguments: $table);
        $this->deletions[] = fn (AMQPChannel $cleaner) => $cleaner->queue_delete($name);
        return $name;
    }

    /** Declares an exchange, deleted after the scenario. */
    public function exchange(
        AMQPChannel $channel,
        string $type,
        string $label = 'exchange',
        array $arguments = [],
        bool $durable = false,
        bool $autoDelete = false,
        bool $internal = false
    ): string {
        $name = $this->name($label);
        $table = new AMQPTable($arguments);
        $channel->exchange_declare(
            $name,
            $type,
            durable: $durable,
            auto_delete: $autoDelete,
            internal: $internal,
            arguments: $table
        );
        $this->deletions[] = fn (AMQPChannel $cleaner) => $cleaner->exchange_delete($name);
        return $name;
    }

    public function end(): void
    {
        foreach ($this->connections as $connection) {
            try {
                $connection->close();
            } catch (AMQPExceptionInterface) {
                // It was closed by the broker.
            }
        }
        if ($this->deletions) {
            $connection = $this->connect();
            $cleaner = $connection->channel();
            foreach ($this->deletions as $delete) {
                $delete($cleaner);
            }
            $connection->close();
        }
    }
}

/**
 * Keeps what the broker said when it closed the connection. php-amqplib answers first, and tells only that it could not
 * if the socket is closed already, as a RabbitMQ that stops closes it at once.
 */
class HeedfulConnection extends AMQPStreamConnection
{
    /** @var array{int, string}|null code and text */
    public ?array $heard = null;

    protected function connection_close(AMQPReader $reader): void
    {
        $copy = clone $reader;
        $this->heard = [$copy->read_short(), $copy->read_shortstr()];
        parent::connection_close($reader);
    }
}

/** A consumer that keeps what it receives, for a test to wait on. */
class Inbox
{
    /** @var AMQPMessage[] */
    public array $messages = [];
    public readonly string $tag;

    public function __construct(public readonly AMQPChannel $channel, string $queue, mixed ...$options)
    {
        $keep = function (AMQPMessage $message): void {
            $this->messages[] = $message;
        };
        $this->tag = $channel->basic_consume($queue, ...[...$options, 'callback' => $keep]);
    }

    /** @return AMQPMessage[] the first `$count` messages, awaited */
    public function wait(int $count): array
    {
        while (count($this->messages) < $count) {
            $this->channel->wait();
        }
        return array_slice($this->messages, 0, $count);
    }

    /** @return string[] the bodies of all messages, or of the first `$count`, awaited */
    public function bodies(?int $count = null): array
    {
        return bodies($count === null ? $this->messages : $this->wait($count));
    }

    /** @return bool[] */
    public function flags(): array
    {
        return array_map(fn (AMQPMessage $message) => $message->isRedelivered(), $this->messages);
    }

    /** @return int[] */
    public function tags(): array
    {
        return array_map(fn (AMQPMessage $message) => $message->getDeliveryTag(), $this->messages);
    }

    public function last(): AMQPMessage
    {
        return $this->messages[array_key_last($this->messages)];
    }
}

/** Works on what has arrived for a channel, and on what arrives within the time. */
function work(AMQPChannel $channel, float $seconds): void
{
    $until = microtime(true) + $seconds;
    while (($left = $until - microtime(true)) > 0) {
        try {
            $channel->wait(null, false, $left);
        } catch (AMQPTimeoutException) {
            return;
        }
    }
}

/** @return string[] */
function bodies(array $messages): array
{
    return array_map(fn (AMQPMessage $message) => $message->getBody(), $messages);
}

function publish(AMQPChannel $channel, string $queue, string ...$bodies): void
{
    foreach ($bodies as $body) {
        $channel->basic_publish(new AMQPMessage($body), '', $queue);
    }
}

/** @return AMQPMessage[] everything that is in a queue, taken with get */
function take(AMQPChannel $channel, string $queue): array
{
    $messages = [];
    while ($message = $channel->basic_get($queue, true)) {
        $messages[] = $message;
    }
    return $messages;
}

/** @return string[] */
function drain(AMQPChannel $channel, string $queue): array
{
    return bodies(take($channel, $queue));
}

/** @return array{int, int} the ready messages and the consumers of a queue */
function counts(AMQPChannel $channel, string $queue): array
{
    return array_slice($channel->queue_declare($queue, passive: true), 1);
}

/** RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue. */
function await_ready(AMQPChannel $channel, string $queue, int $count): void
{
    eventually("$count messages ready", fn () => counts($channel, $queue)[0] === $count);
}

/** The headers of a message, of PHP's own types. */
function headers(AMQPMessage $message): array
{
    return $message->has('application_headers') ? $message->get('application_headers')->getNativeData() : [];
}

function with_headers(string $body, array $headers): AMQPMessage
{
    return new AMQPMessage($body, ['application_headers' => new AMQPTable($headers)]);
}

function equal(mixed $actual, mixed $expected, string $what): void
{
    if ($actual !== $expected) {
        throw new Mismatch("$what: expected " . shown($expected) . ', got ' . shown($actual));
    }
}

function shown(mixed $value): string
{
    return json_encode($value, JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
}

/** Runs the action, which must make the broker close its channel with this code and text. */
function channel_error(int $code, string $text, callable $action): void
{
    try {
        $action();
    } catch (AMQPProtocolChannelException $error) {
        equal([$error->getCode(), $error->getMessage()], [$code, $text], 'channel error');
        return;
    }
    throw new Mismatch("expected the channel to close with $code $text");
}

/** The same for a connection; php-amqplib adds the method that was refused to the text. */
function connection_error(int $code, string $text, callable $action): void
{
    try {
        $action();
    } catch (AMQPConnectionClosedException $error) {
        $told = preg_replace('/\(\d+, \d+\)$/', '', $error->getMessage());
        equal([$error->getCode(), $told], [$code, $text], 'connection error');
        return;
    }
    throw new Mismatch("expected the connection to close with $code $text");
}

/** For what the broker finishes in the background without telling anybody. */
function eventually(string $what, callable $condition, float $seconds = 5): void
{
    $until = microtime(true) + $seconds;
    while (!$condition()) {
        if (microtime(true) > $until) {
            throw new Mismatch("$what: not so after $seconds s");
        }
        usleep(20_000);
    }
}
