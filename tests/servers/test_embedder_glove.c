/* Vectors of words that mean something, through the client: texts of like meaning are near. Without
 * npm the server cannot be had, and this is skipped. S3-20 */
#include "test.h"

#include <math.h>

#include "base/clock.h"
#include "control.h"
#include "stores/vector/embedder.h"

enum { DIMENSIONS = 100, TEXTS = 5 };

static struct poly_error err;

static float cosine(const float *a, const float *b)
{
    float ab = 0, aa = 0, bb = 0;

    for (int i = 0; i < DIMENSIONS; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return ab / sqrtf(aa * bb);
}

static void texts_of_like_meaning_are_near(void **state)
{
    static const struct poly_text texts[TEXTS] = {{"bread", 5},
                                                  {"oven", 4},
                                                  {"bread oven", 10},
                                                  {"a cake that was baked", 21},
                                                  {"the election of a senator", 25}};
    static float vectors[2][TEXTS][DIMENSIONS];
    char url[512];
    size_t done;

    (void)state;
    snprintf(url, sizeof(url), "%s/v1", control_url("EMBEDDER_URL"));
    for (int base64 = 0; base64 < 2; base64++) {
        struct poly_embedder_options options = {
            .url = url, .model = "test-model", .dimensions = DIMENSIONS, .base64 = base64 == 1};
        struct poly_embedder *embedder;

        assert_ok(poly_embedder_open(&options, &embedder, &err));
        assert_ok(poly_embedder_embed(embedder, texts, TEXTS, poly_clock_monotonic() + 60000000,
                                      vectors[base64][0], &done, &err));
        assert_int_equal(done, TEXTS);
        poly_embedder_close(embedder);
    }
    for (int i = 0; i < DIMENSIONS; i++)
        assert_float_equal(vectors[0][2][i], (vectors[0][0][i] + vectors[0][1][i]) / 2, 1e-6);
    /* As text and as bytes the same: a word's are singles, a mean's are rounded to one somewhere.
     */
    assert_memory_equal(vectors[0], vectors[1], 2 * sizeof(vectors[0][0]));
    for (int i = 0; i < TEXTS * DIMENSIONS; i++)
        assert_float_equal(vectors[0][i / DIMENSIONS][i % DIMENSIONS],
                           vectors[1][i / DIMENSIONS][i % DIMENSIONS], 1e-6);
    assert_true(cosine(vectors[0][2], vectors[0][3]) > 0.5F);
    assert_true(cosine(vectors[0][2], vectors[0][3]) > cosine(vectors[0][2], vectors[0][4]) + 0.2F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_of_like_meaning_are_near)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
