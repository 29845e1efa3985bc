/* Handlers alone: each test with a library that writes down how it is called, and a sink for what
 * is answered. */
#ifndef API_PLACE_H
#define API_PLACE_H

#include "../test.h"

#include "api_help.h"
#include "fake_polystore.h"

static struct poly_error err;
static struct memory_sink sink;

static inline int set_up(void **state)
{
    (void)state;
    fake_reset();
    memory_sink_init(&sink);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    memory_sink_release(&sink);
    assert_int_equal(fake.open_transactions, 0);
    assert_int_equal(fake.open_subscriptions, 0);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

/* The answer is in the sink, and nothing of one before. */
static inline enum poly_status run(const char *method, const char *target, const char *body)
{
    struct call call = {.method = method, .target = target, .body = body};

    memory_sink_release(&sink);
    memory_sink_init(&sink);
    return api_run(fake_session(), &call, &sink, &err);
}

#endif
