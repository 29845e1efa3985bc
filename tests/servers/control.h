/*
 * For tests that tests/servers/with runs: the servers' addresses, and orders to
 * them (kill, promote, faults on the wire). One thread at a time.
 */
#ifndef TEST_CONTROL_H
#define TEST_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

enum { CONTROL_LINE = 65536 };

/* The address in POLY_TEST_<name>, such as "POSTGRESQL_URL". NULL: there is no such server. */
const char *control_url(const char *name);

/*
 * Gives an order and waits until it is done: "postgresql kill", "postgresql sql SELECT 1",
 * "postgresql-proxy cut 1000 to_client"; control.py and proxy.py have the lists. value (may be
 * NULL) gets what it said. false: it failed, and value says why; a server that somebody else runs
 * refuses what would hurt it with a value that begins with "skipped ".
 */
__attribute__((format(printf, 3, 4))) bool control_order(char *value, size_t size,
                                                         const char *format, ...);

#endif
