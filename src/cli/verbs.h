/* The verbs, one file each, and what they share. */
#ifndef POLY_CLI_VERBS_H
#define POLY_CLI_VERBS_H

#include "cli/cli.h"

#define CLI_VERBS(X)                                                                               \
    X(init)                                                                                        \
    X(adopt)                                                                                       \
    X(release)                                                                                     \
    X(status)                                                                                      \
    X(migrate)                                                                                     \
    X(get)                                                                                         \
    X(put)                                                                                         \
    X(patch)                                                                                       \
    X(delete)                                                                                      \
    X(list)                                                                                        \
    X(sql)                                                                                         \
    X(append)                                                                                      \
    X(events)                                                                                      \
    X(log)                                                                                         \
    X(search)                                                                                      \
    X(subscribe)                                                                                   \
    X(subscription)                                                                                \
    X(import)                                                                                      \
    X(rebuild)                                                                                     \
    X(projection)                                                                                  \
    X(view)                                                                                        \
    X(vector)                                                                                      \
    X(key)                                                                                         \
    X(config)                                                                                      \
    X(completion)                                                                                  \
    X(version)                                                                                     \
    X(help)

#define CLI_DECLARE(name) extern const struct cli_verb cli_verb_##name;
CLI_VERBS(CLI_DECLARE)
#undef CLI_DECLARE

/* --- arguments.c --- */

/*
 * {"section": "shells", "size": 6469} from "section=shells" "size:=6469" (= text, := JSON), from
 * one argument that is a JSON object, or from stdin for "-".
 */
enum poly_status cli_read_row(char **arguments, int count, struct poly_buffer *json,
                              struct poly_error *err);
/*
 * "installed_size>=1000" as {"column", "compare", "values"}; several as a JSON array. None: empty.
 * Values are texts, for columns that convert them; inside of JSON, and with guess, what looks like
 * a number is one.
 */
enum poly_status cli_read_filters(const struct cli *cli, bool guess, struct poly_buffer *json,
                                  struct poly_error *err);
/* --if-version "none" or a number, into the headers of a request. */
enum poly_status cli_read_if_version(const struct cli *cli, struct cli_request *request,
                                     char etag[32], struct poly_error *err);
/* All of stdin. POLY_LIMIT: too much. */
enum poly_status cli_read_stdin(struct poly_buffer *text, struct poly_error *err);
/* Every value of a repeated option as a parameter of the same name. */
void cli_repeat(const struct cli *cli, const char *option, struct cli_request *request,
                const char *parameter);

/* --- verb_vector_import.c --- */

enum poly_status cli_vector_import(struct cli *cli, struct poly_error *err);
/* … and verb_vector_text.c. */
extern const struct cli_verb cli_verb_vector_refused, cli_verb_vector_retry;

/* --- verb_rebuild_model.c --- */

/* With a domain beside the store: a change of model. */
enum poly_status cli_rebuild_model(struct cli *cli, struct poly_error *err);

/* --- verb_vector_collection.c --- */

extern const struct cli_verb cli_vector_create, cli_vector_drop, cli_vector_list;

/* --- records.c: what several verbs print --- */

/* "put packages bash: version 17", or the answer as JSON. */
enum poly_status cli_write(struct cli *cli, struct cli_request *request, const char *what,
                           struct poly_error *err);
/* One record of the log on one line. */
void cli_print_record(const json_t *record);

#endif
