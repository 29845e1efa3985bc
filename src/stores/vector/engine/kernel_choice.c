/*
 * Which variant of the loops this machine runs. Chosen from what the processor (and the system,
 * which must keep the wide registers) says of itself, not when the library is built: one library
 * serves all machines.
 */
#include "stores/vector/engine/kernel_loops.h"

#include <stdatomic.h>
#include <stdbool.h>

extern const struct poly_loops poly_loops_plain;
#if defined(__x86_64__)
extern const struct poly_loops poly_loops_avx2, poly_loops_avx512;
#endif

enum { VARIANTS_MAX = 3 };

static const struct poly_loops *variants[VARIANTS_MAX];
static size_t variant_count;
static _Atomic(const struct poly_loops *) used;

#if defined(__x86_64__)
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("popcnt");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq");
}
#endif

/* When the library is loaded, so that no thread ever sees it half done. */
static void __attribute__((constructor)) choose(void)
{
    variants[variant_count++] = &poly_loops_plain;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (has_avx2())
        variants[variant_count++] = &poly_loops_avx2;
    if (has_avx512())
        variants[variant_count++] = &poly_loops_avx512;
#endif
    poly_loops_use(NULL);
}

const struct poly_loops *const *poly_loops_list(size_t *count)
{
    *count = variant_count;
    return variants;
}

const struct poly_loops *poly_loops_now(void)
{
    return atomic_load_explicit(&used, memory_order_relaxed);
}

void poly_loops_use(const struct poly_loops *loops)
{
    atomic_store_explicit(&used, loops != NULL ? loops : variants[variant_count - 1],
                          memory_order_relaxed);
}
