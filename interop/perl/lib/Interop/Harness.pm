package Interop::Harness;

# The registry of scenarios, and how one is played: in a process of its own, so that an event loop begins and ends with
# it, and a hang or a crash is its own result. What has to be deleted on the broker afterwards comes through a pipe as
# soon as it is known.

use v5.36;
use Exporter 'import';
use IO::Handle;
use JSON::PP;
use POSIX ();
use Time::HiRes;

use Interop::Session;

our @EXPORT_OK = qw(scenario lacking play);

use constant {
    SCENARIO_TIMEOUT_S => 45,
    CLEANUP_TIMEOUT_S  => 10,
};

my %registry;
my %lacks;

# Names and texts are bytes here, as the client takes them.
my $json = JSON::PP->new->canonical;

sub scenario($name, $code) {
    $registry{$name} = $code;
}

sub lacking($name, $reason) {
    $lacks{$name} = $reason;
}

sub report($name, $event, %details) {
    STDOUT->say($json->encode({ scenario => $name, event => $event, %details }));
    STDOUT->flush;
}

sub play($name, $url) {
    report($name, 'started');
    return report($name, 'lacking', message => $lacks{$name}) if $lacks{$name};
    my $code = $registry{$name};
    return report($name, 'failed', seconds => 0, message => 'the client has no such scenario') unless $code;

    my $started = Time::HiRes::time;
    my ($problem, @deletions) = run_apart($name, $url, SCENARIO_TIMEOUT_S, sub ($session) {
        $code->($session);
        $session->close;
    });
    my $seconds = Time::HiRes::time - $started;
    run_apart($name, $url, CLEANUP_TIMEOUT_S, sub ($session) { $session->delete_declared(@deletions) }) if @deletions;
    if (defined $problem) {
        report($name, 'failed', seconds => $seconds, message => $problem);
    }
    else {
        report($name, 'passed', seconds => $seconds);
    }
}

# What was wrong, or undef, and what is to be deleted: `queue NAME` or `exchange NAME`.
sub run_apart($name, $url, $timeout_s, $code) {
    pipe(my $reader, my $writer) or die "no pipe: $!";
    my $child = fork // die "no process: $!";
    if ($child == 0) {
        close $reader;
        alarm $timeout_s;
        run_here($name, $url, $code, $writer);
    }
    close $writer;
    my ($problem, @deletions);
    while (my $line = <$reader>) {
        chomp $line;
        if ($line =~ /^failed (.*)/) { $problem = $1 }
        else                         { push @deletions, $line }
    }
    waitpid $child, 0;
    return (judged($?, $problem, $timeout_s), @deletions);
}

sub run_here($name, $url, $code, $writer) {
    $writer->autoflush;
    my $session = Interop::Session->new(
        scenario   => $name,
        url        => $url,
        on_ask     => sub ($what) { report($name, $what) },
        on_declare => sub ($what) { $writer->say($what) },
    );
    my $is_done = eval { $code->($session); 1 };
    $writer->say('failed ' . ($@ =~ s/\s+/ /gr =~ s/ $//r)) unless $is_done;
    POSIX::_exit($is_done ? 0 : 1);
}

sub judged($status, $problem, $timeout_s) {
    my $signal = $status & 127;
    return "not done after $timeout_s s" if $signal == POSIX::SIGALRM;
    return "ended by signal $signal" if $signal;
    return $problem // "ended with status $status" if $status;
    return undef;
}

1;
