/* Plain helpers: what fails here is no finding, so it ends the test program at once. */
#include "lab.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "test set-up: %s: %s\n", what, why);
    abort();
}

/* --- folders --- */

void lab_folder_make(char path[LAB_PATH])
{
    const char *base = getenv("TMPDIR");

    if (base == NULL)
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, LAB_PATH, "%s/polystore-test-XXXXXX", base);
    if (mkdtemp(path) == NULL)
        give_up(path, "cannot make a folder");
}

void lab_folder_each(const char *folder, void (*visit)(const char *path, void *arg), void *arg)
{
    DIR *open = opendir(folder);
    struct dirent *entry;
    char path[LAB_PATH * 2];

    while (open != NULL && (entry = readdir(open)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%.255s", folder, entry->d_name);
        visit(path, arg);
    }
    if (open != NULL)
        closedir(open);
}

static void remove_entry(const char *path, void *arg)
{
    (void)arg;
    if (unlink(path) != 0)
        lab_folder_remove(path);
}

void lab_folder_remove(const char *path)
{
    lab_folder_each(path, remove_entry, NULL);
    rmdir(path);
}

static void copy_entry(const char *path, void *arg)
{
    static char bytes[65536];
    char to[LAB_PATH * 2];
    struct stat what;
    ssize_t size;
    int in, out;

    snprintf(to, sizeof(to), "%s/%s", (const char *)arg, strrchr(path, '/') + 1);
    if (stat(path, &what) == 0 && S_ISDIR(what.st_mode)) {
        lab_folder_copy(path, to);
        return;
    }
    in = open(path, O_RDONLY | O_CLOEXEC);
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (in < 0 || out < 0)
        give_up(to, "cannot copy a file");
    while ((size = read(in, bytes, sizeof(bytes))) > 0) {
        if (write(out, bytes, (size_t)size) != size)
            give_up(to, "cannot write");
    }
    close(in);
    close(out);
}

void lab_folder_copy(const char *from, const char *to)
{
    if (mkdir(to, 0700) != 0)
        lab_folder_each(to, remove_entry, NULL);
    lab_folder_each(from, copy_entry, (void *)to);
}

void lab_file_write(const char *folder, const char *name, const char *text)
{
    char path[LAB_PATH * 2];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "we");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        give_up(path, "cannot write");
}

/* --- instances --- */

enum poly_status lab_try_open(const char *data, const char *config, struct poly_instance **instance,
                              struct poly_error *err)
{
    struct poly_options options = {.data = data, .config_text = config};

    return poly_open(&options, instance, err);
}

struct poly_instance *lab_open(const char *data, const char *config)
{
    struct poly_instance *instance = NULL;
    struct poly_error err;

    if (lab_try_open(data, config, &instance, &err) != POLY_OK)
        give_up(data, err.message);
    return instance;
}

struct poly_session *lab_session(struct poly_instance *instance, const char *tenant)
{
    struct poly_session_options options = {.tenant = tenant, .rights = POLY_RIGHTS_ALL};
    struct poly_session *session = NULL;
    struct poly_error err;

    if (poly_session_open(instance, &options, &session, &err) != POLY_OK)
        give_up("session", err.message);
    return session;
}

enum poly_status lab_append(struct poly_session *session, const char *stream, int64_t expected,
                            int64_t number, struct poly_commit *commit, struct poly_error *err)
{
    struct poly_txn *txn;
    char data[64];
    struct poly_event event = {.type = "Counted"};
    enum poly_status status = poly_txn_begin(session, NULL, &txn, err);

    if (status != POLY_OK)
        return status;
    snprintf(data, sizeof(data), "{\"n\": %lld, \"text\": \"all counted\"}", (long long)number);
    event.data = poly_json(data);
    status = poly_append(txn, stream, expected, &event, 1, err);
    if (status == POLY_OK)
        return poly_txn_commit(txn, commit, err);
    poly_txn_abort(txn);
    return status;
}

uint64_t lab_stream_version(struct poly_session *session, const char *stream)
{
    struct poly_stream_query query = {.stream = stream, .backwards = true, .limit = 1};
    struct poly_records records;
    struct poly_error err;

    if (poly_stream_read(session, &query, &records, &err) != POLY_OK) {
        fprintf(stderr, "stream '%s': %s\n", stream, err.message);
        return UINT64_MAX;
    }
    return records.version;
}

/* --- is all well? --- */

static bool step(struct poly_session *session, bool *settled, char *why, size_t size)
{
    struct poly_status_report report;
    struct poly_error err;

    *settled = true;
    if (poly_status_read(session, &report, &err) != POLY_OK) {
        snprintf(why, size, "status: %s", err.message);
        return false;
    }
    for (size_t i = 0; i < report.projection_count; i++) {
        const struct poly_projection_status *p = &report.projections[i];

        if (p->state == POLY_STATE_STOPPED || p->state == POLY_STATE_FAILED) {
            snprintf(why, size, "%s: %s at %llu: %s", p->store.data, poly_state_name(p->state),
                     (unsigned long long)p->error_position, p->error.data);
            return false;
        }
        snprintf(why, size, "%s: %s, applied %llu of %llu, building %llu at %llu: %s",
                 p->store.data, poly_state_name(p->state), (unsigned long long)p->applied,
                 (unsigned long long)report.head, (unsigned long long)p->building,
                 (unsigned long long)p->building_applied, p->error.data);
        *settled = *settled && p->state == POLY_STATE_OK && p->applied >= report.head &&
                   p->building == 0;
    }
    if (report.sealed < report.head) {
        snprintf(why, size, "sealed up to %llu of %llu", (unsigned long long)report.sealed,
                 (unsigned long long)report.head);
        *settled = false;
    }
    return true;
}

bool lab_settled(struct poly_session *session, char *why, size_t size)
{
    bool settled = false;

    for (int i = 0; i < 5000 && !settled; i++) {
        if (!step(session, &settled, why, size))
            return false;
        poly_session_reset(session);
        if (!settled)
            nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    return settled;
}

uint64_t lab_verify(struct poly_session *session, char *why, size_t size)
{
    struct poly_verification verification;
    struct poly_error err;

    if (poly_log_verify(session, NULL, NULL, &verification, &err) != POLY_OK) {
        snprintf(why, size, "%s", err.message);
        return UINT64_MAX;
    }
    poly_session_reset(session);
    snprintf(why, size, "%s", verification.reason);
    return verification.bad_position;
}

/* --- another program --- */

static sqlite3 *foreign_open(const char *data)
{
    char path[LAB_PATH * 2];
    sqlite3 *db;

    snprintf(path, sizeof(path), "%s/polystore.db", data);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        give_up(path, sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 5000);
    return db;
}

int lab_foreign_sql(const char *data, const char *sql, char *why, size_t size)
{
    sqlite3 *db = foreign_open(data);
    char *message = NULL;
    int code = sqlite3_exec(db, sql, NULL, NULL, &message);

    if (size > 0)
        snprintf(why, size, "%s", message == NULL ? "" : message);
    sqlite3_free(message);
    sqlite3_close(db);
    return code;
}

int64_t lab_foreign_number(const char *data, const char *sql)
{
    sqlite3 *db = foreign_open(data);
    sqlite3_stmt *statement;
    int64_t number = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        give_up(sql, sqlite3_errmsg(db));
    if (sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

bool lab_is_like(const float *found, const float *wanted, size_t dimensions)
{
    double dot = 0, a = 0, b = 0;

    for (size_t i = 0; i < dimensions; i++) {
        dot += (double)found[i] * (double)wanted[i];
        a += (double)found[i] * (double)found[i];
        b += (double)wanted[i] * (double)wanted[i];
    }
    return dot / sqrt(a * b) > 0.99999;
}

bool lab_long(void)
{
    return getenv("POLY_TEST_LONG") != NULL || getenv("POLY_LONG") != NULL;
}
