/* Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event. */

#include "client.h"
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Scenario *const tables[] = {
    connection_scenarios, channel_scenarios,    queue_scenarios,
    exchange_scenarios,   dead_letter_scenarios, message_scenarios,
    publishing_scenarios, consuming_scenarios,  transaction_and_rpc_scenarios,
    load_scenarios,
};

static const Scenario *find(const char *name)
{
    for (size_t n = 0; n < sizeof tables / sizeof tables[0]; n++)
        for (const Scenario *scenario = tables[n]; scenario->name != NULL; scenario++)
            if (strcmp(scenario->name, name) == 0)
                return scenario;
    return NULL;
}

int main(int count, char **arguments)
{
    const char *url = getenv("AMQP_URL");
    if (url == NULL || !set_broker(url)) {
        fprintf(stderr, "AMQP_URL is not the address of a broker\n");
        return EXIT_FAILURE;
    }
    for (int n = 1; n < count; n++)
        play(arguments[n], find(arguments[n]));
    return EXIT_SUCCESS;
}
