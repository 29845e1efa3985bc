/* What every cmocka test includes, in the order that cmocka asks for. */
#ifndef POLY_TEST_H
#define POLY_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "polystore/status.h"

/* POLY_OK, or the message of the local `struct poly_error err`. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum poly_status assert_status = (call);                                                   \
        if (assert_status != POLY_OK)                                                              \
            fail_msg("%s: %s: %s", #call, poly_status_name(assert_status), err.message);           \
    } while (0)

/* Exactly that status, with a message. Then: does the message say so? */
#define assert_fails(call, wanted)                                                                 \
    do {                                                                                           \
        err.message[0] = '\0';                                                                     \
        enum poly_status assert_status = (call);                                                   \
        if (assert_status != (wanted))                                                             \
            fail_msg("%s: %s, not %s: %s", #call, poly_status_name(assert_status),                 \
                     poly_status_name(wanted), err.message);                                       \
        assert_true(err.message[0] != '\0');                                                       \
    } while (0)

#define assert_message(text)                                                                       \
    do {                                                                                           \
        if (strstr(err.message, (text)) == NULL)                                                   \
            fail_msg("no '%s' in: %s", (text), err.message);                                       \
    } while (0)

#endif
