#include "peer.h"

#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "polystore.h"

struct bench_peer {
    sqlite3 *handle;
    sqlite3_stmt *insert, *begin, *commit;
    uint64_t random;
    long first; /* versions of this run begin beyond those of the runs before */
};

static const char config[] = "domains:\n"
                             "  bench:\n"
                             "    stream: bench\n";
static const char pragmas[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                              "PRAGMA cache_size=-16384;";
static const char tables[] = "SELECT sql FROM ours.sqlite_schema WHERE tbl_name = 'poly_log'"
                             " AND type IN ('table', 'index') AND sql IS NOT NULL"
                             " ORDER BY type DESC";
static const char insert[] =
    "INSERT INTO poly_log(txn, tenant, domain, key, version, type, time, data, meta, salt)"
    " VALUES (?1, '', 'bench', ?2, ?3, 'Measured', ?4, ?5, NULL, ?6)";

struct poly_instance *bench_open(const char *folder)
{
    char data[4096];
    struct poly_options options = {.config_text = config, .data = data};
    struct poly_instance *instance;
    struct poly_error err;

    mkdir(folder, 0755);
    snprintf(data, sizeof(data), "%s/data", folder);
    BENCH_OK(poly_open(&options, &instance, &err));
    return instance;
}

static void check(struct bench_peer *peer, int code)
{
    if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        BENCH_DIE("plain SQLite: %s", sqlite3_errmsg(peer->handle));
}

static void exec(struct bench_peer *peer, const char *sql)
{
    check(peer, sqlite3_exec(peer->handle, sql, NULL, NULL, NULL));
}

static sqlite3_stmt *prepare(struct bench_peer *peer, const char *sql)
{
    sqlite3_stmt *statement;

    check(peer, sqlite3_prepare_v3(peer->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement,
                                   NULL));
    return statement;
}

static void copy_schema(struct bench_peer *peer, const char *folder)
{
    char *attach = sqlite3_mprintf("ATTACH '%q/data/polystore.db' AS ours", folder);
    sqlite3_stmt *all;
    char *made[16];
    int count = 0;

    exec(peer, attach);
    sqlite3_free(attach);
    all = prepare(peer, tables);
    while (sqlite3_step(all) == SQLITE_ROW && count < 16)
        made[count++] = sqlite3_mprintf("%s", sqlite3_column_text(all, 0));
    sqlite3_finalize(all);
    exec(peer, "DETACH ours");
    if (count < 2)
        BENCH_DIE("the log's table was not found");
    for (int i = 0; i < count; i++) {
        exec(peer, made[i]);
        sqlite3_free(made[i]);
    }
}

static long highest(struct bench_peer *peer)
{
    sqlite3_stmt *get = prepare(peer, "SELECT max(position) FROM poly_log");
    long number = sqlite3_step(get) == SQLITE_ROW ? (long)sqlite3_column_int64(get, 0) : 0;

    sqlite3_finalize(get);
    return number;
}

struct bench_peer *bench_peer_open(const char *folder)
{
    struct bench_peer *peer = calloc(1, sizeof(*peer));
    char path[4096];

    if (peer == NULL)
        BENCH_DIE("out of memory");
    snprintf(path, sizeof(path), "%s/peer.db", folder);
    peer->random = 88172645463325252ULL;
    if (sqlite3_open(path, &peer->handle) != SQLITE_OK)
        BENCH_DIE("%s: %s", path, sqlite3_errmsg(peer->handle));
    exec(peer, pragmas);
    sqlite3_stmt *known = prepare(peer, "SELECT 1 FROM sqlite_schema WHERE name = 'poly_log'");
    bool there = sqlite3_step(known) == SQLITE_ROW;

    sqlite3_finalize(known);
    if (!there)
        copy_schema(peer, folder);
    peer->first = highest(peer);
    peer->insert = prepare(peer, insert);
    peer->begin = prepare(peer, "BEGIN IMMEDIATE");
    peer->commit = prepare(peer, "COMMIT");
    return peer;
}

void bench_peer_close(struct bench_peer *peer)
{
    if (peer == NULL)
        return;
    sqlite3_finalize(peer->insert);
    sqlite3_finalize(peer->begin);
    sqlite3_finalize(peer->commit);
    sqlite3_close(peer->handle);
    free(peer);
}

static void run(struct bench_peer *peer, sqlite3_stmt *statement)
{
    check(peer, sqlite3_step(statement));
    check(peer, sqlite3_reset(statement));
}

void bench_peer_insert(struct bench_peer *peer, const char *key, long version, const char *text)
{
    uint64_t salt[2];
    struct timespec now;

    for (int i = 0; i < 2; i++) { /* as random as measuring asks for, and nearly free */
        peer->random ^= peer->random << 13;
        peer->random ^= peer->random >> 7;
        peer->random ^= peer->random << 17;
        salt[i] = peer->random;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    sqlite3_bind_int64(peer->insert, 1, version);
    sqlite3_bind_text(peer->insert, 2, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(peer->insert, 3, peer->first + version);
    sqlite3_bind_int64(peer->insert, 4, now.tv_sec * 1000000 + now.tv_nsec / 1000);
    sqlite3_bind_text(peer->insert, 5, text, -1, SQLITE_STATIC);
    sqlite3_bind_blob(peer->insert, 6, salt, sizeof(salt), SQLITE_STATIC);
    run(peer, peer->insert);
}

void bench_peer_begin(struct bench_peer *peer)
{
    run(peer, peer->begin);
}

void bench_peer_commit(struct bench_peer *peer)
{
    run(peer, peer->commit);
}

struct sqlite3 *bench_peer_handle(struct bench_peer *peer)
{
    return peer->handle;
}
