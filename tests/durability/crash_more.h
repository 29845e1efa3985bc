/* What the files with workloads share. */
#ifndef TEST_CRASH_MORE_H
#define TEST_CRASH_MORE_H

#include "crash.h"

/* count events with the step's number; large ones at every fourth step. */
enum poly_status crash_add(struct crash_run *run, struct poly_txn *txn, const char *stream,
                           unsigned step, unsigned count);
bool crash_stream_is(struct crash_run *run, const char *stream, uint64_t wanted);

extern const struct crash_workload crash_records, crash_records_followed, crash_records_recovery,
    crash_retention, crash_retention_followed, crash_migrations, crash_vectors,
    crash_vectors_followed, crash_vectors_rebuilt, crash_vectors_recovery, crash_collections,
    crash_models, crash_models_followed;

#endif
