/*
 * The certificate and its key, and how new ones are taken up while requests
 * are served. One for a process: GnuTLS tells a handshake nothing of ours.
 */
#ifndef POLY_SERVER_TLS_H
#define POLY_SERVER_TLS_H

#include <gnutls/abstract.h>

#include "polystore.h"

struct server_tls;

/*
 * Reads and checks both files, whose names must outlive it. POLY_INVALID: one cannot be read, or
 * they do not fit together. POLY_DENIED: everybody can read the key.
 */
enum poly_status server_tls_open(const char *certificate, const char *key, struct server_tls **tls,
                                 struct poly_error *err);
/* Reads them again, for the connections that come. On an error those before stay. Main only. */
enum poly_status server_tls_reload(struct server_tls *tls, struct poly_error *err);
/* No connection may be open any more. NULL: nothing. */
void server_tls_free(struct server_tls *tls);

/* What a handshake asks, on any thread. */
gnutls_certificate_retrieve_function2 server_tls_pick;

#endif
