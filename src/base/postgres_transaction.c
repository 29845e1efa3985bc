/*
 * Transactions. What matters is what is known afterwards: a COMMIT that was
 * not answered may have happened; one that was answered with ROLLBACK has not.
 */
#include "base/clock.h"
#include "base/postgres_inside.h"

enum { ROLLBACK_US = 1000000 };

static const char *const begins[][2] = {
    {"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
     "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"},
    {"BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
     "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
    {"BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
     "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"},
};
static const char commit[] = "COMMIT";
static const char roll_back[] = "ROLLBACK";
/* DISCARD ALL, less what would take our prepared statements along. */
static const char reset[] = "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *;"
                            "SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

const char *poly_pg_begin_text(enum poly_pg_isolation isolation, bool read_only)
{
    return begins[isolation][read_only];
}

enum poly_status poly_pg_begin(struct poly_pg *pg, enum poly_pg_isolation isolation, bool read_only,
                               struct poly_error *err)
{
    return poly_pg_done(pg, poly_pg_begin_text(isolation, read_only), NULL, NULL, err);
}

enum poly_status poly_pg_commit(struct poly_pg *pg, struct poly_error *err)
{
    PGresult *result;
    enum poly_status status = poly_pg_begin_call(pg, err);

    if (status != POLY_OK)
        return status;
    pg->deciding = true;
    /* Not prepared: it needs no parameters, and must not fail for a lost statement. */
    if (!PQsendQueryParams(pg->conn, commit, 0, NULL, NULL, NULL, NULL, 1))
        return poly_pg_fail(pg, NULL, NULL, err);
    status = poly_pg_answer(pg, &result, err);
    if (status == POLY_OK)
        status = poly_pg_check(pg, result, commit, err);
    if (status == POLY_OK)
        status = poly_pg_check_commit(result, err);
    if (status == POLY_OK)
        PQclear(result);
    return status;
}

bool poly_pg_in_transaction(const struct poly_pg *pg)
{
    PGTransactionStatusType status = PQtransactionStatus(pg->conn);

    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

void poly_pg_roll_back(struct poly_pg *pg)
{
    int64_t deadline = pg->deadline, each = pg->each;
    struct poly_pg kept;

    poly_pg_drop(pg);
    if (!poly_pg_in_transaction(pg))
        return;
    /* The failure that led here stays to be asked for. */
    kept = *pg;
    pg->each = 0;
    pg->deadline = poly_clock_monotonic() + ROLLBACK_US;
    if (poly_pg_exec(pg, roll_back, NULL) != POLY_OK)
        pg->lost = true;
    pg->deadline = deadline;
    pg->each = each;
    memcpy(pg->state, kept.state, sizeof(kept.state));
    pg->unknown = kept.unknown;
    pg->temporary = kept.temporary;
}

enum poly_status poly_pg_reset(struct poly_pg *pg, struct poly_error *err)
{
    enum poly_status status = poly_pg_exec(pg, reset, err);

    pg->note = 0;
    if (status == POLY_OK)
        pg->tainted = false;
    return status;
}
