package Interop::Session;

# One scenario's view of the broker: its connections, and names that nothing else uses.

use v5.36;
use AnyEvent::RabbitMQ;
use IO::Handle;
use POSIX ();
use Socket;

use Interop::Client;
use Interop::Expect;

use constant {
    APART_TIMEOUT_S     => 40,
    CLOSE_TIMEOUT_S     => 5,
    CONNECT_TIMEOUT_S   => 10,
    RECONNECT_TIMEOUT_S => 40,
};

# The specification is read once, before processes part.
AnyEvent::RabbitMQ->load_xml_spec;

sub new($class, %given) {
    my ($user, $password, $host, $port) = $given{url} =~ m{^amqp://([^:@]+):([^@]+)@([^:/]+):(\d+)}
        or die "AMQP_URL is not the address of a broker\n";
    return bless {
        %given,
        broker      => { host => $host, port => $port, user => $user, pass => $password, vhost => '/' },
        token       => sprintf('%08x', int rand 2**32),
        connections => [],
    }, $class;
}

# Host, port, user, pass and vhost.
sub broker($self) { $self->{broker} }

# Asks the runner to do something to the broker: stop, restart, block or unblock.
sub ask($self, $what) {
    $self->{on_ask}->($what);
}

sub connect($self, %options) {
    my ($connection, $why) = $self->try_connect(%options);
    return $connection // fail("login: $why");
}

# A connection, or undef and why there is none.
sub try_connect($self, %options) {
    my $connection = AnyEvent::RabbitMQ->new(on_return => delete $options{on_return});
    my $problem;
    $connection->connect(
        %{ $self->broker },
        timeout => CONNECT_TIMEOUT_S,
        %options,
        on_success      => sub { changed() },
        on_failure      => sub (@why) { $problem //= reason(@why); changed() },
        on_close        => sub (@why) { $problem //= reason(@why); note_closing($connection, @why) },
        on_read_failure => sub (@why) { warn @why, "\n" },
    );
    # Kept, since a connection that nobody holds closes itself.
    push @{ $self->{connections} }, $connection;
    wait_until(sub { $connection->is_open || defined $problem }, 'login');
    return (undef, $problem) unless $connection->is_open;
    # The client's own option for it does not reach its handle, and every publish is three small writes.
    $connection->{_handle}->no_delay(1);
    return $connection;
}

# To a broker that is being restarted.
sub reconnect($self) {
    my $until = now() + RECONNECT_TIMEOUT_S;
    while (1) {
        my ($connection, $why) = $self->try_connect;
        return $connection if $connection;
        fail("no connection to the broker: $why") if now() > $until;
        pause(0.1);
    }
}

sub open_channel($self, $connection, %options) {
    my $channel;
    my @closed_early;
    $channel = call(
        $connection, 'open_channel',
        %options,
        on_close => sub (@why) { $channel ? note_closing($channel, @why) : push @closed_early, @why },
    );
    return $channel;
}

# On a connection of its own.
sub channel($self, %options) {
    return $self->open_channel($self->connect(%options));
}

sub name($self, $label) {
    return "interop.$self->{scenario}.$label.$self->{token}";
}

# Declares a queue that goes with the channel's connection.
sub queue($self, $channel, $label = 'queue', %arguments) {
    my $name = $self->name($label);
    call($channel, 'declare_queue', queue => $name, exclusive => 1, arguments => \%arguments);
    return $name;
}

# Declares a queue that any connection may use, deleted after the scenario.
sub shared_queue($self, $channel, $label = 'queue', %options) {
    my $name = $self->name($label);
    call($channel, 'declare_queue', queue => $name, %options);
    $self->{on_declare}->("queue $name");
    return $name;
}

# Declares an exchange, deleted after the scenario.
sub exchange($self, $channel, $type, $label = 'exchange', %options) {
    my $name = $self->name($label);
    call($channel, 'declare_exchange', exchange => $name, type => $type, %options);
    $self->{on_declare}->("exchange $name");
    return $name;
}

sub delete_declared($self, @declared) {
    my $channel = $self->channel;
    for (@declared) {
        my ($kind, $name) = split ' ', $_, 2;
        call($channel, "delete_$kind", $kind => $name);
    }
}

sub close($self) {
    my @open = grep { $_->is_open } @{ $self->{connections} };
    my $waiting = @open;
    $_->close(on_success => sub { $waiting--; changed() }, on_failure => sub { $waiting--; changed() }) for @open;
    eval { wait_until(sub { $waiting == 0 }, 'connections closed', CLOSE_TIMEOUT_S) };
}

# A process of its own whose event loop stands still while it reads from this one. Only before this one has an event
# loop. Returns a handle to talk with it, line by line.
sub apart($self, $code) {
    socketpair(my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "no sockets: $!";
    $_->autoflush for $here, $there;
    my $child = fork // die "no process: $!";
    if ($child == 0) {
        CORE::close $here;
        alarm APART_TIMEOUT_S;
        my $is_done = eval { $code->($there); 1 };
        say {$there} "failed: $@" unless $is_done;
        POSIX::_exit($is_done ? 0 : 1);
    }
    CORE::close $there;
    return $here;
}

1;
