package Interop::Expect;

# Exact comparison, and waiting: callbacks tell of every change, so that what is waited for is looked at only then.

use v5.36;
use AnyEvent;
use Exporter 'import';

our @EXPORT = qw(fail check equal changed wait_until poll_until pause now WAIT_S);

use constant WAIT_S => 15;

our $waiting;

# With the scenario's own line, the innermost one.
sub fail($message) {
    my $depth = 0;
    while (my (undef, $file, $line) = caller $depth++) {
        next unless $file =~ m{/Scenarios/(\w+\.pm)$};
        die "$message ($1:$line)\n";
    }
    die "$message\n";
}

sub check($condition, $message) {
    fail($message) unless $condition;
}

sub equal($actual, $expected, $what) {
    my ($got, $wanted) = (shown($actual), shown($expected));
    fail("$what: expected $wanted, got $got") unless $got eq $wanted;
}

# Numbers as their text, since Perl keeps no difference.
sub shown($value) {
    return 'undef' unless defined $value;
    return '[' . join(', ', map { shown($_) } @$value) . ']' if ref $value eq 'ARRAY';
    return '{' . join(', ', map { "$_ => " . shown($value->{$_}) } sort keys %$value) . '}' if ref $value eq 'HASH';
    return "'$value'";
}

sub now() {
    AnyEvent->now_update;
    return AnyEvent->now;
}

sub changed() {
    $waiting->{condvar}->send(1) if $waiting && $waiting->{condition}->();
}

sub wait_until($condition, $what, $seconds = WAIT_S) {
    return if $condition->();
    my $condvar = AnyEvent->condvar;
    AnyEvent->now_update;
    my $timer = AnyEvent->timer(after => $seconds, cb => sub { $condvar->send(0) });
    local $waiting = { condition => $condition, condvar => $condvar };
    $condvar->recv or fail("$what: not so after $seconds s");
}

# Lets things happen for a while.
sub pause($seconds) {
    my $condvar = AnyEvent->condvar;
    AnyEvent->now_update;
    my $timer = AnyEvent->timer(after => $seconds, cb => sub { $condvar->send });
    $condvar->recv;
}

# For what the broker finishes in the background without telling anybody.
sub poll_until($condition, $what, $seconds = WAIT_S) {
    my $until = now() + $seconds;
    until ($condition->()) {
        fail("$what: not so after $seconds s") if now() > $until;
        pause(0.01);
    }
}

1;
