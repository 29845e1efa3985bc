/*
 * The client of embedders when there is no memory: at every allocation of ours the call says so or
 * goes well, and under AddressSanitizer nothing is lost. libcurl's own allocations are not hit.
 */
#include "test.h"

#include "base/clock.h"
#include "control.h"
#include "memory.h"
#include "stores/vector/embedder.h"

enum { DIMENSIONS = 8, TEXTS = 3 };

static struct poly_error err;
static char url[512], said[CONTROL_LINE];

static const struct poly_text texts[TEXTS] = {{"a cab", 5}, {"bad egg", 7}, {"hag", 3}};

static int64_t soon(void)
{
    return poly_clock_monotonic() + 60000000;
}

static void assert_right(const float *vectors)
{
    assert_float_equal(vectors[0], 2.0F / 8, 0);
    assert_float_equal(vectors[DIMENSIONS + 6], 2.0F / 8, 0);
    assert_float_equal(vectors[2 * DIMENSIONS + 7], 1.0F / 8, 0);
}

static void an_embedder_without_memory(void **state)
{
    struct poly_embedder_options options = {.url = url,
                                            .model = "test-model",
                                            .dimensions = DIMENSIONS,
                                            .key_env = "POLY_TEST_EMBEDDER_KEY",
                                            .ca_file = control_url("EMBEDDER_CA"),
                                            .batch_texts = 2,
                                            .retry_ms = 1};
    float vectors[TEXTS * DIMENSIONS];
    struct memory_walk walk = {0};
    int hits = 0;

    (void)state;
    setenv(options.key_env, "a key of some length", 1);
    while (memory_next(&walk)) {
        struct poly_embedder *embedder = NULL;
        size_t done = 0;
        enum poly_status status = poly_embedder_open(&options, &embedder, &err);

        assert_true((status == POLY_OK) == (embedder != NULL));
        if (status == POLY_OK)
            status = poly_embedder_embed(embedder, texts, TEXTS, soon(), vectors, &done, &err);
        assert_int_equal(status, memory_failed() ? POLY_NO_MEMORY : POLY_OK);
        hits += memory_failed();
        /* Then there is memory again. */
        if (embedder != NULL && memory_failed()) {
            assert_ok(poly_embedder_embed(embedder, texts, TEXTS, soon(), vectors, &done, &err));
            assert_int_equal(done, TEXTS);
            assert_right(vectors);
        }
        poly_embedder_close(embedder);
    }
    assert_true(hits > 10);
}

/* An error's words do not fit any more: it is still no answer. */
static void a_failure_without_memory(void **state)
{
    struct poly_embedder_options options = {
        .url = url, .model = "test-model", .dimensions = DIMENSIONS};
    struct memory_walk walk = {0};
    float vectors[TEXTS * DIMENSIONS];

    (void)state;
    assert_true(control_order(said, sizeof(said), "embedder fault status 1000 404"));
    while (memory_next(&walk)) {
        struct poly_embedder *embedder = NULL;
        size_t done = 0;
        enum poly_status status = poly_embedder_open(&options, &embedder, &err);

        if (status == POLY_OK)
            status = poly_embedder_embed(embedder, texts, TEXTS, soon(), vectors, &done, &err);
        assert_int_equal(status, memory_failed() ? POLY_NO_MEMORY : POLY_NOT_FOUND);
        poly_embedder_close(embedder);
    }
    assert_true(control_order(said, sizeof(said), "embedder clear"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_embedder_without_memory),
        cmocka_unit_test(a_failure_without_memory),
    };

    snprintf(url, sizeof(url), "%s/v1", control_url("EMBEDDER_URL"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
