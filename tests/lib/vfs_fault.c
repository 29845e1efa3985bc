/*
 * The undo of a power cut is kept beside the real file and not instead of it:
 * reads, locks, and other connections then need no help of ours, and a kill
 * without a power cut is simply the end of the process.
 *
 * A directory is taken as synced: what is made or deleted stays so.
 */
#include "vfs_fault.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECTOR = 512, NODES = 64, PATH_SIZE = 512 };

struct change {
    struct change *next; /* the one before it in time */
    sqlite3_int64 offset, size_before;
    int size, kept; /* bytes written; bytes that stood there */
    bool truncate;
    unsigned char bytes[]; /* what stood there, then what was written */
};

/* One file, however many connections have it open. */
struct node {
    char path[PATH_SIZE];
    struct change *changes; /* since the last sync, newest first */
    sqlite3_file *open;     /* any */
    unsigned users;
};

struct file {
    sqlite3_file base;
    struct node *node;
    sqlite3_file *real;
};

static sqlite3_vfs shim, *real_vfs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fault_plan plan;
static uint64_t count;
static bool hit;
static struct node nodes[NODES];
static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return random_state >> 33;
}

static struct file *file_of(sqlite3_file *file)
{
    return (struct file *)file;
}

static struct node *node_of(const char *path)
{
    struct node *unused = NULL;

    for (size_t i = 0; i < NODES; i++) {
        if (strcmp(nodes[i].path, path) == 0)
            return &nodes[i];
        if (unused == NULL && nodes[i].users == 0 && nodes[i].changes == NULL)
            unused = &nodes[i];
    }
    if (unused == NULL || strlen(path) >= PATH_SIZE)
        abort();
    snprintf(unused->path, PATH_SIZE, "%s", path);
    return unused;
}

static void forget(struct node *node)
{
    while (node->changes != NULL) {
        struct change *change = node->changes;

        node->changes = change->next;
        free(change);
    }
}

static bool remembers(void)
{
    return plan.fault == FAULT_POWER || plan.fault == FAULT_SHUFFLED;
}

/* What stands in the file where a change is about to be made. */
static void remember(struct file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    sqlite3_int64 before = 0, end = offset + size;
    struct change *change;
    int kept;

    if (!remembers() || file->node == NULL)
        return;
    file->real->pMethods->xFileSize(file->real, &before);
    if (bytes == NULL) /* truncation to offset */
        end = before;
    kept = before > offset ? (int)((before < end ? before : end) - offset) : 0;
    change = malloc(sizeof(*change) + (size_t)kept + (bytes == NULL ? 0 : (size_t)size));
    if (change == NULL)
        abort();
    *change = (struct change){.next = file->node->changes,
                              .offset = offset,
                              .size_before = before,
                              .size = size,
                              .kept = kept,
                              .truncate = bytes == NULL};
    if (kept > 0)
        file->real->pMethods->xRead(file->real, change->bytes, kept, offset);
    if (bytes != NULL)
        memcpy(change->bytes + kept, bytes, (size_t)size);
    file->node->changes = change;
}

static void undo(struct node *node)
{
    sqlite3_file *real = node->open;

    for (struct change *c = node->changes; c != NULL; c = c->next) {
        if (c->kept > 0)
            real->pMethods->xWrite(real, c->bytes, c->kept, c->offset);
        real->pMethods->xTruncate(real, c->size_before);
    }
}

/* Some sectors of some writes reached the disk before the power went. */
static void redo_some(struct node *node)
{
    struct change *forwards = NULL;
    sqlite3_file *real = node->open;

    while (node->changes != NULL) {
        struct change *change = node->changes;

        node->changes = change->next;
        change->next = forwards;
        forwards = change;
    }
    for (struct change *c = forwards; c != NULL; c = c->next) {
        if (c->truncate || random_next() % 4 == 0)
            continue;
        for (int at = 0; at < c->size; at += SECTOR) {
            int size = c->size - at < SECTOR ? c->size - at : SECTOR;

            if (c->size < SECTOR || random_next() % 8 != 0)
                real->pMethods->xWrite(real, c->bytes + c->kept + at, size, c->offset + at);
        }
    }
}

/* Holds the lock for ever: nobody writes after the end. */
static void end_process(void)
{
    for (size_t i = 0; i < NODES && remembers(); i++) {
        if (nodes[i].changes == NULL || nodes[i].open == NULL)
            continue;
        undo(&nodes[i]);
        if (plan.fault == FAULT_SHUFFLED)
            redo_some(&nodes[i]);
    }
    _exit(FAULT_EXIT);
}

enum kind { WRITE, SYNC, OTHER };

/* With the lock: is this call the one? */
static bool strikes(const char *path, enum kind kind)
{
    if (plan.fault == FAULT_NONE || (plan.only != NULL && strstr(path, plan.only) == NULL))
        return false;
    if ((plan.fault == FAULT_FULL || plan.fault == FAULT_WRITE) && kind != WRITE)
        return false;
    if (plan.fault == FAULT_SYNC && kind != SYNC)
        return false;
    count++;
    if (plan.fault == FAULT_COUNT || (plan.once ? count != plan.at : count < plan.at))
        return false;
    hit = true;
    return true;
}

static bool kills(void)
{
    return plan.fault >= FAULT_KILL && plan.fault <= FAULT_SHUFFLED;
}

/* --- one file --- */

static int file_close(sqlite3_file *base)
{
    struct file *file = file_of(base);
    int code;

    pthread_mutex_lock(&lock);
    if (file->node != NULL && --file->node->users == 0) {
        forget(file->node);
        file->node->path[0] = '\0';
        file->node->open = NULL;
    } else if (file->node != NULL && file->node->open == file->real) {
        file->node->open = NULL; /* the next write says who serves */
    }
    code = file->real->pMethods->xClose(file->real);
    pthread_mutex_unlock(&lock);
    return code;
}

static int file_read(sqlite3_file *base, void *bytes, int size, sqlite3_int64 offset)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xRead(real, bytes, size, offset);
}

static int file_write(sqlite3_file *base, const void *bytes, int size, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    const char *path = file->node == NULL ? "" : file->node->path;
    int code = SQLITE_OK;

    pthread_mutex_lock(&lock);
    if (file->node != NULL)
        file->node->open = file->real;
    if (strikes(path, WRITE)) {
        if (kills()) {
            if (plan.fault != FAULT_KILL) {
                remember(file, bytes, size / 2, offset);
                file->real->pMethods->xWrite(file->real, bytes, size / 2, offset);
            }
            end_process();
        }
        code = plan.fault == FAULT_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    } else {
        remember(file, bytes, size, offset);
        code = file->real->pMethods->xWrite(file->real, bytes, size, offset);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct file *file = file_of(base);
    int code;

    pthread_mutex_lock(&lock);
    if (file->node != NULL)
        file->node->open = file->real;
    if (strikes(file->node == NULL ? "" : file->node->path, OTHER) && kills())
        end_process();
    remember(file, NULL, 0, size);
    code = file->real->pMethods->xTruncate(file->real, size);
    pthread_mutex_unlock(&lock);
    return code;
}

static int file_sync(sqlite3_file *base, int flags)
{
    struct file *file = file_of(base);
    int code = SQLITE_OK;

    (void)flags;
    pthread_mutex_lock(&lock);
    if (strikes(file->node == NULL ? "" : file->node->path, SYNC)) {
        if (kills())
            end_process();
        code = SQLITE_IOERR_FSYNC;
    } else if (file->node != NULL && !plan.swallow_syncs) {
        forget(file->node);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

/* --- what is only handed on --- */

static int file_size(sqlite3_file *base, sqlite3_int64 *size)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xFileSize(real, size);
}

static int file_lock(sqlite3_file *base, int level)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xLock(real, level);
}

static int file_unlock(sqlite3_file *base, int level)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xUnlock(real, level);
}

static int file_check(sqlite3_file *base, int *reserved)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xCheckReservedLock(real, reserved);
}

static int file_control(sqlite3_file *base, int operation, void *arg)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xFileControl(real, operation, arg);
}

static int file_sector(sqlite3_file *base)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xSectorSize(real);
}

static int file_characteristics(sqlite3_file *base)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xDeviceCharacteristics(real);
}

static int file_shm_map(sqlite3_file *base, int page, int size, int extend, void volatile **to)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xShmMap(real, page, size, extend, to);
}

static int file_shm_lock(sqlite3_file *base, int offset, int n, int flags)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xShmLock(real, offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *base)
{
    sqlite3_file *real = file_of(base)->real;

    real->pMethods->xShmBarrier(real);
}

static int file_shm_unmap(sqlite3_file *base, int remove)
{
    sqlite3_file *real = file_of(base)->real;

    return real->pMethods->xShmUnmap(real, remove);
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = file_close,
                                           .xRead = file_read,
                                           .xWrite = file_write,
                                           .xTruncate = file_truncate,
                                           .xSync = file_sync,
                                           .xFileSize = file_size,
                                           .xLock = file_lock,
                                           .xUnlock = file_unlock,
                                           .xCheckReservedLock = file_check,
                                           .xFileControl = file_control,
                                           .xSectorSize = file_sector,
                                           .xDeviceCharacteristics = file_characteristics,
                                           .xShmMap = file_shm_map,
                                           .xShmLock = file_shm_lock,
                                           .xShmBarrier = file_shm_barrier,
                                           .xShmUnmap = file_shm_unmap};

/* --- the file system --- */

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *out)
{
    struct file *file = file_of(base);
    int code;

    (void)vfs;
    file->real = (sqlite3_file *)(file + 1);
    file->node = NULL;
    code = real_vfs->xOpen(real_vfs, path, file->real, flags, out);
    base->pMethods = NULL;
    if (code != SQLITE_OK)
        return code;
    base->pMethods = &methods;
    if (path != NULL) {
        pthread_mutex_lock(&lock);
        file->node = node_of(path);
        file->node->users++;
        pthread_mutex_unlock(&lock);
    }
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_folder)
{
    int code;

    (void)vfs;
    (void)sync_folder;
    pthread_mutex_lock(&lock);
    if (strikes(path, OTHER) && kills())
        end_process();
    for (size_t i = 0; i < NODES; i++) {
        if (strcmp(nodes[i].path, path) == 0)
            forget(&nodes[i]);
    }
    code = real_vfs->xDelete(real_vfs, path, 0);
    pthread_mutex_unlock(&lock);
    return code;
}

void fault_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    shim = *real_vfs;
    shim.zName = "fault";
    shim.pNext = NULL;
    shim.szOsFile = (int)sizeof(struct file) + real_vfs->szOsFile;
    shim.xOpen = vfs_open;
    shim.xDelete = vfs_delete;
    if (sqlite3_vfs_register(&shim, 1) != SQLITE_OK)
        abort();
}

void fault_arm(const struct fault_plan *wanted)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < NODES; i++)
        forget(&nodes[i]);
    plan = *wanted;
    random_state = plan.seed * 2 + 1;
    count = 0;
    hit = false;
    pthread_mutex_unlock(&lock);
}

void fault_disarm(void)
{
    fault_arm(&(struct fault_plan){.fault = FAULT_NONE});
}

uint64_t fault_count(void)
{
    pthread_mutex_lock(&lock);
    uint64_t now = count;

    pthread_mutex_unlock(&lock);
    return now;
}

bool fault_hit(void)
{
    pthread_mutex_lock(&lock);
    bool now = hit;

    pthread_mutex_unlock(&lock);
    return now;
}
