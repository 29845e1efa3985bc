/* A program that knows libpq and nothing of us, and an instance on the same server. */
#ifndef POLY_BENCH_STRANGER_H
#define POLY_BENCH_STRANGER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "common.h"
#include "polystore.h"

static inline void must(PGconn *conn, bool good)
{
    if (!good)
        BENCH_DIE("libpq: %s", PQerrorMessage(conn));
}

static inline PGconn *connect_bare(const char *url)
{
    PGconn *conn = PQconnectdb(url);

    must(conn, PQstatus(conn) == CONNECTION_OK);
    return conn;
}

static inline void finish(PGconn *conn, PGresult *result)
{
    must(conn, PQresultStatus(result) == PGRES_COMMAND_OK);
    PQclear(result);
}

/* domains: as in the configuration. */
static inline struct poly_instance *open_instance(const char *folder, const char *url,
                                                  const char *domains)
{
    char config[1024], data[4096];
    struct poly_options options = {.config_text = config, .data = data};
    struct poly_instance *instance;
    struct poly_error err;

    snprintf(config, sizeof(config),
             "stores: {relational: {driver: postgresql, url: \"%s\"}}\n"
             "domains: {%s}\n",
             url, domains);
    mkdir(folder, 0755);
    snprintf(data, sizeof(data), "%s/data", folder);
    BENCH_OK(poly_open(&options, &instance, &err));
    return instance;
}

#endif
