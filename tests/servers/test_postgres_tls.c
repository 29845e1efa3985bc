/*
 * base/postgres on TLS and with passwords (SCRAM): what is to be verified is verified, a password
 * comes from a file or the environment, and no message ever holds it.
 */
#include "test.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/postgres.h"
#include "control.h"

static const char secret[] = "hunter2-Xyz/?#%";

static struct poly_error err;
static char where[200]; /* HOST:PORT */

static enum poly_status open_with(const struct poly_pg_options *options, struct poly_pg **pg)
{
    struct poly_pg_target *target;
    enum poly_status status = poly_pg_target_new(options, &target, &err);

    if (status != POLY_OK)
        return status;
    status = poly_pg_open(target, -1, pg, &err);
    poly_pg_target_free(target);
    assert_true(status == POLY_OK || strstr(err.message, "hunter2") == NULL);
    return status;
}

static int setup(void **state)
{
    const char *url = strrchr(control_url("POSTGRESQL_URL"), '@') + 1;
    char said[500];

    (void)state;
    snprintf(where, sizeof(where), "%.*s", (int)strcspn(url, "/"), url);
    if (!control_order(said, sizeof(said),
                       "postgresql sql CREATE ROLE secretive LOGIN PASSWORD '%s'", secret))
        return 1;
    setenv("POLY_TEST_SECRET", secret, 1);
    return 0;
}

static void the_server_is_verified(void **state)
{
    const char *ca = control_url("POSTGRESQL_CA"), *port = strrchr(where, ':') + 1;
    struct poly_pg_options options = {.password_env = "POLY_TEST_SECRET"};
    char url[800], other[400];
    struct poly_pg *pg;

    (void)state;
    options.url = url;
    /* By name, and by address. */
    for (int i = 0; i < 2; i++) {
        snprintf(url, sizeof(url),
                 "postgresql://secretive@%s:%s/postgres?sslmode=verify-full&sslrootcert=%s",
                 i == 0 ? "127.0.0.1" : "localhost", port, ca);
        assert_ok(open_with(&options, &pg));
        assert_true(PQsslInUse(poly_pg_handle(pg)));
        assert_ok(poly_pg_exec(pg, "SELECT 1", &err));
        poly_pg_close(pg);
    }
    snprintf(other, sizeof(other), "%.*s/other-ca.crt", (int)(strrchr(ca, '/') - ca), ca);
    assert_int_equal(access(other, R_OK), 0);
    snprintf(url, sizeof(url),
             "postgresql://secretive@%s/postgres?sslmode=verify-full&sslrootcert=%s", where, other);
    assert_fails(open_with(&options, &pg), POLY_UNAVAILABLE);
    assert_message("certificate verify failed");
    /* A name that the certificate does not have. */
    snprintf(url, sizeof(url),
             "host=elsewhere.invalid hostaddr=127.0.0.1 port=%s user=secretive dbname=postgres "
             "sslmode=verify-full sslrootcert=%s",
             port, ca);
    assert_fails(open_with(&options, &pg), POLY_UNAVAILABLE);
    assert_message("elsewhere.invalid");
    snprintf(url, sizeof(url), "postgresql://secretive@%s/postgres?sslmode=disable", where);
    assert_fails(open_with(&options, &pg), POLY_DENIED); /* this server wants TLS */
}

static void passwords_are_read_anew(void **state)
{
    char path[] = "/tmp/poly-password-XXXXXX", url[400];
    int file = mkstemp(path);
    struct poly_pg_options options = {.url = url, .password_file = path};
    struct poly_pg_target *target;
    struct poly_pg *pg;

    (void)state;
    snprintf(url, sizeof(url), "postgresql://secretive@%s/postgres", where);
    assert_int_equal(write(file, "wrong-hunter2\n", 14), 14);
    assert_ok(poly_pg_target_new(&options, &target, &err));
    assert_fails(poly_pg_open(target, -1, &pg, &err), POLY_DENIED);
    assert_message("password authentication failed for user \"secretive\"");
    assert_null(strstr(err.message, "hunter2"));
    assert_int_equal(pwrite(file, secret, strlen(secret) + 1, 0), strlen(secret) + 1);
    assert_ok(poly_pg_open(target, -1, &pg, &err));
    poly_pg_close(pg);
    poly_pg_target_free(target);
    close(file);
    unlink(path);
    options = (struct poly_pg_options){.url = url};
    assert_fails(open_with(&options, &pg), POLY_UNAVAILABLE);
    assert_message("no password supplied");
}

/* What the TLS library has decrypted and libpq has not taken yet is not waited for. */
static void answers_of_any_size_arrive(void **state)
{
    static const char repeat[] = "SELECT repeat('x', $1::int), repeat('y', $2::int)";
    struct poly_pg_options options = {.password_env = "POLY_TEST_SECRET"};
    char url[300];
    struct poly_pg *pg;

    (void)state;
    snprintf(url, sizeof(url), "postgresql://secretive@%s/postgres?sslmode=require", where);
    options.url = url;
    assert_ok(open_with(&options, &pg));
    for (int size = 1; size < 200000; size += size / 16 + 1) {
        struct poly_pg_params params;
        PGresult *result;

        poly_pg_params(&params);
        poly_pg_add_int(&params, size);
        poly_pg_add_int(&params, 200000 - size);
        poly_pg_deadline(pg, poly_clock_monotonic() + 20000000);
        assert_ok(poly_pg_run(pg, repeat, &params, &result, &err));
        assert_int_equal(poly_pg_text(result, 0, 0).size, size);
        PQclear(result);
    }
    poly_pg_close(pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_is_verified),
        cmocka_unit_test(passwords_are_read_anew),
        cmocka_unit_test(answers_of_any_size_arrive),
    };

    if (control_url("POSTGRESQL_CA") == NULL) {
        printf("skipped: postgresql (no server with TLS)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, setup, NULL);
}
