/*
 * The statements of a migration, sent as they stand, in one transaction that is
 * ours: a file that would end it is refused before anything runs. Where the file
 * has ALTER or DROP, and names a domain's table, our triggers go from that table first,
 * because they name its columns; what the file changes is then found at its end by comparing
 * rows with the log.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/postgres_pool.h"
#include "stores/relational/postgresql.h"
#include "stores/relational/postgresql_word.h"

static const char sql_meta[] = "SELECT set_config('poly.meta', $1, true)";

/* --- no statement of it may end the transaction --- */

static bool ends_transaction(const struct poly_word *word)
{
    static const char *const words[] = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (poly_word_is(word, words[i]))
            return true;
    }
    return false;
}

/* Inside BEGIN ATOMIC … END of a function in SQL, statements are part of the function. */
static enum poly_status check(const char *text, struct poly_error *err)
{
    struct poly_word token, before = {.kind = POLY_WORD_END};
    bool first = true;
    int depth = 0;

    for (poly_word_first(&token, text); token.kind != POLY_WORD_END; poly_word_next(&token)) {
        if (token.kind == POLY_WORD_BROKEN)
            return poly_fail_at(err, POLY_INVALID, (int)(token.at - text),
                                "line %d: a quote or comment has no end",
                                poly_migrate_line(text, token.at));
        if (poly_word_is(&token, "ATOMIC") && poly_word_is(&before, "BEGIN"))
            depth = 1;
        else if (depth > 0 && poly_word_is(&token, "CASE"))
            depth++;
        else if (depth > 0 && poly_word_is(&token, "END"))
            depth--;
        else if (depth == 0 && first && ends_transaction(&token))
            return poly_fail(err, POLY_DENIED,
                             "line %d: '%.*s' would end the transaction in which the file runs",
                             poly_migrate_line(text, token.at), (int)token.size, token.at);
        first = depth == 0 && token.kind == POLY_WORD_SIGN && *token.at == ';';
        before = token;
    }
    return POLY_OK;
}

/* --- triggers --- */

/* Is it that name, which may be in quotes? */
static bool names_table(const struct poly_word *word, const char *name)
{
    bool quoted = word->kind == POLY_WORD_NAME;
    size_t size = strlen(name);

    if (*name == '"' && size > 2) {
        name++;
        size -= 2;
    }
    return (quoted || word->kind == POLY_WORD_PLAIN) && word->size - 2 * quoted == size &&
           strncasecmp(word->at + quoted, name, size) == 0;
}

bool poly_postgresql_mentions(const char *text, const char *name)
{
    const char *dot = strrchr(name, '.');
    struct poly_word word;
    bool reshapes = false, named = false;

    for (poly_word_first(&word, text); word.kind != POLY_WORD_END; poly_word_next(&word)) {
        reshapes = reshapes || poly_word_is(&word, "ALTER") || poly_word_is(&word, "DROP");
        named = named || names_table(&word, dot == NULL ? name : dot + 1);
    }
    return reshapes && named;
}

static enum poly_status detach(struct poly_relational *relational, struct poly_pg *pg,
                               const char *text, struct poly_error *err)
{
    const struct poly_schema *schema = atomic_load(&relational->schema);
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < schema->count && status == POLY_OK; i++) {
        const struct poly_table *table = schema->tables[i];

        if (table != NULL && table->exists && poly_postgresql_table(table)->bodies[0] != NULL &&
            poly_postgresql_mentions(text, poly_postgresql_table(table)->name))
            status = poly_postgresql_detach(pg, poly_postgresql_table(table), err);
    }
    return status == POLY_OK ? poly_postgresql_view_detach(pg, text, err) : status;
}

/* --- running --- */

/* Two runners at once: the second waits, and finds what the first has done. */
enum poly_status poly_postgresql_migrate_begin(struct poly_db *db, struct poly_text meta,
                                               struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(db);
    struct poly_pg_params params;
    enum poly_status status = poly_pg_exec(pg,
                                           "SELECT pg_advisory_xact_lock(1886350460, 1);"
                                           "SET LOCAL client_min_messages = warning",
                                           err);

    poly_pg_params(&params);
    poly_pg_add_text(&params, meta);
    return status == POLY_OK ? poly_pg_done(pg, sql_meta, &params, NULL, err) : status;
}

enum poly_status poly_postgresql_migrate_run(struct poly_relational *relational, struct poly_db *db,
                                             const char *text, struct poly_error *err)
{
    enum poly_status status = check(text, err);
    int position;

    if (status == POLY_OK)
        status = detach(relational, poly_pg_of(db), text, err);
    if (status != POLY_OK)
        return status;
    poly_pg_taint(poly_pg_of(db)); /* it may leave settings behind */
    status = poly_pg_exec(poly_pg_of(db), text, err);
    position = status == POLY_OK ? -1 : err->position;
    if (status == POLY_EXISTS)
        status = POLY_INVALID;
    if (status != POLY_OK && strcmp(poly_pg_state(poly_pg_of(db)), "25001") == 0)
        return poly_fail_in(err, status,
                            "a file that begins with '-- polystore: no transaction' may have it");
    if (status != POLY_OK && position >= 0 && (size_t)position <= strlen(text))
        return poly_fail_in(err, status, "line %d", poly_migrate_line(text, text + position));
    return status == POLY_OK ? POLY_OK : poly_fail_in(err, status, "the file");
}

enum poly_status poly_postgresql_migrate_end(struct poly_db *db, struct poly_error *err)
{
    /* the setting ends with the transaction */
    return poly_pg_done(poly_pg_of(db), poly_postgresql_tell_tables, NULL, NULL, err);
}
