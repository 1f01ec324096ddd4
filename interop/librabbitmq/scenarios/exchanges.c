#include "client.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static void bind_exchange(Channel channel, const char *destination, const char *source, const char *key)
{
    amqp_exchange_bind(
        channel.state, channel.number, bytes(destination), bytes(source), bytes(key), amqp_empty_table);
    must(channel, "exchange.bind");
}

static void predeclared_exchanges(void)
{
    static const struct {
        const char *name, *type;
    } expected[] = {
        {"amq.direct", "direct"},   {"amq.fanout", "fanout"}, {"amq.topic", "topic"},
        {"amq.headers", "headers"}, {"amq.match", "headers"},
    };
    Channel channel = new_channel();
    for (size_t n = 0; n < LENGTH(expected); n++) {
        declare_exchange(channel, expected[n].name, expected[n].type, (ExchangeOptions){.passive = true});
        must(channel, "passive exchange.declare");
        declare_exchange(channel, expected[n].name, expected[n].type, (ExchangeOptions){.durable = true});
        must(channel, "exchange.declare");
    }
}

static char *inequivalent(const char *argument, const char *exchange, const char *difference)
{
    return text(
        "PRECONDITION_FAILED - inequivalent arg '%s' for exchange '%s' in vhost '/': %s", argument, exchange,
        difference);
}

static void exchange_mismatch(void)
{
    static const char difference[] = "received 'true' but current is 'false'";
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "direct", "exchange", (ExchangeOptions){0});
    declare_exchange(channel, exchange, "fanout", (ExchangeOptions){0});
    refused(
        channel, AMQP_PRECONDITION_FAILED,
        inequivalent("type", exchange, "received 'fanout' but current is 'direct'"));
    declare_exchange(channel, exchange, "direct", (ExchangeOptions){.durable = true});
    refused(channel, AMQP_PRECONDITION_FAILED, inequivalent("durable", exchange, difference));
    declare_exchange(channel, exchange, "direct", (ExchangeOptions){.auto_delete = true});
    refused(channel, AMQP_PRECONDITION_FAILED, inequivalent("auto_delete", exchange, difference));
    declare_exchange(channel, exchange, "direct", (ExchangeOptions){.internal = true});
    refused(channel, AMQP_PRECONDITION_FAILED, inequivalent("internal", exchange, difference));
    amqp_table_t arguments = TABLE(utf8("alternate-exchange", "amq.fanout"));
    declare_exchange(channel, exchange, "direct", (ExchangeOptions){.arguments = arguments});
    refused(
        channel, AMQP_PRECONDITION_FAILED,
        inequivalent(
            "alternate-exchange", exchange,
            "received the value 'amq.fanout' of type 'longstr' but current is none"));
    declare_exchange(channel, exchange, "direct", (ExchangeOptions){0});
    must(channel, "exchange.declare, the same again");
}

static void default_exchange(void)
{
    Channel channel = new_channel();
    char *first = new_queue(channel, "first"), *second = new_queue(channel, "second");
    publish(channel, first, "to first");
    publish(channel, second, "to second");
    publish(channel, name("nobody"), "to nobody");
    equal_text(drain(channel, first), "to first", "first");
    equal_text(drain(channel, second), "to second", "second");
}

static void direct_exchange(void)
{
    static const char *const bound[] = {"info", "warning", "error", "error"};
    static const char *const published[] = {"info", "warning", "error", "debug"};
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "direct", "exchange", (ExchangeOptions){0});
    char *errors = new_queue(channel, "errors"), *everything = new_queue(channel, "everything");
    bind_queue(channel, errors, exchange, "error");
    for (size_t n = 0; n < LENGTH(bound); n++)
        bind_queue(channel, everything, exchange, bound[n]);
    for (size_t n = 0; n < LENGTH(published); n++)
        publish_to(channel, exchange, published[n], published[n]);
    equal_text(drain(channel, errors), "error", "errors");
    equal_text(drain(channel, everything), "info, warning, error", "everything");
}

static void fanout_exchange(void)
{
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "fanout", "exchange", (ExchangeOptions){0});
    char *queues[5];
    for (size_t n = 0; n < LENGTH(queues); n++) {
        queues[n] = new_queue(channel, text("queue-%zu", n));
        bind_queue(channel, queues[n], exchange, text("ignored-%zu", n));
    }
    publish_to(channel, exchange, "", "one");
    publish_to(channel, exchange, "any.key", "two");
    for (size_t n = 0; n < LENGTH(queues); n++)
        equal_text(drain(channel, queues[n]), "one, two", queues[n]);
}

static void topic_exchange(void)
{
    static const char *const keys[] = {"a.b.c", "a.c", "a", "", "a..c", "b"};
    static const char everything[] = "a.b.c, a.c, a, , a..c, b";
    static const struct {
        const char *pattern, *matched;
    } cases[] = {
        {"a.b.c", "a.b.c"},
        {"a..c", "a..c"},
        {"a.*.c", "a.b.c, a..c"},
        {"*.b.*", "a.b.c"},
        {"*.*.*", "a.b.c, a..c"},
        {"*.*", "a.c"},
        {"*", "a, b"},
        {"#", everything},
        {"a.#", "a.b.c, a.c, a, a..c"},
        {"#.c", "a.b.c, a.c, a..c"},
        {"a.#.c", "a.b.c, a.c, a..c"},
        {"a.#.#", "a.b.c, a.c, a, a..c"},
        {"#.b.#", "a.b.c, b"},
    };
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "topic", "exchange", (ExchangeOptions){0});
    char *once = new_queue(channel, "one copy");
    for (size_t n = 0; n < LENGTH(cases); n++) {
        bind_queue(channel, new_queue(channel, cases[n].pattern), exchange, cases[n].pattern);
        bind_queue(channel, once, exchange, cases[n].pattern);
    }
    for (size_t n = 0; n < LENGTH(keys); n++)
        publish_to(channel, exchange, keys[n], keys[n]);
    for (size_t n = 0; n < LENGTH(cases); n++)
        equal_text(drain(channel, name(cases[n].pattern)), cases[n].matched, cases[n].pattern);
    equal_text(drain(channel, once), everything, "one copy of each");
}

static void bind_headers(Channel channel, const char *queue, const char *exchange, amqp_table_t arguments)
{
    bind_queue_with(channel, queue, exchange, "", arguments);
}

#define WANTED utf8("format", "pdf"), number("pages", 3), flag("draft", false)
#define TIERED utf8("format", "pdf"), utf8("x-tier", "gold")

static void bind_tiered(Channel channel, const char *exchange, const char *match)
{
    bind_headers(channel, new_queue(channel, match), exchange, TABLE(utf8("x-match", match), TIERED));
}

static void headers_exchange(void)
{
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "headers", "exchange", (ExchangeOptions){0});
    char *both = new_queue(channel, "both"), *either = new_queue(channel, "either");
    char *by_default = new_queue(channel, "default");
    bind_headers(channel, both, exchange, TABLE(utf8("x-match", "all"), WANTED));
    bind_headers(channel, either, exchange, TABLE(utf8("x-match", "any"), WANTED));
    bind_headers(channel, by_default, exchange, TABLE(WANTED));
    bind_tiered(channel, exchange, "all");
    bind_tiered(channel, exchange, "all-with-x");
    bind_tiered(channel, exchange, "any-with-x");

    const struct {
        const char *label;
        const amqp_basic_properties_t *properties;
    } letters[] = {
        {"all", HEADERS(WANTED, utf8("extra", "ignored"))},
        {"format only", HEADERS(utf8("format", "pdf"), number("pages", 4))},
        {"draft only", HEADERS(flag("draft", false))},
        {"none", HEADERS(utf8("format", "zip"), number("pages", 4), flag("draft", true))},
        {"no headers", NULL},
        {"tiered", HEADERS(TIERED)},
        {"tier only", HEADERS(utf8("x-tier", "gold"))},
    };
    for (size_t n = 0; n < LENGTH(letters); n++)
        send_message(channel, exchange, "", false, letters[n].properties, bytes(letters[n].label));

    equal_text(drain(channel, both), "all", "x-match all");
    equal_text(drain(channel, either), "all, format only, draft only, tiered", "x-match any");
    equal_text(drain(channel, by_default), "all", "no x-match");
    equal_text(drain(channel, name("all")), "all, format only, tiered", "x-match all with an x- header");
    equal_text(drain(channel, name("all-with-x")), "tiered", "x-match all-with-x");
    equal_text(drain(channel, name("any-with-x")), "all, format only, tiered, tier only", "x-match any-with-x");
}

static void exchange_to_exchange(void)
{
    Channel channel = new_channel();
    char *source = new_exchange(channel, "topic", "source", (ExchangeOptions){0});
    char *middle = new_exchange(channel, "fanout", "middle", (ExchangeOptions){0});
    char *queue = new_queue(channel, "queue");
    bind_exchange(channel, middle, source, "orders.#");
    bind_exchange(channel, source, middle, "");
    bind_queue(channel, queue, middle, "");
    bind_queue(channel, queue, source, "#");
    publish_to(channel, source, "orders.new", "both ways");
    publish_to(channel, source, "other", "directly");
    equal_text(drain(channel, queue), "both ways, directly", "messages, one copy each");
    amqp_exchange_unbind(
        channel.state, channel.number, bytes(middle), bytes(source), bytes("orders.#"), amqp_empty_table);
    must(channel, "exchange.unbind");
    unbind_queue(channel, queue, source, "#");
    publish_to(channel, source, "orders.new", "nowhere");
    equal_text(drain(channel, queue), "", "messages after unbind");
}

static void alternate_exchange(void)
{
    Channel channel = new_channel();
    select_confirms(channel);
    char *fallback = new_exchange(channel, "fanout", "fallback", (ExchangeOptions){0});
    amqp_table_t arguments = TABLE(utf8("alternate-exchange", fallback));
    char *exchange = new_exchange(channel, "direct", "main", (ExchangeOptions){.arguments = arguments});
    char *known = new_queue(channel, "known"), *unknown = new_queue(channel, "unknown");
    bind_queue(channel, known, exchange, "known");
    bind_queue(channel, unknown, fallback, "");
    send_message(channel, exchange, "known", true, NULL, bytes("matched"));
    send_message(channel, exchange, "stray", true, NULL, bytes("not matched"));
    await_confirms(channel);
    equal_int((int64_t)channel.connection->returned.count, 0, "messages returned");
    equal_text(drain(channel, known), "matched", "matched");
    Message stray = take(channel, unknown);
    equal_text(stray.exchange, exchange, "exchange of the message that was not matched");
    equal_text(stray.routing_key, "stray", "its key");
    equal_text(body(&stray), "not matched", "its body");
    equal_text(drain(channel, unknown), "", "further messages that were not matched");
}

static void internal_exchange(void)
{
    Connection *connection = connect_to_broker();
    Channel channel = open_channel(connection, 1), intruder = open_channel(connection, 2);
    char *front = new_exchange(channel, "direct", "front", (ExchangeOptions){0});
    char *internal = new_exchange(channel, "fanout", "internal", (ExchangeOptions){.internal = true});
    char *queue = new_queue(channel, "queue");
    bind_exchange(channel, internal, front, "in");
    bind_queue(channel, queue, internal, "");
    publish_to(channel, front, "in", "through the front");
    equal_text(drain(channel, queue), "through the front", "messages");
    publish_to(intruder, internal, "", "directly");
    declare_queue(intruder, queue, (QueueOptions){.passive = true});
    refused(
        intruder, AMQP_ACCESS_REFUSED,
        text("ACCESS_REFUSED - cannot publish to internal exchange '%s' in vhost '/'", internal));
    equal_text(drain(channel, queue), "", "messages after the refused publish");
}

static void auto_delete_exchange(void)
{
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "fanout", "exchange", (ExchangeOptions){.auto_delete = true});
    char *queue = new_queue(channel, "queue");
    bind_queue(channel, queue, exchange, "one");
    bind_queue(channel, queue, exchange, "two");
    unbind_queue(channel, queue, exchange, "one");
    declare_exchange(channel, exchange, "fanout", (ExchangeOptions){.passive = true});
    must(channel, "passive exchange.declare");
    unbind_queue(channel, queue, exchange, "two");
    declare_exchange(channel, exchange, "fanout", (ExchangeOptions){.passive = true});
    refused(channel, AMQP_NOT_FOUND, text("NOT_FOUND - no exchange '%s' in vhost '/'", exchange));
}

static void unbind_headers(
    Channel channel, const char *queue, const char *exchange, const char *key, amqp_table_t arguments)
{
    amqp_queue_unbind(channel.state, channel.number, bytes(queue), bytes(exchange), bytes(key), arguments);
    must(channel, "queue.unbind");
}

static void unbind(void)
{
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "headers", "exchange", (ExchangeOptions){0});
    char *queue = new_queue(channel, "queue");
    amqp_table_t red = TABLE(utf8("x-match", "all"), utf8("colour", "red"));
    amqp_table_t blue = TABLE(utf8("x-match", "all"), utf8("colour", "blue"));
    bind_headers(channel, queue, exchange, red);
    bind_headers(channel, queue, exchange, blue);
    unbind_headers(channel, queue, exchange, "", red);
    unbind_headers(channel, queue, exchange, "never bound", blue);
    send_message(channel, exchange, "", false, HEADERS(utf8("colour", "red")), bytes("red"));
    send_message(channel, exchange, "", false, HEADERS(utf8("colour", "blue")), bytes("blue"));
    equal_text(drain(channel, queue), "blue", "messages");
}

/* Three queues behind an exchange, and where each of the messages 0, 1, 2 … arrived. */

#define SPREAD_QUEUES 3
#define SPREAD_MAX 1000

typedef struct Spread {
    Channel channel;
    const char *exchange;
    Inbox *inboxes[SPREAD_QUEUES];
} Spread;

typedef struct Places {
    int of[SPREAD_MAX];
    int shares[SPREAD_QUEUES];
} Places;

static Spread new_spread(Channel channel, const char *exchange, const char *const keys[SPREAD_QUEUES])
{
    Spread spread = {.channel = channel, .exchange = exchange};
    for (int n = 0; n < SPREAD_QUEUES; n++) {
        char *queue = new_queue(channel, text("%s-%d", exchange, n));
        bind_queue(channel, queue, exchange, keys[n]);
        spread.inboxes[n] = consume_with(channel, queue, (ConsumeOptions){.no_ack = true});
    }
    return spread;
}

static size_t arrived(const Spread *spread)
{
    size_t count = 0;
    for (int n = 0; n < SPREAD_QUEUES; n++)
        count += spread->inboxes[n]->messages.count;
    return count;
}

/* The numbers as they are published with their keys; all arrive once. */
static void send_number(const Spread *spread, int number, const char *key, const amqp_basic_properties_t *properties)
{
    send_message(spread->channel, spread->exchange, key, false, properties, bytes(text("%d", number)));
}

static Places take_places(Spread *spread, int count)
{
    await(spread->channel.connection, arrived(spread) >= (size_t)count, "every message arrives");
    Places places = {0};
    for (int n = 0; n < count; n++)
        places.of[n] = -1;
    for (int queue = 0; queue < SPREAD_QUEUES; queue++) {
        Messages *messages = &spread->inboxes[queue]->messages;
        places.shares[queue] = (int)messages->count;
        for (size_t n = 0; n < messages->count; n++) {
            int number = atoi(body(&messages->all[n]));
            check(places.of[number] == -1, "message %d arrived twice", number);
            places.of[number] = queue;
        }
        messages->count = 0;
    }
    equal_int(places.shares[0] + places.shares[1] + places.shares[2], count, "messages that arrived");
    return places;
}

static Places spread_keys(Spread *spread, int count)
{
    for (int n = 0; n < count; n++)
        send_number(spread, n, text("key-%d", n), NULL);
    return take_places(spread, count);
}

static char *shares_text(Places places)
{
    return text("%d, %d, %d", places.shares[0], places.shares[1], places.shares[2]);
}

static void expect_all_share(Places places)
{
    for (int n = 0; n < SPREAD_QUEUES; n++)
        check(places.shares[n] > 0, "a queue got none of %s", shares_text(places));
}

static void expect_same(Places first, Places second)
{
    check(memcmp(first.of, second.of, sizeof first.of) == 0, "the same keys went to other queues");
}

static void consistent_hash_exchange(void)
{
    Channel channel = new_channel();
    char *by_key = new_exchange(channel, "x-consistent-hash", "by-key", (ExchangeOptions){0});
    Spread spread = new_spread(channel, by_key, (const char *const[]){"1", "1", "4"});
    Places places = spread_keys(&spread, 1000);
    expect_all_share(places);
    check(
        places.shares[2] > places.shares[0] && places.shares[2] > places.shares[1],
        "the weight 4 did not get most of %s", shares_text(places));
    expect_same(places, spread_keys(&spread, 1000));

    ExchangeOptions hashed = {.arguments = TABLE(utf8("hash-header", "customer"))};
    char *by_header = new_exchange(channel, "x-consistent-hash", "by-header", hashed);
    spread = new_spread(channel, by_header, (const char *const[]){"1", "1", "1"});
    for (int n = 0; n < 400; n++)
        send_number(&spread, n, text("key-%d", n), HEADERS(utf8("customer", text("%d", n / 4))));
    places = take_places(&spread, 400);
    expect_all_share(places);
    for (int n = 0; n < 400; n++)
        equal_int(places.of[n], places.of[n / 4 * 4], "queue of the same header");
}

static void modulus_hash_exchange(void)
{
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "x-modulus-hash", "exchange", (ExchangeOptions){0});
    Spread spread = new_spread(channel, exchange, (const char *const[]){"", "", ""});
    Places places = spread_keys(&spread, 200);
    expect_all_share(places);
    expect_same(places, spread_keys(&spread, 200));
}

static void random_exchange(void)
{
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "x-random", "exchange", (ExchangeOptions){0});
    Spread spread = new_spread(channel, exchange, (const char *const[]){"", "", ""});
    for (int n = 0; n < 200; n++)
        send_number(&spread, n, "one key", NULL);
    expect_all_share(take_places(&spread, 200));
}

static void recent_history_exchange(void)
{
    Channel channel = new_channel();
    amqp_table_t arguments = TABLE(number("x-recent-history-length", 5));
    char *exchange = new_exchange(channel, "x-recent-history", "exchange", (ExchangeOptions){.arguments = arguments});
    char *queue = new_queue(channel, "queue");
    for (int n = 0; n < 8; n++)
        publish_to(channel, exchange, text("key-%d", n), text("%d", n));
    bind_queue(channel, queue, exchange, "");
    publish_to(channel, exchange, "", "afterwards");
    equal_text(
        first_bodies(consume(channel, queue), 6), "3, 4, 5, 6, 7, afterwards", "messages of a queue bound late");
}

static void delayed_exchange(void)
{
    static const int delays_ms[] = {300, 100, 200, 0};
    Channel channel = new_channel();
    ExchangeOptions delayed = {.arguments = TABLE(utf8("x-delayed-type", "direct"))};
    char *exchange = new_exchange(channel, "x-delayed-message", "exchange", delayed);
    char *queue = new_queue(channel, "queue");
    bind_queue(channel, queue, exchange, "key");
    Inbox *inbox = consume(channel, queue);
    double started = now();
    for (size_t n = 0; n < LENGTH(delays_ms); n++) {
        amqp_basic_properties_t *properties = HEADERS(number("x-delay", delays_ms[n]));
        send_message(channel, exchange, "key", false, properties, bytes(text("%d", delays_ms[n])));
    }
    send_message(channel, exchange, "another key", false, HEADERS(number("x-delay", 1)), bytes("1"));
    equal_text(first_bodies(inbox, 4), "0, 100, 200, 300", "messages in the order of their delays");
    for (size_t n = 0; n < inbox->messages.count; n++) {
        Message *message = message_at(inbox, n);
        double waited = message->arrived - started;
        check(waited >= atoi(body(message)) / 1000.0, "the delay %s took %.3f s", body(message), waited);
    }
}

static void sender_selected_keys(void)
{
    static const char *const keys[] = {"to", "cc", "bcc"};
    Channel channel = new_channel();
    char *exchange = new_exchange(channel, "direct", "exchange", (ExchangeOptions){0});
    for (size_t n = 0; n < LENGTH(keys); n++)
        bind_queue(channel, new_queue(channel, keys[n]), exchange, keys[n]);
    amqp_array_t copies = ARRAY(VALUE_UTF8("cc"), VALUE_UTF8("to")), blind = ARRAY(VALUE_UTF8("bcc"));
    amqp_basic_properties_t *properties = HEADERS(
        entry("CC", VALUE(AMQP_FIELD_KIND_ARRAY, array, copies)),
        entry("BCC", VALUE(AMQP_FIELD_KIND_ARRAY, array, blind)), utf8("kept", "yes"));
    send_message(channel, exchange, "to", false, properties, bytes("letter"));
    for (size_t n = 0; n < LENGTH(keys); n++) {
        char *queue = name(keys[n]);
        Message message = take(channel, queue);
        equal_text(message.routing_key, "to", "routing key");
        equal_text(body(&message), "letter", keys[n]);
        equal_text(
            table_text(message.content.properties.headers), "{CC=A:[S:cc, S:to], kept=S:yes}", "headers");
        equal_text(drain(channel, queue), "", "further copies");
    }
}

const Scenario exchange_scenarios[] = {
    SCENARIO(predeclared_exchanges),
    SCENARIO(exchange_mismatch),
    SCENARIO(default_exchange),
    SCENARIO(direct_exchange),
    SCENARIO(fanout_exchange),
    SCENARIO(topic_exchange),
    SCENARIO(headers_exchange),
    SCENARIO(exchange_to_exchange),
    SCENARIO(alternate_exchange),
    SCENARIO(internal_exchange),
    SCENARIO(auto_delete_exchange),
    SCENARIO(unbind),
    SCENARIO(consistent_hash_exchange),
    SCENARIO(modulus_hash_exchange),
    SCENARIO(random_exchange),
    SCENARIO(recent_history_exchange),
    SCENARIO(delayed_exchange),
    SCENARIO(sender_selected_keys),
    END_OF_SCENARIOS,
};
