/* What the driver under test declares (core/capability.h). tools/conformance reads what is printed.
 */
#ifndef POLY_TESTS_DIFFERS_H
#define POLY_TESTS_DIFFERS_H

#include "core/capability.h"
#include "test.h"

/* Is it supported? Fails where the driver does not declare it. The test that asks checks it. */
static inline bool declared(const struct poly_capability *capabilities, const char *name)
{
    const struct poly_capability *one = poly_capability(capabilities, name);

    if (one == NULL)
        fail_msg("'%s' is not declared by this driver: core/capability.h", name);
    printf("checked: %s\n", name);
    return one != NULL && one->supported;
}

#endif
