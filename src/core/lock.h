/*
 * One process at a time has a data folder: an exclusive flock on <data>/lock,
 * which also says who has it.
 */
#ifndef POLY_CORE_LOCK_H
#define POLY_CORE_LOCK_H

#include "polystore/status.h"

/*
 * Makes the folder (0700) and takes the lock, waiting up to wait_ms. The file
 * says "pid N\nnote TEXT\n". POLY_UNAVAILABLE names the holder.
 */
enum poly_status poly_lock_take(const char *data, const char *note, uint32_t wait_ms, int *fd,
                                struct poly_error *err);
void poly_lock_give(int fd);

#endif
