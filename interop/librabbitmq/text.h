/* Strings for exact comparison: bodies, lists of them, field tables. A scenario's process is
 * short-lived, so nothing of this is freed. */

#ifndef TEXT_H
#define TEXT_H

#include <amqp.h>
#include <stdarg.h>
#include <stdio.h>

/* A reply text is a shortstr. */
#define REPLY_TEXT_MAX 255

#define PRINTF_LIKE(position, first) __attribute__((format(printf, position, first)))

PRINTF_LIKE(1, 2) char *text(const char *format, ...);
char *reply_text(const char *text);
char *text_of(amqp_bytes_t bytes);

/* "a, b, c", item by item. */
typedef struct List {
    FILE *stream;
    char *text;
    size_t length;
    size_t count;
} List;

List *list(void);
PRINTF_LIKE(2, 3) void add(List *list, const char *format, ...);
char *listed(List *list);

/* "0, 1, 2" for 0, 3. */
char *numbers(int first, int end);

/* Every entry in its order, each value with the letter of its type on the wire. */
char *table_text(amqp_table_t table);
char *value_text(amqp_field_value_t value);

#endif
