/*
 * Migrations are plain SQL files that any tool can run; what is kept about them
 * is the name and a checksum, in the database they changed.
 *
 * Each file is one request to the writer: it takes effect whole, with the
 * triggers of the tables it touched made anew in the same transaction, or not
 * at all. The check whether it is still to be done runs in there too, so two
 * runners that start together do not both apply it.
 *
 * Before the first ALTER or DROP our triggers go, because they name columns;
 * what the file changes from there on is found at its end by comparing rows
 * with the log (trigger.c).
 */
#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "core/config.h"
#include "polystore/admin.h"
#include "stores/relational/driver.h"

static const char sql_create[] =
    "CREATE TABLE IF NOT EXISTS main.poly_migration(name TEXT PRIMARY KEY, checksum BLOB NOT NULL,"
    " time INTEGER NOT NULL) WITHOUT ROWID";
static const char sql_exists[] =
    "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'poly_migration'";
static const char sql_applied[] =
    "SELECT name, checksum, time FROM main.poly_migration ORDER BY name";
static const char sql_one[] = "SELECT checksum FROM main.poly_migration WHERE name = ?1";
static const char sql_insert[] =
    "INSERT INTO main.poly_migration(name, checksum, time) VALUES (?1, ?2, ?3)";
static const char sql_mark[] =
    "INSERT OR REPLACE INTO main.poly_writing(id, txn, meta) VALUES (1, coalesce("
    "(SELECT seq FROM main.sqlite_sequence WHERE name = 'poly_log'), 0) + 1, ?1)";
static const char sql_unmark[] = "DELETE FROM main.poly_writing";

enum { FILES_MAX = 10000, SUM = 32 };

struct file {
    const char *name;
    uint64_t number;
    bool present; /* in the folder */
    const char *text;
    size_t size;
    unsigned char sum[SUM];
    bool applied;
    unsigned char applied_sum[SUM];
    int64_t time;
    const char *problem;
};

struct migrating {
    struct poly_session *session;
    struct poly_relational *relational;
    struct poly_arena *arena;
    const char *folder;
    struct file *files; /* by number */
    size_t count;
};

/* --- the folder --- */

static bool ends(const char *name, const char *end)
{
    size_t size = strlen(name), tail = strlen(end);

    return size > tail && strcmp(name + size - tail, end) == 0;
}

/* NNNN_name.sql; *number. 0001_init.postgresql.sql is for another driver: *skip. */
static bool parse_name(const char *name, uint64_t *number, bool *skip)
{
    size_t digits = strspn(name, "0123456789");
    const char *rest = name + digits;

    *skip = ends(name, ".postgresql.sql");
    if (digits < 1 || digits > 18 || *rest != '_' || !ends(rest, ".sql") || rest[1] == '.')
        return false;
    *number = strtoull(name, NULL, 10);
    return true;
}

static enum poly_status read_file(struct migrating *m, struct file *file, struct poly_error *err)
{
    char *path = poly_arena_printf(m->arena, "%s/%s", m->folder, file->name);
    FILE *in = path == NULL ? NULL : fopen(path, "rbe");
    struct stat about;
    char *text;

    if (path == NULL)
        return poly_no_memory(err);
    if (in == NULL || fstat(fileno(in), &about) != 0) {
        int code = errno;

        if (in != NULL)
            fclose(in);
        return poly_fail(err, POLY_INVALID, "migration '%s': %s", path, strerror(code));
    }
    if (!S_ISREG(about.st_mode) || about.st_size > POLY_MAX_MIGRATION) {
        fclose(in);
        return poly_fail(err, POLY_LIMIT, "migration '%s' is no file of at most %d bytes", path,
                         POLY_MAX_MIGRATION);
    }
    text = poly_arena_alloc(m->arena, (size_t)about.st_size + 1);
    file->size = text == NULL ? 0 : fread(text, 1, (size_t)about.st_size, in);
    fclose(in);
    if (text == NULL)
        return poly_no_memory(err);
    if (strlen(text) != file->size)
        return poly_fail(err, POLY_INVALID, "migration '%s' has a NUL character", path);
    file->text = text;
    crypto_generichash(file->sum, SUM, (const unsigned char *)text, file->size, NULL, 0);
    return POLY_OK;
}

static struct file *add_file(struct migrating *m, const char *name, uint64_t number)
{
    struct file *file;

    if (m->count == FILES_MAX)
        return NULL;
    if ((m->count & (m->count - 1)) == 0) {
        size_t room = m->count == 0 ? 1 : m->count * 2;
        struct file *more = poly_arena_array(m->arena, room, sizeof(*more));

        if (more == NULL)
            return NULL;
        if (m->count > 0)
            memcpy(more, m->files, m->count * sizeof(*more));
        m->files = more;
    }
    file = &m->files[m->count];
    file->number = number;
    file->name = poly_arena_copy(m->arena, name, strlen(name));
    if (file->name == NULL)
        return NULL;
    m->count++;
    return file;
}

static enum poly_status read_entry(struct migrating *m, const char *name, struct poly_error *err)
{
    uint64_t number = 0;
    bool skip = false, valid = parse_name(name, &number, &skip);
    struct file *file;

    if (skip || name[0] == '.' || !ends(name, ".sql"))
        return POLY_OK;
    if (!valid)
        return poly_fail(err, POLY_INVALID,
                         "migration '%s/%s': the name is not like 0001_what_it_does.sql", m->folder,
                         name);
    file = add_file(m, name, number);
    if (file == NULL)
        return poly_no_memory(err);
    file->present = true;
    return read_file(m, file, err);
}

static enum poly_status read_folder(struct migrating *m, struct poly_error *err)
{
    DIR *folder = opendir(m->folder);
    enum poly_status status = POLY_OK;
    struct dirent *entry;

    if (folder == NULL)
        return poly_fail(err, POLY_INVALID, "migrations folder '%s': %s", m->folder,
                         strerror(errno));
    while (status == POLY_OK && (entry = readdir(folder)) != NULL)
        status = read_entry(m, entry->d_name, err);
    closedir(folder);
    return status;
}

/* --- what was applied --- */

static struct file *by_name(struct migrating *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->files[i].name, name) == 0)
            return &m->files[i];
    }
    return NULL;
}

static enum poly_status note_applied(struct migrating *m, sqlite3_stmt *statement,
                                     struct poly_error *err)
{
    const char *name = poly_column_text(statement, 0).data;
    struct file *file = by_name(m, name);
    uint64_t number = 0;
    bool skip;

    if (file == NULL) {
        parse_name(name, &number, &skip);
        file = add_file(m, name, number);
    }
    if (file == NULL)
        return poly_no_memory(err);
    file->applied = true;
    file->time = sqlite3_column_int64(statement, 2);
    if (sqlite3_column_bytes(statement, 1) == SUM)
        memcpy(file->applied_sum, sqlite3_column_blob(statement, 1), SUM);
    return POLY_OK;
}

static enum poly_status read_applied(struct migrating *m, struct poly_db *db,
                                     struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_exists, err);
    enum poly_status status;
    bool row = false;

    if (statement == NULL)
        return poly_failed(err);
    status = poly_db_row(db, statement, &row, err);
    sqlite3_reset(statement);
    if (status != POLY_OK || !row)
        return status;
    statement = poly_db_prepare(db, sql_applied, err);
    if (statement == NULL)
        return poly_failed(err);
    while (status == POLY_OK && row) {
        status = poly_db_row(db, statement, &row, err);
        if (status == POLY_OK && row)
            status = note_applied(m, statement, err);
    }
    sqlite3_reset(statement);
    return status;
}

static int by_number(const void *a, const void *b)
{
    const struct file *x = a, *y = b;

    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void judge(struct migrating *m)
{
    uint64_t last = 0;

    for (size_t i = 0; i < m->count; i++) {
        if (m->files[i].applied && m->files[i].number > last)
            last = m->files[i].number;
    }
    for (size_t i = 0; i < m->count; i++) {
        struct file *file = &m->files[i];

        if (file->applied && !file->present)
            file->problem = "the file is missing";
        else if (file->applied && sodium_memcmp(file->sum, file->applied_sum, SUM) != 0)
            file->problem = "edited after it was applied";
        else if (!file->applied && file->number <= last)
            file->problem = "its number is not beyond those that are applied";
        else if (i > 0 && m->files[i - 1].number == file->number)
            file->problem = "its number is another file's too";
    }
}

static enum poly_status look(struct migrating *m, struct poly_error *err)
{
    struct poly_db *db;
    enum poly_status status;

    m->count = 0;
    m->files = NULL;
    status = read_folder(m, err);
    if (status == POLY_OK)
        status = poly_session_read(m->session, &db, err);
    if (status != POLY_OK)
        return status;
    status = read_applied(m, db, err);
    poly_session_read_end(m->session);
    if (status != POLY_OK)
        return status;
    if (m->count > 0)
        qsort(m->files, m->count, sizeof(*m->files), by_number);
    judge(m);
    return POLY_OK;
}

static enum poly_status report(const struct migrating *m, struct poly_migrations *migrations,
                               struct poly_error *err)
{
    struct poly_migration *list = poly_arena_array(m->arena, m->count + 1, sizeof(*list));
    size_t pending = 0, problems = 0;

    if (list == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < m->count; i++) {
        const struct file *file = &m->files[i];

        list[i].name = poly_text(file->name);
        list[i].applied = file->applied;
        list[i].time = file->time;
        list[i].problem = poly_text(file->problem == NULL ? "" : file->problem);
        pending += !file->applied;
        problems += file->problem != NULL;
    }
    *migrations = (struct poly_migrations){list, m->count, pending, problems};
    return POLY_OK;
}

/* --- applying one file --- */

struct applying {
    struct migrating *m;
    struct file *file;
    struct poly_schema *schema;
    bool detached;
    bool done_before; /* another runner was faster */
};

static int line_of(const char *text, const char *at)
{
    int line = 1;

    for (; text < at && *text != '\0'; text++)
        line += *text == '\n';
    return line;
}

/* Where the statement's first word begins. */
static const char *first_word(const char *sql)
{
    for (;;) {
        sql += strspn(sql, " \t\r\n\f;");
        if (sql[0] == '-' && sql[1] == '-') {
            sql += strcspn(sql, "\n");
        } else if (sql[0] == '/' && sql[1] == '*') {
            const char *end = strstr(sql + 2, "*/");

            sql = end == NULL ? sql + strlen(sql) : end + 2;
        } else {
            return sql;
        }
    }
}

static enum poly_status detach(struct applying *a, struct poly_db *db, struct poly_error *err)
{
    const struct poly_schema *schema = atomic_load(&a->m->relational->schema);
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < schema->count && status == POLY_OK; i++) {
        if (schema->tables[i] != NULL && schema->tables[i]->exists)
            status = poly_table_detach(db, schema->tables[i], err);
    }
    a->detached = true;
    return status;
}

/* Runs one statement; *sql goes on to the next. */
static enum poly_status run_statement(struct applying *a, struct poly_db *db, const char **sql,
                                      struct poly_error *err)
{
    struct poly_guard *guard = a->m->relational->guard;
    const char *start = first_word(*sql);
    sqlite3_stmt *statement = NULL;
    enum poly_status status = POLY_OK;
    int code;

    *sql = start;
    if (*start == '\0')
        return POLY_OK;
    if (!a->detached && (strncasecmp(start, "ALTER", 5) == 0 || strncasecmp(start, "DROP", 4) == 0))
        status = detach(a, db, err);
    if (status != POLY_OK)
        return status;
    guard->refused[0] = '\0';
    guard->admin = true;
    guard->level = GUARD_MIGRATION;
    code = sqlite3_prepare_v2(poly_db_handle(db), start, -1, &statement, sql);
    while (code == SQLITE_OK || code == SQLITE_ROW)
        code = statement == NULL ? SQLITE_DONE : sqlite3_step(statement);
    guard->level = GUARD_OFF;
    if (code != SQLITE_DONE && guard->refused[0] != '\0')
        status = poly_fail(err, POLY_DENIED, "line %d: %s", line_of(a->file->text, start),
                           guard->refused);
    else if (code != SQLITE_DONE) {
        char where[32];

        snprintf(where, sizeof(where), "line %d", line_of(a->file->text, start));
        status = poly_db_fail(db, code, where, err);
        if (status == POLY_EXISTS)
            status = POLY_INVALID;
    }
    sqlite3_finalize(statement);
    return status;
}

static enum poly_status run_file(struct applying *a, struct poly_db *db, struct poly_error *err)
{
    const char *sql = a->file->text;
    enum poly_status status = poly_guard_text(sql, true, err);

    while (status == POLY_OK && *sql != '\0')
        status = run_statement(a, db, &sql, err);
    return status;
}

/* Is it still to be done, and still the same? */
static enum poly_status check_again(struct applying *a, struct poly_db *db, struct poly_error *err)
{
    sqlite3_stmt *statement;
    enum poly_status status = poly_db_exec(db, sql_create, err);
    bool row = false;

    if (status != POLY_OK)
        return status;
    statement = poly_db_prepare(db, sql_one, err);
    if (statement == NULL)
        return poly_failed(err);
    poly_bind_text(statement, 1, poly_text(a->file->name));
    status = poly_db_row(db, statement, &row, err);
    if (status != POLY_OK || !row)
        return status;
    a->done_before = true;
    if (sqlite3_column_bytes(statement, 0) != SUM ||
        memcmp(sqlite3_column_blob(statement, 0), a->file->sum, SUM) != 0)
        status = poly_fail(err, POLY_CONFLICT, "another runner has applied another version of it");
    sqlite3_reset(statement);
    return status;
}

/* Whose change it is, for the records that the triggers write. */
static enum poly_status mark(struct applying *a, struct poly_db *db, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_mark, err);
    struct poly_buffer meta;
    enum poly_status status;

    if (statement == NULL)
        return poly_failed(err);
    poly_buffer_init(&meta, POLY_MAX_META);
    poly_buffer_text(&meta, "{\"migration\":");
    poly_json_string(&meta, a->file->name, strlen(a->file->name));
    poly_buffer_text(&meta, "}");
    poly_bind_text(statement, 1, (struct poly_text){meta.data, meta.size});
    status = poly_buffer_ok(&meta) ? poly_db_done(db, statement, err) : poly_no_memory(err);
    sqlite3_clear_bindings(statement);
    poly_buffer_release(&meta);
    return status;
}

static enum poly_status keep(struct applying *a, struct poly_db *db, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_insert, err);
    enum poly_status status;

    if (statement == NULL)
        return poly_failed(err);
    poly_bind_text(statement, 1, poly_text(a->file->name));
    sqlite3_bind_blob(statement, 2, a->file->sum, SUM, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, poly_clock_wall());
    status = poly_db_done(db, statement, err);
    sqlite3_clear_bindings(statement);
    return status;
}

static enum poly_status apply(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct applying *a = arg;
    struct poly_relational *relational = a->m->relational;
    enum poly_status status;

    status = check_again(a, db, err);
    if (status != POLY_OK || a->done_before)
        return status;
    status = mark(a, db, err);
    if (status == POLY_OK)
        status = run_file(a, db, err);
    if (status == POLY_OK)
        status = poly_relational_sync(relational, db, false, &a->schema, err);
    if (status == POLY_OK)
        status = poly_db_exec(db, sql_unmark, err);
    return status == POLY_OK ? keep(a, db, err) : status;
}

static enum poly_status apply_file(struct migrating *m, struct file *file, struct poly_error *err)
{
    struct applying a = {.m = m, .file = file};
    enum poly_status status = poly_instance_write(m->relational->instance, apply, &a, err);

    if (status != POLY_OK) {
        poly_relational_drop(m->relational, a.schema);
        return poly_fail_in(err, status, "migration '%s'", file->name);
    }
    if (a.schema != NULL)
        poly_relational_swap(m->relational, a.schema);
    return POLY_OK;
}

/* --- public --- */

static enum poly_status begin(struct migrating *m, struct poly_session *session, const char *folder,
                              struct poly_error *err)
{
    struct poly_instance *instance = poly_session_instance(session);
    enum poly_status status = poly_session_require(session, POLY_RIGHT_ADMIN, "migrating", err);

    if (status != POLY_OK)
        return status;
    m->session = session;
    m->relational = poly_instance_relational(instance);
    m->arena = poly_session_arena(session);
    m->folder = folder == NULL ? poly_instance_config(instance)->migrations : folder;
    if (m->folder == NULL)
        return poly_fail(err, POLY_INVALID,
                         "no folder of migrations was given, and 'migrations' is not set in the "
                         "configuration");
    return look(m, err);
}

enum poly_status poly_migrate_status(struct poly_session *session, const char *folder,
                                     struct poly_migrations *migrations, struct poly_error *err)
{
    struct migrating m = {0};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = begin(&m, session, folder, err);
    return status == POLY_OK ? report(&m, migrations, err) : status;
}

enum poly_status poly_migrate_up(struct poly_session *session, const char *folder,
                                 struct poly_migrations *migrations, struct poly_error *err)
{
    struct migrating m = {0};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = begin(&m, session, folder, err);
    for (size_t i = 0; i < m.count && status == POLY_OK; i++) {
        if (m.files[i].problem != NULL)
            return poly_fail(err, POLY_CONFLICT, "migration '%s': %s; nothing was applied",
                             m.files[i].name, m.files[i].problem);
    }
    for (size_t i = 0; i < m.count && status == POLY_OK; i++) {
        if (!m.files[i].applied)
            status = apply_file(&m, &m.files[i], err);
    }
    if (status == POLY_OK)
        status = look(&m, err);
    return status == POLY_OK ? report(&m, migrations, err) : status;
}
