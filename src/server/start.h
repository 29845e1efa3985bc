/* What happens once, before the first request: the first key; and the system's service manager. */
#ifndef POLY_SERVER_START_H
#define POLY_SERVER_START_H

#include <stdbool.h>

#include "polystore.h"

/*
 * When there is no API key at all: makes an administrator's and writes it to
 * <data>/admin.key, for its owner's eyes only. path: where; empty: none was made.
 */
enum poly_status server_first_key(struct poly_instance *instance, char path[4096],
                                  struct poly_error *err);

/* Tells the service manager ("READY=1"), if there is one that wants to know. */
void server_notify(const char *state);

#endif
