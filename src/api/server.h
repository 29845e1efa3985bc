/* The numbers of a server and of the connections to it, as JSON, metrics and schemas have them: one
 * list each. */
#ifndef POLY_API_SERVER_H
#define POLY_API_SERVER_H

/* X(member of struct poly_pool_status, kind of metric, meaning) */
#define API_POOL_COUNTS(X)                                                                         \
    X(max, gauge, "connections that this daemon may open")                                         \
    X(open, gauge, "connections that it has open")                                                 \
    X(in_use, gauge, "connections that somebody has")                                              \
    X(waiting, gauge, "callers that wait for one")                                                 \
    X(taken, counter, "connections that were given out")                                           \
    X(waited, counter, "of these, that were waited for")                                           \
    X(timeouts, counter, "callers that gave up waiting")                                           \
    X(connects, counter, "connections that were made")                                             \
    X(failures, counter, "connections that could not be made")                                     \
    X(broken, counter, "connections that were lost")

#define API_POOL_TIMES(X)                                                                          \
    X(wait, counter, "time spent waiting for connections")                                         \
    X(wait_max, gauge, "longest wait for a connection")

/* The same of struct poly_server_status. */
#define API_SERVER_COUNTS(X)                                                                       \
    X(retries, counter, "transactions that ran again")                                             \
    X(era, gauge, "how often a standby has taken over")                                            \
    X(connections, gauge, "connections of everybody to the server")                                \
    X(connections_max, gauge, "connections that the server allows")                                \
    X(connections_active, gauge, "connections that run a statement")                               \
    X(slow_statements, gauge, "statements whose mean time is over 1,000 ms")                       \
    X(long_running, gauge, "statements that have been running for over 1,000 ms")                  \
    X(log_bytes, gauge, "size of the log with its indexes")                                        \
    X(tables_bytes, gauge, "size of all other tables with their indexes")                          \
    X(replicas, gauge, "servers that stream from this one")

#define API_SERVER_TIMES(X)                                                                        \
    X(replica_lag, gauge, "how far the last replica is behind; 0: nothing is known")               \
    X(readers_held, gauge, "for so long an open transaction has held up who reads the log")

#define API_SLOW_SOURCES "pg_stat_statements|polystore"

#endif
