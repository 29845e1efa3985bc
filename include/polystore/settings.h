/*
 * The configuration as the programs around an instance need it: where the data
 * is, where to listen. Read without opening anything.
 */
#ifndef POLYSTORE_SETTINGS_H
#define POLYSTORE_SETTINGS_H

#include <stdbool.h>
#include <stdio.h>

#include "polystore/instance.h"

#ifdef __cplusplus
extern "C" {
#endif

struct poly_settings {
    const char *data;       /* folder */
    const char *migrations; /* folder; NULL: none */
    const char *listen_http;
    const char *tls_certificate, *tls_key; /* files; NULL: none */
    bool listen_insecure;                  /* plain HTTP on other addresses than loopback */
    uint32_t connections_max, body_max_kib, request_timeout_ms, rows_max, rate_per_tenant;
    size_t domain_count;
};

/*
 * options as for poly_open(). Checks the whole configuration: POLY_INVALID names file, line and
 * what would be right. Free with poly_settings_free().
 */
POLY_API enum poly_status poly_settings_load(const struct poly_options *options,
                                             struct poly_settings **settings,
                                             struct poly_error *err) POLY_MUST_USE;
POLY_API void poly_settings_free(struct poly_settings *settings); /* NULL is accepted */

/* Every option with type, default, range and meaning, as Markdown: docs/configuration.md. */
POLY_API void poly_settings_print_reference(FILE *out);

#ifdef __cplusplus
}
#endif
#endif
