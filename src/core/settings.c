/* The configuration for programs outside the library: the part of struct poly_config that they
 * need, and nothing that would tie them to its inside. */
#include "polystore/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "core/config.h"

struct loaded {
    struct poly_settings settings; /* first: poly_settings_free() is given this */
    struct poly_config *config;    /* owns the texts … */
    char *data;                    /* … but this one, which is the caller's choice */
};

static void fill(struct poly_settings *settings, const struct poly_config *config, const char *data)
{
    *settings = (struct poly_settings){
        .data = data != NULL ? data : config->data,
        .migrations = config->migrations,
        .listen_http = config->listen_http,
        .tls_certificate = config->tls_certificate,
        .tls_key = config->tls_key,
        .listen_insecure = config->listen_insecure,
        .connections_max = config->connections_max,
        .body_max_kib = config->body_max_kib,
        .request_timeout_ms = config->request_timeout_ms,
        .rows_max = config->rows_max,
        .rate_per_tenant = config->rate_per_tenant,
        .domain_count = config->domain_count,
    };
}

enum poly_status poly_settings_load(const struct poly_options *options,
                                    struct poly_settings **settings, struct poly_error *err)
{
    static const struct poly_options none;
    const struct poly_options *from = options == NULL ? &none : options;
    struct poly_config *config;
    enum poly_status status =
        poly_config_load(from->config_file, from->config_text, &config, err);

    if (status != POLY_OK)
        return status;

    struct loaded *loaded = calloc(1, sizeof(*loaded));
    char *data = from->data == NULL ? NULL : strdup(from->data);

    if (loaded == NULL || (from->data != NULL && data == NULL)) {
        free(loaded);
        free(data);
        poly_config_free(config);
        return poly_no_memory(err);
    }
    loaded->config = config;
    loaded->data = data;
    fill(&loaded->settings, config, data);
    *settings = &loaded->settings;
    return POLY_OK;
}

void poly_settings_free(struct poly_settings *settings)
{
    struct loaded *loaded = (struct loaded *)settings;

    if (loaded == NULL)
        return;
    poly_config_free(loaded->config);
    free(loaded->data);
    free(loaded);
}

void poly_settings_print_reference(FILE *out)
{
    poly_config_print_reference(out);
}
