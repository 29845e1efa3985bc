/* The log as a document: nobody changes it unnoticed. */
#include "core_place.h"

#include <sodium.h>

/* Until all is sealed. */
static void settle(struct place *p)
{
    char why[300];

    fixture_head(&p->f);
    if (!lab_settled(p->session, why, sizeof(why)))
        fail_msg("%s", why);
}

static void fill(struct place *p)
{
    for (int i = 1; i <= 10; i++)
        assert_ok(lab_append(p->session, "order-1", POLY_ANY, i, NULL, &err));
    assert_ok(lab_append(p->acme, "visit-1", POLY_ANY, 1, NULL, &err));
    settle(p);
}

static void verifies(struct place *p)
{
    char why[300];

    if (lab_verify(p->session, why, sizeof(why)) != 0)
        fail_msg("%s", why);
}

/* Somebody who takes our triggers away to get at the log. */
static void forge(struct place *p, const char *sql)
{
    char all[900];

    if (fixture_on_server())
        snprintf(all, sizeof(all),
                 "BEGIN; ALTER TABLE poly.log DISABLE TRIGGER log_refuse; %s; COMMIT", sql);
    else
        snprintf(all, sizeof(all),
                 "BEGIN; DROP TRIGGER poly_log_update; DROP TRIGGER poly_log_delete; %s; COMMIT",
                 sql);
    fixture_foreign(&p->f, all);
}

static void forge_dialects(struct place *p, const char *sql, const char *postgresql)
{
    forge(p, fixture_on_server() ? postgresql : sql);
}

/* S2-11 */
static void the_log_is_append_only(void **state)
{
    static const char *const attempts[] = {
        "UPDATE poly_log SET data = '{}' WHERE position = 3",
        "DELETE FROM poly_log WHERE position = 3",
        "DELETE FROM poly_log",
    };
    struct place *p = *state;
    char why[200];

    fill(p);
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        assert_false(fixture_foreign_try(&p->f, attempts[i], why, sizeof(why)));
        assert_non_null(strstr(why, "append-only"));
    }
    /* SQLite fires delete triggers for REPLACE only when this is on. */
    assert_false(fixture_foreign_try(
        &p->f,
        fixture_on_server()
            ? "TRUNCATE poly.log"
            : "PRAGMA recursive_triggers=ON;"
              "INSERT OR REPLACE INTO poly_log(position, domain, key, version, type, time)"
              " VALUES (3, 'order', '1', 3, 'x', 1)",
        why, sizeof(why)));
    assert_non_null(strstr(why, "append-only"));
    verifies(p);
}

/* An edit that goes around the triggers is found, at its position (S2-12). */
static void edited(struct place *p, const char *sql, uint64_t position, const char *reason)
{
    char why[300];

    fill(p);
    verifies(p);
    forge(p, sql);
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), position);
    if (strstr(why, reason) == NULL)
        fail_msg("no '%s' in: %s", reason, why);
    place_reopen(p);
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), position);
    assert_false(fixture_foreign_try(&p->f, "DELETE FROM poly_log", why, sizeof(why)));
}

/* The first record of the seal that record 6 is in. */
static uint64_t sealed_with_six(struct place *p)
{
    uint64_t first;

    fill(p);
    first = (uint64_t)fixture_number(&p->f,
                                     "SELECT first FROM poly_seal WHERE first <= 6 AND last >= 6");
    if (!fixture_differs(&p->f, "sealed-after-the-commit"))
        assert_int_equal(first, 6);
    return first;
}

static void broken_chain(struct place *p, const char *sql, const char *postgresql,
                         const char *reason)
{
    uint64_t first = sealed_with_six(p);
    char why[300];

    verifies(p);
    forge_dialects(p, sql, postgresql);
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), first);
    if (strstr(why, reason) == NULL)
        fail_msg("no '%s' in: %s", reason, why);
}

#define EDIT_DIALECTS(name, sql, postgresql, position, reason)                                     \
    static void name(void **state)                                                                 \
    {                                                                                              \
        edited(*state, fixture_on_server() ? postgresql : sql, position, reason);                  \
    }
#define EDIT(name, sql, position, reason) EDIT_DIALECTS(name, sql, sql, position, reason)

EDIT(edited_data, "UPDATE poly_log SET data = '{\"n\": 99}' WHERE position = 4", 4, "changed")
EDIT(edited_type, "UPDATE poly_log SET type = 'Other' WHERE position = 1", 1, "changed")
EDIT(edited_time, "UPDATE poly_log SET time = time + 1 WHERE position = 5", 5, "changed")
EDIT(edited_tenant, "UPDATE poly_log SET tenant = 'other' WHERE position = 11", 11, "changed")
EDIT(edited_key, "UPDATE poly_log SET key = '2' WHERE position = 6", 6, "changed")
EDIT(edited_version, "UPDATE poly_log SET version = 77 WHERE position = 7", 7, "changed")
EDIT(edited_txn, "UPDATE poly_log SET txn = 1 WHERE position = 8", 8, "changed")
EDIT(edited_meta, "UPDATE poly_log SET meta = '{\"by\": \"me\"}' WHERE position = 9", 9, "changed")
EDIT_DIALECTS(edited_salt, "UPDATE poly_log SET salt = x'00' WHERE position = 3",
              "UPDATE poly_log SET salt = '\\x00' WHERE position = 3", 3, "changed")
EDIT_DIALECTS(edited_kind, "UPDATE poly_log SET data = CAST(data AS BLOB) WHERE position = 2",
              "UPDATE poly_log SET bytes = convert_to(data::text, 'UTF8'), data = NULL"
              " WHERE position = 2",
              2, "changed")
EDIT(deleted_row, "DELETE FROM poly_log WHERE position = 5", 5, "missing")
EDIT(deleted_first, "DELETE FROM poly_log WHERE position = 1", 1, "missing")
EDIT(deleted_last, "DELETE FROM poly_log WHERE position = 11", 11, "missing")
EDIT(swapped_rows,
     "UPDATE poly_log SET position = 999 WHERE position = 4;"
     "UPDATE poly_log SET position = 4 WHERE position = 5;"
     "UPDATE poly_log SET position = 5 WHERE position = 999",
     4, "changed")

static void edited_leaf(void **state)
{
    broken_chain(*state,
                 "UPDATE poly_seal SET leaves = zeroblob(length(leaves))"
                 " WHERE first <= 6 AND last >= 6",
                 "UPDATE poly_seal SET leaves = decode(repeat('00', length(leaves)), 'hex')"
                 " WHERE first <= 6 AND last >= 6",
                 "hash chain breaks");
}

static void edited_hash(void **state)
{
    broken_chain(*state, "UPDATE poly_seal SET hash = zeroblob(32) WHERE first <= 6 AND last >= 6",
                 "UPDATE poly_seal SET hash = decode(repeat('00', 32), 'hex')"
                 " WHERE first <= 6 AND last >= 6",
                 "hash chain breaks");
}

static void deleted_seal(void **state)
{
    static const char sql[] = "DELETE FROM poly_seal WHERE first <= 6 AND last >= 6";
    struct place *p = *state;

    fill(p);
    assert_ok(lab_append(p->session, "order-1", POLY_ANY, 1, NULL, &err));
    settle(p); /* another seal after it */
    broken_chain(p, sql, sql, "damaged or missing");
}

/* The payload goes, its digest stays: the chain does not notice, and nobody can guess. */
static void an_erased_payload_still_verifies(void **state)
{
    struct place *p = *state;
    static const char secret[] = "{\"n\": 1, \"text\": \"all counted\"}";
    uint8_t digest[32], salt[16], kind = POLY_JSON;
    char sql[800], hex[65], why[200];
    crypto_generichash_state hash;

    fill(p);
    for (int i = 0; i < 16; i++) {
        snprintf(sql, sizeof(sql),
                 fixture_on_server()
                     ? "SELECT get_byte(salt, %d) FROM poly_log WHERE position = 1"
                     : "SELECT instr('0123456789ABCDEF', substr(hex(salt), 2 * %1$d + 1, 1)) * 16"
                       " - 17 + instr('0123456789ABCDEF', substr(hex(salt), 2 * %1$d + 2, 1))"
                       " FROM poly_log WHERE position = 1",
                 i);
        salt[i] = (uint8_t)fixture_number(&p->f, sql);
    }
    crypto_generichash_init(&hash, NULL, 0, 32);
    crypto_generichash_update(&hash, salt, 16);
    crypto_generichash_update(&hash, &kind, 1);
    crypto_generichash_update(&hash, (const uint8_t *)secret, strlen(secret));
    crypto_generichash_final(&hash, digest, 32);
    sodium_bin2hex(hex, sizeof(hex), digest, 32);
    snprintf(sql, sizeof(sql), "UPDATE poly_log SET data = NULL, salt = %s%s' WHERE position = 1",
             fixture_on_server() ? "'\\x" : "x'", hex);
    forge(p, sql);
    verifies(p);
    place_reopen(p);
    verifies(p);
    /* And the triggers that were taken away are back. */
    assert_false(fixture_foreign_try(&p->f, "UPDATE poly_log SET type = 'x'", why, sizeof(why)));
}

/* Records of other programs are taken into the chain. */
static void foreign_records_are_sealed(void **state)
{
    struct place *p = *state;
    struct poly_verification verification;
    char why[200];

    fill(p);
    fixture_foreign_dialects(
        &p->f,
        "INSERT INTO poly_log(domain, key, type, time, data)"
        " VALUES ('order', '7', 'Foreign', 12345, '{\"x\": 1}'),"
        " ('order', '8', 'Foreign', 12345, x'00ff'), ('order', '9', 'Foreign', 1, NULL)",
        "INSERT INTO poly_log(domain, key, type, time, data, bytes)"
        " VALUES ('order', '7', 'Foreign', 12345, '{\"x\": 1}', NULL),"
        " ('order', '8', 'Foreign', 12345, NULL, '\\x00ff'),"
        " ('order', '9', 'Foreign', 1, NULL, NULL)");
    assert_ok(lab_append(p->session, "order-1", POLY_ANY, 1, NULL, &err));
    settle(p);
    assert_ok(poly_log_verify(p->session, NULL, NULL, &verification, &err));
    assert_int_equal(verification.sealed, 15);
    assert_int_equal(verification.records, 15);
    assert_int_equal(verification.bad_position, 0);
    assert_int_equal(strlen(verification.hash), 64);
    forge_dialects(p, "UPDATE poly_log SET data = NULL WHERE position = 13",
                   "UPDATE poly_log SET bytes = NULL WHERE position = 13");
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), 13);
}

/* A position that somebody left out is a hole, not a loss. */
static void a_hole_is_no_loss(void **state)
{
    struct place *p = *state;
    struct poly_commit commit;

    fill(p);
    fixture_foreign(&p->f, "INSERT INTO poly_log(position, domain, key, type, time)"
                           " VALUES (13, 'order', '7', 'Foreign', 1)");
    if (fixture_differs(&p->f, "chosen-positions")) {
        assert_ok(lab_append(p->session, "order-1", POLY_ANY, 1, &commit, &err));
        assert_int_equal(commit.position, 12);
        assert_fails(lab_append(p->session, "order-1", POLY_ANY, 1, NULL, &err), POLY_CONFLICT);
    }
    assert_ok(lab_append(p->session, "order-1", POLY_ANY, 1, &commit, &err));
    assert_int_equal(commit.position, 14);
    assert_int_equal(fixture_head(&p->f), 14);
    settle(p);
    verifies(p);
    place_reopen(p);
    verifies(p);
}

static bool stop_at_once(void *arg, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    ++*(int *)arg;
    return false;
}

static void verification_can_be_stopped_and_needs_admin(void **state)
{
    struct place *p = *state;
    struct poly_verification verification;
    struct poly_session_options plain = {.rights = POLY_RIGHT_READ};
    struct poly_session *reader;
    int calls = 0;

    fill(p);
    assert_fails(poly_log_verify(p->session, stop_at_once, &calls, &verification, &err),
                 POLY_TIMEOUT);
    assert_int_equal(calls, 1);
    assert_ok(poly_session_open(p->instance, &plain, &reader, &err));
    assert_fails(poly_log_verify(reader, NULL, NULL, &verification, &err), POLY_DENIED);
    poly_session_close(reader);
}

/* A lost tail would be a lost promise: it does not open. */
static void a_log_that_lost_its_tail_does_not_open(void **state)
{
    struct place *p = *state;
    struct poly_instance *instance = NULL;

    fill(p);
    place_close(p);
    forge_dialects(p,
                   "DELETE FROM poly_log WHERE position > 8;"
                   "UPDATE sqlite_sequence SET seq = 8 WHERE name = 'poly_log'",
                   "DELETE FROM poly_log WHERE position > 8;"
                   "SELECT setval('poly.log_position', 8)");
    assert_fails(fixture_try_open(&p->f, core_config, &instance, &err), POLY_CORRUPT);
    assert_message("records are missing");
    fixture_foreign_dialects(&p->f, "UPDATE sqlite_sequence SET seq = 11 WHERE name = 'poly_log'",
                             "SELECT setval('poly.log_position', 11)");
    place_open(p);
}

static void a_newer_format_does_not_open(void **state)
{
    struct place *p = *state;
    struct poly_instance *instance = NULL;

    place_close(p);
    fixture_foreign_dialects(&p->f, "UPDATE poly_meta SET value = x'63' WHERE name = 'format'",
                             "INSERT INTO poly.format(step) VALUES (99)");
    assert_fails(fixture_try_open(&p->f, core_config, &instance, &err), POLY_CORRUPT);
    assert_message("99");
    fixture_foreign_dialects(&p->f, "UPDATE poly_meta SET value = x'01' WHERE name = 'format'",
                             "DELETE FROM poly.format WHERE step = 99");
    place_open(p);
}

/* A name is kept for ever, and opening one needs no more than READ. */
static void names_have_a_limit(void **state)
{
    struct place *p = *state;
    struct poly_subscription_options fresh = {.name = "fresh"}, known = {.name = "n7"};
    struct poly_subscription *subscription;

    fixture_foreign(&p->f, "INSERT INTO poly_subscription(tenant, name, position)"
                           " WITH RECURSIVE n(i) AS"
                           " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
                           " SELECT 'acme', 'n' || i, 0 FROM n");
    assert_int_equal(poly_subscribe(p->acme, &fresh, &subscription, &err), POLY_LIMIT);
    assert_ok(poly_subscribe(p->acme, &known, &subscription, &err));
    poly_subscription_close(subscription);
    assert_ok(poly_subscribe(p->session, &fresh, &subscription, &err)); /* another's room */
    poly_subscription_close(subscription);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(names_have_a_limit),
        PLACED(the_log_is_append_only),
        PLACED(edited_data),
        PLACED(edited_type),
        PLACED(edited_time),
        PLACED(edited_tenant),
        PLACED(edited_key),
        PLACED(edited_version),
        PLACED(edited_txn),
        PLACED(edited_meta),
        PLACED(edited_salt),
        PLACED(edited_kind),
        PLACED(deleted_row),
        PLACED(deleted_first),
        PLACED(deleted_last),
        PLACED(swapped_rows),
        PLACED(edited_leaf),
        PLACED(edited_hash),
        PLACED(deleted_seal),
        PLACED(an_erased_payload_still_verifies),
        PLACED(foreign_records_are_sealed),
        PLACED(a_hole_is_no_loss),
        PLACED(verification_can_be_stopped_and_needs_admin),
        PLACED(a_log_that_lost_its_tail_does_not_open),
        PLACED(a_newer_format_does_not_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
