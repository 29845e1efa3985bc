/* One lock around all: what is counted and what happens is then one order, whatever threads do. */
#include "file_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab.h"

int __real_open(const char *path, int flags, ...);
int __real_open64(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t at);
ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t at);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_ftruncate(int fd, off_t size);
int __real_ftruncate64(int fd, off_t size);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __real_mkdir(const char *path, mode_t mode);

int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t at);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_mkdir(const char *path, mode_t mode);

enum { MAX_NAMES = 64, MAX_NAME = 64 };

/* Names of the folder; .file numbers what is behind one, whatever its name. */
struct names {
    struct {
        char name[MAX_NAME];
        uint32_t file;
    } list[MAX_NAMES];
    uint32_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file_plan plan;
static bool armed, struck;
static uint32_t calls, files;
static struct names now, synced;
static char shadow[LAB_PATH]; /* contents as they were synced, by number */

/* --- what a power cut leaves --- */

static void copy(const char *from, const char *to)
{
    char bytes[65536];
    ssize_t size;
    int in = __real_open(from, O_RDONLY | O_CLOEXEC);
    int out = __real_open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (out < 0)
        abort();
    while (in >= 0 && (size = read(in, bytes, sizeof(bytes))) > 0) {
        if (__real_write(out, bytes, (size_t)size) != size)
            abort();
    }
    if (in >= 0)
        close(in);
    close(out);
}

static void shadow_path(uint32_t file, char path[LAB_PATH * 2])
{
    snprintf(path, LAB_PATH * 2, "%s/%u", shadow, file);
}

static uint32_t *find_name(struct names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].name, name) == 0)
            return &names->list[i].file;
    }
    return NULL;
}

static void set_name(struct names *names, const char *name, uint32_t file)
{
    uint32_t *there = find_name(names, name);

    if (there == NULL) {
        if (names->count == MAX_NAMES || strlen(name) >= MAX_NAME)
            abort();
        snprintf(names->list[names->count].name, MAX_NAME, "%s", name);
        there = &names->list[names->count++].file;
    }
    *there = file;
}

static void forget_name(struct names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].name, name) == 0)
            names->list[i--] = names->list[--names->count];
    }
}

/* A folder with those names, and what was synced of each. */
static void make_image(const struct names *names, const char *folder)
{
    char from[LAB_PATH * 2], to[LAB_PATH * 2];

    if (folder == NULL)
        return;
    __real_mkdir(folder, 0700);
    for (uint32_t i = 0; i < names->count; i++) {
        shadow_path(names->list[i].file, from);
        snprintf(to, sizeof(to), "%s/%s", folder, names->list[i].name);
        copy(from, to);
    }
}

static void see_file(const char *path, void *arg)
{
    char to[LAB_PATH * 2];

    (void)arg;
    set_name(&now, strrchr(path, '/') + 1, ++files);
    shadow_path(files, to);
    copy(path, to);
}

/* --- whose call it is --- */

/* The name inside the folder; "": the folder itself; NULL: it is none of ours. */
static const char *inside(const char *path)
{
    size_t size;

    if (!armed)
        return NULL;
    size = strlen(plan.folder);
    if (strncmp(path, plan.folder, size) != 0 || (path[size] != '/' && path[size] != '\0'))
        return NULL;
    return path[size] == '\0' ? path + size : path + size + 1;
}

static const char *inside_fd(int fd, char path[LAB_PATH * 2])
{
    char link[64];
    ssize_t size;

    if (!armed)
        return NULL;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    size = readlink(link, path, LAB_PATH * 2 - 1);
    path[size < 0 ? 0 : size] = '\0';
    return inside(path);
}

/* --- the plan --- */

static void end_process(void)
{
    make_image(&synced, plan.synced);
    make_image(&now, plan.named);
    if (shadow[0] != '\0')
        lab_folder_remove(shadow);
    _exit(FILE_FAULT_EXIT);
}

/* Counts a call; does it fail? */
static bool strikes(enum file_call kind)
{
    bool now_is_the_time = ++calls == plan.at;
    bool takes_space = kind == FILE_OPEN || kind == FILE_WRITE;

    if (plan.kinds != NULL && calls <= plan.kind_room)
        plan.kinds[calls - 1] = (uint8_t)kind;
    struck |= now_is_the_time;
    if (now_is_the_time && (plan.fault == FILE_KILL || plan.fault == FILE_TORN))
        end_process();
    errno = takes_space ? ENOSPC : EIO;
    return (plan.fault == FILE_FAIL && now_is_the_time) ||
           (plan.fault == FILE_FULL && calls >= plan.at && takes_space) ||
           (plan.fault == FILE_SYNCS && calls >= plan.at && kind == FILE_SYNC);
}

void file_fault_arm(const struct file_plan *new_plan)
{
    file_fault_disarm();
    pthread_mutex_lock(&lock);
    plan = *new_plan;
    calls = files = 0;
    struck = false;
    now.count = synced.count = 0;
    shadow[0] = '\0';
    if (plan.synced != NULL || plan.named != NULL) {
        lab_folder_make(shadow);
        lab_folder_each(plan.folder, see_file, NULL);
        synced = now;
    }
    armed = true;
    pthread_mutex_unlock(&lock);
}

void file_fault_disarm(void)
{
    pthread_mutex_lock(&lock);
    if (armed && shadow[0] != '\0')
        lab_folder_remove(shadow);
    armed = false;
    pthread_mutex_unlock(&lock);
}

uint32_t file_fault_count(void)
{
    return calls;
}

bool file_fault_hit(void)
{
    return struck;
}

/* --- the calls --- */

static int wrapped_open(const char *path, int flags, mode_t mode)
{
    const char *name = (flags & (O_CREAT | O_TRUNC)) == 0 ? NULL : inside(path);
    bool is_new;
    int fd;

    if (name == NULL)
        return __real_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    is_new = access(path, F_OK) != 0;
    fd = strikes(FILE_OPEN) ? -1 : __real_open(path, flags, mode);
    if (fd >= 0 && is_new)
        set_name(&now, name, ++files);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(name)                                                                                 \
    int __wrap_##name(const char *path, int flags, ...)                                            \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        va_list list;                                                                              \
                                                                                                   \
        if ((flags & O_CREAT) != 0) {                                                              \
            va_start(list, flags);                                                                 \
            mode = va_arg(list, mode_t);                                                           \
            va_end(list);                                                                          \
        }                                                                                          \
        return wrapped_open(path, flags, mode);                                                    \
    }
OPEN(open)
OPEN(open64)

/* at -1: where the file is. */
static ssize_t wrapped_write(int fd, const void *data, size_t size, off_t at)
{
    char path[LAB_PATH * 2];
    const char *name = inside_fd(fd, path);
    ssize_t written = -1;

    if (name != NULL) {
        pthread_mutex_lock(&lock);
        if (plan.fault == FILE_TORN && calls + 1 == plan.at && size > 1)
            (void)!(at < 0 ? __real_write(fd, data, size / 2)
                           : __real_pwrite(fd, data, size / 2, at));
    }
    if (name == NULL || !strikes(FILE_WRITE))
        written = at < 0 ? __real_write(fd, data, size) : __real_pwrite(fd, data, size, at);
    if (name != NULL)
        pthread_mutex_unlock(&lock);
    return written;
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    return wrapped_write(fd, data, size, -1);
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t at)
{
    return wrapped_write(fd, data, size, at);
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t at)
{
    return wrapped_write(fd, data, size, at);
}

/* Nothing reaches the disk: what it would have is kept here, and tests do not need more. */
static int wrapped_sync(int fd)
{
    char path[LAB_PATH * 2], to[LAB_PATH * 2];
    const char *name = inside_fd(fd, path);
    bool fails;

    if (name == NULL)
        return 0;
    pthread_mutex_lock(&lock);
    fails = strikes(FILE_SYNC);
    if (!fails && !plan.swallow_syncs && shadow[0] != '\0') {
        if (name[0] == '\0') {
            synced = now;
        } else if (find_name(&now, name) != NULL) {
            shadow_path(*find_name(&now, name), to);
            copy(path, to);
        }
    }
    pthread_mutex_unlock(&lock);
    return fails ? -1 : 0;
}

int __wrap_fsync(int fd)
{
    return wrapped_sync(fd);
}

int __wrap_fdatasync(int fd)
{
    return wrapped_sync(fd);
}

static int wrapped_truncate(int fd, off_t size)
{
    char path[LAB_PATH * 2];
    int result = -1;

    if (inside_fd(fd, path) == NULL)
        return __real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    if (!strikes(FILE_WRITE))
        result = __real_ftruncate(fd, size);
    pthread_mutex_unlock(&lock);
    return result;
}

int __wrap_ftruncate(int fd, off_t size)
{
    return wrapped_truncate(fd, size);
}

int __wrap_ftruncate64(int fd, off_t size)
{
    return wrapped_truncate(fd, size);
}

int __wrap_rename(const char *from, const char *to)
{
    const char *name = inside(from), *new_name = inside(to);
    int result = -1;

    if (name == NULL || new_name == NULL)
        return __real_rename(from, to);
    pthread_mutex_lock(&lock);
    if (!strikes(FILE_NAME)) {
        result = __real_rename(from, to);
        if (result == 0 && find_name(&now, name) != NULL) {
            set_name(&now, new_name, *find_name(&now, name));
            forget_name(&now, name);
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int __wrap_unlink(const char *path)
{
    const char *name = inside(path);
    int result = -1;

    if (name == NULL)
        return __real_unlink(path);
    pthread_mutex_lock(&lock);
    if (!strikes(FILE_NAME)) {
        result = __real_unlink(path);
        if (result == 0)
            forget_name(&now, name);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    int result = -1;

    if (inside(path) == NULL)
        return __real_mkdir(path, mode);
    pthread_mutex_lock(&lock);
    if (!strikes(FILE_NAME))
        result = __real_mkdir(path, mode);
    pthread_mutex_unlock(&lock);
    return result;
}
