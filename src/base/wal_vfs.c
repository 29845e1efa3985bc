/*
 * Why this is safe: other connections look at a frame only after the commit
 * has published it in the shared index, and with synchronous FULL the commit
 * syncs the log before that. A sync writes what was gathered first. Our own
 * reads of the log, its size and its truncation do the same, so within a
 * connection nothing can be seen out of order. What is gathered and lost in a
 * crash had not been synced, and so had not been promised.
 *
 * A rolled back transaction may leave pieces gathered. They must never reach
 * the file: the write lock is gone, and another program may have committed
 * frames in their place. So the writer discards them, and so does closing.
 */
#include "base/wal_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum {
    GATHER = 124 * 1024,     /* SQLite's own VFS takes at most 128 KiB less one byte in one call */
    AHEAD_FROM = 256 * 1024, /* a longer log belongs to somebody who writes much */
    AHEAD = 2 * 1024 * 1024
};

struct wal_file {
    sqlite3_file base;
    sqlite3_int64 start; /* offset in the file of what is gathered */
    int size;            /* bytes gathered */
    int failed;          /* code of the write that failed; SQLITE_OK: none */
    sqlite3_int64 allocated;
    char *bytes;
    sqlite3_file *real; /* behind this struct */
};

static struct wal_file *file_of(sqlite3_file *file)
{
    return (struct wal_file *)file;
}

/*
 * A sync of a file that has grown costs twice one that has not, so a log that
 * grows is filled with zeros ahead: no frame, to whoever recovers it. That it
 * cannot be is no failure.
 */
static void allocate_ahead(struct wal_file *file, sqlite3_int64 end)
{
    char *zeros;

    if (end <= file->allocated)
        return;
    file->allocated = end;
    if (end < AHEAD_FROM)
        return;
    zeros = calloc(1, GATHER);
    if (zeros == NULL)
        return;
    for (int i = 0; i < AHEAD / GATHER; i++) {
        if (file->real->pMethods->xWrite(file->real, zeros, GATHER, file->allocated) != SQLITE_OK)
            break;
        file->allocated += GATHER;
    }
    free(zeros);
}

static int flush(struct wal_file *file)
{
    if (file->size == 0 || file->failed != SQLITE_OK)
        return file->failed;
    file->failed =
        file->real->pMethods->xWrite(file->real, file->bytes, file->size, file->start);
    if (file->failed == SQLITE_OK) {
        allocate_ahead(file, file->start + file->size);
        file->size = 0;
    }
    return file->failed;
}

static int wal_close(sqlite3_file *file)
{
    struct wal_file *self = file_of(file);
    int code = self->real->pMethods->xClose(self->real);

    free(self->bytes);
    return code;
}

static int wal_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 offset)
{
    struct wal_file *self = file_of(file);
    int code = flush(self);

    return code == SQLITE_OK ? self->real->pMethods->xRead(self->real, bytes, size, offset) : code;
}

static int wal_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    struct wal_file *self = file_of(file);
    int code = self->failed;

    if (code != SQLITE_OK)
        return code;
    if (self->size > 0 && (offset != self->start + self->size || size > GATHER - self->size)) {
        code = flush(self);
        if (code != SQLITE_OK)
            return code;
    }
    if (size > GATHER)
        return self->real->pMethods->xWrite(self->real, bytes, size, offset);
    if (self->size == 0)
        self->start = offset;
    memcpy(self->bytes + self->size, bytes, (size_t)size);
    self->size += size;
    return SQLITE_OK;
}

static int wal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct wal_file *self = file_of(file);
    int code = flush(self);

    self->allocated = size < self->allocated ? size : self->allocated;
    return code == SQLITE_OK ? self->real->pMethods->xTruncate(self->real, size) : code;
}

static int wal_sync(sqlite3_file *file, int flags)
{
    struct wal_file *self = file_of(file);
    int code = flush(self);

    return code == SQLITE_OK ? self->real->pMethods->xSync(self->real, flags) : code;
}

static int wal_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct wal_file *self = file_of(file);
    int code = flush(self);

    return code == SQLITE_OK ? self->real->pMethods->xFileSize(self->real, size) : code;
}

static int wal_lock(sqlite3_file *file, int level)
{
    return file_of(file)->real->pMethods->xLock(file_of(file)->real, level);
}

static int wal_unlock(sqlite3_file *file, int level)
{
    return file_of(file)->real->pMethods->xUnlock(file_of(file)->real, level);
}

static int wal_check(sqlite3_file *file, int *out)
{
    return file_of(file)->real->pMethods->xCheckReservedLock(file_of(file)->real, out);
}

static int wal_control(sqlite3_file *file, int operation, void *arg)
{
    struct wal_file *self = file_of(file);
    int code = flush(self);

    return code == SQLITE_OK ? self->real->pMethods->xFileControl(self->real, operation, arg)
                             : code;
}

static int wal_sector(sqlite3_file *file)
{
    return file_of(file)->real->pMethods->xSectorSize(file_of(file)->real);
}

static int wal_character(sqlite3_file *file)
{
    return file_of(file)->real->pMethods->xDeviceCharacteristics(file_of(file)->real);
}

static const sqlite3_io_methods methods = {.iVersion = 1,
                                           .xClose = wal_close,
                                           .xRead = wal_read,
                                           .xWrite = wal_write,
                                           .xTruncate = wal_truncate,
                                           .xSync = wal_sync,
                                           .xFileSize = wal_size,
                                           .xLock = wal_lock,
                                           .xUnlock = wal_unlock,
                                           .xCheckReservedLock = wal_check,
                                           .xFileControl = wal_control,
                                           .xSectorSize = wal_sector,
                                           .xDeviceCharacteristics = wal_character};

/* Set at registration: the VFS that was the default then. */
static sqlite3_vfs *parent;
static sqlite3_vfs ours;

static int open_log(const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct wal_file *self = file_of(file);
    int code;

    *self = (struct wal_file){.real = (sqlite3_file *)(self + 1)};
    self->bytes = malloc(GATHER);
    if (self->bytes == NULL)
        return SQLITE_NOMEM;
    code = parent->xOpen(parent, name, self->real, flags, out_flags);
    if (code != SQLITE_OK) {
        if (self->real->pMethods != NULL)
            self->real->pMethods->xClose(self->real);
        free(self->bytes);
        return code;
    }
    if (self->real->pMethods->xFileSize(self->real, &self->allocated) != SQLITE_OK)
        self->allocated = 0;
    self->base.pMethods = &methods;
    return SQLITE_OK;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *out_flags)
{
    (void)vfs;
    file->pMethods = NULL;
    if ((flags & SQLITE_OPEN_WAL) != 0)
        return open_log(name, file, flags, out_flags);
    return parent->xOpen(parent, name, file, flags, out_flags);
}

static void make(void)
{
    parent = sqlite3_vfs_find(NULL);
    if (parent == NULL)
        return;
    ours = *parent;
    ours.szOsFile = parent->szOsFile + (int)sizeof(struct wal_file);
    ours.zName = POLY_WAL_VFS;
    ours.pNext = NULL;
    ours.xOpen = vfs_open;
    sqlite3_vfs_register(&ours, 0);
}

void poly_wal_vfs_discard(sqlite3 *db)
{
    sqlite3_file *file = NULL;

    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file) != SQLITE_OK ||
        file == NULL || file->pMethods != &methods)
        return;
    file_of(file)->size = 0;
    file_of(file)->failed = SQLITE_OK;
}

void poly_wal_vfs_register(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make);
}
