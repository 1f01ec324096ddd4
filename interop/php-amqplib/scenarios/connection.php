<?php

declare(strict_types=1);

namespace Interop;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AbstractConnection;
use PhpAmqpLib\Connection\AMQPConnectionConfig;
use PhpAmqpLib\Connection\AMQPConnectionFactory;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;

function round_trip(Session $session, AbstractConnection $connection): void
{
    $channel = $connection->channel();
    $queue = $session->queue($channel);
    publish($channel, $queue, 'there and back');
    equal(drain($channel, $queue), ['there and back'], 'messages');
}

lacking('connect_by_uri', 'php-amqplib takes host, port and the rest one by one');

/** Numbers of channels and sizes of frames are not for the user of php-amqplib to say: the server's are taken. */
scenario('connect_by_options', function (Session $session): void {
    $config = new AMQPConnectionConfig();
    $config->setHost($session->host);
    $config->setPort($session->port);
    $config->setUser($session->user);
    $config->setPassword($session->password);
    $config->setVhost('/');
    $config->setLoginMethod(AMQPConnectionConfig::AUTH_PLAIN);
    $config->setHeartbeat(17);
    $config->setConnectionName($session->name('connection'));
    $connection = AMQPConnectionFactory::create($config);
    equal($connection->getHeartbeat(), 17, 'heartbeat');
    $name = $connection->getLibraryProperties()['connection_name'];
    equal($name, ['S', $session->name('connection')], 'connection name');
    round_trip($session, $connection);
    $connection->close();
    equal($connection->isConnected(), false, 'connected');
});

scenario('server_properties', function (Session $session): void {
    $properties = $session->connect()->getServerProperties();
    equal($properties['product'], ['S', 'RabbitMQ'], 'product');
    [, $version] = $properties['version'];
    equal(preg_match('/\A\d+\.\d+\.\d+\z/', $version), 1, "version $version is of the form x.y.z");
    [, $capabilities] = $properties['capabilities'];
    foreach (
        [
            'publisher_confirms',
            'exchange_exchange_bindings',
            'basic.nack',
            'consumer_cancel_notify',
            'connection.blocked',
            'consumer_priorities',
            'authentication_failure_close',
            'per_consumer_qos',
            'direct_reply_to',
        ] as $capability
    ) {
        equal($capabilities[$capability] ?? null, ['t', 1], $capability);
    }
});

function login_refused(Session $session, string $mechanism, string $user): void
{
    $text = "ACCESS_REFUSED - Login was refused using authentication mechanism $mechanism. " .
        'For details see the broker logfile.';
    connection_error(
        403,
        $text,
        fn () => $session->connect(user: $user, password: 'wrong', login_method: $mechanism)
    );
}

scenario('amqplain_login', function (Session $session): void {
    round_trip($session, $session->connect(login_method: AMQPConnectionConfig::AUTH_AMQPPLAIN));
    login_refused($session, AMQPConnectionConfig::AUTH_AMQPPLAIN, $session->user);
});

scenario('wrong_password', function (Session $session): void {
    login_refused($session, AMQPConnectionConfig::AUTH_PLAIN, $session->user);
    login_refused($session, AMQPConnectionConfig::AUTH_PLAIN, 'nobody');
});

scenario('unknown_vhost', function (Session $session): void {
    connection_error(530, 'NOT_ALLOWED - vhost nowhere not found', fn () => $session->connect(vhost: 'nowhere'));
});

/** php-amqplib sends heartbeats while it waits. */
scenario('heartbeats', function (Session $session): void {
    $connection = $session->connect(heartbeat: 1);
    $channel = $connection->channel();
    for ($n = 0; $n < 7; $n++) {
        work($channel, 0.5);
    }
    round_trip($session, $connection);
});

/** Whoever does not wait sends no heartbeats. */
scenario('heartbeat_missed', function (Session $session): void {
    $observer = $session->channel();
    $queue = $session->sharedQueue($observer);
    $silent = $session->connect(heartbeat: 1)->channel();
    publish($silent, $queue, 'held');
    (new Inbox($silent, $queue))->wait(1);
    $inbox = new Inbox($observer, $queue);
    equal($inbox->bodies(1), ['held'], 'messages of the observer');
    equal($inbox->flags(), [true], 'redelivered');
});

lacking('update_secret', 'php-amqplib cannot send connection.update-secret');

lacking('small_frames', 'php-amqplib always agrees to the frame size that the server proposes');

function told_of_shutdown(HeedfulConnection $connection, AMQPChannel $channel): void
{
    try {
        $channel->wait();
    } catch (AMQPConnectionClosedException) {
        $text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
        equal($connection->heard, [320, $text], 'what the broker said');
        return;
    }
    throw new Mismatch('the connection was not closed');
}

scenario('graceful_shutdown', function (Session $session): void {
    $connection = $session->connect();
    round_trip($session, $connection);
    $channel = $connection->channel();
    $session->ask('stop');
    told_of_shutdown($connection, $channel);
    equal($connection->isConnected(), false, 'connected');
});
