/* Our own invariants, checked in release builds too. Never for bytes from disk or wire. */
#ifndef POLY_BASE_ASSERT_H
#define POLY_BASE_ASSERT_H

_Noreturn void poly_assert_failed(const char *what, const char *file, int line)
    __attribute__((cold));

#define poly_assert(x) ((x) ? (void)0 : poly_assert_failed(#x, __FILE__, __LINE__))

#endif
