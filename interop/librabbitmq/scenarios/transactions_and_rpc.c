#include "client.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CALLS 100

static const char REPLY_TO[] = "amq.rabbitmq.reply-to";

static void select_transactions(Channel channel)
{
    amqp_tx_select(channel.state, channel.number);
    must(channel, "tx.select");
}

static void commit(Channel channel)
{
    amqp_tx_commit(channel.state, channel.number);
    must(channel, "tx.commit");
}

/* A job, got in a transaction. */
static void get_job(Channel channel, const char *queue)
{
    publish(channel, queue, "job");
    select_transactions(channel);
    Message job;
    check(get(channel, queue, false, &job), "no job");
    acknowledge(channel, job.delivery_tag);
}

static void tx_commit(void)
{
    Connection *connection = connect_to_broker();
    Channel observer = open_channel(connection, 1), channel = open_channel(connection, 2);
    char *queue = new_queue(observer, "queue"), *done = new_queue(observer, "done");
    get_job(channel, queue);
    publish(channel, done, "one", "two");
    equal_text(drain(channel, done), "", "messages before the commit");
    commit(channel);
    equal_text(drain(observer, done), "one, two", "messages after the commit");
    close_channel(channel);
    equal_text(drain(observer, queue), "", "jobs left");

    channel = open_channel(connection, 2);
    amqp_tx_commit(channel.state, channel.number);
    refused(channel, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - channel is not transactional");
    select_transactions(channel);
    amqp_confirm_select(channel.state, channel.number);
    refused(channel, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - cannot switch from tx to confirm mode");
}

static void tx_rollback(void)
{
    Connection *connection = connect_to_broker();
    Channel observer = open_channel(connection, 1), channel = open_channel(connection, 2);
    char *queue = new_queue(observer, "queue"), *done = new_queue(observer, "done");
    get_job(channel, queue);
    publish(channel, done, "dropped");
    amqp_tx_rollback(channel.state, channel.number);
    must(channel, "tx.rollback");
    equal_text(drain(channel, done), "", "messages after the rollback");
    equal_text(drain(observer, queue), "", "the job is still held");
    publish(channel, done, "kept");
    commit(channel);
    close_channel(channel);
    equal_text(drain(observer, done), "kept", "messages of the next transaction");
    equal_text(drain_marked(observer, queue), "job again", "the job comes back");
}

/* Answers so many requests with twice their number, wherever they want the answer. */
static void *serve_doubles(void *requests)
{
    Channel channel = new_channel();
    Inbox *inbox = consume(channel, requests);
    for (size_t n = 0; n < CALLS; n++) {
        Message *request = message_at(inbox, n);
        const amqp_basic_properties_t *given = &request->content.properties;
        amqp_basic_properties_t *properties =
            PROPERTIES(AMQP_BASIC_CORRELATION_ID_FLAG, .correlation_id = given->correlation_id);
        publish_with(channel, text_of(given->reply_to), properties, text("%d", 2 * atoi(body(request))));
        acknowledge(channel, request->delivery_tag);
    }
    close_connection(channel.connection);
    return NULL;
}

static amqp_basic_properties_t *call(const char *reply_to, const char *correlation_id)
{
    static amqp_basic_properties_t properties;
    properties = (amqp_basic_properties_t){
        ._flags = AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG,
        .reply_to = bytes(reply_to),
        .correlation_id = bytes(correlation_id),
    };
    return &properties;
}

static void call_hundred_times(Inbox *replies, const char *reply_to, char *requests)
{
    pthread_t server;
    check(pthread_create(&server, NULL, serve_doubles, requests) == 0, "no thread for the server");
    for (int n = 0; n < CALLS; n++) {
        char *correlation_id = text("call-%d", n);
        publish_with(replies->channel, requests, call(reply_to, correlation_id), text("%d", n));
        Message *reply = message_at(replies, (size_t)n);
        equal_text(text_of(reply->content.properties.correlation_id), correlation_id, "correlation id");
        equal_text(body(reply), text("%d", 2 * n), "answer");
        equal_text(reply->exchange, "", "exchange of the reply");
    }
    pthread_join(server, NULL);
}

static void rpc_reply_queue(void)
{
    Channel caller = new_channel();
    char *requests = shared_queue(caller, "requests", (QueueOptions){0});
    amqp_queue_declare_ok_t *ok = declare_queue(caller, "", (QueueOptions){.exclusive = true});
    must(caller, "queue.declare");
    char *reply_queue = text_of(ok->queue);
    Inbox *replies = consume_with(caller, reply_queue, (ConsumeOptions){.no_ack = true});
    call_hundred_times(replies, reply_queue, requests);
}

static void direct_reply_to(void)
{
    Channel caller = new_channel(), observer = new_channel();
    char *requests = shared_queue(caller, "requests", (QueueOptions){0});
    Inbox *replies = consume_with(caller, REPLY_TO, (ConsumeOptions){.no_ack = true});
    publish_with(caller, requests, call(REPLY_TO, "where"), "");
    await_ready(observer, requests, 1);
    Message request = take(observer, requests);
    char *address = text_of(request.content.properties.reply_to);
    check(strncmp(address, "amq.rabbitmq.reply-to.", 22) == 0, "reply_to as the server sees it: %s", address);
    amqp_queue_declare_ok_t caller_is_there = look_at(observer, address);
    equal_int(caller_is_there.message_count, 0, "messages of the caller");
    equal_int(caller_is_there.consumer_count, 1, "consumers of the caller");
    call_hundred_times(replies, REPLY_TO, requests);
    close_connection(caller.connection);
    declare_queue(observer, address, (QueueOptions){.passive = true});
    refused(observer, AMQP_NOT_FOUND, text("NOT_FOUND - no queue '%s' in vhost '/'", address));
}

static void direct_reply_to_errors(void)
{
    Channel channel = new_channel();
    amqp_basic_consume(
        channel.state, channel.number, bytes(REPLY_TO), amqp_empty_bytes, false, false, false, amqp_empty_table);
    refused(channel, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - reply consumer cannot acknowledge");
    consume_with(channel, REPLY_TO, (ConsumeOptions){.no_ack = true});
    amqp_basic_consume(
        channel.state, channel.number, bytes(REPLY_TO), amqp_empty_bytes, false, true, false, amqp_empty_table);
    refused(channel, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - reply consumer already set");
    publish_with(channel, name("nobody"), call(REPLY_TO, "nobody"), "");
    declare_queue(channel, name("queue"), (QueueOptions){.exclusive = true});
    refused(channel, AMQP_PRECONDITION_FAILED, "PRECONDITION_FAILED - fast reply consumer does not exist");
}

const Scenario transaction_and_rpc_scenarios[] = {
    SCENARIO(tx_commit),
    SCENARIO(tx_rollback),
    SCENARIO(rpc_reply_queue),
    SCENARIO(direct_reply_to),
    SCENARIO(direct_reply_to_errors),
    END_OF_SCENARIOS,
};
