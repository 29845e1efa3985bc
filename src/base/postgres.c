/*
 * Why connections are made step by step: a server behind a firewall that drops packets
 * answers nothing at all, and libpq's blocking connect knows whole seconds for each host
 * only. Here every address has its own time within the caller's deadline.
 *
 * Session settings travel in the startup packet, so they cost no round trip,
 * and RESET ALL brings them back, not the server's.
 */
#include "base/postgres.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/postgres_inside.h"

enum { OLDEST = 150000, CONNECT_MEMORY = 1024 * 1024, DOOMED = 64 * 1024 };

/* What all attempts of one call share. */
struct attempt {
    const struct poly_pg_target *target;
    struct poly_arena *arena;
    int64_t deadline;
    char tried[400]; /* each address, and why not */
    enum poly_status status;
};

static void note(struct attempt *attempt, enum poly_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void note(struct attempt *attempt, enum poly_status status, const char *format, ...)
{
    size_t used = strlen(attempt->tried), room = sizeof(attempt->tried) - used;
    va_list arguments;

    if (used > 0 && room > 3) {
        memcpy(attempt->tried + used, "; ", 3);
        used += 2;
        room -= 2;
    }
    va_start(arguments, format);
    vsnprintf(attempt->tried + used, room, format, arguments);
    va_end(arguments);
    attempt->status = status;
}

/* Drives the connection until it stands, fails, or the time is over. */
static PostgresPollingStatusType drive(PGconn *conn, int64_t deadline)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    if (PQstatus(conn) == CONNECTION_BAD)
        return PGRES_POLLING_FAILED;
    while (state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED) {
        struct pollfd ready = {PQsocket(conn), state == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                               0};
        int left = poly_pg_left(deadline);

        if (left == 0)
            break;
        if (poll(&ready, 1, left) > 0)
            state = PQconnectPoll(conn);
    }
    return state;
}

static void too_old(struct attempt *attempt, const char *where, PGconn *conn)
{
    const char *version = PQparameterStatus(conn, "server_version");

    version = version == NULL ? "" : version;
    note(attempt, POLY_UNSUPPORTED, "PostgreSQL %.*s at %s is older than 15",
         (int)strcspn(version, " "), version, where);
}

static void refused(struct attempt *attempt, const char *where, PGconn *conn)
{
    char state[6], words[200];

    poly_pg_words(PQerrorMessage(conn), state, words, sizeof(words));
    note(attempt, *state == '\0' ? POLY_UNAVAILABLE : poly_pg_status_of(state), "%s: %s", where,
         words);
}

/* NULL: why stands in the attempt. */
static PGconn *connect_to(struct attempt *attempt, const struct poly_pg_conninfo *info,
                          const char *where)
{
    int64_t begun = poly_clock_monotonic();
    int64_t end = begun + INT64_C(1000) * poly_pg_target_connect_ms(attempt->target);
    PGconn *conn = PQconnectStartParams(info->keywords, info->values, 0);
    PostgresPollingStatusType state;

    if (conn == NULL) {
        note(attempt, POLY_NO_MEMORY, "%s: out of memory", where);
        return NULL;
    }
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE); /* with the SQLSTATE */
    if (attempt->deadline >= 0 && attempt->deadline < end)
        end = attempt->deadline;
    state = drive(conn, end);
    if (state == PGRES_POLLING_OK && PQserverVersion(conn) >= OLDEST) {
        PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
        return conn;
    }
    if (state == PGRES_POLLING_OK)
        too_old(attempt, where, conn);
    else if (state == PGRES_POLLING_FAILED)
        refused(attempt, where, conn);
    else
        note(attempt, POLY_UNAVAILABLE, "%s: no answer within the time for connecting, %d ms",
             where, (int)((end - begun) / 1000));
    PQfinish(conn);
    return NULL;
}

static enum poly_status try_address(struct attempt *attempt, const struct poly_pg_address *address,
                                    const char *attrs, PGconn **conn, struct poly_error *err)
{
    struct poly_pg_conninfo info;
    enum poly_status status =
        poly_pg_target_conninfo(attempt->target, address, attrs, attempt->arena, &info, err);

    if (status != POLY_OK)
        return status;
    *conn = connect_to(attempt, &info, address->where);
    if (info.password != NULL)
        explicit_bzero(info.password, strlen(info.password));
    return POLY_OK;
}

/* All addresses once; *conn stays NULL when none fits. */
static enum poly_status try_all(struct attempt *attempt, const char *attrs, PGconn **conn,
                                char where[160], struct poly_error *err)
{
    struct poly_pg_address *addresses;
    int count;
    enum poly_status status =
        poly_pg_target_addresses(attempt->target, attempt->arena, &addresses, &count, err);

    for (int i = 0; status == POLY_OK && *conn == NULL && i < count; i++) {
        unsigned index = (poly_pg_target_first(attempt->target) + (unsigned)i) % (unsigned)count;

        if (i > 0 && poly_pg_left(attempt->deadline) == 0)
            break;
        status = try_address(attempt, &addresses[index], attrs, conn, err);
        if (*conn == NULL)
            continue;
        poly_pg_target_found(attempt->target, index);
        snprintf(where, 160, "%s", addresses[index].where);
    }
    return status;
}

static enum poly_status find_server(struct attempt *attempt, PGconn **conn, char where[160],
                                    struct poly_error *err)
{
    const char *attrs = poly_pg_target_attrs(attempt->target);
    bool prefer = attrs != NULL && strcmp(attrs, "prefer-standby") == 0;
    enum poly_status status;

    status = try_all(attempt, prefer ? "standby" : attrs, conn, where, err);
    if (status == POLY_OK && *conn == NULL && prefer) {
        attempt->tried[0] = '\0';
        status = try_all(attempt, "any", conn, where, err);
    }
    if (status != POLY_OK || *conn != NULL)
        return status;
    return poly_fail(err, attempt->status, "cannot connect to PostgreSQL: %s", attempt->tried);
}

/* The environment (PGTZ, PGDATESTYLE) goes before what the startup packet says. */
static enum poly_status configure(struct poly_pg *pg, struct poly_error *err)
{
    const char *zone = PQparameterStatus(pg->conn, "TimeZone");
    const char *dates = PQparameterStatus(pg->conn, "DateStyle");

    if (zone != NULL && strcmp(zone, "UTC") == 0 && dates != NULL && strncmp(dates, "ISO", 3) == 0)
        return POLY_OK;
    return poly_pg_exec(pg, "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'", err);
}

/* What servers have to say beside their answers is for nobody here, but for this: a commit that was
 * to wait for a standby, and was cancelled, is answered as one that is done. */
static void hear(void *arg, const PGresult *result)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    struct poly_pg *pg = arg;

    if (function != NULL && strcmp(function, "SyncRepWaitForLSN") == 0)
        pg->unsynced = true;
}

static enum poly_status open_on(struct poly_pg *pg, struct attempt *attempt, struct poly_error *err)
{
    enum poly_status status = find_server(attempt, &pg->conn, pg->where, err);

    if (status != POLY_OK)
        return status;
    PQsetNoticeReceiver(pg->conn, hear, pg);
    if (PQsetnonblocking(pg->conn, 1) != 0)
        return poly_no_memory(err);
    pg->encrypted = PQsslInUse(pg->conn) || PQgssEncInUse(pg->conn);
    pg->deadline = attempt->deadline;
    status = configure(pg, err);
    pg->deadline = -1;
    return status;
}

enum poly_status poly_pg_open(const struct poly_pg_target *target, int64_t deadline,
                              struct poly_pg **pg, struct poly_error *err)
{
    struct poly_pg *self = calloc(1, sizeof(*self));
    struct attempt attempt = {.target = target, .deadline = deadline, .status = POLY_UNAVAILABLE};
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    poly_buffer_init(&self->doomed, DOOMED);
    self->pipe.failed_at = self->pipe.commit_at = -1;
    self->deadline = -1;
    self->encoded.arena = poly_arena_new(POLY_MAX_TXN_BYTES * 2UL);
    attempt.arena = poly_arena_new(CONNECT_MEMORY);
    status = attempt.arena == NULL || self->encoded.arena == NULL ? poly_no_memory(err)
                                                                  : open_on(self, &attempt, err);
    poly_arena_free(attempt.arena);
    if (status != POLY_OK) {
        poly_pg_close(self);
        return status;
    }
    *pg = self;
    return POLY_OK;
}

void poly_pg_close(struct poly_pg *pg)
{
    if (pg == NULL)
        return;
    poly_pg_forget_all(pg);
    free(pg->cache);
    for (int i = 0; i < pg->pipe.early_count; i++)
        PQclear(pg->pipe.early[pg->pipe.early_first + i]);
    free(pg->pipe.early);
    free(pg->pipe.texts);
    PQfreemem(pg->notice);
    poly_buffer_release(&pg->doomed);
    poly_pg_encoded_release(&pg->encoded);
    PQfinish(pg->conn); /* NULL is accepted */
    free(pg);
}

PGconn *poly_pg_handle(struct poly_pg *pg)
{
    return pg->conn;
}

const char *poly_pg_where(const struct poly_pg *pg)
{
    return pg->where;
}

void poly_pg_deadline(struct poly_pg *pg, int64_t deadline)
{
    pg->deadline = deadline;
    pg->each = 0;
}

void poly_pg_patient(struct poly_pg *pg, int64_t each)
{
    pg->each = each;
}

bool poly_pg_standby(const struct poly_pg *pg)
{
    const char *standby = PQparameterStatus(pg->conn, "in_hot_standby");

    return standby != NULL && strcmp(standby, "on") == 0;
}
