/*
 * polystore.yaml → struct poly_config. One table of options (config.c) reads
 * the file, gives the defaults, prints docs/configuration.md and names the
 * environment variables: nothing is listed twice.
 */
#ifndef POLY_CORE_CONFIG_H
#define POLY_CORE_CONFIG_H

#include <stdio.h>

#include "core/domain.h"
#include "polystore/value.h"

/*
 * file and text as in struct poly_options; both NULL: defaults. A relative
 * path in the file is relative to the file's folder. The environment
 * (POLYSTORE_LISTEN_HTTP, and so on) goes before either. Free with
 * poly_config_free(). POLY_INVALID names file, line and what would be right;
 * an unknown option is an error, with the nearest known name.
 */
enum poly_status poly_config_load(const char *file, const char *text, struct poly_config **config,
                                  struct poly_error *err);
/* Of domains alone, as one that was made is kept: what stands beside them, in the environment or in
 * another text, is not looked at. */
enum poly_status poly_config_define(const char *text, struct poly_config **config,
                                    struct poly_error *err);
void poly_config_free(struct poly_config *config);

/* NULL: there is none of that name. */
const struct poly_domain *poly_config_domain(const struct poly_config *config, const char *name);

/* --- domains that are made while running: a configuration with one domain, each --- */

/* Of all: domains[0 .. poly_config_domains()). */
static inline size_t poly_config_domains(const struct poly_config *config)
{
    return atomic_load(config->domains_all);
}

/* Room for them; once, before anybody else uses the configuration. */
enum poly_status poly_config_room(struct poly_config *config, struct poly_error *err);
/*
 * The domain that was made with this definition when the log ended at since; a new one, not live
 * yet, where there is none. It stays until poly_config_free(). One caller at a time. POLY_LIMIT;
 * POLY_CORRUPT: it is no definition of that name.
 */
enum poly_status poly_config_make(struct poly_config *config, const char *name, uint64_t since,
                                  const char *definition, const struct poly_domain **domain,
                                  struct poly_error *err);
const struct poly_embedder_config *poly_config_embedder(const struct poly_config *config,
                                                        const char *name);
const struct poly_store_config *poly_config_store(const struct poly_config *config,
                                                  const char *name);

/*
 * A record of the log, by its domain's name and its position. POLY_RECORD_NOBODY: of no domain that
 * is known here. POLY_RECORD_PAST: of one that has gone, so only that it was deleted is of
 * interest. *sure: false where one that was made elsewhere, and is not known here yet, may have it.
 */
enum poly_record_owner { POLY_RECORD_NOBODY, POLY_RECORD_PAST, POLY_RECORD_NOW };
enum poly_record_owner poly_config_owner(const struct poly_config *config, struct poly_text name,
                                         uint64_t position, bool *sure);

/* Is the domain's vector searched in its own table, and not in what follows the log? */
bool poly_config_in_table(const struct poly_config *config, const struct poly_domain *domain,
                          const struct poly_domain_vector *vector);

/* The reference: every option with type, default, range, meaning. Markdown. */
void poly_config_print_reference(FILE *out);

#endif
