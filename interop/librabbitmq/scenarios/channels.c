#include "client.h"

#include <stdlib.h>
#include <string.h>

#define CHANNELS 1000

static const char NO_QUEUE[] = "NOT_FOUND - no queue 'nothing' in vhost '/'";
static const char NO_EXCHANGE[] = "NOT_FOUND - no exchange 'nothing' in vhost '/'";

static void channel_open_close(void)
{
    Connection *connection = connect_to_broker();
    for (int turn = 0; turn < 200; turn++)
        close_channel(open_channel(connection, 1));
    Channel channel = open_channel(connection, 1);
    char *queue = new_queue(channel, "queue");
    publish(channel, queue, "on the last");
    equal_text(drain(channel, queue), "on the last", "messages");
}

static void thousand_channels(void)
{
    static Inbox *inboxes[CHANNELS];
    static bool came[CHANNELS];
    Connection *connection = connect_to_broker();
    Channel publisher = new_channel();
    char *queue = shared_queue(publisher, "queue", (QueueOptions){0});
    for (int n = 0; n < CHANNELS; n++) {
        Channel channel = open_channel(connection, (amqp_channel_t)(n + 1));
        set_prefetch(channel, 1);
        inboxes[n] = consume(channel, queue);
    }
    publish_numbers(publisher, queue, 0, CHANNELS);
    for (int n = 0; n < CHANNELS; n++) {
        int number = atoi(body(message_at(inboxes[n], 0)));
        check(!came[number], "message %d came to two channels", number);
        came[number] = true;
    }
    for (int n = 0; n < CHANNELS; n++) {
        equal_int((int64_t)inboxes[n]->messages.count, 1, "messages of a channel");
        acknowledge(inboxes[n]->channel, 1);
        close_channel(inboxes[n]->channel);
    }
    equal_text(drain(publisher, queue), "", "messages left");
}

static void error_closes_only_the_channel(void)
{
    Connection *connection = connect_to_broker();
    Channel healthy = open_channel(connection, 1), faulty = open_channel(connection, 2);
    char *queue = new_queue(healthy, "healthy"), *held = new_queue(healthy, "held");
    Inbox *inbox = consume(healthy, queue);
    publish(faulty, held, "unsettled");
    Message message;
    check(get(faulty, held, false, &message), "nothing to hold");
    declare_queue(faulty, "nothing", (QueueOptions){.passive = true});
    refused(faulty, AMQP_NOT_FOUND, NO_QUEUE);
    publish(healthy, queue, "still here");
    equal_text(first_bodies(inbox, 1), "still here", "messages of the other channel");
    equal_text(drain_marked(healthy, held), "unsettled again", "message of the closed channel");
    publish(faulty, queue, "on the number used again");
    equal_text(first_bodies(inbox, 2), "still here, on the number used again", "messages of the other channel");
}

static void not_found(void)
{
    Connection *connection = connect_to_broker();
    Channel owner = open_channel(connection, 1), channel = open_channel(connection, 2);
    char *queue = new_queue(owner, "queue");
    char *exchange = new_exchange(owner, "direct", "exchange", (ExchangeOptions){0});
    amqp_connection_state_t state = channel.state;
    amqp_bytes_t nothing = bytes("nothing"), key = bytes("key");

    declare_queue(channel, "nothing", (QueueOptions){.passive = true});
    refused(channel, AMQP_NOT_FOUND, NO_QUEUE);
    amqp_basic_get(state, channel.number, nothing, false);
    refused(channel, AMQP_NOT_FOUND, NO_QUEUE);
    amqp_basic_consume(state, channel.number, nothing, amqp_empty_bytes, false, false, false, amqp_empty_table);
    refused(channel, AMQP_NOT_FOUND, NO_QUEUE);
    amqp_queue_purge(state, channel.number, nothing);
    refused(channel, AMQP_NOT_FOUND, NO_QUEUE);
    amqp_queue_bind(state, channel.number, nothing, bytes(exchange), key, amqp_empty_table);
    refused(channel, AMQP_NOT_FOUND, NO_QUEUE);

    amqp_queue_bind(state, channel.number, bytes(queue), nothing, key, amqp_empty_table);
    refused(channel, AMQP_NOT_FOUND, NO_EXCHANGE);
    declare_exchange(channel, "nothing", "direct", (ExchangeOptions){.passive = true});
    refused(channel, AMQP_NOT_FOUND, NO_EXCHANGE);
    amqp_exchange_bind(state, channel.number, bytes(exchange), nothing, key, amqp_empty_table);
    refused(channel, AMQP_NOT_FOUND, NO_EXCHANGE);
    publish_to(channel, "nothing", "key", "lost");
    declare_queue(channel, queue, (QueueOptions){.passive = true});
    refused(channel, AMQP_NOT_FOUND, NO_EXCHANGE);

    amqp_basic_consume(
        state, channel.number, amqp_empty_bytes, amqp_empty_bytes, false, false, false, amqp_empty_table);
    refused(channel, AMQP_NOT_FOUND, "NOT_FOUND - no previously declared queue");
    look_at(owner, queue);
}

static void access_refused(void)
{
    static const char default_exchange[] =
        "ACCESS_REFUSED - operation not permitted on the default exchange";
    Connection *connection = connect_to_broker();
    Channel owner = open_channel(connection, 1), channel = open_channel(connection, 2);
    char *queue = new_queue(owner, "queue");
    char *internal = new_exchange(owner, "fanout", "internal", (ExchangeOptions){.internal = true});
    amqp_bytes_t key = bytes("key");

    declare_queue(channel, "amq.interop", (QueueOptions){0});
    refused(
        channel, AMQP_ACCESS_REFUSED,
        "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'");
    declare_exchange(channel, "amq.interop", "direct", (ExchangeOptions){0});
    refused(
        channel, AMQP_ACCESS_REFUSED,
        "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'");
    amqp_queue_bind(channel.state, channel.number, bytes(queue), amqp_empty_bytes, key, amqp_empty_table);
    refused(channel, AMQP_ACCESS_REFUSED, default_exchange);
    amqp_queue_unbind(channel.state, channel.number, bytes(queue), amqp_empty_bytes, key, amqp_empty_table);
    refused(channel, AMQP_ACCESS_REFUSED, default_exchange);
    amqp_exchange_delete(channel.state, channel.number, amqp_empty_bytes, false);
    refused(channel, AMQP_ACCESS_REFUSED, default_exchange);
    publish_to(channel, internal, "key", "refused");
    declare_queue(channel, queue, (QueueOptions){.passive = true});
    refused(
        channel, AMQP_ACCESS_REFUSED,
        text("ACCESS_REFUSED - cannot publish to internal exchange '%s' in vhost '/'", internal));
}

static void resource_locked(void)
{
    Channel owner = new_channel(), intruder = new_channel();
    char *queue = new_queue(owner, "queue");
    char *locked = text(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could be originally "
        "declared on another connection or the exclusive property value does not match that of the original "
        "declaration.",
        queue);
    amqp_bytes_t its_name = bytes(queue);

    declare_queue(intruder, queue, (QueueOptions){.exclusive = true});
    refused(intruder, AMQP_RESOURCE_LOCKED, locked);
    declare_queue(intruder, queue, (QueueOptions){.passive = true});
    refused(intruder, AMQP_RESOURCE_LOCKED, locked);
    amqp_basic_get(intruder.state, intruder.number, its_name, false);
    refused(intruder, AMQP_RESOURCE_LOCKED, locked);
    amqp_basic_consume(
        intruder.state, intruder.number, its_name, amqp_empty_bytes, false, false, false, amqp_empty_table);
    refused(intruder, AMQP_RESOURCE_LOCKED, locked);
    amqp_queue_purge(intruder.state, intruder.number, its_name);
    refused(intruder, AMQP_RESOURCE_LOCKED, locked);
    amqp_queue_delete(intruder.state, intruder.number, its_name, false, false);
    refused(intruder, AMQP_RESOURCE_LOCKED, locked);
    amqp_queue_bind(
        intruder.state, intruder.number, its_name, bytes("amq.fanout"), amqp_empty_bytes, amqp_empty_table);
    refused(intruder, AMQP_RESOURCE_LOCKED, locked);

    publish(owner, queue, "mine");
    equal_text(drain(owner, queue), "mine", "messages of the owner");
}

static void precondition_failed(void)
{
    Connection *connection = connect_to_broker();
    Channel owner = open_channel(connection, 1), channel = open_channel(connection, 2);
    char *queue = new_queue(owner, "queue");
    char *exchange = new_exchange(owner, "fanout", "exchange", (ExchangeOptions){0});
    bind_queue(owner, queue, exchange, "");

    acknowledge(channel, 99);
    declare_queue(channel, queue, (QueueOptions){.passive = true});
    refused(channel, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - unknown delivery tag 99");

    publish(channel, queue, "once");
    Message message;
    check(get(channel, queue, false, &message), "nothing to acknowledge");
    acknowledge(channel, message.delivery_tag);
    acknowledge(channel, message.delivery_tag);
    declare_queue(channel, queue, (QueueOptions){.passive = true});
    refused(channel, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - unknown delivery tag 1");

    publish(owner, queue, "kept");
    await_ready(owner, queue, 1);
    amqp_queue_delete(channel.state, channel.number, bytes(queue), false, true);
    refused(
        channel, AMQP_PRECONDITION_FAILED, text("PRECONDITION_FAILED - queue '%s' in vhost '/' not empty", queue));
    consume(owner, queue);
    amqp_queue_delete(channel.state, channel.number, bytes(queue), true, false);
    refused(channel, AMQP_PRECONDITION_FAILED, text("PRECONDITION_FAILED - queue '%s' in vhost '/' in use", queue));
    amqp_exchange_delete(channel.state, channel.number, bytes(exchange), true);
    refused(
        channel, AMQP_PRECONDITION_FAILED,
        text("PRECONDITION_FAILED - exchange '%s' in vhost '/' in use", exchange));
}

static void duplicate_consumer_tag(void)
{
    Channel bystander = new_channel(), channel = new_channel();
    char *queue = new_queue(bystander, "bystander");
    char *consumed = new_queue(channel, "consumed");
    consume_with(channel, consumed, (ConsumeOptions){.tag = "twice"});
    amqp_basic_consume(
        channel.state, channel.number, bytes(consumed), bytes("twice"), false, false, false, amqp_empty_table);
    expect_closed(
        channel.connection, AMQP_NOT_ALLOWED, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'");
    publish(bystander, queue, "untouched");
    equal_text(drain(bystander, queue), "untouched", "messages of another connection");
}

static void not_implemented(void)
{
    Channel bystander = new_channel();
    char *queue = new_queue(bystander, "queue");

    Channel channel = new_channel();
    amqp_basic_qos(channel.state, channel.number, 1024, 0, false);
    expect_closed(channel.connection, AMQP_NOT_IMPLEMENTED, "NOT_IMPLEMENTED - prefetch_size!=0 (1024)");
    channel = new_channel();
    amqp_basic_recover(channel.state, channel.number, false);
    expect_closed(channel.connection, AMQP_NOT_IMPLEMENTED, "NOT_IMPLEMENTED - requeue=false");
    channel = new_channel();
    amqp_channel_flow(channel.state, channel.number, false);
    expect_closed(channel.connection, AMQP_NOT_IMPLEMENTED, "NOT_IMPLEMENTED - active=false");

    publish(bystander, queue, "untouched");
    equal_text(drain(bystander, queue), "untouched", "messages of another connection");
}

const Scenario channel_scenarios[] = {
    SCENARIO(channel_open_close),
    SCENARIO(thousand_channels),
    SCENARIO(error_closes_only_the_channel),
    SCENARIO(not_found),
    SCENARIO(access_refused),
    SCENARIO(resource_locked),
    SCENARIO(precondition_failed),
    SCENARIO(duplicate_consumer_tag),
    SCENARIO(not_implemented),
    END_OF_SCENARIOS,
};
