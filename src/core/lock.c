#include "core/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"

static void nap(void)
{
    struct timespec time = {0, 10000000};

    nanosleep(&time, NULL);
}

static enum poly_status taken(int fd, const char *data, struct poly_error *err)
{
    char text[256];
    ssize_t size = pread(fd, text, sizeof(text) - 1, 0);

    text[size < 0 ? 0 : size] = '\0';
    for (char *c = text; *c != '\0'; c++) {
        if (*c == '\n')
            *c = c[1] == '\0' ? '\0' : ' ';
    }
    return poly_fail(err, POLY_UNAVAILABLE, "data folder '%s' is in use by another process (%s)",
                     data, text);
}

static enum poly_status write_note(int fd, const char *path, const char *note,
                                   struct poly_error *err)
{
    char text[256];
    int size = snprintf(text, sizeof(text), "pid %d\nnote %.200s\n", (int)getpid(),
                        note == NULL ? "library" : note);

    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot write '%s': %s", path, strerror(errno));
    return POLY_OK;
}

enum poly_status poly_lock_take(const char *data, const char *note, uint32_t wait_ms, int *fd,
                                struct poly_error *err)
{
    int64_t deadline = poly_clock_monotonic() + (int64_t)wait_ms * 1000;
    char path[4096];
    enum poly_status status;
    int lock;

    if ((size_t)snprintf(path, sizeof(path), "%s/lock", data) >= sizeof(path))
        return poly_fail(err, POLY_INVALID, "data folder: its path is too long");
    if (mkdir(data, 0700) != 0 && errno != EEXIST)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot make the data folder '%s': %s", data,
                         strerror(errno));
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot open '%s': %s", path, strerror(errno));
    while (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EINTR && poly_clock_monotonic() >= deadline) {
            status = taken(lock, data, err);
            close(lock);
            return status;
        }
        nap();
    }
    status = write_note(lock, path, note, err);
    if (status != POLY_OK)
        close(lock);
    else
        *fd = lock;
    return status;
}

void poly_lock_give(int fd)
{
    if (fd < 0)
        return;
    /* Whoever reads it without the lock must not believe it. */
    if (ftruncate(fd, 0) != 0) {
        /* The lock says it all the same. */
    }
    (void)flock(fd, LOCK_UN); /* a child that was forked has the descriptor too */
    close(fd);
}
