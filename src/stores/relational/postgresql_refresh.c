/*
 * Tables are changed by others, too: by another daemon's migration, or by whoever may ALTER them.
 * One thread looks, and publishes what it finds: when another daemon tells of a migration,
 * when a request finds that its statements do not fit, and now and then. It compares a digest
 * of what the catalog says of the domains' tables, their partitions and our triggers on them:
 * one query that costs less than a read, and sees what an event trigger (which only a superuser
 * may make) would tell of.
 *
 * No request waits for that, and none goes wrong before it: the statements on a table name its
 * columns, and say how many there are (poly_postgresql_same_shape); what was made for another shape
 * fails, and is made anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "core/config.h"
#include "core/model.h"
#include "stores/relational/postgresql.h"

enum {
    BROKEN_US = 30000000, /* until a table that could not be put right is tried again */
    SYNC_US = 30000000,
    TRIES = 20,
    WAIT_US = 2000000, /* a request waits for no more */
    DIGEST = 32,
    ARENA_MAX = 4 * 1024 * 1024
};

_Atomic int64_t poly_control_refresh = 3000000;
_Atomic bool poly_control_told = true;

/* $1 the tables, as the configuration names them; of each its place, and the digest. What CREATE,
 * ALTER, ATTACH and GRANT do to them writes another row of one of these catalogs; what VACUUM and
 * ANALYZE do does not. */
static const char digest_get[] = "WITH d AS (SELECT i, " POLY_POSTGRESQL_NAMED(
    "n") "::oid AS oid"
         "  FROM unnest($1::text[]) WITH ORDINALITY AS t(n, i)),"
         " r AS (SELECT i, oid FROM d WHERE oid IS NOT NULL"
         "  UNION SELECT i, p.relid FROM d, pg_partition_tree(d.oid) AS p)"
         "SELECT i, md5(string_agg(x, ' ' ORDER BY x)) FROM"
         " (SELECT i, format('%s %s %s %s %s %s', oid, relkind, relnamespace, relname, "
         "relrowsecurity,"
         "   relacl) AS x FROM pg_class JOIN r USING (oid)"
         "  UNION ALL SELECT i, format('column %s %s %s', attrelid, attnum, a.xmin) FROM "
         "pg_attribute a"
         "   JOIN r ON attrelid = r.oid WHERE attnum > 0"
         "  UNION ALL SELECT i, format('default %s %s', adrelid, d.xmin) FROM pg_attrdef d"
         "   JOIN r ON adrelid = r.oid"
         "  UNION ALL SELECT i, format('type %s %s', t.oid, t.xmin) FROM"
         "   (SELECT DISTINCT i, atttypid FROM pg_attribute JOIN r ON attrelid = r.oid"
         "    WHERE attnum > 0) AS a JOIN pg_type t ON t.oid = atttypid"
         "  UNION ALL SELECT i, format('key %s %s', indexrelid, k.xmin) FROM pg_index k"
         "   JOIN r ON indrelid = r.oid WHERE indisprimary"
         "  UNION ALL SELECT i, format('trigger %s %s', t.oid, t.xmin) FROM pg_trigger t"
         "   JOIN r ON tgrelid = r.oid WHERE NOT tgisinternal"
         "  UNION ALL SELECT i, format('policy %s %s', p.oid, p.xmin) FROM pg_policy p"
         "   JOIN r ON polrelid = r.oid) AS c GROUP BY i";

/* $1 a table, $2 our triggers on it. */
static const char standing_get[] =
    "WITH r AS (SELECT $1::regclass::oid AS oid UNION SELECT relid FROM pg_partition_tree($1))"
    "SELECT (SELECT count(*) FROM pg_trigger t JOIN r ON t.tgrelid = r.oid"
    "  JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgname = ANY ($2) AND t.tgenabled = 'A'"
    "  AND p.pronamespace = 'poly'::regnamespace)"
    " = (SELECT count(*) FROM r) * cardinality($2::text[])";

struct watched {
    char digest[DIGEST + 1], now[DIGEST + 1]; /* of what was published; of what there is */
};

struct poly_refresher {
    struct poly_relational *relational;
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t asked, answered;
    uint64_t asks, answers;
    bool stopping;
    bool away; /* the server did not answer when it was asked last */

    /* The thread's own. */
    char mark[POLY_COLLECTIONS_MARK]; /* of the collections that were published */
    bool broken;                      /* a table could not be put right */
    struct watched *watched;          /* by the domains' numbers … */
    size_t room;                      /* … so many */
};

static struct poly_refresher *refresher_of(struct poly_relational *relational)
{
    return ((struct poly_postgresql_relational *)relational)->refresher;
}

/* --- looking --- */

enum poly_status poly_postgresql_standing(struct poly_db *db, const struct poly_table *table,
                                          bool *standing, struct poly_error *err)
{
    const struct poly_postgresql_table *self = poly_postgresql_table(table);
    char names[POLY_TRIGGER_EVENTS][POLY_TRIGGER_BYTES];
    struct poly_text texts[POLY_TRIGGER_EVENTS];
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    for (int event = 0; event < POLY_TRIGGER_EVENTS; event++) {
        poly_postgresql_trigger(names[event], "poly_", table->domain->name, event);
        texts[event] = poly_text(names[event]);
    }
    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(self->name));
    poly_pg_add_texts(&params, texts, POLY_TRIGGER_EVENTS);
    status = poly_pg_run(poly_pg_of(db), standing_get, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    *standing = poly_pg_bool(rows, 0, 0);
    PQclear(rows);
    return POLY_OK;
}

/* Those of today, for collections come and go: names, and their numbers. In the arena. */
static enum poly_status name_tables(struct poly_refresher *self, struct poly_arena *arena,
                                    struct poly_text **names, size_t **numbers, int *count,
                                    struct poly_error *err)
{
    const struct poly_config *config = self->relational->config;
    size_t all = poly_config_domains(config);
    struct watched *watched =
        all <= self->room ? self->watched : realloc(self->watched, all * sizeof(*watched));

    if (watched == NULL && all > 0)
        return poly_no_memory(err);
    if (all > self->room)
        memset(&watched[self->room], 0, (all - self->room) * sizeof(*watched));
    self->watched = watched;
    self->room = all > self->room ? all : self->room;
    *names = poly_arena_array(arena, all + 1, sizeof(**names));
    *numbers = poly_arena_array(arena, all + 1, sizeof(**numbers));
    if (*names == NULL || *numbers == NULL)
        return poly_no_memory(err);
    *count = 0;
    for (size_t i = 0; i < all; i++) {
        const struct poly_domain *domain = &config->domains[i];

        self->watched[i].now[0] = '\0';
        if (domain->table == NULL || !poly_domain_is_live(domain))
            continue;
        (*names)[*count] = poly_text(domain->table);
        (*numbers)[(*count)++] = i;
    }
    return POLY_OK;
}

static enum poly_status read_digests(struct poly_refresher *self, struct poly_pg *pg,
                                     struct poly_arena *arena, struct poly_error *err)
{
    struct poly_pg_params params;
    struct poly_text *names = NULL;
    size_t *numbers = NULL;
    PGresult *rows;
    int count = 0;
    enum poly_status status = name_tables(self, arena, &names, &numbers, &count, err);

    if (status != POLY_OK)
        return status;
    poly_pg_params(&params);
    poly_pg_add_texts(&params, names, count);
    status = poly_pg_run(pg, digest_get, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    for (int row = 0; row < PQntuples(rows); row++) {
        int64_t place = poly_pg_int(rows, row, 0);

        if (place >= 1 && place <= count)
            snprintf(self->watched[numbers[place - 1]].now, DIGEST + 1, "%s",
                     poly_pg_text(rows, row, 1).data);
    }
    PQclear(rows);
    return POLY_OK;
}

/* Those that have changed since they were published; in the arena. *any: some have. */
static enum poly_status compare(const struct poly_refresher *self, struct poly_arena *arena,
                                struct poly_sync_only *only, bool *any, struct poly_error *err)
{
    bool *changed = poly_arena_array(arena, self->room + 1, sizeof(*changed));

    if (changed == NULL)
        return poly_no_memory(err);
    *any = false;
    for (size_t i = 0; i < self->room; i++) {
        changed[i] = strcmp(self->watched[i].now, self->watched[i].digest) != 0;
        *any = *any || changed[i];
    }
    *only = (struct poly_sync_only){.changed = changed, .count = self->room};
    return POLY_OK;
}

static bool any_broken(const struct poly_relational *relational)
{
    const struct poly_schema *schema = atomic_load(&relational->schema);

    for (size_t i = 0; i < schema->count; i++) {
        if (schema->tables[i] != NULL && schema->tables[i]->status == POLY_UNAVAILABLE &&
            schema->tables[i]->exists)
            return true;
    }
    return false;
}

/* What a migration of ours publishes meanwhile is newer, and the catalog may change while it is
 * read: then everything is read again. */
static enum poly_status sync(struct poly_refresher *self, struct poly_db *db,
                             const struct poly_sync_only *only, struct poly_error *err)
{
    struct poly_schema *schema = NULL;
    enum poly_status status = POLY_OK;
    bool again = true;

    poly_pg_deadline(poly_pg_of(db), poly_clock_monotonic() + SYNC_US);
    for (int i = 0; again && i < TRIES; i++) {
        status = poly_relational_sync(self->relational, db, POLY_SYNC_AGAIN, only, &schema, err);
        again = status == POLY_OK ? !poly_relational_offer(self->relational, schema)
                                  : poly_pg_unfit(poly_pg_of(db));
        poly_pg_roll_back(poly_pg_of(db));
    }
    return again && status == POLY_OK ? poly_fail(err, POLY_UNAVAILABLE, "the tables never rest")
                                      : status;
}

/* Another daemon may have made our first collection, or the first that is searched. */
static enum poly_status use_stores(const struct poly_refresher *self, struct poly_error *err)
{
    struct poly_instance *instance = self->relational->instance;
    const struct poly_config *config = self->relational->config;
    bool any = false, searched = false;
    enum poly_status status = POLY_OK;

    for (size_t i = config->domain_count; i < poly_config_domains(config); i++) {
        const struct poly_domain *domain = &config->domains[i];

        any = any || poly_domain_is_live(domain);
        searched = searched || (poly_domain_is_live(domain) && domain->search.field_count > 0);
    }
    if (any)
        status = poly_instance_use(instance, "vector", err);
    return status == POLY_OK && searched ? poly_instance_use(instance, "search", err) : status;
}

/* The digests are read first: what changes after them is seen the next time. anyway: all is read.
 */
static enum poly_status look_through(struct poly_refresher *self, struct poly_db *db, bool anyway,
                                     struct poly_arena *arena, struct poly_error *err)
{
    char mark[POLY_COLLECTIONS_MARK] = "";
    struct poly_sync_only only;
    bool any = false, others;
    enum poly_status status = read_digests(self, poly_pg_of(db), arena, err);

    if (status == POLY_OK)
        status = poly_collections_mark(self->relational, db, mark, err);
    if (status == POLY_OK)
        status = compare(self, arena, &only, &any, err);
    others = strcmp(mark, self->mark) != 0;
    if (status != POLY_OK || (!anyway && !any && !others))
        return status;
    status = sync(self, db, anyway ? NULL : &only, err);
    if (status == POLY_OK && others)
        status = poly_models_look(self->relational->instance, err);
    if (status == POLY_OK) {
        for (size_t i = 0; i < only.count; i++)
            memcpy(self->watched[i].digest, self->watched[i].now, DIGEST + 1);
        memcpy(self->mark, mark, sizeof(mark));
    }
    self->broken = status != POLY_OK || any_broken(self->relational);
    return status;
}

static enum poly_status look(struct poly_refresher *self, bool anyway, struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(self->relational->instance);
    struct poly_arena *arena = poly_arena_new(ARENA_MAX);
    struct poly_db *db = arena == NULL ? NULL : owner->driver->take(owner, err);
    enum poly_status status = arena == NULL ? poly_no_memory(err)
                              : db == NULL  ? poly_failed(err)
                                            : look_through(self, db, anyway, arena, err);

    if (db != NULL)
        owner->driver->give(owner, db);
    poly_arena_free(arena);
    return status == POLY_OK ? use_stores(self, err) : status;
}

/* --- the thread --- */

static struct timespec after(int64_t us)
{
    int64_t at = poly_clock_monotonic() + us;

    return (struct timespec){at / 1000000, at % 1000000 * 1000};
}

/* With the lock: until somebody asks, or it is time. */
static void rest(struct poly_refresher *self)
{
    struct timespec until = after(atomic_load(&poly_control_refresh));

    while (!self->stopping && self->asks == self->answers) {
        if (pthread_cond_timedwait(&self->asked, &self->lock, &until) == ETIMEDOUT)
            break;
    }
}

static void *refresh(void *arg)
{
    struct poly_refresher *self = arg;
    int64_t tried = poly_clock_monotonic();

    pthread_mutex_lock(&self->lock);
    while (rest(self), !self->stopping) {
        bool anyway = self->broken && poly_clock_monotonic() - tried > BROKEN_US;
        uint64_t asks = self->asks;
        struct poly_error err;
        enum poly_status status;

        pthread_mutex_unlock(&self->lock);
        if (anyway)
            tried = poly_clock_monotonic();
        status = look(self, anyway, &err);
        pthread_mutex_lock(&self->lock);
        self->away = status != POLY_OK;
        self->answers = asks;
        pthread_cond_broadcast(&self->answered);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* On the thread that hears of it. */
static void told(void *arg)
{
    struct poly_refresher *self = arg;

    if (!atomic_load(&poly_control_told))
        return;
    pthread_mutex_lock(&self->lock);
    self->asks++;
    pthread_cond_signal(&self->asked);
    pthread_mutex_unlock(&self->lock);
}

void poly_postgresql_refresh(struct poly_relational *relational)
{
    struct poly_refresher *self = refresher_of(relational);
    struct timespec until = after(WAIT_US);
    uint64_t mine;
    int code = 0;

    if (self == NULL)
        return; /* it is being opened */
    pthread_mutex_lock(&self->lock);
    mine = ++self->asks;
    pthread_cond_signal(&self->asked);
    while (!self->away && !self->stopping && self->answers < mine && code == 0)
        code = pthread_cond_timedwait(&self->answered, &self->lock, &until);
    pthread_mutex_unlock(&self->lock);
}

/* --- start and stop --- */

static void condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum poly_status poly_postgresql_refresh_start(struct poly_relational *relational,
                                               struct poly_error *err)
{
    struct poly_refresher *self = calloc(1, sizeof(*self));

    if (self == NULL)
        return poly_no_memory(err);
    self->relational = relational;
    pthread_mutex_init(&self->lock, NULL);
    condition_init(&self->asked);
    condition_init(&self->answered);
    ((struct poly_postgresql_relational *)relational)->refresher = self;
    self->broken = any_broken(relational);
    if (pthread_create(&self->thread, NULL, refresh, self) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot start the thread that looks at tables");
    self->runs = true;
    pthread_setname_np(self->thread, "poly-tables");
    poly_postgresql_on_tables(poly_instance_postgresql(relational->instance), told, self);
    return POLY_OK;
}

void poly_postgresql_refresh_stop(struct poly_relational *relational)
{
    struct poly_refresher *self = refresher_of(relational);

    if (self == NULL)
        return;
    poly_postgresql_on_tables(poly_instance_postgresql(relational->instance), NULL, NULL);
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->asked);
    pthread_cond_broadcast(&self->answered);
    pthread_mutex_unlock(&self->lock);
    if (self->runs)
        pthread_join(self->thread, NULL);
    pthread_cond_destroy(&self->asked);
    pthread_cond_destroy(&self->answered);
    pthread_mutex_destroy(&self->lock);
    free(self->watched);
    free(self);
    ((struct poly_postgresql_relational *)relational)->refresher = NULL;
}
