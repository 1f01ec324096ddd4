#include "table.h"

#include <string.h>

amqp_bytes_t bytes(const char *string)
{
    return string == NULL ? amqp_empty_bytes : amqp_cstring_bytes(string);
}

amqp_table_entry_t entry(const char *key, amqp_field_value_t value)
{
    return (amqp_table_entry_t){bytes(key), value};
}

amqp_table_entry_t utf8(const char *key, const char *value)
{
    return entry(key, VALUE_UTF8(value));
}

amqp_table_entry_t number(const char *key, int32_t value)
{
    return entry(key, VALUE(AMQP_FIELD_KIND_I32, i32, value));
}

amqp_table_entry_t flag(const char *key, bool value)
{
    return entry(key, VALUE(AMQP_FIELD_KIND_BOOLEAN, boolean, value));
}

amqp_table_entry_t table(const char *key, amqp_table_t value)
{
    return entry(key, VALUE(AMQP_FIELD_KIND_TABLE, table, value));
}

const amqp_field_value_t *field(amqp_table_t table, const char *key)
{
    for (int n = 0; n < table.num_entries; n++) {
        amqp_bytes_t found = table.entries[n].key;
        if (found.len == strlen(key) && memcmp(found.bytes, key, found.len) == 0)
            return &table.entries[n].value;
    }
    return NULL;
}
