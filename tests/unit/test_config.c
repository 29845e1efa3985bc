/* polystore.yaml: what is understood, and what is said about the rest. */
#include "test.h"

#include <unistd.h>

#include "core/config.h"
#include "polystore/settings.h"

static struct poly_error err;

static struct poly_config *load(const char *text)
{
    struct poly_config *config = NULL;

    assert_ok(poly_config_load(NULL, text, &config, &err));
    return config;
}

static void has_defaults(void **state)
{
    static const char *const nothing[] = {NULL, "", "# nothing\n", "---\n", "domains:\nstores:\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(nothing) / sizeof(*nothing); i++) {
        struct poly_config *config = load(nothing[i]);

        assert_string_equal(config->data, "./data");
        assert_null(config->migrations);
        assert_string_equal(config->listen_http, "127.0.0.1:7430");
        assert_false(config->listen_insecure);
        assert_null(config->tls_certificate);
        assert_int_equal(config->change_retention_s, 0);
        assert_int_equal(config->idempotency_s, 86400);
        assert_int_equal(config->connections_max, 1000);
        assert_int_equal(config->body_max_kib, 16 * 1024);
        assert_int_equal(config->request_timeout_ms, 30000);
        assert_int_equal(config->rows_max, 10000);
        assert_int_equal(config->rate_per_tenant, 0);
        assert_int_equal(config->domain_count, 0);
        assert_int_equal(config->store_count, 4);
        assert_string_equal(poly_config_store(config, "search")->driver, "embedded");
        assert_false(poly_config_store(config, "search")->follower);
        assert_string_equal(poly_config_store(config, "relational")->driver, "embedded");
        assert_string_equal(poly_config_store(config, "events")->driver, "embedded");
        assert_null(poly_config_store(config, "graph"));
        poly_config_free(config);
    }
    poly_config_free(NULL);
}

static const char whole[] =
    "data: /srv/data\n"
    "migrations: ./sql\n"
    "listen: {http: '[::1]:0', insecure: true, tls: {certificate: c.pem, key: /k.pem}}\n"
    "log: {change_retention: 30d, idempotency: 90m}\n"
    "stores:\n"
    "  search: {driver: embedded, placement: follower}\n"
    "  events: {driver: embedded}\n"
    "limits: {connections: 5, body: 1GiB, request_timeout: 1500ms, rows: 20, rate_per_tenant: 7}\n"
    "domains:\n"
    "  documents:\n"
    "    table: Docs\n"
    "    tenant: tenant_id\n"
    "    search:\n"
    "      fields: {title: 4.0, body: 0.125, note: 7}\n"
    "      filters: [state, author]\n"
    "  notes: {table: notes, tenant: none, search: {fields: [text], tokenizer: trigram}}\n"
    "  orders: {stream: order, tenant: session, search: {fields: [city], language: none}}\n"
    "  holons: {stream: holon}\n"
    "views:\n"
    "  per_state:\n"
    "    query: |\n"
    "      -- how many; of each state\n"
    "      SELECT tenant_id, state, ';' AS \";\", count(*) AS n FROM Docs GROUP BY 1, 2;\n"
    "    key: [tenant_id, state]\n"
    "    tenant: tenant_id\n"
    "    staleness: 5m\n"
    "  lengths: {query: with x as (select 1 as n) select n from x, key: [n], tenant: none}\n";

static void reads_everything(void **state)
{
    struct poly_config *config = load(whole);
    const struct poly_domain *domain = poly_config_domain(config, "documents");

    (void)state;
    assert_string_equal(config->data, "/srv/data");
    assert_string_equal(config->migrations, "./sql");
    assert_string_equal(config->listen_http, "[::1]:0");
    assert_true(config->listen_insecure);
    assert_string_equal(config->tls_certificate, "c.pem");
    assert_int_equal(config->change_retention_s, 30 * 86400);
    assert_int_equal(config->idempotency_s, 5400);
    assert_true(poly_config_store(config, "search")->follower);
    assert_int_equal(config->body_max_kib, 1024 * 1024);
    assert_int_equal(config->request_timeout_ms, 1500);
    assert_int_equal(config->rate_per_tenant, 7);
    assert_int_equal(config->domain_count, 4);
    assert_string_equal(domain->table, "Docs");
    assert_null(domain->stream);
    assert_string_equal(domain->tenant, "tenant_id");
    assert_int_equal(domain->search.field_count, 3);
    assert_string_equal(domain->search.fields[1].name, "body");
    assert_true(domain->search.fields[0].weight == 4 && domain->search.fields[1].weight == 0.125);
    assert_true(domain->search.fields[2].weight == 7);
    assert_int_equal(domain->search.filter_count, 2);
    assert_string_equal(domain->search.filters[1], "author");
    assert_string_equal(domain->search.tokenizer, "words");
    assert_string_equal(domain->search.language, "english");
    domain = poly_config_domain(config, "notes");
    assert_null(domain->tenant);
    assert_string_equal(domain->search.tokenizer, "trigram");
    assert_string_equal(domain->search.language, "none");
    assert_true(domain->search.fields[0].weight == 1);
    domain = poly_config_domain(config, "orders");
    assert_string_equal(domain->stream, "order");
    assert_string_equal(domain->tenant, "session");
    assert_null(poly_config_domain(config, "holons")->tenant);
    assert_int_equal(poly_config_domain(config, "holons")->search.field_count, 0);
    assert_null(poly_config_domain(config, "absent"));
    assert_int_equal(config->view_count, 2);
    assert_string_equal(config->views[0].name, "per_state");
    assert_int_equal(config->views[0].key_count, 2);
    assert_string_equal(config->views[0].key[1], "state");
    assert_string_equal(config->views[0].tenant, "tenant_id");
    assert_int_equal(config->views[0].staleness_ms, 300000);
    assert_null(config->views[1].tenant);
    assert_int_equal(config->views[1].staleness_ms, 1000);
    poly_config_free(config);
}

static const struct {
    const char *text, *message;
} bad[] = {
    {"datta: x", "configuration:1: datta: unknown option; did you mean 'data'?"},
    {"\nlisten:\n  htttp: x",
     "configuration:3: listen.htttp: unknown option; did you mean 'http'?"},
    {"domains:\n  users: {table: t, tenat: c}",
     "configuration:2: domains.users.tenat: unknown option; did you mean 'tenant'?"},
    {"domains: {u: {table: t, tenant: none, search: {fields: [a], filter: [b]}}}",
     "domains.u.search.filter: unknown option; did you mean 'filters'?"},
    {"frobnicate: 1", "unknown option; known here: data, migrations, listen, log, stores, limits, "
                      "domains, embedders, views"},
    {"listen.http: 127.0.0.1:1", "unknown option"},
    {"domains.*: {table: x}", "unknown option"},
    {"data: a\ndata: b", "configuration:2: 'data' stands here a second time; first in line 1"},
    {"a: &x 1\nb: *x", "anchors are not supported"},
    {"a: *x", "configuration:1: aliases are not supported"},
    {"data: !!str x", "tags are not supported"},
    {"<<: {data: x}", "unknown option"},
    {"listen:\n\thttp: x", "configuration:2: a tab stands here; indent with spaces"},
    {"data: [", "configuration:1:"},
    {"data: 'x", "configuration:"},
    {"data: a\n---\ndata: b", "configuration:2: a second document begins here"},
    {"[a]", "a mapping is expected"},
    {"text", "a mapping is expected"},
    {"{[a]: b}", "a name must be a plain text"},
    {"data: \xff", "configuration:1: bytes that are not UTF-8"},
    {"\n\ndata: \"a\\0b\"", "configuration:3: NUL is not allowed"},
    {"data: {a: b}", "data: wants one value, not a mapping"},
    {"data: [a]", "data: wants one value, not a list"},
    {"data:", "data: has no value"},
    {"data: ''", "data: is empty"},
    {"listen: x", "listen: wants a mapping of options"},
    {"listen: [http]", "listen: wants a mapping of options"},
    {"listen: {insecure: yes}", "listen.insecure: 'yes' is neither true nor false"},
    {"listen: {http: 7430}", "'7430' is no address"},
    {"listen: {http: 'a:70000'}", "no address"},
    {"listen: {http: '::1:80'}", "no address"},
    {"listen: {http: ':80'}", "no address"},
    {"listen: {tls: {key: k}}", "needs both"},
    {"log: {change_retention: 30}", "'30' is not a duration like 30s, 5m, 24h or 30d, or forever"},
    {"log: {change_retention: 1s}", "1s is too little; at least 1h"},
    {"log: {idempotency: forever}", "is not a duration"},
    {"log: {idempotency: 31d}", "31d is too much; at most 30d"},
    {"log: {idempotency: 99999999999999999999d}", "is not a duration"},
    {"log: {idempotency: 9223372036854775807d}", "is not a duration"},
    {"log: {idempotency: -1d}", "is not a duration"},
    {"limits: {body: 16MB}", "'16MB' is not a size like 512KiB or 16MiB"},
    {"limits: {body: 2GiB}", "too much"},
    {"limits: {connections: 0}", "0 is too little; at least 1"},
    {"limits: {connections: 1e3}", "'1e3' is not a whole number"},
    {"stores: {search: {driver: elastic}}",
     "stores.search.driver: unknown driver 'elastic'; known: embedded"},
    {"stores: {search: {driver: postgresql}}",
     "stores.search.driver is 'postgresql': it needs stores.search.url"},
    {"stores: {search: {driver: postgresql, url: 'postgresql://x/y', pool: {min: 9, max: 8}}}",
     "stores.search.pool: min is 9, over max, which is 8"},
    {"stores: {search: {placement: 'colocated, follower'}}", "unknown placement"},
    {"stores: {vector: {driver: postgresql, url: 'postgresql://x/y', placement: colocated}}",
     "stores.vector.placement is 'colocated': the vectors are then in the records' own tables"},
    {"domains: {u: {table: t, tenant: none, vector: {field: v, dimensions: 2, index: ivfflat}}}",
     "domain 'u': the index 'ivfflat' is pgvector's, and stores.vector.driver is 'embedded'"},
    {"stores: {graph: {driver: neo4j}}",
     "stores.graph: unknown option; known here: relational, events, search"},
    {"stores: {relational: {placement: follower}}", "unknown option"},
    {"domains: [a]", "domains: wants a mapping"},
    {"domains: {u: {}}", "domains.u: needs 'table' or 'stream'"},
    {"domains: {u: }", "domains.u: needs 'table' or 'stream'"},
    {"domains: {u: [a]}", "domains.u: wants a mapping"},
    {"domains: {u: {table: t, stream: s, tenant: none}}", "has both"},
    {"domains: {u: {table: t}}", "domains.u: needs 'tenant'"},
    {"domains: {u: {stream: s, tenant: column}}", "'session' or 'none', not 'column'"},
    {"domains: {Users: {table: t, tenant: none}}", "no name of a domain"},
    {"domains: {'a b': {table: t, tenant: none}}", "no name of a domain"},
    {"domains: {'1a': {table: t, tenant: none}}", "no name of a domain"},
    {"domains: {'': {table: t, tenant: none}}", "no name of a domain"},
    {"domains: {u: {table: 't;drop', tenant: none}}", "'t;drop' is no name of a table"},
    {"domains: {u: {table: \"t\\\"\", tenant: none}}", "is no name of a table"},
    {"domains: {u: {stream: a-b}}", "is no name of a stream"},
    {"domains: {u: {table: poly_log, tenant: none}}", "reserved"},
    {"domains: {u: {table: SQLITE_master, tenant: none}}", "reserved"},
    {"domains:\n  a: {table: t, tenant: none}\n  b: {table: T, tenant: none}",
     "configuration:3: domains.b: table 'T' belongs to the domain 'a' already"},
    {"domains: {a: {stream: s}, b: {stream: s}}", "stream 's' belongs to the domain 'a' already"},
    {"domains: {a: {table: t, tenant: none}, b: {stream: a}}", "rename one"},
    {"domains: {b: {stream: a}, a: {table: t, tenant: none}}", "rename one"},
    {"domains: {u: {stream: s, search: }}", "search needs 'fields'"},
    {"domains: {u: {stream: s, search: {tokenizer: words}}}", "search needs 'fields'"},
    {"domains: {u: {stream: s, search: {fields: []}}}", "0 fields"},
    {"domains: {u: {stream: s, search: {fields: title}}}", "like [title]"},
    {"domains: {u: {stream: s, search: {fields: [a, A]}}}", "'A' stands here twice"},
    {"domains: {u: {stream: s, search: {fields: [[a]]}}}", "wants names"},
    {"domains: {u: {stream: s, search: {fields: {a: 0}}}}", "'0' is no weight of 'a'"},
    {"domains: {u: {stream: s, search: {fields: {a: -1}}}}", "no weight"},
    {"domains: {u: {stream: s, search: {fields: {a: 1.}}}}", "no weight"},
    {"domains: {u: {stream: s, search: {fields: {a: 1e3}}}}", "no weight"},
    {"domains: {u: {stream: s, search: {fields: {a: nan}}}}", "no weight"},
    {"domains: {u: {stream: s, search: {fields: {a: [1]}}}}", "names with weights"},
    {"domains: {u: {stream: s, search: {fields: [a.b]}}}", "no name of a field"},
    {"domains: {u: {stream: s, search: {fields: [a], filters: {b: 1}}}}", "wants a list"},
    {"domains: {u: {stream: s, search: {fields: [a], filters: [b, b]}}}", "twice"},
    {"domains: {u: {stream: s, search: {fields: [a], tokenizer: letters}}}",
     "unknown tokenizer 'letters'; known: words, trigram"},
    {"domains: {u: {stream: s, search: {fields: [a], tokenizer: trigram, language: english}}}",
     "can only be 'none'"},
    {"views: [a]", "views: wants a mapping"},
    {"\nviews:\n  v: {key: [a]}", "configuration:3: views.v: needs 'query'"},
    {"views: {v: {query: SELECT 1}}", "views.v: needs 'key'"},
    {"views: {v: {query: SELECT 1, key: []}}", "views.v: needs 'key'"},
    {"views: {v: {query: SELECT 1, key: a}}", "wants a list of names, like [a]"},
    {"views: {v: {query: SELECT 1, key: {a: b}}}", "wants a list of names, like [tenant, day]"},
    {"views: {v: {query: SELECT 1, key: [a, A]}}", "'A' stands here twice"},
    {"views: {v: {query: SELECT 1, key: [a b]}}", "'a b' is no name of a column"},
    {"views: {v: {query: SELECT 1, keys: [a]}}", "unknown option; did you mean 'key'?"},
    {"views: {v: {query: DELETE FROM t, key: [a]}}",
     "views.v: the query is to begin with SELECT or WITH, not with 'DELETE FROM t'"},
    {"views: {v: {query: '', key: [a]}}", "views.v.query: is empty"},
    {"views: {v: {query: '/* */ SELECTED', key: [a]}}", "begin with SELECT or WITH"},
    {"views: {v: {query: 'SELECT 1; DROP TABLE t', key: [a]}}", "one statement"},
    {"views: {v: {query: \"SELECT ';' /* ; */; x\", key: [a]}}", "one statement"},
    {"views: {v: {query_postgresql: 'SELECT 1; x', query: SELECT 1, key: [a]}}", "one statement"},
    {"views: {v: {query_postgresql: SELECT 1, key: [a]}}", "views.v: needs 'query'"},
    {"views: {v: {query: SELECT 1, key: [a], staleness: 1ms}}", "too little; at least 10ms"},
    {"views: {poly_v: {query: SELECT 1, key: [a]}}", "reserved"},
    {"views: {pg_v: {query: SELECT 1, key: [a]}}", "reserved"},
    {"views: {'a-b': {query: SELECT 1, key: [a]}}", "no name of a view"},
    {"views: {a234567890123456789012345678901234567890123456789: {}}", "up to 48 small letters"},
    {"views:\n  v: {query: SELECT 1, key: [a]}\ndomains: {d: {table: V, tenant: none}}",
     "configuration:2: views.v: the domain 'd' has that name, or its table"},
    {"domains: {v: {table: t, tenant: none}}\nviews: {v: {query: SELECT 1, key: [a]}}",
     "configuration:2: views.v: the domain 'v' has that name"},
};

static void refuses(void **state)
{
    struct poly_config *config = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_fails(poly_config_load(NULL, bad[i].text, &config, &err), POLY_INVALID);
        assert_message(bad[i].message);
        assert_null(config);
    }
}

/* "domains: {d0: {stream: s0}, ...}" */
static void print_domains(char *text, size_t size, int count)
{
    size_t used = (size_t)snprintf(text, size, "domains: {");

    for (int i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, size - used, "d%d: {stream: s%d}, ", i, i);
    snprintf(text + used, size - used, "}");
}

/* Nothing that is too much takes long or much memory. */
static void bounds_everything(void **state)
{
    size_t size = 1100000;
    char *text = malloc(size + 1);
    struct poly_config *config = NULL;

    (void)state;
    assert_non_null(text);
    memset(text, '[', size);
    text[size] = '\0';
    assert_fails(poly_config_load(NULL, text, &config, &err), POLY_INVALID);
    assert_message("larger than 1048576 bytes");
    text[1000000] = '\0';
    assert_fails(poly_config_load(NULL, text, &config, &err), POLY_INVALID);
    memcpy(text, "data: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 38);
    assert_fails(poly_config_load(NULL, text, &config, &err), POLY_INVALID);
    assert_message("deeper than 16");
    print_domains(text, size, 257);
    assert_fails(poly_config_load(NULL, text, &config, &err), POLY_INVALID);
    assert_message("257 domains; 256 are the most");
    print_domains(text, size, 256);
    assert_ok(poly_config_load(NULL, text, &config, &err));
    assert_int_equal(config->domain_count, 256);
    poly_config_free(config);
    config = NULL;
    print_domains(text, size, 2000);
    assert_fails(poly_config_load(NULL, text, &config, &err), POLY_INVALID);
    assert_message("more than 1024 entries");
    free(text);
}

static char folder[] = "/tmp/polystore-config-XXXXXX";
static char file[64];

static void write_file(const char *text)
{
    FILE *out = fopen(file, "w");

    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void reads_files(void **state)
{
    struct poly_config *config = NULL;
    char wanted[128];

    (void)state;
    write_file("data: ./here\nmigrations: sql\nlisten: {tls: {certificate: /c, key: ../k}}\n");
    assert_ok(poly_config_load(file, NULL, &config, &err));
    snprintf(wanted, sizeof(wanted), "%s/here", folder);
    assert_string_equal(config->data, wanted);
    snprintf(wanted, sizeof(wanted), "%s/sql", folder);
    assert_string_equal(config->migrations, wanted);
    assert_string_equal(config->tls_certificate, "/c");
    snprintf(wanted, sizeof(wanted), "%s/../k", folder);
    assert_string_equal(config->tls_key, wanted);
    poly_config_free(config);

    config = NULL;
    write_file("");
    assert_ok(poly_config_load(file, NULL, &config, &err));
    snprintf(wanted, sizeof(wanted), "%s/data", folder);
    assert_string_equal(config->data, wanted);
    poly_config_free(config);
}

static void refuses_files(void **state)
{
    struct poly_config *config = NULL;
    char wanted[128];

    (void)state;
    write_file("\nbad: 1\n");
    snprintf(wanted, sizeof(wanted), "%s:2: bad: unknown option", file);
    assert_fails(poly_config_load(file, NULL, &config, &err), POLY_INVALID);
    assert_message(wanted);
    assert_fails(poly_config_load(folder, NULL, &config, &err), POLY_INVALID);
    assert_message("cannot be read: Is a directory");
    assert_fails(poly_config_load("/nowhere/x.yaml", NULL, &config, &err), POLY_INVALID);
    assert_message("'/nowhere/x.yaml' cannot be read: No such file");
    assert_fails(poly_config_load(file, "", &config, &err), POLY_INVALID);
    assert_message("give one");
    assert_int_equal(truncate(file, 1048577), 0);
    assert_fails(poly_config_load(file, NULL, &config, &err), POLY_INVALID);
    assert_message("larger than");
    assert_null(config);
}

static void environment_goes_first(void **state)
{
    struct poly_config *config = NULL;

    (void)state;
    setenv("POLYSTORE_LISTEN_HTTP", "127.0.0.1:9", 1);
    setenv("POLYSTORE_DATA", "rel", 1);
    setenv("POLYSTORE_MIGRATIONS", "", 1);
    write_file("listen: {http: '127.0.0.1:8'}\nmigrations: /m\n");
    assert_ok(poly_config_load(file, NULL, &config, &err));
    assert_string_equal(config->listen_http, "127.0.0.1:9");
    assert_string_equal(config->data, "rel");
    assert_string_equal(config->migrations, "/m");
    poly_config_free(config);
    config = NULL;
    setenv("POLYSTORE_LISTEN_HTTP", "nine", 1);
    assert_fails(poly_config_load(NULL, NULL, &config, &err), POLY_INVALID);
    assert_string_equal(err.message, "POLYSTORE_LISTEN_HTTP: 'nine' is no address; it looks like "
                                     "127.0.0.1:7430 or [::1]:7430");
    unsetenv("POLYSTORE_LISTEN_HTTP");
    unsetenv("POLYSTORE_DATA");
    unsetenv("POLYSTORE_MIGRATIONS");
}

static void gives_settings(void **state)
{
    struct poly_options options = {.config_text = whole, .data = "/other"};
    struct poly_settings *settings = NULL;

    (void)state;
    assert_ok(poly_settings_load(&options, &settings, &err));
    assert_string_equal(settings->data, "/other");
    assert_true(settings->data != options.data);
    assert_string_equal(settings->listen_http, "[::1]:0");
    assert_string_equal(settings->tls_key, "/k.pem");
    assert_int_equal(settings->request_timeout_ms, 1500);
    assert_int_equal(settings->domain_count, 4);
    poly_settings_free(settings);
    settings = NULL;
    assert_ok(poly_settings_load(NULL, &settings, &err));
    assert_string_equal(settings->data, "./data");
    poly_settings_free(settings);
    poly_settings_free(NULL);
    settings = NULL;
    options.config_text = "x: 1";
    assert_fails(poly_settings_load(&options, &settings, &err), POLY_INVALID);
    assert_null(settings);
}

static const struct poly_domain *made(struct poly_config *config, uint64_t since,
                                      const char *definition)
{
    const struct poly_domain *domain = NULL;

    assert_ok(poly_config_make(config, "notes", since, definition, &domain, &err));
    return domain;
}

/* Nothing was written between: each is the last one in its turn, and the records are its own. */
static void makes_again_what_failed(void **state)
{
    static const char one[] = "domains: {notes: {table: notes, tenant: none}}\n",
                      other[] = "domains: {notes: {table: notes, tenant: who}}\n";
    struct poly_config *config = load("");
    const struct poly_domain *first, *second;

    (void)state;
    assert_ok(poly_config_room(config, &err));
    first = made(config, 5, one);
    second = made(config, 5, other);
    assert_false(poly_domain_has(first, 6));
    assert_true(poly_domain_has(second, 6));
    assert_ptr_equal(made(config, 5, one), first);
    assert_true(poly_domain_has(first, 6));
    assert_false(poly_domain_has(second, 6));
    assert_ptr_not_equal(made(config, 7, one), first);
    assert_true(poly_domain_has(first, 7));
    assert_false(poly_domain_has(first, 8));
    poly_config_free(config);
}

static void prints_reference(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    assert_non_null(out);
    poly_config_print_reference(out);
    fclose(out);
    assert_non_null(strstr(text, "| `listen.http` | host:port | `127.0.0.1:7430` | "
                                 "`POLYSTORE_LISTEN_HTTP` | "));
    assert_non_null(strstr(text, "| `domains.NAME.search.fields` | list of names, or names with "
                                 "weights | |  | "));
    assert_non_null(strstr(text, "| `limits.body` | size, 1KiB to 1GiB | `16MiB` | "));
    free(text);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(file, sizeof(file), "%s/polystore.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(reads_everything),
        cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_everything),
        cmocka_unit_test(reads_files),
        cmocka_unit_test(refuses_files),
        cmocka_unit_test(environment_goes_first),
        cmocka_unit_test(gives_settings),
        cmocka_unit_test(makes_again_what_failed),
        cmocka_unit_test(prints_reference),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
