package Interop::Client;

# AnyEvent::RabbitMQ's callbacks behind condvars, as its users wait for one thing after the other.

use v5.36;
use Exporter 'import';
use Scalar::Util qw(refaddr);

use Interop::Expect;

our @EXPORT = qw(
    call attempt closing note_closing reason refused connection_closed
    publish publish_with publish_confirmed drain drain_marked get take bind_queue look_at await_ready
    ack ack_up_to reject select_confirms set_prefetch consume integer
);

# Why a channel or a connection was closed, by its address.
my %closings;

# "404 NOT_FOUND - …" of a close, or the client's own words.
sub reason(@why) {
    my ($frame) = grep { ref && eval { $_->can('method_frame') } } @why;
    return join ' ', map { $_ // 'undef' } grep { !ref } @why unless $frame;
    my $close = $frame->method_frame;
    return join ' ', $close->reply_code // 0, $close->reply_text // '';
}

# The client tells twice if the broker is gone before it could answer: that, and what the broker had said.
sub note_closing($object, @why) {
    my $noted = \$closings{ refaddr $object };
    my $reason = reason(@why);
    $$noted = $reason if !defined $$noted || $reason =~ /^\d/;
    changed();
}

sub closing($object) {
    return $closings{ refaddr $object };
}

# Calls a method that answers by callback, and waits for the answer.
sub call($object, $method, %arguments) {
    my ($is_done, $answer, $problem);
    $object->$method(
        %arguments,
        on_success => sub (@given) { ($is_done, $answer) = (1, $given[0]); changed() },
        on_failure => sub (@why) { ($is_done, $problem) = (1, reason(@why)); changed() },
    );
    wait_until(sub { $is_done }, $method);
    return $answer unless defined $problem;
    fail("$method: $problem: " . (closing($object) // 'not closed'));
}

# The same for what is going to be refused.
sub attempt($object, $method, %arguments) {
    $object->$method(%arguments, on_failure => sub { });
}

# Closes the channel for this reason when it is used so.
sub refused($channel, $code, $text, $use) {
    $use->($channel);
    wait_until(sub { closing($channel) }, "the channel is closed with $code $text");
    equal(closing($channel), join(' ', $code, substr $text, 0, 255), 'channel error');
}

sub connection_closed($connection, $code, $text) {
    wait_until(sub { closing($connection) }, "the connection is closed with $code $text");
    equal(closing($connection), join(' ', $code, substr $text, 0, 255), 'connection error');
}

# A number in a header; plain ones are sent as strings.
sub integer($value) {
    return Net::AMQP::Value::Integer->new($value);
}

sub publish($channel, $queue, @bodies) {
    $channel->publish(exchange => '', routing_key => $queue, body => $_) for @bodies;
}

sub publish_with($channel, $queue, $header, $body) {
    $channel->publish(exchange => '', routing_key => $queue, header => $header, body => $body);
}

sub select_confirms($channel) {
    call($channel, 'confirm');
}

# What became of a message: `ack` or `nack`, and the code of its return.
sub publish_confirmed($channel, %arguments) {
    my ($confirm, $returned);
    $channel->publish(
        exchange => '',
        %arguments,
        on_ack    => sub { $confirm  = 'ack';  changed() },
        on_nack   => sub { $confirm  = 'nack'; changed() },
        on_return => sub ($frame) { $returned = $frame->method_frame->reply_code },
    );
    wait_until(sub { $confirm }, 'confirm');
    return wantarray ? ($confirm, $returned) : $confirm;
}

sub message($method, $content) {
    return {
        method => $method,
        header => $content->{header},
        body   => $content->{body} ? $content->{body}->payload : '',
    };
}

# A consumer that keeps what it receives, for a scenario to wait on.
sub consume($channel, $queue, %options) {
    my $inbox = bless { channel => $channel, messages => [] }, 'Interop::Inbox';
    my $ok = call(
        $channel, 'consume',
        queue  => $queue,
        no_ack => 0,
        %options,
        on_consume => sub ($content) {
            push @{ $inbox->{messages} }, message($content->{deliver}->method_frame, $content);
            changed();
        },
        on_cancel => sub { $inbox->{is_cancelled} = 1; changed() },
    );
    $inbox->{tag} = $ok->method_frame->consumer_tag;
    return $inbox;
}

# undef if the queue is empty.
sub get($channel, $queue, %options) {
    my $content = call($channel, 'get', queue => $queue, no_ack => 0, %options);
    return $content->{empty} ? undef : message($content->{ok}->method_frame, $content);
}

# One that has to be there, settled.
sub take($channel, $queue) {
    return get($channel, $queue, no_ack => 1) // fail("no message in $queue");
}

sub drain($channel, $queue) {
    return [map { $_->{body} } all($channel, $queue)];
}

# The bodies, each with whether it is redelivered.
sub drain_marked($channel, $queue) {
    return [map { $_->{body} . ($_->{method}->redelivered ? ' again' : '') } all($channel, $queue)];
}

sub all($channel, $queue) {
    my @messages;
    while (my $message = get($channel, $queue, no_ack => 1)) {
        push @messages, $message;
    }
    return @messages;
}

sub bind_queue($channel, $queue, $exchange, $key = '', %arguments) {
    call(
        $channel, 'bind_queue',
        queue => $queue, exchange => $exchange, routing_key => $key, arguments => \%arguments,
    );
}

# What a passive declare says: messages ready and consumers.
sub look_at($channel, $queue) {
    return call($channel, 'declare_queue', queue => $queue, passive => 1)->method_frame;
}

# RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue.
sub await_ready($channel, $queue, $count) {
    poll_until(sub { look_at($channel, $queue)->message_count == $count }, "$count messages ready");
}

sub set_prefetch($channel, $count, %options) {
    call($channel, 'qos', prefetch_count => $count, %options);
}

sub ack($channel, $tag) {
    $channel->ack(delivery_tag => $tag);
}

sub ack_up_to($channel, $tag) {
    $channel->ack(delivery_tag => $tag, multiple => 1);
}

sub reject($channel, $tag, %options) {
    $channel->reject(delivery_tag => $tag, %options);
}

package Interop::Inbox;

use Interop::Expect;

sub channel($self) { $self->{channel} }
sub tag($self) { $self->{tag} }
sub count($self) { scalar @{ $self->{messages} } }
sub is_cancelled($self) { $self->{is_cancelled} }

# The first so many, awaited.
sub wait($self, $count) {
    wait_until(sub { $self->count >= $count }, "$count messages");
    return @{ $self->{messages} }[0 .. $count - 1];
}

sub message($self, $position) {
    return ($self->wait($position + 1))[-1];
}

sub delivery_tag($self, $position) {
    return $self->message($position)->{method}->delivery_tag;
}

sub bodies($self, $count = $self->count) {
    return [map { $_->{body} } $self->wait($count)];
}

sub marked($self, $count = $self->count) {
    return [map { $_->{body} . ($_->{method}->redelivered ? ' again' : '') } $self->wait($count)];
}

sub cancel($self) {
    Interop::Client::call($self->channel, 'cancel', consumer_tag => $self->tag);
}

1;
