/*
 * Why a cache keyed by pointer: every statement on a hot path is a literal or
 * a text that a store built once, so a lookup is one hash of an address and
 * costs a few nanoseconds, where hashing two hundred bytes of SQL would cost
 * as much as running a small statement.
 *
 * Why readers are pooled and never shared: a connection in WAL mode is one
 * snapshot; giving each caller its own lets reads run beside each other and
 * beside the writer without a lock of ours.
 */
#include "base/sqlite.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/wal_vfs.h"

/* Statements that were handed out among the last CACHE_RECENT are never given up: whoever has one
 * may still be about to step it. */
enum { CACHE_FIRST = 64, CACHE_MAX = 4096, CACHE_RECENT = 1024 };

struct cached {
    const char *sql;
    sqlite3_stmt *statement;
    uint64_t used; /* handed out at this tick */
};

/* The header of the WAL's index, as it lies in shared memory: twice, of 12 words each. Every commit
 * of any program changes it, and nothing but commits and resets of the WAL do. */
enum { STATE_WORDS = 12, STATE_REGION = 32768 };

struct state {
    bool known;
    uint32_t words[STATE_WORDS];
};

struct connection {
    struct poly_db base;
    sqlite3 *handle;
    struct cached *cache; /* open addressing; size is a power of two */
    size_t cache_size, cache_used;
    uint64_t tick;           /* counts what was handed out */
    struct connection *next; /* in the pool */
    struct state state;      /* of the database when the last read began */
    bool snapshot;           /* a transaction is open, of that state when it is still the same */
    unsigned settled;        /* of the file, when it was opened */
    bool lost;               /* the open transaction must not be committed */
    sqlite3_stmt *rollback;  /* made at open: it must work with hardly any memory */
};

static const struct poly_sql_engine engine;

static struct connection *of(const struct poly_db *db)
{
    poly_assert(db->engine == &engine);
    return (struct connection *)(uintptr_t)db;
}

/* The schema is trusted: the triggers use json_object(), which SQLite 3.40 does not call innocuous.
 * Whoever can change the schema of the file owns it anyway. */
static const char pragmas[] = "PRAGMA foreign_keys=ON;"
                              "PRAGMA recursive_triggers=ON;"
                              "PRAGMA trusted_schema=ON;"
                              "PRAGMA temp_store=MEMORY;";

static const char pragmas_write[] = "PRAGMA journal_mode=WAL;"
                                    "PRAGMA synchronous=FULL;"
                                    "PRAGMA wal_autocheckpoint=0;" /* the writer does it */
                                    "PRAGMA cache_size=-16384;";

static const char pragmas_derived[] = "PRAGMA journal_mode=WAL;"
                                      "PRAGMA synchronous=NORMAL;"
                                      "PRAGMA cache_size=-8192;";

/* Readers live by the page cache of the kernel: a small cache of their own keeps an idle
 * daemon small. */
static const char pragmas_read[] = "PRAGMA query_only=ON;"
                                   "PRAGMA cache_size=-4096;";

bool poly_db_temporary(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_FULL:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
    case SQLITE_IOERR:
        return true;
    default:
        return false;
    }
}

bool poly_db_broken(int code)
{
    int primary = code & 0xff;

    return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB ||
           (primary == SQLITE_IOERR && code != SQLITE_IOERR_NOMEM);
}

static enum poly_status status_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return POLY_OK;
    case SQLITE_NOMEM:
        return POLY_NO_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
        return POLY_UNAVAILABLE;
    case SQLITE_IOERR:
        return code == SQLITE_IOERR_NOMEM ? POLY_NO_MEMORY : POLY_UNAVAILABLE;
    case SQLITE_INTERRUPT:
        return POLY_TIMEOUT;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return POLY_CORRUPT;
    case SQLITE_CONSTRAINT:
        return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
                       code == SQLITE_CONSTRAINT_ROWID
                   ? POLY_EXISTS
                   : POLY_INVALID;
    case SQLITE_TOOBIG:
        return POLY_LIMIT;
    case SQLITE_AUTH:
    case SQLITE_PERM:
        return POLY_DENIED;
    default:
        return POLY_INVALID;
    }
}

enum poly_status poly_db_fail(struct poly_db *db, int code, const char *what,
                              struct poly_error *err)
{
    const char *why = sqlite3_errstr(code);

    if (db != NULL && of(db)->handle != NULL && sqlite3_extended_errcode(of(db)->handle) == code)
        why = sqlite3_errmsg(of(db)->handle);
    if ((code & 0xff) == SQLITE_FULL)
        why = "the disk is full";
    return poly_fail(err, status_of(code), "%s: %s", what, why);
}

static enum poly_status configure(struct poly_db *db, enum poly_db_mode mode,
                                  struct poly_error *err)
{
    const char *own = mode == POLY_DB_READ      ? pragmas_read
                      : mode == POLY_DB_DERIVED ? pragmas_derived
                                                : pragmas_write;
    enum poly_status status;

    sqlite3_extended_result_codes(of(db)->handle, 1);
    sqlite3_busy_timeout(of(db)->handle, 5000);
    sqlite3_db_config(of(db)->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* Double-quoted text that is no name must be an error, not a literal. */
    sqlite3_db_config(of(db)->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(of(db)->handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    status = poly_db_exec(db, pragmas, err);
    if (status == POLY_OK)
        status = poly_db_exec(db, own, err);
    if (status == POLY_OK) {
        int code = sqlite3_prepare_v3(of(db)->handle, "ROLLBACK", -1, SQLITE_PREPARE_PERSISTENT,
                                      &of(db)->rollback, NULL);

        if (code != SQLITE_OK)
            status = poly_db_fail(db, code, "cannot prepare a statement", err);
    }
    return status;
}

/* For its owner's eyes only; SQLite gives the files beside it the same mode. */
static void make_private(const char *path)
{
    int fd = strcmp(path, ":memory:") == 0
                 ? -1
                 : open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
}

enum poly_status poly_db_open(const char *path, enum poly_db_mode mode, struct poly_db **db,
                              struct poly_error *err)
{
    struct connection *self = calloc(1, sizeof(*self));
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                (mode == POLY_DB_READ ? 0 : SQLITE_OPEN_CREATE);
    enum poly_status status;
    int code;

    if (self == NULL)
        return poly_no_memory(err);
    self->base.engine = &engine;
    if (mode == POLY_DB_WRITE)
        poly_wal_vfs_register();
    if (mode != POLY_DB_READ)
        make_private(path);
    code = sqlite3_open_v2(path, &self->handle, flags, mode == POLY_DB_WRITE ? POLY_WAL_VFS : NULL);
    if (code != SQLITE_OK) {
        code = self->handle == NULL ? code : sqlite3_extended_errcode(self->handle);
        status = poly_db_fail(&self->base, code, path, err);
    } else {
        status = configure(&self->base, mode, err);
        if (status != POLY_OK)
            poly_fail_in(err, status, "%s", path);
    }
    if (status != POLY_OK) {
        poly_db_close(&self->base);
        return status;
    }
    *db = &self->base;
    return POLY_OK;
}

void poly_db_close(struct poly_db *db)
{
    if (db == NULL)
        return;
    for (size_t i = 0; i < of(db)->cache_size; i++)
        sqlite3_finalize(of(db)->cache[i].statement);
    free(of(db)->cache);
    sqlite3_finalize(of(db)->rollback);
    sqlite3_close(of(db)->handle);
    free(db);
}

sqlite3 *poly_db_handle(struct poly_db *db)
{
    return of(db)->handle;
}

static struct cached *find(struct cached *cache, size_t size, const char *sql)
{
    size_t i = ((uintptr_t)sql * 0x9e3779b97f4a7c15ULL >> 32) & (size - 1);

    while (cache[i].sql != NULL && cache[i].sql != sql)
        i = (i + 1) & (size - 1);
    return &cache[i];
}

static bool stale(const struct connection *db, const struct cached *slot)
{
    return db->tick - slot->used > CACHE_RECENT && !sqlite3_stmt_busy(slot->statement);
}

/* Doubles the table; at its maximum, gives up what was not used lately: texts of an index that was
 * built anew are never asked for again. */
static bool cache_grow(struct poly_db *db)
{
    bool full = of(db)->cache_size == CACHE_MAX;
    size_t size = full ? CACHE_MAX : of(db)->cache_size == 0 ? CACHE_FIRST : of(db)->cache_size * 2;
    struct cached *cache = calloc(size, sizeof(*cache));
    size_t kept = 0;

    if (cache == NULL)
        return false;
    for (size_t i = 0; i < of(db)->cache_size; i++) {
        if (of(db)->cache[i].sql == NULL)
            continue;
        if (full && stale(of(db), &of(db)->cache[i])) {
            sqlite3_finalize(of(db)->cache[i].statement);
            continue;
        }
        *find(cache, size, of(db)->cache[i].sql) = of(db)->cache[i];
        kept++;
    }
    poly_assert(kept * 2 < size);
    free(of(db)->cache);
    of(db)->cache = cache;
    of(db)->cache_size = size;
    of(db)->cache_used = kept;
    return true;
}

sqlite3_stmt *poly_db_prepare(struct poly_db *db, const char *sql, struct poly_error *err)
{
    struct cached *slot;

    if (of(db)->cache_size > 0) {
        slot = find(of(db)->cache, of(db)->cache_size, sql);
        if (slot->statement != NULL) {
            sqlite3_reset(slot->statement);
            sqlite3_clear_bindings(slot->statement);
            slot->used = ++of(db)->tick;
            return slot->statement;
        }
    }
    if (of(db)->cache_used * 2 >= of(db)->cache_size && !cache_grow(db)) {
        poly_no_memory(err);
        return NULL;
    }

    sqlite3_stmt *statement;
    int code =
        sqlite3_prepare_v3(of(db)->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);

    if (code != SQLITE_OK) {
        poly_db_fail(db, code, "cannot prepare a statement", err);
        return NULL;
    }
    slot = find(of(db)->cache, of(db)->cache_size, sql);
    *slot = (struct cached){sql, statement, ++of(db)->tick};
    of(db)->cache_used++;
    return statement;
}

static enum poly_status engine_exec(struct poly_db *db, const char *sql, struct poly_error *err)
{
    int code = sqlite3_exec(of(db)->handle, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? POLY_OK : poly_db_fail(db, code, "cannot run a statement", err);
}

static void engine_roll_back(struct poly_db *db)
{
    if (sqlite3_get_autocommit(of(db)->handle) != 0) {
        of(db)->lost = false;
        return;
    }
    sqlite3_step(of(db)->rollback);
    sqlite3_reset(of(db)->rollback);
    of(db)->lost = sqlite3_get_autocommit(of(db)->handle) == 0;
}

static bool engine_in_transaction(const struct poly_db *db)
{
    return sqlite3_get_autocommit(of(db)->handle) == 0 && !of(db)->lost;
}

static void engine_interrupt(struct poly_db *db)
{
    sqlite3_interrupt(of(db)->handle);
}

enum poly_status poly_db_row(struct poly_db *db, sqlite3_stmt *statement, bool *row,
                             struct poly_error *err)
{
    int code = sqlite3_step(statement);
    enum poly_status status;

    if (code == SQLITE_ROW) {
        *row = true;
        return POLY_OK;
    }
    if (code == SQLITE_DONE) {
        sqlite3_reset(statement);
        *row = false;
        return POLY_OK;
    }
    status = poly_db_fail(db, code, "cannot run a statement", err);
    sqlite3_reset(statement);
    return status;
}

enum poly_status poly_db_done(struct poly_db *db, sqlite3_stmt *statement, struct poly_error *err)
{
    bool row = true;
    enum poly_status status = POLY_OK;

    while (status == POLY_OK && row)
        status = poly_db_row(db, statement, &row, err);
    return status;
}

void poly_bind_text(sqlite3_stmt *statement, int index, struct poly_text text)
{
    sqlite3_bind_text64(statement, index, text.data == NULL ? "" : text.data, text.size,
                        SQLITE_STATIC, SQLITE_UTF8);
}

void poly_bind_value(sqlite3_stmt *statement, int index, const struct poly_value *value)
{
    char uuid[37];

    switch (value->type) {
    case POLY_NULL:
        sqlite3_bind_null(statement, index);
        break;
    case POLY_BOOL:
        sqlite3_bind_int(statement, index, value->boolean);
        break;
    case POLY_INT:
    case POLY_TIME:
        sqlite3_bind_int64(statement, index, value->integer);
        break;
    case POLY_FLOAT:
        sqlite3_bind_double(statement, index, value->real);
        break;
    case POLY_TEXT:
    case POLY_JSON:
        poly_bind_text(statement, index, value->text);
        break;
    case POLY_BYTES:
        sqlite3_bind_blob64(statement, index, value->text.size == 0 ? "" : value->text.data,
                            value->text.size, SQLITE_STATIC);
        break;
    case POLY_UUID:
        poly_uuid_format(value->uuid, uuid);
        sqlite3_bind_text(statement, index, uuid, 36, SQLITE_TRANSIENT);
        break;
    }
}

struct poly_text poly_column_text(sqlite3_stmt *statement, int column)
{
    struct poly_text text;

    text.data = (const char *)sqlite3_column_text(statement, column);
    text.size = (size_t)sqlite3_column_bytes(statement, column);
    if (text.data == NULL)
        text = (struct poly_text){"", 0};
    return text;
}

struct poly_value poly_column_value(sqlite3_stmt *statement, int column)
{
    struct poly_value value = poly_null();

    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        return poly_int(sqlite3_column_int64(statement, column));
    case SQLITE_FLOAT:
        return poly_float(sqlite3_column_double(statement, column));
    case SQLITE_TEXT:
        value.type = POLY_TEXT;
        value.text = poly_column_text(statement, column);
        return value;
    case SQLITE_BLOB:
        value.type = POLY_BYTES;
        value.text.data = sqlite3_column_blob(statement, column);
        value.text.size = (size_t)sqlite3_column_bytes(statement, column);
        if (value.text.data == NULL)
            value.text.data = "";
        return value;
    default:
        return value;
    }
}

/* --- base/sql.h --- */

static enum poly_status stmt_open(struct poly_stmt *stmt, const char *sql, struct poly_error *err)
{
    stmt->statement = poly_db_prepare(stmt->db, sql, err);
    return stmt->statement == NULL ? err->status : POLY_OK;
}

static void stmt_bind(struct poly_stmt *stmt, int index, const struct poly_value *value)
{
    poly_bind_value(stmt->statement, index, value);
}

static enum poly_status stmt_row(struct poly_stmt *stmt, bool *row, struct poly_error *err)
{
    return poly_db_row(stmt->db, stmt->statement, row, err);
}

static int64_t stmt_changes(struct poly_stmt *stmt)
{
    return sqlite3_changes64(of(stmt->db)->handle);
}

static struct poly_value stmt_column(struct poly_stmt *stmt, int column)
{
    return poly_column_value(stmt->statement, column);
}

/* What is bound belongs to the caller, who may free it now. */
static void stmt_close(struct poly_stmt *stmt)
{
    sqlite3_reset(stmt->statement);
    sqlite3_clear_bindings(stmt->statement);
}

static const struct poly_sql_engine engine = {.kind = POLY_SQLITE,
                                              .exec = engine_exec,
                                              .roll_back = engine_roll_back,
                                              .in_transaction = engine_in_transaction,
                                              .interrupt = engine_interrupt,
                                              .open = stmt_open,
                                              .bind = stmt_bind,
                                              .row = stmt_row,
                                              .changes = stmt_changes,
                                              .column = stmt_column,
                                              .close = stmt_close};

/* --- one file --- */

struct poly_sqlite {
    char *path;
    poly_sqlite_setup *setup;
    void *setup_arg;
    struct poly_db *writer;
    pthread_mutex_t lock;
    _Atomic(uint32_t *) index; /* the WAL's, in shared memory; NULL: not mapped yet */
    struct connection *idle;   /* readers that wait for use */
    unsigned idle_count;
    _Atomic unsigned settled; /* times: a snapshot from before the last is not kept */
};

enum poly_status poly_sqlite_open(const char *path, enum poly_db_mode mode,
                                  poly_sqlite_setup *setup, void *arg, struct poly_sqlite **file,
                                  struct poly_error *err)
{
    struct poly_sqlite *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    pthread_mutex_init(&self->lock, NULL);
    self->setup = setup;
    self->setup_arg = arg;
    self->path = strdup(path);
    status =
        self->path == NULL ? poly_no_memory(err) : poly_db_open(path, mode, &self->writer, err);
    if (status == POLY_OK && setup != NULL)
        status = setup(self->writer, arg, err);
    if (status != POLY_OK) {
        poly_sqlite_close(self);
        return status;
    }
    *file = self;
    return POLY_OK;
}

void poly_sqlite_close(struct poly_sqlite *file)
{
    if (file == NULL)
        return;
    poly_sqlite_trim(file);
    poly_db_close(file->writer);
    pthread_mutex_destroy(&file->lock);
    free(file->path);
    free(file);
}

const char *poly_sqlite_path(const struct poly_sqlite *file)
{
    return file->path;
}

struct poly_db *poly_sqlite_writer(struct poly_sqlite *file)
{
    return file->writer;
}

/* --- snapshots that outlive a read --- */

/* The writer's connection keeps the mapping as long as the file is open. */
static void map_index(struct poly_sqlite *file, sqlite3 *db)
{
    void volatile *region = NULL;
    sqlite3_file *main = NULL;

    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &main) == SQLITE_OK &&
        main != NULL && main->pMethods != NULL && main->pMethods->iVersion >= 2 &&
        main->pMethods->xShmMap(main, 0, STATE_REGION, 0, &region) == SQLITE_OK)
        atomic_store(&file->index, (uint32_t *)(uintptr_t)region);
}

static void look(const struct poly_sqlite *file, struct state *state)
{
    const uint32_t *index = atomic_load_explicit(&file->index, memory_order_acquire);

    state->known = index != NULL;
    for (int i = 0; i < STATE_WORDS && index != NULL; i++)
        state->words[i] = __atomic_load_n(&index[i], __ATOMIC_ACQUIRE);
}

/* Has nothing been committed since? */
static bool unchanged(const struct poly_sqlite *file, const struct state *state)
{
    struct state now;

    if (!state->known)
        return false;
    look(file, &now);
    return now.known && memcmp(now.words, state->words, sizeof(now.words)) == 0;
}

/* False: a statement or the lack of memory keeps it open, and the reader cannot be used again. */
static bool end_snapshot(struct connection *reader)
{
    static const char commit[] = "COMMIT";
    struct poly_error ignored;

    if (reader->snapshot)
        (void)poly_db_run(&reader->base, commit, &ignored);
    reader->snapshot = false;
    poly_db_roll_back(&reader->base);
    return sqlite3_txn_state(reader->handle, NULL) == SQLITE_TXN_NONE;
}

static struct connection *pop(struct poly_sqlite *file)
{
    struct connection *reader;

    pthread_mutex_lock(&file->lock);
    reader = file->idle;
    if (reader != NULL) {
        file->idle = reader->next;
        file->idle_count--;
    }
    pthread_mutex_unlock(&file->lock);
    return reader;
}

static void push(struct poly_sqlite *file, struct connection *reader)
{
    bool room;

    pthread_mutex_lock(&file->lock);
    room = file->idle_count < POLY_MAX_READERS;
    if (room) {
        reader->next = file->idle;
        file->idle = reader;
        file->idle_count++;
    }
    pthread_mutex_unlock(&file->lock);
    if (!room)
        poly_db_close(&reader->base);
}

static struct poly_db *open_reader(struct poly_sqlite *file, struct poly_error *err)
{
    struct poly_db *reader;

    if (poly_db_open(file->path, POLY_DB_READ, &reader, err) != POLY_OK)
        return NULL;
    if (file->setup != NULL && file->setup(reader, file->setup_arg, err) != POLY_OK) {
        poly_db_close(reader);
        return NULL;
    }
    return reader;
}

struct poly_db *poly_sqlite_take(struct poly_sqlite *file, struct poly_error *err)
{
    struct connection *idle = pop(file);

    if (idle != NULL && (!idle->snapshot || end_snapshot(idle)))
        return &idle->base;
    if (idle != NULL)
        poly_db_close(&idle->base);
    return open_reader(file, err);
}

struct poly_db *poly_sqlite_snapshot(struct poly_sqlite *file, bool needed, struct poly_error *err)
{
    static const char begin[] = "BEGIN";
    struct connection *idle = pop(file);
    struct poly_db *reader;
    bool again;

    if (idle != NULL && idle->snapshot && unchanged(file, &idle->state))
        return &idle->base;
    if (idle != NULL && idle->snapshot && !end_snapshot(idle)) {
        poly_db_close(&idle->base);
        idle = NULL;
    }
    reader = idle != NULL ? &idle->base : open_reader(file, err);
    if (reader == NULL)
        return NULL;
    if (atomic_load_explicit(&file->index, memory_order_relaxed) == NULL)
        map_index(file, of(reader)->handle);
    of(reader)->settled = atomic_load(&file->settled);
    again = unchanged(file, &of(reader)->state);
    look(file, &of(reader)->state);
    if (!needed && !again) /* one statement alone costs less */
        return reader;
    if (poly_db_run(reader, begin, err) == POLY_OK) {
        of(reader)->snapshot = true;
        return reader;
    }
    (void)poly_sqlite_give(file, reader);
    return NULL;
}

bool poly_sqlite_give(struct poly_sqlite *file, struct poly_db *reader)
{
    struct connection *self = reader == NULL ? NULL : of(reader);
    bool keeps = self != NULL && self->snapshot && poly_db_in_transaction(reader) &&
                 self->settled == atomic_load(&file->settled) && unchanged(file, &self->state);

    if (self == NULL)
        return false;
    /* Its COMMIT may fail: whoever takes it next must not get its snapshot. */
    if (keeps || end_snapshot(self))
        push(file, self);
    else
        poly_db_close(reader);
    return keeps;
}

void poly_sqlite_settle(struct poly_sqlite *file)
{
    struct connection *idle, *next;

    atomic_fetch_add(&file->settled, 1);
    pthread_mutex_lock(&file->lock);
    idle = file->idle;
    file->idle = NULL;
    file->idle_count = 0;
    pthread_mutex_unlock(&file->lock);
    for (; idle != NULL; idle = next) {
        next = idle->next;
        if (!idle->snapshot || end_snapshot(idle))
            push(file, idle);
        else
            poly_db_close(&idle->base);
    }
}

void poly_sqlite_trim(struct poly_sqlite *file)
{
    struct connection *idle, *next;

    pthread_mutex_lock(&file->lock);
    idle = file->idle;
    file->idle = NULL;
    file->idle_count = 0;
    pthread_mutex_unlock(&file->lock);
    for (; idle != NULL; idle = next) {
        next = idle->next;
        poly_db_close(&idle->base);
    }
}
