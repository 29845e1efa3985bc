#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* "30d", "12h" or RFC 3339 text, as the latter. */
static enum poly_status read_expiry(const char *text, char time[28], struct poly_error *err)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'m', 60}, {'h', 3600}, {'d', 86400}, {'y', 31536000}};
    char *end;
    long long count = strtoll(text, &end, 10);
    int64_t parsed;

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (count > 0 && count < 1000000 && end[0] == units[i].unit && end[1] == '\0') {
            poly_json_time(poly_clock_wall() + count * units[i].seconds * 1000000, time);
            return POLY_OK;
        }
    if (poly_json_parse_time(text, &parsed, err) != POLY_OK)
        return poly_fail(err, POLY_INVALID,
                         "--expires '%s': must be like 30d, 12h, or 2030-01-01T00:00:00Z", text);
    poly_json_time(parsed, time);
    return POLY_OK;
}

static void add_text(struct poly_buffer *body, const char *name, const char *value)
{
    if (value == NULL)
        return;
    poly_buffer_printf(body, ",\"%s\":", name);
    poly_json_string(body, value, strlen(value));
}

static void add_rights(struct poly_buffer *body, const char *rights)
{
    poly_buffer_text(body, "{\"rights\":[");
    for (bool first = true; *rights != '\0'; first = false) {
        size_t size = strcspn(rights, ",");

        poly_buffer_text(body, first ? "" : ",");
        poly_json_string(body, rights, size);
        rights += size + (rights[size] == ',' ? 1 : 0);
    }
    poly_buffer_char(body, ']');
}

static enum poly_status run_create(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "keys.create"};
    const char *rights = cli_option(cli, "rights"), *expires = cli_option(cli, "expires");
    struct poly_buffer body;
    char time[28];
    json_t *key = NULL;
    enum poly_status status = POLY_OK;

    if (expires != NULL)
        status = read_expiry(expires, time, err);
    poly_buffer_init(&body, 65536);
    add_rights(&body, rights == NULL ? "read,write" : rights);
    add_text(&body, "label", cli_option(cli, "label"));
    add_text(&body, "tenant", cli_option(cli, "tenant"));
    add_text(&body, "expires", expires == NULL ? NULL : time);
    poly_buffer_char(&body, '}');
    request.body = body.data;
    request.body_size = body.size;
    if (status == POLY_OK)
        status = cli_ask_json(cli, &request, &key, err);
    if (key != NULL)
        printf("%s\n", cli_json_string(key, "secret"));
    if (key != NULL && !cli->quiet)
        fprintf(stderr, "polystore: key %s is shown this once; keep it in a file of mode 0600\n",
                cli_json_string(key, "id"));
    json_decref(key);
    poly_buffer_release(&body);
    return status;
}

static enum poly_status print_keys(const json_t *answer, struct poly_error *err)
{
    const json_t *keys = json_object_get(answer, "keys");
    struct cli_table *table = cli_table_new();
    static const char *const names[] = {"ID",      "LABEL",   "TENANT", "RIGHTS",
                                        "CREATED", "EXPIRES", "REVOKED"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cli_table_column(table, names[i]);
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        const json_t *list = json_object_get(key, "rights");
        char rights[64] = "";
        size_t used = 0;

        for (size_t r = 0; r < json_array_size(list) && used < sizeof(rights); r++)
            used += (size_t)snprintf(rights + used, sizeof(rights) - used, "%s%s",
                                     r == 0 ? "" : ",", json_string_value(json_array_get(list, r)));
        cli_table_text(table, cli_json_string(key, "id"));
        cli_table_text(table, cli_json_string(key, "label"));
        cli_table_text(table, cli_json_string(key, "tenant"));
        cli_table_text(table, rights);
        cli_table_text(table, cli_json_string(key, "created"));
        cli_table_text(table, cli_json_string(key, "expires"));
        cli_table_text(table, cli_json_string(key, "revoked"));
    }
    enum poly_status status = cli_table_print(table, stdout, err);

    cli_table_free(table);
    return status;
}

static enum poly_status run_list(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "keys.list"};
    json_t *answer;
    enum poly_status status = cli_ask_json(cli, &request, &answer, err);

    if (answer != NULL)
        status = print_keys(answer, err);
    json_decref(answer);
    return status;
}

static enum poly_status run_revoke(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "keys.revoke"};
    struct cli_answer answer;
    enum poly_status status;

    cli_parameter(&request, "id", cli->arguments[0]);
    status = cli_ask(cli, &request, &answer, err);
    poly_buffer_release(&answer.body);
    if (status == POLY_OK && !cli->json)
        printf("key %s: revoked\n", cli->arguments[0]);
    return status;
}

static const struct cli_verb create = {
    .name = "create",
    .summary = "Make an API key, and print its secret this once",
    .text = "With --tenant the key is for that tenant's data only.",
    .options =
        (const struct cli_option[]){
            {"label", 'l', "TEXT", NULL, "what it is for"},
            {"rights", 'r', "LIST", NULL, "of read, write, sql, admin; default: read,write"},
            {"expires", 'e', "WHEN", NULL, "30d, 12h, or a time; default: never"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore key create --label shop --rights read,write --expires 90d",
             "for an application"},
            {"polystore key create --tenant acme --rights read", "for a tenant"},
            {NULL, NULL},
        },
    .max = 0,
    .run = run_create,
};

static const struct cli_verb list = {
    .name = "list",
    .summary = "List the API keys, without their secrets",
    .examples = (const struct cli_example[]){{"polystore key list", "who may ask"}, {NULL, NULL}},
    .max = 0,
    .run = run_list,
};

static const struct cli_verb revoke = {
    .name = "revoke",
    .arguments = "ID",
    .summary = "Revoke an API key",
    .examples =
        (const struct cli_example[]){
            {"polystore key revoke $(polystore key create --quiet | cut -d_ -f2)",
             "make one, and take it back"},
            {NULL, NULL},
        },
    .min = 1,
    .max = 1,
    .run = run_revoke,
};

const struct cli_verb cli_verb_key = {
    .name = "key",
    .summary = "Make, list and revoke API keys",
    .text = "Only hashes are stored. The daemon asks for a key; the command line on the same "
            "machine reads\n"
            "$POLYSTORE_KEY, --key-file, or admin.key in the data folder.",
    .examples = (const struct cli_example[]){{"polystore key list", "who may ask"}, {NULL, NULL}},
    .verbs = (const struct cli_verb *const[]){&create, &list, &revoke, NULL},
};
