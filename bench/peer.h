/*
 * The plain SQLite peer: the log's own table and indexes, taken from a database
 * that Polystore has made, in a file of its own with the same journal, sync,
 * page and cache settings. It has neither triggers nor seals.
 */
#ifndef POLY_BENCH_PEER_H
#define POLY_BENCH_PEER_H

#include "common.h"

struct poly_instance;
struct bench_peer;
struct sqlite3;

/* An instance in FOLDER/data with what the measurements need, on disk and empty. */
struct poly_instance *bench_open(const char *folder);

/* FOLDER/peer.db, beside an instance that bench_open() has made there. */
struct bench_peer *bench_peer_open(const char *folder);
void bench_peer_close(struct bench_peer *peer); /* NULL is accepted */

/* One row of the log. On its own it is a transaction. */
void bench_peer_insert(struct bench_peer *peer, const char *key, long version, const char *text);
void bench_peer_begin(struct bench_peer *peer);
void bench_peer_commit(struct bench_peer *peer);
struct sqlite3 *bench_peer_handle(struct bench_peer *peer);

#endif
