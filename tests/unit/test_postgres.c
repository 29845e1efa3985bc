/*
 * base/postgres without a server: where to connect to and what is never said about it, states
 * in our words, columns from crafted results, and servers that are too old or say nothing
 * (S3-65, S3-69, S4-69).
 */
#include "test.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/postgres.h"
#include "base/postgres_inside.h"
#include "base/postgres_pool.h"

static struct poly_error err;
static struct poly_arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = poly_arena_new(1 << 20);
    return arena == NULL;
}

static int teardown(void **state)
{
    (void)state;
    poly_arena_free(arena);
    return 0;
}

/* --- where --- */

static struct poly_pg_target *target_of(struct poly_pg_options options)
{
    struct poly_pg_target *target;

    assert_ok(poly_pg_target_new(&options, &target, &err));
    return target;
}

static const char *value_of(const struct poly_pg_conninfo *info, const char *keyword)
{
    for (int i = 0; i < info->count; i++)
        if (strcmp(info->keywords[i], keyword) == 0)
            return info->values[i];
    return NULL;
}

static struct poly_pg_conninfo conninfo(const struct poly_pg_target *target, const char *attrs)
{
    struct poly_pg_address *addresses;
    struct poly_pg_conninfo info;
    int count;

    assert_ok(poly_pg_target_addresses(target, arena, &addresses, &count, &err));
    assert_ok(poly_pg_target_conninfo(target, &addresses[0], attrs, arena, &info, &err));
    return info;
}

static void wrong_texts_are_not_shown(void **state)
{
    static const char *const texts[] = {
        "postgresql://app:se%zzcret@db/app",
        "postgresql://app:secret@[::1/app",
        "host=db password='secret",
        "host=db secret",
        "nothing=secret",
        "postgresql://app:pw@db:5432:secret/app?secret",
    };
    struct poly_pg_target *target;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct poly_pg_options options = {.url = texts[i]};

        assert_fails(poly_pg_target_new(&options, &target, &err), POLY_INVALID);
        assert_null(strstr(err.message, "cret"));
        assert_message("postgresql://user@host");
    }
}

static void host_lists_are_taken_apart(void **state)
{
    struct poly_pg_address *all;
    struct poly_pg_target *target;
    int count;

    (void)state;
    target = target_of((struct poly_pg_options){
        .url = "postgresql://app@127.0.0.1:5433,127.0.0.2:5434/app?target_session_attrs=primary"});
    assert_ok(poly_pg_target_addresses(target, arena, &all, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(all[0].where, "127.0.0.1:5433");
    assert_string_equal(all[1].where, "127.0.0.2:5434");
    assert_string_equal(all[1].hostaddr, "127.0.0.2");
    assert_string_equal(poly_pg_target_attrs(target), "primary");
    /* Where one was found is begun with. */
    poly_pg_target_found(target, 1);
    assert_int_equal(poly_pg_target_first(target), 1);
    poly_pg_target_free(target);

    target = target_of((struct poly_pg_options){.url = "host=/run/one,127.0.0.1 port=5433"});
    assert_ok(poly_pg_target_addresses(target, arena, &all, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(all[0].host, "/run/one");
    assert_null(all[0].hostaddr);
    assert_string_equal(all[1].port, "5433");
    poly_pg_target_found(target, 1);
    assert_int_equal(poly_pg_target_first(target), 0);
    poly_pg_target_free(target);

    target = target_of((struct poly_pg_options){.url = "host=db hostaddr=10.0.0.1"});
    assert_ok(poly_pg_target_addresses(target, arena, &all, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(all[0].host, "db");
    assert_string_equal(all[0].hostaddr, "10.0.0.1");
    poly_pg_target_free(target);
}

static void passwords_come_from_elsewhere(void **state)
{
    char path[] = "/tmp/poly-password-XXXXXX";
    int file = mkstemp(path);
    struct poly_pg_options options = {.url = "postgresql://app@127.0.0.1/app",
                                      .password_file = path};
    struct poly_pg_target *target = target_of(options);
    struct poly_pg_address *addresses;
    struct poly_pg_conninfo info;
    int count;

    (void)state;
    assert_ok(poly_pg_target_addresses(target, arena, &addresses, &count, &err));
    assert_fails(poly_pg_target_conninfo(target, addresses, NULL, arena, &info, &err),
                 POLY_INVALID);
    assert_message("is empty");
    assert_int_equal(write(file, "first\r\nsecond\n", 14), 14);
    info = conninfo(target, NULL);
    assert_string_equal(value_of(&info, "password"), "first");
    assert_ptr_equal(value_of(&info, "password"), info.password);
    close(file);
    unlink(path);
    assert_fails(poly_pg_target_conninfo(target, addresses, NULL, arena, &info, &err),
                 POLY_UNAVAILABLE);
    poly_pg_target_free(target);

    options = (struct poly_pg_options){.url = "postgresql://app:other@127.0.0.1/app",
                                       .password_env = "POLY_TEST_PASSWORD"};
    unsetenv("POLY_TEST_PASSWORD");
    target = target_of(options);
    assert_fails(poly_pg_target_conninfo(target, addresses, NULL, arena, &info, &err),
                 POLY_INVALID);
    assert_message("'POLY_TEST_PASSWORD'");
    setenv("POLY_TEST_PASSWORD", "se cret", 1);
    info = conninfo(target, NULL);
    assert_string_equal(value_of(&info, "password"), "se cret");
    poly_pg_target_free(target);
}

static void settings_travel_with_the_start(void **state)
{
    struct poly_pg_target *target = target_of((struct poly_pg_options){
        .url = "host=127.0.0.1 sslmode=verify-full sslrootcert=/ca.pem options='-c a=1' "
               "keepalives_idle=7 application_name=theirs",
        .search_path = "poly, public",
        .statement_ms = 5000});
    struct poly_pg_conninfo info = conninfo(target, "standby");
    const char *options = value_of(&info, "options");

    (void)state;
    assert_non_null(strstr(options, "-c a=1 -c standard_conforming_strings=on"));
    assert_non_null(strstr(options, "-c search_path=poly,\\ public"));
    assert_non_null(strstr(options, "-c statement_timeout=5000"));
    assert_string_equal(value_of(&info, "sslmode"), "verify-full");
    assert_string_equal(value_of(&info, "sslrootcert"), "/ca.pem");
    assert_string_equal(value_of(&info, "keepalives_idle"), "7");
    assert_string_equal(value_of(&info, "tcp_user_timeout"), "15000");
    assert_string_equal(value_of(&info, "application_name"), "theirs");
    assert_string_equal(value_of(&info, "fallback_application_name"), "polystore");
    assert_string_equal(value_of(&info, "target_session_attrs"), "standby");
    assert_string_equal(value_of(&info, "client_encoding"), "UTF8");
    assert_null(value_of(&info, "password"));
    poly_pg_target_free(target);
}

/* --- words --- */

static void states_are_mapped(void **state)
{
    static const struct {
        const char *state;
        enum poly_status status;
        bool temporary;
    } cases[] = {
        {"23505", POLY_EXISTS, false},      {"23502", POLY_INVALID, false},
        {"40001", POLY_UNAVAILABLE, true},  {"40P01", POLY_UNAVAILABLE, true},
        {"57014", POLY_TIMEOUT, true},      {"57P01", POLY_UNAVAILABLE, true},
        {"53300", POLY_UNAVAILABLE, true},  {"53400", POLY_LIMIT, false},
        {"42501", POLY_DENIED, false},      {"42P01", POLY_INVALID, false},
        {"28P01", POLY_DENIED, false},      {"25006", POLY_UNAVAILABLE, true},
        {"0A000", POLY_UNSUPPORTED, false}, {"XX001", POLY_CORRUPT, false},
        {"08006", POLY_UNAVAILABLE, true},  {"P0001", POLY_INVALID, false},
        {"", POLY_INVALID, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(poly_pg_status_of(cases[i].state), cases[i].status);
        assert_int_equal(poly_pg_state_temporary(cases[i].state), cases[i].temporary);
    }
}

static void words_are_one_line(void **state)
{
    static const struct {
        const char *message, *words, *state;
    } cases[] = {
        {"connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  28P01: password "
         "authentication failed for user \"app\"\nLOCATION:  auth_failed, auth.c:326\n",
         "password authentication failed for user \"app\"", "28P01"},
        {"connection to server at \"h\" (::1), port 5 failed: Connection refused\n\tIs the server",
         "Connection refused", ""},
        {"connexion perdue: FATAL:  57P03: le système démarre\n", "le système démarre", "57P03"},
        {"ERROR:  division by zero\n", "division by zero", ""},
        {"server closed the connection unexpectedly\n\tThis probably means",
         "server closed the connection unexpectedly", ""},
        {"", "it says nothing", ""},
    };
    char words[200], code[6];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        poly_pg_words(cases[i].message, code, words, sizeof(words));
        assert_string_equal(words, cases[i].words);
        assert_string_equal(code, cases[i].state);
    }
    poly_pg_words("a long one", code, words, 5);
    assert_string_equal(words, "a lo");
}

static void capacity_is_warned_about(void **state)
{
    struct poly_pg_capacity capacity = {.max_connections = 100,
                                        .reserved = 3,
                                        .work_mem = 4 << 20,
                                        .effective_cache = INT64_C(4) << 30};
    char text[600];

    (void)state;
    assert_int_equal(poly_pg_capacity_warnings(&capacity, 97, 0, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    assert_int_equal(poly_pg_capacity_warnings(&capacity, 98, 0, text, sizeof(text)), 1);
    assert_non_null(strstr(text, "98 connections"));
    assert_non_null(strstr(text, "allows 97 (max_connections 100, 3"));
    /* D16: 200 connections, work_mem 50 MB, against 6 GB. */
    capacity = (struct poly_pg_capacity){.max_connections = 200,
                                         .reserved = 3,
                                         .work_mem = 50 << 20,
                                         .effective_cache = INT64_C(6) << 30};
    assert_int_equal(poly_pg_capacity_warnings(&capacity, 40, 0, text, sizeof(text)), 1);
    assert_non_null(strstr(text, "10000 MiB"));
    assert_non_null(strstr(text, "6144 MiB of effective_cache_size"));
    assert_int_equal(
        poly_pg_capacity_warnings(&capacity, 40, INT64_C(16) << 30, text, sizeof(text)), 0);
    assert_int_equal(
        poly_pg_capacity_warnings(&capacity, 400, INT64_C(1) << 30, text, sizeof(text)), 2);
    assert_int_equal(poly_pg_capacity_warnings(&capacity, 400, INT64_C(1) << 30, text, 20), 1);
}

/* --- columns that no server would send --- */

static PGresult *crafted(Oid type, const void *data, int size)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    char name[] = "a";
    PGresAttDesc column = {.name = name, .format = 1, .typid = type, .typlen = -1};
    char copy[64];

    memcpy(copy, data, (size_t)size);
    assert_int_equal(PQsetResultAttrs(result, 1, &column), 1);
    assert_int_equal(PQsetvalue(result, 0, 0, copy, size), 1);
    return result;
}

static void odd_columns_do_no_harm(void **state)
{
    static const char zeros[32];
    struct poly_value value;
    PGresult *result;

    (void)state;
    for (Oid type = 1; type < 6000; type++) {
        for (int size = 0; size < 18; size++) {
            result = crafted(type, zeros, size);
            (void)poly_pg_value(result, 0, 0, arena, &value, NULL);
            (void)poly_pg_int(result, 0, 0);
            (void)poly_pg_float(result, 0, 0);
            (void)poly_pg_text(result, 0, 0);
            (void)poly_pg_time(result, 0, 0);
            PQclear(result);
        }
        poly_arena_reset(arena);
    }
    result = crafted(PG_INT4, zeros, 8);
    assert_fails(poly_pg_value(result, 0, 0, arena, &value, &err), POLY_CORRUPT);
    /* Beyond its rows and columns there is nothing. */
    assert_int_equal(poly_pg_int(result, 5, 0), 0);
    assert_int_equal(poly_pg_text(result, 0, 7).size, 0);
    PQclear(result);
    /* A numeric whose groups are not all there, and one that says more than can be. */
    result = crafted(PG_NUMERIC, "\0\5\0\0\0\0\0\0\0\1", 10);
    assert_ok(poly_pg_value(result, 0, 0, arena, &value, &err));
    PQclear(result);
    result = crafted(PG_NUMERIC, "\0\1\0\0\0\0\0\2\377\377", 10);
    assert_ok(poly_pg_value(result, 0, 0, arena, &value, &err));
    PQclear(result);
}

/* --- servers that are none --- */

/* What a server says that lets everyone in. */
static size_t greeting(const char *version, char *to)
{
    size_t size = 0, length = strlen(version) + 1;

    memcpy(to, "R\0\0\0\10\0\0\0\0", 9);
    size = 9;
    to[size] = 'S';
    memset(to + size + 1, 0, 3);
    to[size + 4] = (char)(4 + 15 + length);
    memcpy(to + size + 5, "server_version", 15);
    memcpy(to + size + 20, version, length);
    size += 20 + length;
    memcpy(to + size, "Z\0\0\0\5I", 6);
    return size + 6;
}

struct fake {
    int fd, port;
    const char *version; /* NULL: it says nothing at all */
    pthread_t thread;
};

static void *serve(void *arg)
{
    struct fake *fake = arg;
    char buffer[2000];
    int client = accept(fake->fd, NULL, NULL);

    /* No TLS ("N"), then the startup packet. */
    if (recv(client, buffer, sizeof(buffer), 0) == 8) {
        (void)!send(client, "N", 1, MSG_NOSIGNAL);
        (void)!recv(client, buffer, sizeof(buffer), 0);
    }
    (void)!send(client, buffer, greeting(fake->version, buffer), MSG_NOSIGNAL);
    while (recv(client, buffer, sizeof(buffer), 0) > 0)
        continue;
    close(client);
    return NULL;
}

static void fake_start(struct fake *fake, const char *version)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);

    fake->version = version;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fake->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fake->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fake->fd, 5), 0);
    assert_int_equal(getsockname(fake->fd, (struct sockaddr *)&address, &size), 0);
    fake->port = ntohs(address.sin_port);
    if (version != NULL)
        assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
}

static void fake_stop(struct fake *fake)
{
    if (fake->version != NULL)
        pthread_join(fake->thread, NULL);
    close(fake->fd);
}

static void old_servers_are_refused(void **state)
{
    struct poly_pg_target *target;
    struct fake fake;
    struct poly_pg *pg;
    char url[80], wanted[80];

    (void)state;
    fake_start(&fake, "14.2 (Debian 14.2-1)");
    snprintf(url, sizeof(url), "postgresql://app@127.0.0.1:%d/app", fake.port);
    target = target_of((struct poly_pg_options){.url = url});
    assert_fails(poly_pg_open(target, -1, &pg, &err), POLY_UNSUPPORTED);
    snprintf(wanted, sizeof(wanted), "PostgreSQL 14.2 at 127.0.0.1:%d is older than 15", fake.port);
    assert_message(wanted);
    poly_pg_target_free(target);
    fake_stop(&fake);
}

/* The one that says nothing costs its own time only; all are named. */
static void silent_servers_are_left(void **state)
{
    struct fake silent, closed;
    struct poly_pg_target *target;
    struct poly_pg *pg;
    char url[120], silent_at[40], closed_at[40];

    (void)state;
    fake_start(&silent, NULL);
    fake_start(&closed, NULL);
    fake_stop(&closed);
    snprintf(url, sizeof(url), "postgresql://app:secret@127.0.0.1:%d,127.0.0.1:%d/app", silent.port,
             closed.port);
    snprintf(silent_at, sizeof(silent_at), "127.0.0.1:%d: no answer", silent.port);
    snprintf(closed_at, sizeof(closed_at), "127.0.0.1:%d: Connection refused", closed.port);
    target = target_of((struct poly_pg_options){.url = url, .connect_ms = 50});
    assert_fails(poly_pg_open(target, -1, &pg, &err), POLY_UNAVAILABLE);
    assert_message(silent_at);
    assert_message(closed_at);
    assert_null(strstr(err.message, "secret"));
    /* The caller's deadline ends it before the second. */
    assert_fails(poly_pg_open(target, poly_clock_monotonic() + 1000, &pg, &err), POLY_UNAVAILABLE);
    assert_null(strstr(err.message, closed_at));
    poly_pg_target_free(target);
    fake_stop(&silent);
}

/* Everyone who waits behind a connect that fails is told at once. */
static void a_pool_without_a_server_says_so(void **state)
{
    struct poly_pg_pool_numbers numbers;
    struct fake closed;
    struct poly_pg_pool *pool;
    struct poly_pg *pg;
    char url[80];

    (void)state;
    fake_start(&closed, NULL);
    fake_stop(&closed);
    snprintf(url, sizeof(url), "postgresql://app@127.0.0.1:%d/app", closed.port);
    assert_ok(
        poly_pg_pool_open(&(struct poly_pg_options){.url = url}, NULL, NULL, NULL, &pool, &err));
    assert_fails(poly_pg_pool_take(pool, -1, &pg, &err), POLY_UNAVAILABLE);
    assert_message("Connection refused");
    poly_pg_pool_numbers(pool, &numbers);
    assert_int_equal(numbers.max, 20);
    assert_true(numbers.failures >= 1);
    assert_int_equal(numbers.in_use, 0);
    poly_pg_pool_close(pool);
    poly_pg_pool_close(NULL);
    assert_fails(poly_pg_pool_open(&(struct poly_pg_options){.url = "host=a secret"}, NULL, NULL,
                                   NULL, &pool, &err),
                 POLY_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_texts_are_not_shown),
        cmocka_unit_test(host_lists_are_taken_apart),
        cmocka_unit_test(passwords_come_from_elsewhere),
        cmocka_unit_test(settings_travel_with_the_start),
        cmocka_unit_test(states_are_mapped),
        cmocka_unit_test(words_are_one_line),
        cmocka_unit_test(capacity_is_warned_about),
        cmocka_unit_test(odd_columns_do_no_harm),
        cmocka_unit_test(old_servers_are_refused),
        cmocka_unit_test(silent_servers_are_left),
        cmocka_unit_test(a_pool_without_a_server_says_so),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
