/*
 * Migrations are plain SQL files that any tool can run; what is kept about them
 * is the name and a checksum, in the database they changed.
 *
 * Each file is one request to the writer: it takes effect whole, with the
 * triggers of the tables it touched made anew in the same transaction, or not
 * at all. The check whether it is still to be done runs in there too, so two
 * runners that start together do not both apply it.
 *
 * A file that says so is no transaction: there are statements that cannot run in one. Then
 * each of them can run again, and after a failure the file begins anew.
 *
 * Where a statement must differ, NAME.<driver>.sql takes the place of NAME.sql
 * on that database; what is kept is NAME.sql, with the checksum of the file that ran.
 */
#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "core/config.h"
#include "polystore/admin.h"
#include "stores/relational/driver.h"
#include "stores/relational/view.h"

static const char sql_applied[] = "SELECT name, checksum, time FROM poly_migration ORDER BY name";
static const char sql_one[] = "SELECT checksum FROM poly_migration WHERE name = ?1";
static const char sql_insert[] =
    "INSERT INTO poly_migration(name, checksum, time) VALUES (?1, ?2, ?3)";
enum { FILES_MAX = 10000, SUM = 32 };

struct file {
    const char *name;
    uint64_t number;
    bool present; /* in the folder */
    bool alone;   /* it is no transaction */
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

/* Length of the name without ".<driver>.sql"; 0: it has none. */
static size_t stem(const char *name, const char *driver)
{
    char end[40];

    snprintf(end, sizeof(end), ".%s.sql", driver);
    return ends(name, end) ? strlen(name) - strlen(end) : 0;
}

/* For another driver than this one. */
static bool elsewhere(const struct migrating *m, const char *name)
{
    const char *const drivers[] = {poly_relational_embedded.name, poly_relational_postgresql.name};

    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
        if (stem(name, drivers[i]) > 0)
            return strcmp(drivers[i], m->relational->driver->name) != 0;
    }
    return false;
}

/* NNNN_name.sql; *number. */
static bool parse_name(const char *name, uint64_t *number)
{
    size_t digits = strspn(name, "0123456789");
    const char *rest = name + digits;

    if (digits < 1 || digits > 18 || *rest != '_' || !ends(rest, ".sql") || rest[1] == '.')
        return false;
    *number = strtoull(name, NULL, 10);
    return true;
}

/* What stands as "-- polystore: …" in the comment that the file begins with. */
static enum poly_status read_orders(struct file *file, const char *path, struct poly_error *err)
{
    static const char mark[] = "-- polystore:", alone[] = "no transaction";
    const char *line = file->text;

    while (strncmp(line, "--", 2) == 0) {
        size_t size = strcspn(line, "\r\n");
        const char *order = line + sizeof(mark) - 1;

        if (strncmp(line, mark, sizeof(mark) - 1) == 0) {
            order += strspn(order, " \t");
            size = strcspn(order, "\r\n");
            while (size > 0 && (order[size - 1] == ' ' || order[size - 1] == '\t'))
                size--;
            if (size != sizeof(alone) - 1 || memcmp(order, alone, size) != 0)
                return poly_fail(err, POLY_INVALID,
                                 "migration '%s': '%.*s' is nothing that a file can ask for; "
                                 "there is '%s %s'",
                                 path, (int)(size > 100 ? 100 : size), order, mark, alone);
            file->alone = true;
            line = order;
        }
        line += strcspn(line, "\r\n");
        line += strspn(line, "\r\n");
    }
    return POLY_OK;
}

static enum poly_status read_file(struct migrating *m, struct file *file, const char *entry,
                                  struct poly_error *err)
{
    char *path = poly_arena_printf(m->arena, "%s/%s", m->folder, entry);
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
    file->alone = false;
    return read_orders(file, path, err);
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

static struct file *by_name(struct migrating *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->files[i].name, name) == 0)
            return &m->files[i];
    }
    return NULL;
}

/* 0001_init.postgresql.sql stands for 0001_init.sql there, and is nothing elsewhere. */
static enum poly_status read_entry(struct migrating *m, const char *entry, struct poly_error *err)
{
    const char *name = entry;
    size_t own = stem(entry, m->relational->driver->name);
    uint64_t number = 0;
    struct file *file;

    if (entry[0] == '.' || !ends(entry, ".sql") || elsewhere(m, entry))
        return POLY_OK;
    if (own > 0)
        name = poly_arena_printf(m->arena, "%.*s.sql", (int)own, entry);
    if (name == NULL)
        return poly_no_memory(err);
    if (!parse_name(name, &number))
        return poly_fail(err, POLY_INVALID,
                         "migration '%s/%s': the name is not like 0001_what_it_does.sql", m->folder,
                         entry);
    file = by_name(m, name);
    if (file != NULL && own == 0)
        return POLY_OK; /* the driver's own was there first */
    if (file == NULL)
        file = add_file(m, name, number);
    if (file == NULL)
        return poly_no_memory(err);
    file->present = true;
    return read_file(m, file, entry, err);
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

static enum poly_status note_applied(struct migrating *m, struct poly_stmt *stmt,
                                     struct poly_error *err)
{
    const char *name = poly_stmt_get_text(stmt, 0).data;
    struct file *file = by_name(m, name);
    uint64_t number = 0;
    const void *sum;
    size_t size;

    if (file == NULL) {
        parse_name(name, &number);
        file = add_file(m, name, number);
    }
    if (file == NULL)
        return poly_no_memory(err);
    file->applied = true;
    sum = poly_stmt_get_bytes(stmt, 1, &size);
    if (size == SUM)
        memcpy(file->applied_sum, sum, SUM);
    file->time = poly_stmt_get_int(stmt, 2);
    return POLY_OK;
}

static enum poly_status read_applied(struct migrating *m, struct poly_db *db,
                                     struct poly_error *err)
{
    int64_t there;
    struct poly_stmt stmt;
    bool row = true;
    enum poly_status status = poly_db_number(db, m->relational->driver->has_migration, &there, err);

    if (status == POLY_OK && there != 0)
        status = poly_stmt_open(&stmt, db, sql_applied, err);
    if (status != POLY_OK || there == 0)
        return status;
    while (status == POLY_OK && row) {
        status = poly_stmt_row(&stmt, &row, err);
        if (status == POLY_OK && row)
            status = note_applied(m, &stmt, err);
    }
    poly_stmt_close(&stmt);
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
        status = poly_session_read_log(m->session, &db, err);
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
    bool done_before; /* another runner was faster */
};

/* Is it still to be done, and still the same? */
static enum poly_status check_again(struct applying *a, struct poly_db *db, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_db_exec(db, a->m->relational->driver->create_migration, err);
    bool row = false;
    const void *sum;
    size_t size;

    if (status == POLY_OK)
        status = poly_stmt_open(&stmt, db, sql_one, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, poly_text(a->file->name));
    status = poly_stmt_row(&stmt, &row, err);
    if (status != POLY_OK || !row)
        return status;
    a->done_before = true;
    sum = poly_stmt_get_bytes(&stmt, 0, &size);
    if (size != SUM || memcmp(sum, a->file->sum, SUM) != 0)
        status = poly_fail(err, POLY_CONFLICT, "another runner has applied another version of it");
    poly_stmt_close(&stmt);
    return status;
}

/* Whose change it is, for the records that the triggers write. */
static enum poly_status begin_file(struct applying *a, struct poly_db *db, struct poly_error *err)
{
    struct poly_buffer meta;
    enum poly_status status;

    poly_buffer_init(&meta, POLY_MAX_META);
    poly_buffer_text(&meta, "{\"migration\":");
    poly_json_string(&meta, a->file->name, strlen(a->file->name));
    poly_buffer_text(&meta, "}");
    status = poly_buffer_ok(&meta) ? a->m->relational->driver->migrate_begin(
                                         db, (struct poly_text){meta.data, meta.size}, err)
                                   : poly_no_memory(err);
    poly_buffer_release(&meta);
    return status;
}

static enum poly_status keep(struct applying *a, struct poly_db *db, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, sql_insert, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, poly_text(a->file->name));
    poly_stmt_bytes(&stmt, 2, a->file->sum, SUM);
    poly_stmt_int(&stmt, 3, poly_clock_wall());
    return poly_stmt_done(&stmt, err);
}

/* May run again from its beginning. */
static enum poly_status apply(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct applying *a = arg;
    struct poly_relational *relational = a->m->relational;
    const struct poly_relational_driver *driver = relational->driver;
    enum poly_status status;

    poly_relational_drop(relational, a->schema);
    a->schema = NULL;
    a->done_before = false;
    status = begin_file(a, db, err);
    if (status == POLY_OK)
        status = check_again(a, db, err);
    if (status == POLY_OK && !a->done_before)
        status = driver->migrate_run(relational, db, a->file->text, err);
    if (status == POLY_OK && !a->done_before)
        status = poly_relational_sync(relational, db, POLY_SYNC_MIGRATION, NULL, &a->schema, err);
    if (status == POLY_OK)
        status = driver->migrate_end(db, err);
    return status == POLY_OK && !a->done_before ? keep(a, db, err) : status;
}

/* Statement by statement. May run again from its beginning, as each of them may. */
static enum poly_status apply_alone(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct applying *a = arg;
    const struct poly_relational_driver *driver = a->m->relational->driver;
    enum poly_status status = driver->migrate_turn(db, err);

    if (status != POLY_OK)
        return status;
    a->done_before = false;
    status = check_again(a, db, err);
    if (status == POLY_OK && !a->done_before)
        status = driver->migrate_alone(db, a->file->text, err);
    return status == POLY_OK && !a->done_before ? keep(a, db, err) : status;
}

static enum poly_status run_file(struct applying *a, struct poly_error *err)
{
    struct poly_instance *instance = a->m->relational->instance;
    const struct poly_relational_driver *driver = a->m->relational->driver;

    if (!a->file->alone)
        return poly_instance_write(instance, apply, a, err);
    if (driver->migrate_alone == NULL)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "it asks for no transaction, and SQLite has no statement that needs that: "
                         "put it into NAME.postgresql.sql, and what SQLite is to run into "
                         "NAME.embedded.sql");
    return poly_instance_write_alone(instance, apply_alone, a, err);
}

static enum poly_status apply_file(struct migrating *m, struct file *file, struct poly_error *err)
{
    struct applying a = {.m = m, .file = file};
    enum poly_status status = run_file(&a, err);

    if (status != POLY_OK) {
        poly_relational_drop(m->relational, a.schema);
        return poly_fail_in(err, status, "migration '%s'", file->name);
    }
    if (a.schema != NULL)
        poly_relational_swap(m->relational, a.schema);
    if (a.schema != NULL && m->relational->driver->refresh != NULL)
        m->relational->driver->refresh(m->relational);
    return POLY_OK;
}

int poly_migrate_line(const char *text, const char *at)
{
    int line = 1;

    for (; text < at && *text != '\0'; text++)
        line += *text == '\n';
    return line;
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
    int64_t deadline =
        poly_clock_monotonic() + (int64_t)poly_session_deadline_ms(session) * 1000;
    bool applied = false;

    err = err == NULL ? &local : err;
    status = begin(&m, session, folder, err);
    for (size_t i = 0; i < m.count && status == POLY_OK; i++) {
        if (m.files[i].problem != NULL)
            return poly_fail(err, POLY_CONFLICT, "migration '%s': %s; nothing was applied",
                             m.files[i].name, m.files[i].problem);
    }
    for (size_t i = 0; i < m.count && status == POLY_OK; i++) {
        if (!m.files[i].applied) {
            status = apply_file(&m, &m.files[i], err);
            applied = true;
        }
    }
    if (applied)
        poly_views_migrated(m.relational, deadline);
    if (status == POLY_OK)
        status = look(&m, err);
    return status == POLY_OK ? report(&m, migrations, err) : status;
}
