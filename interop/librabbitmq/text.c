#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void *allocated(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

char *text(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    size_t size = (size_t)vsnprintf(NULL, 0, format, arguments) + 1;
    char *result = allocated(malloc(size));
    vsnprintf(result, size, format, again);
    va_end(again);
    va_end(arguments);
    return result;
}

char *reply_text(const char *whole)
{
    return text("%.*s", REPLY_TEXT_MAX, whole);
}

char *text_of(amqp_bytes_t bytes)
{
    char *result = allocated(malloc(bytes.len + 1));
    if (bytes.len > 0)
        memcpy(result, bytes.bytes, bytes.len);
    result[bytes.len] = '\0';
    return result;
}

List *list(void)
{
    List *list = allocated(calloc(1, sizeof *list));
    list->stream = allocated(open_memstream(&list->text, &list->length));
    return list;
}

void add(List *list, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (list->count++ > 0)
        fputs(", ", list->stream);
    vfprintf(list->stream, format, arguments);
    va_end(arguments);
}

char *listed(List *list)
{
    fflush(list->stream);
    return list->text;
}

char *numbers(int first, int end)
{
    List *all = list();
    for (int number = first; number < end; number++)
        add(all, "%d", number);
    return listed(all);
}

static char *array_text(amqp_array_t array)
{
    List *values = list();
    for (int n = 0; n < array.num_entries; n++)
        add(values, "%s", value_text(array.entries[n]));
    return text("[%s]", listed(values));
}

static char *hexadecimal(amqp_bytes_t bytes)
{
    char *result = allocated(calloc(bytes.len + 1, 2));
    for (size_t n = 0; n < bytes.len; n++)
        sprintf(result + 2 * n, "%02x", ((unsigned char *)bytes.bytes)[n]);
    return result;
}

static char *untyped_text(amqp_field_value_t value)
{
    switch (value.kind) {
    case AMQP_FIELD_KIND_BOOLEAN: return text("%s", value.value.boolean ? "true" : "false");
    case AMQP_FIELD_KIND_I8: return text("%" PRId8, value.value.i8);
    case AMQP_FIELD_KIND_U8: return text("%" PRIu8, value.value.u8);
    case AMQP_FIELD_KIND_I16: return text("%" PRId16, value.value.i16);
    case AMQP_FIELD_KIND_U16: return text("%" PRIu16, value.value.u16);
    case AMQP_FIELD_KIND_I32: return text("%" PRId32, value.value.i32);
    case AMQP_FIELD_KIND_U32: return text("%" PRIu32, value.value.u32);
    case AMQP_FIELD_KIND_I64: return text("%" PRId64, value.value.i64);
    case AMQP_FIELD_KIND_U64:
    case AMQP_FIELD_KIND_TIMESTAMP: return text("%" PRIu64, value.value.u64);
    case AMQP_FIELD_KIND_F32: return text("%a", (double)value.value.f32);
    case AMQP_FIELD_KIND_F64: return text("%a", value.value.f64);
    case AMQP_FIELD_KIND_DECIMAL:
        return text("%" PRIu32 "e-%u", value.value.decimal.value, value.value.decimal.decimals);
    case AMQP_FIELD_KIND_UTF8: return text_of(value.value.bytes);
    case AMQP_FIELD_KIND_BYTES: return hexadecimal(value.value.bytes);
    case AMQP_FIELD_KIND_ARRAY: return array_text(value.value.array);
    case AMQP_FIELD_KIND_TABLE: return table_text(value.value.table);
    default: return "";
    }
}

char *value_text(amqp_field_value_t value)
{
    return text("%c:%s", value.kind, untyped_text(value));
}

char *table_text(amqp_table_t table)
{
    List *entries = list();
    for (int n = 0; n < table.num_entries; n++)
        add(entries, "%s=%s", text_of(table.entries[n].key), value_text(table.entries[n].value));
    return text("{%s}", listed(entries));
}
