#include "client.h"

#include <string.h>

#define ONE_BY_ONE 100
#define ALL_TOGETHER 900
#define RETURNS 20

static void publish_alternating(Channel channel, const char *queue, int number)
{
    publish_with(channel, queue, number % 2 ? PERSISTENT : NULL, text("%d", number));
}

static void expect_confirms(Channel channel, int first, int last, Confirm confirm)
{
    await_confirms(channel);
    for (int n = first; n <= last; n++)
        equal_int(channel.connection->confirms[n], confirm, text("confirm of %d", n));
}

static void publisher_confirms(void)
{
    Channel channel = new_channel();
    char *queue = shared_queue(channel, "queue", (QueueOptions){.durable = true});
    select_confirms(channel);
    int number = 1;
    for (; number <= ONE_BY_ONE; number++) {
        publish_alternating(channel, queue, number);
        await_confirms(channel);
    }
    for (; number <= ONE_BY_ONE + ALL_TOGETHER; number++)
        publish_alternating(channel, queue, number);
    expect_confirms(channel, 1, ONE_BY_ONE + ALL_TOGETHER, ACKED);
    equal_int(channel.connection->confirmed, ONE_BY_ONE + ALL_TOGETHER, "confirms");
    await_ready(channel, queue, ONE_BY_ONE + ALL_TOGETHER);
}

static void confirm_unroutable(void)
{
    Channel channel = new_channel();
    select_confirms(channel);
    publish_to(channel, "", name("nobody"), "nowhere to go");
    publish_to(channel, "amq.fanout", name("nobody"), "nowhere to go");
    expect_confirms(channel, 1, 2, ACKED);
    equal_int((int64_t)channel.connection->returned.count, 0, "messages returned");
}

static void expect_returned(const Message *message, const char *exchange, const char *key, const char *content)
{
    equal_int(message->reply_code, AMQP_NO_ROUTE, "reply code");
    equal_text(message->reply_text, "NO_ROUTE", "reply text");
    equal_text(message->exchange, exchange, "exchange");
    equal_text(message->routing_key, key, "routing key");
    equal_text(body(message), content, "body");
}

static void mandatory_return(void)
{
    Channel channel = new_channel();
    Connection *connection = channel.connection;
    char *queue = new_queue(channel, "queue"), *nobody = name("nobody");
    amqp_basic_properties_t *properties = HEADERS(number("kept", 1));
    properties->_flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
    properties->message_id = bytes("lost");
    send_message(channel, "", queue, true, NULL, bytes("routed"));
    send_message(channel, "amq.direct", nobody, false, NULL, bytes("not mandatory"));
    send_message(channel, "amq.direct", nobody, true, properties, bytes("lost"));
    await(connection, connection->returned.count > 0, "a message is returned");
    const Message *returned = &connection->returned.all[0];
    expect_returned(returned, "amq.direct", nobody, "lost");
    equal_text(text_of(returned->content.properties.message_id), "lost", "message id");
    equal_text(header(returned, "kept"), "I:1", "header");
    equal_text(drain(channel, queue), "routed", "messages routed");
    check(!work(connection, 0), "the broker sent something else");
    equal_int((int64_t)connection->returned.count, 1, "messages returned");
}

/* Frames are taken one by one, so when the confirm is in, the return has to be there. */
static void return_before_confirm(void)
{
    Channel channel = new_channel();
    Connection *connection = channel.connection;
    select_confirms(channel);
    char *queue = new_queue(channel, "queue"), *nobody = name("nobody");
    for (int n = 0; n < RETURNS; n++) {
        char *content = text("%d", n);
        send_message(channel, "", nobody, true, NULL, bytes(content));
        await_confirms(channel);
        equal_int((int64_t)connection->returned.count, n + 1, "messages returned when the confirm comes");
        expect_returned(&connection->returned.all[n], "", nobody, content);
        send_message(channel, "", queue, true, NULL, bytes(content));
        await_confirms(channel);
    }
    equal_int((int64_t)connection->returned.count, RETURNS, "messages returned");
    equal_text(drain(channel, queue), numbers(0, RETURNS), "messages routed");
}

static void nacked_publish(void)
{
    Channel channel = new_channel();
    select_confirms(channel);
    amqp_table_t arguments = TABLE(number("x-max-length", 3), utf8("x-overflow", "reject-publish"));
    char *queue = new_queue_with(channel, "queue", arguments);
    for (int n = 1; n <= 6; n++) {
        publish_numbers(channel, queue, n, n + 1);
        await_confirms(channel);
    }
    expect_confirms(channel, 1, 3, ACKED);
    expect_confirms(channel, 4, 6, NACKED);
    equal_text(drain(channel, queue), "1, 2, 3", "messages in the queue");
}

/* The broker blocks who publishes while the alarm is on. What was sent before the client knows may wait already. */
static void publish_until_told(Channel channel, const char *queue)
{
    Connection *connection = channel.connection;
    for (double until = now() + WAIT_S; connection->told->count == 0; work(connection, 50)) {
        check(now() < until, "the client is not told that it is blocked");
        publish(channel, queue, "before");
    }
}

static bool has_come(Inbox *inbox, const char *content)
{
    return inbox->messages.count > 0 && strcmp(body(last_message(inbox)), content) == 0;
}

static void connection_blocked(void)
{
    Connection *connection = connect_with_capability("connection.blocked");
    Channel publisher = open_channel(connection, 1), observer = new_channel();
    char *queue = shared_queue(observer, "queue", (QueueOptions){0});
    Inbox *inbox = consume_with(observer, queue, (ConsumeOptions){.no_ack = true});
    ask("block");
    publish_until_told(publisher, queue);
    equal_text(listed(connection->told), "blocked: low on memory", "what the client is told");
    List *expected = list();
    for (int n = 0; n < connection->published; n++)
        add(expected, "before");
    publish(publisher, queue, "while blocked");
    while (work(observer.connection, 300))
        check(!has_come(inbox, "while blocked"), "a message arrived while its publisher was blocked");
    ask("unblock");
    await_for(30, connection, connection->told->count > 1, "the client is told that it is unblocked");
    equal_text(listed(connection->told), "blocked: low on memory, unblocked", "what the client is told");
    publish(publisher, queue, "afterwards");
    add(expected, "while blocked");
    add(expected, "afterwards");
    equal_text(first_bodies(inbox, expected->count), listed(expected), "messages after that");
}

static void user_id(void)
{
    Connection *connection = connect_to_broker();
    Channel channel = open_channel(connection, 1), forger = open_channel(connection, 2);
    char *queue = new_queue(channel, "queue"), *user = broker()->user;
    publish(channel, queue, "anonymous");
    publish_with(channel, queue, PROPERTIES(AMQP_BASIC_USER_ID_FLAG, .user_id = bytes(user)), "signed");
    equal_text(drain(channel, queue), "anonymous, signed", "messages");
    publish_with(forger, queue, PROPERTIES(AMQP_BASIC_USER_ID_FLAG, .user_id = bytes("somebody")), "forged");
    declare_queue(forger, queue, (QueueOptions){.passive = true});
    refused(
        forger, AMQP_PRECONDITION_FAILED,
        text("PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '%s'", user));
    equal_text(drain(channel, queue), "", "forged messages");
}

const Scenario publishing_scenarios[] = {
    SCENARIO(publisher_confirms),
    SCENARIO(confirm_unroutable),
    SCENARIO(mandatory_return),
    SCENARIO(return_before_confirm),
    SCENARIO(nacked_publish),
    SCENARIO(connection_blocked),
    SCENARIO(user_id),
    END_OF_SCENARIOS,
};
