/*
 * An instance in a folder of its own, with migrations that a test writes as text.
 *
 * With POLY_TEST_OWNER=postgresql, and the addresses that tests/servers/with puts into the
 * environment, the same tests run on a server: a database for each fixture.
 */
#ifndef POLY_TESTS_CONFORMANCE_FIXTURE_H
#define POLY_TESTS_CONFORMANCE_FIXTURE_H

#include "polystore.h"
#include "test.h"

struct fixture {
    char folder[64];     /* made for this test */
    char migrations[96]; /* folder/migrations */
    char data[96];       /* folder/data */
    char file[128];      /* the database itself; once open; not on a server */
    char kept[96];       /* fixture_keep */
    char database[64], user[64], url[1024], admin_url[1024]; /* on a server */
    struct poly_instance *instance;
    struct poly_session *admin; /* all rights, no tenant */
};

bool fixture_on_server(void);

/*
 * What the drivers of an open fixture declare under a name, which then counts as checked by this
 * test on this database: is it supported; the test ends where it is not; does it go another way
 * than on SQLite.
 */
bool fixture_supports(struct fixture *f, const char *name);
void fixture_needs(struct fixture *f, const char *name);
bool fixture_differs(struct fixture *f, const char *name);

/* A temporary folder, nothing open. */
void fixture_make(struct fixture *f);
void fixture_migration(struct fixture *f, const char *name, const char *sql);
/* The same in two dialects: NAME.sql, and NAME.postgresql.sql beside it. name: without ".sql". */
void fixture_dialects(struct fixture *f, const char *name, const char *sql, const char *postgresql);
void fixture_forget(struct fixture *f, const char *name);
/* config: YAML without `data` and `migrations`. Opens, makes the session. */
void fixture_open(struct fixture *f, const char *config);
/* The same, of which something is to go wrong; no session. */
enum poly_status fixture_try_open(struct fixture *f, const char *config,
                                  struct poly_instance **instance, struct poly_error *err);
void fixture_close(struct fixture *f);
/* Applies what is in the migrations folder. */
void fixture_migrate(struct fixture *f);
/* All of these: with tables made by one migration of plain SQL. */
void fixture_begin(struct fixture *f, const char *sql, const char *config);
/* Closes, removes the folder. */
void fixture_remove(struct fixture *f);

/* Before it is opened: makes what SQL of tenants needs of the server. false: it is somebody else's,
 * where nothing is made for that. */
bool fixture_tenants_sql(struct fixture *f);

/* Has the server more than its C library's? Else the test ends. */
bool fixture_has_collations(struct fixture *f);
void fixture_needs_collations(struct fixture *f);

struct poly_session *fixture_session(struct fixture *f, const char *tenant, unsigned rights);
/* Closes it, once: a test that fails while all is closed goes on to its teardown, and what failed
 * would not be said when that closed it again. */
void fixture_end(struct poly_session **session);

/* End of the log, what others have just committed included: a server tells us of that in a
 * moment. */
uint64_t fixture_head(struct fixture *f);

/*
 * Another program with the same database: a connection of its own, without anything of ours but our
 * tables, which are called poly_log and so on for it wherever they are.
 */
void fixture_foreign(struct fixture *f, const char *sql);
void fixture_foreign_dialects(struct fixture *f, const char *sql, const char *postgresql);
/* false: it failed, and why says so. */
bool fixture_foreign_try(struct fixture *f, const char *sql, char *why, size_t size);
/* First column of its first row; -1 when there is none. */
int64_t fixture_number(struct fixture *f, const char *sql);

/* While it is closed: what the database has now is kept beside it, and comes back. Once. */
void fixture_keep(struct fixture *f);
void fixture_go_back(struct fixture *f);

/* A transaction of one operation. */
enum poly_status put_row(struct poly_session *session, const char *domain, const char *key,
                         const struct poly_row *row, int64_t if_version, struct poly_result *result,
                         struct poly_error *err);
enum poly_status remove_row(struct poly_session *session, const char *domain, const char *key,
                            int64_t if_version, struct poly_error *err);
enum poly_status run_sql(struct poly_session *session, const char *sql, struct poly_error *err);

/* The field's value; fails the test when there is none. */
const struct poly_value *field(const struct poly_row *row, const char *name);

#define ROW(...)                                                                                   \
    (&(const struct poly_row){(const struct poly_field[]){__VA_ARGS__},                            \
                              sizeof((const struct poly_field[]){__VA_ARGS__}) /                   \
                                  sizeof(struct poly_field)})

#endif
