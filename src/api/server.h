/* The numbers of a server that keeps the log, as JSON, metrics and schemas have them: one list. */
#ifndef POLY_API_SERVER_H
#define POLY_API_SERVER_H

/* X(member of struct poly_server_status, kind of metric, meaning) */
#define API_SERVER_COUNTS(X)                                                                       \
    X(pool_max, gauge, "connections that this daemon may open")                                    \
    X(pool_open, gauge, "connections that it has open")                                            \
    X(pool_in_use, gauge, "connections that somebody has")                                         \
    X(pool_waiting, gauge, "callers that wait for one")                                            \
    X(pool_taken, counter, "connections that were given out")                                      \
    X(pool_waited, counter, "of these, that were waited for")                                      \
    X(pool_timeouts, counter, "callers that gave up waiting")                                      \
    X(pool_connects, counter, "connections that were made")                                        \
    X(pool_failures, counter, "connections that could not be made")                                \
    X(pool_broken, counter, "connections that were lost")                                          \
    X(retries, counter, "transactions that ran again")                                             \
    X(connections, gauge, "connections of everybody to the server")                                \
    X(connections_max, gauge, "connections that the server allows")                                \
    X(connections_active, gauge, "connections that run a statement")                               \
    X(slow_statements, gauge, "statements that have run for over 1,000 ms")                        \
    X(log_bytes, gauge, "size of the log with its indexes")                                        \
    X(tables_bytes, gauge, "size of all other tables with their indexes")                          \
    X(replicas, gauge, "servers that stream from this one")

#define API_SERVER_TIMES(X)                                                                        \
    X(pool_wait, counter, "time spent waiting for connections")                                    \
    X(pool_wait_max, gauge, "longest wait for a connection")                                       \
    X(replica_lag, gauge, "how far the last replica is behind; 0: nothing is known")               \
    X(readers_held, gauge, "for so long an open transaction has held up who reads the log")

#endif
