/* The databases that can own the log and the records. */
#include "owners/postgresql/postgresql.h"

const struct poly_owner_driver *const poly_owners[] = {
    &poly_owner_embedded,
    &poly_owner_postgresql,
    NULL,
};
