/* What a scenario is, how it is played, and how it fails.
 *
 * Each is played in a process of its own, so that a crash or a hang is its own result and no more,
 * and to fail is to exit, from any thread. What has to be deleted on the broker afterwards is
 * written into memory that the player shares with it. */

#ifndef SCENARIO_H
#define SCENARIO_H

#include "text.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Scenario {
    const char *name;
    void (*play)(void);
    /* Why the client cannot play it. */
    const char *lacking;
} Scenario;

#define SCENARIO(function) {#function, function, NULL}
#define LACKING(name, reason) {name, NULL, reason}
#define END_OF_SCENARIOS {NULL, NULL, NULL}

extern const Scenario channel_scenarios[];
extern const Scenario connection_scenarios[];
extern const Scenario consuming_scenarios[];
extern const Scenario dead_letter_scenarios[];
extern const Scenario exchange_scenarios[];
extern const Scenario load_scenarios[];
extern const Scenario message_scenarios[];
extern const Scenario publishing_scenarios[];
extern const Scenario queue_scenarios[];
extern const Scenario transaction_and_rpc_scenarios[];

/* Plays a scenario, or says that there is none of that name. */
void play(const char *name, const Scenario *scenario);

/* The name of the scenario that is being played. */
const char *scenario_name(void);

/* Asks the runner to do something to the broker: stop, restart, block or unblock. */
void ask(const char *what);

/* Notes what is to be deleted when the scenario has ended, whatever its end. */
void delete_queue_afterwards(const char *name);
void delete_exchange_afterwards(const char *name);

#define fail(...) fail_at(__FILE__, __LINE__, text(__VA_ARGS__))
#define check(condition, ...) ((condition) ? (void)0 : fail(__VA_ARGS__))
#define equal_text(actual, expected, what) equal_text_at(__FILE__, __LINE__, actual, expected, what)
#define equal_int(actual, expected, what) equal_int_at(__FILE__, __LINE__, actual, expected, what)

_Noreturn void fail_at(const char *file, int line, const char *message);
void equal_text_at(const char *file, int line, const char *actual, const char *expected, const char *what);
void equal_int_at(const char *file, int line, int64_t actual, int64_t expected, const char *what);

#endif
