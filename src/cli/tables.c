/* The options of every verb, all verbs, and the signals that end long ones. */
#include <signal.h>

#include "cli/verbs.h"

const struct cli_option cli_global_options[] = {
    {"config", 'c', "FILE", NULL, "configuration; default: polystore.yaml, where there is one"},
    {"data", 'd', "FOLDER", NULL, "data folder; default: as the configuration says"},
    {"server", 's', "URL", NULL, "talk to the daemon there, whatever is here"},
    {"key-file", 0, "FILE", NULL,
     "file with the API key; default: $POLYSTORE_KEY, then admin.key in the data folder"},
    {"ca", 0, "FILE", NULL,
     "certificates to trust, with --server https://…; default: the system's"},
    {"tenant", 't', "NAME", NULL, "for this tenant"},
    {"token", 0, "TOKEN", NULL, "see at least the write that returned this token"},
    {"consistency", 0, "HOW", "wait|fail|stale",
     "when the store has not applied the token yet: wait (default), fail, or stale"},
    {"json", 'j', NULL, NULL, "print the answer as JSON, and errors too"},
    {"quiet", 'q', NULL, NULL, "no progress, no notes"},
    {"help", 'h', NULL, NULL, "print help"},
    {NULL, 0, NULL, NULL, NULL},
};

const struct cli_verb *const cli_verbs[] = {
#define VERB(name) &cli_verb_##name,
    CLI_VERBS(VERB)
#undef VERB
        NULL};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void cli_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}
