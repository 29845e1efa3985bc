/*
 * Our tables on the server: schema poly, made and upgraded by numbered steps,
 * one daemon at a time, each step in a transaction of its own.
 *
 * Positions. A position is a number of one sequence, so it is known inside the
 * writing transaction and costs no round trip of its own. But commit order is
 * not sequence order: whoever reads up to the highest number it sees would
 * skip what commits later with a lower one. So each transaction that writes to
 * the log first takes a shared advisory lock whose number is the sequence's
 * value at that moment: all its positions will lie above. poly.horizon() reads
 * the sequence, then the locks: the lowest of them is the position below which
 * nothing will appear any more. A writer that took its lock later draws its
 * numbers later, too; one that has none any more has ended, and a snapshot
 * taken after that sees what it did. Of what lies below, the last record is as
 * far as readers go: a number that was drawn and not committed may be drawn
 * again after a crash, which the sequence survives only as far as commits have
 * taken it to disk. Nobody waits for anybody: shared locks do
 * not conflict, and only transactions that write to the log are waited for.
 *
 * The lock is taken by a statement trigger before the statement draws its first
 * number, whoever inserts: our functions, the triggers of domains' tables, or a
 * stranger. A setting that lasts as long as the transaction (and goes with a
 * savepoint, as the lock does) remembers that it is done.
 *
 * Notifications. NOTIFY serialises the commits of those who notify. So only one
 * transaction at a time does: the one that got a lock nobody waits for. The
 * others need not: whoever is told looks at the locks, sees them still writing,
 * and looks again until none is (watch.c). When the one that would have told
 * rolls back, the others' records wait for the watch's next look of its own.
 */
#include <string.h>

#include "base/random.h"
#include "owners/postgresql/inside.h"
#include "owners/postgresql/postgresql.h"

enum { FORMAT = 12 };

static const char first[] =
    "CREATE SCHEMA IF NOT EXISTS poly;"
    "CREATE TABLE IF NOT EXISTS poly.format(step int PRIMARY KEY, time timestamptz NOT NULL"
    " DEFAULT now());";

static const char tables[] =
    "CREATE TABLE poly.meta(name text PRIMARY KEY, value bytea, number bigint);"
    "CREATE SEQUENCE poly.log_position AS bigint;"
    "CREATE TABLE poly.log("
    " position bigint PRIMARY KEY DEFAULT nextval('poly.log_position')"
    "  CHECK (position > 0 AND position < 4611686018427387904),"
    " txn bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),"
    " tenant text COLLATE \"C\" NOT NULL DEFAULT '',"
    " domain text COLLATE \"C\" NOT NULL,"
    " key text COLLATE \"C\" NOT NULL,"
    " version bigint,"
    " type text COLLATE \"C\" NOT NULL,"
    " time bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
    " data json," /* not jsonb: what was appended is what is read, to the byte */
    " bytes bytea,"
    " meta text,"
    " salt bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()));"
    /* An event has a version, a change of a record has none: each is in one of these. */
    "CREATE UNIQUE INDEX log_stream ON poly.log(key, domain, tenant, version)"
    " WHERE version IS NOT NULL;"
    "CREATE INDEX log_record ON poly.log(key, domain, tenant, position) WHERE version IS NULL;"
    "CREATE INDEX log_domain ON poly.log(domain, position);"
    "CREATE INDEX log_type ON poly.log(type, position);"
    "CREATE TABLE poly.seal("
    " last bigint PRIMARY KEY, first bigint NOT NULL, leaves bytea NOT NULL, hash bytea NOT NULL);"
    "CREATE TABLE poly.idempotency("
    " tenant text COLLATE \"C\" NOT NULL, key text COLLATE \"C\" NOT NULL, digest bytea NOT NULL,"
    " result bytea NOT NULL, time bigint NOT NULL, PRIMARY KEY (tenant, key));"
    "CREATE INDEX idempotency_time ON poly.idempotency(time);"
    "CREATE TABLE poly.subscription("
    " tenant text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL,"
    " position bigint NOT NULL, PRIMARY KEY (tenant, name));"
    "CREATE TABLE poly.projection("
    " store text PRIMARY KEY, generation bigint NOT NULL, previous bigint NOT NULL DEFAULT 0,"
    " building bigint NOT NULL DEFAULT 0, stopped bigint NOT NULL DEFAULT 0,"
    " position bigint NOT NULL DEFAULT 0, reason text NOT NULL DEFAULT '',"
    " time bigint NOT NULL DEFAULT 0, setup bytea NOT NULL DEFAULT '');"
    "CREATE TABLE poly.skip("
    " store text NOT NULL, position bigint NOT NULL, reason text NOT NULL, error text NOT NULL,"
    " by text NOT NULL, time bigint NOT NULL, PRIMARY KEY (store, position));"
    "CREATE TABLE poly.key("
    " id text COLLATE \"C\" PRIMARY KEY, hash bytea NOT NULL, label text NOT NULL,"
    " tenant text NOT NULL, rights bigint NOT NULL, created bigint NOT NULL,"
    " expires bigint NOT NULL, revoked bigint NOT NULL);";

#define LOG_TRIGGERS                                                                               \
    "CREATE OR REPLACE TRIGGER log_begin BEFORE INSERT ON poly.log FOR EACH STATEMENT"             \
    " EXECUTE FUNCTION poly.log_begin();"                                                          \
    "ALTER TABLE poly.log ENABLE ALWAYS TRIGGER log_begin;"                                        \
    "CREATE OR REPLACE TRIGGER log_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON poly.log"         \
    " FOR EACH STATEMENT EXECUTE FUNCTION poly.log_refuse();"                                      \
    "ALTER TABLE poly.log ENABLE ALWAYS TRIGGER log_refuse;"

/* 1886350457 is "poly" in ASCII; 1886350458 is who notifies, and so on: see inside.h. */
static const char functions[] =
    "CREATE FUNCTION poly.log_begin() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog"
    " AS $$BEGIN"
    " IF current_setting('poly.begun', true) IS DISTINCT FROM pg_current_xact_id()::text THEN"
    "  PERFORM pg_advisory_xact_lock_shared(1886350457,"
    "   (((CASE WHEN is_called THEN last_value ELSE 0 END) & 4294967295)"
    "    - ((last_value & 2147483648) << 1))::int)"
    "   FROM poly.log_position;"
    "  IF pg_try_advisory_xact_lock(1886350458, 0) THEN PERFORM pg_notify('poly', ''); END IF;"
    "  PERFORM set_config('poly.begun', pg_current_xact_id()::text, true);"
    " END IF;"
    " RETURN NULL;"
    " END$$;"
    "CREATE FUNCTION poly.log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
    " IF TG_OP = 'DELETE' AND current_setting('poly.retaining', true) = 'on' THEN RETURN NULL;"
    " END IF;"
    " RAISE EXCEPTION 'the log is append-only' USING ERRCODE = 'PL002';"
    " END$$;" LOG_TRIGGERS
    /* safe: nothing will appear at or below it; last: drawn by now; writing: transactions that
     * hold it up, and the backend of the oldest. */
    "CREATE FUNCTION poly.horizon(OUT safe bigint, OUT last bigint, OUT writing bigint,"
    " OUT backend int) LANGUAGE plpgsql SET search_path = pg_catalog AS $$BEGIN"
    " SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO last FROM poly.log_position;"
    /* The lock has the lower 32 bits; a distance over 2^31 is a writer that came after last. */
    " SELECT count(*), min(last - d), (array_agg(pid ORDER BY d DESC))[1]"
    "  INTO writing, safe, backend"
    "  FROM (SELECT pid, (last - (objid::bigint)) & 4294967295 AS d FROM pg_locks"
    "   WHERE locktype = 'advisory' AND classid = 1886350457 AND objsubid = 2"
    "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    "   AND granted) AS l WHERE d < 2147483648;"
    " safe := coalesce((SELECT max(position) FROM poly.log"
    "  WHERE position <= least(coalesce(safe, last), last)), 0);"
    " END$$;"
    /* Appends to a stream, and answers with the last position and version. expected: -1 any,
     * 0 none, or the version. */
    "CREATE FUNCTION poly.append(a_tenant text, a_domain text, a_key text, a_expected bigint,"
    " a_types text[], a_data text[], a_bytes bytea[], a_meta text[],"
    " OUT o_position bigint, OUT o_version bigint) LANGUAGE plpgsql AS $$"
    "DECLARE v bigint; BEGIN"
    " IF a_expected < 0 THEN"
    "  PERFORM pg_advisory_xact_lock(1886350459,"
    "   hashtext(a_tenant || chr(1) || a_domain || chr(1) || a_key) & 1023);"
    " END IF;"
    " SELECT max(version) INTO v FROM poly.log WHERE key = a_key AND domain = a_domain"
    "  AND tenant = a_tenant AND version IS NOT NULL;"
    " v := coalesce(v, 0);"
    " IF a_expected >= 0 AND a_expected <> v THEN"
    "  RAISE EXCEPTION 'version' USING ERRCODE = 'PL001', DETAIL = v::text;"
    " END IF;"
    " WITH written AS (INSERT INTO poly.log(tenant, domain, key, version, type, data, bytes, meta)"
    "  SELECT a_tenant, a_domain, a_key, v + n, t, d::json, b, m"
    "  FROM unnest(a_types, a_data, a_bytes, a_meta) WITH ORDINALITY AS e(t, d, b, m, n)"
    "  ORDER BY n RETURNING position, version)"
    " SELECT max(position), max(version) INTO o_position, o_version FROM written;"
    " END$$;";

/*
 * For the relational store. What a statement finds is told by an error, because a pipeline goes on
 * after a result that is not liked. expect: the version of a record, when it is the expected one
 * (below 0: any). written: the key of the row that was changed, when there was one.
 */
static const char records[] =
    "CREATE FUNCTION poly.expect(a_exists boolean, a_version bigint, a_expected bigint)"
    " RETURNS bigint LANGUAGE plpgsql AS $$BEGIN"
    " IF a_expected >= 0 AND (CASE WHEN a_exists THEN a_expected = 0"
    "  OR a_version IS DISTINCT FROM a_expected ELSE a_expected > 0 END) THEN"
    "  RAISE EXCEPTION 'version' USING ERRCODE = 'PL001',"
    "   DETAIL = CASE WHEN a_exists THEN coalesce(a_version, 0)::text ELSE '-' END;"
    " END IF;"
    " RETURN CASE WHEN a_exists THEN coalesce(a_version, 0) ELSE 0 END;"
    " END$$;"
    "CREATE FUNCTION poly.written(a_key text) RETURNS text LANGUAGE plpgsql AS $$BEGIN"
    " IF a_key IS NULL THEN RAISE EXCEPTION 'no row' USING ERRCODE = 'PL003'; END IF;"
    " RETURN a_key;"
    " END$$;";

static const char leases[] =
    "CREATE UNLOGGED TABLE poly.lease("
    " tenant text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, holder text NOT NULL,"
    " ends timestamptz NOT NULL, PRIMARY KEY (tenant, name));";

/* Of use for a second or so: hence not logged. The room in its pages is for the next versions of
 * its rows, which change all the time. */
static const char usages[] =
    "CREATE UNLOGGED TABLE poly.usage(name text COLLATE \"C\" PRIMARY KEY, total bigint NOT NULL)"
    " WITH (fillfactor = 50);";

/*
 * Whose rows a tenant's SQL sees: a setting of the transaction, signed with a secret that the role
 * it runs as cannot read.
 */
static const char tenants[] =
    "INSERT INTO poly.meta(name, value) VALUES ('tenants',"
    " uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));"
    "CREATE FUNCTION poly.sign(a_tenant text) RETURNS text LANGUAGE plpgsql STABLE"
    " SET search_path = pg_catalog, pg_temp AS $$DECLARE k bytea; BEGIN"
    " SELECT value INTO STRICT k FROM poly.meta WHERE name = 'tenants';"
    " RETURN encode(sha256(k || sha256(k || convert_to(a_tenant, 'UTF8'))), 'hex');"
    " END$$;"
    "CREATE FUNCTION poly.be(a_tenant text) RETURNS void LANGUAGE plpgsql"
    " SET search_path = pg_catalog, pg_temp AS $$BEGIN"
    " PERFORM set_config('poly.tenant', poly.sign(a_tenant) || ':' || a_tenant, true);"
    " END$$;"
    "CREATE FUNCTION poly.tenant() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER"
    " SET search_path = pg_catalog, pg_temp AS $$"
    "DECLARE s text := current_setting('poly.tenant', true); BEGIN"
    " IF left(s, 64) = poly.sign(substr(s, 66)) THEN RETURN substr(s, 66); END IF;"
    " RETURN NULL;"
    " END$$;"
    "REVOKE ALL ON FUNCTION poly.sign(text) FROM PUBLIC;"
    "REVOKE ALL ON FUNCTION poly.be(text) FROM PUBLIC;";

/*
 * The same as in the first format, in half the time: an assignment is evaluated as it stands, where
 * PERFORM runs a statement. A search path of its own would cost as much, and protect nobody: it
 * runs with the rights of who inserts.
 */
static const char begin[] =
    "CREATE OR REPLACE FUNCTION poly.log_begin() RETURNS trigger LANGUAGE plpgsql AS $$"
    "DECLARE last bigint; done text; BEGIN"
    " IF pg_catalog.current_setting('poly.begun', true)"
    "  IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text THEN"
    "  last := coalesce(pg_catalog.pg_sequence_last_value('poly.log_position'::regclass), 0);"
    "  done := pg_catalog.pg_advisory_xact_lock_shared(1886350457,"
    "   ((last & 4294967295) - ((last & 2147483648) << 1))::int);"
    "  IF pg_catalog.pg_try_advisory_xact_lock(1886350458, 0) THEN"
    "   done := pg_catalog.pg_notify('poly', '');"
    "  END IF;"
    "  done := pg_catalog.set_config('poly.begun', pg_catalog.pg_current_xact_id()::text, true);"
    " END IF;"
    " RETURN NULL;"
    " END$$;";

/*
 * Eras: core/log.h says what for. The server's timeline is a new one whenever a standby takes over
 * (or a copy is restored up to a point in time). The first that writes there, or asks, moves
 * the sequence far ahead: nobody has drawn a number on that timeline before, for all look first.
 * The timeline on which this was made is era 0.
 */
static const char eras[] =
    "DO $do$ BEGIN EXECUTE format('CREATE FUNCTION poly.era() RETURNS bigint LANGUAGE sql"
    " AS $f$SELECT (''x'' || pg_catalog.left(pg_catalog.pg_walfile_name("
    "pg_catalog.pg_current_wal_insert_lsn()), 8))::bit(32)::bigint - %s$f$',"
    " ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint);"
    " END $do$;"
    "CREATE FUNCTION poly.turn() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER"
    " SET search_path = pg_catalog, pg_temp AS $$BEGIN"
    " IF NOT pg_is_in_recovery() AND"
    "  (SELECT last_value >> 40 FROM poly.log_position) < poly.era() THEN"
    "  PERFORM pg_advisory_xact_lock(1886350460, 1);"
    "  PERFORM setval('poly.log_position', poly.era() << 40) FROM poly.log_position"
    "   WHERE last_value >> 40 < poly.era();"
    " END IF;"
    " RETURN (SELECT last_value >> 40 FROM poly.log_position);"
    " END$$;"
    "CREATE OR REPLACE FUNCTION poly.log_begin() RETURNS trigger LANGUAGE plpgsql AS $$"
    "DECLARE last bigint; done text; BEGIN"
    " IF pg_catalog.current_setting('poly.begun', true)"
    "  IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text THEN"
    "  last := coalesce(pg_catalog.pg_sequence_last_value('poly.log_position'::regclass), 0);"
    "  IF last >> 40 < poly.era() THEN"
    "   done := poly.turn();"
    "   last := pg_catalog.pg_sequence_last_value('poly.log_position'::regclass);"
    "  END IF;"
    "  done := pg_catalog.pg_advisory_xact_lock_shared(1886350457,"
    "   ((last & 4294967295) - ((last & 2147483648) << 1))::int);"
    "  IF pg_catalog.pg_try_advisory_xact_lock(1886350458, 0) THEN"
    "   done := pg_catalog.pg_notify('poly', '');"
    "  END IF;"
    "  done := pg_catalog.set_config('poly.begun', pg_catalog.pg_current_xact_id()::text, true);"
    " END IF;"
    " RETURN NULL;"
    " END$$;"
    "CREATE OR REPLACE FUNCTION poly.horizon(OUT safe bigint, OUT last bigint, OUT writing bigint,"
    " OUT backend int) LANGUAGE plpgsql SET search_path = pg_catalog AS $$BEGIN"
    " SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO last FROM poly.log_position;"
    " SELECT count(*), min(last - d), (array_agg(pid ORDER BY d DESC))[1]"
    "  INTO writing, safe, backend"
    "  FROM (SELECT pid, (last - (objid::bigint)) & 4294967295 AS d FROM pg_locks"
    "   WHERE locktype = 'advisory' AND classid = 1886350457 AND objsubid = 2"
    "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    "   AND granted) AS l WHERE d < 2147483648;"
    " safe := greatest(coalesce((SELECT max(position) FROM poly.log"
    "  WHERE position <= least(coalesce(safe, last), last)), 0), (last >> 40) << 40);"
    " END$$;";

/* A server that began its timelines anew (pg_upgrade, a dump that was restored) is in the era in
 * which its log is, and the next one begins with its next timeline. */
static const char eras_again[] =
    "DO $do$ DECLARE e bigint := (SELECT last_value >> 40 FROM poly.log_position); BEGIN"
    " IF poly.era() < e THEN"
    "  EXECUTE format('CREATE OR REPLACE FUNCTION poly.era() RETURNS bigint LANGUAGE sql"
    " AS $f$SELECT (''x'' || pg_catalog.left(pg_catalog.pg_walfile_name("
    "pg_catalog.pg_current_wal_insert_lsn()), 8))::bit(32)::bigint - %s$f$',"
    " ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint - e);"
    " END IF; END $do$";

/* Materialised views: relation is the name that they are read by, shown the digest of what stands
 * under it, walled says that it shows a tenant his rows only. definition NULL: a migration has
 * taken it down. */
static const char views[] =
    "CREATE TABLE poly.view("
    " name text COLLATE \"C\" PRIMARY KEY, definition bytea, position bigint NOT NULL,"
    " refreshes bigint NOT NULL, time bigint NOT NULL, duration bigint NOT NULL,"
    " relation text, shown text, walled boolean NOT NULL DEFAULT false);";

/* The vectors that an embedder makes: see stores/vector/embedding_queue.h. */
static const char embedding[] =
    "CREATE TABLE poly.embedding("
    " domain text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL,"
    " tenant text COLLATE \"C\" NOT NULL, key text COLLATE \"C\" NOT NULL,"
    " state bigint NOT NULL, position bigint NOT NULL, hash bytea NOT NULL,"
    " attempts bigint NOT NULL, since bigint NOT NULL, error text NOT NULL,"
    " PRIMARY KEY (domain, name, tenant, key));"
    "CREATE INDEX embedding_open ON poly.embedding(domain, name, state, attempts, position)"
    " WHERE state > 0;"
    "CREATE TABLE poly.embedding_state("
    " domain text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL,"
    " shape bytea NOT NULL, position bigint NOT NULL, error text NOT NULL, time bigint NOT NULL,"
    " model text NOT NULL, dimensions bigint NOT NULL, PRIMARY KEY (domain, name));";

/*
 * Who follows the log sees whole transactions. Records of two that write at a time lie mixed, so
 * the horizon can cut one in two: some of its records below a writer's lock, or below the last
 * number that was read, and others above. So, going on from a_after, the horizon steps back until
 * no committed transaction lies on both sides. Where they overlap without end, it gives up after
 * a thousand positions: rather halves for a moment than to stand still.
 */
static const char whole[] =
    "DROP FUNCTION poly.horizon();"
    "CREATE FUNCTION poly.horizon(a_after bigint DEFAULT NULL, OUT safe bigint, OUT last bigint,"
    " OUT writing bigint, OUT backend int) LANGUAGE plpgsql SET search_path = pg_catalog AS $$"
    "DECLARE cut bigint; top bigint; low bigint; begun bigint; BEGIN"
    " SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO last FROM poly.log_position;"
    " SELECT count(*), min(last - d), (array_agg(pid ORDER BY d DESC))[1]"
    "  INTO writing, top, backend"
    "  FROM (SELECT pid, (last - (objid::bigint)) & 4294967295 AS d FROM pg_locks"
    "   WHERE locktype = 'advisory' AND classid = 1886350457 AND objsubid = 2"
    "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    "   AND granted) AS l WHERE d < 2147483648;"
    " top := least(coalesce(top, last), last);"
    " cut := top;"
    " IF a_after < top THEN"
    "  low := greatest(a_after, top - 1000);"
    "  FOR i IN 1 .. 20 LOOP"
    "   SELECT min(t.lo) INTO begun FROM (SELECT min(position) AS lo, max(position) AS hi"
    "    FROM poly.log WHERE position > low AND position <= top + 1000 GROUP BY txn) AS t"
    "    WHERE t.lo <= cut AND t.hi > cut;"
    "   EXIT WHEN begun IS NULL;"
    "   cut := begun - 1;"
    "  END LOOP;"
    "  IF begun IS NOT NULL OR (cut <= low AND cut < top) THEN"
    "   cut := CASE WHEN top - a_after < 1000 THEN a_after ELSE top END;"
    "  END IF;"
    "  IF cut < top THEN writing := greatest(writing, 1); END IF;"
    " END IF;"
    " safe := greatest(coalesce((SELECT max(position) FROM poly.log WHERE position <= cut), 0),"
    "  (last >> 40) << 40);"
    " END$$;";

/* A session without tenant is none of them: what has tenants is an error there, not empty. */
static const char nobody[] =
    "CREATE OR REPLACE FUNCTION poly.tenant() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER"
    " SET search_path = pg_catalog, pg_temp AS $$"
    "DECLARE s text := current_setting('poly.tenant', true); BEGIN"
    " IF s = 'nobody' THEN"
    "  RAISE EXCEPTION 'a session without tenant reads nothing that has tenants'"
    "   USING ERRCODE = 'insufficient_privilege';"
    " END IF;"
    " IF left(s, 64) = poly.sign(substr(s, 66)) THEN RETURN substr(s, 66); END IF;"
    " RETURN NULL;"
    " END$$;";

/*
 * core/model.h; what a change of model is filled with (stores/relational/model.c), each vector as
 * text of its column's type; and the question of whoever has written a vector that it took for one
 * of the present model: an error where another daemon has changed that since.
 */
static const char models[] =
    "CREATE TABLE poly.model("
    " domain text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, change bigint NOT NULL,"
    " model text NOT NULL, dimensions bigint NOT NULL, since bigint NOT NULL, upto bigint NOT NULL,"
    " PRIMARY KEY (domain, name, change));"
    "CREATE TABLE poly.model_next("
    " domain text COLLATE \"C\" NOT NULL, field text COLLATE \"C\" NOT NULL, model text NOT NULL,"
    " dimensions bigint NOT NULL, back bigint NOT NULL, time bigint NOT NULL,"
    " PRIMARY KEY (domain, field));"
    "CREATE TABLE poly.model_vector("
    " domain text COLLATE \"C\" NOT NULL, field text COLLATE \"C\" NOT NULL, old bigint NOT NULL,"
    " tenant text COLLATE \"C\" NOT NULL, key text COLLATE \"C\" NOT NULL, of bigint NOT NULL,"
    " vector text, PRIMARY KEY (domain, field, old, tenant, key));"
    "CREATE FUNCTION poly.models(a_domain text, a_expected bigint) RETURNS boolean"
    " LANGUAGE plpgsql AS $$BEGIN"
    " IF a_expected >= 0 AND a_expected <> coalesce((SELECT sum(c) FROM (SELECT max(change) AS c"
    "  FROM poly.model WHERE domain = a_domain GROUP BY name) AS n), 0) THEN"
    "  RAISE EXCEPTION 'model' USING ERRCODE = 'PL004';"
    " END IF;"
    " RETURN true;"
    " END$$;";

/* What an embedder has to do with a change of model: core/filling.h, core/model.h. */
static const char fillings[] =
    "CREATE TABLE poly.model_filling("
    " domain text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, field text NOT NULL,"
    " embedder text NOT NULL, model text NOT NULL, dimensions bigint NOT NULL,"
    " runs bigint NOT NULL, pause bigint NOT NULL, PRIMARY KEY (domain, name));"
    "CREATE TABLE poly.model_embedder("
    " domain text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, change bigint NOT NULL,"
    " embedder text NOT NULL, PRIMARY KEY (domain, name, change));";

/* What each format adds to the one before. */
static const char *const steps[FORMAT][2] = {
    {tables, functions}, {records}, {leases}, {tenants},   {begin},   {eras}, {views},
    {whole, nobody},     {usages},  {models}, {embedding}, {fillings}};

/* Somebody may have taken them away, as a restore with --disable-triggers does. */
static const char log_triggers_get[] =
    "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'poly.log'::regclass"
    " AND tgname IN ('log_begin', 'log_refuse') AND tgenabled = 'A'";
static const char log_triggers[] = LOG_TRIGGERS;

static const char format_get[] = "SELECT coalesce(max(step), 0)::bigint FROM poly.format";
static const char format_put[] = "INSERT INTO poly.format(step) VALUES ($1)";
/* One daemon at a time; released at the end of the transaction. */
static const char step_lock[] = "SELECT pg_advisory_xact_lock(1886350460, 0)";
static const char identity_put[] =
    "INSERT INTO poly.meta(name, value) VALUES ('instance', $1), ('secret', $2), ('epoch', $3)"
    " ON CONFLICT (name) DO NOTHING";
static const char identity_get[] = "SELECT (SELECT value FROM poly.meta WHERE name = 'instance'),"
                                   " (SELECT value FROM poly.meta WHERE name = 'secret'),"
                                   " (SELECT value FROM poly.meta WHERE name = 'epoch')";

static enum poly_status run_step(struct poly_pg *pg, int number, struct poly_error *err)
{
    struct poly_pg_params params;
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < 2 && status == POLY_OK && steps[number][i] != NULL; i++)
        status = poly_pg_exec(pg, steps[number][i], err);
    poly_pg_params(&params);
    poly_pg_add_int(&params, number + 1);
    return status == POLY_OK ? poly_pg_done(pg, format_put, &params, NULL, err) : status;
}

static enum poly_status read_number(struct poly_pg *pg, const char *sql, int64_t *number,
                                    struct poly_error *err)
{
    PGresult *result;
    enum poly_status status = poly_pg_run(pg, sql, NULL, &result, err);

    if (status != POLY_OK)
        return status;
    *number = poly_pg_int(result, 0, 0);
    PQclear(result);
    return POLY_OK;
}

static enum poly_status upgrade(struct poly_pg *pg, struct poly_error *err)
{
    int64_t number = 0, triggers = 0;
    enum poly_status status = poly_pg_done(pg, step_lock, NULL, NULL, err);

    if (status == POLY_OK)
        status = poly_pg_exec(pg, "SET LOCAL client_min_messages = warning", err);
    if (status == POLY_OK)
        status = poly_pg_exec(pg, first, err);
    if (status == POLY_OK)
        status = read_number(pg, format_get, &number, err);
    if (status == POLY_OK && number > FORMAT)
        return poly_fail(err, POLY_CORRUPT,
                         "the database has format %lld, this program knows up to %d: use a newer "
                         "program",
                         (long long)number, FORMAT);
    for (; status == POLY_OK && number < FORMAT; number++)
        status = run_step(pg, (int)number, err);
    if (status == POLY_OK)
        status = poly_pg_exec(pg, eras_again, err);
    if (status == POLY_OK)
        status = read_number(pg, log_triggers_get, &triggers, err);
    return status == POLY_OK && triggers < 2 ? poly_pg_exec(pg, log_triggers, err) : status;
}

static enum poly_status read_identity(struct poly_owner *owner, struct poly_pg *pg,
                                      struct poly_error *err)
{
    PGresult *result;
    enum poly_status status = poly_pg_run(pg, identity_get, NULL, &result, err);

    if (status != POLY_OK)
        return status;
    struct poly_text id = poly_pg_bytes(result, 0, 0), secret = poly_pg_bytes(result, 0, 1),
                     epoch = poly_pg_bytes(result, 0, 2);

    if (id.size == sizeof(owner->id) && secret.size == sizeof(owner->secret) && epoch.size == 4) {
        const uint8_t *e = (const uint8_t *)epoch.data;

        memcpy(owner->id, id.data, id.size);
        memcpy(owner->secret, secret.data, secret.size);
        owner->epoch =
            (uint32_t)e[0] | (uint32_t)e[1] << 8 | (uint32_t)e[2] << 16 | (uint32_t)e[3] << 24;
    } else {
        status = poly_fail(err, POLY_CORRUPT, "poly.meta: who the instance is has been damaged");
    }
    PQclear(result);
    return status;
}

/* Of the instance: whoever comes first says who it is. */
static enum poly_status identify(struct poly_owner *owner, struct poly_pg *pg,
                                 struct poly_error *err)
{
    static const uint8_t epoch[4] = {1, 0, 0, 0};
    struct poly_pg_params params;
    enum poly_status status;

    poly_random(owner->id, sizeof(owner->id));
    poly_random(owner->secret, sizeof(owner->secret));
    poly_pg_params(&params);
    poly_pg_add_bytes(&params, owner->id, sizeof(owner->id));
    poly_pg_add_bytes(&params, owner->secret, sizeof(owner->secret));
    poly_pg_add_bytes(&params, epoch, sizeof(epoch));
    status = poly_pg_done(pg, identity_put, &params, NULL, err);
    return status == POLY_OK ? read_identity(owner, pg, err) : status;
}

enum poly_status poly_postgresql_schema(struct poly_owner *owner, struct poly_pg *pg,
                                        struct poly_error *err)
{
    enum poly_status status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);

    if (status == POLY_OK)
        status = upgrade(pg, err);
    if (status == POLY_OK)
        status = identify(owner, pg, err);
    if (status == POLY_OK)
        status = poly_pg_commit(pg, err);
    else
        poly_pg_roll_back(pg);
    return status == POLY_OK ? POLY_OK : poly_fail_in(err, status, "schema poly");
}

enum poly_status poly_postgresql_make(struct poly_pg *pg, struct poly_error *err)
{
    struct poly_owner owner = {.driver = NULL}; /* who it is will be read again */

    return poly_postgresql_schema(&owner, pg, err);
}
