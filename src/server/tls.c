/*
 * Handshakes take the current pair without a lock and without a count, so one
 * that was replaced stays until no handshake can be left that began with it:
 * the watch ends those that take longer than their headers may.
 */
#include "server/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/status.h"

enum { PEM_MAX = 1024 * 1024, CHAIN_MAX = 16, REPLACED_MAX = 16 };
static const int64_t linger_us = 4000LL * POLY_HEADER_TIMEOUT_MS;

struct pair {
    struct pair *next;
    int64_t replaced; /* monotonic */
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned length;
    gnutls_privkey_t key;
};

struct server_tls {
    const char *certificate, *key;
    struct pair *replaced; /* the newest first */
    unsigned count;
};

static _Atomic(struct pair *) current;

int server_tls_pick(gnutls_session_t session, const gnutls_datum_t *names, int name_count,
                    const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                    gnutls_pcert_st **chain, unsigned *length, gnutls_privkey_t *key)
{
    struct pair *pair = atomic_load(&current);

    (void)session;
    (void)names;
    (void)name_count;
    (void)algorithms;
    (void)algorithm_count;
    *chain = pair->chain;
    *length = pair->length;
    *key = pair->key;
    return 0;
}

/* --- files --- */

static enum poly_status check_file(int fd, const char *path, bool secret, size_t *size,
                                   struct poly_error *err)
{
    struct stat s;
    if (fstat(fd, &s) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "'%.400s': %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode) || s.st_size <= 0 || s.st_size > PEM_MAX)
        return poly_fail(err, POLY_INVALID, "'%.400s': a PEM file has 1 byte to 1 MiB", path);
    if (secret && (s.st_mode & S_IRWXO) != 0)
        return poly_fail(err, POLY_DENIED, "'%.200s': everybody can read this private key; "
                         "run 'chmod o= %.200s'", path, path);
    *size = (size_t)s.st_size;
    return POLY_OK;
}

static enum poly_status read_pem(const char *path, bool secret, gnutls_datum_t *text,
                                 struct poly_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum poly_status status;
    char *pem = NULL;
    size_t size = 0;

    if (fd < 0)
        return poly_fail(err, POLY_INVALID, "'%.400s': %s", path, strerror(errno));
    status = check_file(fd, path, secret, &size, err);
    if (status == POLY_OK && (pem = malloc(size + 1)) == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK) {
        ssize_t n = read(fd, pem, size);
        pem[n < 0 ? 0 : n] = '\0';
        *text = (gnutls_datum_t){(unsigned char *)pem, n < 0 ? 0 : (unsigned)n};
        if (strstr(pem, "-----BEGIN ") == NULL)
            status = poly_fail(err, POLY_INVALID, "'%.400s' is no PEM file", path);
    }
    close(fd);
    return status;
}

static void wipe(gnutls_datum_t *text)
{
    if (text->data != NULL)
        explicit_bzero(text->data, text->size);
    free(text->data);
}

/* --- pairs --- */

/* Do the two belong together? */
static enum poly_status check_pair(const gnutls_datum_t *chain, const gnutls_datum_t *key,
                                   struct poly_error *err)
{
    gnutls_certificate_credentials_t credentials;
    int code = gnutls_certificate_allocate_credentials(&credentials);

    if (code != GNUTLS_E_SUCCESS)
        return poly_no_memory(err);
    code = gnutls_certificate_set_x509_key_mem(credentials, chain, key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    if (code >= 0)
        return POLY_OK;
    return poly_fail(err, POLY_INVALID, "listen.tls: the certificate and the key do not fit "
                     "together: %s", gnutls_strerror(code));
}

static void pair_free(struct pair *pair)
{
    if (pair == NULL)
        return;
    for (unsigned i = 0; i < pair->length; i++)
        gnutls_pcert_deinit(&pair->chain[i]);
    if (pair->key != NULL)
        gnutls_privkey_deinit(pair->key);
    free(pair);
}

static enum poly_status pair_new(const gnutls_datum_t *chain, const gnutls_datum_t *key,
                                 struct pair **made, struct poly_error *err)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    unsigned length = CHAIN_MAX;
    int code;

    if (pair == NULL)
        return poly_no_memory(err);
    code = gnutls_pcert_list_import_x509_raw(pair->chain, &length, chain, GNUTLS_X509_FMT_PEM,
                                             GNUTLS_X509_CRT_LIST_SORT);
    if (code >= 0) {
        pair->length = length;
        code = gnutls_privkey_init(&pair->key);
    }
    if (code >= 0)
        code = gnutls_privkey_import_x509_raw(pair->key, key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (code >= 0) {
        *made = pair;
        return POLY_OK;
    }
    pair_free(pair);
    return poly_fail(err, POLY_INVALID, "listen.tls: the certificate cannot be used: %s",
                     gnutls_strerror(code));
}

static enum poly_status read_pair(const struct server_tls *tls, struct pair **pair,
                                  struct poly_error *err)
{
    gnutls_datum_t chain = {NULL, 0}, key = {NULL, 0};
    enum poly_status status = read_pem(tls->certificate, false, &chain, err);

    if (status == POLY_OK)
        status = read_pem(tls->key, true, &key, err);
    if (status == POLY_OK)
        status = check_pair(&chain, &key, err);
    if (status == POLY_OK)
        status = pair_new(&chain, &key, pair, err);
    wipe(&key);
    wipe(&chain);
    return status;
}

/* Frees those whose last handshake is over by now. */
static void sweep(struct server_tls *tls, int64_t now)
{
    struct pair **at = &tls->replaced;

    while (*at != NULL) {
        struct pair *pair = *at;
        if (now - pair->replaced < linger_us) {
            at = &pair->next;
            continue;
        }
        *at = pair->next;
        tls->count--;
        pair_free(pair);
    }
}

enum poly_status server_tls_reload(struct server_tls *tls, struct poly_error *err)
{
    int64_t now = poly_clock_monotonic();
    struct pair *pair;
    enum poly_status status;

    sweep(tls, now);
    if (tls->count >= REPLACED_MAX)
        return poly_fail(err, POLY_LIMIT, "listen.tls: %d certificates were taken up just now",
                         REPLACED_MAX);
    status = read_pair(tls, &pair, err);
    if (status != POLY_OK)
        return status;
    pair = atomic_exchange(&current, pair);
    pair->replaced = now;
    pair->next = tls->replaced;
    tls->replaced = pair;
    tls->count++;
    return POLY_OK;
}

enum poly_status server_tls_open(const char *certificate, const char *key, struct server_tls **tls,
                                 struct poly_error *err)
{
    struct server_tls *self = calloc(1, sizeof(*self));
    struct pair *pair;
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    self->certificate = certificate;
    self->key = key;
    status = read_pair(self, &pair, err);
    if (status != POLY_OK) {
        free(self);
        return status;
    }
    atomic_store(&current, pair);
    *tls = self;
    return POLY_OK;
}

void server_tls_free(struct server_tls *tls)
{
    if (tls == NULL)
        return;
    sweep(tls, INT64_MAX);
    pair_free(atomic_exchange(&current, NULL));
    free(tls);
}
