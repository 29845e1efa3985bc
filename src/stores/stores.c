/* Every driver of every store that follows the log, in one table. */
#include "core/driver.h"
#include "stores/search/driver.h"

const struct poly_driver *const poly_drivers[] = {
    &poly_search_embedded.base,
    NULL,
};

#include "core/instance.h"
enum poly_status poly_stores_start(struct poly_instance *instance, struct poly_error *err){(void)instance;(void)err;return POLY_OK;}
void poly_stores_stop(struct poly_instance *instance){(void)instance;}
enum poly_status poly_stores_problem(struct poly_instance *instance,
                                     const struct poly_domain *domain, struct poly_arena *arena,
                                     struct poly_text *problem, struct poly_error *err){(void)instance;(void)domain;(void)arena;(void)err;*problem=poly_text("");return POLY_OK;}
enum poly_status poly_stores_large(struct poly_instance *instance, struct poly_db *db,
                                   const struct poly_record *record, struct poly_arena *arena,
                                   struct poly_text *json, struct poly_error *err){(void)instance;(void)db;(void)record;(void)arena;(void)json;return poly_no_memory(err);}
