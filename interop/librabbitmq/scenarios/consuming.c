#include "client.h"

#include <stdlib.h>
#include <string.h>

/* A channel with a consumer that has taken five messages, acknowledged none, and left. */
static Inbox *five(Channel channel, const char *queue)
{
    publish(channel, queue, "1", "2", "3", "4", "5");
    Inbox *inbox = consume(channel, queue);
    await_messages(inbox, 5);
    cancel(inbox);
    return inbox;
}

static uint64_t tag(Inbox *inbox, size_t position)
{
    return message_at(inbox, position)->delivery_tag;
}

static void consume_and_ack(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    publish_numbers(channel, queue, 0, 100);
    Inbox *inbox = consume(channel, queue);
    for (size_t n = 0; n < 100; n++) {
        Message *message = message_at(inbox, n);
        equal_int((int64_t)message->delivery_tag, (int64_t)n + 1, "delivery tag");
        equal_text(message->exchange, "", "exchange");
        equal_text(message->routing_key, queue, "routing key");
        acknowledge(channel, message->delivery_tag);
    }
    equal_text(marked_bodies(inbox), numbers(0, 100), "messages");
    cancel(inbox);
    close_channel(channel);
    channel = open_channel(channel.connection, 2);
    equal_text(drain(channel, queue), "", "messages left");
}

static void no_ack(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    set_prefetch(channel, 1);
    Inbox *inbox = consume_with(channel, queue, (ConsumeOptions){.no_ack = true});
    publish_numbers(channel, queue, 0, 50);
    equal_text(first_bodies(inbox, 50), numbers(0, 50), "messages");
    close_channel(channel);
    equal_text(drain(open_channel(channel.connection, 2), queue), "", "messages left");
}

static void prefetch(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    set_prefetch(channel, 5);
    publish_numbers(channel, queue, 0, 20);
    Inbox *first = consume(channel, queue);
    await_messages(first, 5);
    await_ready(channel, queue, 15);
    Inbox *second = consume(channel, queue);
    await_messages(second, 5);
    await_ready(channel, queue, 10);
    acknowledge(channel, tag(first, 0));
    await_messages(first, 6);
    await_ready(channel, queue, 9);
    equal_text(bodies(first), "0, 1, 2, 3, 4, 10", "messages of the first consumer");
    equal_text(bodies(second), "5, 6, 7, 8, 9", "messages of the second consumer");
}

static void prefetch_per_channel(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    amqp_basic_qos(channel.state, channel.number, 0, 5, true);
    must(channel, "basic.qos");
    Inbox *first = consume(channel, queue), *second = consume(channel, queue);
    publish_numbers(channel, queue, 0, 20);
    for (uint32_t held = 5; held <= 10; held += 5) {
        await(channel.connection, first->messages.count + second->messages.count >= held, "messages to both");
        await_ready(channel, queue, 20 - held);
        equal_int((int64_t)(first->messages.count + second->messages.count), held, "messages to both");
        acknowledge_up_to(channel, 0);
    }
}

static void ack_multiple(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    acknowledge_up_to(channel, tag(five(channel, queue), 2));
    close_channel(channel);
    channel = open_channel(channel.connection, 2);
    equal_text(drain_marked(channel, queue), "4 again, 5 again", "messages beyond the tag");
    five(channel, queue);
    acknowledge_up_to(channel, 0);
    close_channel(channel);
    channel = open_channel(channel.connection, 3);
    equal_text(drain(channel, queue), "", "messages left");
}

static void nack(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    Inbox *inbox = five(channel, queue);
    negatively_acknowledge(channel, tag(inbox, 0), false, false);
    negatively_acknowledge(channel, tag(inbox, 1), false, true);
    equal_text(drain_marked(channel, queue), "2 again", "requeued one by one");
    negatively_acknowledge(channel, tag(inbox, 3), true, true);
    equal_text(drain_marked(channel, queue), "3 again, 4 again", "requeued up to the tag");
    negatively_acknowledge(channel, 0, true, false);
    negatively_acknowledge(channel, 0, true, true);
    equal_text(drain(channel, queue), "", "messages left");
}

static void reject_messages(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    Inbox *inbox = five(channel, queue);
    reject(channel, tag(inbox, 0), false);
    reject(channel, tag(inbox, 1), true);
    equal_text(drain_marked(channel, queue), "2 again", "requeued");
    for (size_t position = 2; position < 5; position++)
        reject(channel, tag(inbox, position), false);
    equal_text(drain(channel, queue), "", "messages left");
}

static void requeue_order(void)
{
    static const size_t order[] = {2, 0, 4, 1, 3};
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    Inbox *inbox = five(channel, queue);
    publish(channel, queue, "6");
    for (size_t n = 0; n < 5; n++)
        negatively_acknowledge(channel, tag(inbox, order[n]), false, true);
    equal_text(
        drain_marked(channel, queue), "1 again, 2 again, 3 again, 4 again, 5 again, 6", "order after requeue");
}

static void recover(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    publish(channel, queue, "1", "2", "3");
    Inbox *inbox = consume(channel, queue);
    await_messages(inbox, 3);
    acknowledge(channel, tag(inbox, 0));
    amqp_basic_recover(channel.state, channel.number, true);
    must(channel, "basic.recover");
    await_messages(inbox, 5);
    equal_text(marked_bodies(inbox), "1, 2, 3, 2 again, 3 again", "messages");
    for (size_t n = 0; n < 5; n++)
        equal_int((int64_t)tag(inbox, n), (int64_t)n + 1, "delivery tag");
}

static void unacked_requeued_on_close(void)
{
    static const char again[] = "1 again, 2 again, 3 again";
    Channel observer = new_channel(), channel = new_channel();
    char *queue = shared_queue(observer, "queue", (QueueOptions){0});
    publish(channel, queue, "1", "2", "3");
    await_messages(consume(channel, queue), 3);
    Inbox *second = consume(open_channel(channel.connection, 2), queue);
    close_channel(channel);
    await_messages(second, 3);
    equal_text(marked_bodies(second), again, "after the channel closed");
    Inbox *third = consume(observer, queue);
    close_connection(channel.connection);
    await_messages(third, 3);
    equal_text(marked_bodies(third), again, "after the connection closed");
}

static void consumer_cancel(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    Inbox *inbox = consume_with(channel, queue, (ConsumeOptions){.tag = "my-consumer"});
    equal_text(inbox->tag, "my-consumer", "consumer tag");
    publish(channel, queue, "before");
    equal_text(message_at(inbox, 0)->consumer_tag, "my-consumer", "consumer tag of the delivery");
    cancel(inbox);
    publish(channel, queue, "after");
    await_ready(channel, queue, 1);
    check(!work(channel.connection, 0), "something was delivered after the cancel");
    acknowledge(channel, tag(inbox, 0));
    equal_text(drain(channel, queue), "after", "messages left");
    close_channel(channel);
    equal_text(drain(open_channel(channel.connection, 2), queue), "", "messages not acknowledged");
}

static void cancel_notify(void)
{
    Connection *connection = connect_with_capability("consumer_cancel_notify");
    Channel channel = open_channel(connection, 1), other = open_channel(connection, 2);
    char *queue = new_queue(channel, "queue");
    consume_with(channel, queue, (ConsumeOptions){.tag = "first"});
    consume_with(channel, queue, (ConsumeOptions){.tag = "second"});
    delete_queue(other, queue);
    await(connection, connection->cancelled->count >= 2, "both consumers are told");
    char *told = listed(connection->cancelled);
    check(
        strcmp(told, "first, second") == 0 || strcmp(told, "second, first") == 0, "cancelled consumers: %s", told);
    new_queue(channel, "the channel is still open");
}

static void exclusive_consumer(void)
{
    Connection *connection = connect_to_broker();
    Channel owner = open_channel(connection, 1), other = open_channel(connection, 2);
    char *queue = new_queue(owner, "queue");
    char *in_use = text("ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use", queue);
    Inbox *inbox = consume_with(owner, queue, (ConsumeOptions){.exclusive = true});
    amqp_basic_consume(
        other.state, other.number, bytes(queue), amqp_empty_bytes, false, false, false, amqp_empty_table);
    refused(other, AMQP_ACCESS_REFUSED, in_use);
    cancel(inbox);
    consume(owner, queue);
    amqp_basic_consume(
        other.state, other.number, bytes(queue), amqp_empty_bytes, false, false, true, amqp_empty_table);
    refused(other, AMQP_ACCESS_REFUSED, in_use);
}

/* Whose turn is first is not said. */
static void round_robin(void)
{
    static const char *const turns[] = {
        "0, 3, 6, 9, 12, 15, 18, 21, 24, 27",
        "1, 4, 7, 10, 13, 16, 19, 22, 25, 28",
        "2, 5, 8, 11, 14, 17, 20, 23, 26, 29",
    };
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    Inbox *inboxes[3];
    for (size_t n = 0; n < 3; n++)
        inboxes[n] = consume_with(channel, queue, (ConsumeOptions){.no_ack = true});
    publish_numbers(channel, queue, 0, 30);
    bool taken[3] = {false};
    for (size_t n = 0; n < 3; n++) {
        int turn = atoi(body(message_at(inboxes[n], 0)));
        check(turn < 3 && !taken[turn], "a consumer begins with %d", turn);
        taken[turn] = true;
        equal_text(first_bodies(inboxes[n], 10), turns[turn], "messages of a consumer");
    }
}

static void consumer_priority(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    Inbox *low = consume_with(channel, queue, (ConsumeOptions){.arguments = TABLE(number("x-priority", -5))});
    Inbox *usual = consume(channel, queue);
    set_prefetch(channel, 3);
    Inbox *high = consume_with(channel, queue, (ConsumeOptions){.arguments = TABLE(number("x-priority", 10))});
    publish_numbers(channel, queue, 0, 10);
    equal_text(first_bodies(high, 3), "0, 1, 2", "high priority, until its prefetch");
    equal_text(first_bodies(usual, 7), "3, 4, 5, 6, 7, 8, 9", "usual priority");
    equal_text(bodies(low), "", "low priority");
}

static void expect_got(
    Channel channel, const char *queue, bool no_ack, const char *content, uint64_t delivery_tag, uint32_t left)
{
    Message message;
    check(get(channel, queue, no_ack, &message), "no message");
    equal_text(body(&message), content, "body");
    equal_int((int64_t)message.delivery_tag, (int64_t)delivery_tag, "delivery tag");
    equal_int(message.count_left, left, "messages left");
    equal_text(message.exchange, "", "exchange");
    equal_text(message.routing_key, queue, "routing key");
}

static void get_messages(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    equal_text(drain(channel, queue), "", "get from an empty queue");
    publish(channel, queue, "a", "b", "c");
    expect_got(channel, queue, false, "a", 1, 2);
    expect_got(channel, queue, true, "b", 2, 1);
    close_channel(channel);
    channel = open_channel(channel.connection, 2);
    Message message;
    check(get(channel, queue, false, &message), "no message");
    equal_text(body(&message), "a", "the message that was not acknowledged");
    equal_int(message.redelivered, true, "redelivered");
    equal_int(message.count_left, 1, "messages left");
    acknowledge(channel, message.delivery_tag);
    equal_text(drain_marked(channel, queue), "c", "messages left");
}

const Scenario consuming_scenarios[] = {
    SCENARIO(consume_and_ack),
    SCENARIO(no_ack),
    SCENARIO(prefetch),
    SCENARIO(prefetch_per_channel),
    SCENARIO(ack_multiple),
    SCENARIO(nack),
    {"reject", reject_messages, NULL},
    SCENARIO(requeue_order),
    SCENARIO(recover),
    SCENARIO(unacked_requeued_on_close),
    SCENARIO(consumer_cancel),
    SCENARIO(cancel_notify),
    SCENARIO(exclusive_consumer),
    SCENARIO(round_robin),
    SCENARIO(consumer_priority),
    {"get", get_messages, NULL},
    END_OF_SCENARIOS,
};
