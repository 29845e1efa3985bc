/* SQL functions of the wall's connections: poly_tenant(), and instr, replace and trim in bounded
 * time. */
#ifndef POLY_STORES_RELATIONAL_EMBEDDED_FUNCTION_H
#define POLY_STORES_RELATIONAL_EMBEDDED_FUNCTION_H

#include "stores/relational/embedded.h"

/* The wall must live as long as its connection. */
enum poly_status poly_function_register(struct poly_wall *wall, struct poly_error *err);

#endif
