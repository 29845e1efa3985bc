/* A server of the configuration, as base/postgres wants to hear of it. */
#ifndef POLY_CORE_SERVER_H
#define POLY_CORE_SERVER_H

#include "base/postgres_pool.h"
#include "core/domain.h"
#include "polystore/admin.h"

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

static inline struct poly_pool_status
poly_server_pool_status(const struct poly_pg_pool_numbers *numbers)
{
    return (struct poly_pool_status){.max = numbers->max,
                                     .open = numbers->open,
                                     .in_use = numbers->in_use,
                                     .waiting = numbers->waiting,
                                     .taken = (int64_t)numbers->taken,
                                     .waited = (int64_t)numbers->waited,
                                     .timeouts = (int64_t)numbers->timeouts,
                                     .wait = (int64_t)numbers->wait_us,
                                     .wait_max = (int64_t)numbers->wait_us_max,
                                     .connects = (int64_t)numbers->connects,
                                     .failures = (int64_t)numbers->failures,
                                     .broken = (int64_t)numbers->broken};
}

#endif
