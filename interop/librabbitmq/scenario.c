#include "scenario.h"

#include "client.h"
#include "report.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCENARIO_TIMEOUT_S 45
#define CLEANUP_TIMEOUT_S 10
#define DELETIONS_MAX 64
#define MESSAGE_SIZE 4096
#define SHOWN_LENGTH 400

typedef struct Deletion {
    bool is_exchange;
    char name[256];
} Deletion;

/* Shared by the player and the process of the scenario. */
typedef struct Outcome {
    bool is_blocked;
    char message[MESSAGE_SIZE];
    int deletions_count;
    Deletion deletions[DELETIONS_MAX];
} Outcome;

static const char *playing;
static Outcome *outcome;

const char *scenario_name(void)
{
    return playing;
}

void ask(const char *what)
{
    report_event(playing, what);
    if (strcmp(what, "block") == 0 || strcmp(what, "unblock") == 0)
        outcome->is_blocked = strcmp(what, "block") == 0;
}

/* Empty, for the next scenario; NULL if there is no memory for it. */
static Outcome *shared_outcome(void)
{
    static Outcome *shared = NULL;
    if (shared == NULL)
        shared = mmap(NULL, sizeof(Outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return NULL;
    memset(shared, 0, sizeof(Outcome));
    return shared;
}

static void note_deletion(bool is_exchange, const char *name)
{
    check(outcome->deletions_count < DELETIONS_MAX, "more than %d things to delete", DELETIONS_MAX);
    Deletion *deletion = &outcome->deletions[outcome->deletions_count++];
    deletion->is_exchange = is_exchange;
    snprintf(deletion->name, sizeof deletion->name, "%s", name);
}

void delete_queue_afterwards(const char *name)
{
    note_deletion(false, name);
}

void delete_exchange_afterwards(const char *name)
{
    note_deletion(true, name);
}

static void delete_what_was_noted(void)
{
    Connection *connection = outcome->deletions_count > 0 ? try_to_connect() : NULL;
    if (connection == NULL)
        return;
    Channel channel = open_channel(connection, 1);
    for (int n = 0; n < outcome->deletions_count; n++) {
        amqp_bytes_t name = amqp_cstring_bytes(outcome->deletions[n].name);
        if (outcome->deletions[n].is_exchange)
            amqp_exchange_delete(channel.state, channel.number, name, false);
        else
            amqp_queue_delete(channel.state, channel.number, name, false, false);
    }
}

static const char *judged(int status, unsigned timeout_s)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
        return NULL;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        return text("not done after %u s", timeout_s);
    if (WIFSIGNALED(status))
        return text("ended by signal %d", WTERMSIG(status));
    return text("%s", outcome->message);
}

/* In a process of its own; returns what was wrong with it. */
static const char *run_apart(void (*function)(void), unsigned timeout_s)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(timeout_s);
        function();
        close_connections();
        _exit(EXIT_SUCCESS);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return "there is no process for the scenario";
    return judged(status, timeout_s);
}

void play(const char *name, const Scenario *scenario)
{
    report_event(name, "started");
    playing = name;
    outcome = shared_outcome();
    if (scenario == NULL || outcome == NULL) {
        report_failed(name, 0, scenario == NULL ? "the client has no such scenario" : "there is no memory left");
        return;
    }
    if (scenario->lacking != NULL) {
        report_lacking(name, scenario->lacking);
        return;
    }
    double started = now();
    const char *problem = run_apart(scenario->play, SCENARIO_TIMEOUT_S);
    double seconds = now() - started;
    if (outcome->is_blocked)
        ask("unblock");
    run_apart(delete_what_was_noted, CLEANUP_TIMEOUT_S);
    if (problem == NULL)
        report_passed(name, seconds);
    else
        report_failed(name, seconds, problem);
}

void fail_at(const char *file, int line, const char *message)
{
    const char *slash = strrchr(file, '/');
    snprintf(outcome->message, MESSAGE_SIZE, "%s (%s:%d)", message, slash ? slash + 1 : file, line);
    _exit(EXIT_FAILURE);
}

void equal_text_at(const char *file, int line, const char *actual, const char *expected, const char *what)
{
    if (strcmp(actual, expected) == 0)
        return;
    fail_at(
        file, line,
        text("%s: expected '%.*s', got '%.*s'", what, SHOWN_LENGTH, expected, SHOWN_LENGTH, actual));
}

void equal_int_at(const char *file, int line, int64_t actual, int64_t expected, const char *what)
{
    if (actual != expected)
        fail_at(file, line, text("%s: expected %" PRId64 ", got %" PRId64, what, expected, actual));
}
