/* An instance of its own for each test, with and without a tenant. */
#ifndef TEST_CORE_PLACE_H
#define TEST_CORE_PLACE_H

#include "fixture.h"

#include "lab.h"

struct place {
    struct fixture f;
    struct poly_instance *instance;
    struct poly_session *session; /* no tenant, all rights */
    struct poly_session *acme;    /* tenant "acme" */
};

static struct poly_error err;

static const char core_config[] = "domains:\n"
                                  "  orders: {stream: order}\n"
                                  "  visits: {stream: visit, tenant: session}\n";

static inline void place_open(struct place *p)
{
    fixture_open(&p->f, core_config);
    p->instance = p->f.instance;
    p->session = p->f.admin;
    p->acme = lab_session(p->instance, "acme");
}

static inline void place_close(struct place *p)
{
    fixture_end(&p->acme);
    fixture_close(&p->f);
}

static inline void place_reopen(struct place *p)
{
    place_close(p);
    place_open(p);
}

static inline int place_setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -1;
    fixture_make(&p->f);
    place_open(p);
    *state = p;
    return 0;
}

static inline int place_teardown(void **state)
{
    struct place *p = *state;

    place_close(p);
    fixture_remove(&p->f);
    free(p);
    return 0;
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

#endif
