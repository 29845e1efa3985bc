/*
 * SQLSTATE in our words. The classes of the standard are coarse, so a state is
 * looked up whole first, then by its class; what is worth another try is the
 * server's trouble (UNAVAILABLE), not the statement's (INVALID).
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/postgres_inside.h"

struct meaning {
    const char *state; /* five characters, or two: a class */
    enum poly_status status;
    bool temporary;
};

static const struct meaning meanings[] = {
    {"08", POLY_UNAVAILABLE, true}, /* connection */
    {"0A", POLY_UNSUPPORTED, false},
    {"23505", POLY_EXISTS, false},     /* unique */
    {"23P01", POLY_CONFLICT, false},   /* exclusion */
    {"25006", POLY_UNAVAILABLE, true}, /* read-only: a standby, or a server being switched over */
    {"25P03", POLY_TIMEOUT, true},     /* idle in transaction for too long */
    {"25P04", POLY_TIMEOUT, true},     /* transaction took too long */
    {"28", POLY_DENIED, false},        /* password, role */
    {"40", POLY_UNAVAILABLE, true},    /* serialization, deadlock */
    {"42501", POLY_DENIED, false},
    {"42P06", POLY_EXISTS, false}, /* schema, table, object: it is there already */
    {"42P07", POLY_EXISTS, false},
    {"42710", POLY_EXISTS, false},
    {"53400", POLY_LIMIT, false},
    {"53", POLY_UNAVAILABLE, true}, /* disk, memory, connections */
    {"54", POLY_LIMIT, false},
    {"55P03", POLY_UNAVAILABLE, true}, /* a lock that was not waited for */
    {"55006", POLY_UNAVAILABLE, true}, /* in use */
    {"57014", POLY_TIMEOUT, true},     /* cancelled */
    {"57", POLY_UNAVAILABLE, true},    /* stops, starts, crashes */
    {"58", POLY_UNAVAILABLE, true},    /* the system under it */
    {"P0002", POLY_NOT_FOUND, false},
    {"XX001", POLY_CORRUPT, false},
    {"XX002", POLY_CORRUPT, false},
    {"XX", POLY_UNAVAILABLE, false},
};

static const struct meaning *find(const char *state)
{
    const struct meaning *wide = NULL;

    for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++) {
        size_t size = strlen(meanings[i].state);

        if (strncmp(meanings[i].state, state, size) != 0)
            continue;
        if (size == 5)
            return &meanings[i];
        wide = &meanings[i];
    }
    return wide;
}

enum poly_status poly_pg_status_of(const char *state)
{
    const struct meaning *meaning = find(state);

    return meaning == NULL ? POLY_INVALID : meaning->status;
}

bool poly_pg_state_temporary(const char *state)
{
    const struct meaning *meaning = find(state);

    return meaning != NULL && meaning->temporary;
}

/* "28P01: words" of a verbose message. */
static bool take_state(const char *text, char state[6])
{
    for (int i = 0; i < 5; i++)
        if (!isdigit((unsigned char)text[i]) && !isupper((unsigned char)text[i]))
            return false;
    if (text[5] != ':' || text[6] != ' ')
        return false;
    memcpy(state, text, 5);
    state[5] = '\0';
    return true;
}

void poly_pg_words(const char *message, char state[6], char *words, size_t size)
{
    const char *text = message, *mark;
    size_t length;

    state[0] = '\0';
    mark = strstr(text, " failed: ");
    if (strncmp(text, "connection to server", 20) == 0 && mark != NULL)
        text = mark + 9;
    /* The word for FATAL is the server's language; two spaces follow it in each. */
    mark = strstr(text, ":  ");
    if (mark != NULL && take_state(mark + 3, state))
        text = mark + 10;
    else if (mark != NULL && mark - text < 20)
        text = mark + 3;
    length = strcspn(text, "\n");
    if (length == 0) {
        text = "it says nothing";
        length = strlen(text);
    }
    snprintf(words, size, "%.*s", (int)(length < size ? length : size - 1), text);
}

/* Offset in bytes of the nth character. */
static int offset_of(const char *sql, long character)
{
    const char *at = sql;

    for (; character > 1 && *at != '\0'; character--) {
        at++;
        while (((unsigned char)*at & 0xc0) == 0x80)
            at++;
    }
    return (int)(at - sql);
}

enum poly_status poly_pg_lose(struct poly_pg *pg, enum poly_status status, const char *why,
                              struct poly_error *err)
{
    pg->lost = true;
    pg->temporary = true;
    pg->unknown = pg->deciding;
    return poly_fail(err, status, "connection to PostgreSQL at %s lost: %s%s", pg->where, why,
                     pg->unknown ? "; whether it was committed is not known" : "");
}

/* A server that ends a connection after a commit says so instead of answering. */
static enum poly_status fail_fatal(struct poly_pg *pg, const char *words, struct poly_error *err)
{
    return poly_pg_lose(pg, POLY_UNAVAILABLE, words, err);
}

static void keep(char *to, size_t size, const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);

    snprintf(to, size, "%s", text == NULL ? "" : text);
}

enum poly_status poly_pg_fail(struct poly_pg *pg, const PGresult *result, const char *sql,
                              struct poly_error *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    char words[300], unused[6];

    keep(pg->detail, sizeof(pg->detail), result, PG_DIAG_MESSAGE_DETAIL);
    keep(pg->column, sizeof(pg->column), result, PG_DIAG_COLUMN_NAME);
    keep(pg->constraint, sizeof(pg->constraint), result, PG_DIAG_CONSTRAINT_NAME);
    keep(pg->table, sizeof(pg->table), result, PG_DIAG_TABLE_NAME);
    snprintf(pg->state, sizeof(pg->state), "%s", state == NULL ? "" : state);
    if (primary != NULL)
        poly_pg_words(primary, unused, words, sizeof(words));
    else
        poly_pg_words(result == NULL || *PQresultErrorMessage(result) == '\0'
                          ? PQerrorMessage(pg->conn)
                          : PQresultErrorMessage(result),
                      unused, words, sizeof(words));
    if (state == NULL || PQstatus(pg->conn) != CONNECTION_OK)
        return fail_fatal(pg, words, err);
    if (severity != NULL && severity[0] != 'E')
        return fail_fatal(pg, words, err);

    enum poly_status status = poly_pg_status_of(state);

    pg->temporary = poly_pg_state_temporary(state);
    if (strcmp(state, "53100") == 0)
        snprintf(words, sizeof(words), "the disk of the server is full");
    if (strcmp(state, "08007") == 0 || strcmp(state, "40003") == 0)
        pg->unknown = true;
    if (strcmp(state, "57014") == 0 && pg->cancelled)
        snprintf(words, sizeof(words), "the deadline passed");
    return poly_fail_at(
        err, status,
        position == NULL || sql == NULL ? -1 : offset_of(sql, strtol(position, NULL, 10)),
        "PostgreSQL cannot run a statement: %s", words);
}

const char *poly_pg_detail(const struct poly_pg *pg)
{
    return pg->detail;
}

const char *poly_pg_column(const struct poly_pg *pg)
{
    return pg->column;
}

const char *poly_pg_constraint(const struct poly_pg *pg)
{
    return pg->constraint;
}

const char *poly_pg_table(const struct poly_pg *pg)
{
    return pg->table;
}

const char *poly_pg_state(const struct poly_pg *pg)
{
    return pg->state;
}

bool poly_pg_temporary(const struct poly_pg *pg)
{
    return pg->temporary;
}

bool poly_pg_unfit(const struct poly_pg *pg)
{
    return strncmp(pg->state, "42", 2) == 0 || strcmp(pg->state, "0A000") == 0;
}

bool poly_pg_unknown(const struct poly_pg *pg)
{
    return pg->unknown;
}

int poly_pg_note(const struct poly_pg *pg)
{
    return pg->note;
}

void poly_pg_set_note(struct poly_pg *pg, int note)
{
    pg->note = note;
}

bool poly_pg_lost(const struct poly_pg *pg)
{
    return pg->lost || PQstatus(pg->conn) != CONNECTION_OK;
}
