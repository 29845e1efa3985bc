/*
 * The bare libmicrohttpd peer: answers every request with the same headers and
 * bytes, from its own polling thread (epoll), which is its fastest way.
 *
 *   bench-peer-http PORT BODY-FILE [NAME: VALUE]…
 *
 * Says "ready" and serves until its standard input ends.
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    static int seen;

    (void)url;
    (void)method;
    (void)version;
    (void)upload;
    if (*state == NULL) {
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size != 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, arg);
}

static struct MHD_Response *load(const char *path)
{
    static char body[65536];
    FILE *file = fopen(path, "rb");
    size_t size;

    if (file == NULL)
        BENCH_DIE("%s: cannot be read", path);
    size = fread(body, 1, sizeof(body), file);
    fclose(file);
    return MHD_create_response_from_buffer(size, body, MHD_RESPMEM_PERSISTENT);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct MHD_Response *response;
    struct MHD_Daemon *daemon;
    char byte;

    if (argc < 3)
        BENCH_DIE("bench-peer-http PORT BODY-FILE [NAME: VALUE]...");
    response = load(argv[2]);
    for (int i = 3; i < argc; i++) {
        char *colon = strchr(argv[i], ':');

        if (colon == NULL)
            BENCH_DIE("'%s' is no header", argv[i]);
        *colon = '\0';
        MHD_add_response_header(response, argv[i], colon + 1 + strspn(colon + 1, " "));
    }
    address.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, response,
                              MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_CONNECTION_LIMIT, 1024U,
                              MHD_OPTION_END);
    if (daemon == NULL)
        BENCH_DIE("port %s: cannot be served", argv[1]);
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    MHD_stop_daemon(daemon);
    MHD_destroy_response(response);
    return 0;
}
