/*
 * A SQLite VFS that writes the write-ahead log in large pieces.
 *
 * SQLite writes each frame of a commit with two system calls. A group commit
 * has fifty frames and more; gathered they are one write. Everything else goes
 * to the default VFS unchanged.
 */
#ifndef POLY_BASE_WAL_VFS_H
#define POLY_BASE_WAL_VFS_H

#define POLY_WAL_VFS "polystore-wal"

/*
 * Registers it, once; thread-safe. Only for connections with synchronous FULL:
 * there every commit syncs the log before other connections are told of it.
 */
void poly_wal_vfs_register(void);

/*
 * Throws away what was gathered and not written: on every rollback, before ROLLBACK. db is a
 * connection of this VFS; on others there is no effect. A write that failed makes every later call
 * on the log fail until then, so that a frame that is nowhere cannot be read as another one.
 */
struct sqlite3;
void poly_wal_vfs_discard(struct sqlite3 *db);

#endif
