/*
 * What a driver can do, and how. Each driver's table has a list; a name in it is the same in the
 * lists of all drivers of that store, so what differs between two of them is what the page of
 * differences is printed from (docs/print.c), and what the tests go by: a name that no test checks
 * fails, and so does one that is not here.
 */
#ifndef POLY_CORE_CAPABILITY_H
#define POLY_CORE_CAPABILITY_H

#include <stdbool.h>
#include <string.h>

struct poly_capability {
    const char *name; /* NULL: the end of the list */
    bool supported;
    const char *how; /* with this driver, in a few words of Markdown */
};

/* NULL: there is none of that name. */
static inline const struct poly_capability *
poly_capability(const struct poly_capability *capabilities, const char *name)
{
    for (; capabilities->name != NULL; capabilities++) {
        if (strcmp(capabilities->name, name) == 0)
            return capabilities;
    }
    return NULL;
}

#endif
