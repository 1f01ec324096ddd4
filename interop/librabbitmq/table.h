/* Field tables, and the properties of messages, written as values. */

#ifndef TABLE_H
#define TABLE_H

#include <amqp.h>
#include <stdbool.h>

#define TABLE(...)                                                                                                 \
    ((amqp_table_t){                                                                                               \
        (int)(sizeof((amqp_table_entry_t[]){__VA_ARGS__}) / sizeof(amqp_table_entry_t)),                           \
        (amqp_table_entry_t[]){__VA_ARGS__},                                                                       \
    })

#define ARRAY(...)                                                                                                 \
    ((amqp_array_t){                                                                                               \
        (int)(sizeof((amqp_field_value_t[]){__VA_ARGS__}) / sizeof(amqp_field_value_t)),                           \
        (amqp_field_value_t[]){__VA_ARGS__},                                                                       \
    })

/* A value of the type that the first word names: VALUE(AMQP_FIELD_KIND_I32, i32, 5). */
#define VALUE(type, member, given) ((amqp_field_value_t){.kind = (type), .value = {.member = given}})
#define VALUE_UTF8(string) VALUE(AMQP_FIELD_KIND_UTF8, bytes, amqp_cstring_bytes(string))
#define VALUE_VOID ((amqp_field_value_t){.kind = AMQP_FIELD_KIND_VOID})

#define PROPERTIES(flags, ...) (&(amqp_basic_properties_t){._flags = (flags), __VA_ARGS__})
#define HEADERS(...) PROPERTIES(AMQP_BASIC_HEADERS_FLAG, .headers = TABLE(__VA_ARGS__))
#define EXPIRATION(milliseconds) PROPERTIES(AMQP_BASIC_EXPIRATION_FLAG, .expiration = bytes(milliseconds))
#define PERSISTENT PROPERTIES(AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = AMQP_DELIVERY_PERSISTENT)

amqp_bytes_t bytes(const char *string);

amqp_table_entry_t entry(const char *key, amqp_field_value_t value);
amqp_table_entry_t utf8(const char *key, const char *value);
amqp_table_entry_t number(const char *key, int32_t value);
amqp_table_entry_t flag(const char *key, bool value);
amqp_table_entry_t table(const char *key, amqp_table_t value);

/* What a key holds, or NULL. */
const amqp_field_value_t *field(amqp_table_t table, const char *key);

#endif
