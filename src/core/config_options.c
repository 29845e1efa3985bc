/*
 * The one table of options. A line here is all that a new scalar option needs:
 * reading, default, range, environment variable, suggestion and reference
 * follow from it.
 */
#include "core/config_options.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/config.h"

#define AT(member) offsetof(struct poly_config_reader, member)

/* The server of a store that is on one. */
#define SERVER(store, index)                                                                       \
    {"stores." store ".url", CONFIG_TEXT, AT(stores[index].server.url), NULL, NULL, NULL, NULL,    \
     "where the server is: `postgresql://user@host:port/database`, options behind `?`"},           \
        {"stores." store ".password_env", CONFIG_NAME, AT(stores[index].server.password_env),      \
         NULL, NULL, NULL, NULL, "environment variable with the password"},                        \
        {"stores." store ".password_file", CONFIG_PATH, AT(stores[index].server.password_file),    \
         NULL, NULL, NULL, NULL, "or file whose first line is the password"},                      \
        {"stores." store ".pool.max", CONFIG_COUNT, AT(stores[index].server.pool_max), "20", "1",  \
         "10000", NULL, "connections at a time; who wants another one waits"},                     \
        {"stores." store ".pool.min", CONFIG_COUNT, AT(stores[index].server.pool_min), "2", "0",   \
         "10000", NULL, "connections that are kept when nobody needs them"},                       \
        {"stores." store ".pool.idle", CONFIG_MILLISECONDS, AT(stores[index].server.pool_idle_ms), \
         "30s", "1s", "1d", NULL, "after which an unused connection above `min` is closed"},       \
        {"stores." store ".pool.connect", CONFIG_MILLISECONDS,                                     \
         AT(stores[index].server.pool_connect_ms), "2s", "10ms", "10m", NULL,                      \
         "longest wait for one address of the server to answer"},                                  \
        {"stores." store ".pool.acquire", CONFIG_MILLISECONDS,                                     \
         AT(stores[index].server.pool_acquire_ms), "60s", "10ms", "1h", NULL,                      \
         "longest wait for a connection to become free"}

/* in the order of the reference */
const struct poly_config_option poly_config_options[] = {
    {"data", CONFIG_PATH, AT(config.data), "./data", NULL, NULL, NULL,
     "folder of the database; made when missing"},
    {"migrations", CONFIG_PATH, AT(config.migrations), NULL, NULL, NULL, NULL,
     "folder of the SQL files that `polystore migrate` applies"},

    {"listen.http", CONFIG_ADDRESS, AT(config.listen_http), "127.0.0.1:7430", NULL, NULL, NULL,
     "address and port of the daemon; port 0: any free one"},
    {"listen.insecure", CONFIG_SWITCH, AT(config.listen_insecure), "false", NULL, NULL, NULL,
     "serve other addresses than loopback without TLS"},
    {"listen.tls.certificate", CONFIG_PATH, AT(config.tls_certificate), NULL, NULL, NULL, NULL,
     "PEM file with the certificate chain; with `listen.tls.key`"},
    {"listen.tls.key", CONFIG_PATH, AT(config.tls_key), NULL, NULL, NULL, NULL,
     "PEM file with the private key"},

    {"log.change_retention", CONFIG_SECONDS, AT(config.change_retention_s), "forever", "1h", NULL,
     NULL, "how long records of changed rows are kept; events are kept for ever"},
    {"log.idempotency", CONFIG_SECONDS, AT(config.idempotency_s), "24h", "1m", "30d", NULL,
     "how long the result of an idempotency key is replayed"},

    {"stores.relational.driver", CONFIG_CHOICE, AT(stores[CONFIG_RELATIONAL].driver), "embedded",
     NULL, NULL, "embedded, postgresql", "what keeps the records, and with them the log"},
    SERVER("relational", CONFIG_RELATIONAL),
    {"stores.relational.replicas", CONFIG_REPLICAS, AT(stores[CONFIG_RELATIONAL].server), NULL,
     NULL, NULL, NULL, "standbys that records and streams may be read from: `[postgresql://…, …]`"},
    {"stores.relational.replica_wait", CONFIG_MILLISECONDS,
     AT(stores[CONFIG_RELATIONAL].server.replica_wait_ms), "0ms", "0ms", "1h", NULL,
     "how long a read waits for a replica to have its token; then the primary answers"},
    {"stores.events.driver", CONFIG_CHOICE, AT(stores[CONFIG_EVENTS].driver), NULL, NULL, NULL,
     "embedded, postgresql", "what keeps the events: as the records, and so by default"},
    {"stores.search.driver", CONFIG_CHOICE, AT(stores[CONFIG_SEARCH].driver), "embedded", NULL,
     NULL, "embedded, postgresql", "what searches; `postgresql` always follows the log"},
    SERVER("search", CONFIG_SEARCH),
    {"stores.search.placement", CONFIG_CHOICE, AT(stores[CONFIG_SEARCH].placement), "colocated",
     NULL, NULL, "colocated, follower",
     "in the log's file and transaction, or in a file of its own that follows the log"},

    {"stores.vector.driver", CONFIG_CHOICE, AT(stores[CONFIG_VECTOR].driver), "embedded", NULL,
     NULL, "embedded, postgresql", "what finds the nearest vectors; `postgresql` with pgvector"},
    SERVER("vector", CONFIG_VECTOR),
    {"stores.vector.placement", CONFIG_CHOICE, AT(stores[CONFIG_VECTOR].placement), NULL, NULL,
     NULL, "colocated, follower",
     "visible with the commit (`embedded`, by default), in the records' own table (`postgresql`); "
     "or following the log on a thread of its own (`postgresql`, by default)"},

    {"limits.connections", CONFIG_COUNT, AT(config.connections_max), "1000", "1", "65536", NULL,
     "connections at a time; more wait until one closes"},
    {"limits.body", CONFIG_SIZE, AT(config.body_max_kib), "16MiB", "1KiB", "1GiB", NULL,
     "size of one request's body"},
    {"limits.request_timeout", CONFIG_MILLISECONDS, AT(config.request_timeout_ms), "30s", "10ms",
     "1h", NULL, "time that one request may take, and that a silent client is waited for"},
    {"limits.rows", CONFIG_COUNT, AT(config.rows_max), "10000", "1", "10000000", NULL,
     "rows of one answer"},
    {"limits.rate_per_tenant", CONFIG_COUNT, AT(config.rate_per_tenant), "0", "0", "1000000", NULL,
     "requests a second of one tenant; 0: any number"},

    {"domains.*.table", CONFIG_NAME, AT(domain.table), NULL, NULL, NULL, NULL,
     "the table that holds the domain's records; or else:"},
    {"domains.*.stream", CONFIG_NAME, AT(domain.stream), NULL, NULL, NULL, NULL,
     "the category of the streams that hold its events"},
    {"domains.*.tenant", CONFIG_NAME, AT(domain.tenant), NULL, NULL, NULL, NULL,
     "whose they are. A table: the column with the tenant, or `none`; needed. A stream: "
     "`session` (the tenant of who appends), or `none` (the default)"},
    {"domains.*.search.fields", CONFIG_FIELDS, 0, NULL, NULL, NULL, NULL,
     "what is searched: `[title, body]`, or with weights `{title: 4.0, body: 1.0}`"},
    {"domains.*.search.filters", CONFIG_FILTERS, AT(domain.search.filters), NULL, NULL, NULL, NULL,
     "what a search may filter by: `[state, author]`"},
    {"domains.*.search.in", CONFIG_NAME, AT(domain.search.in), NULL, NULL, NULL, NULL,
     "a column that holds JSON: fields and filters are fields of that, not columns"},
    {"domains.*.search.tokenizer", CONFIG_CHOICE, AT(domain.search.tokenizer), "words", NULL, NULL,
     "words, trigram", "search for words, or for any three letters in a row"},
    {"domains.*.search.language", CONFIG_CHOICE, AT(domain.search.language), NULL, NULL, NULL,
     "english, none",
     "whose word endings do not matter; `english` by default, with `trigram` always `none`"},

    {"domains.*.vector.field", CONFIG_NAME, AT(vector.field), NULL, NULL, NULL, NULL,
     "the column, or the field of an event's data, that holds a vector"},
    {"domains.*.vector.dimensions", CONFIG_COUNT, AT(vector.dimensions), NULL, "1", "16000", NULL,
     "how many numbers it has; needed"},
    {"domains.*.vector.metric", CONFIG_CHOICE, AT(vector.metric), NULL, NULL, NULL,
     "cosine, inner, l2, hamming",
     "what near means; `cosine` by default, with `binary` always `hamming`"},
    {"domains.*.vector.element", CONFIG_CHOICE, AT(vector.element), "f32", NULL, NULL,
     "f32, f16, int8, binary", "how exactly the index keeps a number"},
    {"domains.*.vector.index", CONFIG_CHOICE, AT(vector.index), "hnsw", NULL, NULL, "hnsw, ivfflat",
     "how it is searched: a graph; or lists of what is near a centre (`postgresql` only)"},
    {"domains.*.vector.m", CONFIG_COUNT, AT(vector.m), "16", "2", "100", NULL,
     "links of a vector in the graph: more find better, and take more memory"},
    {"domains.*.vector.ef_construction", CONFIG_COUNT, AT(vector.ef_construction), "64", "4",
     "1000", NULL, "candidates that are looked at for a link: more build slower and find better"},
    {"domains.*.vector.ef", CONFIG_COUNT, AT(vector.ef), "64", "1", "10000", NULL,
     "candidates that a search keeps, where it does not say so itself"},
    {"domains.*.vector.lists", CONFIG_COUNT, AT(vector.lists), "100", "1", "32768", NULL,
     "of `ivfflat`: how many lists; a thousandth of the vectors is usual"},
    {"domains.*.vector.probes", CONFIG_COUNT, AT(vector.probes), "10", "1", "32768", NULL,
     "of `ivfflat`: lists that a search looks into: more find better, and cost time"},
    {"domains.*.vector.model", CONFIG_TEXT, AT(vector.model), NULL, NULL, NULL, NULL,
     "what makes the vectors; a search that names another one is refused"},
    {"domains.*.vector.filters", CONFIG_FILTERS, AT(vector.filters), NULL, NULL, NULL, NULL,
     "what a vector search may filter by: `[state, author]`"},
    {"domains.*.vector.filters_in", CONFIG_NAME, AT(vector.filters_in), NULL, NULL, NULL, NULL,
     "a column that holds JSON: the filters are fields of that, not columns"},
    {"domains.*.vector.embedder", CONFIG_NAME, AT(vector.embedder), NULL, NULL, NULL, NULL,
     "one of `embedders`, which makes the vector of the record's text; needs `model` and `text`"},
    {"domains.*.vector.text", CONFIG_COLUMNS, 0, NULL, NULL, NULL, NULL,
     "the columns whose text it is made of, in that order: `[title, body]`"},
    {"domains.*.vectors", CONFIG_VECTORS, 0, NULL, NULL, NULL, NULL,
     "instead of `vector`, where there are several: `{title: {field: …}, body: {field: …}}`"},

    {"embedders.*.url", CONFIG_TEXT, AT(embedder.url), NULL, NULL, NULL, NULL,
     "a server that makes vectors of texts: what comes before `/embeddings`, as in "
     "`https://host/v1`; needed"},
    {"embedders.*.key_env", CONFIG_NAME, AT(embedder.key_env), NULL, NULL, NULL, NULL,
     "environment variable with its key"},
    {"embedders.*.key_file", CONFIG_PATH, AT(embedder.key_file), NULL, NULL, NULL, NULL,
     "or file whose first line is the key"},
    {"embedders.*.ca_file", CONFIG_PATH, AT(embedder.ca_file), NULL, NULL, NULL, NULL,
     "PEM file with the authorities that may vouch for it; else those of the system"},
    {"embedders.*.batch", CONFIG_COUNT, AT(embedder.batch), "64", "1", "2048", NULL,
     "texts in one request"},
    {"embedders.*.requests_per_minute", CONFIG_COUNT, AT(embedder.requests_per_minute), "0", "0",
     "1000000", NULL, "how many requests it is sent; 0: any number"},
    {"embedders.*.texts_per_minute", CONFIG_COUNT, AT(embedder.texts_per_minute), "0", "0",
     "100000000", NULL, "how many texts; 0: any number"},
    {"embedders.*.connect", CONFIG_MILLISECONDS, AT(embedder.connect_ms), "2s", "10ms", "10m", NULL,
     "longest wait for a connection to it"},
    {"embedders.*.timeout", CONFIG_MILLISECONDS, AT(embedder.timeout_ms), "30s", "10ms", "1h", NULL,
     "longest wait for one request and its answer"},
    {"embedders.*.base64", CONFIG_SWITCH, AT(embedder.base64), "false", NULL, NULL, NULL,
     "ask for vectors in base64, a fourth of the bytes"},
    {"embedders.*.shorten", CONFIG_SWITCH, AT(embedder.shorten), "false", NULL, NULL, NULL,
     "ask for `dimensions` numbers, of models that can give shorter vectors"},

    {"views.*.query", CONFIG_TEXT, AT(view.query), NULL, NULL, NULL, NULL,
     "one SELECT, whose rows the materialised view has; needed"},
    {"views.*.query_postgresql", CONFIG_TEXT, AT(view.query_postgresql), NULL, NULL, NULL, NULL,
     "the one instead of it where the records are on PostgreSQL"},
    {"views.*.key", CONFIG_KEY, 0, NULL, NULL, NULL, NULL,
     "the columns that tell its rows apart: `[tenant, day]`; needed"},
    {"views.*.tenant", CONFIG_NAME, AT(view.tenant), NULL, NULL, NULL, NULL,
     "the column with the tenant of a row; without one no tenant may read it"},
    {"views.*.staleness", CONFIG_MILLISECONDS, AT(view.staleness_ms), "1s", "10ms", "1d", NULL,
     "how old it may be: within that time after a change it has been refreshed"},
};

const size_t poly_config_option_count = sizeof(poly_config_options) / sizeof(*poly_config_options);

bool poly_config_variable(const struct poly_config_option *option, char variable[64])
{
    bool single = option->kind != CONFIG_FIELDS && option->kind != CONFIG_FILTERS &&
                  option->kind != CONFIG_KEY && option->kind != CONFIG_REPLICAS &&
                  option->kind != CONFIG_COLUMNS &&
                  option->kind != CONFIG_VECTORS;

    snprintf(variable, 64, "POLYSTORE_%s", option->path);
    for (char *c = variable; *c != '\0'; c++)
        *c = (char)(*c == '.' ? '_' : toupper((unsigned char)*c));
    return single && strchr(option->path, '*') == NULL;
}

/* Edits (a letter more, less, other, or two swapped) from one to the other; names are short. */
static size_t distance(const char *a, const char *b)
{
    enum { MOST = 40 };
    size_t rows[3][MOST + 1], length = strnlen(b, MOST);
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= length; j++)
        last[j] = before[j] = j;
    for (size_t i = 1; a[i - 1] != '\0' && i <= MOST; i++) {
        now[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);

            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }

        size_t *spare = before;

        before = last;
        last = now;
        now = spare;
    }
    return last[length];
}

/* The part of an option's path just below prefix: "tls" of listen.tls.key below "listen". */
static bool part_below(const char *path, const char *prefix, char part[40])
{
    size_t size = strlen(prefix);

    if (strncmp(path, prefix, size) != 0 || (size > 0 && path[size] != '.'))
        return false;
    path += size + (size > 0);
    snprintf(part, 40, "%.*s", (int)strcspn(path, "."), path);
    return true;
}

void poly_config_suggest(const char *prefix, const char *name, char *text, size_t size)
{
    char part[40], last[40] = "", best[40] = "";
    size_t nearest = SIZE_MAX, used = (size_t)snprintf(text, size, "; known here:");

    for (size_t i = 0; i < poly_config_option_count; i++) {
        if (!part_below(poly_config_options[i].path, prefix, part) || strcmp(part, last) == 0)
            continue;
        if (used < size)
            used += (size_t)snprintf(text + used, size - used, "%s %s", *last == '\0' ? "" : ",",
                                     part);
        memcpy(last, part, sizeof(last));

        size_t edits = distance(name, part);

        if (edits < nearest && edits <= 1 + strlen(part) / 4) {
            nearest = edits;
            memcpy(best, part, sizeof(best));
        }
    }
    if (*best != '\0')
        snprintf(text, size, "; did you mean '%s'?", best);
}

static void print_type(FILE *out, const struct poly_config_option *option)
{
    static const char *const types[] = {
        [CONFIG_PATH] = "path",
        [CONFIG_ADDRESS] = "host:port",
        [CONFIG_SWITCH] = "true or false",
        [CONFIG_COUNT] = "number",
        [CONFIG_SIZE] = "size",
        [CONFIG_SECONDS] = "duration",
        [CONFIG_MILLISECONDS] = "duration",
        [CONFIG_NAME] = "name",
        [CONFIG_TEXT] = "text",
        [CONFIG_FIELDS] = "list of names, or names with weights",
        [CONFIG_FILTERS] = "list of names",
        [CONFIG_KEY] = "list of names",
        [CONFIG_COLUMNS] = "list of names",
        [CONFIG_VECTORS] = "names, each with the options of `vector`",
        [CONFIG_REPLICAS] = "list of urls",
    };

    if (option->choices != NULL)
        fprintf(out, "`%s`", option->choices);
    else
        fputs(types[option->kind], out);
    if (option->min != NULL && option->max != NULL)
        fprintf(out, ", %s to %s", option->min, option->max);
    else if (option->min != NULL)
        fprintf(out, ", %s or more, or `forever`", option->min);
}

static void print_option(FILE *out, const struct poly_config_option *option)
{
    bool wild = strchr(option->path, '*') != NULL;
    const char *star = wild ? strchr(option->path, '*') : option->path;
    char variable[64];

    fprintf(out, "| `%.*s%s%s` | ", (int)(star - option->path), option->path, wild ? "NAME" : "",
            wild ? star + 1 : option->path);
    print_type(out, option);
    if (option->fallback != NULL)
        fprintf(out, " | `%s` | ", option->fallback);
    else
        fputs(" | | ", out);
    if (poly_config_variable(option, variable))
        fprintf(out, "`%s`", variable);
    fprintf(out, " | %s |\n", option->meaning);
}

void poly_config_print_reference(FILE *out)
{
    fputs("A duration is a number with `ms`, `s`, `m`, `h` or `d`; a size one with `B`, `KiB`,\n"
          "`MiB` or `GiB`. A relative path in the file begins at the file's folder. A name is\n"
          "made of letters, digits and `_`, and does not begin with a digit. An environment\n"
          "variable goes before the file; a relative path there begins at the working folder.\n\n"
          "| Option | Type | Default | Environment | Meaning |\n"
          "|---|---|---|---|---|\n",
          out);
    for (size_t i = 0; i < poly_config_option_count; i++)
        print_option(out, &poly_config_options[i]);
}
