/*
 * What a session's SQL may say, found out before it is sent: one statement, that
 * begins with a word we know, calls functions of a list only, and names nothing
 * of ours and of the server's. It is the first wall; the roles and
 * policies of the server (postgresql_wall.c) and READ ONLY are the second.
 *
 * A word before a parenthesis is a call unless what stands before it says that it
 * names a table: INSERT INTO t(a), WITH t(a), AS t(a).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/status.h"
#include "stores/relational/postgresql_guard.h"
#include "stores/relational/postgresql_word.h"

/* Sorted. Words of the grammar that stand before a parenthesis, types with a length, functions
 * that answer from their arguments alone. */
static const char *const callable[] = {
    "abs",
    "acos",
    "acosh",
    "age",
    "all",
    "and",
    "any",
    "array",
    "array_agg",
    "array_append",
    "array_cat",
    "array_length",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_replace",
    "array_to_json",
    "array_to_string",
    "as",
    "ascii",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "between",
    "bit_and",
    "bit_length",
    "bit_or",
    "bool_and",
    "bool_or",
    "btrim",
    "by",
    "cardinality",
    "cast",
    "cbrt",
    "ceil",
    "ceiling",
    "char",
    "char_length",
    "character",
    "character_length",
    "chr",
    "clock_timestamp",
    "coalesce",
    "concat",
    "concat_ws",
    "conflict",
    "corr",
    "cos",
    "cosh",
    "cot",
    "count",
    "covar_pop",
    "covar_samp",
    "cube",
    "cume_dist",
    "current_time",
    "current_timestamp",
    "date_bin",
    "date_part",
    "date_trunc",
    "decimal",
    "decode",
    "degrees",
    "dense_rank",
    "distinct",
    "div",
    "else",
    "encode",
    "every",
    "except",
    "exists",
    "exp",
    "extract",
    "factorial",
    "filter",
    "first_value",
    "floor",
    "format",
    "from",
    "gcd",
    "gen_random_uuid",
    "greatest",
    "group",
    "grouping",
    "having",
    "in",
    "initcap",
    "intersect",
    "interval",
    "isfinite",
    "join",
    "json_agg",
    "json_array_elements",
    "json_array_elements_text",
    "json_array_length",
    "json_build_array",
    "json_build_object",
    "json_each",
    "json_each_text",
    "json_extract_path",
    "json_extract_path_text",
    "json_object",
    "json_object_agg",
    "json_object_keys",
    "json_strip_nulls",
    "json_typeof",
    "jsonb_agg",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_array_length",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "jsonb_object",
    "jsonb_object_agg",
    "jsonb_object_keys",
    "jsonb_path_exists",
    "jsonb_path_match",
    "jsonb_path_query",
    "jsonb_path_query_array",
    "jsonb_path_query_first",
    "jsonb_pretty",
    "jsonb_set",
    "jsonb_strip_nulls",
    "jsonb_typeof",
    "justify_days",
    "justify_hours",
    "justify_interval",
    "lag",
    "last_value",
    "lateral",
    "lcm",
    "lead",
    "least",
    "left",
    "length",
    "like",
    "limit",
    "ln",
    "localtime",
    "localtimestamp",
    "log",
    "log10",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "make_interval",
    "make_time",
    "make_timestamp",
    "make_timestamptz",
    "materialized",
    "max",
    "md5",
    "min",
    "mod",
    "mode",
    "not",
    "now",
    "nth_value",
    "ntile",
    "nullif",
    "numeric",
    "octet_length",
    "offset",
    "on",
    "or",
    "over",
    "overlaps",
    "overlay",
    "partition",
    "percent_rank",
    "percentile_cont",
    "percentile_disc",
    "phraseto_tsquery",
    "pi",
    "plainto_tsquery",
    "position",
    "power",
    "radians",
    "random",
    "rank",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_matches",
    "regexp_replace",
    "regexp_split_to_array",
    "regexp_split_to_table",
    "regexp_substr",
    "regr_count",
    "repeat",
    "replace",
    "returning",
    "reverse",
    "right",
    "rollup",
    "round",
    "row",
    "row_number",
    "row_to_json",
    "rpad",
    "rtrim",
    "select",
    "set",
    "sets",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sign",
    "similar",
    "sin",
    "sinh",
    "some",
    "split_part",
    "sqrt",
    "starts_with",
    "statement_timestamp",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "string_to_array",
    "string_to_table",
    "strpos",
    "substr",
    "substring",
    "sum",
    "tan",
    "tanh",
    "then",
    "time",
    "timestamp",
    "timestamptz",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsquery",
    "to_tsvector",
    "translate",
    "trim",
    "trim_array",
    "trunc",
    "ts_headline",
    "ts_rank",
    "ts_rank_cd",
    "union",
    "unnest",
    "upper",
    "using",
    "values",
    "var_pop",
    "var_samp",
    "varchar",
    "variance",
    "when",
    "where",
    "width_bucket",
    "with",
    "within",
};

/* What an administrator may look up of the server; nobody else sees any of it. */
static const char *const catalog[] = {
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_index",
    "pg_indexes",
    "pg_namespace",
    "pg_tables",
    "pg_type",
    "pg_stat_user_tables",
    "pg_stat_user_indexes",
    "pg_views",
    NULL,
};

struct looking {
    const char *sql;
    enum poly_guard_kind kind;
    struct poly_word token, before, earlier; /* this one, and the two before it */
    struct poly_error *err;
};

static int by_name(const void *word, const void *entry)
{
    return strcasecmp(word, *(const char *const *)entry);
}

static bool may_call(const char *name)
{
    return bsearch(name, callable, sizeof(callable) / sizeof(callable[0]), sizeof(callable[0]),
                   by_name) != NULL;
}

/* The token as a word, without quotes. Cut when long: no name of interest is. */
static void word_of(const struct poly_word *token, char *out, size_t size)
{
    bool quoted = token->kind == POLY_WORD_NAME;

    snprintf(out, size, "%.*s", (int)(token->size - 2 * quoted), token->at + quoted);
}

static bool is_sign(const struct poly_word *token, char sign)
{
    return token->kind == POLY_WORD_SIGN && *token->at == sign;
}

static enum poly_status denied(const struct looking *l, const struct poly_word *token,
                               const char *why)
{
    return poly_fail_at(l->err, POLY_DENIED, (int)(token->at - l->sql), "SQL: '%.*s' %s",
                        (int)(token->size < 60 ? token->size : 60), token->at, why);
}

static bool names_table(const struct looking *l)
{
    const struct poly_word *before = &l->earlier;

    return poly_word_is(before, "INTO") || poly_word_is(before, "AS") ||
           poly_word_is(before, "WITH") || poly_word_is(before, "RECURSIVE");
}

/* Before this parenthesis stands a name. */
static enum poly_status check_call(const struct looking *l)
{
    char name[80];

    if (l->before.kind == POLY_WORD_NAME && !names_table(l))
        return denied(l, &l->before, "cannot be called");
    if (l->before.kind != POLY_WORD_PLAIN || names_table(l))
        return POLY_OK;
    word_of(&l->before, name, sizeof(name));
    if (is_sign(&l->earlier, '.') || !may_call(name))
        return denied(l, &l->before, "is no function that SQL may call here");
    return POLY_OK;
}

static bool in_catalog(const char *name)
{
    for (size_t i = 0; catalog[i] != NULL; i++) {
        if (strcasecmp(catalog[i], name) == 0)
            return true;
    }
    return false;
}

/* Names of ours and of the server's. */
static enum poly_status check_name(const struct looking *l)
{
    bool admin = l->kind != POLY_GUARD_READ;
    char name[80];

    word_of(&l->token, name, sizeof(name));
    if (strcasecmp(name, "poly") == 0 || strncasecmp(name, "poly_", 5) == 0)
        return denied(l, &l->token, "is one of Polystore's own names");
    if (strcasecmp(name, "information_schema") == 0 && !admin)
        return denied(l, &l->token, "is the server's");
    if (strncasecmp(name, "pg_", 3) == 0 && strcasecmp(name, "pg_catalog") != 0 &&
        (!admin || !in_catalog(name)))
        return denied(l, &l->token, "is the server's");
    if (strcasecmp(name, "pg_catalog") == 0 && !admin)
        return denied(l, &l->token, "is the server's");
    /* 'name'::regclass and the like look a name up in the catalog. */
    if (strncasecmp(name, "reg", 3) == 0 && !admin &&
        (is_sign(&l->before, ':') || poly_word_is(&l->before, "AS")))
        return denied(l, &l->token, "is no type for SQL here");
    return POLY_OK;
}

/* SELECT INTO makes a table: that is not reading. */
static enum poly_status check_word(const struct looking *l)
{
    if (l->kind != POLY_GUARD_WRITE && poly_word_is(&l->token, "INTO"))
        return denied(l, &l->token, "is not allowed outside of a transaction");
    return POLY_OK;
}

static enum poly_status check_token(const struct looking *l)
{
    enum poly_status status = POLY_OK;

    if (l->token.kind == POLY_WORD_BROKEN)
        return poly_fail_at(l->err, POLY_INVALID, (int)(l->token.at - l->sql),
                            "SQL: a quote or comment has no end (U& is not allowed)");
    if (l->token.kind == POLY_WORD_TEXT && (l->token.at[0] == 'E' || l->token.at[0] == 'e'))
        return denied(l, &l->token, "is not allowed: bind texts as parameters");
    if (l->token.kind == POLY_WORD_PLAIN || l->token.kind == POLY_WORD_NAME)
        status = check_name(l);
    if (status == POLY_OK && l->token.kind == POLY_WORD_PLAIN)
        status = check_word(l);
    if (status == POLY_OK && is_sign(&l->token, '('))
        status = check_call(l);
    return status;
}

/* All others of the server: what begins with none is no SQL. */
static const char *const commands[] = {
    "ABORT",    "ALTER",    "ANALYZE",  "BEGIN",     "CALL",     "CHECKPOINT", "CLOSE",   "CLUSTER",
    "COMMENT",  "COMMIT",   "COPY",     "CREATE",    "DECLARE",  "DEALLOCATE", "DISCARD", "DO",
    "DROP",     "END",      "EXECUTE",  "FETCH",     "GRANT",    "IMPORT",     "LISTEN",  "LOAD",
    "LOCK",     "MOVE",     "NOTIFY",   "PREPARE",   "REASSIGN", "REFRESH",    "REINDEX", "RELEASE",
    "RESET",    "REVOKE",   "ROLLBACK", "SAVEPOINT", "SECURITY", "SET",        "SHOW",    "START",
    "TRUNCATE", "UNLISTEN", "VACUUM",   NULL,
};

static enum poly_status check_first(const struct looking *l)
{
    static const char *const reads[] = {"SELECT", "VALUES", "WITH", "TABLE", NULL};
    static const char *const writes[] = {"INSERT", "UPDATE", "DELETE", "MERGE", NULL};

    if (l->token.kind == POLY_WORD_END)
        return poly_fail(l->err, POLY_INVALID, "SQL: there is no statement");
    for (size_t i = 0; reads[i] != NULL; i++) {
        if (poly_word_is(&l->token, reads[i]) || is_sign(&l->token, '('))
            return POLY_OK;
    }
    for (size_t i = 0; writes[i] != NULL; i++) {
        if (!poly_word_is(&l->token, writes[i]))
            continue;
        if (l->kind == POLY_GUARD_WRITE)
            return POLY_OK;
        return poly_fail(l->err, POLY_DENIED,
                         "SQL: outside of a transaction it only reads; write in one");
    }
    if (poly_word_is(&l->token, "EXPLAIN"))
        return l->kind == POLY_GUARD_ADMIN
                   ? POLY_OK
                   : poly_fail(l->err, POLY_DENIED, "SQL: EXPLAIN needs the right ADMIN");
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (poly_word_is(&l->token, commands[i]))
            return denied(l, &l->token, "begins no statement that SQL may run here");
    }
    return poly_fail_at(l->err, POLY_INVALID, (int)(l->token.at - l->sql),
                        "SQL: '%.*s' begins no statement",
                        (int)(l->token.size < 60 ? l->token.size : 60), l->token.at);
}

/* ?1 as PostgreSQL writes it: $1. *highest: of the parameters. */
static void translate(const struct looking *l, char *out, int *highest)
{
    const char *at = l->token.at;

    if (is_sign(&l->token, '?') && at[1] >= '0' && at[1] <= '9') {
        long number = strtol(at + 1, NULL, 10);

        out[at - l->sql] = '$';
        if (number > *highest)
            *highest = number > 100000 ? 100000 : (int)number;
    }
}

enum poly_status poly_guard_postgresql(const char *sql, enum poly_guard_kind kind, char *out,
                                       int *parameters, struct poly_error *err)
{
    struct looking l = {.sql = sql, .kind = kind, .err = err};
    enum poly_status status;

    memcpy(out, sql, strlen(sql) + 1);
    *parameters = 0;
    poly_word_first(&l.token, sql);
    status = check_first(&l);
    while (status == POLY_OK && l.token.kind != POLY_WORD_END) {
        struct poly_word next;

        status = check_token(&l);
        translate(&l, out, parameters);
        next = l.token;
        if (status != POLY_OK)
            break;
        poly_word_next(&next);
        if (is_sign(&l.token, ';')) {
            while (is_sign(&next, ';'))
                poly_word_next(&next);
            out[l.token.at - sql] = '\0';
            if (next.kind != POLY_WORD_END)
                return poly_fail_at(err, POLY_INVALID, (int)(next.at - sql),
                                    "SQL: one statement for each call; there is more after it");
        }
        l.earlier = l.before;
        l.before = l.token;
        l.token = next;
    }
    return status;
}
