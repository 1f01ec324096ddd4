#!/usr/bin/env perl
# Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/lib";

use Interop::Harness qw(play);
use Interop::Scenarios::Channels;
use Interop::Scenarios::Connection;
use Interop::Scenarios::Consuming;
use Interop::Scenarios::DeadLetters;
use Interop::Scenarios::Exchanges;
use Interop::Scenarios::Load;
use Interop::Scenarios::Messages;
use Interop::Scenarios::Publishing;
use Interop::Scenarios::Queues;
use Interop::Scenarios::TransactionsAndRpc;

play($_, $ENV{AMQP_URL}) for @ARGV;
