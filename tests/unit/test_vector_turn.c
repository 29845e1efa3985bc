/*
 * The rotation that wide vectors go through before they are coded, in every variant that this
 * machine can run.
 */
#include "test.h"

#include <math.h>

#include "stores/vector/engine/kernel.h"
#include "stores/vector/engine/kernel_loops.h"

static double length(const float *vector, uint32_t dimensions)
{
    double square = 0;

    for (uint32_t i = 0; i < dimensions; i++)
        square += (double)vector[i] * vector[i];
    return sqrt(square);
}

/* A rotation: lengths and products stay, whatever was in one dimension goes into all, and what
 * short codes lose is what they lose of a normal distribution, a tenth of the length. */
static void turns(void **state)
{
    static const uint32_t counts[] = {512, 514, 768, 1000, 1022, 1024, 1026, 1536, 3072, 4096};
    static float one[4096], two[4096], plain[4096];
    _Alignas(64) uint8_t code[4096];
    size_t variants;
    const struct poly_loops *const *list = poly_loops_list(&variants);

    (void)state;
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        const uint32_t count = counts[c];

        for (uint32_t at = 0; at < count; at += 1 + count / 40) {
            const uint32_t other = (at + count / 2) % count;
            struct poly_code_tail tail;
            struct poly_coder coder;
            double product = 0;

            for (size_t v = 0; v < variants; v++) {
                memset(one, 0, sizeof(one));
                memset(two, 0, sizeof(two));
                one[at] = 1;
                two[at] = two[other] = 1;
                list[v]->turn(one, count);
                list[v]->turn(two, count);
                assert_true(v == 0 || memcmp(plain, two, count * sizeof(float)) == 0);
                memcpy(plain, two, sizeof(two));
            }
            for (uint32_t i = 0; i < count; i++) {
                product += (double)one[i] * two[i];
                assert_true(fabsf(one[i]) <= 8 / sqrtf((float)count));
            }
            assert_true(fabs(length(one, count) - 1) < 1e-6 && fabs(product - 1) < 1e-6);
            memset(two, 0, sizeof(two));
            two[at] = two[other] = two[count / 3] = 1;
            poly_coder_init(&coder, POLY_F32, POLY_L2, count);
            poly_coder_encode(&coder, two, code);
            memcpy(&tail, code + coder.stride - sizeof(tail), sizeof(tail));
            if (!(tail.residual <= 0.125F * sqrtf(tail.square)))
                fail_msg("%u dimensions, %u: %g of %g are lost", count, at, (double)tail.residual,
                         (double)sqrtf(tail.square));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
