#include "report.h"

#include <stdio.h>

static void print_quoted(const char *text)
{
    putchar('"');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if ((unsigned char)*c < ' ')
            printf("\\u%04x", (unsigned)*c);
        else
            putchar(*c);
    }
    putchar('"');
}

static void begin(const char *scenario, const char *event)
{
    printf("{\"scenario\": \"%s\", \"event\": \"%s\"", scenario, event);
}

/* Flushed, so that a process which forks does not print it twice. */
static void end(void)
{
    puts("}");
    fflush(stdout);
}

static void add_seconds(double seconds)
{
    printf(", \"seconds\": %.6f", seconds);
}

static void add_message(const char *message)
{
    printf(", \"message\": ");
    print_quoted(message);
}

void report_event(const char *scenario, const char *event)
{
    begin(scenario, event);
    end();
}

void report_passed(const char *scenario, double seconds)
{
    begin(scenario, "passed");
    add_seconds(seconds);
    end();
}

void report_failed(const char *scenario, double seconds, const char *message)
{
    begin(scenario, "failed");
    add_seconds(seconds);
    add_message(message);
    end();
}

void report_lacking(const char *scenario, const char *message)
{
    begin(scenario, "lacking");
    add_message(message);
    end();
}
