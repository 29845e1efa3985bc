/*
 * The file is opened before the key is made, and renamed into place after it
 * has been synced: there is never a key in the database that nobody has.
 */
#include "server/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/status.h"

enum { PATH = 4096 };

static enum poly_status failed(struct poly_error *err, const char *path)
{
    return poly_fail(err, POLY_UNAVAILABLE, "'%.400s': %s", path, strerror(errno));
}

static void sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

static enum poly_status write_key(int fd, const char *secret, const char *from, const char *to,
                                  struct poly_error *err)
{
    char line[96];
    int n = snprintf(line, sizeof(line), "%s\n", secret);
    if (write(fd, line, (size_t)n) != n || fsync(fd) != 0 || rename(from, to) != 0)
        return failed(err, to);
    return POLY_OK;
}

static enum poly_status make_key(struct poly_session *session, const char *data, char path[PATH],
                                 struct poly_error *err)
{
    const struct poly_key_options options = {.label = "administrator, made at the first start",
                                             .rights = POLY_RIGHTS_ALL};
    char fresh[PATH], secret[80];
    enum poly_status status;

    if (snprintf(path, PATH, "%s/admin.key", data) >= PATH ||
        snprintf(fresh, PATH, "%s/admin.key.new", data) >= PATH)
        return poly_fail(err, POLY_INVALID, "the path of the data folder is too long");
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(err, fresh);
    status = poly_key_create(session, &options, secret, err);
    if (status == POLY_OK)
        status = write_key(fd, secret, fresh, path, err);
    explicit_bzero(secret, sizeof(secret));
    close(fd);
    if (status != POLY_OK)
        unlink(fresh);
    else
        sync_folder(data);
    return status;
}

enum poly_status server_first_key(struct poly_instance *instance, char path[PATH],
                                  struct poly_error *err)
{
    const struct poly_session_options options = {.rights = POLY_RIGHTS_ALL,
                                                 .principal = "polystored"};
    struct poly_status_report report;
    struct poly_session *session;
    const struct poly_key *keys;
    size_t count = 0;
    enum poly_status status = poly_session_open(instance, &options, &session, err);

    path[0] = '\0';
    if (status != POLY_OK)
        return status;
    status = poly_key_list(session, &keys, &count, err);
    if (status == POLY_OK && count == 0) {
        status = poly_status_read(session, &report, err);
        if (status == POLY_OK)
            status = make_key(session, report.data.data, path, err);
    }
    poly_session_close(session);
    return status;
}

void server_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t size = path == NULL ? 0 : strlen(path);

    if (size == 0 || size >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, size);
    if (to.sun_path[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
    close(fd);
}
