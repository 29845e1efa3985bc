/*
 * polystore.yaml → struct poly_config. One table of options (config.c) reads
 * the file, gives the defaults, prints docs/configuration.md and names the
 * environment variables: nothing is listed twice.
 */
#ifndef POLY_CORE_CONFIG_H
#define POLY_CORE_CONFIG_H

#include <stdio.h>

#include "core/domain.h"

/*
 * file and text as in struct poly_options; both NULL: defaults. A relative
 * path in the file is relative to the file's folder. The environment
 * (POLYSTORE_LISTEN_HTTP, and so on) goes before either. Free with
 * poly_config_free(). POLY_INVALID names file, line and what would be right;
 * an unknown option is an error, with the nearest known name.
 */
enum poly_status poly_config_load(const char *file, const char *text, struct poly_config **config,
                                  struct poly_error *err);
void poly_config_free(struct poly_config *config);

const struct poly_domain *poly_config_domain(const struct poly_config *config, const char *name);
const struct poly_store_config *poly_config_store(const struct poly_config *config,
                                                  const char *name);

/* The reference: every option with type, default, range, meaning. Markdown. */
void poly_config_print_reference(FILE *out);

#endif
