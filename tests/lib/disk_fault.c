/*
 * A disk that is full, fails or is slow, under a program that is not ours to
 * change: LD_PRELOAD. The variable DISK_FOLDER says which files, DISK_FAULT
 * names a file that says what ("full", "sync", "wait"), and may come and go
 * while it runs. A sync that waits says so in a file beside it, ".waits".
 */
/* Both pwrite() and pwrite64() are somebody's: no _FILE_OFFSET_BITS here. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

/* Does that fault hold now, for this file? */
static bool holds(const char *fault, int fd)
{
    const char *folder = getenv("DISK_FOLDER"), *control = getenv("DISK_FAULT");
    char said[8] = "", link[64], path[4096];
    ssize_t size;
    int file;

    if (folder == NULL || control == NULL)
        return false;
    file = open(control, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    size = read(file, said, sizeof(said) - 1);
    close(file);
    if (size <= 0 || strncmp(said, fault, strlen(fault)) != 0)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof(path) - 1);
    path[size < 0 ? 0 : size] = '\0';
    return strncmp(path, folder, strlen(folder)) == 0;
}

static bool grows(int fd, off64_t end)
{
    struct stat info;

    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && end > info.st_size;
}

static bool no_space(int fd, off64_t end)
{
    if (!grows(fd, end) || !holds("full", fd))
        return false;
    errno = ENOSPC;
    return true;
}

static void say_waits(void)
{
    char path[4096];
    int file;

    snprintf(path, sizeof(path), "%s.waits", getenv("DISK_FAULT"));
    file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0)
        close(file);
}

static bool no_sync(int fd)
{
    if (holds("wait", fd))
        say_waits();
    while (holds("wait", fd))
        usleep(1000);
    if (!holds("sync", fd))
        return false;
    errno = EIO;
    return true;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    return no_space(fd, offset + (off_t)size) ? -1 : REAL(pwrite)(fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    return no_space(fd, offset + (off64_t)size) ? -1 : REAL(pwrite64)(fd, bytes, size, offset);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    return no_space(fd, lseek64(fd, 0, SEEK_CUR) + (off64_t)size) ? -1
                                                                 : REAL(write)(fd, bytes, size);
}

int fdatasync(int fd)
{
    return no_sync(fd) ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    return no_sync(fd) ? -1 : REAL(fsync)(fd);
}
