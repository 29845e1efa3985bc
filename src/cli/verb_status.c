#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/verbs.h"

static void add_seconds(struct cli_table *table, const json_t *one, const char *name)
{
    char text[32];

    snprintf(text, sizeof(text), "%.3f s", json_number_value(json_object_get(one, name)));
    cli_table_text(table, text);
}

/* "opening 43 %" */
static void add_state(struct cli_table *table, const json_t *one)
{
    const char *state = cli_json_string(one, "state");
    char text[64];

    snprintf(text, sizeof(text), "%s %d %%", state,
             (int)(json_number_value(json_object_get(one, "opened")) * 100));
    cli_table_text(table, strcmp(state, "opening") == 0 ? text : state);
}

static enum poly_status print_projections(const json_t *status, struct poly_error *err)
{
    const json_t *list = json_object_get(status, "projections");
    struct cli_table *table = cli_table_new();
    static const char *const names[] = {"STORE", "DRIVER",    "STATE",   "APPLIED", "BEHIND",
                                        "LAG",   "DOCUMENTS", "SKIPPED", "ERROR"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cli_table_column(table, names[i]);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);

        cli_table_text(table, cli_json_string(one, "store"));
        cli_table_text(table, cli_json_string(one, "driver"));
        add_state(table, one);
        cli_table_number(table, cli_json_integer(one, "applied"));
        cli_table_number(table, cli_json_integer(one, "lag_records"));
        add_seconds(table, one, "lag_seconds");
        cli_table_number(table, cli_json_integer(one, "documents"));
        cli_table_number(table, cli_json_integer(one, "skipped"));
        cli_table_text(table, cli_json_string(one, "error"));
    }
    enum poly_status printed =
        json_array_size(list) == 0 ? POLY_OK : cli_table_print(table, stdout, err);

    cli_table_free(table);
    return printed;
}

static enum poly_status print_domains(const json_t *status, struct poly_error *err)
{
    const json_t *list = json_object_get(status, "domains");
    struct cli_table *table = cli_table_new();

    cli_table_column(table, "DOMAIN");
    cli_table_column(table, "OWNER");
    cli_table_column(table, "SOURCE");
    cli_table_column(table, "TENANT");
    cli_table_column(table, "SEARCH");
    cli_table_column(table, "VECTORS");
    cli_table_column(table, "PROBLEM");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const char *tenant = cli_json_string(one, "tenant");

        cli_table_text(table, cli_json_string(one, "name"));
        cli_table_text(table, cli_json_string(one, "owner"));
        cli_table_text(table, cli_json_string(one, "source"));
        cli_table_text(table, tenant[0] == '\0' ? "none" : tenant);
        cli_table_text(table, cli_json_true(one, "search") ? "yes" : "no");
        cli_table_number(table, cli_json_integer(one, "vectors"));
        cli_table_text(table, cli_json_string(one, "problem"));
    }
    enum poly_status printed =
        json_array_size(list) == 0 ? POLY_OK : cli_table_print(table, stdout, err);

    cli_table_free(table);
    return printed;
}

static enum poly_status print_subscriptions(const json_t *status, struct poly_error *err)
{
    const json_t *list = json_object_get(status, "subscriptions");
    struct cli_table *table = cli_table_new();

    cli_table_column(table, "SUBSCRIPTION");
    cli_table_column(table, "TENANT");
    cli_table_column(table, "ACKNOWLEDGED");
    cli_table_column(table, "BEHIND");
    cli_table_column(table, "OPEN");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);

        cli_table_text(table, cli_json_string(one, "name"));
        cli_table_text(table, cli_json_string(one, "tenant"));
        cli_table_number(table, cli_json_integer(one, "acknowledged"));
        cli_table_number(table, cli_json_integer(one, "lag_records"));
        cli_table_text(table, cli_json_true(one, "open") ? "yes" : "no");
    }
    enum poly_status printed =
        json_array_size(list) == 0 ? POLY_OK : cli_table_print(table, stdout, err);

    cli_table_free(table);
    return printed;
}

/* Nothing, when the member is missing. */
static void print_words(const char *what, const char *words, const json_t *object, const char *name)
{
    const char *text = cli_json_string(object, name);

    if (text[0] == '\0')
        return;
    printf("%s%s", what, words);
    cli_print_line(stdout, text, strlen(text));
}

static enum poly_status print_views(const json_t *status, struct poly_error *err)
{
    const json_t *list = json_object_get(status, "views");
    struct cli_table *table = cli_table_new();
    static const char *const names[] = {"VIEW",  "STATE",     "POSITION", "BEHIND",
                                        "BOUND", "REFRESHES", "LAST",     "ERROR"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cli_table_column(table, names[i]);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);

        cli_table_text(table, cli_json_string(one, "name"));
        cli_table_text(table, cli_json_string(one, "state"));
        cli_table_number(table, cli_json_integer(one, "position"));
        add_seconds(table, one, "behind_seconds");
        add_seconds(table, one, "staleness_seconds");
        cli_table_number(table, cli_json_integer(one, "refreshes"));
        add_seconds(table, one, "duration_seconds");
        cli_table_text(table, cli_json_string(one, "error"));
    }
    enum poly_status printed =
        json_array_size(list) == 0 ? POLY_OK : cli_table_print(table, stdout, err);

    cli_table_free(table);
    return printed;
}

static enum poly_status print_embeddings(const json_t *status, struct poly_error *err)
{
    const json_t *list = json_object_get(status, "embeddings");
    struct cli_table *table = cli_table_new();
    static const char *const names[] = {"EMBEDDER", "DOMAIN",  "VECTOR",  "MODEL",  "NEXT",
                                        "STATE",    "WAITING", "REFUSED", "BEHIND", "ERROR"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cli_table_column(table, names[i]);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);

        cli_table_text(table, cli_json_string(one, "embedder"));
        cli_table_text(table, cli_json_string(one, "domain"));
        cli_table_text(table, cli_json_string(one, "name"));
        cli_table_text(table, cli_json_string(one, "model"));
        cli_table_text(table, json_is_true(json_object_get(one, "next")) ? "next" : "");
        cli_table_text(table, cli_json_string(one, "state"));
        cli_table_number(table, cli_json_integer(one, "waiting"));
        cli_table_number(table, cli_json_integer(one, "refused"));
        add_seconds(table, one, "behind_seconds");
        cli_table_text(table, cli_json_string(one, "error"));
    }
    enum poly_status printed =
        json_array_size(list) == 0 ? POLY_OK : cli_table_print(table, stdout, err);

    cli_table_free(table);
    return printed;
}

static void print_server(const json_t *server)
{
    const char *warnings = cli_json_string(server, "warnings");
    const json_t *pool = json_object_get(server, "pool"),
                 *ratio = json_object_get(server, "hit_ratio");

    if (server == NULL)
        return;
    print_words("server    ", "cannot be reached since ", server, "unreachable_since");
    if (!cli_json_true(server, "answers"))
        print_words("server    ", "has not answered; what follows it said at ", server, "sampled");
    printf("server    %" PRId64 " of %" PRId64 " connections (this daemon %" PRId64 " of %" PRId64
           "), %" PRId64 " active, %" PRId64 " for over 1 s, hit ratio ",
           cli_json_integer(server, "connections"), cli_json_integer(server, "connections_max"),
           cli_json_integer(pool, "open"), cli_json_integer(pool, "max"),
           cli_json_integer(server, "connections_active"),
           cli_json_integer(server, "long_running"));
    if (ratio != NULL)
        printf("%.3f\n", json_number_value(ratio));
    else
        printf("no data\n");
    printf("server    %" PRId64 " statements take over 1 s on average",
           cli_json_integer(server, "slow_statements"));
    print_words("", ", says ", server, "slow_source");
    if (warnings[0] != '\0') {
        printf("warning   ");
        cli_print_line(stdout, warnings, strlen(warnings));
    }
}

static enum poly_status print(const json_t *status, struct poly_error *err)
{
    const char *last_error = cli_json_string(status, "last_error");
    enum poly_status printed;

    printf("state     %s\n", cli_json_string(status, "state"));
    printf("data      %s (%.1f MiB, write-ahead log %.1f MiB)\n", cli_json_string(status, "data"),
           (double)cli_json_integer(status, "database_bytes") / (1 << 20),
           (double)cli_json_integer(status, "wal_bytes") / (1 << 20));
    printf("instance  %s, epoch %" PRId64 ", polystore %s\n", cli_json_string(status, "instance"),
           cli_json_integer(status, "epoch"), cli_json_string(status, "version"));
    printf("log       head %" PRId64 ", sealed %" PRId64 "\n", cli_json_integer(status, "head"),
           cli_json_integer(status, "sealed"));
    print_server(json_object_get(status, "server"));
    if (cli_json_true(status, "writer_held"))
        printf("writer    held by a transaction for %.1f s\n",
               json_number_value(json_object_get(status, "writer_held_seconds")));
    if (last_error[0] != '\0') {
        printf(cli_json_true(status, "writes_refused") ? "refuses   writes: " : "error     ");
        cli_print_line(stdout, last_error, strlen(last_error));
    }
    printf("\n");
    printed = print_domains(status, err);
    if (printed == POLY_OK && json_array_size(json_object_get(status, "projections")) > 0)
        printf("\n");
    if (printed == POLY_OK)
        printed = print_projections(status, err);
    if (printed == POLY_OK && json_array_size(json_object_get(status, "views")) > 0)
        printf("\n");
    if (printed == POLY_OK)
        printed = print_views(status, err);
    if (printed == POLY_OK && json_array_size(json_object_get(status, "embeddings")) > 0)
        printf("\n");
    if (printed == POLY_OK)
        printed = print_embeddings(status, err);
    if (printed == POLY_OK && json_array_size(json_object_get(status, "subscriptions")) > 0)
        printf("\n");
    return printed == POLY_OK ? print_subscriptions(status, err) : printed;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "status.read"};
    struct cli_answer answer;
    json_t *json = NULL;
    enum poly_status status = cli_ask(cli, &request, &answer, err);

    if (status == POLY_OK)
        json = json_loadb(answer.body.data, answer.body.size, 0, NULL);
    if (status == POLY_OK && json == NULL)
        status = poly_fail(err, POLY_INTERNAL, "the answer is not JSON");
    if (status == POLY_OK && cli->json)
        cli_print_json(NULL, answer.body.data, answer.body.size);
    else if (status == POLY_OK)
        status = print(json, err);
    if (status == POLY_OK && strcmp(cli_json_string(json, "state"), "ok") != 0 &&
        strcmp(cli_json_string(json, "state"), "behind") != 0 &&
        strcmp(cli_json_string(json, "state"), "opening") != 0)
        status = poly_fail(err, POLY_UNAVAILABLE, "%s", "");
    json_decref(json);
    poly_buffer_release(&answer.body);
    return status;
}

const struct cli_verb cli_verb_status = {
    .name = "status",
    .summary = "Say how everything is",
    .text = "The exit code is 0 when the state is ok, behind or opening, and 9 otherwise.",
    .examples =
        (const struct cli_example[]){
            {"polystore status", "stores, domains, subscriptions"},
            {"polystore status --json", "the same for a program"},
            {NULL, NULL},
        },
    .max = 0,
    .run = run,
};
