/*
 * The other end is a socket of tests/servers/with. A connection for each order:
 * nothing is to be kept between them, and nothing to be cleaned up.
 */
#include "control.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const char *control_url(const char *name)
{
    char key[128];

    snprintf(key, sizeof(key), "POLY_TEST_%s", name);
    return getenv(key);
}

static int control_connect(void)
{
    const char *path = getenv("POLY_TEST_CONTROL");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (path == NULL || strlen(path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool send_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        text += sent;
        length -= (size_t)sent;
    }
    return true;
}

/* One line, without its end. */
static bool receive_line(int fd, char *line, size_t size)
{
    size_t length = 0;

    while (length < size - 1) {
        ssize_t got = recv(fd, line + length, size - 1 - length, 0);

        if (got <= 0)
            return false;
        length += (size_t)got;
        if (line[length - 1] == '\n') {
            line[length - 1] = 0;
            return true;
        }
    }
    return false;
}

/* The value of "ok VALUE", with its line feeds put back. */
static void take(char *value, size_t size, const char *text)
{
    size_t length = 0;

    for (; *text != 0 && length + 1 < size; text++) {
        bool feed = text[0] == '\\' && text[1] == 'n';

        value[length++] = feed ? '\n' : *text;
        text += feed;
    }
    if (size > 0)
        value[length] = 0;
}

bool control_order(char *value, size_t size, const char *format, ...)
{
    static char line[CONTROL_LINE];
    va_list arguments;
    int length, fd;
    bool said;

    va_start(arguments, format);
    length = vsnprintf(line, sizeof(line) - 1, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof(line) - 1) {
        take(value, size, "the order is too long");
        return false;
    }
    line[length] = '\n';
    fd = control_connect();
    said = fd >= 0 && send_all(fd, line, (size_t)length + 1) &&
           receive_line(fd, line, sizeof(line));
    if (fd >= 0)
        close(fd);
    if (!said)
        take(value, size, "run this test by tests/servers/with: nobody takes orders");
    else if (strncmp(line, "ok", 2) == 0 && (line[2] == 0 || line[2] == ' '))
        take(value, size, line + 2 + (line[2] == ' '));
    else
        take(value, size, strncmp(line, "failed ", 7) == 0 ? line + 7 : line);
    return said && strncmp(line, "ok", 2) == 0;
}
