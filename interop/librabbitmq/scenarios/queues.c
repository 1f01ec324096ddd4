#include "client.h"

#include <string.h>

static void expect_declared(amqp_queue_declare_ok_t *ok, const char *queue, uint32_t messages, uint32_t consumers)
{
    check(ok != NULL, "%s is not declared", queue);
    equal_text(text_of(ok->queue), queue, "name");
    equal_int(ok->message_count, messages, "messages");
    equal_int(ok->consumer_count, consumers, "consumers");
}

static void queue_declare(void)
{
    Channel channel = new_channel();
    char *queue = name("queue");
    for (int turn = 0; turn < 2; turn++)
        expect_declared(declare_queue(channel, queue, (QueueOptions){.exclusive = true}), queue, 0, 0);
    publish(channel, queue, "a", "b", "c");
    await_ready(channel, queue, 3);
    expect_declared(declare_queue(channel, queue, (QueueOptions){.passive = true}), queue, 3, 0);
    await_messages(consume(channel, queue), 3);
    expect_declared(declare_queue(channel, queue, (QueueOptions){.exclusive = true}), queue, 0, 1);
}

static char *inequivalent(const char *argument, const char *queue, const char *difference)
{
    return text(
        "PRECONDITION_FAILED - inequivalent arg '%s' for queue '%s' in vhost '/': %s", argument, queue, difference);
}

static void queue_mismatch(void)
{
    static const char difference[] = "received 'true' but current is 'false'";
    Connection *connection = connect_to_broker();
    Channel owner = open_channel(connection, 1), channel = open_channel(connection, 2);
    amqp_table_t ttl = TABLE(number("x-message-ttl", 60000));
    char *plain = shared_queue(owner, "plain", (QueueOptions){0});
    char *limited = shared_queue(owner, "limited", (QueueOptions){.arguments = ttl});

    declare_queue(channel, plain, (QueueOptions){.durable = true});
    refused(channel, AMQP_PRECONDITION_FAILED, inequivalent("durable", plain, difference));
    declare_queue(channel, plain, (QueueOptions){.auto_delete = true});
    refused(channel, AMQP_PRECONDITION_FAILED, inequivalent("auto_delete", plain, difference));
    declare_queue(channel, plain, (QueueOptions){.arguments = ttl});
    refused(
        channel, AMQP_PRECONDITION_FAILED,
        inequivalent(
            "x-message-ttl", plain, "received the value '60000' of type 'signedint' but current is none"));
    declare_queue(channel, limited, (QueueOptions){0});
    refused(
        channel, AMQP_PRECONDITION_FAILED,
        inequivalent(
            "x-message-ttl", limited, "received none but current is the value '60000' of type 'signedint'"));
    declare_queue(channel, plain, (QueueOptions){.exclusive = true});
    refused(
        channel, AMQP_RESOURCE_LOCKED,
        text(
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could be "
            "originally declared on another connection or the exclusive property value does not match that of the "
            "original declaration.",
            plain));
    expect_declared(declare_queue(owner, limited, (QueueOptions){.arguments = ttl}), limited, 0, 0);
}

static char *server_named(Channel channel)
{
    amqp_queue_declare_ok_t *ok = declare_queue(channel, "", (QueueOptions){.exclusive = true});
    must(channel, "queue.declare");
    char *queue = text_of(ok->queue);
    check(strncmp(queue, "amq.gen-", 8) == 0, "a server-named queue is called '%s'", queue);
    return queue;
}

static void server_named_queue(void)
{
    Channel channel = new_channel();
    char *queue = server_named(channel);
    check(strcmp(server_named(channel), queue) != 0, "two server-named queues are called '%s'", queue);
    char *last = server_named(channel);
    bind_queue(channel, "", "amq.direct", name("key"));
    publish_to(channel, "amq.direct", name("key"), "to the last declared");
    equal_text(drain(channel, last), "to the last declared", "messages of the last declared");
    equal_text(drain(channel, queue), "", "messages of the first declared");
    publish(channel, last, "taken by no name");
    equal_text(drain(channel, ""), "taken by no name", "messages of the queue without a name");
}

static uint32_t deleted_messages(Channel channel, const char *queue)
{
    amqp_queue_delete_ok_t *ok = amqp_queue_delete(channel.state, channel.number, bytes(queue), false, false);
    must(channel, "queue.delete");
    return ok->message_count;
}

static void queue_purge_and_delete(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    publish(channel, queue, "a", "b", "c");
    amqp_queue_purge_ok_t *ok = amqp_queue_purge(channel.state, channel.number, bytes(queue));
    must(channel, "queue.purge");
    equal_int(ok->message_count, 3, "messages purged");
    equal_text(drain(channel, queue), "", "messages after the purge");
    publish(channel, queue, "d", "e");
    equal_int(deleted_messages(channel, queue), 2, "messages deleted with the queue");
    equal_int(deleted_messages(channel, queue), 0, "messages deleted with no queue");
    amqp_exchange_delete(channel.state, channel.number, bytes(name("never declared")), false);
    must(channel, "exchange.delete");
}

static void expect_gone(Channel channel, const char *queue)
{
    declare_queue(channel, queue, (QueueOptions){.passive = true});
    refused(channel, AMQP_NOT_FOUND, text("NOT_FOUND - no queue '%s' in vhost '/'", queue));
}

static void exclusive_queue(void)
{
    Channel channel = new_channel(), other = new_channel();
    char *queue = new_queue(channel, "queue");
    close_connection(channel.connection);
    expect_gone(other, queue);
}

/* A mandatory message asks without touching the queue. */
static bool is_reached(Channel channel, const char *queue)
{
    Connection *connection = channel.connection;
    size_t returned = connection->returned.count;
    send_message(channel, "", queue, true, NULL, amqp_empty_bytes);
    await_confirms(channel);
    return connection->returned.count == returned;
}

static void auto_delete_queue(void)
{
    Channel channel = new_channel();
    select_confirms(channel);
    char *queue = shared_queue(channel, "queue", (QueueOptions){.auto_delete = true});
    check(is_reached(channel, queue), "it is gone before it has had a consumer");
    Inbox *first = consume(channel, queue), *last = consume(channel, queue);
    cancel(first);
    equal_int(look_at(channel, queue).consumer_count, 1, "consumers");
    cancel(last);
    eventually(!is_reached(channel, queue), "the queue is gone");
    expect_gone(channel, queue);
}

static void message_ttl(void)
{
    Channel channel = new_channel();
    select_confirms(channel);
    char *brief = new_queue_with(channel, "brief", TABLE(number("x-message-ttl", 150)));
    char *lasting = new_queue_with(channel, "lasting", TABLE(number("x-message-ttl", 60000)));
    double started = now();
    publish_with(channel, brief, NULL, "by the queue");
    publish_with(channel, brief, EXPIRATION("60000"), "by the queue, the smaller");
    publish_with(channel, lasting, EXPIRATION("150"), "by the message, the smaller");
    publish_with(channel, lasting, EXPIRATION("60000"), "young");
    publish_with(channel, lasting, NULL, "young too");
    await_confirms(channel);
    await_ready(channel, brief, 0);
    check(now() - started >= 0.15, "the queue's TTL took %.3f s", now() - started);
    await_ready(channel, lasting, 2);
    check(now() - started >= 0.15, "the message's expiration took %.3f s", now() - started);
    equal_text(drain(channel, brief), "", "messages of the brief queue");
    equal_text(drain(channel, lasting), "young, young too", "younger messages");

    publish_with(channel, lasting, EXPIRATION("soon"), "");
    declare_queue(channel, lasting, (QueueOptions){.passive = true});
    refused(channel, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer");
    publish_with(channel, lasting, EXPIRATION("10s"), "");
    declare_queue(channel, lasting, (QueueOptions){.passive = true});
    refused(
        channel, AMQP_PRECONDITION_FAILED,
        "PRECONDITION_FAILED - invalid expiration '10s': {leftover_string,\"s\"}");
}

static void queue_expires(void)
{
    Channel channel = new_channel();
    select_confirms(channel);
    amqp_table_t arguments = TABLE(number("x-expires", 200));
    char *consumed = new_queue_with(channel, "consumed", arguments);
    Inbox *inbox = consume_with(channel, consumed, (ConsumeOptions){.no_ack = true});
    double started = now();
    char *unused = new_queue_with(channel, "unused", arguments);
    eventually(!is_reached(channel, unused), "the unused queue is gone");
    check(now() - started >= 0.2, "the unused queue lived for %.3f s", now() - started);
    publish(channel, consumed, "still here");
    equal_text(first_bodies(inbox, 1), "still here", "messages of the queue with a consumer");
    cancel(inbox);
    eventually(!is_reached(channel, consumed), "the queue that has lost its consumer is gone");
}

static void max_length(void)
{
    Channel channel = new_channel();
    select_confirms(channel);
    char *by_count = new_queue_with(channel, "count", TABLE(number("x-max-length", 3)));
    char *by_bytes = new_queue_with(channel, "bytes", TABLE(number("x-max-length-bytes", 10)));
    publish(channel, by_count, "1", "2", "3", "4", "5");
    publish(channel, by_bytes, "aaaa", "bbbb", "cccccc", "dddd");
    await_confirms(channel);
    equal_text(drain(channel, by_count), "3, 4, 5", "the last three messages");
    equal_text(drain(channel, by_bytes), "cccccc, dddd", "the last ten bytes");
}

static void priority_queue(void)
{
    static const uint8_t priorities[] = {5, 0, 10, 255, 1, 5, 11, 9};
    Channel channel = new_channel();
    select_confirms(channel);
    char *queue = new_queue_with(channel, "queue", TABLE(number("x-max-priority", 10)));
    publish(channel, queue, "none");
    for (size_t n = 0; n < sizeof priorities; n++) {
        amqp_basic_properties_t *properties = PROPERTIES(AMQP_BASIC_PRIORITY_FLAG, .priority = priorities[n]);
        publish_with(channel, queue, properties, text("%d", priorities[n]));
    }
    publish(channel, queue, "none again");
    await_confirms(channel);
    Inbox *inbox = consume(channel, queue);
    equal_text(first_bodies(inbox, 10), "10, 255, 11, 9, 5, 5, 1, none, 0, none again", "messages by priority");
}

static void single_active_consumer(void)
{
    Channel observer = new_channel();
    amqp_table_t arguments = TABLE(flag("x-single-active-consumer", true));
    char *queue = shared_queue(observer, "queue", (QueueOptions){.arguments = arguments});
    Inbox *first = consume(new_channel(), queue), *second = consume(new_channel(), queue);
    Inbox *third = consume(second->channel, queue);
    publish(observer, queue, "1", "2", "3", "4", "5");
    equal_text(first_bodies(first, 5), "1, 2, 3, 4, 5", "messages of the first consumer");
    acknowledge_up_to(first->channel, 4);
    close_connection(first->channel.connection);
    publish(observer, queue, "6");
    await_messages(second, 2);
    equal_text(marked_bodies(second), "5 again, 6", "messages of the next consumer");
    cancel(second);
    publish(observer, queue, "7");
    equal_text(first_bodies(third, 1), "7", "messages of the last consumer");
    equal_int((int64_t)second->messages.count, 2, "messages of the next consumer");
}

static void quorum_queue(void)
{
    Channel channel = new_channel();
    char *dead = new_queue(channel, "dead");
    amqp_table_t arguments = TABLE(
        utf8("x-queue-type", "quorum"), number("x-delivery-limit", 2), utf8("x-dead-letter-exchange", ""),
        utf8("x-dead-letter-routing-key", dead));
    char *queue = shared_queue(channel, "queue", (QueueOptions){.durable = true, .arguments = arguments});
    publish(channel, queue, "poison");
    Inbox *inbox = consume(channel, queue), *letters = consume(channel, dead);
    List *counts = list();
    for (size_t turn = 0; turn < 3; turn++) {
        Message *message = message_at(inbox, turn);
        add(counts, "%s", header(message, "x-delivery-count"));
        reject(channel, message->delivery_tag, true);
    }
    Message *letter = message_at(letters, 0);
    equal_text(listed(counts), "none, l:1, l:2", "x-delivery-count of the deliveries");
    equal_text(marked_bodies(inbox), "poison, poison again, poison again", "deliveries");
    equal_text(body(letter), "poison", "dead letter");
    equal_text(header(letter, "x-first-death-reason"), "S:delivery_limit", "reason");
    equal_text(header(letter, "x-first-death-queue"), text("S:%s", queue), "queue");
}

static void long_and_unicode_names(void)
{
    Channel channel = new_channel();
    char long_name[256];
    memset(long_name, 'x', sizeof long_name);
    char *start = name("long");
    memcpy(long_name, start, strlen(start));
    long_name[255] = '\0';
    expect_declared(declare_queue(channel, long_name, (QueueOptions){.exclusive = true}), long_name, 0, 0);
    publish(channel, long_name, "long");
    equal_text(drain(channel, long_name), "long", "messages of the long name");

    char *queue = name("зайчонок-野兎-🐇");
    expect_declared(declare_queue(channel, queue, (QueueOptions){.exclusive = true}), queue, 0, 0);
    char *exchange = new_exchange(channel, "topic", "größe", (ExchangeOptions){0});
    bind_queue(channel, queue, exchange, "straße.*");
    publish_to(channel, exchange, "straße.жук", "unicode");
    Message message = take(channel, queue);
    equal_text(message.exchange, exchange, "exchange");
    equal_text(message.routing_key, "straße.жук", "routing key");
    equal_text(body(&message), "unicode", "body");
}

const Scenario queue_scenarios[] = {
    SCENARIO(queue_declare),
    SCENARIO(queue_mismatch),
    SCENARIO(server_named_queue),
    SCENARIO(queue_purge_and_delete),
    SCENARIO(exclusive_queue),
    SCENARIO(auto_delete_queue),
    SCENARIO(message_ttl),
    SCENARIO(queue_expires),
    SCENARIO(max_length),
    SCENARIO(priority_queue),
    SCENARIO(single_active_consumer),
    SCENARIO(quorum_queue),
    SCENARIO(long_and_unicode_names),
    END_OF_SCENARIOS,
};
