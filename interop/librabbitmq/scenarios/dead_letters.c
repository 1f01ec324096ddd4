#include "client.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A queue whose dead letters go to the queue `dead`. */
#define DYING(dead) utf8("x-dead-letter-exchange", ""), utf8("x-dead-letter-routing-key", dead)

static char *part(amqp_table_t death, const char *key)
{
    const amqp_field_value_t *value = field(death, key);
    return value == NULL ? "none" : value_text(*value);
}

/* "l:1 S:rejected S:queue S:exchange A:[S:key]"; its time is a timestamp, in seconds, and now. */
static char *death_text(amqp_table_t death)
{
    const amqp_field_value_t *moment = field(death, "time");
    check(moment && moment->kind == AMQP_FIELD_KIND_TIMESTAMP, "no time in %s", table_text(death));
    int64_t age = (int64_t)time(NULL) - (int64_t)moment->value.u64;
    check(llabs(age) < 60, "the death was %" PRId64 " s ago", age);
    return text(
        "%s %s %s %s %s", part(death, "count"), part(death, "reason"), part(death, "queue"), part(death, "exchange"),
        part(death, "routing-keys"));
}

static amqp_array_t deaths(const Message *letter)
{
    check(letter->content.properties._flags & AMQP_BASIC_HEADERS_FLAG, "a dead letter without headers");
    const amqp_field_value_t *history = field(letter->content.properties.headers, "x-death");
    check(history && history->kind == AMQP_FIELD_KIND_ARRAY, "a dead letter without x-death");
    return history->value.array;
}

static char *history(const Message *letter)
{
    amqp_array_t entries = deaths(letter);
    List *all = list();
    for (int n = 0; n < entries.num_entries; n++)
        add(all, "%s", death_text(entries.entries[n].value.table));
    return listed(all);
}

static char *first_death(const Message *letter)
{
    return text(
        "%s %s %s", header(letter, "x-first-death-reason"), header(letter, "x-first-death-queue"),
        header(letter, "x-first-death-exchange"));
}

static void dead_letter_rejected(void)
{
    Channel channel = new_channel();
    char *letters = new_exchange(channel, "direct", "letters", (ExchangeOptions){0});
    char *dead = new_queue(channel, "dead");
    bind_queue(channel, dead, letters, "buried");
    amqp_table_t arguments =
        TABLE(utf8("x-dead-letter-exchange", letters), utf8("x-dead-letter-routing-key", "buried"));
    char *queue = new_queue_with(channel, "queue", arguments);
    char *exchange = new_exchange(channel, "topic", "exchange", (ExchangeOptions){0});
    bind_queue(channel, queue, exchange, "orders.#");
    amqp_basic_properties_t *properties = HEADERS(number("kept", 1));
    properties->_flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
    properties->message_id = bytes("order-1");
    send_message(channel, exchange, "orders.new", false, properties, bytes("order"));
    Inbox *inbox = consume(channel, queue);
    reject(channel, message_at(inbox, 0)->delivery_tag, false);

    Message *letter = message_at(consume(channel, dead), 0);
    equal_text(letter->exchange, letters, "exchange");
    equal_text(letter->routing_key, "buried", "routing key");
    equal_int(letter->redelivered, false, "redelivered");
    equal_text(body(letter), "order", "body");
    equal_text(text_of(letter->content.properties.message_id), "order-1", "message id");
    equal_text(header(letter, "kept"), "I:1", "header");
    equal_text(
        history(letter), text("l:1 S:rejected S:%s S:%s A:[S:orders.new]", queue, exchange), "x-death");
    equal_text(first_death(letter), text("S:rejected S:%s S:%s", queue, exchange), "x-first-death");
    equal_int((int64_t)inbox->messages.count, 1, "deliveries of the rejected message");
}

static void dead_letter_expired(void)
{
    Channel channel = new_channel();
    char *dead = new_queue(channel, "dead");
    char *queue = new_queue_with(channel, "queue", TABLE(DYING(dead)));
    publish_with(channel, queue, EXPIRATION("100"), "brief");
    Message *letter = message_at(consume(channel, dead), 0);
    equal_text(body(letter), "brief", "body");
    equal_int(letter->content.properties._flags & AMQP_BASIC_EXPIRATION_FLAG, 0, "expiration");
    equal_text(history(letter), text("l:1 S:expired S:%s S: A:[S:%s]", queue, queue), "x-death");
    equal_text(part(deaths(letter).entries[0].value.table, "original-expiration"), "S:100", "original-expiration");
    equal_text(first_death(letter), text("S:expired S:%s S:", queue), "x-first-death");
}

static void dead_letter_maxlen(void)
{
    Channel channel = new_channel();
    char *dead = new_queue(channel, "dead");
    char *queue = new_queue_with(channel, "queue", TABLE(DYING(dead), number("x-max-length", 2)));
    publish(channel, queue, "1", "2", "3", "4");
    Inbox *letters = consume(channel, dead);
    equal_text(first_bodies(letters, 2), "1, 2", "the oldest messages");
    for (size_t n = 0; n < 2; n++) {
        Message *letter = message_at(letters, n);
        equal_text(history(letter), text("l:1 S:maxlen S:%s S: A:[S:%s]", queue, queue), "x-death");
        equal_text(first_death(letter), text("S:maxlen S:%s S:", queue), "x-first-death");
    }
    equal_text(drain(channel, queue), "3, 4", "messages left");
}

static void dead_letter_retry(void)
{
    Channel channel = new_channel();
    char *work_queue = new_queue_with(channel, "work", TABLE(DYING(name("retry"))));
    char *retry = new_queue_with(channel, "retry", TABLE(DYING(name("work")), number("x-message-ttl", 50)));
    publish(channel, work_queue, "job");
    Inbox *inbox = consume(channel, work_queue);
    for (size_t attempt = 0; attempt < 3; attempt++)
        reject(channel, message_at(inbox, attempt)->delivery_tag, false);
    Message *job = message_at(inbox, 3);
    acknowledge(channel, job->delivery_tag);
    equal_text(body(job), "job", "body");
    equal_text(
        history(job),
        text("l:3 S:expired S:%s S: A:[S:%s], l:3 S:rejected S:%s S: A:[S:%s]", retry, retry, work_queue, work_queue),
        "x-death");
    equal_text(first_death(job), text("S:rejected S:%s S:", work_queue), "x-first-death");
}

const Scenario dead_letter_scenarios[] = {
    SCENARIO(dead_letter_rejected),
    SCENARIO(dead_letter_expired),
    SCENARIO(dead_letter_maxlen),
    SCENARIO(dead_letter_retry),
    END_OF_SCENARIOS,
};
