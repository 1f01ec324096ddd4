package Interop::Scenarios::DeadLetters;

use v5.36;

use Interop::Harness qw(lacking);

lacking "dead_letter_$_" =>
    'Net::AMQP cannot read x-death, whose counts are 64-bit numbers: the connection reads nothing more'
    for qw(rejected expired maxlen retry);

1;
