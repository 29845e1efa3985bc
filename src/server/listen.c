/*
 * Binding and listening are apart: another daemon that comes between the two
 * makes the second fail with the same words as the first.
 */
#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

enum { BACKLOG = 1024, HOST = 256, PORT = 8 };

static enum poly_status split(const char *text, char host[HOST], char port[PORT],
                              struct poly_error *err)
{
    const char *colon = strrchr(text, ':'), *start = text, *end = colon;

    if (colon != NULL && text[0] == '[' && colon > text && colon[-1] == ']') {
        start++;
        end--;
    } else if (colon != NULL && memchr(text, ':', (size_t)(colon - text)) != NULL) {
        return poly_fail(err, POLY_INVALID, "listen '%s': put an IPv6 address in brackets, as in "
                         "'[::1]:7430'", text);
    }
    if (colon == NULL || end == start || end - start >= HOST || colon[1] == '\0' ||
        strlen(colon + 1) >= PORT || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return poly_fail(err, POLY_INVALID, "listen '%s': give ADDRESS:PORT, as in "
                         "'127.0.0.1:7430'", text);
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return POLY_OK;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static void name_address(struct server_address *address)
{
    char host[64], port[8];

    if (getnameinfo((struct sockaddr *)&address->address, address->size, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    snprintf(address->text, sizeof(address->text),
             address->address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

enum poly_status server_address_parse(const char *text, struct server_address *address,
                                      struct poly_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    char host[HOST], port[PORT];
    enum poly_status status = split(text, host, port, err);
    int code;

    if (status != POLY_OK)
        return status;
    code = getaddrinfo(host, port, &hints, &found);
    if (code != 0)
        return poly_fail(err, POLY_INVALID, "listen '%s': %s", text, gai_strerror(code));
    memset(address, 0, sizeof(*address));
    memcpy(&address->address, found->ai_addr, found->ai_addrlen);
    address->size = found->ai_addrlen;
    freeaddrinfo(found);
    address->loopback = is_loopback(&address->address);
    name_address(address);
    return POLY_OK;
}

static enum poly_status taken(const struct server_address *address, struct poly_error *err)
{
    if (errno == EADDRINUSE)
        return poly_fail(err, POLY_UNAVAILABLE, "%s is taken by another process", address->text);
    if (errno == EACCES)
        return poly_fail(err, POLY_DENIED, "%s: this user may not listen there", address->text);
    return poly_fail(err, POLY_UNAVAILABLE, "%s: %s", address->text, strerror(errno));
}

enum poly_status server_address_bind(struct server_address *address, int *bound,
                                     struct poly_error *err)
{
    int one = 1, fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                             0);

    if (fd < 0)
        return taken(address, err);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address->address, address->size) != 0) {
        taken(address, err);
        close(fd);
        return err == NULL ? POLY_UNAVAILABLE : err->status;
    }
    address->size = sizeof(address->address);
    getsockname(fd, (struct sockaddr *)&address->address, &address->size);
    name_address(address);
    *bound = fd;
    return POLY_OK;
}

enum poly_status server_address_listen(const struct server_address *address, int bound,
                                       struct poly_error *err)
{
    return listen(bound, BACKLOG) == 0 ? POLY_OK : taken(address, err);
}
