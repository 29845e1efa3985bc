/* The log as a document: nobody changes it unnoticed. */
#include "core_place.h"

#include <sodium.h>

static void fill(struct place *p)
{
    for (int i = 1; i <= 10; i++)
        assert_ok(lab_append(p->session, "order-1", POLY_ANY, i, NULL, &err));
    assert_ok(lab_append(p->acme, "visit-1", POLY_ANY, 1, NULL, &err));
}

static void foreign(struct place *p, const char *sql)
{
    char why[200];

    if (lab_foreign_sql(p->data, sql, why, sizeof(why)) != 0)
        fail_msg("%s: %s", sql, why);
}

static void verifies(struct place *p)
{
    char why[300];

    if (lab_verify(p->session, why, sizeof(why)) != 0)
        fail_msg("%s", why);
}

/* S2-11 */
static void the_log_is_append_only(void **state)
{
    static const char *const attempts[] = {
        "UPDATE poly_log SET data = '{}' WHERE position = 3",
        "DELETE FROM poly_log WHERE position = 3",
        "DELETE FROM poly_log",
        ("INSERT OR REPLACE INTO poly_log(position, domain, key, version, type, time)"
         " VALUES (3, 'order', '1', 3, 'x', 1)"),
    };
    struct place *p = *state;
    char why[200];

    fill(p);
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        /* SQLite fires delete triggers for REPLACE only when this is on. */
        char sql[300];

        snprintf(sql, sizeof(sql), "PRAGMA recursive_triggers=ON; %s", attempts[i]);
        assert_int_not_equal(lab_foreign_sql(p->data, sql, why, sizeof(why)), 0);
        assert_non_null(strstr(why, "append-only"));
    }
    verifies(p);
}

/* An edit that goes around the triggers is found, at its position (S2-12). */
static void edited(struct place *p, const char *sql, uint64_t position, const char *reason)
{
    char all[600], why[300];

    snprintf(all, sizeof(all),
             "BEGIN; DROP TRIGGER poly_log_update; DROP TRIGGER poly_log_delete; %s;"
             "CREATE TRIGGER poly_log_update BEFORE UPDATE ON poly_log BEGIN"
             " SELECT RAISE(ABORT, 'the log is append-only'); END;"
             "CREATE TRIGGER poly_log_delete BEFORE DELETE ON poly_log BEGIN"
             " SELECT RAISE(ABORT, 'the log is append-only'); END; COMMIT",
             sql);
    fill(p);
    verifies(p);
    foreign(p, all);
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), position);
    if (strstr(why, reason) == NULL)
        fail_msg("no '%s' in: %s", reason, why);
    place_reopen(p);
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), position);
}

#define EDIT(name, sql, position, reason)                                                          \
    static void name(void **state)                                                                 \
    {                                                                                              \
        edited(*state, sql, position, reason);                                                     \
    }

EDIT(edited_data, "UPDATE poly_log SET data = '{\"n\": 99}' WHERE position = 4", 4, "changed")
EDIT(edited_type, "UPDATE poly_log SET type = 'Other' WHERE position = 1", 1, "changed")
EDIT(edited_time, "UPDATE poly_log SET time = time + 1 WHERE position = 5", 5, "changed")
EDIT(edited_tenant, "UPDATE poly_log SET tenant = 'other' WHERE position = 11", 11, "changed")
EDIT(edited_key, "UPDATE poly_log SET key = '2' WHERE position = 6", 6, "changed")
EDIT(edited_version, "UPDATE poly_log SET version = 77 WHERE position = 7", 7, "changed")
EDIT(edited_txn, "UPDATE poly_log SET txn = 1 WHERE position = 8", 8, "changed")
EDIT(edited_meta, "UPDATE poly_log SET meta = '{\"by\": \"me\"}' WHERE position = 9", 9, "changed")
EDIT(edited_salt, "UPDATE poly_log SET salt = x'00' WHERE position = 3", 3, "changed")
EDIT(edited_kind, "UPDATE poly_log SET data = CAST(data AS BLOB) WHERE position = 2", 2, "changed")
EDIT(deleted_row, "DELETE FROM poly_log WHERE position = 5", 5, "missing")
EDIT(deleted_first, "DELETE FROM poly_log WHERE position = 1", 1, "missing")
EDIT(deleted_last, "DELETE FROM poly_log WHERE position = 11", 11, "missing")
EDIT(swapped_rows,
     "UPDATE poly_log SET position = 999 WHERE position = 4;"
     "UPDATE poly_log SET position = 4 WHERE position = 5;"
     "UPDATE poly_log SET position = 5 WHERE position = 999",
     4, "changed")
EDIT(edited_leaf, "UPDATE poly_seal SET leaves = zeroblob(length(leaves)) WHERE last = 6", 6,
     "hash chain breaks")
EDIT(edited_hash, "UPDATE poly_seal SET hash = zeroblob(32) WHERE last = 6", 6,
     "hash chain breaks")
EDIT(deleted_seal, "DELETE FROM poly_seal WHERE last = 6", 6, "damaged or missing")

/* The payload goes, its digest stays: the chain does not notice, and nobody can guess. */
static void an_erased_payload_still_verifies(void **state)
{
    struct place *p = *state;
    static const char secret[] = "{\"n\": 1, \"text\": \"all counted\"}";
    uint8_t digest[32], kind = POLY_JSON;
    char salt_hex[40] = "", sql[800], hex[65], why[200];
    uint8_t salt[16];
    crypto_generichash_state hash;

    fill(p);
    for (int i = 0; i < 16; i++) {
        snprintf(sql, sizeof(sql),
                 "SELECT instr('0123456789ABCDEF', substr(hex(salt), %d, 1)) * 16 - 17 +"
                 " instr('0123456789ABCDEF', substr(hex(salt), %d, 1)) FROM poly_log"
                 " WHERE position = 1",
                 2 * i + 1, 2 * i + 2);
        salt[i] = (uint8_t)lab_foreign_number(p->data, sql);
    }
    (void)salt_hex;
    crypto_generichash_init(&hash, NULL, 0, 32);
    crypto_generichash_update(&hash, salt, 16);
    crypto_generichash_update(&hash, &kind, 1);
    crypto_generichash_update(&hash, (const uint8_t *)secret, strlen(secret));
    crypto_generichash_final(&hash, digest, 32);
    sodium_bin2hex(hex, sizeof(hex), digest, 32);
    snprintf(sql, sizeof(sql),
             "BEGIN; DROP TRIGGER poly_log_update;"
             "UPDATE poly_log SET data = NULL, salt = x'%s' WHERE position = 1; COMMIT",
             hex);
    foreign(p, sql);
    verifies(p);
    place_reopen(p);
    verifies(p);
    /* And the trigger that was taken down is back. */
    assert_int_not_equal(
        lab_foreign_sql(p->data, "UPDATE poly_log SET type = 'x'", why, sizeof(why)), 0);
}

/* Records of other programs are taken into the chain. */
static void foreign_records_are_sealed(void **state)
{
    struct place *p = *state;
    struct poly_verification verification;
    char why[200];

    fill(p);
    foreign(p, "INSERT INTO poly_log(domain, key, type, time, data)"
               " VALUES ('order', '7', 'Foreign', 12345, '{\"x\": 1}'),"
               " ('order', '8', 'Foreign', 12345, x'00ff'), ('order', '9', 'Foreign', 1, NULL)");
    assert_ok(lab_append(p->session, "order-1", POLY_ANY, 1, NULL, &err));
    assert_ok(poly_log_verify(p->session, NULL, NULL, &verification, &err));
    assert_int_equal(verification.sealed, 15);
    assert_int_equal(verification.records, 15);
    assert_int_equal(verification.bad_position, 0);
    assert_int_equal(strlen(verification.hash), 64);
    foreign(p, "DROP TRIGGER poly_log_update; UPDATE poly_log SET data = NULL WHERE position = 13");
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), 13);
}

/* A position that somebody left out is a hole, not a loss. */
static void a_hole_is_no_loss(void **state)
{
    struct place *p = *state;

    fill(p);
    foreign(p, "INSERT INTO poly_log(position, domain, key, type, time)"
               " VALUES (20, 'order', '7', 'Foreign', 1)");
    assert_ok(lab_append(p->session, "order-1", POLY_ANY, 1, NULL, &err));
    assert_int_equal(poly_log_head(p->instance), 21);
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
    foreign(p, "DROP TRIGGER poly_log_delete; DELETE FROM poly_log WHERE position > 8;"
               "UPDATE sqlite_sequence SET seq = 8 WHERE name = 'poly_log'");
    assert_fails(lab_try_open(p->data, core_config, &instance, &err), POLY_CORRUPT);
    assert_message("records are missing");
    foreign(p, "UPDATE sqlite_sequence SET seq = 11 WHERE name = 'poly_log'");
    place_open(p);
}

static void a_newer_format_does_not_open(void **state)
{
    struct place *p = *state;
    struct poly_instance *instance = NULL;

    place_close(p);
    foreign(p, "UPDATE poly_meta SET value = x'63' WHERE name = 'format'");
    assert_fails(lab_try_open(p->data, core_config, &instance, &err), POLY_CORRUPT);
    assert_message("99");
    foreign(p, "UPDATE poly_meta SET value = x'01' WHERE name = 'format'");
    place_open(p);
}

/* A name is kept for ever, and opening one needs no more than READ. */
static void names_have_a_limit(void **state)
{
    struct place *p = *state;
    struct poly_subscription_options fresh = {.name = "fresh"}, known = {.name = "n7"};
    struct poly_subscription *subscription;

    foreign(p, "INSERT INTO poly_subscription(tenant, name, position) WITH RECURSIVE n(i) AS"
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
