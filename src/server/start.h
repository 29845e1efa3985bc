/* What happens once, before the first request: the first key, files for TLS, and the system's
 * service manager. */
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

/* A PEM file as text, to be freed. secret: others may not be able to read it. */
enum poly_status server_read_pem(const char *path, bool secret, char **text,
                                 struct poly_error *err);

/* Do the two belong together? POLY_INVALID: no, or one of them cannot be read. */
enum poly_status server_check_pair(const char *certificate, const char *key,
                                   struct poly_error *err);

/* Tells the service manager ("READY=1"), if there is one that wants to know. */
void server_notify(const char *state);

#endif
