/*
 * Tests in C reach their servers, and can hurt them: what later drivers' tests
 * stand on. No client library here, a socket does.
 */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"

static char said[CONTROL_LINE];

static void order(const char *text)
{
    if (!control_order(said, sizeof(said), "%s", text))
        fail_msg("%s: %s", text, said);
}

/* A connection to the address of a URL; -1: refused. */
static int reach(const char *name)
{
    const char *url = control_url(name);
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_non_null(url);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    return -1;
}

/* Whether the other end answers a request for TLS, as PostgreSQL does before anything else. */
static bool answers(int fd)
{
    static const unsigned char request[8] = {0, 0, 0, 8, 4, 210, 22, 47};
    char answer = 0;

    if (send(fd, request, sizeof(request), MSG_NOSIGNAL) != sizeof(request) ||
        recv(fd, &answer, 1, 0) != 1)
        return false;
    return answer == 'S' || answer == 'N';
}

static void test_server_answers(void **state)
{
    int fd = reach("POSTGRESQL_URL");

    (void)state;
    assert_true(answers(fd));
    close(fd);
    order("postgresql sql SELECT 6 * 7");
    assert_string_equal(said, "42");
    order("postgresql sql SELECT generate_series(1, 3)");
    assert_string_equal(said, "1\n2\n3");
    order("postgresql database");
    assert_int_equal(strncmp(said, "postgresql://app:", 17), 0);
}

static void test_server_is_killed_and_comes_back(void **state)
{
    int fd;

    (void)state;
    order("postgresql sql CREATE TABLE kept AS SELECT 1 AS a");
    order("postgresql kill");
    assert_int_equal(reach("POSTGRESQL_URL"), -1);
    order("postgresql start");
    fd = reach("POSTGRESQL_URL");
    assert_true(answers(fd));
    close(fd);
    order("postgresql sql SELECT a FROM kept");
    assert_string_equal(said, "1");
}

static void test_proxy_resets_and_refuses(void **state)
{
    int fd = reach("POSTGRESQL_PROXY_URL");

    (void)state;
    assert_true(answers(fd));
    order("postgresql-proxy reset");
    assert_false(answers(fd));
    close(fd);
    order("postgresql-proxy refuse");
    assert_int_equal(reach("POSTGRESQL_PROXY_URL"), -1);
    order("postgresql-proxy passes");
    fd = reach("POSTGRESQL_PROXY_URL");
    assert_true(answers(fd));
    close(fd);
}

static void test_orders_that_make_no_sense_say_so(void **state)
{
    (void)state;
    assert_false(control_order(said, sizeof(said), "redis kill"));
    assert_non_null(strstr(said, "there is no 'redis' here"));
    assert_false(control_order(said, sizeof(said), "postgresql dance"));
    assert_non_null(strstr(said, "there are the commands"));
    assert_false(control_order(said, sizeof(said), "postgresql sql SELECT nothing"));
    assert_non_null(strstr(said, "\"nothing\" does not exist"));
    assert_false(control_order(NULL, 0, "%*s", CONTROL_LINE, "long"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_answers),
        cmocka_unit_test(test_server_is_killed_and_comes_back),
        cmocka_unit_test(test_proxy_resets_and_refuses),
        cmocka_unit_test(test_orders_that_make_no_sense_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
