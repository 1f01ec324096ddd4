<?php

declare(strict_types=1);

// Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event.

require_once 'PhpAmqpLib/autoload.php';
require_once __DIR__ . '/harness.php';

foreach (glob(__DIR__ . '/scenarios/*.php') as $file) {
    require_once $file;
}

foreach (array_slice($argv, 1) as $name) {
    Interop\play($name, getenv('AMQP_URL'));
}
