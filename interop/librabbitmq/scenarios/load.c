#include "client.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PUBLISHERS 8
#define MESSAGES_EACH 1000

#define SLOW_PREFETCH 20
#define SLOW_MESSAGES 2000
#define SLOW_BODY 4096
#define UNREAD_MESSAGES 2048
#define UNREAD_BODY 32768
#define FAST_MESSAGES 5000

typedef struct Publisher {
    pthread_t thread;
    int number;
    const char *queue;
} Publisher;

/* librabbitmq's connections belong to one thread each. */
static void *publish_confirmed(void *argument)
{
    const Publisher *publisher = argument;
    Channel channel = new_channel();
    select_confirms(channel);
    for (int n = 0; n < MESSAGES_EACH; n++)
        publish(channel, publisher->queue, text("%d %d", publisher->number, n));
    await_confirms(channel);
    for (int n = 1; n <= MESSAGES_EACH; n++)
        equal_int(channel.connection->confirms[n], ACKED, "confirm");
    close_connection(channel.connection);
    return NULL;
}

static void concurrent_publishing(void)
{
    Channel channel = new_channel();
    char *queue = shared_queue(channel, "queue", (QueueOptions){0});
    Publisher publishers[PUBLISHERS];
    for (int n = 0; n < PUBLISHERS; n++) {
        publishers[n] = (Publisher){.number = n, .queue = queue};
        int status = pthread_create(&publishers[n].thread, NULL, publish_confirmed, &publishers[n]);
        check(status == 0, "no thread for publisher %d", n);
    }
    Inbox *inbox = consume_with(channel, queue, (ConsumeOptions){.no_ack = true});
    int next[PUBLISHERS] = {0};
    for (size_t n = 0; n < PUBLISHERS * MESSAGES_EACH; n++) {
        int publisher, number;
        char *content = body(message_at(inbox, n));
        check(sscanf(content, "%d %d", &publisher, &number) == 2, "a body: %s", content);
        equal_int(number, next[publisher]++, "the next message of a publisher");
    }
    for (int n = 0; n < PUBLISHERS; n++)
        pthread_join(publishers[n].thread, NULL);
}

static void publish_padded(Channel channel, const char *queue, int count, size_t size)
{
    char *padding = calloc(size, 1);
    check(padding != NULL, "no memory for a body");
    for (int n = 0; n < count; n++) {
        int length = snprintf(padding, size, "%d ", n);
        memset(padding + length, '.', size - (size_t)length);
        send_message(channel, "", queue, false, NULL, (amqp_bytes_t){size, padding});
    }
    free(padding);
}

/* On connections of their own, so that nothing but the broker can hold them up. */
static void expect_fast_consumer_unhindered(Channel publisher, const char *queue)
{
    Inbox *inbox = consume_with(new_channel(), queue, (ConsumeOptions){.no_ack = true});
    publish_numbers(publisher, queue, 0, FAST_MESSAGES);
    equal_text(first_bodies(inbox, FAST_MESSAGES), numbers(0, FAST_MESSAGES), "the fast consumer's messages");
}

static void expect_numbered(const Message *message, size_t number, size_t size)
{
    equal_int(atoi(message->content.body.bytes), (int64_t)number, "the next message");
    equal_int((int64_t)message->content.body.len, (int64_t)size, "body size");
}

static void slow_consumer(void)
{
    Channel publisher = new_channel(), slow = new_channel();
    char *slow_queue = shared_queue(publisher, "slow", (QueueOptions){0});
    char *fast_queue = shared_queue(publisher, "fast", (QueueOptions){0});
    set_prefetch(slow, SLOW_PREFETCH);
    Inbox *inbox = consume(slow, slow_queue);
    publish_padded(publisher, slow_queue, SLOW_MESSAGES, SLOW_BODY);
    expect_fast_consumer_unhindered(publisher, fast_queue);

    await_messages(inbox, SLOW_PREFETCH);
    await_ready(publisher, slow_queue, SLOW_MESSAGES - SLOW_PREFETCH);
    for (size_t n = 0; n < SLOW_MESSAGES; n++) {
        Message *message = message_at(inbox, n);
        check(inbox->messages.count <= n + SLOW_PREFETCH, "more than its prefetch: %zu", inbox->messages.count);
        expect_numbered(message, n, SLOW_BODY);
        acknowledge(slow, message->delivery_tag);
    }
    cancel(inbox);
    equal_text(drain(publisher, slow_queue), "", "messages left");
}

/* librabbitmq reads only when it is asked to, so the unread messages fill the buffers of the sockets. */
static void unread_consumer(void)
{
    Channel publisher = new_channel(), unread = new_channel();
    char *unread_queue = shared_queue(publisher, "unread", (QueueOptions){0});
    char *fast_queue = shared_queue(publisher, "fast", (QueueOptions){0});
    Inbox *inbox = consume_with(unread, unread_queue, (ConsumeOptions){.no_ack = true});
    publish_padded(publisher, unread_queue, UNREAD_MESSAGES, UNREAD_BODY);
    expect_fast_consumer_unhindered(publisher, fast_queue);
    for (size_t n = 0; n < UNREAD_MESSAGES; n++)
        expect_numbered(message_at(inbox, n), n, UNREAD_BODY);
}

static void survives_restart(void)
{
    Channel channel = new_channel();
    select_confirms(channel);
    char *exchange = new_exchange(channel, "direct", "exchange", (ExchangeOptions){.durable = true});
    char *queue = shared_queue(channel, "queue", (QueueOptions){.durable = true});
    bind_queue(channel, queue, exchange, "key");
    for (int n = 0; n < 5; n++)
        send_message(channel, exchange, "key", false, PERSISTENT, bytes(text("%d", n)));
    publish_to(channel, exchange, "key", "transient");
    await_confirms(channel);
    Message held;
    for (int n = 0; n < 2; n++)
        check(get(channel, queue, false, &held), "nothing to hold");
    ask("restart");
    await_for(30, channel.connection, channel.connection->is_closed, "the old connection is closed");

    channel = open_channel(reconnect(), 1);
    send_message(channel, exchange, "key", false, PERSISTENT, bytes("5"));
    Inbox *inbox = consume(channel, queue);
    await_messages(inbox, 6);
    equal_text(marked_bodies(inbox), "0 again, 1 again, 2, 3, 4, 5", "messages after the restart");
}

const Scenario load_scenarios[] = {
    SCENARIO(concurrent_publishing),
    SCENARIO(slow_consumer),
    SCENARIO(unread_consumer),
    SCENARIO(survives_restart),
    LACKING("automatic_recovery", "librabbitmq never connects again by itself"),
    END_OF_SCENARIOS,
};
