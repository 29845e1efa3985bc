/* An instance in a folder of its own for each test, with and without a tenant. */
#ifndef TEST_CORE_PLACE_H
#define TEST_CORE_PLACE_H

#include "test.h"

#include "lab.h"

struct place {
    char data[LAB_PATH];
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
    p->instance = lab_open(p->data, core_config);
    p->session = lab_session(p->instance, NULL);
    p->acme = lab_session(p->instance, "acme");
}

static inline void place_close(struct place *p)
{
    poly_session_close(p->session);
    poly_session_close(p->acme);
    poly_close(p->instance);
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
    lab_folder_make(p->data);
    place_open(p);
    *state = p;
    return 0;
}

static inline int place_teardown(void **state)
{
    struct place *p = *state;

    place_close(p);
    lab_folder_remove(p->data);
    free(p);
    return 0;
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

#endif
