#include "client.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_OVERHEAD 8
#define MIB (1024 * 1024)

static char *properties_text(const amqp_basic_properties_t *given)
{
    const struct {
        amqp_flags_t flag;
        const char *name;
        amqp_bytes_t value;
    } strings[] = {
        {AMQP_BASIC_CONTENT_TYPE_FLAG, "content_type", given->content_type},
        {AMQP_BASIC_CONTENT_ENCODING_FLAG, "content_encoding", given->content_encoding},
        {AMQP_BASIC_CORRELATION_ID_FLAG, "correlation_id", given->correlation_id},
        {AMQP_BASIC_REPLY_TO_FLAG, "reply_to", given->reply_to},
        {AMQP_BASIC_EXPIRATION_FLAG, "expiration", given->expiration},
        {AMQP_BASIC_MESSAGE_ID_FLAG, "message_id", given->message_id},
        {AMQP_BASIC_TYPE_FLAG, "type", given->type},
        {AMQP_BASIC_USER_ID_FLAG, "user_id", given->user_id},
        {AMQP_BASIC_APP_ID_FLAG, "app_id", given->app_id},
        {AMQP_BASIC_CLUSTER_ID_FLAG, "cluster_id", given->cluster_id},
    };
    List *all = list();
    for (size_t n = 0; n < sizeof strings / sizeof strings[0]; n++)
        if (given->_flags & strings[n].flag)
            add(all, "%s=%s", strings[n].name, text_of(strings[n].value));
    if (given->_flags & AMQP_BASIC_HEADERS_FLAG)
        add(all, "headers=%s", table_text(given->headers));
    if (given->_flags & AMQP_BASIC_DELIVERY_MODE_FLAG)
        add(all, "delivery_mode=%d", given->delivery_mode);
    if (given->_flags & AMQP_BASIC_PRIORITY_FLAG)
        add(all, "priority=%d", given->priority);
    if (given->_flags & AMQP_BASIC_TIMESTAMP_FLAG)
        add(all, "timestamp=%llu", (unsigned long long)given->timestamp);
    return listed(all);
}

static void message_properties(void)
{
    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    const amqp_basic_properties_t every = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG | AMQP_BASIC_HEADERS_FLAG
            | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_PRIORITY_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG
            | AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_EXPIRATION_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG
            | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_USER_ID_FLAG | AMQP_BASIC_APP_ID_FLAG
            | AMQP_BASIC_CLUSTER_ID_FLAG,
        .content_type = bytes("application/json"),
        .content_encoding = bytes("gzip"),
        .headers = TABLE(utf8("key", "value")),
        .delivery_mode = AMQP_DELIVERY_PERSISTENT,
        .priority = 7,
        .correlation_id = bytes("correlation"),
        .reply_to = bytes("reply.queue"),
        .expiration = bytes("3600000"),
        .message_id = bytes("message-1"),
        .timestamp = 1700000000,
        .type = bytes("order.created"),
        .user_id = bytes(broker()->user),
        .app_id = bytes("interop"),
        .cluster_id = bytes("cluster"),
    };
    const amqp_basic_properties_t *const cases[] = {
        &every,
        PROPERTIES(0),
        PROPERTIES(AMQP_BASIC_PRIORITY_FLAG, .priority = 0),
        PROPERTIES(AMQP_BASIC_HEADERS_FLAG, .headers = {0}),
        PROPERTIES(AMQP_BASIC_TYPE_FLAG, .type = {0}),
    };
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        publish_with(channel, queue, cases[n], "body");
        Message message = take(channel, queue);
        equal_text(properties_text(&message.content.properties), properties_text(cases[n]), "properties");
        equal_text(body(&message), "body", "body");
    }
}

static void header_field_types(void)
{
    static char raw[] = {0, (char)0xff, (char)0xfe};
    char long_key[256];
    memset(long_key, 'k', sizeof long_key);
    long_key[255] = '\0';
    const amqp_decimal_t amount = {3, 12345};
    const amqp_bytes_t octets = {sizeof raw, raw};
    amqp_table_t deepest = TABLE(table("deeper", TABLE(table("deepest", amqp_empty_table))));
    amqp_array_t inner = ARRAY(VALUE(AMQP_FIELD_KIND_BOOLEAN, boolean, true), VALUE_VOID);
    amqp_array_t outer = ARRAY(
        VALUE(AMQP_FIELD_KIND_I32, i32, 1), VALUE_UTF8("two"), VALUE(AMQP_FIELD_KIND_ARRAY, array, inner),
        VALUE(AMQP_FIELD_KIND_TABLE, table, TABLE(number("four", 4))));
    amqp_table_t headers = TABLE(
        utf8("longstr", "text äöü"), utf8("empty longstr", ""),
        entry("bytes", VALUE(AMQP_FIELD_KIND_BYTES, bytes, octets)), flag("true", true), flag("false", false),
        entry("i8", VALUE(AMQP_FIELD_KIND_I8, i8, INT8_MIN)), entry("u8", VALUE(AMQP_FIELD_KIND_U8, u8, UINT8_MAX)),
        entry("i16", VALUE(AMQP_FIELD_KIND_I16, i16, INT16_MIN)),
        entry("u16", VALUE(AMQP_FIELD_KIND_U16, u16, UINT16_MAX)),
        entry("i32", VALUE(AMQP_FIELD_KIND_I32, i32, INT32_MIN)),
        entry("u32", VALUE(AMQP_FIELD_KIND_U32, u32, UINT32_MAX)),
        entry("i64", VALUE(AMQP_FIELD_KIND_I64, i64, INT64_MIN)),
        entry("u64", VALUE(AMQP_FIELD_KIND_U64, u64, UINT64_MAX)),
        entry("f32", VALUE(AMQP_FIELD_KIND_F32, f32, -1.5f)), entry("f64", VALUE(AMQP_FIELD_KIND_F64, f64, 0.1)),
        entry("decimal", VALUE(AMQP_FIELD_KIND_DECIMAL, decimal, amount)),
        entry("timestamp", VALUE(AMQP_FIELD_KIND_TIMESTAMP, u64, 1709209815)), entry("void", VALUE_VOID),
        entry("array", VALUE(AMQP_FIELD_KIND_ARRAY, array, outer)),
        entry("empty array", VALUE(AMQP_FIELD_KIND_ARRAY, array, amqp_empty_array)), table("table", deepest),
        utf8(long_key, "long key"));

    Channel channel = new_channel();
    char *queue = new_queue(channel, "queue");
    publish_with(channel, queue, PROPERTIES(AMQP_BASIC_HEADERS_FLAG, .headers = headers), "");
    Message message = take(channel, queue);
    amqp_table_t received = message.content.properties.headers;
    equal_int(received.num_entries, headers.num_entries, "headers");
    for (int n = 0; n < headers.num_entries; n++) {
        char *key = text_of(headers.entries[n].key);
        equal_text(header(&message, key), value_text(headers.entries[n].value), key);
    }
}

static amqp_bytes_t pattern(size_t size)
{
    amqp_bytes_t bytes = amqp_bytes_malloc(size);
    for (size_t n = 0; n < size; n++)
        ((unsigned char *)bytes.bytes)[n] = (unsigned char)((n ^ n >> 8 ^ n >> 16) % 251);
    return bytes;
}

static void expect_body(const Message *message, amqp_bytes_t expected)
{
    amqp_bytes_t received = message->content.body;
    equal_int((int64_t)received.len, (int64_t)expected.len, "body size");
    bool is_same = expected.len == 0 || memcmp(received.bytes, expected.bytes, expected.len) == 0;
    check(is_same, "the body of %zu bytes is not the same", expected.len);
}

static void body_sizes(void)
{
    const size_t frame = DEFAULT_FRAME_MAX - FRAME_OVERHEAD;
    const size_t sizes[] = {0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1};
    Channel channel = new_channel();
    equal_int(amqp_get_frame_max(channel.state), DEFAULT_FRAME_MAX, "frame_max");
    char *queue = new_queue(channel, "queue");
    Inbox *inbox = consume_with(channel, queue, (ConsumeOptions){.no_ack = true});
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++) {
        send_message(channel, "", queue, false, NULL, pattern(sizes[n]));
        expect_body(message_at(inbox, n), pattern(sizes[n]));
    }
}

static void body_16_mib(void)
{
    Channel channel = new_channel();
    select_confirms(channel);
    char *queue = new_queue(channel, "queue");
    amqp_bytes_t large = pattern(16 * MIB);
    send_message(channel, "", queue, false, NULL, large);
    await_confirms(channel);
    Inbox *inbox = consume_with(channel, queue, (ConsumeOptions){.no_ack = true});
    expect_body(message_at(inbox, 0), large);
}

const Scenario message_scenarios[] = {
    SCENARIO(message_properties),
    SCENARIO(header_field_types),
    SCENARIO(body_sizes),
    SCENARIO(body_16_mib),
    END_OF_SCENARIOS,
};
