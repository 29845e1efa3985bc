/*
 * Taking our schemas out. Nothing is dropped with CASCADE: what somebody else has built upon
 * a table of ours is theirs, and is named instead.
 */
#include <string.h>

#include "base/buffer.h"
#include "owners/postgresql/inside.h"
#include "owners/postgresql/postgresql.h"

/* '@' is the schema. Names of materialised views stand elsewhere and read what is here: those that
 * do are ours, too. Views stand on tables, tables on functions and sequences. */
static const char drop[] =
    "DO $$DECLARE space oid := to_regnamespace('@'); kind \"char\"; what text; list text; BEGIN"
    " IF space IS NULL THEN RETURN; END IF;"
    " IF to_regclass('@.view') IS NOT NULL THEN"
    "  FOR list IN EXECUTE 'SELECT DISTINCT v.relation FROM @.view v JOIN pg_rewrite w"
    "    ON w.ev_class = to_regclass(v.relation) JOIN pg_depend d ON d.objid = w.oid"
    "    JOIN pg_class m ON m.oid = d.refobjid WHERE m.relnamespace = $1' USING space LOOP"
    "   EXECUTE 'DROP VIEW ' || list;"
    "  END LOOP;"
    " END IF;"
    " FOR kind, what IN VALUES ('v', 'VIEW'), ('m', 'MATERIALIZED VIEW'), ('r', 'TABLE'),"
    "  ('S', 'SEQUENCE') LOOP"
    "  SELECT string_agg(format('@.%I', relname), ', ') INTO list FROM pg_class"
    "   WHERE relnamespace = space AND relkind = kind;"
    "  IF list IS NOT NULL THEN EXECUTE format('DROP %s %s', what, list); END IF;"
    " END LOOP;"
    " SELECT string_agg(oid::regprocedure::text, ', ') INTO list FROM pg_proc"
    "  WHERE pronamespace = space;"
    " IF list IS NOT NULL THEN EXECUTE 'DROP FUNCTION ' || list; END IF;"
    " DROP SCHEMA @;"
    " END$$";

enum poly_status poly_postgresql_unmake(struct poly_pg *pg, void *schema, struct poly_error *err)
{
    struct poly_buffer sql;
    enum poly_status status;

    poly_buffer_init(&sql, 65536);
    for (const char *c = drop; *c != '\0'; c++) {
        if (*c == '@')
            poly_buffer_text(&sql, schema);
        else
            poly_buffer_char(&sql, *c);
    }
    status = poly_buffer_ok(&sql) ? poly_pg_exec(pg, sql.data, err) : poly_no_memory(err);
    poly_buffer_release(&sql);
    if (status != POLY_OK && strcmp(poly_pg_state(pg), "2BP01") == 0)
        return poly_fail(err, POLY_CONFLICT,
                         "schema %s stays: %.300s; drop that, then run it again",
                         (const char *)schema, poly_pg_detail(pg));
    return status;
}
