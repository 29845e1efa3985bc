/*
 * The command line as tables: a verb says once what it takes, and parsing,
 * --help, the man page, docs/cli.md and bash completion are printed from it.
 * A verb builds a request for the table of operations and prints the answer;
 * whether that goes to an open data folder or to a daemon is the client's
 * business.
 */
#ifndef POLY_CLI_CLI_H
#define POLY_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "cli/client.h"

struct cli;

struct cli_option {
    const char *name;    /* "limit"; NULL: the end of the list */
    char letter;         /* 'n'; 0: none */
    const char *value;   /* what stands for the value in help: "N"; NULL: a flag */
    const char *choices; /* "wait|fail|stale"; NULL: anything */
    const char *help;
};

struct cli_example {
    const char *command; /* works when pasted where ./run has been; NULL: the end of the list */
    const char *meaning;
};

typedef enum poly_status cli_run_fn(struct cli *cli, struct poly_error *err);

struct cli_verb {
    const char *name;
    const char *arguments; /* "DOMAIN KEY [COLUMN=TEXT …]"; NULL: none */
    const char *summary;   /* one line */
    const char *text;      /* paragraphs, separated by an empty line; NULL: none */
    const struct cli_option *options;
    const struct cli_example *examples;
    const struct cli_verb *const *verbs; /* "migrate" has "up"; NULL-terminated; NULL: none */
    int min, max;                        /* arguments; max -1: any number */
    cli_run_fn *run;
};

/* Options that every verb takes, and all verbs. */
extern const struct cli_option cli_global_options[];
extern const struct cli_verb *const cli_verbs[];

enum { CLI_GIVEN_MAX = 128 };

struct cli_given {
    const struct cli_option *option;
    const char *value;
};

struct cli {
    const struct cli_verb *group; /* "migrate" of "migrate up"; NULL: none */
    const struct cli_verb *verb;  /* NULL: none was given */
    struct cli_given given[CLI_GIVEN_MAX];
    size_t given_count;
    char **arguments;
    int argument_count;
    bool json, quiet, help;
    struct cli_client *client; /* NULL: not connected yet */
};

/* What was given for an option; the last one counts. A flag: "". NULL: it was not given. */
const char *cli_option(const struct cli *cli, const char *name);
/* One after the other; *at starts at 0. NULL: no more. */
const char *cli_option_next(const struct cli *cli, const char *name, size_t *at);
/* As a number from min to max; not given: *number stays. */
enum poly_status cli_option_number(const struct cli *cli, const char *name, int64_t min,
                                   int64_t max, int64_t *number, struct poly_error *err);

/* "put", "migrate up": for messages. Into 64 bytes. */
void cli_verb_name(const struct cli *cli, char name[64]);

/*
 * Connects on first use, sends, and says on stderr when an answer is stale. The tail of a streamed
 * answer is checked for an error that came after the beginning.
 */
enum poly_status cli_connect(struct cli *cli, struct poly_error *err);
enum poly_status cli_ask(struct cli *cli, struct cli_request *request, struct cli_answer *answer,
                         struct poly_error *err);
/* The same, into a parsed JSON document; with --json prints it as it comes instead, and *json is
 * NULL. Give *json back with json_decref(). */
enum poly_status cli_ask_json(struct cli *cli, struct cli_request *request, json_t **json,
                              struct poly_error *err);
/* The same, whose answer has nothing to show: prints "WHAT: said", unless --json or --quiet. */
enum poly_status cli_ask_done(struct cli *cli, struct cli_request *request, const char *what,
                              const char *said, struct poly_error *err);

struct cli_column {
    const char *member, *head;
};

/* The same, and prints a list of the answer as a table, a row each. The columns end with NULL. */
enum poly_status cli_ask_list(struct cli *cli, struct cli_request *request, const char *list,
                              const struct cli_column *columns, struct poly_error *err);
/* Such a table alone. */
enum poly_status cli_print_list(const json_t *rows, const struct cli_column *columns,
                                struct poly_error *err);

/* true once SIGINT or SIGTERM came; cli_catch_interrupts() makes them count instead of kill. */
void cli_catch_interrupts(void);
bool cli_interrupted(void);

#endif
