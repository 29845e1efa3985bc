/* A server of the configuration, as base/postgres wants to hear of it. */
#ifndef POLY_CORE_SERVER_H
#define POLY_CORE_SERVER_H

#include "base/postgres_pool.h"
#include "core/domain.h"

static inline struct poly_pg_options poly_server_options(const struct poly_server *server)
{
    return (struct poly_pg_options){.url = server->url,
                                    .password_env = server->password_env,
                                    .password_file = server->password_file,
                                    .application_name = "polystore",
                                    .connect_ms = (int)server->pool_connect_ms};
}

static inline struct poly_pg_pool_options poly_server_pool(const struct poly_server *server)
{
    return (struct poly_pg_pool_options){.max = (int)server->pool_max,
                                         .min = server->pool_min == 0 ? -1 : (int)server->pool_min,
                                         .idle_ms = (int)server->pool_idle_ms,
                                         .acquire_ms = (int)server->pool_acquire_ms};
}

#endif
