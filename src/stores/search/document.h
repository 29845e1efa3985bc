/* Which records search is about. */
#ifndef POLY_STORES_SEARCH_DOCUMENT_H
#define POLY_STORES_SEARCH_DOCUMENT_H

#include "core/driver.h"

/* For the driver's shape(). */
bool poly_document_shape(const struct poly_config *config, poly_shape_fn *add, void *arg);
/* Is it the name of a domain that is searched, or the category of its streams? */
bool poly_document_wants(const struct poly_config *config, struct poly_text domain);

#endif
