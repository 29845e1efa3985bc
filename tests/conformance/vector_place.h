/*
 * A Polystore with vectors of several kinds, for the tests of the vector store: in each placement
 * that the owner has. The same rows are kept here, and the answers are compared with a plain loop.
 */
#ifndef POLY_TESTS_CONFORMANCE_VECTOR_PLACE_H
#define POLY_TESTS_CONFORMANCE_VECTOR_PLACE_H

#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "differs.h"
#include "fixture.h"
#include "stores/vector/driver.h"

static const char vector_tables[] =
    "CREATE TABLE items(id TEXT PRIMARY KEY, title TEXT, state TEXT, rank INTEGER, meta JSON,"
    " embedding BLOB, at TIMESTAMP, who UUID);"
    "CREATE TABLE cases(id TEXT NOT NULL, tenant_id TEXT NOT NULL, title TEXT, state TEXT,"
    " embedding BLOB, PRIMARY KEY(tenant_id, id));"
    "CREATE TABLE shapes(id TEXT PRIMARY KEY, near JSON, dot BLOB, bits TEXT, small JSON,"
    " far TEXT);"
    "CREATE TABLE child(id INTEGER PRIMARY KEY, item TEXT REFERENCES items(id) DEFERRABLE"
    " INITIALLY DEFERRED);";
static const char vector_tables_postgresql[] =
    "CREATE TABLE items(id text COLLATE \"C\" PRIMARY KEY, title text, state text, rank integer,"
    " meta json, embedding bytea, at timestamptz, who uuid);"
    "CREATE TABLE cases(id text COLLATE \"C\" NOT NULL, tenant_id text COLLATE \"C\" NOT NULL,"
    " title text, state text, embedding bytea, PRIMARY KEY(tenant_id, id));"
    "CREATE TABLE shapes(id text COLLATE \"C\" PRIMARY KEY, near json, dot real[], bits text,"
    " small jsonb, far text);";

/* … and with pgvector's own types, where those tables are searched. */
static const char vector_tables_pgvector[] =
    "CREATE EXTENSION IF NOT EXISTS vector;"
    "CREATE TABLE items(id text COLLATE \"C\" PRIMARY KEY, title text, state text, rank integer,"
    " meta json, embedding vector(4), at timestamptz, who uuid);"
    "CREATE TABLE cases(id text COLLATE \"C\" NOT NULL, tenant_id text COLLATE \"C\" NOT NULL,"
    " title text, state text, embedding vector(4), PRIMARY KEY(tenant_id, id));"
    "CREATE TABLE shapes(id text COLLATE \"C\" PRIMARY KEY, near vector(3), dot halfvec(2), bits "
    "text,"
    " small vector(2), far vector(2500));";

#define VECTOR_ITEMS                                                                               \
    "  items: {table: items, tenant: none, search: {fields: [title], filters: [state, rank, at, "  \
    "who]}, vector: {field: embedding, dimensions: 4, model: small-1,"                             \
    " filters: [state, rank, meta, title, at, who]}}\n"
#define VECTOR_OTHERS                                                                              \
    "  cases: {table: cases, tenant: tenant_id, search: {fields: [title]},"                        \
    " vector: {field: embedding, dimensions: 4, filters: [state]}}\n"                              \
    "  shapes:\n"                                                                                  \
    "    table: shapes\n"                                                                          \
    "    tenant: none\n"                                                                           \
    "    vectors:\n"                                                                               \
    "      near: {field: near, dimensions: 3, metric: l2}\n"                                       \
    "      dot: {field: dot, dimensions: 2, metric: inner, element: f16}\n"                        \
    "      bits: {field: bits, dimensions: 8, element: binary}\n"                                  \
    "      small: {field: small, dimensions: 2, metric: l2, element: int8}\n"                      \
    "      far: {field: far, dimensions: 2500, metric: l2}\n"                                      \
    "  logs: {stream: log, tenant: session, vector: {field: embedding, dimensions: 4,"             \
    " filters: [level]}}\n"

static const char vector_domains[] = "domains:\n" VECTOR_ITEMS VECTOR_OTHERS;

enum { PATIENCE = 6000 }; /* looks until something has happened */

struct place {
    bool follower;
    const char *server; /* where the vectors are; NULL: embedded; "": where the records are */
    char search[300];   /* ", search: {…}": where the texts are; empty: by default */
    struct fixture fixture;
    struct poly_session *acme, *zeta, *nobody, *admin;
};

static struct poly_error err;
static const char *const items[] = {"items", NULL};
static const char *const cases[] = {"cases", NULL};
static const char *const shapes[] = {"shapes", NULL};
static const char *const logs[] = {"logs", NULL};

/* Have the columns a type that holds vectors only? */
static inline bool is_typed(const struct place *p)
{
    return p->server != NULL && *p->server == '\0';
}

static inline void open_with(struct place *p, const char *domains)
{
    char config[8192];

    if (is_typed(p))
        snprintf(config, sizeof(config),
                 "stores: {vector: {driver: postgresql, placement: %s}%s}\n%s",
                 p->follower ? "follower" : "colocated", p->search, domains);
    else if (p->server != NULL)
        snprintf(config, sizeof(config), "stores: {vector: {driver: postgresql, url: '%s'}%s}\n%s",
                 p->server, p->search, domains);
    else
        snprintf(config, sizeof(config), "stores: {vector: {placement: %s}%s}\n%s",
                 p->follower ? "follower" : "colocated", p->search, domains);
    fixture_open(&p->fixture, config);
    p->admin = p->fixture.admin;
    p->acme = fixture_session(&p->fixture, "acme", 0);
    p->zeta = fixture_session(&p->fixture, "zeta", 0);
    p->nobody = fixture_session(&p->fixture, NULL, 0);
}

static inline void close_place(struct place *p)
{
    fixture_end(&p->acme);
    fixture_end(&p->zeta);
    fixture_end(&p->nobody);
    fixture_close(&p->fixture);
}

static inline void reopen(struct place *p)
{
    close_place(p);
    open_with(p, vector_domains);
}

/* Vectors on a server with pgvector, where tests/servers/with has one for them: POLY_TEST_PGVECTOR
 * is "placed" where they are in the records' own tables. */
static inline void clear_server(void)
{
    PGconn *admin = PQconnectdb(getenv("POLY_TEST_POSTGRESQL_ADMIN_URL"));
    PGresult *result = PQexec(admin, "SET client_min_messages = warning;"
                                     " CREATE EXTENSION IF NOT EXISTS vector;"
                                     " DROP SCHEMA IF EXISTS poly_vector CASCADE");

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s", PQerrorMessage(admin));
    PQclear(result);
    PQfinish(admin);
}

static inline int setup_place(void **state, bool follower)
{
    const char *pgvector = getenv("POLY_TEST_PGVECTOR");
    struct place *p = calloc(1, sizeof(*p));

    p->follower = follower;
    if (pgvector != NULL && strcmp(pgvector, "placed") == 0) {
        p->server = "";
    } else if (pgvector != NULL) {
        p->follower = true;
        p->server = getenv("POLY_TEST_POSTGRESQL_URL");
        clear_server();
    }
    fixture_make(&p->fixture);
    fixture_dialects(&p->fixture, "0001_init", vector_tables,
                     is_typed(p) ? vector_tables_pgvector : vector_tables_postgresql);
    open_with(p, vector_domains);
    fixture_migrate(&p->fixture);
    *state = p;
    return 0;
}

static inline int setup_colocated(void **state)
{
    return setup_place(state, false);
}

static inline int setup_follower(void **state)
{
    return setup_place(state, true);
}

static inline int teardown_place(void **state)
{
    struct place *p = *state;

    close_place(p);
    fixture_remove(&p->fixture);
    free(p);
    return 0;
}

#define EACH(test)                                                                                 \
    {#test, test, setup_colocated, teardown_place, NULL},                            \
    {                                                                                              \
#test " (follower)", test, setup_follower, teardown_place, NULL                             \
    }

/* Where the owner or the server leaves one placement only, either test would be the same. */
static inline int run_each(const char *name, const struct CMUnitTest *tests, size_t count)
{
    const char *pgvector = getenv("POLY_TEST_PGVECTOR");

    if (pgvector == NULL ? fixture_on_server() : strcmp(pgvector, "placed") != 0)
        cmocka_set_test_filter("* (follower)");
    return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

/* Does the driver under test go another way there than the embedded one? Both declare how. */
static inline bool differs(const struct place *p, const char *name)
{
    const struct poly_vector_driver *driver =
        p->server == NULL ? &poly_vector_embedded : &poly_vector_postgresql;

    (void)declared(driver->base.capabilities, name);
    return p->server != NULL;
}

/* --- writing and asking --- */

static inline void put_item(struct poly_session *s, const char *key, const char *title,
                            const char *state, int64_t rank, const char *vector)
{
    assert_ok(put_row(s, "items", key,
                      ROW({"title", poly_str(title)}, {"state", poly_str(state)},
                          {"rank", poly_int(rank)}, {"embedding", poly_json(vector)}),
                      POLY_ANY, NULL, &err));
}

/* Items with a vector of their own each, in one transaction. */
static inline void put_many(struct place *p, int from, int count)
{
    struct poly_txn *txn = NULL;

    assert_ok(poly_txn_begin(p->nobody, &(struct poly_txn_options){0}, &txn, &err));
    for (int i = from; i < from + count; i++) {
        char key[16], vector[64];

        snprintf(key, sizeof(key), "k%05d", i);
        snprintf(vector, sizeof(vector), "[%d,%d,%d,1]", i % 37, i / 37 % 31, i / 1147);
        assert_ok(
            poly_put(txn, "items", key, ROW({"embedding", poly_json(vector)}), POLY_ANY, &err));
    }
    assert_ok(poly_txn_commit(txn, NULL, &err));
    poly_session_reset(p->nobody);
}

static inline void put_case(struct poly_session *s, const char *key, const char *vector)
{
    assert_ok(put_row(s, "cases", key,
                      ROW({"title", poly_str("a case")}, {"state", poly_str("open")},
                          {"embedding", poly_json(vector)}),
                      POLY_ANY, NULL, &err));
}

static inline struct poly_vector_query query_of(const char *const *domains, const float *vector)
{
    return (struct poly_vector_query){.domains = domains, .vector = vector, .dimensions = 4};
}

/* "domain/key domain/key" */
static inline const char *names_of(const struct poly_matches *matches)
{
    static char text[8192];
    size_t size = 0;

    text[0] = '\0';
    for (size_t i = 0; i < matches->count; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s/%s", i == 0 ? "" : " ",
                                 matches->matches[i].domain.data, matches->matches[i].key.data);
    return text;
}

static inline void gives(struct poly_session *s, struct poly_vector_query query,
                         const char *expected)
{
    struct poly_matches matches;

    assert_ok(poly_vector_search(s, &query, &matches, &err));
    assert_string_equal(names_of(&matches), expected);
    poly_session_reset(s);
}

static inline void refuses(struct poly_session *s, struct poly_vector_query query,
                           enum poly_status status, const char *message)
{
    struct poly_matches matches = {.count = 77};

    assert_fails(poly_vector_search(s, &query, &matches, &err), status);
    assert_message(message);
    assert_int_equal(matches.count, 77);
}

static inline struct poly_projection_status status_of(struct place *p, const char *store)
{
    struct poly_status_report report;

    assert_ok(poly_status_read(p->admin, &report, &err));
    for (size_t i = 0; i < report.projection_count; i++)
        if (strcmp(report.projections[i].store.data, store) == 0)
            return report.projections[i];
    fail_msg("no projection '%s'", store);
    return report.projections[0];
}

/* Until it has all that is in the log; one that is being made does not answer before. */
static inline void wait_for_store(struct place *p, const char *store)
{
    uint64_t head = fixture_head(&p->fixture);

    for (int i = 0; i < 2000; i++) {
        struct poly_projection_status now = status_of(p, store);

        if (now.generation != 0 && now.building == 0 && now.applied >= head)
            return;
        usleep(10000);
    }
    fail_msg("the index is not filled");
}

static inline void wait_for_index(struct place *p)
{
    wait_for_store(p, "vector");
}

static inline struct poly_projection_status wait_for_state(struct place *p, enum poly_state state)
{
    struct poly_projection_status now = status_of(p, "vector");

    for (int i = 0; i < PATIENCE && now.state != state; i++) {
        usleep(10000);
        poly_session_reset(p->admin);
        now = status_of(p, "vector");
    }
    assert_int_equal(now.state, state);
    return now;
}

/* The keys of an exact search for all, in one text, which the caller frees. */
static inline char *everything(struct place *p)
{
    struct poly_vector_query query = query_of(items, (const float[]){3, 2, 1, 1});
    struct poly_matches matches;
    char *text;

    query.exact = true;
    query.limit = 1000;
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    text = calloc(matches.count + 1, 48);
    for (size_t i = 0; i < matches.count; i++)
        snprintf(text + strlen(text), 48, "%s %.6g %llu;", matches.matches[i].key.data,
                 matches.matches[i].distance, (unsigned long long)matches.matches[i].version);
    poly_session_reset(p->nobody);
    return text;
}

static inline void same_as_before(struct place *p, const char *before)
{
    char *now = everything(p);

    assert_string_equal(now, before);
    free(now);
}

/* That of the last generation there is. */
static inline void find_folder(struct place *p, char path[500])
{
    char folder[200];
    DIR *directory;
    const struct dirent *entry;
    unsigned long long last = 0;

    snprintf(folder, sizeof(folder), "%s/vector", p->fixture.data);
    directory = opendir(folder);
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        unsigned long long number = strtoull(entry->d_name, NULL, 10);

        if (strchr(entry->d_name, '-') == NULL || number < last)
            continue;
        last = number;
        snprintf(path, 500, "%s/%s", folder, entry->d_name);
    }
    closedir(directory);
    assert_true(last > 0);
}

/* In a shell, where $D is the folder. */
static inline void shell(const char *command, const char *folder)
{
    FILE *run;

    assert_int_equal(setenv("D", folder, 1), 0);
    run = popen(command, "r");
    assert_non_null(run);
    assert_int_equal(pclose(run), 0);
}

/* One bit of the largest file of that kind in the folder of the items. */
static inline void damage(const char *generation, const char *kind)
{
    char folder[540], path[900] = "", name[900];
    const struct dirent *entry;
    DIR *directory;
    struct stat info;
    unsigned char byte;
    int fd;

    snprintf(folder, sizeof(folder), "%s/items", generation);
    directory = opendir(folder);
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", folder, entry->d_name);
        if (strncmp(entry->d_name, kind, strlen(kind)) == 0)
            snprintf(path, sizeof(path), "%s", name);
    }
    closedir(directory);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(pread(fd, &byte, 1, info.st_size / 2), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, info.st_size / 2), 1);
    close(fd);
}

#endif
