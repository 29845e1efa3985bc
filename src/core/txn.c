/*
 * A batch is a list of operations in the session's arena; committing hands the
 * list to the writer, which runs it with others in one group. An interactive
 * transaction is the same list run one by one while the caller holds the
 * writer. A lock of its own lets the keeper end it at the deadline, whatever
 * the caller is doing.
 */
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"
#include "core/idempotency.h"
#include "core/inside.h"

struct poly_txn {
    struct poly_txn *next; /* interactive: in the instance's list */
    struct poly_session *session;
    struct poly_write write;
    const char *idempotency_key;
    const char *model; /* NULL: not said */
    struct poly_operation *first, *last;
    size_t count;
    size_t bytes;                     /* arena use at begin, for the limit */
    crypto_generichash_state *digest; /* NULL: no idempotency key */
    uint64_t position;                /* of the last record; 0: none */
    bool replayed;
    struct poly_result *results; /* of a replay */

    bool interactive;
    pthread_mutex_t lock; /* interactive: who uses the connection */
    int64_t deadline;
    bool over;

    struct poly_request request; /* submitted */
    poly_commit_fn *done;
    void *done_arg;
};

static const char back_to[] = "ROLLBACK TO poly_operation; RELEASE poly_operation";

/* --- beginning --- */

static enum poly_status meta_build(struct poly_txn *txn, const struct poly_txn_options *options,
                                   struct poly_error *err)
{
    const struct {
        const char *name, *value;
    } parts[] = {{"correlation", options->correlation},
                 {"causation", options->causation},
                 {"by", txn->session->principal[0] == '\0' ? NULL : txn->session->principal},
                 {"idempotency_key", options->idempotency_key}};
    struct poly_buffer buffer;

    poly_buffer_init(&buffer, POLY_MAX_META);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].value == NULL)
            continue;
        poly_buffer_char(&buffer, buffer.size == 0 ? '{' : ',');
        poly_json_string(&buffer, parts[i].name, strlen(parts[i].name));
        poly_buffer_char(&buffer, ':');
        poly_json_string(&buffer, parts[i].value, strlen(parts[i].value));
    }
    if (buffer.size > 0)
        poly_buffer_char(&buffer, '}');

    bool fits = !buffer.over;
    const char *meta = poly_buffer_ok(&buffer)
                           ? poly_arena_copy(txn->session->arena, buffer.data, buffer.size)
                           : NULL;

    txn->write.meta = (struct poly_text){meta, buffer.size};
    poly_buffer_release(&buffer);
    if (!fits)
        return poly_fail(err, POLY_LIMIT, "correlation, causation and keys exceed %d bytes",
                         POLY_MAX_META);
    return meta == NULL ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status check_options(const struct poly_txn_options *options,
                                      struct poly_error *err)
{
    const char *key = options->idempotency_key;

    if (key == NULL)
        return POLY_OK;
    if (key[0] == '\0' || strlen(key) > POLY_MAX_KEY)
        return poly_fail(err, POLY_INVALID, "idempotency key: its length must be 1 to %d bytes",
                         POLY_MAX_KEY);
    if (options->interactive)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "idempotency keys are for batch transactions, not for interactive ones");
    return POLY_OK;
}

static enum poly_status hold(struct poly_txn *txn, uint32_t deadline_ms, struct poly_error *err)
{
    struct poly_instance *instance = txn->session->instance;
    struct poly_owner *owner = instance->owner;
    int64_t now = poly_clock_monotonic();
    enum poly_status status;

    deadline_ms = deadline_ms == 0 ? 5000 : deadline_ms;
    status = owner->driver->hold(owner, now + (int64_t)txn->session->deadline_ms * 1000,
                                 deadline_ms, &txn->write.db, err);
    if (status != POLY_OK)
        return status;
    owner->driver->began(&txn->write);
    txn->deadline =
        poly_clock_monotonic() + (int64_t)deadline_ms * 1000;
    pthread_mutex_lock(&instance->lock);
    txn->next = instance->held;
    instance->held = txn;
    pthread_mutex_unlock(&instance->lock);
    txn->session->holding = txn;
    poly_keeper_poke(instance);
    return POLY_OK;
}

/* The library's state must lie at a multiple of 64; an arena promises 16. NULL: out of memory. */
static crypto_generichash_state *digest_new(struct poly_arena *arena)
{
    size_t align = _Alignof(crypto_generichash_state);
    char *memory = poly_arena_alloc(arena, sizeof(crypto_generichash_state) + align);
    crypto_generichash_state *state;

    if (memory == NULL)
        return NULL;
    state = (void *)(memory + (align - (uintptr_t)memory % align) % align);
    crypto_generichash_init(state, NULL, 0, POLY_HASH);
    return state;
}

enum poly_status poly_txn_begin(struct poly_session *session,
                                const struct poly_txn_options *options, struct poly_txn **txn,
                                struct poly_error *err)
{
    static const struct poly_txn_options defaults;
    struct poly_error local;
    struct poly_txn *self;
    enum poly_status status;

    err = err == NULL ? &local : err;
    if (options == NULL)
        options = &defaults;
    status = check_options(options, err);
    if (status == POLY_OK)
        status = poly_session_require(session, POLY_RIGHT_WRITE, "a transaction", err);
    if (status != POLY_OK)
        return status;
    self = poly_arena_alloc(session->arena, sizeof(*self));
    if (self == NULL)
        return poly_no_memory(err);
    self->session = session;
    self->bytes = poly_arena_used(session->arena);
    self->interactive = options->interactive;
    self->write = (struct poly_write){.instance = session->instance,
                                      .arena = session->arena,
                                      .tenant = poly_session_tenant(session),
                                      .rights = session->rights};
    if (options->idempotency_key != NULL) {
        self->idempotency_key = poly_arena_copy(session->arena, options->idempotency_key,
                                                strlen(options->idempotency_key));
        self->digest = digest_new(session->arena);
        if (self->idempotency_key == NULL || self->digest == NULL)
            return poly_no_memory(err);
    }
    if (options->model != NULL) {
        self->model = poly_arena_copy(session->arena, options->model, strlen(options->model));
        if (self->model == NULL)
            return poly_no_memory(err);
    }
    status = meta_build(self, options, err);
    if (status == POLY_OK && self->interactive) {
        pthread_mutex_init(&self->lock, NULL);
        status = hold(self, options->deadline_ms, err);
        if (status != POLY_OK)
            pthread_mutex_destroy(&self->lock);
    }
    if (status == POLY_OK)
        *txn = self;
    return status;
}

/* --- for stores --- */

struct poly_arena *poly_txn_arena(struct poly_txn *txn)
{
    return txn->session->arena;
}

struct poly_session *poly_txn_session(struct poly_txn *txn)
{
    return txn->session;
}

const char *poly_txn_model(const struct poly_txn *txn)
{
    return txn->model;
}

bool poly_txn_interactive(const struct poly_txn *txn)
{
    return txn->interactive;
}

void poly_txn_digest(struct poly_txn *txn, const void *bytes, size_t size)
{
    uint64_t length = size;

    if (txn->idempotency_key == NULL)
        return;
    crypto_generichash_update(txn->digest, (const uint8_t *)&length, sizeof(length));
    crypto_generichash_update(txn->digest, bytes == NULL ? (const uint8_t *)"" : bytes, size);
}

void poly_txn_digest_value(struct poly_txn *txn, const struct poly_value *value)
{
    uint8_t type = (uint8_t)value->type;

    if (txn->idempotency_key == NULL)
        return;
    poly_txn_digest(txn, &type, 1);
    switch (value->type) {
    case POLY_NULL:
        break;
    case POLY_BOOL:
        poly_txn_digest(txn, &value->boolean, sizeof(value->boolean));
        break;
    case POLY_INT:
    case POLY_TIME:
        poly_txn_digest(txn, &value->integer, sizeof(value->integer));
        break;
    case POLY_FLOAT:
        poly_txn_digest(txn, &value->real, sizeof(value->real));
        break;
    case POLY_UUID:
        poly_txn_digest(txn, value->uuid, sizeof(value->uuid));
        break;
    case POLY_TEXT:
    case POLY_BYTES:
    case POLY_JSON:
        poly_txn_digest(txn, value->text.data, value->text.size);
        break;
    }
}

enum poly_status poly_write_mark(struct poly_write *write, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (!write->marked)
        status = write->instance->owner->driver->mark(write, err);
    write->marked = status == POLY_OK;
    return status;
}

/* --- running --- */

static const struct poly_owner_driver *driver_of(const struct poly_txn *txn)
{
    return txn->session->instance->owner->driver;
}

static enum poly_status run_operation(struct poly_txn *txn, struct poly_operation *operation,
                                      struct poly_error *err)
{
    enum poly_status status = operation->type->run(operation, &txn->write, err);

    return status == POLY_OK ? driver_of(txn)->wrote(&txn->write, err) : status;
}

static enum poly_status clear_mark(struct poly_write *write, struct poly_error *err)
{
    if (!write->marked)
        return POLY_OK;
    write->marked = false;
    return write->instance->owner->driver->unmark(write, err);
}

static enum poly_status run_operations(struct poly_txn *txn, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    size_t number = 0;

    for (struct poly_operation *o = txn->first; o != NULL && status == POLY_OK; o = o->next) {
        number++;
        status = run_operation(txn, o, err);
        if (status != POLY_OK && txn->count > 1) {
            poly_fail_in(err, status, "operation %zu of %zu (%s)", number, txn->count,
                         o->type->name);
            if (number > 1)
                driver_of(txn)->undone(&txn->write, false);
        }
    }
    if (status == POLY_OK) {
        status = clear_mark(&txn->write, err);
        if (status != POLY_OK)
            driver_of(txn)->undone(&txn->write, false);
    }
    if (status == POLY_OK)
        txn->position = txn->write.position;
    return status;
}

static struct poly_result *gather(struct poly_txn *txn)
{
    struct poly_result *results =
        poly_arena_array(txn->session->arena, txn->count, sizeof(*results));
    size_t i = 0;

    for (struct poly_operation *o = txn->first; o != NULL && results != NULL; o = o->next)
        results[i++] = o->result;
    return results;
}

static enum poly_status run_idempotent(struct poly_txn *txn, struct poly_db *db,
                                       struct poly_error *err)
{
    struct poly_idempotent entry = {.tenant = txn->write.tenant,
                                    .key = poly_text(txn->idempotency_key)};
    crypto_generichash_state state = *txn->digest;
    bool known;
    enum poly_status status;

    crypto_generichash_final(&state, entry.digest, sizeof(entry.digest));
    status = driver_of(txn)->claim(&txn->write, entry.tenant, entry.key, err);
    if (status == POLY_OK)
        status = poly_idempotency_find(db, &entry, txn->session->instance->config->idempotency_s,
                                   txn->session->arena, &known, err);
    if (status != POLY_OK)
        return status;
    if (known) {
        txn->replayed = true;
        txn->results = entry.results;
        txn->count = entry.count;
        txn->position = entry.position;
        atomic_fetch_add(&txn->session->instance->replays, 1);
        return driver_of(txn)->replayed == NULL ? POLY_OK
                                                : driver_of(txn)->replayed(&txn->write, err);
    }
    status = run_operations(txn, err);
    if (status != POLY_OK)
        return status;
    entry.results = gather(txn);
    entry.count = txn->count;
    entry.position = txn->position;
    if (entry.results == NULL && entry.count > 0)
        status = poly_no_memory(err);
    else
        status =
            poly_idempotency_keep(db, &entry, txn->session->instance->config->idempotency_s, err);
    if (status != POLY_OK)
        driver_of(txn)->undone(&txn->write, false);
    return status;
}

/* Can all of it be sent at once? */
static bool pipelined(const struct poly_txn *txn)
{
    const struct poly_operation *o = txn->first;

    if (driver_of(txn)->pipeline == NULL || txn->idempotency_key != NULL)
        return false;
    while (o != NULL && o->type->queue != NULL)
        o = o->next;
    return o == NULL && txn->first != NULL;
}

static enum poly_status run_pipeline(struct poly_txn *txn, struct poly_error *err)
{
    size_t number = 0;
    enum poly_status status = driver_of(txn)->pipeline(&txn->write, txn->first, &number, err);

    if (status != POLY_OK && txn->count > 1 && number > 0)
        poly_fail_in(err, status, "operation %zu of %zu", number, txn->count);
    if (status == POLY_OK)
        txn->position = txn->write.position;
    return status;
}

static enum poly_status run_batch(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct poly_txn *txn = arg;

    txn->write.db = db;
    txn->write.position = 0;
    txn->write.marked = false;
    txn->replayed = false;
    driver_of(txn)->began(&txn->write);
    if (pipelined(txn))
        return run_pipeline(txn, err);
    return txn->idempotency_key != NULL ? run_idempotent(txn, db, err) : run_operations(txn, err);
}

static enum poly_status fail_late(struct poly_error *err)
{
    return poly_fail(err, POLY_TIMEOUT,
                     "the interactive transaction passed its deadline and was rolled back");
}

/* Is the transaction still there? Takes its lock when it is. */
static enum poly_status enter(struct poly_txn *txn, struct poly_error *err)
{
    pthread_mutex_lock(&txn->lock);
    if (!txn->over)
        return POLY_OK;
    pthread_mutex_unlock(&txn->lock);
    return fail_late(err);
}

/* The keeper must not look at it any more: were it to interrupt the connection after that has gone
 * to somebody else, it would hit those. */
static void let_go(struct poly_txn *txn)
{
    struct poly_instance *instance = txn->session->instance;

    pthread_mutex_lock(&instance->lock);
    for (struct poly_txn **t = &instance->held; *t != NULL; t = &(*t)->next) {
        if (*t == txn) {
            *t = txn->next;
            break;
        }
    }
    pthread_mutex_unlock(&instance->lock);
}

/* What the failure of an operation means for the transaction it is in, whose lock we have. */
static enum poly_status after_failure(struct poly_txn *txn, bool collided, enum poly_status status,
                                      struct poly_error *err)
{
    struct poly_error ignored;

    if (poly_clock_monotonic() >= txn->deadline) {
        let_go(txn);
        txn->over = true;
        (void)driver_of(txn)->release(txn->session->instance->owner, txn->write.db, false,
                                      &ignored);
        return fail_late(err);
    }
    if (collided)
        return poly_fail(err, POLY_CONFLICT,
                         "another transaction has changed what this one has read; begin again");
    return status;
}

static bool collided(const struct poly_txn *txn, enum poly_status status)
{
    return status == POLY_UNAVAILABLE && driver_of(txn)->collided != NULL &&
           driver_of(txn)->collided(txn->write.db);
}

/* A full disk or no memory makes SQLite roll back by itself: nothing more may run then, for it
 * would be a transaction of its own. */
static enum poly_status enter_alive(struct poly_txn *txn, struct poly_error *err)
{
    enum poly_status status = enter(txn, err);

    if (status != POLY_OK || poly_db_in_transaction(txn->write.db))
        return status;
    pthread_mutex_unlock(&txn->lock);
    return poly_fail(err, POLY_UNAVAILABLE,
                     "the interactive transaction was rolled back after an error; begin again");
}

static enum poly_status run_now(struct poly_txn *txn, struct poly_operation *operation,
                                struct poly_error *err)
{
    bool marked = txn->write.marked, begin_again = false;
    struct poly_error ignored;
    enum poly_status status = enter_alive(txn, err);

    if (status != POLY_OK)
        return status;
    status = poly_db_exec(txn->write.db, "SAVEPOINT poly_operation", err);
    if (status == POLY_OK) {
        status = run_operation(txn, operation, err);
        begin_again = collided(txn, status);
        if (status == POLY_OK) {
            (void)poly_db_exec(txn->write.db, "RELEASE poly_operation", &ignored);
        } else if (poly_db_back_to(txn->write.db, back_to)) {
            driver_of(txn)->undone(&txn->write, true);
            txn->write.marked = marked;
        }
    }
    if (status != POLY_OK)
        status = after_failure(txn, begin_again, status, err);
    pthread_mutex_unlock(&txn->lock);
    return status;
}

enum poly_status poly_txn_add(struct poly_txn *txn, struct poly_operation *operation,
                              struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (txn->count >= POLY_MAX_OPERATIONS)
        return poly_fail(err, POLY_LIMIT, "a transaction has at most %d operations",
                         POLY_MAX_OPERATIONS);
    if (poly_arena_used(txn->session->arena) - txn->bytes > POLY_MAX_TXN_BYTES)
        return poly_fail(err, POLY_LIMIT, "a transaction has at most %d bytes", POLY_MAX_TXN_BYTES);
    if (txn->interactive)
        status = run_now(txn, operation, err);
    if (status != POLY_OK)
        return status;
    operation->next = NULL;
    *(txn->last == NULL ? &txn->first : &txn->last->next) = operation;
    txn->last = operation;
    txn->count++;
    return POLY_OK;
}

const struct poly_operation *poly_txn_last(const struct poly_txn *txn)
{
    return txn->last;
}

enum poly_status poly_txn_run(struct poly_txn *txn,
                              enum poly_status (*fn)(void *arg, struct poly_write *write,
                                                     struct poly_error *err),
                              void *arg, struct poly_error *err)
{
    enum poly_status status;

    if (!txn->interactive)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "a batch transaction cannot read: use an interactive one");
    status = enter_alive(txn, err);
    if (status == POLY_OK) {
        status = fn(arg, &txn->write, err);
        if (status != POLY_OK)
            status = after_failure(txn, collided(txn, status), status, err);
        pthread_mutex_unlock(&txn->lock);
    }
    return status;
}

/* --- ending --- */

static enum poly_status answer(struct poly_txn *txn, struct poly_commit *commit,
                               struct poly_error *err)
{
    struct poly_session *session = txn->session;
    uint64_t position = txn->position;

    if (position > session->after)
        session->after = position;
    if (commit == NULL)
        return POLY_OK;
    commit->results = txn->replayed ? txn->results : gather(txn);
    if (commit->results == NULL && txn->count > 0)
        return poly_fail(err, POLY_NO_MEMORY,
                         "the transaction is committed, but there is no "
                         "memory left for its results");
    commit->count = txn->count;
    commit->position = position;
    commit->replayed = txn->replayed;
    poly_token_make(session->instance, poly_session_tenant(session),
                    position > 0 ? position : atomic_load(&session->instance->owner->durable),
                    &commit->token);
    return POLY_OK;
}

static enum poly_status end_interactive(struct poly_txn *txn, bool commit, struct poly_error *err)
{
    struct poly_instance *instance = txn->session->instance;
    enum poly_status status;

    if (txn->session->holding == txn)
        txn->session->holding = NULL;
    let_go(txn);
    status = enter(txn, err);
    if (status == POLY_OK) {
        txn->over = true;
        if (commit && poly_db_in_transaction(txn->write.db))
            status = clear_mark(&txn->write, err);
        if (status != POLY_OK) {
            struct poly_error ignored;

            (void)driver_of(txn)->release(instance->owner, txn->write.db, false, &ignored);
        } else {
            txn->position = txn->write.position;
            status = driver_of(txn)->release(instance->owner, txn->write.db, commit, err);
        }
        pthread_mutex_unlock(&txn->lock);
    }
    pthread_mutex_destroy(&txn->lock);
    return status;
}

static bool single(const struct poly_txn *txn)
{
    if (driver_of(txn)->pipeline != NULL)
        return pipelined(txn);
    return txn->count == 1 && txn->first->type->single && txn->idempotency_key == NULL;
}

static struct poly_request request_of(struct poly_txn *txn)
{
    return (struct poly_request){
        .run = run_batch,
        .arg = txn,
        .single = single(txn),
        .repeatable = txn->idempotency_key != NULL,
        .deadline = poly_clock_monotonic() + (int64_t)txn->session->deadline_ms * 1000};
}

enum poly_status poly_txn_commit(struct poly_txn *txn, struct poly_commit *commit,
                                 struct poly_error *err)
{
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    if (txn->interactive) {
        status = end_interactive(txn, true, err);
    } else {
        txn->request = request_of(txn);
        status = driver_of(txn)->run(txn->session->instance->owner, &txn->request, err);
    }
    return status == POLY_OK ? answer(txn, commit, err) : status;
}

enum poly_status poly_txn_try_commit(struct poly_txn *txn, bool *tried, struct poly_commit *commit,
                                     struct poly_error *err)
{
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    *tried = txn->interactive;
    if (txn->interactive)
        return poly_txn_commit(txn, commit, err);
    if (driver_of(txn)->try_run == NULL)
        return POLY_OK;
    txn->request = request_of(txn);
    status =
        driver_of(txn)->try_run(txn->session->instance->owner, &txn->request, tried, err);
    return status == POLY_OK && *tried ? answer(txn, commit, err) : status;
}

void poly_txn_abort(struct poly_txn *txn)
{
    struct poly_error ignored;

    if (txn != NULL && txn->interactive)
        (void)end_interactive(txn, false, &ignored);
}

static void submitted(void *arg, enum poly_status status, const struct poly_error *err)
{
    struct poly_txn *txn = arg;
    struct poly_commit commit = {.count = 0};
    struct poly_error local = *err;

    if (status == POLY_OK)
        status = answer(txn, &commit, &local);
    txn->done(txn->done_arg, status, status == POLY_OK ? &commit : NULL, &local);
}

enum poly_status poly_txn_submit(struct poly_txn *txn, poly_commit_fn *done, void *arg,
                                 struct poly_error *err)
{
    struct poly_error local;

    err = err == NULL ? &local : err;
    if (txn->interactive) {
        poly_txn_abort(txn);
        return poly_fail(err, POLY_UNSUPPORTED, "an interactive transaction cannot be submitted");
    }
    txn->done = done;
    txn->done_arg = arg;
    txn->request = request_of(txn);
    txn->request.done = submitted;
    return driver_of(txn)->submit(txn->session->instance->owner, &txn->request, err);
}

/* --- the deadline --- */

int64_t poly_txn_deadline(struct poly_instance *instance)
{
    int64_t deadline = -1;

    pthread_mutex_lock(&instance->lock);
    for (const struct poly_txn *txn = instance->held; txn != NULL; txn = txn->next) {
        if (deadline < 0 || txn->deadline < deadline)
            deadline = txn->deadline;
    }
    pthread_mutex_unlock(&instance->lock);
    return deadline;
}

/* Ends it, unless its owner is running a statement: that is interrupted, and we come again. */
static bool expire(struct poly_txn *txn)
{
    struct poly_error ignored;

    poly_db_interrupt(txn->write.db);
    if (pthread_mutex_trylock(&txn->lock) != 0)
        return false;
    txn->over = true;
    (void)driver_of(txn)->release(txn->session->instance->owner, txn->write.db, false, &ignored);
    pthread_mutex_unlock(&txn->lock);
    return true;
}

void poly_txn_expire(struct poly_instance *instance, int64_t now)
{
    /* Its owner cannot let go of it, and so free it, while we have the instance's lock. */
    pthread_mutex_lock(&instance->lock);
    for (struct poly_txn **t = &instance->held; *t != NULL;) {
        struct poly_txn *txn = *t;

        if (txn->deadline <= now && expire(txn))
            *t = txn->next;
        else
            t = &txn->next;
    }
    pthread_mutex_unlock(&instance->lock);
}
